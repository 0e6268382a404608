//! Every page, in each mode of the browser.

use axum::Router;
use fantoccini::{Client, Locator};
use serde_json::json;
use test_support::axe;
use test_support::browser::{Browser, Look, ask, click, fill, have_browser, read, screenshot, see, until, until_path};
use toopher_server_test_support::site::Phone;

use super::{Authenticator, CODE, SAVED, SEND, Site, WithServer, alert, until_wait_page};

/// An API with number matching, whose phone never answers.
async fn api_with_numbers() -> String {
    use axum::Json;
    use axum::routing::{get, post};
    let pending = || async { Json(json!({ "id": "r1", "pending": true, "granted": false, "number": "07" })) };
    let api = Router::new()
        .route("/v1/users", get(async || Json(json!([{ "id": "u1", "name": "alice" }]))))
        .route("/v1/users/u1/pairings", get(async || Json(json!([{ "id": "p1", "enabled": true, "pending": false }]))))
        .route("/v1/authentication_requests/initiate", post(pending))
        .route("/v1/authentication_requests/r1", get(pending));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, api).await });
    url
}

/// Checks that nothing is wider than the window, every input has a label, and every page one heading. Takes a
/// screenshot.
async fn check_page(client: &Client, name: &str) {
    let faults = "const faults = [];
        if (document.documentElement.scrollWidth > innerWidth) faults.push('wider than the window');
        for (const input of document.querySelectorAll('input:not([type=hidden])'))
            if (!input.labels.length) faults.push('no label: ' + input.name);
        if (innerWidth <= 320 && scrollY > 0 && !document.activeElement.name) faults.push('not at the heading');
        for (const input of document.querySelectorAll('[name=otp][inputmode], [name=code]'))
            if (input.autocomplete !== 'one-time-code' || input.inputMode !== 'numeric') faults.push(input.outerHTML);
        if (document.querySelectorAll('h1').length !== 1) faults.push('headings');
        for (const region of ['alert', 'status'])
            for (const it of document.querySelectorAll('#' + region))
                if (it.getAttribute('role') !== region) faults.push('no live region: ' + region);
        return faults;";
    assert_eq!(ask(client, faults).await, json!([]), "{name}");
    // The rules run as promises, which end only where scripts are allowed.
    if !name.starts_with("login-plain") {
        assert_eq!(axe::violations(client).await, [""; 0], "{name}");
    }
    screenshot(client, name).await;
}

/// The pages that change second factors, and a login on a remembered browser, which requires another factor for them.
async fn check_changes(site: &Site, client: &Client, mode: &str) {
    let named = |page: &str| format!("login-{mode}-{page}");
    site.open(client, "/account").await;
    click(client, "a[href='/codes/new']").await;
    check_page(client, &named("16-new-codes")).await;
    click(client, "form[action='/codes/new'] button").await;
    let code = see(client, ".recovery code").await.text().await.unwrap();
    click(client, SAVED).await;
    click(client, "a[href$='/remove']").await;
    check_page(client, &named("17-remove")).await;
    site.open(client, "/enroll").await;
    check_page(client, &named("18-another")).await;
    site.open(client, "/account").await;
    super::log_out(client).await;
    site.open(client, "/login/otp").await;
    fill(client, "[name=username]", "bob").await;
    fill(client, "[name=password]", "builder").await;
    fill(client, "[name=otp]", &code).await;
    click(client, "[name=remember]").await;
    click(client, "main button").await;
    until_path(client, "/account").await;
    check_page(client, &named("19-recovered")).await;
    super::log_out(client).await;
    site.password(client, "bob", "builder").await;
    until_path(client, "/account").await;
    check_page(client, &named("20-remembered")).await;
    click(client, "a[href='/enroll']").await;
    until_path(client, "/confirm").await;
    check_page(client, &named("21-confirm")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_is_usable_in_every_mode() {
    if !have_browser() {
        return;
    }
    let url = api_with_numbers().await;
    let api = [("TOOPHER_BASE_URL", &*url), ("TOOPHER_CONSUMER_KEY", "key"), ("TOOPHER_CONSUMER_SECRET", "secret")];
    let browser = Browser::start().await;
    for (mode, look) in [
        ("light", Look::default()),
        ("dark", Look { dark: true, ..Look::default() }),
        ("narrow", Look { narrow: true, ..Look::default() }),
        ("plain", Look { scripts: false, ..Look::default() }),
    ] {
        let numbers = Site::start(&api);
        let (with, client) = (WithServer::start("60").await, &browser.window_as(look).await);
        let site = &with.site;
        let dark = "return matchMedia('(prefers-color-scheme: dark)').matches";
        assert_eq!(ask(client, dark).await, json!(look.dark));
        let named = |page: &str| format!("login-{mode}-{page}");
        site.open(client, "/login").await;
        check_page(client, &named("1-password")).await;
        site.password(client, "alice", "wrong").await;
        alert(client).await;
        check_page(client, &named("2-wrong-password")).await;
        site.open(client, "/login/otp").await;
        check_page(client, &named("3-single-form")).await;

        let phone = Phone::register(&with.app).await;
        let (_, phrase) = phone.post("phrases", json!({})).await;
        site.password(client, "bob", "builder").await;
        until_path(client, "/enroll").await;
        check_page(client, &named("4-enroll")).await;
        click(client, "a[href='/enroll/phone']").await;
        see(client, "[name=phrase]").await;
        // Where the words come from: as text, as a link, and as a QR code.
        let page = format!("{}/phone", with.url);
        see(client, &format!("a[href='{page}']")).await;
        read(client, &page).await;
        see(client, ".qr svg").await;
        check_page(client, &named("5-phone")).await;
        click(client, "button.second").await;
        until_path(client, "/enroll/phone/wait").await;
        until(client, "the image", || async {
            let drawn =
                "const image = document.querySelector('img.qr'); return image.complete && image.naturalWidth > 0";
            (ask(client, drawn).await == true).then_some(())
        })
        .await;
        check_page(client, &named("6-phone-qr")).await;
        drop((phone, phrase));
        site.open(client, "/enroll").await;
        click(client, "form[action='/enroll/app'] button").await;
        see(client, ".qr svg").await;
        check_page(client, &named("7-app")).await;
        fill(client, "[name=code]", "000000").await;
        click(client, "form[action='/enroll/confirm'] button").await;
        alert(client).await;
        check_page(client, &named("8-app-wrong-code")).await;
        let mut app = Authenticator::new(&see(client, "#secret").await.text().await.unwrap());
        let code = app.code().await;
        fill(client, "[name=code]", &code).await;
        click(client, "form[action='/enroll/confirm'] button").await;
        see(client, ".recovery").await;
        check_page(client, &named("9-recovery-codes")).await;
        click(client, SAVED).await;
        fill(client, CODE, "000000").await;
        click(client, SEND).await;
        alert(client).await;
        check_page(client, &named("10-code")).await;
        let code = app.code().await;
        fill(client, CODE, &code).await;
        click(client, SEND).await;
        until_path(client, "/account").await;
        check_page(client, &named("11-account")).await;
        site.open(client, "/nowhere").await;
        check_page(client, &named("12-nowhere")).await;
        check_changes(site, client, mode).await;

        // The site shows the number for the phone, with its leading zero, and announces it.
        numbers.password(client, "alice", "wonderland").await;
        if !look.scripts {
            until_path(client, "/second").await;
            check_page(client, &named("13-not-requested")).await;
            click(client, "#request-button").await;
            until_wait_page(client).await;
        }
        read(client, "Type 07 on your phone.").await;
        assert_eq!(ask(client, "return document.querySelector('#status #number strong') !== null").await, true);
        check_page(client, &named("14-number")).await;
        numbers.open(client, "/second/late").await;
        check_page(client, &named("15-late")).await;
        // Starting over leads back to the pending approval.
        client.find(Locator::LinkText("Start over")).await.unwrap().click().await.unwrap();
        until_path(client, "/login").await;
        numbers.password(client, "alice", "wonderland").await;
        if !look.scripts {
            click(client, "#request-button").await;
        }
        read(client, "Type 07 on your phone.").await;
        client.clone().close().await.unwrap();
    }
}
