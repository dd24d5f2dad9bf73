//! New ids.

use tasks_domain::id::IdGenerator;
use uuid::Uuid;

/// Makes version 7 UUIDs. Each is greater than every one before it in this process.
#[derive(Clone, Copy, Debug, Default)]
pub struct UuidV7Ids;

impl IdGenerator for UuidV7Ids {
    #[expect(clippy::disallowed_methods, reason = "this is the port's adapter")]
    fn next_uuid(&self) -> Uuid {
        Uuid::now_v7()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_of_version_7_and_rise_within_one_millisecond() {
        let ids: Vec<_> = (0..10_000).map(|_| UuidV7Ids.next_uuid()).collect();
        assert!(ids.iter().all(|id| id.get_version_num() == 7));
        assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
