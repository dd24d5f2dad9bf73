//! Which trace something belongs to.

/// A place in a trace, as the W3C's `traceparent` header names it:
/// `00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceParent(String);

impl TraceParent {
    /// The lengths of its parts: version, trace id, span id, flags.
    const PARTS: [usize; 4] = [2, 32, 16, 2];

    /// The place that a text names; `None` if it has not the form.
    pub fn parse(text: &str) -> Option<Self> {
        let hex = |part: &str| part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let lengths = text.split('-').map(str::len);
        let is_one = lengths.eq(Self::PARTS) && text.split('-').all(hex);
        is_one.then(|| Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Port: where in which trace the caller is.
#[cfg_attr(any(test, feature = "mocks"), mockall::automock)]
pub trait CurrentTrace: Send + Sync {
    /// The place, if there is a trace.
    fn parent(&self) -> Option<TraceParent>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_traceparent_is_one() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(TraceParent::parse(good).unwrap().as_str(), good);
        for bad in [
            "",
            "00",
            &good[1..],
            &format!("{good}-00"),
            &good.to_uppercase(),
            &good.replace('b', "ä"),
        ] {
            assert_eq!(TraceParent::parse(bad), None, "{bad}");
        }
    }
}
