//! Whether Redis is asked at all, and whom it must not be believed about.

use std::collections::HashMap;

use tasks_domain::account::User;
use tasks_domain::id::Id;

/// How many users who could not be forgotten are remembered one by one, about half a megabyte.
/// When more change while Redis is away, everybody is forgotten when it is back.
const MAX_STALE: usize = 10_000;

/// A circuit breaker that closes only when no stale user is left.
///
/// A user is stale from before Redis is told to forget them until it has. Telling fails only where
/// the breaker is open or opens, and then it is up to whoever closes it; so nothing is lost in
/// between.
#[derive(Debug, Default)]
pub(crate) struct Breaker {
    open: bool,
    /// When each was marked last.
    stale: HashMap<Id<User>, Mark>,
    /// When there were too many, and everybody became stale.
    everybody: Option<Mark>,
    last: Mark,
}

/// Marks are counted, so that a user who was marked again meanwhile stays stale.
pub(crate) type Mark = u64;

/// Whom Redis has to forget.
#[derive(Debug)]
pub(crate) struct Stale {
    /// These.
    pub(crate) users: Vec<Id<User>>,
    /// All that it knows.
    pub(crate) everybody: bool,
    until: Mark,
}

impl Breaker {
    pub(crate) fn is_open(&self) -> bool {
        self.open
    }

    /// Opens it; false if it was open.
    pub(crate) fn open(&mut self) -> bool {
        !std::mem::replace(&mut self.open, true)
    }

    /// Closes it, or says whom Redis has to forget before.
    pub(crate) fn close(&mut self) -> Option<Stale> {
        if self.stale.is_empty() && self.everybody.is_none() {
            self.open = false;
            return None;
        }
        Some(Stale {
            users: self.stale.keys().copied().collect(),
            everybody: self.everybody.is_some(),
            until: self.last,
        })
    }

    /// Marks a user as stale.
    pub(crate) fn mark(&mut self, user: Id<User>) -> Mark {
        self.last += 1;
        self.stale.insert(user, self.last);
        if self.stale.len() > MAX_STALE {
            self.stale.clear();
            self.everybody = Some(self.last);
        }
        self.last
    }

    /// Whether Redis must not be asked about a user, nor told anything.
    pub(crate) fn is_blind_to(&self, user: Id<User>) -> bool {
        self.open || self.everybody.is_some() || self.stale.contains_key(&user)
    }

    /// Redis has forgotten a user after that mark was made.
    pub(crate) fn settle_one(&mut self, user: Id<User>, mark: Mark) {
        if self.stale.get(&user).is_some_and(|last| *last <= mark) {
            self.stale.remove(&user);
        }
    }

    /// Redis has forgotten all these.
    pub(crate) fn settle(&mut self, stale: &Stale) {
        self.stale.retain(|_, mark| *mark > stale.until);
        self.everybody = self.everybody.filter(|mark| *mark > stale.until);
    }
}

#[cfg(test)]
mod tests {
    use tasks_testkit::build;

    use super::*;

    #[test]
    fn it_closes_when_nobody_is_stale() {
        let mut breaker = Breaker::default();
        assert!(breaker.open());
        assert!(!breaker.open());
        let user = build::id();
        breaker.mark(user);
        let stale = breaker.close().unwrap();
        assert_eq!(stale.users, [user]);
        assert!(breaker.is_open());
        breaker.settle(&stale);
        assert!(breaker.close().is_none());
        assert!(!breaker.is_blind_to(user));
    }

    #[test]
    fn a_user_who_is_marked_again_stays_stale() {
        let (mut breaker, user) = (Breaker::default(), build::id());
        let first = breaker.mark(user);
        let stale = breaker.close().unwrap();
        let second = breaker.mark(user);
        breaker.settle(&stale);
        breaker.settle_one(user, first);
        assert!(breaker.is_blind_to(user));
        assert!(!breaker.is_blind_to(build::id()));
        breaker.settle_one(user, second);
        assert!(!breaker.is_blind_to(user));
    }

    #[test]
    fn the_later_call_settles_the_earlier_one_too() {
        let (mut breaker, user) = (Breaker::default(), build::id());
        let _first = breaker.mark(user);
        let second = breaker.mark(user);
        breaker.settle_one(user, second);
        assert!(!breaker.is_blind_to(user));
    }

    #[test]
    fn too_many_make_everybody_stale_until_all_are_forgotten() {
        let (mut breaker, stranger) = (Breaker::default(), build::id());
        for _ in 0..MAX_STALE {
            breaker.mark(build::id());
        }
        assert!(!breaker.is_blind_to(stranger));
        breaker.mark(build::id());
        assert!(breaker.is_blind_to(stranger));
        assert!(breaker.stale.is_empty());

        let stale = breaker.close().unwrap();
        assert!(stale.everybody);
        let late = build::id();
        breaker.mark(late);
        breaker.settle(&stale);
        assert!(!breaker.is_blind_to(stranger));
        assert!(breaker.is_blind_to(late));
    }
}
