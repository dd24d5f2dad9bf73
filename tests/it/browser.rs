//! The pages, in a real browser: those that links in mails lead to by the keyboard alone.

use std::fs;

use serde_json::json;

use crate::support::{
    Browser, Client, ENTER, NEW_PASSWORD, PASSWORD, SPACE, Service, Setup, eventually,
};

const ADA: &str = "ada@example.com";
const VERIFY: &str = "verify_email";
const RESET: &str = "reset_password";
const WEAK: &str = "short";

const VERIFIED: &str = "Your e-mail address is confirmed. You can close this page.";
const CHANGED: &str =
    "Your password is changed, and you are signed out everywhere. Sign in with the new password.";
const USED: &str =
    "This link does not work any more: it was used, a newer mail replaced it, or it is too old.";
const SENT: &str =
    "If an account has this address, a new mail is on its way. Only its link works then.";

/// Somebody who has an account, and a browser.
struct Visit {
    service: Service,
    ada: Client,
    browser: Browser,
    /// Where the pages are.
    origin: String,
}

impl Visit {
    /// The pages are where the service listens.
    fn start() -> Self {
        Self::of(Service::start(), None)
    }

    /// The pages are at the origin that `PUBLIC_URL` names.
    fn in_production() -> Self {
        const HOST: &str = "tasks.example.com";
        let service = Setup::new()
            .with("APP_ENV", "production")
            .with("BCRYPT_COST", "10")
            .with("ALLOW_CONSOLE_EMAIL", "true")
            .with("JWT_SECRET_KEY", &"k".repeat(32))
            .with("PUBLIC_URL", &format!("http://{HOST}"))
            .start();
        Self::of(service, Some(HOST))
    }

    fn of(service: Service, host: Option<&str>) -> Self {
        let (ada, _) = service.register(ADA);
        let origin = format!("http://{}", host.unwrap_or(service.address()));
        let browser = Browser::start(host.unwrap_or("127.0.0.1"), service.address());
        Self {
            service,
            ada,
            browser,
            origin,
        }
    }

    /// The link of the nth mail of a kind, from 1.
    fn link(&self, kind: &str, nth: usize) -> String {
        eventually("the log tells of the mail", || {
            let log = self.service.log();
            let line = log
                .iter()
                .filter(|line| line["mail_kind"] == kind)
                .nth(nth - 1)?;
            Some(line["mail_url"].as_str().unwrap().to_owned())
        })
    }

    /// Opens a link, loads it again as who is nervous does, and looks at what comes.
    fn open(&self, link: &str, page: &str, heading: &str) {
        assert!(
            link.starts_with(&format!("{}/{page}?token=", self.origin)),
            "{link}"
        );
        self.browser.open(link);
        let is_out_of_sight = || {
            assert_eq!(self.browser.address(), format!("{}/{page}", self.origin));
        };
        is_out_of_sight();
        self.browser.reload();
        is_out_of_sight();
        let seen = self.browser.look(
            r#"return {
                language: document.documentElement.lang,
                title: document.title,
                headings: [...document.querySelectorAll("h1")].map((h1) => h1.textContent),
                unlabelled: [...document.querySelectorAll("input")]
                    .filter((input) => !input.labels[0]?.textContent.trim())
                    .map((input) => input.outerHTML),
                announces: document.querySelectorAll("[role=status][aria-live=polite]").length,
                says: document.getElementById("result").textContent,
            }"#,
        );
        let expected = json!({
            "language": "en",
            "title": heading,
            "headings": [heading],
            "unlabelled": [],
            "announces": 1,
            "says": "",
        });
        assert_eq!(seen, expected);
    }

    /// Nothing went wrong on the page but that the API refused so many requests; and all of it came
    /// from here.
    fn is_clean(&self, refusals: usize) {
        let console = self.browser.console();
        let api = format!("{}/api/v1/auth/", self.origin);
        let is_refusal = |line: &String| line.starts_with(&api) && line.contains("a status of 400");
        assert!(console.iter().all(is_refusal), "{console:?}");
        assert_eq!(console.len(), refusals, "{console:?}");
        self.is_all_ours();
    }

    /// All of the page came from here.
    fn is_all_ours(&self) {
        let loaded = self.browser.look(
            r#"return ["navigation", "resource"]
                .flatMap((type) => performance.getEntriesByType(type))
                .map((entry) => entry.name)"#,
        );
        let loaded = loaded.as_array().unwrap();
        let here = format!("{}/", self.origin);
        let is_ours = |url: &&str| url.starts_with(&here);
        let urls: Vec<&str> = loaded.iter().map(|url| url.as_str().unwrap()).collect();
        assert!(urls.iter().all(is_ours), "{urls:?}");
        // The page, its script and its style.
        assert!(urls.len() > 2, "{urls:?}");
    }

    fn press_button(&self, name: &str) {
        self.browser.tab_to("button", name);
        self.browser.press(&ENTER.to_string());
    }

    fn is_active(&self) -> bool {
        self.ada.me().body["is_active"].as_bool().unwrap()
    }

    fn status_of_login(&self, password: &str) -> u16 {
        self.service.client().log_in(ADA, password).status
    }

    fn verifies(&self) {
        let link = self.link(VERIFY, 1);
        let open = || self.open(&link, "verify-email", "Confirm your e-mail address");
        for _ in 0..2 {
            open();
            assert!(!self.is_active());
        }
        self.press_button("Confirm the address");
        assert_eq!(self.browser.announcement(), VERIFIED);
        assert!(self.is_active());
        self.is_clean(0);

        open();
        self.press_button("Confirm the address");
        assert_eq!(self.browser.announcement(), USED);
        self.is_clean(1);
    }

    fn resets(&self) {
        let browser = &self.browser;
        let open = |nth| {
            let link = self.link(RESET, nth);
            self.open(&link, "reset-password", "Choose a new password");
        };
        self.service
            .client()
            .auth("forgot-password", &json!({ "email": ADA }));
        open(1);
        browser.tab_to("textbox", "New password");
        browser.press(WEAK);
        self.press_button("Change the password");
        let described = eventually("the field says what is wrong", || {
            let text = browser.look(
                r#"const field = document.activeElement;
                return field.ariaInvalid === "true" && field.getAttribute("aria-describedby")
                    .split(" ").map((id) => document.getElementById(id).textContent).join("\n")"#,
            );
            text.as_str().map(str::to_owned)
        });
        assert_eq!(browser.focus().1, "New password");
        // The rule is the server's, in its words.
        let body = json!({ "token": "any", "new_password": WEAK });
        let answer = self.service.client().auth("reset-password", &body);
        let rule = answer.body["errors"][0]["message"].as_str().unwrap();
        assert!(described.contains(rule), "{described}: {rule}");
        self.is_clean(1);

        browser.select_all();
        browser.press(NEW_PASSWORD);
        browser.tab_to("checkbox", "Show the password");
        browser.press(&SPACE.to_string());
        let shown = browser.look("const { type, value } = new_password; return [type, value]");
        assert_eq!(shown, json!(["text", NEW_PASSWORD]));
        self.press_button("Change the password");
        assert_eq!(browser.announcement(), CHANGED);
        assert_eq!(browser.look("return new_password.value"), "");
        assert_eq!(self.status_of_login(NEW_PASSWORD), 200);
        assert_eq!(self.status_of_login(PASSWORD), 401);
        self.is_clean(0);

        // Who comes too late gets another link without leaving the page.
        open(1);
        browser.tab_to("textbox", "New password");
        browser.press(&format!("{PASSWORD}{ENTER}"));
        assert_eq!(browser.announcement(), USED);
        self.is_clean(1);
        browser.tab_to("textbox", "E-mail address");
        browser.press(ADA);
        self.press_button("Send another mail");
        eventually("the page announces the mail", || {
            (browser.announcement() == SENT).then_some(())
        });
        self.is_clean(0);
        open(2);
        browser.tab_to("textbox", "New password");
        browser.press(&format!("{PASSWORD}{ENTER}"));
        assert_eq!(browser.announcement(), CHANGED);
        assert_eq!(self.status_of_login(PASSWORD), 200);
    }
}

/// Opens the documentation, and tries an operation.
fn tries_out(visit: &Visit) {
    let browser = &visit.browser;
    let count = |selector: &str| {
        let script = format!("return document.querySelectorAll({selector:?}).length");
        browser.look(&script).as_u64().unwrap()
    };
    let click = |selector: &str| {
        eventually(selector, || (count(selector) == 1).then_some(()));
        browser.look(&format!("document.querySelector({selector:?}).click()"));
    };
    browser.open(&format!("{}/docs", visit.origin));
    let document = visit.service.client().get("/openapi.json").body;
    let paths = document["paths"].as_object().unwrap().values();
    let operations: usize = paths.map(|path| path.as_object().unwrap().len()).sum();
    eventually("the operations are there", || {
        (count(".opblock") == operations as u64).then_some(())
    });
    click("#operations-health-live .opblock-summary-control");
    click("#operations-health-live .try-out__btn");
    click("#operations-health-live .execute");
    let answer = eventually("the answer is there", || {
        let text = browser.look(
            r"const answer = document.querySelector('#operations-health-live .live-responses-table');
            return answer?.querySelector('.response')?.textContent",
        );
        text.as_str().map(str::to_owned)
    });
    assert!(answer.starts_with("200"), "{answer}");
    assert!(answer.contains(r#""status": "alive""#), "{answer}");
    let is_styled = browser.look(
        r#"const { display } = getComputedStyle(document.querySelector(".opblock-summary"));
        return display"#,
    );
    assert_eq!(is_styled, "flex");
    // What the policy does not allow would stand there.
    let console = browser.console();
    assert!(console.is_empty(), "{console:?}");
    visit.is_all_ours();
}

#[test]
fn the_documentation_is_shown_and_tried_out() {
    tries_out(&Visit::start());
    tries_out(&Visit::in_production());
}

#[test]
fn a_link_verifies_an_address_by_the_keyboard() {
    Visit::start().verifies();
}

#[test]
fn a_link_resets_a_password_by_the_keyboard() {
    Visit::start().resets();
}

#[test]
fn links_work_at_the_public_url_of_production() {
    let visit = Visit::in_production();
    visit.verifies();
    visit.resets();
}

#[test]
fn a_dropped_browser_leaves_nothing_behind() {
    let service = Service::start();
    let browser = Browser::start("127.0.0.1", service.address());
    let folder = browser.folder().to_owned();
    let processes = || {
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let folders =
            processes.filter_map(|process| fs::read_link(process.path().join("cwd")).ok());
        let name = folder.to_str().unwrap();
        // One that is gone is called so behind its name.
        folders
            .filter(|cwd| cwd.to_str().is_some_and(|cwd| cwd.starts_with(name)))
            .count()
    };
    assert!(processes() > 3);
    drop(browser);
    assert!(!folder.exists());
    eventually("its processes are gone", || {
        (processes() == 0).then_some(())
    });
}
