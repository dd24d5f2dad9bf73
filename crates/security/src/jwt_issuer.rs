//! Access tokens: signed JSON Web Tokens.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, Serialize};
use tasks_domain::BoxError;
use tasks_domain::account::{AccessClaims, AccessTokenError, Email, TokenIssuer};
use tasks_domain::clock::Timestamp;
use tasks_domain::id::Id;
use uuid::Uuid;

/// How far the clocks of two instances may differ without a token of one being refused by the
/// other.
const LEEWAY: Duration = Duration::from_secs(5);

/// How many good tokens are remembered, so that their signatures need not be checked again: that takes longer
/// than anything else that a request always needs. A token of ours has some 700 bytes at most, so they take less than
/// 15 MiB.
const REMEMBERED: u64 = 10_000;

/// How access tokens are signed. All are symmetric: who checks a token can make one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JwtAlgorithm {
    /// HMAC with SHA-256.
    Hs256,
    /// HMAC with SHA-384.
    Hs384,
    /// HMAC with SHA-512.
    Hs512,
}

impl From<JwtAlgorithm> for Algorithm {
    fn from(algorithm: JwtAlgorithm) -> Self {
        match algorithm {
            JwtAlgorithm::Hs256 => Self::HS256,
            JwtAlgorithm::Hs384 => Self::HS384,
            JwtAlgorithm::Hs512 => Self::HS512,
        }
    }
}

/// Makes and checks access tokens, with one algorithm and no other.
pub struct JwtIssuer {
    header: Header,
    signing_key: EncodingKey,
    current_key: DecodingKey,
    previous_key: Option<DecodingKey>,
    validation: Validation,
    /// What tokens say that one of the keys signed. Whether it is their time is judged at each call.
    signed: Cache<Box<str>, Arc<Signed>>,
}

impl JwtIssuer {
    /// Signs with the current key; accepts the previous one too, so that a key can be changed
    /// without logging anybody out.
    pub fn new(
        algorithm: JwtAlgorithm,
        current: &SecretString,
        previous: Option<&SecretString>,
    ) -> Self {
        let algorithm = algorithm.into();
        let decoding_key =
            |key: &SecretString| DecodingKey::from_secret(key.expose_secret().as_bytes());
        let mut validation = Validation::new(algorithm);
        validation.set_required_spec_claims(&["exp", "sub"]);
        // Times are judged below, by the domain's clock instead of the library's.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        Self {
            header: Header::new(algorithm),
            signing_key: EncodingKey::from_secret(current.expose_secret().as_bytes()),
            current_key: decoding_key(current),
            previous_key: previous.map(decoding_key),
            validation,
            signed: Cache::builder()
                .eviction_policy(EvictionPolicy::lru())
                .max_capacity(REMEMBERED)
                .build(),
        }
    }

    /// What a token says, if one of the keys signed it.
    fn read(&self, token: &str) -> Option<Arc<Signed>> {
        if let Some(known) = self.signed.get(token) {
            return Some(known);
        }
        let signed = Arc::new(self.decode(token)?.read()?);
        self.signed.insert(token.into(), signed.clone());
        Some(signed)
    }

    /// The claims of a token that one of the keys signed.
    fn decode(&self, token: &str) -> Option<Claims> {
        let decode = |key| jsonwebtoken::decode::<Claims>(token, key, &self.validation);
        let decoded = decode(&self.current_key).or_else(|error| match &self.previous_key {
            Some(key) if matches!(error.kind(), ErrorKind::InvalidSignature) => decode(key),
            _ => Err(error),
        });
        let jsonwebtoken::TokenData { header, claims } = decoded.ok()?;
        // Another type of token is not ours; an extension that is critical is not understood.
        let is_plain = header.typ.is_none_or(|typ| typ == "JWT") && header.crit.is_none();
        is_plain.then_some(claims)
    }
}

impl fmt::Debug for JwtIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtIssuer")
            .field("algorithm", &self.header.alg)
            .field("keys", &"***")
            .finish_non_exhaustive()
    }
}

impl TokenIssuer for JwtIssuer {
    fn issue(&self, claims: &AccessClaims) -> Result<SecretString, BoxError> {
        let claims = Claims {
            sub: claims.user.uuid(),
            email: claims.email.as_str().to_owned(),
            iat: claims.issued_at.unix_seconds(),
            exp: claims.expires_at.unix_seconds(),
            nbf: None,
            jti: claims.token_id,
            sid: claims.session.uuid(),
        };
        let token = jsonwebtoken::encode(&self.header, &claims, &self.signing_key)?;
        Ok(token.into())
    }

    fn verify(&self, token: &str, now: Timestamp) -> Result<AccessClaims, AccessTokenError> {
        self.read(token)
            .ok_or(AccessTokenError::Invalid)?
            .judge(now)
    }
}

/// The payload of a token. A claim that is missing, twice there or of another type refuses it.
#[derive(Serialize, Deserialize)]
struct Claims {
    sub: Uuid,
    email: String,
    iat: i64,
    exp: i64,
    #[serde(
        default,
        deserialize_with = "not_null",
        skip_serializing_if = "Option::is_none"
    )]
    nbf: Option<i64>,
    jti: Uuid,
    sid: Uuid,
}

impl Claims {
    /// The claims in the words of the domain; `None` where a time is none.
    fn read(&self) -> Option<Signed> {
        let issued_at = timestamp(self.iat)?;
        let start = self.nbf.map_or(Some(issued_at), timestamp)?;
        let claims = AccessClaims {
            user: Id::new(self.sub),
            session: Id::new(self.sid),
            email: Email::parse(&self.email).ok()?,
            issued_at,
            expires_at: timestamp(self.exp)?,
            token_id: self.jti,
        };
        Some(Signed {
            claims,
            start: start.max(issued_at),
        })
    }
}

/// The claims of a token that one of the keys signed.
struct Signed {
    claims: AccessClaims,
    /// From when on they are good.
    start: Timestamp,
}

impl Signed {
    /// The claims, if they are good now.
    fn judge(&self, now: Timestamp) -> Result<AccessClaims, AccessTokenError> {
        let Self { claims, start } = self;
        if *start > now.plus(LEEWAY) {
            return Err(AccessTokenError::Invalid);
        }
        if now >= claims.expires_at.plus(LEEWAY) {
            return Err(AccessTokenError::Expired);
        }
        Ok(claims.clone())
    }
}

/// The instant so many seconds after 1970.
fn timestamp(unix_seconds: i64) -> Option<Timestamp> {
    unix_seconds
        .checked_mul(1_000_000)
        .and_then(Timestamp::from_unix_micros)
}

/// A claim that may be absent, but is a number where it is there.
fn not_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    i64::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    const USER: Uuid = Uuid::from_u128(1);
    const SESSION: Uuid = Uuid::from_u128(2);
    const TOKEN: Uuid = Uuid::from_u128(3);
    /// When the tests' tokens are made, in seconds since 1970, and when they expire.
    const MADE: i64 = 2_000_000_000;
    const EXPIRES: i64 = MADE + 900;

    fn key(name: &str) -> SecretString {
        format!("{name} key of at least 32 characters").into()
    }

    fn issuer() -> JwtIssuer {
        JwtIssuer::new(JwtAlgorithm::Hs256, &key("current"), Some(&key("previous")))
    }

    fn micros(unix_micros: i64) -> Timestamp {
        Timestamp::from_unix_micros(unix_micros).unwrap()
    }

    fn seconds(unix_seconds: i64) -> Timestamp {
        micros(unix_seconds * 1_000_000)
    }

    fn claims() -> AccessClaims {
        AccessClaims {
            user: Id::new(USER),
            session: Id::new(SESSION),
            email: Email::parse("ada@example.com").unwrap(),
            issued_at: seconds(MADE),
            expires_at: seconds(EXPIRES),
            token_id: TOKEN,
        }
    }

    /// The payload that those claims make.
    fn payload() -> Value {
        json!({
            "sub": USER,
            "email": "ada@example.com",
            "iat": MADE,
            "exp": EXPIRES,
            "jti": TOKEN,
            "sid": SESSION,
        })
    }

    /// The payload with another claim.
    fn with(claim: &str, value: impl Into<Value>) -> Value {
        let mut payload = payload();
        payload[claim] = value.into();
        payload
    }

    /// The payload without a claim.
    fn without(claim: &str) -> Value {
        let mut payload = payload();
        payload.as_object_mut().unwrap().remove(claim).unwrap();
        payload
    }

    /// A token that somebody made who knows that key.
    fn sign(header: &Header, payload: &Value, key: &SecretString) -> String {
        let key = EncodingKey::from_secret(key.expose_secret().as_bytes());
        jsonwebtoken::encode(header, payload, &key).unwrap()
    }

    /// A token that we made.
    fn signed(payload: &Value) -> String {
        sign(&Header::default(), payload, &key("current"))
    }

    fn verify_at(token: &str, now: Timestamp) -> Result<AccessClaims, AccessTokenError> {
        issuer().verify(token, now)
    }

    fn verify(token: &str) -> Result<AccessClaims, AccessTokenError> {
        verify_at(token, seconds(MADE))
    }

    const INVALID: Result<AccessClaims, AccessTokenError> = Err(AccessTokenError::Invalid);
    const EXPIRED: Result<AccessClaims, AccessTokenError> = Err(AccessTokenError::Expired);

    fn part(token: &str, index: usize) -> Value {
        let part = token.split('.').nth(index).unwrap();
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    }

    #[test]
    fn a_token_says_what_it_was_made_of() {
        let token = issuer().issue(&claims()).unwrap();
        let token = token.expose_secret();
        assert_eq!(part(token, 0), json!({"typ": "JWT", "alg": "HS256"}));
        assert_eq!(part(token, 1), payload());
        assert_eq!(verify(token), Ok(claims()));
    }

    #[test]
    fn a_token_that_was_good_is_judged_anew_each_time() {
        let issuer = issuer();
        let token = issuer.issue(&claims()).unwrap();
        let token = token.expose_secret();
        let verify = |token: &str, now| issuer.verify(token, seconds(now));
        for _ in 0..2 {
            assert_eq!(verify(token, MADE), Ok(claims()));
            assert_eq!(verify(token, EXPIRES + 5), EXPIRED);
            assert_eq!(verify(token, MADE - 6), INVALID);
        }
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let forged = format!("{signed}.{}", signature.chars().rev().collect::<String>());
        assert_eq!(verify(&forged, MADE), INVALID);
        assert_eq!(verify(signed, MADE), INVALID);
    }

    #[test]
    fn its_times_are_cut_to_the_second() {
        let token = issuer()
            .issue(&AccessClaims {
                issued_at: micros(MADE * 1_000_000 + 999_999),
                expires_at: micros(EXPIRES * 1_000_000 + 999_999),
                ..claims()
            })
            .unwrap();
        assert_eq!(verify(token.expose_secret()), Ok(claims()));
    }

    #[test]
    fn every_algorithm_works_and_none_takes_another_ones_tokens() {
        let all = [
            JwtAlgorithm::Hs256,
            JwtAlgorithm::Hs384,
            JwtAlgorithm::Hs512,
        ];
        let issuer = |algorithm| JwtIssuer::new(algorithm, &key("current"), None);
        for made in all {
            let token = issuer(made).issue(&claims()).unwrap();
            for checked in all {
                let verdict = issuer(checked).verify(token.expose_secret(), seconds(MADE));
                assert_eq!(verdict.is_ok(), made == checked, "{made:?} {checked:?}");
            }
        }
    }

    #[test]
    fn two_tokens_differ() {
        let other = AccessClaims {
            token_id: Uuid::from_u128(4),
            ..claims()
        };
        let [one, other] = [claims(), other].map(|claims| issuer().issue(&claims).unwrap());
        assert_ne!(one.expose_secret(), other.expose_secret());
    }

    #[test]
    fn a_key_can_be_changed_without_logging_anybody_out() {
        let before = JwtIssuer::new(JwtAlgorithm::Hs256, &key("previous"), None);
        let token = before.issue(&claims()).unwrap();
        assert_eq!(verify(token.expose_secret()), Ok(claims()));

        let token = issuer().issue(&claims()).unwrap();
        let now = seconds(MADE);
        assert_eq!(before.verify(token.expose_secret(), now), INVALID);
        let after = JwtIssuer::new(JwtAlgorithm::Hs256, &key("next"), Some(&key("current")));
        assert_eq!(after.verify(token.expose_secret(), now), Ok(claims()));
        let later = JwtIssuer::new(JwtAlgorithm::Hs256, &key("last"), Some(&key("next")));
        assert_eq!(later.verify(token.expose_secret(), now), INVALID);
    }

    #[test]
    fn a_strangers_token_is_refused() {
        let token = sign(&Header::default(), &payload(), &key("other"));
        assert_eq!(verify(&token), INVALID);
        let empty = sign(&Header::default(), &payload(), &SecretString::default());
        assert_eq!(verify(&empty), INVALID);
    }

    #[test]
    fn a_tampered_token_is_refused() {
        let token = signed(&payload());
        let [header, _, signature] = token.split('.').collect::<Vec<_>>()[..] else {
            panic!("{token}");
        };
        let other = with("sub", SESSION.to_string());
        let other = URL_SAFE_NO_PAD.encode(other.to_string());
        assert_eq!(verify(&format!("{header}.{other}.{signature}")), INVALID);
        assert_eq!(verify(&format!("{header}.{other}.")), INVALID);
        assert_eq!(verify(&format!("{token}A")), INVALID);
        assert_eq!(verify(&format!("{token}.")), INVALID);
        assert_eq!(verify(&format!(" {token}")), INVALID);
    }

    #[test]
    fn another_algorithm_is_refused_whatever_the_signature() {
        let payload = URL_SAFE_NO_PAD.encode(payload().to_string());
        let token = signed(&self::payload());
        let signature = token.rsplit('.').next().unwrap();
        for alg in [
            "none", "None", "NONE", "", "RS256", "ES256", "HS384", "hs256",
        ] {
            let header = json!({"typ": "JWT", "alg": alg}).to_string();
            let header = URL_SAFE_NO_PAD.encode(header);
            for signature in ["", signature] {
                let token = format!("{header}.{payload}.{signature}");
                assert_eq!(verify(&token), INVALID, "{alg}");
            }
        }
        let header = URL_SAFE_NO_PAD.encode(r#"{"typ":"JWT"}"#);
        assert_eq!(verify(&format!("{header}.{payload}.{signature}")), INVALID);
    }

    #[test]
    fn another_type_of_token_is_refused() {
        let typed = |typ: Option<&str>| {
            let mut header = Header::new(Algorithm::HS256);
            header.typ = typ.map(str::to_owned);
            verify(&sign(&header, &payload(), &key("current")))
        };
        assert_eq!(typed(None), Ok(claims()));
        assert_eq!(typed(Some("JWT")), Ok(claims()));
        assert_eq!(typed(Some("at+jwt")), INVALID);
        assert_eq!(typed(Some("")), INVALID);
    }

    #[test]
    fn a_critical_extension_is_refused() {
        let mut header = Header::new(Algorithm::HS256);
        header.crit = Some(vec!["b64".to_owned()]);
        assert_eq!(verify(&sign(&header, &payload(), &key("current"))), INVALID);
    }

    #[test]
    fn a_missing_claim_is_refused() {
        for claim in ["sub", "email", "iat", "exp", "jti", "sid"] {
            assert_eq!(verify(&signed(&without(claim))), INVALID, "{claim}");
        }
    }

    #[test]
    fn a_claim_of_a_wrong_type_is_refused() {
        let wrong = [
            json!(null),
            json!(true),
            json!("tomorrow"),
            json!(2_000_000_500.5),
            json!(9e300),
            json!([MADE]),
            json!({}),
        ];
        for claim in ["sub", "email", "iat", "exp", "nbf", "jti", "sid"] {
            for value in &wrong {
                let token = signed(&with(claim, value.clone()));
                assert_eq!(verify(&token), INVALID, "{claim} {value}");
            }
        }
        for claim in ["iat", "exp", "nbf"] {
            let text = EXPIRES.to_string();
            assert_eq!(verify(&signed(&with(claim, text))), INVALID, "{claim}");
        }
        for claim in ["sub", "email", "jti", "sid"] {
            assert_eq!(verify(&signed(&with(claim, 1))), INVALID, "{claim}");
        }
    }

    #[test]
    fn a_time_that_is_none_is_refused() {
        for claim in ["iat", "exp", "nbf"] {
            for value in [i64::MAX, 253_402_300_800] {
                let token = signed(&with(claim, value));
                assert_eq!(verify(&token), INVALID, "{claim} {value}");
            }
        }
    }

    #[test]
    fn a_claim_that_stands_twice_is_refused() {
        let twice =
            payload()
                .to_string()
                .replacen(r#""exp":"#, &format!(r#""exp":{EXPIRES},"exp":"#), 1);
        let header = URL_SAFE_NO_PAD.encode(r#"{"typ":"JWT","alg":"HS256"}"#);
        let message = format!("{header}.{}", URL_SAFE_NO_PAD.encode(&twice));
        let signature = jsonwebtoken::crypto::sign(
            message.as_bytes(),
            &EncodingKey::from_secret(key("current").expose_secret().as_bytes()),
            Algorithm::HS256,
        );
        assert_eq!(
            verify(&format!("{message}.{}", signature.unwrap())),
            INVALID
        );
    }

    #[test]
    fn a_token_expires_five_seconds_late() {
        let token = signed(&payload());
        let end = (EXPIRES + 5) * 1_000_000;
        assert_eq!(verify_at(&token, seconds(EXPIRES)), Ok(claims()));
        assert_eq!(verify_at(&token, micros(end - 1)), Ok(claims()));
        assert_eq!(verify_at(&token, micros(end)), EXPIRED);
        assert_eq!(verify_at(&token, Timestamp::MAX), EXPIRED);
    }

    #[test]
    fn a_token_of_the_future_begins_five_seconds_early() {
        let begin = (MADE - 5) * 1_000_000;
        let token = signed(&payload());
        assert_eq!(verify_at(&token, micros(begin)), Ok(claims()));
        assert_eq!(verify_at(&token, micros(begin - 1)), INVALID);

        let token = signed(&with("nbf", MADE + 60));
        assert_eq!(verify_at(&token, micros(begin + 60_000_000)), Ok(claims()));
        assert_eq!(verify_at(&token, micros(begin + 59_999_999)), INVALID);
    }

    #[test]
    fn only_a_token_that_was_good_once_is_expired() {
        let late = seconds(EXPIRES + 60);
        let forged = sign(&Header::default(), &payload(), &key("other"));
        assert_eq!(verify_at(&forged, late), INVALID);
        assert_eq!(verify_at(&signed(&without("sid")), late), INVALID);
        let previous = sign(&Header::default(), &payload(), &key("previous"));
        assert_eq!(verify_at(&previous, late), EXPIRED);
    }

    #[test]
    fn an_address_that_is_none_is_refused() {
        assert_eq!(verify(&signed(&with("email", "nobody"))), INVALID);
    }

    #[test]
    fn it_does_not_print_its_keys() {
        let shown = format!("{:?}", issuer());
        assert_eq!(shown, r#"JwtIssuer { algorithm: HS256, keys: "***", .. }"#);
    }

    proptest! {
        #[test]
        fn garbage_is_refused(token in ".*") {
            prop_assert_eq!(verify(&token), INVALID);
        }

        #[test]
        fn garbage_of_the_right_shape_is_refused(
            header in r#"(\{"alg":"(HS256|none)"(,".{0,5}":.{0,5})?\}|.{0,20})"#,
            payload in ".{0,40}",
            signature in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            let [header, payload] = [header, payload].map(|part| URL_SAFE_NO_PAD.encode(part));
            let signature = URL_SAFE_NO_PAD.encode(signature);
            prop_assert_eq!(verify(&format!("{header}.{payload}.{signature}")), INVALID);
        }

        #[test]
        fn any_payload_that_we_signed_is_judged_without_a_panic(
            iat in any::<i64>(), exp in any::<i64>(), nbf in any::<i64>(), now in any::<i64>(),
        ) {
            let mut payload = with("iat", iat);
            payload["exp"] = exp.into();
            payload["nbf"] = nbf.into();
            let now = Timestamp::from_unix_micros(now).unwrap_or(Timestamp::MAX);
            let _ = verify_at(&signed(&payload), now);
        }
    }
}
