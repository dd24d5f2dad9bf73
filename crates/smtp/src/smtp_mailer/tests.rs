use tasks_domain::account::{Email, FullName};
use tasks_domain::mail::MailKind;
use tasks_testkit::build::{email, full_name, id};
use tasks_testkit::servers::{ReceivedMail, SmtpEncryption, SmtpFault, SmtpServer};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::*;

const TOKEN: &str = "tHe-t0ken_of_43_url_safe_characters_________";
const LINK: &str =
    "https://tasks.example.com/verify-email?token=tHe-t0ken_of_43_url_safe_characters_________";

fn mail_to(to: Email, name: FullName) -> Mail {
    Mail {
        id: id(),
        kind: MailKind::VerifyEmail,
        to,
        name,
        token: TOKEN.into(),
        cause: None,
    }
}

fn mail() -> Mail {
    mail_to(email("ada@example.com"), full_name("Ada Lovelace"))
}

fn options(port: u16, tls: SmtpTls, password: Option<&str>) -> SmtpOptions {
    SmtpOptions {
        host: "localhost".to_owned(),
        port,
        tls,
        credentials: password.map(|password| ("tasks".to_owned(), password.into())),
        from: "Tasks <tasks@mail.example.com>".parse().unwrap(),
    }
}

fn mailer_with(options: SmtpOptions, root: Option<Certificate>) -> SmtpMailer {
    let public_url = Url::parse("https://tasks.example.com").unwrap();
    SmtpMailer::trusting(options, &public_url, root).unwrap()
}

/// A mailer that knows the server's authority.
fn mailer(server: &SmtpServer, tls: SmtpTls, password: Option<&str>) -> SmtpMailer {
    let authority = std::fs::read(server.authority()).unwrap();
    let root = Certificate::from_pem(&authority).unwrap();
    mailer_with(options(server.port(), tls, password), Some(root))
}

fn plain_mailer(port: u16) -> SmtpMailer {
    mailer_with(options(port, SmtpTls::None, None), None)
}

/// The outcome in a word.
fn judged(outcome: &Result<(), MailError>) -> &'static str {
    match outcome {
        Ok(()) => "sent",
        Err(MailError::Unavailable(_)) => "unavailable",
        Err(MailError::Refused(_)) => "refused",
    }
}

fn only(server: &SmtpServer) -> ReceivedMail {
    let mut mails = server.mails();
    assert_eq!(mails.len(), 1);
    mails.remove(0)
}

/// A server on the test's own runtime that says what it is told to: on each connection a greeting,
/// and then an answer to each line, or to the message after a 354. It makes a pause before each. When
/// it has no more to say it listens, and returns what it has heard once the last client is gone.
async fn scripted(connections: &[(Duration, &[&str])]) -> (u16, JoinHandle<Vec<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let connections: Vec<(Duration, Vec<String>)> = connections
        .iter()
        .map(|(pause, answers)| (*pause, answers.iter().map(ToString::to_string).collect()))
        .collect();
    let serving = tokio::spawn(async move {
        let mut heard = Vec::new();
        for (pause, answers) in connections {
            let (mut client, _) = listener.accept().await.unwrap();
            let (reader, mut writer) = client.split();
            let mut lines = BufReader::new(reader).lines();
            let mut said = Vec::new();
            for answer in answers {
                sleep(pause).await;
                let line = format!("{answer}\r\n");
                if writer.write_all(line.as_bytes()).await.is_err() {
                    break;
                }
                while let Some(line) = lines.next_line().await.unwrap_or_default() {
                    let is_end = !answer.starts_with("354") || line == ".";
                    said.push(line);
                    if is_end {
                        break;
                    }
                }
            }
            while let Some(line) = lines.next_line().await.unwrap_or_default() {
                said.push(line);
            }
            heard.push(said);
        }
        heard
    });
    (port, serving)
}

/// What a server says that takes a mail.
const TAKES: [&str; 6] = [
    "220 hello",
    "250 hello",
    "250 ok",
    "250 ok",
    "354 go on",
    "250 taken",
];

#[tokio::test]
async fn a_mail_arrives_whole() {
    let server = SmtpServer::start();
    let mailer = plain_mailer(server.port());
    let mail = mail();

    mailer.send(&mail).await.unwrap();

    let received = only(&server);
    assert_eq!(received.from, "tasks@mail.example.com");
    assert_eq!(received.to, ["ada@example.com"]);
    assert_eq!(received.subject(), "Confirm your e-mail address");
    let ada = (
        Some("Ada Lovelace".to_owned()),
        "ada@example.com".to_owned(),
    );
    assert_eq!(received.recipients(), [ada]);
    for (name, value) in [
        ("From", "Tasks <tasks@mail.example.com>"),
        ("Auto-Submitted", "auto-generated"),
        (
            "Message-ID",
            &format!("<{}@mail.example.com>", mail.id.uuid()),
        ),
    ] {
        assert_eq!(received.header(name).as_deref(), Some(value));
    }
    assert!(received.header("Date").is_some());
    let kind = received.header("Content-Type").unwrap();
    assert!(kind.starts_with("multipart/alternative;"), "{kind}");
    assert_eq!(received.link(), LINK);
    assert!(
        received.text().starts_with("Hello Ada Lovelace,\n")
            || received.text().starts_with("Hello Ada Lovelace,\r\n")
    );
    assert!(received.html().contains(&format!("href=\"{LINK}\"")));
}

#[tokio::test]
async fn every_kind_of_mail_has_its_own_words() {
    let server = SmtpServer::start();
    let mailer = plain_mailer(server.port());
    for kind in MailKind::ALL {
        mailer.send(&Mail { kind, ..mail() }).await.unwrap();
    }
    let links: Vec<_> = server.mails().iter().map(ReceivedMail::link).collect();
    let reset = LINK.replace("verify-email", "reset-password");
    assert_eq!(links, [LINK, &reset]);
}

#[tokio::test]
async fn a_mail_says_what_service_it_is_from() {
    let server = SmtpServer::start();
    let options = options(server.port(), SmtpTls::None, None);
    let public_url = Url::parse("http://tasks.example.com:8443/app").unwrap();
    let mailer = SmtpMailer::new(options, &public_url).unwrap();
    mailer.send(&mail()).await.unwrap();
    let text = only(&server).text();
    assert!(
        text.contains("registered at tasks.example.com:8443"),
        "{text}"
    );
}

#[tokio::test]
async fn connections_are_encrypted_and_signed_in_as_configured() {
    for (encryption, tls) in [
        (SmtpEncryption::None, SmtpTls::None),
        (SmtpEncryption::StartTls, SmtpTls::StartTls),
        (SmtpEncryption::Tls, SmtpTls::Tls),
    ] {
        for (wanted, given, outcome) in [
            (None, None, "sent"),
            (Some("secret"), Some("secret"), "sent"),
            (Some("secret"), Some("wrong"), "unavailable"),
            (Some("secret"), None, "unavailable"),
            (None, Some("secret"), "unavailable"),
        ] {
            let credentials = wanted.map(|password| ("tasks", password));
            let server = SmtpServer::start_with(encryption, credentials);
            let sent = mailer(&server, tls, given).send(&mail()).await;
            assert_eq!(
                judged(&sent),
                outcome,
                "{tls:?} {wanted:?} {given:?} {sent:?}"
            );
            assert_eq!(server.mails().len(), usize::from(outcome == "sent"));
        }
    }
}

#[tokio::test]
async fn nothing_is_told_to_a_server_that_cannot_prove_its_name() {
    for (encryption, tls, heard) in [
        (
            SmtpEncryption::StartTls,
            SmtpTls::StartTls,
            &["EHLO", "STARTTLS"][..],
        ),
        (SmtpEncryption::Tls, SmtpTls::Tls, &[]),
    ] {
        let server = SmtpServer::start_with(encryption, Some(("tasks", "secret")));
        let another = SmtpServer::start();
        let authority = std::fs::read(another.authority()).unwrap();
        let root = Certificate::from_pem(&authority).unwrap();
        let options = options(server.port(), tls, Some("secret"));
        let sent = mailer_with(options, Some(root)).send(&mail()).await;
        assert_eq!(judged(&sent), "unavailable", "{sent:?}");
        assert!(
            format!("{sent:?}").contains("InvalidCertificate"),
            "{sent:?}"
        );
        assert_eq!(server.verbs(), heard);
    }
}

#[tokio::test]
async fn a_server_without_starttls_is_told_nothing() {
    let server = SmtpServer::start_with(SmtpEncryption::None, Some(("tasks", "secret")));
    let sent = mailer(&server, SmtpTls::StartTls, Some("secret"))
        .send(&mail())
        .await;
    assert_eq!(judged(&sent), "unavailable", "{sent:?}");
    assert_eq!(server.verbs(), ["EHLO"]);
}

#[tokio::test]
async fn a_fault_is_judged_and_ends_with_it() {
    for (fault, outcome) in [
        (SmtpFault::RefuseConnections, "unavailable"),
        (SmtpFault::DropAfterData, "unavailable"),
        (SmtpFault::TemporarilyReject, "unavailable"),
        (
            SmtpFault::RejectRecipient("ada@example.com".into()),
            "refused",
        ),
        (SmtpFault::RejectRecipient("bob@example.com".into()), "sent"),
        (SmtpFault::GreetSlowly(Duration::from_millis(1)), "sent"),
    ] {
        // On a new connection, and on one that was kept.
        for before in 0..=1 {
            let server = SmtpServer::start();
            let mailer = plain_mailer(server.port());
            for _ in 0..before {
                mailer.send(&mail()).await.unwrap();
            }
            server.set_fault(fault.clone());
            let sent = mailer.send(&mail()).await;
            assert_eq!(judged(&sent), outcome, "{fault:?} {sent:?}");
            let arrived = before + usize::from(outcome == "sent");
            assert_eq!(server.mails().len(), arrived, "{fault:?}");

            server.set_fault(SmtpFault::None);
            mailer.send(&mail()).await.unwrap();
            assert_eq!(server.mails().len(), arrived + 1, "{fault:?}");
        }
    }
}

#[tokio::test]
async fn a_server_that_is_down_is_unavailable_until_it_is_up() {
    let server = SmtpServer::start();
    let mailer = plain_mailer(server.port());
    server.stop();
    let sent = mailer.send(&mail()).await;
    assert_eq!(judged(&sent), "unavailable", "{sent:?}");
    server.restart();
    mailer.send(&mail()).await.unwrap();
}

#[tokio::test]
async fn only_an_answer_about_the_recipient_refuses_a_mail() {
    let (greeting, ehlo, mail_from, rcpt, data, dot) = (0, 1, 2, 3, 4, 5);
    for (before, answer, outcome) in [
        (greeting, "554 no service here", "unavailable"),
        (greeting, "550 5.1.1 nobody", "unavailable"),
        (ehlo, "550 go away", "unavailable"),
        (mail_from, "550 5.1.8 bad sender", "unavailable"),
        (mail_from, "550 5.1.1 nobody", "unavailable"),
        (mail_from, "553 bad sender", "unavailable"),
        (rcpt, "550 nobody", "refused"),
        (rcpt, "551 not here", "refused"),
        (rcpt, "553 no such name", "refused"),
        (rcpt, "556 takes no mail", "refused"),
        (rcpt, "550 5.1.1 nobody", "refused"),
        (
            rcpt,
            "550-5.1.1 nobody\r\n550 5.1.1 of that name",
            "refused",
        ),
        (rcpt, "550 5.1.10 takes no mail", "refused"),
        (rcpt, "554 5.1.2 no such host", "refused"),
        (rcpt, "550 5.2.1 disabled", "refused"),
        (rcpt, "550 5.1.7 bad sender", "unavailable"),
        (rcpt, "550 5.1.8 bad sender", "unavailable"),
        (rcpt, "550 5.2.2 mailbox full", "unavailable"),
        (rcpt, "550 5.7.1 relaying denied", "unavailable"),
        (rcpt, "530 authentication required", "unavailable"),
        (rcpt, "552 mailbox full", "unavailable"),
        (rcpt, "554 no", "unavailable"),
        (rcpt, "450 4.1.1 nobody yet", "unavailable"),
        (rcpt, "450 5.1.1 nobody", "unavailable"),
        (rcpt, "nonsense", "unavailable"),
        (data, "550 no", "unavailable"),
        (dot, "550 5.1.1 nobody", "refused"),
        (dot, "550 looks like spam", "unavailable"),
        (dot, "554 5.6.0 no", "unavailable"),
        (dot, "354 go on", "unavailable"),
        (dot, "250 taken", "sent"),
    ] {
        let answers = [&TAKES[..before], &[answer, "221 bye"]].concat();
        let (port, _) = scripted(&[(Duration::ZERO, &answers)]).await;
        let sent = plain_mailer(port).send(&mail()).await;
        assert_eq!(judged(&sent), outcome, "{answers:?} {sent:?}");
    }
}

#[tokio::test]
async fn an_address_that_smtp_cannot_say_is_refused() {
    let server = SmtpServer::start();
    let mail = mail_to(email(".ada@example.com"), full_name("Ada"));
    let sent = plain_mailer(server.port()).send(&mail).await;
    assert_eq!(judged(&sent), "refused", "{sent:?}");
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn mails_share_a_connection() {
    let server = SmtpServer::start_with(SmtpEncryption::StartTls, Some(("tasks", "secret")));
    let mailer = mailer(&server, SmtpTls::StartTls, Some("secret"));
    for _ in 0..3 {
        mailer.send(&mail()).await.unwrap();
    }
    assert_eq!(server.mails().len(), 3);
    assert_eq!((server.attempts(), server.connections()), (3, 1));
}

#[tokio::test]
async fn a_kept_connection_that_the_server_has_closed_costs_no_mail() {
    let server = SmtpServer::start();
    let mailer = plain_mailer(server.port());
    mailer.send(&mail()).await.unwrap();
    server.stop();
    server.restart();
    mailer.send(&mail()).await.unwrap();
    assert_eq!((server.mails().len(), server.connections()), (2, 2));
}

#[tokio::test]
async fn a_connection_that_nobody_needs_is_closed() {
    let (port, serving) = scripted(&[(Duration::ZERO, &TAKES)]).await;
    let mailer = plain_mailer(port);
    mailer.send(&mail()).await.unwrap();
    // The time until then passes at once.
    tokio::time::pause();
    let heard = serving.await.unwrap();
    assert_eq!(heard[0].last().unwrap(), "QUIT");
}

#[tokio::test]
async fn no_more_connections_are_kept_than_needed() {
    let server = SmtpServer::start();
    let mailer = plain_mailer(server.port());
    let mails: Vec<Mail> = std::iter::repeat_with(mail).take(10).collect();
    let send_all = || async {
        let sending = mails.iter().map(|mail| mailer.send(mail));
        for sent in futures_util::future::join_all(sending).await {
            sent.unwrap();
        }
    };
    send_all().await;
    assert_eq!(server.connections(), 10);
    send_all().await;
    assert_eq!(server.connections(), 16);
    assert_eq!(server.mails().len(), 20);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_says_nothing_is_given_up_soon() {
    for fault in [
        SmtpFault::Hang,
        SmtpFault::GreetSlowly(Duration::from_hours(1)),
    ] {
        let server = SmtpServer::start();
        server.set_fault(fault);
        let start = Instant::now();
        let sent = plain_mailer(server.port()).send(&mail()).await;
        assert_eq!(judged(&sent), "unavailable", "{sent:?}");
        assert!(start.elapsed() < STEP * 2, "{:?}", start.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_is_bounded_and_the_next_one_starts_afresh() {
    // Each step takes less than is allowed, and the last for ever.
    let slow = STEP.mul_f64(0.49);
    let (port, serving) = scripted(&[(slow, &TAKES[..5]), (Duration::ZERO, &TAKES)]).await;
    let mailer = plain_mailer(port);
    let mail = mail();

    let start = Instant::now();
    let sent = mailer.send(&mail).await;
    assert_eq!(judged(&sent), "unavailable", "{sent:?}");
    let elapsed = start.elapsed();
    assert!(
        elapsed < DeliveryService::ATTEMPT + Duration::from_secs(1),
        "{elapsed:?}"
    );

    tokio::time::resume();
    mailer.send(&mail).await.unwrap();
    drop(mailer);
    tokio::time::pause();
    for said in serving.await.unwrap() {
        assert!(said.contains(&".".to_owned()), "{said:?}");
    }
}

#[tokio::test]
async fn a_mail_that_is_sent_again_is_the_same_mail() {
    let server = SmtpServer::start();
    let mailer = plain_mailer(server.port());
    let mail = mail();
    server.set_fault(SmtpFault::DropAfterData);
    mailer.send(&mail).await.unwrap_err();
    server.set_fault(SmtpFault::None);
    mailer.send(&mail).await.unwrap();
    mailer.send(&mail).await.unwrap();
    mailer.send(&super::tests::mail()).await.unwrap();
    let mails = server.mails();
    let ids: Vec<_> = mails.iter().map(|mail| mail.header("Message-ID")).collect();
    assert_eq!(ids[0], ids[1]);
    assert_eq!(mails[0].link(), mails[1].link());
    assert_ne!(ids[1], ids[2]);
}

#[tokio::test]
async fn odd_names_and_addresses_come_out_right() {
    let server = SmtpServer::start();
    let mailer = plain_mailer(server.port());
    for (address, name, greeted) in [
        ("ada@example.com", "Ada \"the first\" Lovelace", true),
        (
            "o'ada+x=y&z@example.com",
            "O'Ada, Countess; (of) <Lovelace>",
            true,
        ),
        (
            "a!#$%&'*+/=?^_`{|}~-b@example.com",
            "Žofie Čapková 山田 🦀",
            true,
        ),
        ("ada@localhost", "<script>alert(1)<b>", true),
        ("ada@xn--bcher-kva.example", "=?utf-8?q?Ada?=", true),
        ("ada@example.com", ".", true),
        (
            "ada@example.com",
            "Ada\r\nBcc: everybody@example.com\r\n\r\nHi",
            false,
        ),
        (
            "ada@example.com",
            "Ada\r\n.\r\nMAIL FROM:<x@example.com>",
            false,
        ),
        ("ada@example.com", "Win at example.com now", false),
    ] {
        let mail = mail_to(email(address), full_name(name));
        mailer.send(&mail).await.unwrap();
        let received = server.mails().pop().unwrap();

        assert_eq!(received.to, [address]);
        let named = greeted.then(|| name.to_owned());
        assert_eq!(received.recipients(), [(named, address.to_owned())]);
        assert_eq!(
            received.header_names(),
            [
                "Message-ID",
                "Date",
                "From",
                "To",
                "Subject",
                "Auto-Submitted",
                "MIME-Version",
                "Content-Type",
            ]
        );
        let greeting = if greeted {
            format!("Hello {name},")
        } else {
            "Hello,".to_owned()
        };
        assert_eq!(received.text().lines().next(), Some(&greeting[..]));
        assert_eq!(received.link(), LINK);
        assert!(!received.html().contains("<script>"));
        assert!(received.data.is_ascii());
    }
}

#[test]
fn a_sender_is_an_address_with_or_without_a_name() {
    for sender in ["tasks@example.com", "Tasks <tasks@example.com>"] {
        assert_eq!(sender.parse::<Sender>().unwrap().to_string(), sender);
    }
    for no_sender in [
        "",
        "Tasks",
        "tasks@",
        "@example.com",
        "tasks@example.com\r\nBcc: everybody@example.com",
        "Tasks <tasks@example.com> and others",
        "tasks@example.com, others@example.com",
        "žofie@example.com",
        "tasks@bücher.example",
    ] {
        no_sender.parse::<Sender>().unwrap_err();
    }
}

#[tokio::test]
async fn neither_options_nor_mailer_nor_errors_print_secrets() {
    let server = SmtpServer::start_with(SmtpEncryption::Tls, Some(("tasks", "right")));
    let options = options(server.port(), SmtpTls::Tls, Some("swordfish"));
    let printed = format!("{options:?}");
    let mailer = mailer(&server, SmtpTls::Tls, Some("swordfish"));
    let error = mailer.send(&mail()).await.unwrap_err();
    let printed = format!("{printed} {mailer:?} {error:?}");
    for secret in ["swordfish", "c3dvcmRmaXNo", TOKEN] {
        assert!(!printed.contains(secret), "{printed}");
    }
}
