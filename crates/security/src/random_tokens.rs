//! Opaque tokens and their digests.

use std::fmt::Write;

use rand::rngs::OsRng;
use rand::{RngCore, TryRngCore};
use secrecy::SecretString;
use sha2::{Digest, Sha256};
use tasks_domain::account::{OpaqueTokens, TokenDigest};

/// How random a token is, in bytes: 256 bits cannot be guessed, and so a plain digest protects
/// them in the store.
const TOKEN_BYTES: usize = 32;

/// Makes opaque tokens out of the operating system's randomness.
#[derive(Clone, Copy, Debug, Default)]
pub struct RandomTokens;

impl RandomTokens {
    /// A system that has no randomness cannot make a token: this panics rather than make one that
    /// can be guessed.
    fn random_bytes() -> [u8; TOKEN_BYTES] {
        let mut bytes = [0; TOKEN_BYTES];
        OsRng.unwrap_err().fill_bytes(&mut bytes);
        bytes
    }
}

impl OpaqueTokens for RandomTokens {
    fn refresh_token(&self) -> SecretString {
        hex(&Self::random_bytes()).into()
    }

    fn digest(&self, token: &str) -> TokenDigest {
        digest(token)
    }
}

/// What a store keeps of a token, whoever made it.
pub(crate) fn digest(token: &str) -> TokenDigest {
    TokenDigest::new(hex(&Sha256::digest(token)))
}

/// The bytes in lower-case hex.
fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            // Writing to a string does not fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn a_refresh_token_is_64_lower_case_hex_characters() {
        let token = RandomTokens.refresh_token();
        let token = token.expose_secret();
        assert_eq!(token.len(), 64);
        assert!(token.chars().all(|c| "0123456789abcdef".contains(c)));
    }

    #[test]
    fn no_two_tokens_are_the_same() {
        let tokens: HashSet<_> = (0..1_000)
            .map(|_| RandomTokens.refresh_token().expose_secret().to_owned())
            .collect();
        assert_eq!(tokens.len(), 1_000);
    }

    #[test]
    fn a_digest_is_sha_256_in_lower_case_hex() {
        // FIPS 180-2, appendix B.1, and the empty message.
        for (token, digest) in [
            (
                "abc",
                "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            ),
            (
                "",
                "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            ),
        ] {
            assert_eq!(RandomTokens.digest(token).expose(), digest);
        }
    }

    #[test]
    fn tokens_and_digests_do_not_print() {
        let token = RandomTokens.refresh_token();
        let digest = RandomTokens.digest(token.expose_secret());
        assert!(!format!("{token:?}").contains(token.expose_secret()));
        assert_eq!(format!("{digest:?}"), "TokenDigest(***)");
    }
}
