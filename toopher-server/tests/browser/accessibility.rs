//! Pictures of pages, for people, each after a check with the rules of axe-core.

use fantoccini::Client;
use serde_json::json;
use test_support::axe;
use test_support::browser::{Browser, holds, screenshot};

/// Asserts that the rules report nothing about the page.
pub(super) async fn accessible(window: &Client, name: &str) {
    let violations = axe::violations(window).await;
    assert!(violations.is_empty(), "{name}: {violations:#?}");
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
