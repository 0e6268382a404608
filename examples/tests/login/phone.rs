//! Approvals on the phone, with and without scripts.

use fantoccini::Locator;
use fantoccini::key::Key;
use serde_json::json;
use test_support::browser::{Browser, Look, ask, click, fill, have_browser, read, see, until_path};

use super::{
    Authenticator, CODE, SAVED, SEND, WithServer, alert, answer, log_out, now, number, pending_requests, press,
    request_on, top, until_wait_page,
};

#[tokio::test(flavor = "multi_thread")]
async fn approvals_with_scripts() {
    if !have_browser() {
        return;
    }
    let (with, browser) = (WithServer::start("60").await, Browser::start().await);
    let (site, client) = (&with.site, &browser.window().await);
    let phone = with.pair(client, "alice", "wonderland").await;
    let log_in = || site.password(client, "alice", "wonderland");

    // Approved. The dialog keeps the focus, and a live region announces changes.
    click(client, SAVED).await;
    let id = request_on(client, &phone).await;
    read(client, "We sent a request to your phone.").await;
    assert_eq!(ask(client, "return document.getElementById('message').closest('[role=status]') !== null").await, true);
    for _ in 0..8 {
        press(client, Key::Tab).await;
        let inside = "const active = document.activeElement; \
             return active === document.body || active.closest('dialog') !== null";
        assert_eq!(ask(client, inside).await, true);
    }
    assert_eq!(pending_requests(&phone).await, 1);
    // Reloading the page keeps the pending approval.
    let waiting = client.current_url().await.unwrap();
    assert!(waiting.path().starts_with("/second/wait/"), "{waiting}");
    client.refresh().await.unwrap();
    read(client, "We sent a request to your phone.").await;
    assert_eq!(request_on(client, &phone).await, id);
    answer(client, &phone, &id, "allow").await;
    until_path(client, "/account").await;
    read(client, "an approval on the phone").await;
    // The address of the approval gives no access afterwards.
    client.back().await.unwrap();
    client.goto(waiting.as_str()).await.unwrap();
    until_path(client, "/account").await;
    log_out(client).await;
    client.goto(waiting.as_str()).await.unwrap();
    until_path(client, "/login").await;

    // Denied, requested again, and approved.
    log_in().await;
    let id = request_on(client, &phone).await;
    read(client, "We sent a request to your phone.").await;
    answer(client, &phone, &id, "deny").await;
    read(client, "denied on your phone").await;
    site.open(client, "/account").await;
    let id = request_on(client, &phone).await;
    read(client, "We sent a request to your phone.").await;
    answer(client, &phone, &id, "deny").await;
    read(client, "denied on your phone").await;
    click(client, "#request-button").await;
    let id = request_on(client, &phone).await;
    read(client, "We sent a request to your phone.").await;

    // Two tabs: the second one joins the pending approval.
    let first = client.window().await.unwrap();
    let second = client.new_window(true).await.unwrap();
    client.switch_to_window(second.handle).await.unwrap();
    log_in().await;
    read(client, "We sent a request to your phone.").await;
    assert_eq!(pending_requests(&phone).await, 1);
    answer(client, &phone, &id, "allow").await;
    until_path(client, "/account").await;
    client.close_window().await.unwrap();
    client.switch_to_window(first).await.unwrap();
    until_path(client, "/account").await;
    log_out(client).await;

    // A code while an approval is pending. A wrong one changes nothing.
    log_in().await;
    let id = request_on(client, &phone).await;
    read(client, "We sent a request to your phone.").await;
    fill(client, CODE, "000000").await;
    click(client, SEND).await;
    assert!(alert(client).await.contains("not accepted"));
    read(client, "We sent a request to your phone.").await;
    fill(client, CODE, &Authenticator::spaced(&phone.code(now()))).await;
    click(client, SEND).await;
    until_path(client, "/account").await;
    read(client, "a code of the authenticator").await;
    // The request is withdrawn from the phone.
    assert!(!phone.get("requests").await.to_string().contains(&id));
    log_out(client).await;

    // Escape leaves the dialog, and gives no access.
    log_in().await;
    request_on(client, &phone).await;
    read(client, "We sent a request to your phone.").await;
    press(client, Key::Escape).await;
    until_path(client, "/login").await;
    read(client, "Continue as alice").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_that_does_not_answer() {
    if !have_browser() {
        return;
    }
    let (with, browser) = (WithServer::start("6").await, Browser::start().await);
    for scripts in [true, false] {
        let client = &browser.window_as(Look { scripts, ..Look::default() }).await;
        let (user, password) = if scripts { ("alice", "wonderland") } else { ("bob", "builder") };
        let phone = with.pair(client, user, password).await;
        click(client, SAVED).await;
        if !scripts {
            click(client, "#request-button").await;
        }
        let late = request_on(client, &phone).await;
        read(client, "We sent a request to your phone.").await;
        let number = number(client).await;
        if !scripts {
            see(client, "iframe").await;
            client.enter_frame(0).await.unwrap();
            read(client, "Your phone did not answer").await;
            client.find(Locator::LinkText("More options")).await.unwrap().click().await.unwrap();
            top(client).await;
        }
        until_path(client, "/second/late").await;
        read(client, "Your phone did not answer").await;
        // The request was withdrawn, so it has no answer.
        let allow = phone.post(&format!("requests/{late}/allow"), json!({ "number": number })).await;
        assert_eq!(allow.0, 409, "{}", allow.1);
        client.refresh().await.unwrap();
        until_path(client, "/second/late").await;
        // Requested again. The input keeps a typed code while the frame reloads.
        click(client, "button.second").await;
        let id = request_on(client, &phone).await;
        assert_ne!(id, late);
        until_wait_page(client).await;
        let otp = phone.code(now());
        fill(client, CODE, &otp).await;
        if scripts {
            read(client, "Your phone did not answer. Continue with the code.").await;
        } else {
            client.enter_frame(0).await.unwrap();
            read(client, "Your phone did not answer").await;
            top(client).await;
        }
        let typed = see(client, CODE).await.prop("value").await.unwrap();
        assert_eq!(typed.as_deref(), Some(otp.as_str()));
        click(client, SEND).await;
        until_path(client, "/account").await;
        log_out(client).await;
        client.clone().close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn approvals_without_scripts() {
    if !have_browser() {
        return;
    }
    let (with, browser) = (WithServer::start("60").await, Browser::start().await);
    let (site, client) = (&with.site, &browser.window_as(Look { scripts: false, ..Look::default() }).await);
    let phone = with.pair(client, "alice", "wonderland").await;
    let begin = || async {
        site.password(client, "alice", "wonderland").await;
        until_path(client, "/second").await;
        click(client, "#request-button").await;
        until_wait_page(client).await;
    };
    // Loading the page sends no request.
    site.open(client, "/second").await;
    read(client, "We can send a request to your phone.").await;
    assert_eq!(pending_requests(&phone).await, 0);

    begin().await;
    let id = request_on(client, &phone).await;
    // Reloading the page, or continuing too early, sends no second request.
    client.refresh().await.unwrap();
    click(client, "#request-button").await;
    until_wait_page(client).await;
    assert_eq!(request_on(client, &phone).await, id);
    answer(client, &phone, &id, "allow").await;
    client.enter_frame(0).await.unwrap();
    read(client, "Approved on your phone.").await;
    click(client, "button").await;
    top(client).await;
    until_path(client, "/account").await;
    log_out(client).await;

    begin().await;
    let id = request_on(client, &phone).await;
    answer(client, &phone, &id, "deny").await;
    client.enter_frame(0).await.unwrap();
    read(client, "If you did not request it, deny it, and change your password.").await;
    // A denied approval cannot be redeemed.
    top(client).await;
    click(client, "#request-button").await;
    read(client, "You are not logged in.").await;
    site.open(client, "/account").await;
    until_path(client, "/second").await;

    // A code while an approval is pending, after a wrong one.
    begin().await;
    let id = request_on(client, &phone).await;
    fill(client, CODE, "000000").await;
    click(client, SEND).await;
    assert!(alert(client).await.contains("not accepted"));
    assert_eq!(request_on(client, &phone).await, id);
    see(client, "iframe").await;
    fill(client, CODE, &phone.code(now())).await;
    click(client, SEND).await;
    until_path(client, "/account").await;
}
