//! The links in mails.

use secrecy::ExposeSecret;
use tasks_domain::mail::{Mail, MailKind};
use url::{Url, form_urlencoded};

/// Makes the links in mails, from configuration alone: what a request says of its host is
/// anybody's word.
#[derive(Debug)]
pub(crate) struct Links {
    /// Without a closing slash.
    base: String,
}

impl Links {
    /// Links below this address.
    pub(crate) fn new(public_url: &Url) -> Self {
        let mut base = public_url.clone();
        base.set_query(None);
        base.set_fragment(None);
        Self {
            base: base.as_str().trim_end_matches('/').to_owned(),
        }
    }

    /// The link of a mail, with its token: a secret.
    pub(crate) fn of(&self, mail: &Mail) -> String {
        let base = &self.base;
        let page = match mail.kind {
            MailKind::VerifyEmail => "verify-email",
            MailKind::ResetPassword => "reset-password",
        };
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("token", mail.token.expose_secret())
            .finish();
        format!("{base}/{page}?{query}")
    }
}

#[cfg(test)]
mod tests {
    use tasks_domain::account::{Email, FullName};
    use tasks_testkit::build::id;

    use super::*;

    fn link(public_url: &str, token: &str) -> String {
        Links::new(&Url::parse(public_url).unwrap()).of(&Mail {
            id: id(),
            kind: MailKind::VerifyEmail,
            to: Email::parse("ada@example.com").unwrap(),
            name: FullName::parse("Ada Lovelace").unwrap(),
            token: token.into(),
            cause: None,
        })
    }

    #[test]
    fn links_lie_below_the_public_url() {
        for (public_url, expected) in [
            (
                "http://127.0.0.1:8000",
                "http://127.0.0.1:8000/verify-email?token=t",
            ),
            (
                "http://127.0.0.1:8000/",
                "http://127.0.0.1:8000/verify-email?token=t",
            ),
            (
                "https://example.com/a/b",
                "https://example.com/a/b/verify-email?token=t",
            ),
            (
                "https://example.com/a/b/",
                "https://example.com/a/b/verify-email?token=t",
            ),
            (
                "https://example.com/a b",
                "https://example.com/a%20b/verify-email?token=t",
            ),
            (
                "https://example.com/a?b=c#d",
                "https://example.com/a/verify-email?token=t",
            ),
            (
                "http://[::1]:8000",
                "http://[::1]:8000/verify-email?token=t",
            ),
        ] {
            assert_eq!(link(public_url, "t"), expected);
        }
    }

    #[test]
    fn a_token_comes_out_of_a_link_as_it_went_in() {
        for token in ["-_AZaz09", "a+b/c=", "a b&c=d#e?f%20", "ž🦀"] {
            let link = Url::parse(&link("https://example.com", token)).unwrap();
            let query: Vec<_> = link.query_pairs().collect();
            assert_eq!(query, [("token".into(), token.into())]);
            assert_eq!(link.fragment(), None);
        }
    }
}
