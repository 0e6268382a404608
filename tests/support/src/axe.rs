//! The accessibility rules of `axe-core`, on the page that a browser shows.

use fantoccini::Client;
use serde_json::{Value, json};

/// What the rules report, with the elements. Empty without `AXE_JS`: the path of `axe.min.js`, which `tests/all.sh`
/// sets.
pub async fn violations(window: &Client) -> Vec<String> {
    let Some(path) = std::env::var_os("AXE_JS") else {
        assert!(std::env::var_os("REQUIRE_TOOLS").is_none(), "AXE_JS is not set");
        return Vec::new();
    };
    let library = std::fs::read_to_string(path).unwrap();
    window.execute(&format!("{library}; return typeof axe"), vec![]).await.unwrap();
    let run = "const done = arguments[arguments.length - 1];
        // Frames have documents of their own, which the tests of those pages check.
        axe.run(document, { iframes: false, resultTypes: ['violations'] }).then(
            (results) => done(results.violations.map((it) => [it.id, it.help, ...it.nodes.map((node) => node.html)])),
            (error) => done([['axe', String(error)]]))";
    let found = window.execute_async(run, vec![]).await.unwrap();
    assert_ne!(found, json!(null), "axe returned nothing");
    found.as_array().into_iter().flatten().map(Value::to_string).collect()
}
