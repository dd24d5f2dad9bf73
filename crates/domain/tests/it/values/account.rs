//! The values of an account.

use std::net::{IpAddr, Ipv6Addr};

use proptest::prelude::*;
use tasks_domain::account::{
    ClientInfo, Email, Password, PasswordAttempt, PasswordHash, TokenDigest,
};

#[test]
fn addresses_are_those_that_a_browser_takes() {
    let good = [
        "a@b",
        "ada@example.com",
        "ada.lovelace+tasks@mail.example.co.uk",
        "x@localhost",
        "1@2.3",
        "!#$%&'*+/=?^_`{|}~-@example.com",
        ".a@example.com",
        "a.@example.com",
        "a@x--y.com",
    ];
    for good in good {
        assert_eq!(Email::parse(good).unwrap().as_str(), good);
    }
    let bad = [
        "",
        "@",
        "a",
        "a@",
        "@b",
        "a@b@c",
        "a b@c.de",
        "a@b c",
        "a..b@c.de",
        "a@b..c",
        "a@.b",
        "a@b.",
        "a@-b.c",
        "a@b-.c",
        "a@b_c.d",
        "Ada <a@b.c>",
        "\"a b\"@c.de",
        "ä@b.de",
        "a@bücher.de",
        "a@[127.0.0.1]",
        "a,b@c.de",
        "a@b.c\nx",
        "\u{212a}@b.de",
    ];
    for bad in bad {
        assert_eq!(Email::parse(bad).unwrap_err().code, "format", "{bad}");
    }
    assert_eq!(Email::parse("a\0@b.c").unwrap_err().code, "nul");
}

#[test]
fn an_address_has_at_most_254_characters_and_each_label_63() {
    let label = "b".repeat(63);
    let domain = format!("{label}.{label}.{label}");
    let local = |length: usize| "a".repeat(length);
    let longest = format!("{}@{domain}", local(254 - 192));
    assert_eq!(longest.len(), 254);
    assert!(Email::parse(&longest).is_ok());
    assert!(Email::parse(&format!("  {longest}\n")).is_ok());
    let too_long = format!("{}@{domain}", local(255 - 192));
    assert_eq!(Email::parse(&too_long).unwrap_err().code, "length");
    let long_label = format!("a@{}", "b".repeat(64));
    assert_eq!(Email::parse(&long_label).unwrap_err().code, "format");
}

proptest! {
    #[test]
    fn an_address_has_no_regard_to_case_or_outer_white_space(
        address in "[a-zA-Z0-9_+-]{1,20}@[a-zA-Z]{1,10}(\\.[a-zA-Z0-9]{1,10}){0,3}",
        space in "[ \t\r\n]{0,3}",
    ) {
        let parsed = Email::parse(&address).unwrap();
        prop_assert_eq!(parsed.as_str(), address.to_lowercase());
        prop_assert_eq!(parsed.to_string(), address.to_lowercase());
        let shouted = format!("{space}{}{space}", address.to_uppercase());
        prop_assert_eq!(Email::parse(&shouted).unwrap(), parsed);
    }

    #[test]
    fn no_text_makes_parsing_an_address_panic_and_what_is_taken_is_taken_again(text in "\\PC{0,80}") {
        if let Ok(email) = Email::parse(&text) {
            prop_assert!(email.as_str().is_ascii() && email.as_str().contains('@'));
            prop_assert_eq!(Email::parse(email.as_str()), Ok(email));
        }
    }
}

fn refusal(password: &str) -> Option<&'static str> {
    Password::parse(password).err().map(|invalid| invalid.code)
}

#[test]
fn a_password_has_8_characters_and_72_bytes_at_most() {
    assert_eq!(refusal("Abcde1!"), Some("length"));
    assert_eq!(refusal("Abcdef1!"), None);
    // Eight characters, but many more bytes, and the other way round.
    assert_eq!(refusal("A1!🦀🦀🦀🦀🦀"), None);
    assert_eq!(refusal("A1!🦀🦀🦀🦀"), Some("length"));
    let of_bytes = |bytes: usize| format!("A1!{}", "a".repeat(bytes - 3));
    assert_eq!(refusal(&of_bytes(72)), None);
    assert_eq!(refusal(&of_bytes(73)), Some("length"));
    assert_eq!(refusal(&format!("A1!é{}", "a".repeat(67))), None);
    assert_eq!(refusal(&format!("A1!é{}", "a".repeat(68))), Some("length"));
}

#[test]
fn a_password_has_a_capital_a_digit_and_a_special_character() {
    for weak in [
        "abcdef1!",
        "Abcdefg!",
        "Abcdefg1",
        "Abcdef1-",
        "Abcdef1?",
        "Abcdef１!",
        "12345678",
    ] {
        assert_eq!(refusal(weak), Some("weak"), "{weak}");
    }
    for special in "!@#$%^&*".chars() {
        assert_eq!(refusal(&format!("Abcdef1{special}")), None);
    }
    assert_eq!(refusal("Écdefgh1!"), None);
}

#[test]
fn a_password_is_taken_as_it_is_without_nul() {
    let password = Password::parse(" Abcd1! ").unwrap();
    assert_eq!(password.expose(), " Abcd1! ");
    assert_eq!(refusal("Abcdef1!\0"), Some("nul"));
}

proptest! {
    #[test]
    fn any_text_is_a_password_by_the_rule_or_none(text in "[A-Ca-c1-3!@ é🦀]{0,20}\0?[A-Ca-c1-3!@ é🦀]{0,20}") {
        let allowed = !text.contains('\0')
            && text.chars().count() >= 8
            && text.len() <= 72
            && text.contains(['A', 'B', 'C'])
            && text.contains(['1', '2', '3'])
            && text.contains(['!', '@']);
        prop_assert_eq!(Password::parse(&text).is_ok(), allowed);
    }

    #[test]
    fn an_attempt_is_compared_if_an_account_could_have_such_a_password(text in "[a🦀]{0,40}\0?[a🦀]{0,40}") {
        let attempt = PasswordAttempt::new(&text);
        let comparable = text.len() <= 72 && !text.contains('\0');
        prop_assert_eq!(attempt.comparable(), comparable.then_some(text.as_str()));
    }
}

#[test]
fn an_attempt_longer_than_bcrypt_reads_is_never_compared() {
    let longest = "a".repeat(72);
    assert_eq!(
        PasswordAttempt::new(&longest).comparable(),
        Some(longest.as_str())
    );
    assert_eq!(PasswordAttempt::new(&"a".repeat(73)).comparable(), None);
    assert_eq!(PasswordAttempt::new("a\0").comparable(), None);
    assert_eq!(PasswordAttempt::new("").comparable(), Some(""));
}

#[test]
fn nothing_secret_shows_in_a_debug_format() {
    let shown = format!(
        "{:?} {:?} {:?} {:?}",
        Password::parse("Hidden-1!").unwrap(),
        PasswordAttempt::new("Hidden-1!"),
        PasswordHash::new("Hidden-1!"),
        TokenDigest::new("Hidden-1!"),
    );
    assert!(!shown.contains("Hidden"), "{shown}");
}

#[test]
fn a_client_is_known_by_256_characters_without_nul() {
    let address = IpAddr::V6(Ipv6Addr::LOCALHOST);
    let agent = |raw: Option<&str>| ClientInfo::new(raw, address).user_agent;
    assert_eq!(agent(None), None);
    assert_eq!(agent(Some("cu\0rl")).as_deref(), Some("curl"));
    let long = "🦀".repeat(257);
    assert_eq!(agent(Some(&long)).unwrap().chars().count(), 256);
    assert_eq!(ClientInfo::new(None, address).address, address);
}
