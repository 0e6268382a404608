//! An example that cannot start ends with one sentence that names the variable.

use test_support::example::{Example, command};

const API: [(&str, &str); 3] = [
    ("TOOPHER_BASE_URL", "http://127.0.0.1:1/v1"),
    ("TOOPHER_CONSUMER_KEY", "key"),
    ("TOOPHER_CONSUMER_SECRET", "secret"),
];

/// The last line of the standard error, which is the only one.
fn error(name: &str, environment: &[(&str, &str)]) -> String {
    let output = command(name, environment).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && error.lines().count() == 1, "{name}: {error}");
    error.trim_end().to_owned()
}

#[test]
fn an_address_in_use() {
    let example = Example::start("quickstart");
    for name in [
        "axum-login",
        "custom-rejection",
        "frame",
        "grants",
        "hyper-header",
        "login",
        "per-route",
        "quickstart",
        "resilient-verifier",
        "sessions",
        "tonic",
        "toopher",
    ] {
        let error = error(name, &[&API[..], &[("ADDR", example.address())]].concat());
        assert!(error.starts_with(&format!("error: ADDR {}: ", example.address())), "{name}: {error}");
    }
    for variable in ["ADDR", "APP_ADDR"] {
        let other = if variable == "ADDR" { "APP_ADDR" } else { "ADDR" };
        let error = error("forward-auth", &[(variable, example.address()), (other, "127.0.0.1:0")]);
        assert!(error.starts_with(&format!("error: {variable} {}: ", example.address())), "{error}");
    }
}

#[test]
fn an_invalid_variable() {
    for (name, variable, value) in [
        ("quickstart", "SECRET", "1"),
        ("hyper-header", "HEAD_SECONDS", "soon"),
        ("login", "APPROVAL_SECONDS", "soon"),
        ("login", "ENROLLMENT_SECONDS", "-1"),
        ("login", "CODE_DIGITS", "5"),
        ("login", "TOOPHER_BASE_URL", "nowhere"),
        ("login", "TOOPHER_CONSUMER_KEY", ""),
        ("frame", "TOOPHER_BASE_URL", "nowhere"),
        ("toopher", "TOOPHER_BASE_URL", "nowhere"),
        ("replicas", "ROUNDS", "all"),
        ("replicas", "REDIS_URL", "nowhere"),
        // Refused: it is reserved, and nothing listens there.
        ("replicas", "REDIS_URL", "redis://:hidden@127.0.0.1:1"),
    ] {
        let mut environment: Vec<_> = API.into_iter().filter(|(name, _)| *name != variable).collect();
        environment.extend([("ADDR", "127.0.0.1:0"), (variable, value)]);
        let error = error(name, &environment);
        assert!(error.starts_with("error: ") && error.contains(variable), "{name}: {error}");
        assert!(!error.contains("hidden"), "{error}");
        // A sentence, and no value of Rust.
        assert!(!error.contains(['{', '"', '\\']) && !error.contains("Err("), "{name}: {error}");
    }
    for variable in ["TOOPHER_BASE_URL", "TOOPHER_CONSUMER_KEY", "TOOPHER_CONSUMER_SECRET"] {
        let environment: Vec<_> = API.into_iter().filter(|(name, _)| *name != variable).collect();
        assert_eq!(error("toopher", &environment), format!("error: {variable} is not set"));
        assert_eq!(error("frame", &environment), format!("error: {variable} is not set"));
    }
}
