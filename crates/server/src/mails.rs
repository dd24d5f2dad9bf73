//! Delivering mails beside the requests.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use tasks_domain::mail::{Delivery, DeliveryService, MailError, MailKind, OutboxSignal};
use tasks_domain::store::StoreError;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tracing::{error, warn};

use crate::failure::Failure;
use crate::metrics::{self, MailOutcome};

/// So many mails are under way at once: a mail server that is slow with one does not hold up the
/// others, and few servers take more connections from one sender.
const SENDERS: usize = 4;

/// How long to wait before the outbox is looked at again: others may have put something in, or
/// the time of another attempt may have come.
const POLL: Duration = Duration::from_secs(1);

/// How long mails are still begun when the service goes away. What is left is sent by another
/// instance, or after the next start.
const FLUSH: Duration = Duration::from_secs(5);

/// How often a store that fails is tried in that time.
const LAST_TRIES: Duration = Duration::from_millis(250);

/// How long the store may take with what was sent last: two of its deadlines.
const SETTLEMENT: Duration = Duration::from_secs(5);

/// How often a trouble that lasts is told again.
const REMINDER: Duration = Duration::from_mins(1);

/// Rings when a mail was added.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bell(Arc<Notify>);

impl OutboxSignal for Bell {
    fn added(&self) {
        self.0.notify_one();
    }
}

/// Senders at work.
pub(crate) struct Senders {
    tasks: JoinSet<()>,
    /// Until when mails are begun, once the service goes away.
    closing: watch::Sender<Option<Instant>>,
}

impl Senders {
    /// Begins to deliver when the database can be used. Until then it has no mail, and who looks after it
    /// says what is wrong.
    pub(crate) fn start(
        delivery: DeliveryService,
        bell: &Bell,
        is_usable: &watch::Receiver<bool>,
    ) -> Self {
        let delivery = Arc::new(delivery);
        let troubles = Arc::new(Troubles::default());
        let (closing, _) = watch::channel(None);
        let mut tasks = JoinSet::new();
        for _ in 0..SENDERS {
            let sender = Sender {
                delivery: delivery.clone(),
                bell: bell.clone(),
                troubles: troubles.clone(),
                closing: closing.subscribe(),
            };
            tasks.spawn(sender.run(is_usable.clone()));
        }
        Self { tasks, closing }
    }

    /// Sends what is due, and ends. A mail that is being sent is not given up in the middle: the server
    /// might have it already, and get it once more.
    pub(crate) async fn finish(mut self) {
        // Fails only if all have ended.
        let _ = self.closing.send(Some(Instant::now() + FLUSH));
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(FLUSH + DeliveryService::ATTEMPT + SETTLEMENT, ended)
            .await
            .is_err()
        {
            warn!("a mail was given up while it was being sent");
        }
    }
}

/// What a sender does next.
enum Next {
    /// There may be more.
    GoOn,
    /// Nothing is due.
    Rest,
    /// Something failed.
    TryAgain,
}

struct Sender {
    delivery: Arc<DeliveryService>,
    bell: Bell,
    troubles: Arc<Troubles>,
    closing: watch::Receiver<Option<Instant>>,
}

impl Sender {
    async fn run(mut self, mut is_usable: watch::Receiver<bool>) {
        tokio::select! {
            biased;
            usable = is_usable.wait_for(|is_usable| *is_usable) => {
                if usable.is_err() {
                    return;
                }
            }
            _ = self.closing.changed() => return,
        }
        loop {
            let end = *self.closing.borrow();
            if end.is_some_and(|end| end <= Instant::now()) {
                return;
            }
            match self.deliver_next().await {
                // Where one waited, there may be more for the others.
                Next::GoOn => self.bell.added(),
                Next::Rest if end.is_some() => return,
                // What was sent has to be noted, or it would be sent again.
                Next::TryAgain if end.is_some() => tokio::time::sleep(LAST_TRIES).await,
                Next::Rest | Next::TryAgain => self.wait().await,
            }
        }
    }

    async fn deliver_next(&self) -> Next {
        let attempt = AssertUnwindSafe(self.delivery.deliver_next()).catch_unwind();
        // What panicked is in the log; the mail's claim ends, and the sender goes on.
        let Ok(outcome) = attempt.await else {
            return Next::TryAgain;
        };
        self.troubles.report(&outcome);
        match outcome {
            Ok(Delivery::Idle) => Next::Rest,
            Err(_) => Next::TryAgain,
            Ok(Delivery::Moot | Delivery::Sent(_) | Delivery::Retried(..) | Delivery::Dead(..)) => {
                Next::GoOn
            }
        }
    }

    async fn wait(&mut self) {
        tokio::select! {
            () = self.bell.0.notified() => {}
            () = tokio::time::sleep(POLL) => {}
            _ = self.closing.changed() => {}
        }
    }
}

/// When trouble was last told, of the mail server and of the outbox: an outage does not fill the log. The
/// counters have every attempt.
#[derive(Debug, Default)]
struct Troubles {
    server: Trouble,
    outbox: Trouble,
}

#[derive(Debug, Default)]
struct Trouble(Mutex<Option<Instant>>);

impl Trouble {
    /// Whether to tell of it now. Not by its text, in which servers put addresses and numbers.
    fn is_due(&self) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = last.is_none_or(|last| last.elapsed() >= REMINDER);
        if is_due {
            *last = Some(Instant::now());
        }
        is_due
    }
}

impl Troubles {
    /// Counts and says what came of an attempt.
    fn report(&self, outcome: &Result<Delivery, StoreError>) {
        let delivery = match outcome {
            Ok(delivery) => delivery,
            Err(error) => {
                if self.outbox.is_due() {
                    let error = Failure::causes(error);
                    warn!(
                        error,
                        "mails cannot be delivered: the outbox cannot be used"
                    );
                }
                return;
            }
        };
        match delivery {
            Delivery::Idle | Delivery::Moot => {}
            Delivery::Sent(kind) => metrics::count_mail(*kind, MailOutcome::Sent),
            Delivery::Retried(kind, error) => {
                metrics::count_mail(*kind, MailOutcome::Retried);
                if self.server.is_due() {
                    let (mail_kind, error) = explained(*kind, error);
                    warn!(
                        mail_kind,
                        error, "a mail could not be sent, and will be tried again"
                    );
                }
            }
            Delivery::Dead(kind, error) => {
                metrics::count_mail(*kind, MailOutcome::Dead);
                let (mail_kind, error) = explained(*kind, error);
                error!(
                    mail_kind,
                    error, "a mail could not be sent, and is given up"
                );
            }
        }
    }
}

fn explained(kind: MailKind, error: &MailError) -> (&'static str, String) {
    (kind.as_str(), Failure::causes(error))
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use secrecy::ExposeSecret;
    use tasks_domain::account::UserRepository;
    use tasks_domain::mail::{Mail, MailTokens, Mailer, Outbox};
    use tasks_testkit::build;
    use tasks_testkit::clock::FrozenClock;
    use tasks_testkit::fakes::{FakeMailTokens, FakeStore, RecordingMailer};

    use super::*;

    struct Running {
        store: FakeStore,
        mailer: RecordingMailer,
        clock: FrozenClock,
        bell: Bell,
        senders: Senders,
    }

    /// Senders at work on a database that can be used.
    fn start(delivery: DeliveryService, bell: &Bell) -> Senders {
        let (_, is_usable) = watch::channel(true);
        Senders::start(delivery, bell, &is_usable)
    }

    /// Senders at work on an empty outbox.
    fn running() -> Running {
        let (store, mailer) = (FakeStore::default(), RecordingMailer::default());
        let (clock, bell) = (FrozenClock::at_noon(), Bell::default());
        let delivery = DeliveryService::new(
            Arc::new(store.clone()),
            Arc::new(mailer.clone()),
            Arc::new(FakeMailTokens::default()),
            Arc::new(clock.clone()),
        );
        let senders = start(delivery, &bell);
        Running {
            store,
            mailer,
            clock,
            bell,
            senders,
        }
    }

    /// So many mails wait, each to another user.
    async fn add(store: &FakeStore, count: usize) {
        for _ in 0..count {
            let mut account = build::account(&build::user().build());
            let token = FakeMailTokens::default().token(account.mail.id);
            account.mail.token = build::digest(token.expose_secret());
            store.register(account).await.unwrap();
        }
    }

    impl Running {
        async fn add(&self, count: usize) {
            add(&self.store, count).await;
        }

        /// Time passes until so many mails were sent.
        async fn sent(&self, count: usize) {
            while self.mailer.sent().len() < count {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_bell_has_everything_sent_that_waits() {
        let running = running();
        // Past the wait before the first look.
        tokio::time::sleep(POLL * 2).await;
        running.add(50).await;
        let before = tokio::time::Instant::now();
        running.bell.added();
        running.sent(50).await;
        assert!(before.elapsed() < POLL, "nobody waited for the next look");
    }

    #[tokio::test(start_paused = true)]
    async fn what_others_added_is_found_without_the_bell() {
        let running = running();
        running.add(10).await;
        running.sent(10).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_mail_that_failed_is_tried_again_when_its_time_has_come() {
        let running = running();
        let down = || MailError::Unavailable("down".into());
        running.mailer.fail_next(down());
        running.add(1).await;
        tokio::time::sleep(POLL * 5).await;
        assert_eq!(running.mailer.sent().len(), 0);
        running.clock.advance(DeliveryService::FIRST_RETRY);
        running.sent(1).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_fails_stops_nobody_for_good() {
        let running = running();
        running.add(3).await;
        running.store.fail_with_unavailable(true);
        tokio::time::sleep(POLL * 5).await;
        running.store.fail_with_unavailable(false);
        running.sent(3).await;
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_sent_before_the_database_can_be_used() {
        let (store, mailer) = (FakeStore::default(), RecordingMailer::default());
        let delivery = || {
            DeliveryService::new(
                Arc::new(store.clone()),
                Arc::new(mailer.clone()),
                Arc::new(FakeMailTokens::default()),
                Arc::new(FrozenClock::at_noon()),
            )
        };
        let (usable, is_usable) = watch::channel(false);
        add(&store, 1).await;
        let senders = Senders::start(delivery(), &Bell::default(), &is_usable);
        tokio::time::sleep(POLL * 5).await;
        senders.finish().await;
        assert_eq!(mailer.sent().len(), 0);

        let senders = Senders::start(delivery(), &Bell::default(), &is_usable);
        usable.send_replace(true);
        tokio::time::sleep(POLL * 5).await;
        assert_eq!(mailer.sent().len(), 1);
        senders.finish().await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_due_is_sent_before_the_service_goes_away() {
        let running = running();
        running.add(20).await;
        let Running {
            mailer, senders, ..
        } = running;
        senders.finish().await;
        assert_eq!(mailer.sent().len(), 20);
    }

    /// It would be sent twice otherwise.
    #[tokio::test(start_paused = true)]
    async fn a_mail_that_is_being_sent_is_sent_to_the_end() {
        let answer = DeliveryService::ATTEMPT.checked_sub(POLL).unwrap();
        let (store, mailer, bell) = (FakeStore::default(), Slow(answer), Bell::default());
        let delivery = DeliveryService::new(
            Arc::new(store.clone()),
            Arc::new(mailer),
            Arc::new(FakeMailTokens::default()),
            Arc::new(FrozenClock::at_noon()),
        );
        let senders = start(delivery, &bell);
        add(&store, SENDERS + 1).await;
        tokio::time::sleep(POLL * 2).await;
        senders.finish().await;
        assert_eq!(
            store.waiting().len(),
            1,
            "those begun were sent, the other not begun"
        );
    }

    /// Takes its time.
    struct Slow(Duration);

    #[async_trait]
    impl Mailer for Slow {
        async fn send(&self, _: &Mail) -> Result<(), MailError> {
            tokio::time::sleep(self.0).await;
            Ok(())
        }
    }

    /// Who starts next would send it again.
    #[tokio::test(start_paused = true)]
    async fn what_was_sent_is_noted_before_the_service_goes_away_though_the_store_fails_for_a_moment()
     {
        let (store, bell) = (FakeStore::default(), Bell::default());
        let delivery = DeliveryService::new(
            Arc::new(store.clone()),
            Arc::new(Slow(POLL)),
            Arc::new(FakeMailTokens::default()),
            Arc::new(FrozenClock::at_noon()),
        );
        let senders = start(delivery, &bell);
        add(&store, 1).await;
        // In the middle of the sending.
        tokio::time::sleep(POLL + POLL / 2).await;
        store.fail_with_unavailable(true);
        let back = async {
            tokio::time::sleep(POLL * 2).await;
            store.fail_with_unavailable(false);
        };
        tokio::join!(senders.finish(), back);
        assert_eq!(store.waiting().len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_mail_does_not_hold_up_the_others() {
        let (store, bell) = (FakeStore::default(), Bell::default());
        let delivery = DeliveryService::new(
            Arc::new(store.clone()),
            Arc::new(Slow(DeliveryService::ATTEMPT)),
            Arc::new(FakeMailTokens::default()),
            Arc::new(FrozenClock::at_noon()),
        );
        let _senders = start(delivery, &bell);
        add(&store, SENDERS).await;
        tokio::time::sleep(POLL * 2 + DeliveryService::ATTEMPT).await;
        assert_eq!(store.waiting().len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn mails_without_a_purpose_do_not_stop_the_others() {
        let running = running();
        for _ in 0..3 {
            let nobody = build::email(&format!(
                "{}@example.com",
                build::id::<()>().uuid().simple()
            ));
            let mail = build::mail(MailKind::ResetPassword, &nobody);
            running.store.add(mail).await.unwrap();
        }
        running.add(1).await;
        running.sent(1).await;
        assert_eq!(running.store.waiting().len(), 0);
    }
}
