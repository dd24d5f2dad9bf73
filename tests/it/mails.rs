//! Mails arrive, once, whatever the mail server and the process go through meanwhile.

use std::collections::BTreeSet;
use std::fs;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tasks_testkit::servers::{ReceivedMail, SmtpEncryption, SmtpFault, SmtpServer};

use crate::support::{
    Answer, NEW_PASSWORD, PASSWORD, SERVER_PASSWORD, Service, Setup, Signal, Store, at_once,
    eventually, send_raw, token,
};

const ADA: &str = "ada@example.com";
const NOBODY: &str = "nobody@example.com";
/// Of so many mails the links are followed; of more it would say nothing new.
const LINKS: usize = 10;
/// The user at the mail server whose password is [`SERVER_PASSWORD`].
const SMTP_USER: &str = "tasks";

fn both_stores() -> [Store; 2] {
    [Store::sqlite(), Store::postgres_and_redis()]
}

/// Whether nothing waits any more, and so many mails were sent by this process.
fn is_settled(store: &Store, service: &Service, sent: usize) -> bool {
    service.mails("sent") == sent && store.count("outbox WHERE dead_at IS NULL") == 0
}

/// Runs a test for each of these, all at once: what takes long is waiting.
fn for_each<T: Send>(cases: impl IntoIterator<Item = T>, test: impl Fn(T) + Sync) {
    thread::scope(|scope| {
        for case in cases {
            let test = &test;
            scope.spawn(move || test(case));
        }
    });
}

/// What a mail server can go through.
#[derive(Clone, Debug)]
enum Trouble {
    Down,
    Fault(SmtpFault),
}

impl Trouble {
    fn begin(&self, server: &SmtpServer) {
        match self {
            Self::Down => server.stop(),
            Self::Fault(fault) => server.set_fault(fault.clone()),
        }
    }

    fn end(&self, server: &SmtpServer) {
        match self {
            Self::Down => server.restart(),
            Self::Fault(_) => server.set_fault(SmtpFault::None),
        }
    }
}

/// A server that hangs is started again.
fn restart(server: &SmtpServer) {
    // It takes nothing before it stops: whether a mail was sent would be in doubt then.
    server.stop();
    server.set_fault(SmtpFault::None);
    server.restart();
}

fn waits_for_another_attempt(service: &Service) {
    eventually("a mail could not be sent", || {
        (!service.mail_troubles(false).is_empty()).then_some(())
    });
}

/// Checks that these mails, and no others, have arrived when all is done, and that their links work.
fn all_arrive_once(store: &Store, service: Service, server: &SmtpServer, addresses: &[&str]) {
    server.wait_for_mails(addresses.len());
    eventually("no mail waits", || {
        is_settled(store, &service, addresses.len()).then_some(())
    });
    let mails = server.mails();
    assert_eq!(recipients(&mails), addresses.iter().copied().collect());
    for mail in mails.iter().take(LINKS) {
        is_verified_by(&service, mail);
    }
    // What is due would be sent before the end.
    assert_eq!(service.stop(Signal::Terminate).status, 0);
    assert_eq!(server.mails().len(), addresses.len());
}

/// The answer to who follows the link of a mail.
fn verified_by(service: &Service, mail: &ReceivedMail) -> Answer {
    let body = json!({ "token": token(mail) });
    service.client().auth("verify-email", &body)
}

fn is_verified_by(service: &Service, mail: &ReceivedMail) {
    let answer = verified_by(service, mail);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.body["is_active"], true);
    assert_eq!(answer.body["email"], mail.to[0]);
}

fn recipients(mails: &[ReceivedMail]) -> BTreeSet<&str> {
    let to = mails.iter().map(|mail| {
        assert_eq!(mail.to.len(), 1, "{mail:?}");
        mail.to[0].as_str()
    });
    to.collect()
}

/// So many new accounts; returns their addresses. To register as many would take too long.
fn accounts(store: &Store, count: usize) -> Vec<String> {
    let id = if store.is_sqlite() {
        "randomblob(16)"
    } else {
        "gen_random_uuid()"
    };
    let now = if store.is_sqlite() { "0" } else { "now()" };
    store.execute(&format!(
        "INSERT INTO users (id, email, password_hash, full_name, created_at, updated_at)
         WITH RECURSIVE numbers (n) AS
             (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < {count})
         SELECT {id}, 'user-' || n || '@example.com', 'none', 'Ada', {now}, {now} FROM numbers"
    ));
    (0..count)
        .map(|n| format!("user-{n}@example.com"))
        .collect()
}

/// Asks for a mail to each of these, a few at a time, now here and now there.
fn ask_for_mails(services: &[&Service], addresses: &[String]) {
    const CALLERS: usize = 4;
    at_once(CALLERS, |caller| {
        let clients: Vec<_> = services.iter().map(|service| service.client()).collect();
        for (number, address) in addresses.iter().enumerate().skip(caller).step_by(CALLERS) {
            let body = json!({ "email": address });
            let answer =
                clients[number / CALLERS % clients.len()].auth("resend-verification", &body);
            assert_eq!(answer.status, 202, "{answer:?}");
        }
    });
}

#[test]
fn no_trouble_of_the_mail_server_holds_up_loses_or_doubles_a_mail() {
    let troubles = [
        Trouble::Down,
        Trouble::Fault(SmtpFault::RefuseConnections),
        Trouble::Fault(SmtpFault::Hang),
        Trouble::Fault(SmtpFault::DropAfterData),
        Trouble::Fault(SmtpFault::TemporarilyReject),
    ];
    let cases = troubles
        .iter()
        .flat_map(|trouble| both_stores().map(|store| (store, trouble)));
    for_each(cases, |(store, trouble)| {
        let server = SmtpServer::start();
        trouble.begin(&server);
        let service = store.setup.clone().mailing_to(&server).start();
        // To be answered at all is not to wait: the server takes nothing before the trouble ends.
        service.register(ADA);
        assert!(server.mails().is_empty(), "{trouble:?}");
        waits_for_another_attempt(&service);
        assert!(service.mails("retried") > 0, "{trouble:?}");
        trouble.end(&server);
        all_arrive_once(&store, service, &server, &[ADA]);
    });
}

#[test]
fn a_mail_server_that_greets_slowly_holds_up_its_mail_alone() {
    for_each(both_stores(), |store| {
        let server = SmtpServer::start();
        server.set_fault(SmtpFault::GreetSlowly(Duration::from_secs(4)));
        let service = store.setup.clone().mailing_to(&server).start();
        service.register(ADA);
        assert!(server.verbs().is_empty(), "{:?}", server.verbs());
        server.wait_for_mails(1);
        assert_eq!(service.mails("retried"), 0);
        all_arrive_once(&store, service, &server, &[ADA]);
        assert_eq!(server.attempts(), 1);
    });
}

#[test]
fn a_recipient_who_is_refused_for_good_is_given_up_alone() {
    for_each(both_stores(), |store| {
        let server = SmtpServer::start();
        server.set_fault(SmtpFault::RejectRecipient(NOBODY.to_owned()));
        let setup = store.setup.clone().mailing_to(&server);
        let service = setup.start();
        service.register(NOBODY);
        service.register(ADA);
        server.wait_for_mails(1);
        let said = eventually("the mail is given up", || {
            service.mail_troubles(true).into_iter().next()
        });
        assert!(said.contains("RCPT: permanent error (550)"), "{said}");
        assert_eq!(service.mails("dead"), 1);
        assert_eq!(service.mail_troubles(false), [""; 0]);

        // That the server would take it now changes nothing, after a new start neither.
        server.set_fault(SmtpFault::None);
        assert_eq!(service.stop(Signal::Terminate).status, 0);
        let service = setup.start();
        service.register("bob@example.com");
        server.wait_for_mails(2);
        eventually("no mail waits", || {
            is_settled(&store, &service, 1).then_some(())
        });
        assert_eq!(service.stop(Signal::Terminate).status, 0);
        assert_eq!(
            recipients(&server.mails()),
            BTreeSet::from([ADA, "bob@example.com"])
        );
        assert_eq!((server.mails().len(), server.attempts()), (2, 3));
    });
}

#[test]
fn a_mail_survives_kill_9() {
    for_each(both_stores(), |store| {
        let server = SmtpServer::start();
        server.stop();
        let setup = store.setup.clone().mailing_to(&server);
        let service = setup.start();
        service.register(ADA);
        // From now on nothing happens for a while.
        waits_for_another_attempt(&service);
        service.kill();
        server.restart();
        let service = setup.start();
        all_arrive_once(&store, service, &server, &[ADA]);
    });
}

#[test]
fn a_mail_whose_sender_died_or_left_in_the_middle_is_sent_by_the_next() {
    let cases = [true, false].map(|dies| both_stores().map(|store| (store, dies)));
    for_each(cases.into_iter().flatten(), |(store, dies)| {
        let server = SmtpServer::start();
        server.set_fault(SmtpFault::Hang);
        let setup = store.setup.clone().mailing_to(&server);
        let service = setup.start();
        service.register(ADA);
        eventually("an attempt has begun", || {
            (server.connections() > 0).then_some(())
        });
        if dies {
            service.kill();
        } else {
            let output = service.stop(Signal::Terminate);
            assert_eq!(output.status, 0, "{output:?}");
        }
        restart(&server);
        let service = setup.start();
        // The claim is over.
        let earlier = store.earlier("due_at", 60);
        store.execute(&format!("UPDATE outbox SET due_at = {earlier}"));
        all_arrive_once(&store, service, &server, &[ADA]);
    });
}

#[test]
fn mails_that_are_due_are_sent_before_the_end() {
    const MAILS: usize = 10;
    for_each(both_stores(), |store| {
        let server = SmtpServer::start();
        // So long all of them wait.
        server.set_fault(SmtpFault::GreetSlowly(Duration::from_secs(2)));
        let service = store.setup.clone().mailing_to(&server).start();
        ask_for_mails(&[&service], &accounts(&store, MAILS));
        assert!(server.mails().len() < MAILS);
        let output = service.stop(Signal::Terminate);
        assert_eq!(output.status, 0, "{output:?}");
        let mails = server.mails();
        assert_eq!((mails.len(), recipients(&mails).len()), (MAILS, MAILS));
    });
}

#[test]
fn mails_that_cannot_be_sent_do_not_hold_up_the_end() {
    for_each(both_stores(), |store| {
        let server = SmtpServer::start();
        server.stop();
        let setup = store.setup.clone().mailing_to(&server);
        let service = setup.start();
        service.register(ADA);
        waits_for_another_attempt(&service);
        // To wait for the end is to wait for less than the 30 s that a drain may take.
        let output = service.stop(Signal::Terminate);
        assert_eq!(output.status, 0, "{output:?}");
        server.restart();
        let service = setup.start();
        all_arrive_once(&store, service, &server, &[ADA]);
    });
}

/// The memory that a process has, in KiB.
fn resident_memory(service: &Service) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", service.process_id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let words = line.unwrap().split_whitespace();
    words.rev().nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_thousand_mails_that_wait_take_no_memory() {
    const MAILS: usize = 1_000;
    /// After so many the process has what it needs for any number.
    const WARM: usize = 100;
    /// What any thousand requests may leave behind.
    const GROWTH: usize = 6 * 1024;
    for_each(both_stores(), |store| {
        let server = SmtpServer::start();
        let service = store.setup.clone().mailing_to(&server).start();
        let all = accounts(&store, WARM + MAILS);
        let (warm, many) = all.split_at(WARM);
        ask_for_mails(&[&service], warm);
        server.wait_for_mails(warm.len());
        let before = resident_memory(&service);
        server.set_fault(SmtpFault::Hang);
        ask_for_mails(&[&service], many);
        assert_eq!(server.mails().len(), warm.len());
        let waiting = resident_memory(&service);
        restart(&server);
        server.wait_for_mails(warm.len() + MAILS);
        let delivered = resident_memory(&service);
        assert!(waiting < before + GROWTH, "{before} KiB, then {waiting}");
        assert!(
            delivered < before + GROWTH,
            "{before} KiB, then {delivered}"
        );
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        all_arrive_once(&store, service, &server, &all);
    });
}

#[test]
fn two_instances_share_one_outbox() {
    const MAILS: usize = 300;
    let store = Store::postgres_and_redis();
    let server = SmtpServer::start();
    server.set_fault(SmtpFault::Hang);
    let setup = store.setup.clone().mailing_to(&server);
    let services = [setup.start(), setup.start()];
    ask_for_mails(&services.each_ref(), &accounts(&store, MAILS));
    assert!(server.mails().is_empty());
    restart(&server);
    server.wait_for_mails(MAILS);
    let sent = eventually("every mail is counted", || {
        let sent = services.each_ref().map(|service| service.mails("sent"));
        (sent.iter().sum::<usize>() == MAILS).then_some(sent)
    });
    assert!(!sent.contains(&0), "{sent:?}");
    let mails = server.mails();
    assert_eq!(recipients(&mails).len(), MAILS);
    // A link works wherever it leads.
    for (number, mail) in mails.iter().take(LINKS).enumerate() {
        is_verified_by(&services[number % 2], mail);
    }
    for service in services {
        assert_eq!(service.stop(Signal::Terminate).status, 0);
    }
    assert_eq!((server.mails().len(), store.count("outbox")), (MAILS, 0));
}

fn encrypted(encryption: SmtpEncryption) -> SmtpServer {
    SmtpServer::start_with(encryption, Some((SMTP_USER, SERVER_PASSWORD)))
}

/// What speaks to a server that wants encryption and a password.
fn in_secret(server: &SmtpServer, tls: &str, trusted: &SmtpServer, password: &str) -> Setup {
    Setup::new()
        .mailing_to(server)
        .with("SMTP_TLS", tls)
        .with("SMTP_USERNAME", SMTP_USER)
        .with("SMTP_PASSWORD", password)
        .with("SSL_CERT_FILE", trusted.authority().to_str().unwrap())
}

/// Whether it is a line that gives this reason.
fn says(line: &str, reason: &str) -> bool {
    line.contains(reason) && !line.contains('\n')
}

/// Checks that a process has told nobody the password of the mail server. In the clear no process
/// may ever print it.
fn says_no_smtp_password(service: Service) {
    let output = service.stop(Signal::Terminate);
    assert_eq!(output.status, 0, "{output:?}");
    // User and password, and the password alone, as SMTP says them.
    for secret in [
        "AHRhc2tzAHN3b3JkZmlzaA",
        "c3dvcmRmaXNo",
        "AHRhc2tzAHdyb25nLXN3b3JkZmlzaA",
    ] {
        assert!(!output.stdout.contains(secret), "{output:?}");
    }
}

#[test]
fn mails_go_out_encrypted_and_signed_in() {
    for (encryption, tls) in [
        (SmtpEncryption::StartTls, "starttls"),
        (SmtpEncryption::Tls, "tls"),
    ] {
        let server = encrypted(encryption);
        let service = in_secret(&server, tls, &server, SERVER_PASSWORD).start();
        service.register(ADA);
        let mails = server.wait_for_mails(1);
        is_verified_by(&service, &mails[0]);
        let verbs = server.verbs();
        let asked = |verb: &str| verbs.iter().any(|said| said == verb);
        assert!(asked("AUTH"), "{verbs:?}");
        assert_eq!(asked("STARTTLS"), tls == "starttls", "{verbs:?}");
        says_no_smtp_password(service);
    }
}

#[test]
fn a_mail_server_that_nobody_vouches_for_is_told_nothing() {
    for (encryption, tls, reason) in [
        (
            SmtpEncryption::StartTls,
            "starttls",
            "invalid peer certificate",
        ),
        (SmtpEncryption::Tls, "tls", "invalid peer certificate"),
        // One that offers no encryption at all.
        (
            SmtpEncryption::None,
            "starttls",
            "STARTTLS is not supported",
        ),
    ] {
        let (server, stranger) = (encrypted(encryption), SmtpServer::start());
        let service = in_secret(&server, tls, &stranger, SERVER_PASSWORD).start();
        service.register(ADA);
        waits_for_another_attempt(&service);
        let said = service.mail_troubles(false);
        assert!(said.iter().all(|why| says(why, reason)), "{said:?}");
        let verbs = server.verbs();
        let harmless = |verb: &String| verb == "EHLO" || verb == "STARTTLS";
        assert!(verbs.iter().all(harmless), "{verbs:?}");
        says_no_smtp_password(service);
    }
}

#[test]
fn mails_wait_for_the_right_password() {
    let server = encrypted(SmtpEncryption::StartTls);
    let wrong = format!("wrong-{SERVER_PASSWORD}");
    let setup = in_secret(&server, "starttls", &server, &wrong);
    let service = setup.start();
    service.register(ADA);
    waits_for_another_attempt(&service);
    let said = service.mail_troubles(false);
    let reason = "AUTH: permanent error (535)";
    assert!(said.iter().all(|why| says(why, reason)), "{said:?}");
    assert!(server.mails().is_empty());
    says_no_smtp_password(service);

    let service = setup.with("SMTP_PASSWORD", SERVER_PASSWORD).start();
    let mails = server.wait_for_mails(1);
    is_verified_by(&service, &mails[0]);
    says_no_smtp_password(service);
    assert_eq!(server.mails().len(), 1);
}

/// What a caller can tell an answer by.
fn visible(answer: &Answer) -> (u16, BTreeSet<(String, String)>, Value) {
    let headers = answer.headers.iter().map(|(name, value)| {
        let own = name == "date" || name == "x-request-id";
        let value = if own { "…" } else { value.to_str().unwrap() };
        (name.to_string(), value.to_owned())
    });
    (answer.status, headers.collect(), answer.body.clone())
}

#[test]
fn who_asks_for_a_mail_learns_nothing() {
    const CALLS: [&str; 2] = ["forgot-password", "resend-verification"];
    let troubles = [
        Trouble::Fault(SmtpFault::RefuseConnections),
        Trouble::Fault(SmtpFault::TemporarilyReject),
        Trouble::Down,
    ];
    for_each(both_stores(), |store| {
        let server = SmtpServer::start();
        let service = store.setup.clone().mailing_to(&server).start();
        let client = service.client();
        let ask_for = |call, address| client.auth(call, &json!({ "email": address }));
        service.register(ADA);
        server.wait_for_mails(1);
        let usual = visible(&ask_for("forgot-password", ADA));
        assert_eq!(usual.0, 202);
        ask_for("resend-verification", ADA);
        let outdated = server.wait_for_mails(3).split_off(1);

        let ask = |trouble: &Trouble| {
            trouble.begin(&server);
            for (call, address) in CALLS.iter().flat_map(|call| [(call, ADA), (call, NOBODY)]) {
                let answer = ask_for(call, address);
                assert_eq!(visible(&answer), usual, "{trouble:?}: {call} {address}");
            }
            assert_eq!(server.mails().len(), 3, "{trouble:?}");
        };
        for trouble in &troubles {
            ask(trouble);
            // What nobody would get does not wait for a mail server.
            eventually("only real mails wait", || {
                let of_nobody = format!("outbox WHERE recipient = '{NOBODY}'");
                (store.count(&of_nobody) == 0).then_some(())
            });
            assert!(store.count("outbox") > 0);
        }
        server.restart();
        ask(&Trouble::Fault(SmtpFault::Hang));

        // Of each kind the newest arrives, and no older link works any more.
        restart(&server);
        server.wait_for_mails(5);
        eventually("no mail waits", || {
            is_settled(&store, &service, 5).then_some(())
        });
        let mails = server.mails().split_off(3);
        assert_eq!(recipients(&mails), BTreeSet::from([ADA]));
        let (reset, verify): (Vec<_>, Vec<_>) = mails
            .iter()
            .chain(&outdated)
            .partition(|mail| mail.link().contains("/reset-password?"));
        let reset: Vec<u16> = reset
            .into_iter()
            .map(|mail| {
                let body = json!({ "token": token(mail), "new_password": NEW_PASSWORD });
                client.auth("reset-password", &body).status
            })
            .collect();
        let verify = verify
            .into_iter()
            .map(|mail| verified_by(&service, mail).status);
        assert_eq!(reset, [204, 400]);
        assert_eq!(verify.collect::<Vec<_>>(), [200, 400]);

        // Nor does anybody learn whose address is verified already.
        for call in CALLS {
            let answer = ask_for(call, ADA);
            assert_eq!(visible(&answer), usual);
        }
        server.wait_for_mails(6);
        assert_eq!(service.stop(Signal::Terminate).status, 0);
        let mails = server.mails();
        assert_eq!(mails.len(), 6);
        assert!(mails[5].link().contains("/reset-password?"));
    });
}

#[test]
fn links_lead_where_the_configuration_says() {
    const PUBLIC_URL: &str = "https://tasks.example.com/app";
    let server = SmtpServer::start();
    let service = Setup::new()
        .mailing_to(&server)
        .with("PUBLIC_URL", PUBLIC_URL)
        .with("TRUSTED_PROXIES", "127.0.0.0/8")
        .start();
    let post = |call: &str, body: &Value| {
        let body = body.to_string();
        let request = format!(
            "POST /api/v1/auth/{call} HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\
             x-forwarded-host: evil.example\r\nx-forwarded-proto: http\r\n\
             x-forwarded-port: 6666\r\nforwarded: for=192.0.2.1;host=evil.example;proto=http\r\n\
             origin: https://evil.example\r\nreferer: https://evil.example/\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        send_raw(service.address(), request.as_bytes()).status
    };
    let account = json!({ "email": ADA, "password": PASSWORD, "full_name": "Ada Lovelace" });
    assert_eq!(post("register", &account), 201);
    server.wait_for_mails(1);
    assert_eq!(post("forgot-password", &json!({ "email": ADA })), 202);
    let mails = server.wait_for_mails(2);
    for (mail, page) in mails.iter().zip(["verify-email", "reset-password"]) {
        let link = format!("{PUBLIC_URL}/{page}?token={}", token(mail));
        assert_eq!(mail.link(), link);
        assert!(mail.html().contains(&format!("href=\"{link}\"")));
        let all = [
            &mail.text(),
            &mail.html(),
            &String::from_utf8_lossy(&mail.data).into(),
        ];
        assert!(!all.iter().any(|text| text.contains("evil")), "{all:?}");
    }
    is_verified_by(&service, &mails[0]);
}

#[test]
fn a_name_stays_a_name_whatever_it_is() {
    let server = SmtpServer::start();
    let service = Setup::new().mailing_to(&server).start();
    let client = service.client();
    let mut received = 0;
    let mut mail_to = |name: &str| {
        let address = format!("user-{received}@example.com");
        let body = json!({ "email": address, "password": PASSWORD, "full_name": name });
        let answer = client.auth("register", &body);
        assert_eq!(answer.status, 201, "{answer:?}");
        received += 1;
        let mail = server.wait_for_mails(received).pop().unwrap();
        assert_eq!(mail.to, [address]);
        mail
    };
    let plain = mail_to("Ada Lovelace");
    assert!(plain.text().starts_with("Hello Ada Lovelace,"), "{plain:?}");
    assert!(plain.html().contains("Hello Ada Lovelace,"), "{plain:?}");
    let usual = plain.header_names();

    let umlaut = mail_to("Zoë Müller");
    assert!(umlaut.text().starts_with("Hello Zoë Müller,"));
    assert_eq!(umlaut.recipients()[0].0.as_deref(), Some("Zoë Müller"));

    let markup = mail_to("<img src=x onerror=alert(1)> & \"Ada\"");
    let html = markup.html();
    assert!(
        !html.contains("<img") && !html.contains("\"Ada\""),
        "{html}"
    );
    assert!(html.contains("img src=x onerror=alert(1)"), "{html}");

    for name in [
        "\"\r\nBcc: evil@example.com\"",
        "Ada\r\nBcc: evil",
        "Ada\nX-Evil: evil\n\n<p>evil",
        "Ada\r\n.\r\nMAIL FROM:<evil>",
        "Ada\" <evil@example.com>, \"",
    ] {
        let mail = mail_to(name);
        assert_eq!(mail.header_names(), usual, "{name:?}");
        let recipients = mail.recipients();
        let addresses: Vec<&String> = recipients.iter().map(|(_, address)| address).collect();
        assert_eq!(addresses, mail.to.iter().collect::<Vec<_>>(), "{name:?}");
        for text in [mail.text(), mail.html()] {
            assert!(!text.contains("evil"), "{name:?}: {text}");
        }
    }
    let verbs = server.verbs();
    let mails = verbs.iter().filter(|verb| *verb == "MAIL").count();
    assert_eq!(mails, received);
}

#[test]
fn no_token_is_kept_or_logged() {
    for_each(both_stores(), |store| {
        let server = SmtpServer::start();
        server.stop();
        let service = store.setup.clone().mailing_to(&server).start();
        service.register(ADA);
        let asked = json!({ "email": ADA });
        assert_eq!(service.client().auth("forgot-password", &asked).status, 202);
        // Then the account knows their digests.
        eventually("both mails were tried", || {
            (store.count("outbox WHERE attempts > 0") == 2).then_some(())
        });
        let waiting = store.dump();
        server.restart();
        let mails = server.wait_for_mails(2);
        let sent = store.dump();
        is_verified_by(
            &service,
            mails
                .iter()
                .find(|mail| mail.link().contains("/verify"))
                .unwrap(),
        );
        let used = store.dump();
        let output = service.stop(Signal::Terminate);
        let log = [output.stdout, output.stderr].concat().into_bytes();
        let contains = |kept: &[u8], text: &str| {
            kept.windows(text.len())
                .any(|window| window == text.as_bytes())
        };
        for kept in [&waiting, &sent, &used] {
            assert!(contains(kept, ADA), "this is not what is kept");
        }
        for token in mails.iter().map(token) {
            for kept in [&waiting, &sent, &used, &log] {
                assert!(!contains(kept, &token));
            }
        }
    });
}
