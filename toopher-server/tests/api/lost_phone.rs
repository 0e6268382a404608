//! Recovery codes on the pages of a frame, and what ends them, without a browser.

use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt;
use serde_json::json;
use toopher_server::Message;
use toopher_server_test_support::site::{Phone, Site, server};
use toopher_server_test_support::{Clock, T};
use tower::ServiceExt;

use super::web::{act, look, open, outcome, site};

/// Pairs a phone on this page, and returns it with its pairing.
async fn pair(site: &Site, session: &str, code: &str) -> (Phone, String) {
    let mut phone = Phone::register(&site.app).await;
    let phrase = phone.post("phrases", json!({})).await.1["phrase"].as_str().unwrap().replace(' ', "+");
    let form = format!("act=pair&phrase={phrase}&otp={code}");
    assert_eq!(act(site, session, &form).await.status, 303);
    let id = phone.get("pairings").await[0]["id"].as_str().unwrap().to_owned();
    let (_, allowed) = phone.post(&format!("pairings/{id}/allow"), json!({})).await;
    phone.secret = allowed["secret"].as_str().map(str::to_owned);
    (phone, id)
}

fn codes(page: &str) -> Vec<String> {
    let codes = page.split("<code>").skip(1).map(|after| after.split_once("</code>").unwrap().0.to_owned());
    codes.filter(|code| code.len() == 19).collect()
}

async fn accepts(site: &Site, code: &str) -> bool {
    site.initiate("jdoe", &[("otp", code)]).await.1["granted"] == true
}

#[tokio::test]
async fn the_codes_of_the_first_phone() {
    let (site, clock) = site().await;
    let session = open(&site, "pair", &[], "").await;
    let (_phone, pairing) = pair(&site, &session, "").await;
    let page = look(&site, &session).await;
    let first = codes(&page.body);
    assert_eq!(first.len(), 10);
    // The result is in the page, and is posted after the codes were saved: signed at that time.
    assert!(page.body.contains("id=\"held\"") && outcome(&site, &page).unwrap()["enabled"] == "true");
    clock.advance(200);
    assert_eq!(codes(&look(&site, &session).await.body), first);
    assert_eq!(act(&site, &session, "act=saved").await.status, 303);
    let page = look(&site, &session).await;
    assert!(codes(&page.body).is_empty() && !page.body.contains("id=\"held\""));
    let payload = outcome(&site, &page).unwrap();
    assert_eq!(payload["timestamp"], clock.now().as_secs().to_string());
    // A phone that is paired with one of the codes gets no others.
    let settings = open(&site, "manage_user", &[], "").await;
    let removed = format!("act=remove&pairing={pairing}&otp={}", first[0]);
    assert_eq!(act(&site, &settings, &removed).await.status, 303);
    let session = open(&site, "pair", &[], "").await;
    let (_phone, pairing) = pair(&site, &session, &first[1]).await;
    assert!(codes(&look(&site, &session).await.body).is_empty());
    assert!(accepts(&site, &first[2]).await && !accepts(&site, &first[1]).await);
    // They end with the pairing that the site ends.
    site.post(&format!("pairings/{pairing}"), &[("deactivated", "true")]).await;
    assert_eq!(site.initiate("jdoe", &[("otp", &first[3])]).await.1["error_code"], 707);
}

/// Codes that were kept for the next phone end with it, also if the site has paired it: an attacker may have them.
#[tokio::test]
async fn kept_codes_end_with_the_next_phone() {
    let (site, _) = site().await;
    let session = open(&site, "pair", &[], "").await;
    let (_phone, first) = pair(&site, &session, "").await;
    let codes = codes(&look(&site, &session).await.body);
    let settings = open(&site, "manage_user", &[], "").await;
    assert_eq!(act(&site, &settings, &format!("act=remove&pairing={first}&otp={}", codes[0])).await.status, 303);
    let (_phone, second) = site.paired("jdoe").await;
    assert!(accepts(&site, &codes[1]).await);
    site.post(&format!("pairings/{second}"), &[("deactivated", "true")]).await;
    assert!(!accepts(&site, &codes[2]).await);
}

/// A pairing that the site withdraws before it was allowed ends no codes.
#[tokio::test]
async fn a_pending_pairing_has_no_codes() {
    let (site, _) = site().await;
    let session = open(&site, "pair", &[], "").await;
    let (_phone, first) = pair(&site, &session, "").await;
    let codes = codes(&look(&site, &session).await.body);
    let settings = open(&site, "manage_user", &[], "").await;
    assert_eq!(act(&site, &settings, &format!("act=remove&pairing={first}&otp={}", codes[0])).await.status, 303);
    let session = open(&site, "pair", &[], "").await;
    let phone = Phone::register(&site.app).await;
    let phrase = phone.post("phrases", json!({})).await.1["phrase"].as_str().unwrap().replace(' ', "+");
    assert_eq!(act(&site, &session, &format!("act=pair&phrase={phrase}&otp={}", codes[1])).await.status, 303);
    let pending = phone.get("pairings").await[0]["id"].as_str().unwrap().to_owned();
    site.post(&format!("pairings/{pending}"), &[("deactivated", "true")]).await;
    assert!(accepts(&site, &codes[2]).await);
}

/// The page that asks for a phone shows no codes, so the settings of a user without one replace none.
#[tokio::test]
async fn new_codes_need_a_phone() {
    let (site, _) = site().await;
    let (_phone, pairing) = site.paired("jdoe").await;
    let settings = open(&site, "manage_user", &[], "").await;
    site.post(&format!("pairings/{pairing}"), &[("deactivated", "true")]).await;
    let (_, list) = site.post("users/activate_next_otp_list", &[("user_name", "jdoe")]).await;
    let code = list["otp_list"][0].as_str().unwrap();
    let page = act(&site, &settings, &format!("act=codes&otp={code}")).await;
    assert!(page.body.contains("No phone is paired"), "{}", page.body);
    assert!(accepts(&site, code).await && accepts(&site, list["otp_list"][1].as_str().unwrap()).await);
}

/// Codes that the site has created are its own.
#[tokio::test]
async fn the_codes_of_the_site_stay() {
    let (site, _) = site().await;
    let (_phone, pairing) = site.paired("jdoe").await;
    let (_, list) = site.post("users/activate_next_otp_list", &[("user_name", "jdoe")]).await;
    site.post(&format!("pairings/{pairing}"), &[("deactivated", "true")]).await;
    assert!(accepts(&site, list["otp_list"][0].as_str().unwrap()).await);
    // A page without pairing reports the error of a user without a phone, as before.
    let session = open(&site, "auth", &[], "").await;
    assert_eq!(outcome(&site, &look(&site, &session).await).unwrap()["error_code"], "707");
    let code = list["otp_list"][1].as_str().unwrap();
    act(&site, &session, &format!("act=recovery&otp={code}")).await;
    assert!(accepts(&site, code).await);
}

#[tokio::test]
async fn new_codes_need_a_factor_and_replace_the_previous_ones() {
    let (site, clock) = site().await;
    let (phone, _) = site.paired("jdoe").await;
    let settings = open(&site, "manage_user", &[], "").await;
    for wrong in ["", "000000", "AAAA-AAAA-AAAA-AAAA"] {
        let page = act(&site, &settings, &format!("act=codes&otp={wrong}")).await;
        assert!(page.body.contains("not accepted") && codes(&page.body).is_empty(), "{wrong}");
    }
    // The forms of another page create none.
    let pair = open(&site, "pair", &[("username", "new")], "").await;
    let code = phone.code(clock.now());
    assert!(act(&site, &pair, &format!("act=codes&otp={code}")).await.body.contains("does not support"));
    assert_eq!(act(&site, &settings, &format!("act=codes&otp={code}")).await.status, 303);
    // A double click: the code is used up, and the codes are shown.
    assert_eq!(act(&site, &settings, &format!("act=codes&otp={code}")).await.status, 303);
    let first = codes(&look(&site, &settings).await.body);
    assert_eq!(first.len(), 10);
    let download = Request::get(format!("{settings}?download")).body(Body::empty()).unwrap();
    let download = site.app.clone().oneshot(download).await.unwrap();
    assert_eq!(download.headers()["content-disposition"], "attachment; filename=\"recovery-codes.txt\"");
    assert_eq!(download.headers()["cache-control"], "no-store");
    let download = download.into_body().collect().await.unwrap().to_bytes();
    assert!(first.iter().all(|code| String::from_utf8_lossy(&download).contains(code)));
    act(&site, &settings, "act=saved").await;
    assert_eq!(look(&site, &format!("{settings}?download")).await.status, 404);
    assert_eq!(act(&site, &settings, &format!("act=codes&otp={}", first[0])).await.status, 303);
    let second = codes(&look(&site, &settings).await.body);
    assert!(accepts(&site, &second[0]).await && !accepts(&site, &first[1]).await);
}

#[tokio::test]
async fn a_link_to_the_signed_address_ends_the_pairing_and_the_codes() {
    let clock = Clock::from_secs(T);
    let sent = Arc::new(Mutex::new(Vec::new()));
    let mails = Arc::clone(&sent);
    let server = server(&clock).await.messenger(move |message| {
        mails.lock().unwrap().push(message);
        std::future::ready(Ok(()))
    });
    let site = Site::new(&server, &clock).await;
    let (_phone, pairing) = site.paired("jdoe").await;
    let (_other, others) = site.paired("other").await;
    let (_, list) = site.post("users/activate_next_otp_list", &[("user_name", "jdoe")]).await;
    let plain = open(&site, "manage_user", &[], "").await;
    assert!(act(&site, &plain, &format!("act=mail&pairing={pairing}")).await.body.contains("No link can be sent"));
    let settings = open(&site, "manage_user", &[("reset_email", "jdoe@example.com")], "").await;
    let foreign = act(&site, &settings, &format!("act=mail&pairing={others}")).await;
    assert!(foreign.body.contains("This phone is not paired"));
    assert!(sent.lock().unwrap().is_empty());
    // The page for removing a phone offers it as well.
    let unpair = open(&site, "unpair", &[("reset_email", "jdoe@example.com")], "").await;
    for page in [unpair, settings] {
        assert_eq!(act(&site, &page, &format!("act=mail&pairing={pairing}")).await.status, 303);
    }
    let Some(Message::Mail { address, text, .. }) = sent.lock().unwrap().pop() else { panic!("nothing was sent") };
    assert_eq!(address, "jdoe@example.com");
    let link = text.split_whitespace().last().unwrap().split_once("/v1/").unwrap().1.to_owned();
    let (path, token) = link.split_once('?').unwrap();
    for expected in [200, 404] {
        let request = Request::post(format!("/v1/{path}")).header("content-type", "application/x-www-form-urlencoded");
        let response = site.app.clone().oneshot(request.body(Body::from(token.to_owned())).unwrap()).await.unwrap();
        assert_eq!(response.status(), expected);
    }
    assert_eq!(site.initiate("jdoe", &[("otp", list["otp_list"][0].as_str().unwrap())]).await.1["error_code"], 707);
    assert_eq!(site.get(&format!("pairings/{others}")).await.1["enabled"], true);
}

#[tokio::test]
async fn asking_again_and_cancelling_withdraw_the_request() {
    let (site, _) = site().await;
    let (phone, _) = site.paired("jdoe").await;
    let session = open(&site, "authenticate", &[], "").await;
    look(&site, &session).await;
    let first = phone.get("requests").await[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(act(&site, &session, "act=again").await.status, 303);
    assert_eq!(phone.get("requests").await, json!([]));
    look(&site, &session).await;
    let requests = phone.get("requests").await;
    assert_eq!(requests.as_array().unwrap().len(), 1);
    assert_ne!(requests[0]["id"], first.as_str());
    assert_eq!(act(&site, &session, "act=cancel").await.status, 303);
    let payload = outcome(&site, &look(&site, &session).await).unwrap();
    assert_eq!((&payload["granted"], &payload["pending"]), (&json!("false"), &json!("false")));
    // After the result there is no other one.
    act(&site, &session, "act=again").await;
    assert_eq!(outcome(&site, &look(&site, &session).await).unwrap(), payload);
    // The limit on requests applies.
    let session = open(&site, "authenticate", &[], "").await;
    for _ in 0..40 {
        look(&site, &session).await;
        act(&site, &session, "act=again").await;
    }
    assert!(look(&site, &session).await.body.contains("Too many attempts"));
}
