//! What text has to be before it becomes a value, and how a value refuses.

use std::borrow::Cow;
use std::ops::RangeInclusive;

/// Why a value was refused: a stable code for programs, a sentence for people.
///
/// The sentence completes "*field* …": "must be 3 to 200 characters".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Invalid {
    /// One word, stable over versions: `length`, `format`, `past`, …
    pub code: &'static str,
    /// What is allowed.
    pub message: Cow<'static, str>,
}

impl Invalid {
    /// A refusal with its code and its sentence.
    pub fn new(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}

/// The refusal of a NUL character, which no store could keep.
pub(crate) fn no_nul(raw: &str) -> Result<(), Invalid> {
    if raw.contains('\0') {
        return Err(Invalid::new("nul", "must not contain the character U+0000"));
    }
    Ok(())
}

/// Text without its outer white space, its length counted in Unicode characters.
pub(crate) fn trimmed(raw: &str, length: &RangeInclusive<usize>) -> Result<String, Invalid> {
    no_nul(raw)?;
    let text = raw.trim();
    if length.contains(&text.chars().count()) {
        return Ok(text.to_owned());
    }
    let (min, max) = (length.start(), length.end());
    Err(Invalid::new(
        "length",
        if *min == 0 {
            format!("must be at most {max} characters")
        } else {
            format!("must be {min} to {max} characters")
        },
    ))
}

/// Declares a value type over trimmed text of a bounded length.
macro_rules! text_value {
    ($(#[$doc:meta])* $name:ident, $length:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            /// The allowed length in Unicode characters, after trimming.
            pub const LENGTH: std::ops::RangeInclusive<usize> = $length;

            /// Trims the text and checks its length.
            pub fn parse(raw: &str) -> Result<Self, $crate::text::Invalid> {
                $crate::text::trimmed(raw, &Self::LENGTH).map(Self)
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The text, given away.
            pub fn into_string(self) -> String {
                self.0
            }
        }
    };
}
pub(crate) use text_value;
