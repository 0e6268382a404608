//! The kind of the `ConfigError` of each constructor and setter, at the limits of what is valid.
use std::time::Duration;

use tower_toopher::ConfigErrorKind as Kind;
use tower_toopher::middleware::{Realm, StepUp};
use tower_toopher::store::{ApprovalLimit, Throttle};
use tower_toopher::totp::Window;
use tower_toopher::verify::{
    ApprovalId, ApprovalToken, AuditPath, ExtraBinding, FactorName, FailOpenLayer, PendingApproval, RequestId,
    SessionId,
};
use tower_toopher::{ConfigError, Factor, UserId};

/// Asserts that each result is an error of this kind, with a text.
fn invalid<T>(kind: Kind, results: impl IntoIterator<Item = Result<T, ConfigError>>) {
    for (at, result) in results.into_iter().enumerate() {
        let error = result.err().unwrap_or_else(|| panic!("{kind:?} {at} is valid"));
        assert_eq!(error.kind(), kind, "{at}");
        let text = error.to_string();
        assert!(!text.is_empty() && !text.ends_with('.'), "{text}");
        assert!(std::error::Error::source(&error).is_none());
    }
}

/// Asserts that text of 1 to `max` bytes is valid, and none outside.
fn text<T>(kind: Kind, max: usize, new: impl Fn(&str) -> Result<T, ConfigError>) {
    assert!(new("a").is_ok() && new(&"a".repeat(max)).is_ok(), "{kind:?}");
    // The limit is in bytes, not in characters.
    let wide = "\u{e9}".repeat(max / 2 + 1);
    invalid(kind, [new(""), new(&"a".repeat(max + 1)), new(&wide)]);
}

#[test]
fn values_of_requests() {
    text(Kind::UserId, 512, |text| UserId::new(text));
    text(Kind::SessionId, 1024, |text| SessionId::new(text));
    text(Kind::RequestId, 256, |text| RequestId::new(text));
    text(Kind::ExtraBinding, 8192, |text| ExtraBinding::new(text));
    text(Kind::AuditPath, 1024, |text| AuditPath::new(text));
    text(Kind::ApprovalId, 256, |text| ApprovalId::new(text));
    text(Kind::ApprovalToken, 2048, ApprovalToken::new);
    invalid(Kind::ApprovalToken, ["a b", "a=", "a,b", "a\n"].map(ApprovalToken::new));
    text(Kind::FactorName, 32, FactorName::new);
    text(Kind::FactorName, 32, Factor::other);
    assert_eq!(PendingApproval::new().with_number(99).unwrap().number(), Some(99));
    invalid(Kind::Number, [100, 255].map(|number| PendingApproval::new().with_number(number)));
}

#[test]
fn names_of_factors_keep_their_text() {
    for name in ["acr", "webauthn", "\u{e9}\u{20ac}", &"n".repeat(32)] {
        let Factor::Other(name_of_factor) = Factor::other(name).unwrap() else { panic!("another factor") };
        assert_eq!(name_of_factor.as_str(), name);
        assert_eq!(format!("{:?}", Factor::other(name).unwrap()), format!("Other({name:?})"));
    }
    assert_ne!(Factor::other("a"), Factor::other("b"));
    const ACR: Result<Factor, ConfigError> = Factor::other("acr");
    assert_eq!(ACR.unwrap().name(), "other");
}

#[test]
fn settings_of_the_layer() {
    assert!(Realm::new("bank \"1\"").is_ok());
    invalid(Kind::Realm, ["", "a\r\nb", "caf\u{e9}", "\u{7f}"].map(Realm::new));
    assert!(StepUp::new().acr_values(["urn:a", "b"]).is_ok());
    for values in [&[""][..], &["a b"], &["a\"b"], &["a\\b"], &["ok", "a\r\nb"], &["caf\u{e9}"]] {
        invalid(Kind::AcrValue, [StepUp::new().acr_values(values)]);
    }
    let (second, day) = (Duration::from_secs(1), Duration::from_secs(24 * 60 * 60));
    let fail_open = |limit, window| FailOpenLayer::insecure(limit, window);
    assert!(fail_open(1, second).is_ok() && fail_open(10_000, day).is_ok());
    invalid(Kind::FailOpen, [fail_open(0, second), fail_open(10_001, second), fail_open(1, Duration::ZERO)]);
    invalid(Kind::FailOpen, [fail_open(1, Duration::from_millis(999)), fail_open(1, day + second)]);
}

#[test]
fn settings_of_verifiers() {
    assert!(Window::new(10, 10).is_ok());
    invalid(Kind::Window, [Window::new(11, 0), Window::new(0, 11)]);
    let (second, day) = (Duration::from_secs(1), Duration::from_secs(24 * 60 * 60));
    assert!(Throttle::new(1, second, day, 100).is_ok());
    invalid(
        Kind::Throttle,
        [
            Throttle::new(0, second, day, 100),
            Throttle::new(6, second, day, 5),
            Throttle::new(1, second, day, 101),
            Throttle::new(1, Duration::ZERO, day, 100),
            Throttle::new(1, day, second, 100),
            Throttle::new(1, second, day + second, 100),
        ],
    );
    let minute = Duration::from_secs(60);
    assert!(ApprovalLimit::new(1, minute).is_ok() && ApprovalLimit::new(100, 30 * day).is_ok());
    let limits = [(0, minute), (101, minute), (1, minute - second), (1, 30 * day + second)];
    invalid(Kind::ApprovalLimit, limits.map(|(max, reset_after)| ApprovalLimit::new(max, reset_after)));
}

#[cfg(any(feature = "approvals", feature = "grants"))]
#[test]
fn keys() {
    use tower_toopher::crypto::SealingKey;

    let base64 = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    assert!(SealingKey::parse(&"5e".repeat(32)).is_ok() && SealingKey::parse(base64).is_ok());
    let invalid_keys = [String::new(), "5e".repeat(31), "5e".repeat(33), "zz".repeat(32), base64.replace('=', "")];
    invalid(Kind::SealingKey, invalid_keys.iter().map(|text| SealingKey::parse(text)));
}

#[cfg(feature = "grants")]
#[test]
fn settings_of_grants() {
    use tower_toopher::crypto::SealingKey;
    use tower_toopher::middleware::grants::{Grant, Grants};

    text(Kind::Grant, 1024, Grant::new);
    invalid(Kind::Grant, ["a b", "a=", "a; Domain=test", "a\r\nb"].map(Grant::new));
    let grants = || Grants::new(SealingKey::generate().unwrap());
    text(Kind::CookieName, 64, |name| grants().cookie(name));
    invalid(Kind::CookieName, ["a b", "a;b", "a=b", "a\r\nb", "caf\u{e9}"].map(|name| grants().cookie(name)));
}

#[cfg(feature = "redis")]
#[test]
fn settings_of_the_redis_store() {
    use tower_toopher::store::RedisStore;

    let prefix = |prefix: &str| RedisStore::new("redis://localhost").unwrap().prefix(prefix);
    text(Kind::Prefix, 64, prefix);
    invalid(Kind::Prefix, ["a b", "{a}", "a\n", "caf\u{e9}"].map(prefix));
}

#[cfg(any(feature = "client", feature = "client-hyper"))]
#[test]
fn settings_of_the_client() {
    use tower_toopher::client::BaseUrl;

    assert!("https://mfa.example.com/v1".parse::<BaseUrl>().is_ok());
    for url in ["", "mfa.example.com", "ftp://mfa.example.com", "https://user@mfa.example.com/v1?x=1"] {
        invalid(Kind::BaseUrl, [url.parse::<BaseUrl>()]);
    }
}
