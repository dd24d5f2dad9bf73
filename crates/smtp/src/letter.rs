//! What mails say.

use std::time::Duration;

use askama::Template;
use tasks_domain::account::FullName;
use tasks_domain::mail::MailKind;

/// The texts of a mail.
pub(crate) struct Letter {
    pub(crate) subject: &'static str,
    pub(crate) text: String,
    pub(crate) html: String,
}

/// What the texts are made of.
#[derive(Clone, Copy)]
pub(crate) struct Content<'a> {
    /// How to greet the recipient, if by name.
    pub(crate) name: Option<&'a str>,
    /// Where the recipient has an account, or is said to.
    pub(crate) service: &'a str,
    pub(crate) link: &'a str,
    /// How long the link works.
    pub(crate) lifetime: &'a str,
}

#[derive(Template)]
enum Text<'a> {
    #[template(path = "verify_email.txt")]
    VerifyEmail { mail: Content<'a> },
    #[template(path = "reset_password.txt")]
    ResetPassword { mail: Content<'a> },
}

#[derive(Template)]
enum Html<'a> {
    #[template(path = "verify_email.html")]
    VerifyEmail { mail: Content<'a> },
    #[template(path = "reset_password.html")]
    ResetPassword { mail: Content<'a> },
}

impl Letter {
    /// Writes the texts of a mail.
    pub(crate) fn new(kind: MailKind, mail: Content<'_>) -> askama::Result<Self> {
        Ok(match kind {
            MailKind::VerifyEmail => Self {
                subject: "Confirm your e-mail address",
                text: Text::VerifyEmail { mail }.render()?,
                html: Html::VerifyEmail { mail }.render()?,
            },
            MailKind::ResetPassword => Self {
                subject: "Choose a new password",
                text: Text::ResetPassword { mail }.render()?,
                html: Html::ResetPassword { mail }.render()?,
            },
        })
    }
}

/// A longer name is no name, but a text that somebody wants us to send.
const LONGEST_GREETED: usize = 60;

/// The name, if a mail may say it.
///
/// Anybody can register anybody's address under any name, and so have us send it. Hence no name that
/// a mail program could make a link of, that spans lines, or that changes the order of what follows.
/// Who is greeted without their name for no reason loses little.
pub(crate) fn greeted(name: &FullName) -> Option<&str> {
    let name = name.as_str();
    let characters: Vec<char> = name.chars().collect();
    let looks_like_link = name.contains(['/', '@', '\\'])
        || characters
            .windows(3)
            .any(|w| matches!(w, ['.', a, b] if a.is_alphanumeric() && b.is_alphanumeric()));
    let steers_text =
        |c: char| c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let harmless = characters.len() <= LONGEST_GREETED
        && !looks_like_link
        && !characters.into_iter().any(steers_text);
    harmless.then_some(name)
}

/// A duration as people say it, in whole hours.
pub(crate) fn hours(duration: Duration) -> String {
    match duration.as_secs() / 3600 {
        1 => "1 hour".to_owned(),
        hours => format!("{hours} hours"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: &str = "https://tasks.example.com/verify-email?token=t&more=\"<x>";

    fn letter(kind: MailKind, name: Option<&str>) -> Letter {
        let content = Content {
            name,
            service: "tasks.example.com",
            link: LINK,
            lifetime: &hours(kind.token_ttl()),
        };
        Letter::new(kind, content).unwrap()
    }

    #[test]
    fn a_letter_says_what_it_is_the_link_and_how_long_it_works() {
        for (kind, purpose, lifetime, otherwise) in [
            (
                MailKind::VerifyEmail,
                "confirm that it is yours",
                "within 24 hours",
                "stays unconfirmed",
            ),
            (
                MailKind::ResetPassword,
                "asked for a new password",
                "within 1 hour.",
                "your password stays as it is",
            ),
        ] {
            let Letter {
                subject,
                text,
                html,
            } = letter(kind, Some("Ada Lovelace"));
            for body in [&text, &html] {
                for said in [
                    "Hello Ada Lovelace,",
                    "tasks.example.com",
                    purpose,
                    lifetime,
                    otherwise,
                ] {
                    assert!(body.contains(said), "{said:?} in {body}");
                }
            }
            assert!(
                text.lines().any(|line| line == LINK),
                "alone on a line: {text}"
            );
            assert!(
                html.contains(&format!("<title>{subject}</title>")),
                "{html}"
            );
            assert!(html.contains("<html lang=\"en\">"), "{html}");
            assert!(!html.contains("<img"), "{html}");
        }
    }

    #[test]
    fn html_is_escaped_and_text_is_not() {
        let Letter { text, html, .. } = letter(MailKind::VerifyEmail, Some("<b>\"O'Ada\" & Co"));
        assert!(text.contains("Hello <b>\"O'Ada\" & Co,"), "{text}");
        assert!(!html.contains("<b>"), "{html}");
        assert!(!html.contains("<x>"), "{html}");
        let attribute =
            "href=\"https://tasks.example.com/verify-email?token=t&#38;more=&#34;&#60;x&#62;\"";
        assert_eq!(html.matches(attribute).count(), 2, "{html}");
    }

    #[test]
    fn a_letter_does_without_a_name() {
        let Letter { text, html, .. } = letter(MailKind::ResetPassword, None);
        assert!(text.starts_with("Hello,\n"), "{text}");
        assert!(html.contains("<p>Hello,</p>"), "{html}");
    }

    #[test]
    fn only_a_name_that_can_be_nothing_else_is_greeted() {
        let longest = "ž".repeat(LONGEST_GREETED);
        for name in [
            "Ada Lovelace",
            "Ada King, Countess \"of\" O'Lovelace",
            "J.R.R. Tolkien",
            "Dr. Žofie Ph.D.",
            "山田 太郎",
            "<script>",
            &longest,
        ] {
            let parsed = FullName::parse(name).unwrap();
            assert_eq!(greeted(&parsed), Some(name));
        }
        for name in [
            "Ada\r\nBcc: everybody@example.com",
            "Ada\nLovelace",
            "Ada\u{85}Lovelace",
            "Ada\u{2028}Lovelace",
            "Ada \u{202e}ecalevoL",
            "Ada \u{2067}Lovelace",
            "http://example.com",
            "javascript://x",
            "www.example",
            "example.com",
            "Ada example.com/win Lovelace",
            "example/win",
            "\\\\example",
            "ada@example",
            &"ž".repeat(LONGEST_GREETED + 1),
        ] {
            let parsed = FullName::parse(name).unwrap();
            assert_eq!(greeted(&parsed), None, "{name:?}");
        }
    }
}
