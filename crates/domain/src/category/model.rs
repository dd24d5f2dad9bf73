//! A category, and the values that make one.

use crate::access::Owned;
use crate::account::User;
use crate::clock::Timestamp;
use crate::id::Id;
use crate::text::{Invalid, text_value};

/// A name under which a user files tasks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Category {
    /// Made by the server.
    pub id: Id<Category>,
    /// Whose it is.
    pub owner: Id<User>,
    /// Unique among its owner's, with regard to case.
    pub name: CategoryName,
    /// How to show it.
    pub color: Color,
    /// When it was made.
    pub created_at: Timestamp,
}

impl Owned for Category {
    fn owner(&self) -> Id<User> {
        self.owner
    }
}

text_value! {
    /// A category's name: 3 to 50 characters.
    CategoryName, 3..=50
}

/// A colour as `#RRGGBB`, kept as it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Color(String);

impl Color {
    /// The colour of a category whose maker did not choose one.
    pub const DEFAULT: &'static str = "#6366F1";
    /// What a colour looks like, as a regular expression.
    pub const PATTERN: &'static str = "^#[0-9A-Fa-f]{6}$";

    /// Checks a colour, outer white space aside.
    pub fn parse(raw: &str) -> Result<Self, Invalid> {
        let color = raw.trim();
        let is_color = color.strip_prefix('#').is_some_and(|digits| {
            digits.len() == 6 && digits.chars().all(|c| c.is_ascii_hexdigit())
        });
        if is_color {
            Ok(Self(color.to_owned()))
        } else {
            Err(Invalid::new("format", "must be a colour like #6366F1"))
        }
    }

    /// The colour.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Color {
    fn default() -> Self {
        Self(Self::DEFAULT.to_owned())
    }
}
