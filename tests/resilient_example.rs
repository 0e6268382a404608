//! `examples/resilient_verifier.rs` as a newcomer meets it: each line of its head, typed, and what it says comes of it.
#![allow(clippy::unwrap_used)]

mod common;

use common::example::Example;
use common::{have, output};

#[test]
fn what_it_says_comes_of_each_line() {
    if !have(&["curl", "sh"]) {
        return;
    }
    let example = Example::start("resilient_verifier");
    let source = std::fs::read_to_string("examples/resilient_verifier.rs").unwrap();
    let lines = source.lines().filter_map(|line| line.strip_prefix("//! "));
    let lines = lines.filter(|line| line.starts_with("curl ") || line.starts_with("for "));
    let lines: Vec<_> = lines.map(|line| line.replace("http://127.0.0.1:3000", &example.url)).collect();
    let [first, slow, failing, six] = &*lines else { panic!("{lines:?}") };
    let typed = |line: &str| output("sh", &["-c", &line.replace("curl -i ", "curl -s -i ")]);
    let says = |line: &str, status: &str, what: &str| {
        let said = typed(line).to_lowercase();
        assert!(said.starts_with(&format!("http/1.1 {status} ")) && said.contains(what), "{line}: {said}");
        said
    };
    says(first, "200", "you are in.");
    assert!(!says(slow, "503", "unavailable").contains("retry-after"));
    says(failing, "503", "retry-after: 10");
    let said = typed(six);
    assert_eq!(said.split_whitespace().collect::<Vec<_>>(), ["503"; 6], "{said}");
    // The breaker is open: no longer the backend's yes, and the time after which to come back.
    says(first, "503", "retry-after: ");
    assert!(source.contains("for ten seconds"));
}
