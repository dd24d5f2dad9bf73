//! Tokens of links in mails.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use tasks_domain::account::TokenDigest;
use tasks_domain::id::Id;
use tasks_domain::mail::{Mail, MailTokens};

use crate::random_tokens::digest;

/// Names the one purpose of the derived key. The secret itself signs access tokens too, and what
/// those sign has no space in it: so neither ever makes what the other does.
const PURPOSE: &[u8] = b"task-api mail tokens v1";

/// Makes the token of a mail from its id, by HMAC-SHA-256 under a key that is derived from the
/// service's secret. So who has the store, but not the secret, has no token.
pub struct HmacMailTokens {
    current: Hmac<Sha256>,
    previous: Option<Hmac<Sha256>>,
}

impl HmacMailTokens {
    /// Makes tokens with the current secret; makes those again that the previous one made, so that a
    /// secret can be changed while mails wait.
    pub fn new(current: &SecretString, previous: Option<&SecretString>) -> Self {
        Self {
            current: derive(current),
            previous: previous.map(derive),
        }
    }
}

impl MailTokens for HmacMailTokens {
    fn token(&self, mail: Id<Mail>) -> SecretString {
        token(&self.current, mail)
    }

    fn token_again(&self, mail: Id<Mail>, wanted: &TokenDigest) -> Option<SecretString> {
        [Some(&self.current), self.previous.as_ref()]
            .into_iter()
            .flatten()
            .map(|key| token(key, mail))
            .find(|token| digest(token.expose_secret()) == *wanted)
    }
}

impl fmt::Debug for HmacMailTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HmacMailTokens(***)")
    }
}

/// The key of mails.
fn derive(secret: &SecretString) -> Hmac<Sha256> {
    let secret = keyed(secret.expose_secret().as_bytes());
    keyed(&secret.chain_update(PURPOSE).finalize().into_bytes())
}

#[expect(clippy::expect_used, reason = "a key of HMAC may be of any length")]
fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("a key of any length")
}

fn token(key: &Hmac<Sha256>, mail: Id<Mail>) -> SecretString {
    let code = key.clone().chain_update(mail.uuid().as_bytes()).finalize();
    URL_SAFE_NO_PAD.encode(code.into_bytes()).into()
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{Algorithm, EncodingKey};
    use uuid::Uuid;

    use super::*;

    const SECRET: &str = "current key of at least 32 characters";
    const MAIL: Id<Mail> = Id::new(Uuid::from_u128(0x0193_e4a0_1234_7abc_8def_0123_4567_89ab));
    const OTHER: Id<Mail> = Id::new(Uuid::from_u128(0x0193_e4a0_1234_7abc_8def_0123_4567_89ac));

    fn tokens(current: &str, previous: Option<&str>) -> HmacMailTokens {
        let previous = previous.map(SecretString::from);
        HmacMailTokens::new(&current.into(), previous.as_ref())
    }

    fn made(tokens: &HmacMailTokens, mail: Id<Mail>) -> String {
        tokens.token(mail).expose_secret().to_owned()
    }

    fn again(tokens: &HmacMailTokens, mail: Id<Mail>, wanted: &str) -> Option<String> {
        let token = tokens.token_again(mail, &digest(wanted))?;
        Some(token.expose_secret().to_owned())
    }

    /// Worked out with another implementation. If it changes, mails that wait are lost.
    #[test]
    fn a_known_mail_has_a_known_token() {
        let token = made(&tokens(SECRET, None), MAIL);
        assert_eq!(token, "U-Y2Q9RVsk_ECjis8oceh80WS1nC_dznLLYdmyyucb4");
    }

    #[test]
    fn a_token_is_32_bytes_in_43_url_safe_characters() {
        let token = made(&tokens(SECRET, None), MAIL);
        assert_eq!(token.len(), 43);
        assert_eq!(URL_SAFE_NO_PAD.decode(token).unwrap().len(), 32);
    }

    #[test]
    fn the_same_mail_has_the_same_token_in_every_process() {
        let (one, other) = (tokens(SECRET, None), tokens(SECRET, Some("another")));
        assert_eq!(made(&one, MAIL), made(&other, MAIL));
        assert_eq!(
            again(&other, MAIL, &made(&one, MAIL)),
            Some(made(&one, MAIL))
        );
    }

    #[test]
    fn another_mail_and_another_secret_have_other_tokens() {
        let here = tokens(SECRET, None);
        assert_ne!(made(&here, MAIL), made(&here, OTHER));
        assert_ne!(made(&here, MAIL), made(&tokens("another", None), MAIL));
    }

    #[test]
    fn what_the_previous_secret_made_is_made_again() {
        let before = made(&tokens(SECRET, None), MAIL);
        let after = tokens("another", Some(SECRET));
        assert_ne!(made(&after, MAIL), before);
        assert_eq!(again(&after, MAIL, &before), Some(before));
    }

    #[test]
    fn what_neither_secret_made_for_the_mail_is_not_made_again() {
        let before = made(&tokens(SECRET, None), MAIL);
        assert_eq!(again(&tokens("another", None), MAIL, &before), None);
        let after = tokens("another", Some("a third"));
        assert_eq!(again(&after, MAIL, &before), None);
        assert_eq!(again(&tokens(SECRET, None), OTHER, &before), None);
    }

    /// The secret signs access tokens too, by the same HMAC.
    #[test]
    fn no_token_is_what_signing_with_the_secret_makes() {
        let key = EncodingKey::from_secret(SECRET.as_bytes());
        let sign =
            |message: &[u8]| jsonwebtoken::crypto::sign(message, &key, Algorithm::HS256).unwrap();
        let token = made(&tokens(SECRET, None), MAIL);
        assert_ne!(token, sign(MAIL.uuid().as_bytes()));
        assert_ne!(token, sign(&[PURPOSE, MAIL.uuid().as_bytes()].concat()));
        assert!(PURPOSE.contains(&b' '), "what is signed otherwise has none");
    }

    #[test]
    fn nothing_secret_is_printed() {
        let tokens = tokens(SECRET, Some("another"));
        assert_eq!(format!("{tokens:?}"), "HmacMailTokens(***)");
        assert!(!format!("{:?}", tokens.token(MAIL)).contains(&made(&tokens, MAIL)));
    }
}
