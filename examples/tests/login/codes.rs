//! Recovery codes: saved, counted, and replaced.

use fantoccini::{Client, Locator};
use test_support::browser::{Browser, Look, ask, click, fill, have_browser, read, see, until, until_path};

use super::visitor::{Visitor, with_phone};
use super::{Authenticator, SAVED, Site, log_out, now};

async fn shown(client: &Client) -> Vec<String> {
    read(client, "Your recovery codes").await;
    let mut codes = Vec::new();
    for code in client.find_all(Locator::Css(".recovery code")).await.unwrap() {
        codes.push(code.text().await.unwrap());
    }
    codes
}

#[tokio::test(flavor = "multi_thread")]
async fn codes_are_kept_until_they_are_saved() {
    if !have_browser() {
        return;
    }
    let (site, browser) = (Site::start(&[]), Browser::start().await);
    for scripts in [true, false] {
        let client = &browser.window_as(Look { scripts, ..Look::default() }).await;
        let (user, password) = if scripts { ("alice", "wonderland") } else { ("bob", "builder") };
        let (mut app, codes) = site.enroll(client, user, password).await;
        // A reload does not lose them, and neither does a login before they are saved.
        client.refresh().await.unwrap();
        assert_eq!(shown(client).await, codes);
        for button in ["[data-copy]", "[data-print]"] {
            let button = client.find(Locator::Css(button)).await.unwrap();
            assert_eq!(button.is_displayed().await.unwrap(), scripts);
        }
        if scripts {
            let allow = serde_json::json!({ "permission": { "name": "clipboard-write" }, "setting": "granted" });
            browser.devtools(client, "Browser.setPermission", allow).await;
            click(client, "[data-copy]").await;
            read(client, "Copied").await;
            ask(client, "window.print = () => document.body.append('printed')").await;
            click(client, "[data-print]").await;
            read(client, "printed").await;
        }
        site.open(client, "/second").await;
        fill(client, super::CODE, &app.code().await).await;
        click(client, super::SEND).await;
        assert_eq!(shown(client).await, codes);
        click(client, SAVED).await;
        until_path(client, "/account").await;
        site.open(client, "/codes").await;
        until_path(client, "/account").await;
        read(client, "10 are left.").await;

        // The fields take letters: their keyboard is not one of digits.
        log_out(client).await;
        site.open(client, "/login/otp").await;
        let mode = see(client, "[name=otp]").await.attr("inputmode").await.unwrap();
        assert_eq!(mode, None);
        site.single_form(client, user, password, &codes[0]).await;
        read(client, "9 are left.").await;

        // A new set.
        click(client, "a[href='/codes/new']").await;
        read(client, "The 9 codes that are left will no longer work.").await;
        click(client, "form[action='/codes/new'] button").await;
        let new = shown(client).await;
        assert!(new.len() == 10 && !new.contains(&codes[1]));
        click(client, SAVED).await;
        log_out(client).await;
        site.single_form(client, user, password, &codes[1]).await;
        read(client, "do not belong together").await;
        site.single_form(client, user, password, &new[1]).await;
        until_path(client, "/account").await;
        client.clone().close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_copy_is_what_the_page_shows() {
    if !have_browser() {
        return;
    }
    let (site, browser) = (Site::start(&[]), Browser::start().await);
    let client = &browser.window().await;
    site.password(client, "alice", "wonderland").await;
    click(client, "form[action='/enroll/app'] button").await;
    let secret = see(client, "#secret").await.text().await.unwrap();
    // The clipboard of a browser without a screen cannot be read, so the test reads what is written to it.
    ask(client, "navigator.clipboard.writeText = async (text) => { window.copied = text; }").await;
    click(client, "[data-copy]").await;
    let copied =
        until(client, "a copy", || async { Some(ask(client, "return window.copied").await.as_str()?.to_owned()) });
    assert_eq!(copied.await, secret.replace(' ', ""));
    let code = Authenticator::new(&secret).code().await;
    fill(client, "[name=code]", &code).await;
    click(client, "form[action='/enroll/confirm'] button").await;
    let codes = shown(client).await;
    ask(client, "navigator.clipboard.writeText = async (text) => { window.copied = text; }").await;
    click(client, "[data-copy]").await;
    let copied =
        until(client, "a copy", || async { Some(ask(client, "return window.copied").await.as_str()?.to_owned()) });
    assert_eq!(copied.await, codes.join("\n"));
}

/// The second of two clicks leads to the same codes.
#[tokio::test(flavor = "multi_thread")]
async fn a_double_click_does_not_lose_the_codes() {
    let site = Site::start(&[]);
    let mut alice = Visitor::pending(&site, "alice", "wonderland").await;
    let form = alice.form(&[]);
    alice.post("/enroll/app", &form, &[]).await;
    let page = alice.get("/enroll/app").await.body;
    let secret = page.split("data-text=\"").nth(1).unwrap().split('"').next().unwrap();
    let form = alice.form(&[("code", &Authenticator::new(secret).code().await), ("name", "")]);
    let mut second = Visitor {
        http: alice.http.clone(),
        url: alice.url.clone(),
        cookies: alice.cookies.clone(),
        csrf: alice.csrf.clone(),
    };
    let (first, second) =
        tokio::join!(alice.post("/enroll/confirm", &form, &[]), second.post("/enroll/confirm", &form, &[]));
    assert_eq!((first.location.as_str(), second.location.as_str()), ("/codes", "/codes"));
    let codes = alice.get("/codes").await;
    assert!(codes.body.matches("<li><code>").count() == 10 && codes.headers.contains("no-store"), "{}", codes.body);
    // The file contains them, for this session only.
    let file = alice.get("/codes/download").await;
    assert!(file.headers.contains("attachment; filename") && file.body.starts_with("Recovery codes of alice"));
    let in_file: Vec<_> = file.body.lines().filter(|line| line.len() == 19).collect();
    assert!(in_file.len() == 10 && in_file.iter().all(|code| codes.body.contains(code)), "{}", file.body);
    let mut other = Visitor::pending(&site, "alice", "wonderland").await;
    for path in ["/codes", "/codes/download"] {
        assert_eq!(other.get(path).await.location, "/second", "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_comes_with_recovery_codes_that_log_in_without_it() {
    let (with, phone) = with_phone().await;
    // The session that paired the phone still has the codes; so this one has none to show, but creates new ones.
    let mut alice = Visitor::new(&with.site).await;
    let form = alice.form(&[("username", "alice"), ("password", "wonderland"), ("otp", &phone.code(now()))]);
    assert_eq!(alice.post("/login/otp", &form, &[]).await.location, "/account");
    assert!(alice.get("/account").await.body.contains("10 are left."));
    let form = alice.form(&[]);
    assert_eq!(alice.post("/codes/new", &form, &[]).await.location, "/codes");
    let page = alice.get("/codes").await.body;
    let code = page.split("<li><code>").nth(1).unwrap()[..19].to_owned();

    let mut lost = Visitor::pending(&with.site, "alice", "wonderland").await;
    let page = lost.get("/second").await.body;
    assert!(page.contains("I have lost my phone") && page.contains("One of your recovery codes"), "{page}");
    let form = lost.form(&[("otp", &code)]);
    assert_eq!(lost.post("/second", &form, &[]).await.location, "/account");
    let page = lost.get("/account").await.body;
    assert!(page.contains("a recovery code") && page.contains("9 are left."), "{page}");
    // It is a factor like any other, so the lost phone can be replaced and removed.
    assert_eq!(lost.get("/enroll").await.status, 200);
}
