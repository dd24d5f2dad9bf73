//! Password hashes, beside everything else.

use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;
use std::{hint, io, thread};

use async_trait::async_trait;
use bcrypt::HashParts;
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use tasks_domain::account::{HashError, Password, PasswordAttempt, PasswordHash, PasswordHasher};
use tokio::sync::oneshot;
use tracing::field::Empty;
use tracing::{Instrument, Span};

/// Hashes and compares passwords with bcrypt, on threads of its own.
///
/// What does not fit into the queue is refused at once. Work whose caller has gone is skipped.
/// The threads end when the hasher is dropped.
#[derive(Debug)]
pub struct BcryptHasher {
    bcrypt: Bcrypt,
    jobs: Sender<Job>,
}

/// A piece of work for one of the threads.
type Job = Box<dyn FnOnce() + Send>;

/// Why there is no hasher.
#[derive(Debug, thiserror::Error)]
pub enum BcryptHasherError {
    /// The cost is out of [range](BcryptHasher::COSTS).
    #[error(
        "a bcrypt cost must be {} to {}, not {_0}",
        BcryptHasher::COSTS.start(),
        BcryptHasher::COSTS.end()
    )]
    Cost(u32),
    /// The operating system gave no thread.
    #[error("no thread for hashing passwords")]
    Thread(#[source] io::Error),
}

impl BcryptHasher {
    /// The costs that are taken. bcrypt knows none below; above, one hash takes seconds.
    pub const COSTS: RangeInclusive<u32> = 4..=15;

    /// How long the last in the queue should wait at most: every request is to be answered within
    /// 5 s, and a password is not all that there is to do.
    const MAX_WAIT: Duration = Duration::from_millis(3_500);

    /// What one of the 2^cost rounds of a hash takes, about, on a core of the year 2026.
    const ROUND: Duration = Duration::from_micros(50);

    /// However quick a hash is, so many may wait at most.
    const MAX_QUEUE: usize = 1_024;

    /// How many may wait unless said otherwise: as many as are served in time, 17 for each thread
    /// at the usual cost of 12.
    pub fn default_queue(cost: u32, threads: NonZeroUsize) -> usize {
        let hash = Self::ROUND.saturating_mul(1_u32.checked_shl(cost).unwrap_or(u32::MAX));
        let by_one_thread = Self::MAX_WAIT.as_micros() / hash.as_micros().max(1);
        usize::try_from(by_one_thread)
            .unwrap_or(Self::MAX_QUEUE)
            .saturating_mul(threads.get())
            .clamp(1, Self::MAX_QUEUE)
    }

    /// How many threads hash unless said otherwise: one core is left for everybody who is not
    /// logging in.
    pub fn default_threads() -> NonZeroUsize {
        thread::available_parallelism()
            .ok()
            .and_then(|cores| NonZeroUsize::new(cores.get() - 1))
            .unwrap_or(NonZeroUsize::MIN)
    }

    /// Starts the threads. `cost` is the cost of new hashes, `queue` how many callers may wait
    /// beside those that are being served.
    pub fn new(cost: u32, threads: NonZeroUsize, queue: usize) -> Result<Self, BcryptHasherError> {
        if !Self::COSTS.contains(&cost) {
            return Err(BcryptHasherError::Cost(cost));
        }
        let (jobs, waiting) = bounded(queue);
        for number in 1..=threads.get() {
            let waiting = waiting.clone();
            thread::Builder::new()
                .name(format!("bcrypt-{number}"))
                .spawn(move || serve(&waiting))
                .map_err(BcryptHasherError::Thread)?;
        }
        Ok(Self {
            bcrypt: Bcrypt { cost },
            jobs,
        })
    }

    /// Has the work done on one of the threads.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(Bcrypt) -> T + Send + 'static,
    ) -> Result<T, HashError> {
        let (answer, answered) = oneshot::channel();
        let bcrypt = self.bcrypt;
        let span = Span::current();
        let job = move || {
            if !answer.is_closed() {
                let answered = span.in_scope(|| work(bcrypt));
                // The caller's alone from now on, so that it ends with the answer.
                drop(span);
                // Nobody is harmed by an answer that comes when the caller has gone.
                let _ = answer.send(answered);
            }
        };
        self.jobs
            .try_send(Box::new(job))
            .map_err(|refused| match refused {
                TrySendError::Full(_) => HashError::Overloaded,
                TrySendError::Disconnected(_) => HashError::Failed("no thread hashes".into()),
            })?;
        answered
            .await
            .map_err(|panicked| HashError::Failed(panicked.into()))
    }
}

/// What a thread does until the hasher is dropped. A job that panics takes no thread with it; its
/// caller learns of it by the answer that does not come.
fn serve(jobs: &Receiver<Job>) {
    for job in jobs {
        if catch_unwind(AssertUnwindSafe(job)).is_err() {
            tracing::error!("hashing a password panicked");
        }
    }
}

#[async_trait]
impl PasswordHasher for BcryptHasher {
    async fn hash(&self, password: Password) -> Result<PasswordHash, HashError> {
        let hashed = async {
            self.run(move |bcrypt| bcrypt.hash(&password))
                .await?
                .map_err(|error| HashError::Failed(error.into()))
        };
        let span = tracing::debug_span!(
            "hash password",
            otel.status_code = Empty,
            error.type = Empty
        );
        traced(span, hashed).await
    }

    async fn verify(
        &self,
        attempt: PasswordAttempt,
        hash: Option<PasswordHash>,
    ) -> Result<bool, HashError> {
        let verified = self.run(move |bcrypt| bcrypt.verify(&attempt, hash.as_ref()));
        let span = tracing::debug_span!(
            "verify password",
            otel.status_code = Empty,
            error.type = Empty
        );
        traced(span, verified).await
    }
}

/// Waits in a span. A failure marks it, and the caller's, whose request fails with it.
async fn traced<T>(
    span: Span,
    work: impl Future<Output = Result<T, HashError>>,
) -> Result<T, HashError> {
    let result = work.instrument(span.clone()).await;
    if let Err(error) = &result {
        let kind = match error {
            HashError::Overloaded => "overloaded",
            HashError::Failed(_) => "failed",
        };
        span.record("error.type", kind);
        for failed in [span, Span::current()] {
            failed.record("otel.status_code", "ERROR");
        }
    }
    result
}

/// The computation itself, at the cost of new hashes.
#[derive(Clone, Copy, Debug)]
struct Bcrypt {
    cost: u32,
}

impl Bcrypt {
    /// Not `non_truncating_hash`: that wants room for a closing NUL and refuses 72 bytes, all of
    /// which bcrypt does use. More than 72 no [`Password`] has.
    fn hash(self, password: &Password) -> bcrypt::BcryptResult<PasswordHash> {
        compute(self.cost, |cost| bcrypt::hash(password.expose(), cost)).map(PasswordHash::new)
    }

    /// Every way through here computes the rounds of one hash at the live cost.
    fn verify(self, attempt: &PasswordAttempt, hash: Option<&PasswordHash>) -> bool {
        let stored = hash.and_then(|hash| Some((hash.expose(), cost_of(hash)?)));
        let is_right = if let (Some(password), Some((hash, cost))) = (attempt.comparable(), stored)
        {
            let is_right = compute(cost, |_| bcrypt::verify(password, hash));
            // A hash of a time when the cost was lower is compared sooner. The costs from its own
            // up to the live one make up for it: 2^c + 2^c + 2^(c+1) + … + 2^(live-1) = 2^live.
            (cost..self.cost).for_each(spend);
            is_right.unwrap_or(false)
        } else {
            spend(self.cost);
            false
        };
        if hash.is_some() && stored.is_none() {
            tracing::error!("a stored password hash is malformed; its account cannot log in");
        }
        is_right
    }
}

/// Computes a hash of nothing, for the time it takes.
fn spend(cost: u32) {
    compute(cost, |cost| {
        hint::black_box(bcrypt::hash_with_salt("", cost, [0; 16])).is_ok()
    });
}

/// Does a computation of a cost. All of them pass through here, where tests count them.
fn compute<T>(cost: u32, computation: impl FnOnce(u32) -> T) -> T {
    #[cfg(test)]
    tests::ROUNDS.set(tests::ROUNDS.get() + (1 << cost));
    computation(cost)
}

/// The cost of a stored hash that is well-formed.
fn cost_of(hash: &PasswordHash) -> Option<u32> {
    let parts: HashParts = hash.expose().parse().ok()?;
    Some(parts.get_cost()).filter(|cost| BcryptHasher::COSTS.contains(cost))
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::fmt;
    use std::pin::{Pin, pin};
    use std::sync::mpsc;
    use std::task::{Context, Poll, Waker};
    use std::time::Duration;

    use super::*;
    use crate::test_log::logged;
    use crate::test_trace::{Fields, Spans, TraceSpan};

    thread_local! {
        /// How many rounds this thread has computed, which is what takes the time.
        pub(super) static ROUNDS: Cell<u64> = const { Cell::new(0) };
    }

    const COST: u32 = 5;
    /// Of the authors of bcrypt's C library, at cost 5.
    const KNOWN: (&str, &str) = (
        "U*U*U",
        "$2a$05$XXXXXXXXXXXXXXXXXXXXXOAcXxm9kjPGEMsLznoKqmqw7tc8WCx4a",
    );
    const ONE: NonZeroUsize = NonZeroUsize::MIN;

    fn attempt(raw: &str) -> PasswordAttempt {
        PasswordAttempt::new(raw)
    }

    fn hasher(queue: usize) -> BcryptHasher {
        BcryptHasher::new(4, ONE, queue).unwrap()
    }

    #[test]
    fn as_many_may_wait_as_are_served_in_time() {
        let two = NonZeroUsize::new(2).unwrap();
        assert_eq!(BcryptHasher::default_queue(12, ONE), 17);
        assert_eq!(BcryptHasher::default_queue(12, two), 34);
        assert_eq!(BcryptHasher::default_queue(15, ONE), 2);
        assert_eq!(BcryptHasher::default_queue(4, two), BcryptHasher::MAX_QUEUE);
    }

    #[derive(Debug, PartialEq)]
    struct Verified {
        is_right: bool,
        rounds: u64,
        log: String,
    }

    /// Always with a log: whether a line is wanted at all is remembered from its first use, on
    /// whatever thread that was.
    fn verify(raw: &str, hash: Option<&str>) -> Verified {
        let hash = hash.map(PasswordHash::new);
        let before = ROUNDS.get();
        let mut is_right = false;
        let log = logged(|| {
            is_right = Bcrypt { cost: COST }.verify(&attempt(raw), hash.as_ref());
        });
        Verified {
            is_right,
            rounds: ROUNDS.get() - before,
            log,
        }
    }

    #[test]
    fn every_way_takes_as_many_rounds() {
        let (password, hash) = KNOWN;
        let older = bcrypt::hash(password, COST - 1).unwrap();
        let long = "x".repeat(73);
        for (raw, hash, is_right) in [
            (password, Some(hash), true),
            ("wrong", Some(hash), false),
            ("", Some(hash), false),
            (password, None, false),
            (&long, Some(hash), false),
            (&long, None, false),
            ("U*U*U\0", Some(hash), false),
            (password, Some(&older), true),
            ("wrong", Some(&older), false),
        ] {
            let expected = Verified {
                is_right,
                rounds: 1 << COST,
                log: String::new(),
            };
            assert_eq!(verify(raw, hash), expected, "{raw:?} {hash:?}");
        }
    }

    #[test]
    fn a_malformed_hash_takes_as_many_and_raises_an_alarm_that_does_not_show_it() {
        let (password, hash) = KNOWN;
        let endless = hash.replace("$05$", "$31$");
        let foreign = hash.replace("Xx", "Žž");
        for hash in ["", "no-hash", &hash[..59], &endless, &foreign] {
            for raw in [password, "wrong", "U*U*U\0"] {
                let verified = verify(raw, Some(hash));
                assert!(!verified.is_right, "{hash}");
                assert_eq!(verified.rounds, 1 << COST, "{hash}");
                let log = verified.log;
                assert_eq!(log.lines().count(), 1, "{log}");
                assert!(log.contains("ERROR") && log.contains("malformed"), "{log}");
                assert!(hash.is_empty() || !log.contains(hash), "{log}");
            }
        }
    }

    #[test]
    fn nothing_longer_than_72_bytes_matches_its_beginning() {
        let longest = "x".repeat(72);
        let hash = bcrypt::hash(&longest, COST).unwrap();
        assert!(verify(&longest, Some(&hash)).is_right);
        assert!(!verify(&"x".repeat(73), Some(&hash)).is_right);
    }

    #[test]
    fn a_nul_does_not_end_a_password() {
        let hash = bcrypt::hash("Passw0rd!", COST).unwrap();
        assert!(!verify("Passw0rd!\0", Some(&hash)).is_right);
        // bcrypt repeats the password and its NUL, and so could not tell these apart.
        assert!(!verify("Passw0rd!\0Passw0rd!", Some(&hash)).is_right);
    }

    #[tokio::test]
    async fn a_hash_matches_its_password_alone() {
        let hasher = hasher(1);
        let password = Password::parse("Passw0rd!").unwrap();
        let hash = hasher.hash(password.clone()).await.unwrap();
        assert!(hash.expose().starts_with("$2b$04$"));
        let is_right = |raw| hasher.verify(attempt(raw), Some(hash.clone()));
        assert!(is_right("Passw0rd!").await.unwrap());
        assert!(!is_right("passw0rd!").await.unwrap());
        let again = hasher.hash(password).await.unwrap();
        assert_ne!(hash.expose(), again.expose());
    }

    #[tokio::test]
    async fn all_of_72_bytes_count() {
        let hasher = hasher(1);
        let raw = |last| format!("Passw0rd!{}{last}", "x".repeat(62));
        let password = Password::parse(&raw('a')).unwrap();
        assert_eq!(password.expose().len(), 72);
        let hash = Some(hasher.hash(password).await.unwrap());
        let is_right = |last| hasher.verify(attempt(&raw(last)), hash.clone());
        assert!(is_right('a').await.unwrap());
        assert!(!is_right('b').await.unwrap());
    }

    #[tokio::test]
    async fn a_known_hash_matches() {
        let (password, hash) = KNOWN;
        let hasher = hasher(1);
        assert!(
            hasher
                .verify(attempt(password), Some(PasswordHash::new(hash)))
                .await
                .unwrap()
        );
        assert!(!hasher.verify(attempt(password), None).await.unwrap());
    }

    #[test]
    fn a_cost_out_of_range_is_refused() {
        for cost in [0, 3, 16, 31, 32] {
            let refused = BcryptHasher::new(cost, ONE, 1);
            assert!(matches!(refused, Err(BcryptHasherError::Cost(c)) if c == cost));
        }
        assert_eq!(
            BcryptHasherError::Cost(3).to_string(),
            "a bcrypt cost must be 4 to 15, not 3"
        );
    }

    /// Keeps the only thread of a hasher busy. It is free again when the sender is dropped.
    fn block(
        hasher: &BcryptHasher,
    ) -> (
        impl Future<Output = Result<(), HashError>>,
        mpsc::Sender<()>,
    ) {
        let (release, released) = mpsc::channel::<()>();
        let (started, has_started) = mpsc::channel();
        let mut blocked = Box::pin(hasher.run(move |_| {
            started.send(()).unwrap();
            released.recv().unwrap_err();
        }));
        assert!(poll(blocked.as_mut()).is_none());
        has_started.recv().unwrap();
        (blocked, release)
    }

    fn poll<F: Future>(future: Pin<&mut F>) -> Option<F::Output> {
        match future.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(answer) => Some(answer),
            Poll::Pending => None,
        }
    }

    #[tokio::test]
    async fn what_does_not_fit_into_the_queue_is_refused_at_once() {
        let hasher = hasher(1);
        let (blocked, release) = block(&hasher);
        let mut waiting =
            pin!(hasher.verify(attempt("Passw0rd!"), Some(PasswordHash::new(KNOWN.1))));
        assert!(poll(waiting.as_mut()).is_none());

        let password = Password::parse("Passw0rd!").unwrap();
        let refused = poll(pin!(hasher.hash(password)));
        assert!(matches!(refused, Some(Err(HashError::Overloaded))));
        let refused = poll(pin!(hasher.verify(attempt("Passw0rd!"), None)));
        assert!(matches!(refused, Some(Err(HashError::Overloaded))));

        drop(release);
        blocked.await.unwrap();
        assert!(!waiting.await.unwrap());
    }

    #[tokio::test]
    async fn work_whose_caller_has_gone_is_skipped() {
        let hasher = hasher(2);
        let (blocked, release) = block(&hasher);
        let (done, is_done) = mpsc::channel();
        {
            let mut abandoned = pin!(hasher.run(move |_| done.send(()).unwrap()));
            assert!(poll(abandoned.as_mut()).is_none());
        }
        drop(release);
        blocked.await.unwrap();
        hasher.run(|_| ()).await.unwrap();
        assert_eq!(is_done.try_recv(), Err(mpsc::TryRecvError::Disconnected));
    }

    #[tokio::test]
    async fn a_panic_costs_its_caller_the_answer_and_nobody_else() {
        let hasher = hasher(1);
        let panicked = hasher.run(|_| panic!("on purpose")).await;
        assert!(matches!(panicked, Err::<(), _>(HashError::Failed(_))));
        assert!(
            hasher
                .verify(attempt(KNOWN.0), Some(PasswordHash::new(KNOWN.1)))
                .await
                .unwrap()
        );
    }

    /// What traces say of the caller, and of what it asked for.
    fn caller_and(spans: &Spans) -> [TraceSpan; 2] {
        spans.all().try_into().unwrap()
    }

    fn fields(expected: &[(&'static str, &str)]) -> Fields {
        Fields(
            expected
                .iter()
                .map(|(name, value)| (*name, (*value).to_owned()))
                .collect(),
        )
    }

    fn use_case() -> Span {
        tracing::info_span!("use case", otel.status_code = Empty)
    }

    #[tokio::test]
    async fn each_computation_is_a_span_of_its_callers_that_says_nothing_of_the_password() {
        let hasher = hasher(1);
        let (spans, _collecting) = Spans::collect();
        let password = Password::parse("Passw0rd!").unwrap();
        hasher.hash(password).instrument(use_case()).await.unwrap();
        // A wrong password is no failure.
        let hash = Some(PasswordHash::new(KNOWN.1));
        let is_right = hasher
            .verify(attempt("wrong"), hash)
            .instrument(use_case())
            .await;
        assert!(!is_right.unwrap());

        let all = spans.all();
        for (two, name) in all.chunks(2).zip(["hash password", "verify password"]) {
            let [caller, computation] = two else {
                panic!("{two:?}");
            };
            assert_eq!(
                (computation.name, computation.parent),
                (name, Some("use case"))
            );
            assert_eq!(
                computation.fields.0.len() + caller.fields.0.len(),
                0,
                "{two:?}"
            );
            assert!(computation.is_over, "{two:?}");
        }
        assert_eq!(all.len(), 4, "{all:?}");
    }

    #[tokio::test]
    async fn waiting_in_the_queue_belongs_to_the_span() {
        let hasher = hasher(1);
        let (blocked, release) = block(&hasher);
        let (spans, _collecting) = Spans::collect();
        let mut waiting = pin!(hasher.verify(attempt("wrong"), None).instrument(use_case()));
        assert!(poll(waiting.as_mut()).is_none());
        assert!(!caller_and(&spans)[1].is_over);
        drop(release);
        blocked.await.unwrap();
        waiting.await.unwrap();
        assert!(caller_and(&spans)[1].is_over);
    }

    /// The two spans of a computation that fails.
    async fn failing<T: fmt::Debug>(
        computation: impl Future<Output = Result<T, HashError>>,
    ) -> [TraceSpan; 2] {
        let (spans, _collecting) = Spans::collect();
        let failed = computation.instrument(use_case()).await;
        failed.unwrap_err();
        caller_and(&spans)
    }

    #[tokio::test]
    async fn what_is_refused_has_failed_in_traces_and_so_has_its_caller() {
        let hasher = hasher(1);
        let (_blocked, _release) = block(&hasher);
        let mut waiting = pin!(hasher.run(|_| ()));
        assert!(poll(waiting.as_mut()).is_none());
        let password = Password::parse("Passw0rd!").unwrap();
        for [caller, refused] in [
            failing(hasher.hash(password)).await,
            failing(hasher.verify(attempt("Passw0rd!"), None)).await,
        ] {
            assert_eq!(caller.fields, fields(&[("otel.status_code", "ERROR")]));
            let expected = [("error.type", "overloaded"), ("otel.status_code", "ERROR")];
            assert_eq!(refused.fields, fields(&expected), "{}", refused.name);
        }
    }

    #[tokio::test]
    async fn what_panics_has_failed_in_traces() {
        let hasher = hasher(1);
        let panicking = async {
            let span = tracing::debug_span!("it", otel.status_code = Empty, error.type = Empty);
            traced(span, hasher.run(|_| panic!("on purpose"))).await
        };
        let [_, panicked] = failing::<()>(panicking).await;
        let expected = [("error.type", "failed"), ("otel.status_code", "ERROR")];
        assert_eq!(panicked.fields, fields(&expected));
    }

    #[tokio::test]
    async fn nothing_is_traced_for_somebody_who_is_not() {
        let hasher = hasher(1);
        let (spans, _collecting) = Spans::collect();
        hasher.verify(attempt("wrong"), None).await.unwrap();
        assert_eq!(spans.all().len(), 0);
    }

    #[tokio::test]
    async fn its_threads_have_names_and_end_with_it() {
        thread_local! {
            static ENDS_WITH_THREAD: RefCell<Option<mpsc::Sender<()>>> =
                const { RefCell::new(None) };
        }
        let hasher = hasher(1);
        let (alive, has_ended) = mpsc::channel();
        let name = hasher
            .run(move |_| {
                ENDS_WITH_THREAD.set(Some(alive));
                thread::current().name().map(str::to_owned)
            })
            .await
            .unwrap();
        assert_eq!(name.as_deref(), Some("bcrypt-1"));
        assert_eq!(has_ended.try_recv(), Err(mpsc::TryRecvError::Empty));
        drop(hasher);
        // The minute only ends a test that has failed.
        assert_eq!(
            has_ended.recv_timeout(Duration::from_mins(1)),
            Err(mpsc::RecvTimeoutError::Disconnected)
        );
    }
}
