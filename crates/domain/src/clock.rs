//! Time, as a value and as a port.

use std::fmt;
use std::num::NonZero;
use std::time::Duration;

use time::format_description::well_known::Iso8601;
use time::format_description::well_known::iso8601::{Config, TimePrecision};
use time::{OffsetDateTime, UtcOffset};

/// RFC 3339 with all six digits of a second. (A format that the compiler knows takes a quarter of the time of
/// a described one, and a page has sixty times.)
const RFC3339: Iso8601<
    {
        let decimal_digits = NonZero::new(6);
        let precision = TimePrecision::Second { decimal_digits };
        Config::DEFAULT.set_time_precision(precision).encode()
    },
> = Iso8601;

/// An instant in UTC, to the microsecond: the resolution that every store keeps, so that a time
/// reads back as it was answered.
///
/// It lies within the years 1 to 9999, which RFC 3339 can write.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    unix_micros: i64,
}

impl Timestamp {
    /// 0001-01-01T00:00:00Z.
    pub const MIN: Self = Self {
        unix_micros: -62_135_596_800_000_000,
    };
    /// 9999-12-31T23:59:59.999999Z.
    pub const MAX: Self = Self {
        unix_micros: 253_402_300_799_999_999,
    };

    /// The instant, cut to the microsecond; `None` outside the years 1 to 9999 of UTC.
    pub fn new(at: OffsetDateTime) -> Option<Self> {
        i64::try_from(at.unix_timestamp_nanos().div_euclid(1_000))
            .ok()
            .and_then(Self::from_unix_micros)
    }

    /// The instant so many microseconds after 1970; `None` outside the years 1 to 9999.
    pub const fn from_unix_micros(unix_micros: i64) -> Option<Self> {
        if Self::MIN.unix_micros <= unix_micros && unix_micros <= Self::MAX.unix_micros {
            Some(Self { unix_micros })
        } else {
            None
        }
    }

    /// Microseconds since 1970.
    pub const fn unix_micros(self) -> i64 {
        self.unix_micros
    }

    /// Whole seconds since 1970, rounded down.
    pub const fn unix_seconds(self) -> i64 {
        self.unix_micros.div_euclid(1_000_000)
    }

    /// The same instant for calendars and formats, in UTC.
    pub fn to_utc(self) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.unix_micros) * 1_000)
            .unwrap_or(OffsetDateTime::UNIX_EPOCH)
            .to_offset(UtcOffset::UTC)
    }

    /// The instant as RFC 3339 writes it, in UTC, always to the microsecond, so that it looks the same from
    /// every store and on every read: `2030-01-31T12:00:00.000000Z`.
    pub fn to_rfc3339(self) -> String {
        // The years 1 to 9999 have a text.
        self.to_utc().format(&RFC3339).unwrap_or_default()
    }

    /// The instant that much later, at most [`Timestamp::MAX`].
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Self {
            unix_micros: self.unix_micros.saturating_add(micros),
        }
        .min(Self::MAX)
    }

    /// The instant that much earlier, at least [`Timestamp::MIN`].
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Self {
            unix_micros: self.unix_micros.saturating_sub(micros),
        }
        .max(Self::MIN)
    }

    /// How long ago `earlier` was; zero if it is still to come.
    pub fn since(self, earlier: Self) -> Duration {
        u64::try_from(self.unix_micros.saturating_sub(earlier.unix_micros))
            .map_or(Duration::ZERO, Duration::from_micros)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.to_utc(), f)
    }
}

/// Port: tells the time.
#[cfg_attr(any(test, feature = "mocks"), mockall::automock)]
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Timestamp;
}
