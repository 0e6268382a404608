//! Remembered browsers.

use fantoccini::Locator;
use test_support::browser::{Browser, click, fill, have_browser, read, until_path};

use super::visitor::Visitor;
use super::{Authenticator, CODE, SEND, Site, log_out};

#[tokio::test(flavor = "multi_thread")]
async fn a_remembered_browser_needs_the_password_alone_until_it_is_forgotten() {
    if !have_browser() {
        return;
    }
    let (site, browser) = (Site::start(&[]), Browser::start().await);
    let client = &browser.window().await;
    let (mut app, codes) = site.enrolled(client, "alice", "wonderland").await;
    read(client, "None. Every login requires a second factor.").await;
    let log_in_and_remember = async |code: String| {
        log_out(client).await;
        site.open(client, "/login").await;
        fill(client, "[name=username]", "alice").await;
        fill(client, "[name=password]", "wonderland").await;
        click(client, "[name=remember]").await;
        click(client, "main button").await;
        until_path(client, "/second").await;
        fill(client, CODE, &code).await;
        click(client, SEND).await;
        until_path(client, "/account").await;
    };
    log_in_and_remember(app.code().await).await;
    read(client, "Chrome on Linux").await;
    read(client, "this browser").await;
    log_out(client).await;
    site.password(client, "alice", "wonderland").await;
    until_path(client, "/account").await;
    read(client, "by your password on a remembered browser").await;
    assert!(client.find(Locator::Css("main .notice")).await.is_err());
    // The password is needed, and that of another user is not enough.
    log_out(client).await;
    site.password(client, "alice", "wrong").await;
    read(client, "do not belong together").await;
    site.password(client, "bob", "builder").await;
    until_path(client, "/enroll").await;

    // Forgotten, so a second factor is required again.
    site.password(client, "alice", "wonderland").await;
    until_path(client, "/account").await;
    click(client, "#browsers button").await;
    read(client, "None. Every login requires a second factor.").await;
    log_out(client).await;
    site.password(client, "alice", "wonderland").await;
    until_path(client, "/second").await;
    fill(client, CODE, &codes[0]).await;
    click(client, SEND).await;

    // "Forget all" also ends other sessions.
    log_in_and_remember(codes[1].clone()).await;
    let other = &browser.window().await;
    site.single_form(other, "alice", "wonderland", &codes[2]).await;
    until_path(other, "/account").await;
    let all = client.find(Locator::XPath("//button[starts-with(., 'Forget all browsers')]")).await.unwrap();
    all.click().await.unwrap();
    read(client, "None. Every login requires a second factor.").await;
    site.open(other, "/account").await;
    until_path(other, "/login").await;
    log_out(client).await;
    site.password(client, "alice", "wonderland").await;
    until_path(client, "/second").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_is_valid_for_its_browser_user_and_factors() {
    let site = Site::start(&[]);
    let mut alice = Visitor::pending(&site, "alice", "wonderland").await;
    let form = alice.form(&[]);
    alice.post("/enroll/app", &form, &[]).await;
    let page = alice.get("/enroll/app").await.body;
    let mut app = Authenticator::new(page.split("data-text=\"").nth(1).unwrap().split('"').next().unwrap());
    let form = alice.form(&[("code", &app.code().await), ("name", "App")]);
    assert_eq!(alice.post("/enroll/confirm", &form, &[]).await.location, "/codes");

    let mut visitor = Visitor::new(&site).await;
    let code = app.code().await;
    let form = visitor.form(&[("username", "alice"), ("password", "wonderland"), ("otp", &code), ("remember", "1")]);
    assert_eq!(visitor.post("/login/otp", &form, &[]).await.location, "/account");
    let cookie = visitor.cookies.iter().find(|(name, _)| name == "remembered").unwrap().1.clone();
    let remembered = async |cookie: &str, user: &str, password: &str| {
        let mut visitor = Visitor::new(&site).await;
        visitor.cookies.push(("remembered".into(), cookie.into()));
        let form = visitor.form(&[("username", user), ("password", password)]);
        let first = visitor.post("/login", &form, &[]).await.location;
        let location = visitor.get("/second/remembered").await.location;
        assert!(first == "/second/remembered" || location != "/account", "{first} {location}");
        location
    };
    assert_eq!(remembered(&cookie, "alice", "wonderland").await, "/account");
    assert_eq!(remembered(&cookie, "bob", "builder").await, "/second");
    // Without the password there is no login that it could complete.
    assert_eq!(remembered(&cookie, "alice", "wrong").await, "/second");
    let (id, grant) = cookie.split_once('.').unwrap();
    let other_id = id.replace(['0', '1', '2', '3', '4'], "f");
    for wrong in ["", ".", "x.y", id, &format!("{other_id}.{grant}"), &format!("{id}.{grant}x"), &format!("{id}.")] {
        assert_ne!(remembered(wrong, "alice", "wonderland").await, "/account", "{wrong}");
    }
    // A page of another site cannot send it: the cookie is `SameSite=Strict`. A copy of it is invalid after a change of
    // the second factors.
    visitor.get("/account").await;
    let form = visitor.form(&[]);
    assert_eq!(visitor.post("/codes/new", &form, &[]).await.location, "/codes");
    assert_eq!(remembered(&cookie, "alice", "wonderland").await, "/second");
}
