//! Checks of pages against the rules of axe-core, which the environment variable `AXE_CORE` names as a file.

use fantoccini::Client;
use serde_json::json;
use test_support::browser::{Browser, holds, screenshot};

/// Asserts that the rules report nothing about the page, without `AXE_CORE` nothing is checked.
pub(super) async fn accessible(window: &Client, name: &str) {
    let Ok(file) = std::env::var("AXE_CORE") else { return };
    let source = std::fs::read_to_string(file).unwrap();
    window.execute(&format!("{source}; window.axe = axe"), vec![]).await.unwrap();
    let check = "axe.run(document, { resultTypes: ['violations'] }).then(({ violations }) =>
        arguments[0](violations.map(({ id, nodes }) => [id, nodes.map(({ html }) => html)])))";
    let violations = window.execute_async(check, vec![]).await.unwrap();
    assert_eq!(violations, json!([]), "{name}: {violations:#}");
}

/// Writes a picture of the page, for people, after a check.
pub(super) async fn checked_screenshot(window: &Client, name: &str) {
    accessible(window, name).await;
    screenshot(window, name).await;
}

/// Writes pictures of the page in light and dark mode, for people, and checks both.
pub(super) async fn look(browser: &Browser, window: &Client, name: &str) {
    for scheme in ["light", "dark"] {
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        browser.devtools(window, "Emulation.setEmulatedMedia", features).await;
        // A frame of another site is in another process.
        holds(window, &format!("matchMedia('(prefers-color-scheme: {scheme})').matches")).await;
        screenshot(window, &format!("{name}-{scheme}")).await;
        accessible(window, &format!("{name}-{scheme}")).await;
    }
    browser.devtools(window, "Emulation.setEmulatedMedia", json!({ "features": [] })).await;
}
