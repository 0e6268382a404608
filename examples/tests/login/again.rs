//! Another request while one is pending, and requests that the site no longer waits for.

use test_support::browser::{Browser, Look, click, fill, have_browser, read, until, until_path};

use super::visitor::{JSON, Visitor, with_phone};
use super::{CODE, SAVED, SEND, WithServer, answer, log_out, now, pending_requests, request_on, until_wait_page};

#[tokio::test(flavor = "multi_thread")]
async fn ask_again_replaces_the_request() {
    if !have_browser() {
        return;
    }
    let (with, browser) = (WithServer::start("60").await, Browser::start().await);
    for scripts in [true, false] {
        let client = &browser.window_as(Look { scripts, ..Look::default() }).await;
        let (user, password) = if scripts { ("alice", "wonderland") } else { ("bob", "builder") };
        let phone = with.pair(client, user, password).await;
        click(client, SAVED).await;
        if !scripts {
            click(client, "#request-button").await;
        }
        until_wait_page(client).await;
        let first = request_on(client, &phone).await;
        if scripts {
            read(client, "The request expires in 0:5").await;
        }
        click(client, "#again button").await;
        let second = until(client, "another request", || async {
            let id = phone.get("requests").await[0]["id"].as_str()?.to_owned();
            (id != first).then_some(id)
        })
        .await;
        // The first one is withdrawn.
        assert_eq!(pending_requests(&phone).await, 1);
        read(client, "We sent a request to your phone.").await;
        until_wait_page(client).await;
        if !scripts {
            client.enter_frame(0).await.unwrap();
            read(client, "The request expires in").await;
            super::top(client).await;
        }
        answer(client, &phone, &second, "allow").await;
        if !scripts {
            click(client, "#request-button").await;
        }
        until_path(client, "/account").await;
        log_out(client).await;
        client.clone().close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_the_site_gave_up_is_withdrawn() {
    if !have_browser() {
        return;
    }
    let (with, browser) = (WithServer::start("4").await, Browser::start().await);
    let client = &browser.window().await;
    let phone = with.pair(client, "alice", "wonderland").await;
    click(client, SAVED).await;
    request_on(client, &phone).await;
    until_path(client, "/second/late").await;
    until(client, "no request", || async { (pending_requests(&phone).await == 0).then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_session_that_asked_asks_again() {
    let (with, phone) = with_phone().await;
    let mut alice = Visitor::pending(&with.site, "alice", "wonderland").await;
    let form = alice.form(&[]);
    let pending = alice.post("/second", &form, JSON).await;
    let body: serde_json::Value = serde_json::from_str(&pending.body).unwrap();
    let token = body["approval_token"].as_str().unwrap();
    let first = phone.get("requests").await[0]["id"].clone();
    // A thief with the password and the token cannot withdraw the request, nor send another one.
    let mut thief = Visitor::pending(&with.site, "alice", "wonderland").await;
    let form = thief.form(&[("toopher_approval", token), ("again", "1")]);
    let refused = thief.post("/second", &form, JSON).await;
    assert!(refused.status == 401 && refused.body.contains("Another login of yours is waiting"), "{}", refused.body);
    thief.get(&format!("/second/late?approval={token}")).await;
    assert_eq!(phone.get("requests").await[0]["id"], first);
    // The number of requests without a success is limited.
    let mut tokens = vec![token.to_owned()];
    loop {
        let form = alice.form(&[("toopher_approval", tokens.last().unwrap()), ("again", "1")]);
        let again = alice.post("/second", &form, JSON).await;
        if again.status != 202 {
            assert!(again.body.contains("Type a code instead"), "{}", again.body);
            break;
        }
        let body: serde_json::Value = serde_json::from_str(&again.body).unwrap();
        tokens.push(body["approval_token"].as_str().unwrap().to_owned());
        assert!(tokens.len() <= 5);
    }
    assert_eq!(tokens.len(), 5);
    assert_eq!(pending_requests(&phone).await, 0);
    let form = alice.form(&[("otp", &phone.code(now()))]);
    assert_eq!(alice.post("/second", &form, &[]).await.location, "/account");
}

/// A recovery code while a request is pending, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_by_a_code_withdraws_the_request() {
    if !have_browser() {
        return;
    }
    let (with, browser) = (WithServer::start("60").await, Browser::start().await);
    let client = &browser.window().await;
    let phone = with.pair(client, "alice", "wonderland").await;
    let code = until(client, "a code", || async {
        let code = client.find(fantoccini::Locator::Css(".recovery code")).await.ok()?;
        code.text().await.ok()
    })
    .await;
    click(client, SAVED).await;
    request_on(client, &phone).await;
    until_wait_page(client).await;
    fill(client, CODE, &code).await;
    click(client, SEND).await;
    until_path(client, "/account").await;
    assert_eq!(pending_requests(&phone).await, 0);
}
