//! Password hashes, access tokens, opaque tokens, tokens of mails, ids and time: the ports of `tasks-domain` behind
//! which randomness and secrets lie.

mod bcrypt_hasher;
mod hmac_mail_tokens;
mod ids;
mod jwt_issuer;
mod random_tokens;
mod system_clock;
#[cfg(test)]
mod test_log;
#[cfg(test)]
mod test_trace;

pub use bcrypt_hasher::{BcryptHasher, BcryptHasherError};
pub use hmac_mail_tokens::HmacMailTokens;
pub use ids::UuidV7Ids;
pub use jwt_issuer::{JwtAlgorithm, JwtIssuer};
pub use random_tokens::RandomTokens;
pub use system_clock::SystemClock;
