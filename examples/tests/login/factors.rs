//! Several second factors of one user.

use fantoccini::{Client, Locator};
use test_support::browser::{Browser, Look, click, fill, have_browser, read, see, until_path};
use toopher_server_test_support::site::Phone;

use super::visitor::{Visitor, with_phone};
use super::{Authenticator, CODE, SEND, Site, log_out, now};

/// The names in the list of second factors.
async fn listed(client: &Client) -> Vec<String> {
    let mut names = Vec::new();
    for item in client.find_all(Locator::Css("ul.items:not(#browsers) strong")).await.unwrap() {
        names.push(item.text().await.unwrap());
    }
    names
}

/// Sets up another authenticator app, from the account page. Returns it.
async fn add_app(client: &Client, name: &str) -> Authenticator {
    click(client, "a[href='/enroll']").await;
    read(client, "which remain valid, as your recovery codes do").await;
    click(client, "form[action='/enroll/app'] button").await;
    let mut app = Authenticator::new(&see(client, "#secret").await.text().await.unwrap());
    let code = app.code().await;
    fill(client, "[name=code]", &code).await;
    fill(client, "[name=name]", name).await;
    click(client, "form[action='/enroll/confirm'] button").await;
    until_path(client, "/account").await;
    app
}

#[tokio::test(flavor = "multi_thread")]
async fn factors_are_added_and_removed() {
    if !have_browser() {
        return;
    }
    let (site, browser) = (Site::start(&[]), Browser::start().await);
    for scripts in [true, false] {
        let client = &browser.window_as(Look { scripts, ..Look::default() }).await;
        let (user, password) = if scripts { ("alice", "wonderland") } else { ("bob", "builder") };
        let (mut first, codes) = site.enrolled(client, user, password).await;
        assert_eq!(listed(client).await, ["Authenticator app"]);
        // The only one cannot be removed.
        click(client, "a[href$='/remove']").await;
        read(client, "This is your only second factor.").await;
        assert!(client.find(Locator::Css("form[action$='/remove']")).await.is_err());
        site.open(client, "/account").await;

        // Another session of the same user.
        let other = &browser.window_as(Look { scripts, ..Look::default() }).await;
        site.single_form(other, user, password, &codes[0]).await;
        until_path(other, "/account").await;
        read(client, "10 are left.").await;

        let name = "Tablet <b>&\"'";
        let mut second = add_app(client, name).await;
        assert_eq!(listed(client).await, ["Authenticator app", name]);
        // The recovery codes are those of before, and the other session has ended.
        read(client, "9 are left.").await;
        site.open(other, "/account").await;
        until_path(other, "/login").await;
        read(other, "Your second factors were changed in another browser").await;

        // Both are valid, and so are the recovery codes.
        for code in [first.code().await, second.code().await, codes[1].clone()] {
            log_out(client).await;
            site.single_form(client, user, password, &code).await;
            until_path(client, "/account").await;
        }
        read(client, "You have used a recovery code.").await;
        read(client, "8 are left.").await;

        click(client, "a[aria-label='Remove Authenticator app']").await;
        read(client, "Remove \u{201c}Authenticator app\u{201d}?").await;
        click(client, "form[action$='/remove'] button").await;
        until_path(client, "/account").await;
        assert_eq!(listed(client).await, [name]);
        log_out(client).await;
        site.password(client, user, password).await;
        fill(client, CODE, &first.code().await).await;
        click(client, SEND).await;
        read(client, "This code was not accepted.").await;
        site.open(client, "/second").await;
        fill(client, CODE, &second.code().await).await;
        click(client, SEND).await;
        until_path(client, "/account").await;
        client.clone().close().await.unwrap();
        other.clone().close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_requires_a_fresh_factor() {
    if !have_browser() {
        return;
    }
    let (site, browser) = (Site::start(&[]), Browser::start().await);
    for scripts in [true, false] {
        let client = &browser.window_as(Look { scripts, ..Look::default() }).await;
        let (user, password) = if scripts { ("alice", "wonderland") } else { ("bob", "builder") };
        let (mut app, codes) = site.enrolled(client, user, password).await;
        log_out(client).await;
        // On a remembered browser, the user has shown no factor for this login.
        site.open(client, "/login").await;
        fill(client, "[name=username]", user).await;
        fill(client, "[name=password]", password).await;
        click(client, "[name=remember]").await;
        click(client, "main button").await;
        until_path(client, "/second").await;
        fill(client, CODE, &app.code().await).await;
        click(client, SEND).await;
        log_out(client).await;
        site.password(client, user, password).await;
        until_path(client, "/account").await;

        for (link, heading, recovery_code) in [
            ("a[href='/enroll']", "Set up a second factor", None),
            ("a[href='/codes/new']", "Create new recovery codes?", Some(&codes[0])),
            ("a[href$='/remove']", "This is your only second factor.", Some(&codes[1])),
        ] {
            // The factor of the page before is fresh enough, so each link needs another login.
            log_out(client).await;
            site.password(client, user, password).await;
            until_path(client, "/account").await;
            click(client, link).await;
            until_path(client, "/confirm").await;
            read(client, "Confirm that it is you").await;
            fill(client, CODE, "000000").await;
            click(client, SEND).await;
            read(client, "This code was not accepted.").await;
            if let Some(code) = recovery_code {
                click(client, "summary").await;
                fill(client, "details [name=otp]", code).await;
                click(client, "details button").await;
            } else {
                fill(client, CODE, &app.code().await).await;
                click(client, SEND).await;
            }
            // Back at the page that required it.
            read(client, heading).await;
            site.open(client, "/account").await;
        }
        client.clone().close().await.unwrap();
    }
}

/// A client that sends requests which no page of a stale session offers.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_without_a_fresh_factor_changes_nothing() {
    let (with, phone) = with_phone().await;
    let mut alice = Visitor::new(&with.site).await;
    let code = phone.code(now());
    let form = alice.form(&[("username", "alice"), ("password", "wonderland"), ("otp", &code), ("remember", "1")]);
    assert_eq!(alice.post("/login/otp", &form, &[]).await.location, "/account");
    let page = alice.get("/account").await.body;
    let remove = page.split("href=\"/factors/").nth(1).unwrap().split('"').next().unwrap();
    let remove = format!("/factors/{remove}");
    let form = alice.form(&[]);
    alice.post("/logout", &form, &[]).await;
    alice.get("/login").await;
    let form = alice.form(&[("username", "alice"), ("password", "wonderland")]);
    assert_eq!(alice.post("/login", &form, &[]).await.location, "/second/remembered");
    assert_eq!(alice.get("/second/remembered").await.location, "/account");
    alice.get("/account").await;
    for path in ["/enroll", "/enroll/app", "/enroll/phone", "/codes/new", remove.as_str()] {
        assert_eq!(alice.get(path).await.location, "/confirm", "{path}");
    }
    for path in ["/enroll/app", "/enroll/confirm", "/enroll/phone", "/enroll/phone/qr", "/codes/new", &*remove] {
        let form = alice.form(&[("code", "123456"), ("phrase", "a b c d"), ("name", "x")]);
        assert_eq!(alice.post(path, &form, &[]).await.location, "/confirm", "{path}");
    }
    let page = alice.get("/account").await.body;
    assert!(page.contains(&remove) && page.contains("10 are left."), "{page}");
    // A request to the phone names what it is for, and its approval leads back.
    alice.get("/confirm").await;
    let form = alice.form(&[]);
    let pending = alice.post("/confirm", &form, super::visitor::JSON).await;
    assert_eq!(pending.status, 202, "{}", pending.body);
    assert_eq!(phone.get("requests").await[0]["action"], "change your second factors");
    super::visitor::allow(&phone, &pending).await;
    let token: serde_json::Value = serde_json::from_str(&pending.body).unwrap();
    let token = token["approval_token"].as_str().unwrap();
    // It is no approval of a login, in whatever session.
    let mut other = Visitor::pending(&with.site, "alice", "wonderland").await;
    let form = other.form(&[("toopher_approval", token)]);
    assert_eq!(other.post("/second", &form, &[]).await.status, 401);
    let form = alice.form(&[("toopher_approval", token)]);
    assert_eq!(alice.post("/confirm", &form, &[]).await.location, remove);
    assert_eq!(alice.get("/enroll").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_phone_is_named_and_a_lost_one_removed() {
    let (with, lost) = with_phone().await;
    let mut alice = Visitor::new(&with.site).await;
    let form = alice.form(&[("username", "alice"), ("password", "wonderland"), ("otp", &lost.code(now()))]);
    assert_eq!(alice.post("/login/otp", &form, &[]).await.location, "/account");
    let before = alice.get("/account").await.body;
    let phone = pair(&mut alice, &with.app, "New phone").await;
    let page = alice.get("/account").await.body;
    assert!(page.contains("New phone") && page.contains("10 are left."), "{page}");
    let old = before.split("href=\"/factors/").nth(1).unwrap().split('"').next().unwrap();
    let form = alice.form(&[]);
    assert_eq!(alice.post(&format!("/factors/{old}"), &form, &[]).await.location, "/account");
    let page = alice.get("/account").await.body;
    assert!(page.contains("New phone") && !page.contains(old), "{page}");
    // Requests go to the phone that is left, and its codes are valid.
    let mut login = Visitor::pending(&with.site, "alice", "wonderland").await;
    let form = login.form(&[("otp", &lost.code(now()))]);
    assert_eq!(login.post("/second", &form, &[]).await.status, 401);
    let form = login.form(&[("otp", &phone.code(now()))]);
    assert_eq!(login.post("/second", &form, &[]).await.location, "/account");
}

/// Pairs another phone of a user who is logged in.
async fn pair(alice: &mut Visitor, app: &axum::Router, name: &str) -> Phone {
    let mut phone = Phone::register(app).await;
    let (_, phrase) = phone.post("phrases", serde_json::json!({})).await;
    let form = alice.form(&[("phrase", phrase["phrase"].as_str().unwrap()), ("name", name)]);
    assert_eq!(alice.post("/enroll/phone", &form, &[]).await.location, "/enroll/phone/wait");
    let pending = phone.get("pairings").await;
    let allow = format!("pairings/{}/allow", pending[0]["id"].as_str().unwrap());
    phone.secret = phone.post(&allow, serde_json::json!({})).await.1["secret"].as_str().map(str::to_owned);
    // The user has recovery codes, so no others are created.
    assert_eq!(alice.get("/enroll/phone/wait").await.location, "/account");
    phone
}
