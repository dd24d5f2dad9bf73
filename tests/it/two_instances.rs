//! Two instances of the service are one to whoever uses them.

use serde_json::{Value, json};
use tasks_testkit::servers::RedisServer;

use crate::support::{
    Answer, Client, Database, PASSWORD, Service, Setup, at_once, database, eventually, redis, sql,
};

const WRONG_PASSWORD: &str = "Wrong-Horse-7!";

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
}

fn refresh(client: &Client, token: &Value) -> Answer {
    client.post("/api/v1/auth/refresh", &json!({ "refresh_token": token }))
}

fn count(answers: &[Answer], fits: impl Fn(&Answer) -> bool) -> usize {
    answers.iter().filter(|answer| fits(answer)).count()
}

fn statuses(answers: &[Answer]) -> Vec<u16> {
    answers.iter().map(|answer| answer.status).collect()
}

/// What comes back from a burst of requests of which each was counted.
///
/// Where a machine is so busy that Redis is not heard within its 100 ms, a request passes
/// uncounted, as it should; that says nothing about counting, so there is another burst.
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
        let answers = at_once(requests, |number| ask(&pair.services[number % 2]));
        (reached && answers.iter().all(is_counted)).then_some(answers)
    })
}

fn is_rate_limited(answer: &Answer) -> bool {
    let wait = answer.header("retry-after").parse::<u32>();
    answer.is_refusal(429, "rate_limited") && wait.is_ok_and(|wait| (1..=60).contains(&wait))
}

#[test]
fn a_user_has_one_quota() {
    let pair = Pair::with_redis(|setup| setup.with("ENABLE_RATE_LIMITING", "true"));
    let (_, grant) = pair.register();
    let token = grant["access_token"].as_str().unwrap();
    let answers = counted(&pair, 130, |service| {
        service.client().with_token(token).get("/api/v1/tasks")
    });
    let statuses = statuses(&answers);
    let passed = count(&answers, |answer| answer.status == 200);
    assert_eq!(passed, 100, "{statuses:?}");
    assert_eq!(count(&answers, is_rate_limited), 30, "{statuses:?}");
}

#[test]
fn an_address_has_one_quota() {
    let pair = Pair::with_redis(|setup| setup.with("ENABLE_RATE_LIMITING", "true"));
    let answers = counted(&pair, 30, |service| service.client().get("/api/v1/tasks"));
    let statuses = statuses(&answers);
    let passed = count(&answers, |answer| answer.is_refusal(401, "token_missing"));
    assert_eq!(passed, 20, "{statuses:?}");
    assert_eq!(count(&answers, is_rate_limited), 10, "{statuses:?}");
}

#[test]
fn a_refresh_token_is_good_once() {
    const CALLERS: usize = 50;
    let pair = Pair::with_redis(|setup| setup);
    let (clients, grant) = pair.register();
    let answers = at_once(CALLERS, |number| {
        refresh(&clients[number % 2], &grant["refresh_token"])
    });
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
        let answer = refresh(client, &grant["refresh_token"]);
        assert_eq!(answer.status, 200, "{answer:?}");
        grant = answer.body;
    }
}

#[test]
fn a_stolen_refresh_token_ends_the_session_on_both() {
    let pair = Pair::with_redis(|setup| setup);
    let ([one, other], grant) = pair.register();
    let refreshed = refresh(&one, &grant["refresh_token"]);
    assert_eq!(refreshed.status, 200, "{refreshed:?}");
    // A while later.
    let rows = sql(
        &pair.database.url,
        "UPDATE refresh_tokens SET revoked_at = revoked_at - interval '11 s'
         WHERE revoked_at IS NOT NULL RETURNING 1",
    );
    assert_eq!(rows.len(), 1);
    let reused = refresh(&other, &grant["refresh_token"]);
    assert!(
        reused.is_refusal(401, "refresh_token_invalid"),
        "{reused:?}"
    );
    let next = refresh(&one, &refreshed.body["refresh_token"]);
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
    let ([one, other], grant) = pair.register();
    for client in [&one, &other] {
        assert_eq!(client.get("/api/v1/users/me").status, 200);
    }
    let renamed = one.patch("/api/v1/users/me", &json!({ "full_name": "Grace" }));
    assert_eq!(one.get("/api/v1/users/me").body, renamed.body);
    eventually("the other knows the new name", || {
        (other.get("/api/v1/users/me").body == renamed.body).then_some(())
    });

    let token = json!({ "refresh_token": grant["refresh_token"] });
    assert_eq!(one.post("/api/v1/auth/logout", &token).status, 204);
    assert!(one.get("/api/v1/users/me").is_refusal(401, "token_invalid"));
    eventually("the other knows that the session is over", || {
        let answer = other.get("/api/v1/users/me");
        answer.is_refusal(401, "token_invalid").then_some(())
    });
}
