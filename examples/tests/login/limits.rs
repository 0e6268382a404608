//! Time limits, the messages of forms that are not accepted, and what a small screen shows first.

use serde_json::json;
use test_support::browser::{Browser, Look, ask, click, fill, have_browser, read, screenshot, see, until, until_path};

use super::visitor::Visitor;
use super::{CODE, Site, alert};

#[tokio::test(flavor = "multi_thread")]
async fn time_limits_count_down_and_say_what_follows() {
    if !have_browser() {
        return;
    }
    let (site, browser) = (Site::start(&[]), Browser::start().await);
    let client = &browser.window().await;
    site.password(client, "alice", "wonderland").await;
    click(client, "form[action='/enroll/app'] button").await;
    // An hour, since an app must be installed first, perhaps.
    read(client, "Time left: 59:").await;
    read(client, "After that you log in again and get another secret: then remove this one from the app.").await;
    let first = see(client, ".countdown").await.text().await.unwrap();
    until(client, "another time", || async {
        (see(client, ".countdown").await.text().await.unwrap() != first).then_some(())
    })
    .await;

    let client = &browser.window().await;
    site.enrolled(client, "bob", "builder").await;
    super::log_out(client).await;
    site.password(client, "bob", "builder").await;
    until_path(client, "/second").await;
    read(client, "Time left: 1:5").await;
    read(client, "It restarts when you type.").await;
    site.open(client, "/second/late").await;
    read(client, "Time left: 9:").await;
    read(client, "After that you log in again.").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_enrollment_that_expires_says_so() {
    let site = Site::start(&[("ENROLLMENT_SECONDS", "0")]);
    let mut alice = Visitor::new(&site).await;
    let form = alice.form(&[("username", "alice"), ("password", "wonderland")]);
    alice.post("/login", &form, &[]).await;
    alice.get("/login").await;
    let form = alice.form(&[("code", "123456")]);
    assert_eq!(alice.post("/enroll/confirm", &form, &[]).await.location, "/login");
    let page = alice.get("/login").await.body;
    assert!(page.contains("The time for the second step has passed.") && page.contains("remove it from your app"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_enrollment_opens_at_its_heading() {
    if !have_browser() {
        return;
    }
    let (site, browser) = (Site::start(&[("CODE_DIGITS", "8")]), Browser::start().await);
    let client = &browser.window_as(Look { narrow: true, ..Look::default() }).await;
    site.password(client, "alice", "wonderland").await;
    click(client, "form[action='/enroll/app'] button").await;
    see(client, "#secret").await;
    let top = "const top = document.querySelector('h1').getBoundingClientRect().top;
        return [scrollY, top >= 0 && top < innerHeight]";
    assert_eq!(ask(client, top).await, json!([0, true]));
    // An app does not know these settings from the secret.
    read(client, "algorithm SHA1, 8 digits, a new code every 30 seconds").await;
    screenshot(client, "login-narrow-parameters").await;
    // After an error, the field has the focus.
    fill(client, "[name=name]", "My app").await;
    fill(client, "[name=code]", "123").await;
    click(client, "form[action='/enroll/confirm'] button").await;
    assert!(alert(client).await.contains("the app shows 8 digits"));
    assert_eq!(ask(client, "return document.activeElement.name").await, json!("code"));
    assert_eq!(see(client, "[name=name]").await.prop("value").await.unwrap().as_deref(), Some("My app"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_keeps_the_name_after_an_error() {
    if !have_browser() {
        return;
    }
    let (site, browser) = (Site::start(&[]), Browser::start().await);
    let client = &browser.window().await;
    for path in ["/login", "/login/otp"] {
        site.open(client, path).await;
        fill(client, "[name=username]", "Alice \"<i>").await;
        fill(client, "[name=password]", "wrong").await;
        if path == "/login/otp" {
            fill(client, "[name=otp]", "123456").await;
        }
        click(client, "[name=remember]").await;
        click(client, "main button").await;
        read(client, "do not belong together").await;
        let state = "return [document.querySelector('[name=username]').value, document.activeElement.name,
            document.querySelector('[name=remember]').checked, document.querySelector('[name=password]').value]";
        assert_eq!(ask(client, state).await, json!(["Alice \"<i>", "password", true, ""]), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_form_says_why() {
    let site = Site::start(&[]);
    let mut visitor = Visitor::new(&site).await;
    let form = visitor.form(&[("username", "alice"), ("password", "wonderland")]);
    let foreign = visitor.post("/login", &form, &[("origin", "https://evil.example")]).await;
    assert!(foreign.status == 403 && foreign.body.contains("Another site has sent this form."));
    let stale = form.replace(&visitor.csrf, "0123456789abcdef0123456789abcdef");
    let stale = visitor.post("/login", &stale, &[]).await;
    assert!(stale.status == 403 && stale.body.contains("You have logged in or out since this page was loaded"));
    visitor.cookies.clear();
    let without = visitor.post("/login", &form, &[]).await;
    assert!(without.status == 403 && without.body.contains("Your browser did not send the cookie of this site"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dialog_on_a_small_screen_shows_its_heading() {
    if !have_browser() {
        return;
    }
    let (site, browser) = (Site::start(&[]), Browser::start().await);
    let client = &browser.window_as(Look { narrow: true, ..Look::default() }).await;
    site.enroll(client, "alice", "wonderland").await;
    click(client, super::SAVED).await;
    until_path(client, "/second").await;
    see(client, CODE).await;
    let top = "return document.querySelector('h1').getBoundingClientRect().top >= 0";
    assert_eq!(ask(client, top).await, json!(true));
}
