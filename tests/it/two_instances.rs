//! Two instances of the service are one to whoever uses them.

use std::cell::Cell;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tasks_testkit::servers::RedisServer;

use crate::limits::{self, WINDOW};
use crate::support::{
    Answer, Client, Database, NEW_PASSWORD, PASSWORD, Service, Setup, WRONG_PASSWORD, at_once,
    database, eventually, redis, sql,
};

/// The contract: so long after its end a session may still be taken for open on another instance.
const EVERYWHERE: Duration = Duration::from_secs(1);
/// So often a machine may be too busy to be in time: who remembers for too long is late each time.
const ATTEMPTS: usize = 3;
/// What a busy machine may add at most.
const SLACK: Duration = Duration::from_secs(1);

/// Two processes with one key on one database.
struct Pair {
    services: [Service; 2],
    // These end after the processes that use them.
    database: Database,
    redis: Option<RedisServer>,
}

impl Pair {
    fn with_redis(change: impl FnOnce(Setup) -> Setup) -> Self {
        let redis = redis();
        let setup = change(Setup::new().with("REDIS_URL", &redis.url()));
        Self::start(setup, Some(redis))
    }

    fn without_redis() -> Self {
        Self::start(Setup::new(), None)
    }

    fn start(setup: Setup, redis: Option<RedisServer>) -> Self {
        let database = database();
        let setup = setup
            .on_postgres(&database.url)
            .with("JWT_SECRET_KEY", &"k".repeat(32));
        Self {
            services: [setup.start(), setup.start()],
            database,
            redis,
        }
    }

    /// Somebody with an account, who speaks to both.
    fn register(&self) -> ([Client; 2], Value) {
        let (_, grant) = self.services[0].register("ada@example.com");
        (self.clients(&grant), grant)
    }

    fn clients(&self, grant: &Value) -> [Client; 2] {
        let token = grant["access_token"].as_str().unwrap();
        self.services
            .each_ref()
            .map(|service| service.client().with_token(token))
    }

    fn redis(&self) -> &RedisServer {
        self.redis.as_ref().unwrap()
    }

    /// The token of a mail's link, whichever of the two brought it on its way.
    fn mail_token(&self, kind: &str, to: &str) -> String {
        eventually("a log tells of the mail", || {
            let mut services = self.services.iter();
            services.find_map(|service| service.mail_tokens(kind, to).pop())
        })
    }

    /// A session of a new user's, and what ends it on the first instance: a call, and its status.
    fn session(&self, ending: Ending, email: &str) -> (Value, Box<dyn Fn() -> u16>) {
        let (client, grant) = self.services[0].register(email);
        let token = json!({ "refresh_token": grant["refresh_token"] });
        let other = client.log_in(email, PASSWORD).body;
        let [other, _] = self.clients(&other);
        let end: Box<dyn Fn() -> u16> = match ending {
            Ending::LogOut => Box::new(move || other.auth("logout", &token).status),
            Ending::EndOne => {
                let sessions = client.get("/api/v1/users/me/sessions").body;
                let mut sessions = sessions["items"].as_array().unwrap().iter();
                let own = sessions.find(|session| session["current"] == true).unwrap();
                let id = own["id"].as_str().unwrap().to_owned();
                Box::new(move || {
                    other
                        .delete(&format!("/api/v1/users/me/sessions/{id}"))
                        .status
                })
            }
            Ending::EndAll => Box::new(move || other.delete("/api/v1/users/me/sessions").status),
            Ending::ChangePassword => {
                Box::new(move || other.change_password(PASSWORD, NEW_PASSWORD).status)
            }
            Ending::ResetPassword => {
                client.auth("forgot-password", &json!({ "email": email }));
                let token = self.mail_token("reset_password", email);
                let body = json!({ "token": token, "new_password": NEW_PASSWORD });
                Box::new(move || other.auth("reset-password", &body).status)
            }
            Ending::Theft => {
                assert_eq!(client.refresh(&grant).status, 200);
                self.a_while_passes();
                Box::new(move || other.auth("refresh", &token).status)
            }
            Ending::DeleteAccount => Box::new(move || other.delete_account(PASSWORD).status),
        };
        (grant, end)
    }

    /// Until a used refresh token is no client's own retry any more.
    fn a_while_passes(&self) {
        let rows = sql(
            &self.database.url,
            "UPDATE refresh_tokens SET revoked_at = revoked_at - interval '11 s'
             WHERE revoked_at IS NOT NULL RETURNING 1",
        );
        assert!(!rows.is_empty());
    }

    /// Waits until both have the user from a cache, and so do not see what is changed behind their
    /// backs.
    fn both_remember(&self, grant: &Value) {
        let id = grant["user"]["id"].as_str().unwrap();
        let names = || {
            self.clients(grant)
                .map(|client| client.me().body["full_name"].clone())
        };
        let mut name = 0;
        eventually("both remember the user", || {
            let before = names();
            name += 1;
            let change = format!("UPDATE users SET full_name = 'Ada {name}' WHERE id = '{id}'");
            sql(&self.database.url, &change);
            (names() == before).then_some(())
        });
    }

    /// That a session is over: at once on the first, and soon on the other. Whether it was in time there:
    /// no request that was sent too long after the end found it open.
    fn is_soon_over(&self, grant: &Value, ended: Instant) -> bool {
        let [one, other] = self.clients(grant);
        is_over(&one.me());
        let mut last_sent = Duration::ZERO;
        eventually("the session is over", || {
            let sent = ended.elapsed();
            let answer = other.me();
            if answer.status == 200 {
                last_sent = sent;
                return None;
            }
            is_over(&answer);
            Some(())
        });
        assert!(last_sent < EVERYWHERE + SLACK, "open after {last_sent:?}");
        last_sent < EVERYWHERE
    }
}

/// What ends sessions.
#[derive(Clone, Copy, Debug)]
enum Ending {
    LogOut,
    EndOne,
    EndAll,
    ChangePassword,
    ResetPassword,
    Theft,
    DeleteAccount,
}

impl Ending {
    const ALL: [Self; 7] = [
        Self::LogOut,
        Self::EndOne,
        Self::EndAll,
        Self::ChangePassword,
        Self::ResetPassword,
        Self::Theft,
        Self::DeleteAccount,
    ];
}

fn is_over(answer: &Answer) {
    assert!(answer.is_refusal(401, "token_invalid"), "{answer:?}");
}

/// Ends sessions in every way on one instance, and checks that they are over on the other too. What
/// happens meanwhile is told how to end one, and how to check that it is over.
fn ends_everywhere(pair: &Pair, meanwhile: impl Fn(&dyn Fn(), &dyn Fn())) {
    let mut ended = Vec::new();
    for ending in Ending::ALL {
        let in_time = (0..ATTEMPTS).any(|attempt| {
            let email = format!("{ending:?}.{attempt}@example.com").to_lowercase();
            let (grant, end) = pair.session(ending, &email);
            pair.both_remember(&grant);
            let (at, in_time) = (Cell::new(None), Cell::new(true));
            let end = || {
                // A stolen token gets nothing.
                let stolen = matches!(ending, Ending::Theft);
                let expected = if stolen { 401 } else { 204 };
                assert_eq!(end(), expected, "{ending:?}");
                at.set(Some(Instant::now()));
            };
            let is_over = || {
                let is_in_time = pair.is_soon_over(&grant, at.get().unwrap());
                in_time.set(in_time.get() && is_in_time);
            };
            meanwhile(&end, &is_over);
            ended.push(grant);
            in_time.get()
        });
        assert!(in_time, "{ending:?}: still open after {EVERYWHERE:?}");
    }
    // None comes back, nor when caches are believed again.
    let (_, another) = pair.services[0].register("another@example.com");
    pair.both_remember(&another);
    for grant in &ended {
        for client in pair.clients(grant) {
            is_over(&client.me());
        }
    }
}

fn count(answers: &[Answer], fits: impl Fn(&Answer) -> bool) -> usize {
    answers.iter().filter(|answer| fits(answer)).count()
}

fn statuses(answers: &[Answer]) -> Vec<u16> {
    answers.iter().map(|answer| answer.status).collect()
}

/// Checks that the quota was kept, and what each answer says of it, in whatever order they were counted.
fn is_kept(answers: &[Answer], name: &str, quota: u32, is_passed: fn(&Answer) -> bool) {
    let mut remaining = limits::remaining(answers, name, quota, is_passed);
    remaining.sort_unstable();
    assert!(
        remaining.into_iter().eq(0..quota),
        "{:?}",
        statuses(answers)
    );
}

/// What comes back from a burst of requests of which each was counted.
///
/// Where a machine is so busy that Redis is not heard within its 100 ms, a request passes
/// uncounted, as it should; that says nothing about counting, nor does a burst of which the first requests
/// do not count any more when the last one comes, so there is another.
fn counted(pair: &Pair, requests: usize, ask: impl Fn(&Service) -> Answer + Sync) -> Vec<Answer> {
    let redis = pair.redis.as_ref().unwrap();
    let is_counted = |answer: &Answer| !answer.header("ratelimit").is_empty();
    eventually("every request is counted", || {
        // Both reach Redis, which has counted nothing yet.
        let reached = pair
            .services
            .iter()
            .map(&ask)
            .all(|answer| is_counted(&answer));
        assert_eq!(redis.command("FLUSHALL"), "+OK");
        let began = Instant::now();
        let answers = at_once(requests, |number| ask(&pair.services[number % 2]));
        let is_one_window = began.elapsed() < WINDOW;
        (reached && is_one_window && answers.iter().all(is_counted)).then_some(answers)
    })
}

#[test]
fn a_user_has_one_quota() {
    let pair = Pair::with_redis(|setup| setup.with("ENABLE_RATE_LIMITING", "true"));
    let (_, grant) = pair.register();
    let token = grant["access_token"].as_str().unwrap();
    let answers = counted(&pair, 130, |service| {
        service.client().with_token(token).get("/api/v1/tasks")
    });
    is_kept(&answers, "user", 100, |answer| answer.status == 200);
}

#[test]
fn an_address_has_one_quota() {
    let pair = Pair::with_redis(|setup| setup.with("ENABLE_RATE_LIMITING", "true"));
    let answers = counted(&pair, 30, |service| service.client().get("/api/v1/tasks"));
    let is_passed = |answer: &Answer| answer.is_refusal(401, "token_missing");
    is_kept(&answers, "anonymous", 20, is_passed);
}

#[test]
fn a_refresh_token_is_good_once() {
    const CALLERS: usize = 50;
    let pair = Pair::with_redis(|setup| setup);
    let (clients, grant) = pair.register();
    let answers = at_once(CALLERS, |number| clients[number % 2].refresh(&grant));
    let statuses = statuses(&answers);
    assert_eq!(
        count(&answers, |answer| answer.status == 200),
        1,
        "{statuses:?}"
    );
    let is_refused = |answer: &Answer| answer.is_refusal(401, "refresh_token_invalid");
    assert_eq!(count(&answers, is_refused), CALLERS - 1, "{statuses:?}");

    // So soon it is a second tab, not a thief: the session goes on, on both.
    let mut grant = answers
        .into_iter()
        .find(|answer| answer.status == 200)
        .unwrap()
        .body;
    for client in &clients {
        let answer = client.refresh(&grant);
        assert_eq!(answer.status, 200, "{answer:?}");
        grant = answer.body;
    }
}

#[test]
fn a_stolen_refresh_token_ends_the_session_on_both() {
    let pair = Pair::with_redis(|setup| setup);
    let ([one, other], grant) = pair.register();
    let refreshed = one.refresh(&grant);
    assert_eq!(refreshed.status, 200, "{refreshed:?}");
    pair.a_while_passes();
    let reused = other.refresh(&grant);
    assert!(
        reused.is_refusal(401, "refresh_token_invalid"),
        "{reused:?}"
    );
    let next = one.refresh(&refreshed.body);
    assert!(next.is_refusal(401, "refresh_token_invalid"), "{next:?}");
    for client in pair.clients(&refreshed.body) {
        let answer = client.get("/api/v1/users/me");
        assert!(answer.is_refusal(401, "token_invalid"), "{answer:?}");
    }
}

#[test]
fn of_many_patches_with_one_version_one_succeeds() {
    const CALLERS: usize = 30;
    let pair = Pair::with_redis(|setup| setup);
    let (clients, _) = pair.register();
    let (path, _) = clients[0].create_task("Write the report");
    let answers = at_once(CALLERS, |number| {
        let change = json!({ "version": 1, "title": format!("Title of caller {number}") });
        clients[number % 2].patch(&path, &change)
    });
    let statuses = statuses(&answers);
    assert_eq!(
        count(&answers, |answer| answer.status == 200),
        1,
        "{statuses:?}"
    );
    let is_conflict = |answer: &Answer| {
        answer.is_refusal(409, "version_conflict") && answer.body["current_version"] == 2
    };
    assert_eq!(count(&answers, is_conflict), CALLERS - 1, "{statuses:?}");
    let winner = answers.iter().find(|answer| answer.status == 200).unwrap();
    for client in &clients {
        assert_eq!(client.get(&path).body, winner.body);
    }
}

#[test]
fn wrong_passwords_are_counted_together() {
    let pair = Pair::with_redis(|setup| setup);
    pair.register();
    let clients = pair.services.each_ref().map(Service::client);
    let answers = at_once(10, |number| {
        clients[number % 2].log_in("ada@example.com", WRONG_PASSWORD)
    });
    let statuses = statuses(&answers);
    let wrong = count(&answers, |answer| {
        answer.is_refusal(401, "invalid_credentials")
    });
    assert_eq!(wrong, 4, "{statuses:?}");
    let locked = count(&answers, |answer| answer.is_refusal(403, "account_locked"));
    assert_eq!(locked, 6, "{statuses:?}");
    for client in &clients {
        let right = client.log_in("ada@example.com", PASSWORD);
        assert!(right.is_refusal(403, "account_locked"), "{right:?}");
    }
}

#[test]
fn what_one_changes_the_other_sees_at_once() {
    let pair = Pair::with_redis(|setup| setup);
    let ([one, other], grant) = pair.register();
    for (writer, reader, name) in [(&one, &other, "Grace"), (&other, &one, "Barbara")] {
        // Both remember the user.
        for client in [&one, &other] {
            assert_eq!(client.get("/api/v1/users/me").status, 200);
        }
        let renamed = writer.patch("/api/v1/users/me", &json!({ "full_name": name }));
        assert_eq!(renamed.status, 200, "{renamed:?}");
        assert_eq!(reader.get("/api/v1/users/me").body, renamed.body);
        assert_eq!(renamed.body["full_name"], name);
    }
    let token = json!({ "refresh_token": grant["refresh_token"] });
    assert_eq!(one.post("/api/v1/auth/logout", &token).status, 204);
    for client in [&other, &one] {
        let answer = client.get("/api/v1/users/me");
        assert!(answer.is_refusal(401, "token_invalid"), "{answer:?}");
    }
}

#[test]
fn without_redis_the_other_sees_it_soon() {
    let pair = Pair::without_redis();
    let ([one, other], _) = pair.register();
    for client in [&one, &other] {
        assert_eq!(client.get("/api/v1/users/me").status, 200);
    }
    let renamed = one.patch("/api/v1/users/me", &json!({ "full_name": "Grace" }));
    assert_eq!(one.get("/api/v1/users/me").body, renamed.body);
    eventually("the other knows the new name", || {
        (other.get("/api/v1/users/me").body == renamed.body).then_some(())
    });
}

#[test]
fn a_session_ends_everywhere() {
    let pair = Pair::with_redis(|setup| setup);
    ends_everywhere(&pair, |end, is_over| {
        end();
        is_over();
    });
}

#[test]
fn a_session_ends_everywhere_without_redis() {
    let pair = Pair::without_redis();
    ends_everywhere(&pair, |end, is_over| {
        end();
        is_over();
    });
}

#[test]
fn a_session_ends_everywhere_while_redis_is_down() {
    let pair = Pair::with_redis(|setup| setup);
    ends_everywhere(&pair, |end, is_over| {
        pair.redis().stop();
        end();
        is_over();
        // It comes back with what it knew.
        pair.redis().restart();
        is_over();
    });
}

#[test]
fn a_session_ends_everywhere_while_redis_is_frozen() {
    let pair = Pair::with_redis(|setup| setup);
    ends_everywhere(&pair, |end, is_over| {
        pair.redis().freeze();
        end();
        is_over();
        pair.redis().thaw();
        is_over();
    });
}

#[test]
fn a_session_ends_everywhere_though_redis_was_frozen_for_a_moment() {
    let pair = Pair::with_redis(|setup| setup);
    ends_everywhere(&pair, |end, is_over| {
        pair.redis().freeze();
        end();
        pair.redis().thaw();
        is_over();
    });
}
