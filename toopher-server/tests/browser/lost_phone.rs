//! A lost phone is not the end: with a recovery code, or with the link in a mail.

use fantoccini::Locator;
use serde_json::json;
use test_support::browser::{element, holds, text};
use toopher_server::Message;
use toopher_server_test_support::site::Phone;

use super::accessibility::look;
use super::frames::{PENDING, STATUS, phrase, save_codes, type_into, world};

const PHONE: (&str, &str) = ("attributes", "style='width:360px;height:640px'");

#[tokio::test]
async fn with_a_recovery_code() {
    let Some(world) = world().await else { return };
    let window = &world.window;
    let (_lost, _) = world.api.paired("jdoe").await;
    let (_, list) = world.api.post("users/activate_next_otp_list", &[("user_name", "jdoe")]).await;
    let code = |at: usize| format!("{}\n", list["otp_list"][at].as_str().unwrap());
    world.visit(&world.far, &[("page", "manage"), PHONE]).await;
    element(window, "summary").await.click().await.unwrap();
    text(window, "details", "Remove it above with a recovery code").await;
    look(&world.browser, window, "settings-lost").await;
    let field = element(window, "form:has([value=remove]) [name=otp]").await;
    assert_eq!(field.attr("inputmode").await.unwrap().as_deref(), Some("text"));
    field.send_keys(&code(0)).await.unwrap();
    text(window, STATUS, "No phone is paired").await;
    text(window, STATUS, "you need one of your recovery codes").await;
    world.answer("settings of jdoe").await;
    let phone = Phone::register(&world.api.app).await;
    world.visit(&world.far, &[]).await;
    type_into(window, "phrase", &phrase(&phone).await).await;
    type_into(window, "otp", &code(0)).await;
    text(window, "[role=alert]", "Each is valid once").await;
    type_into(window, "phrase", &phrase(&phone).await).await;
    type_into(window, "otp", &code(1)).await;
    text(window, STATUS, "Confirm on your phone").await;
    let pairings = phone.get("pairings").await;
    phone.post(&format!("pairings/{}/allow", pairings[0]["id"].as_str().unwrap()), json!({})).await;
    text(window, STATUS, PENDING).await;
    world.allow(&phone, false).await;
    world.answer("welcome, jdoe").await;
}

/// The codes of the page stay valid when the phone is lost, and end when the user removes the phone with its code.
#[tokio::test]
async fn with_the_recovery_codes_of_the_page() {
    let Some(world) = world().await else { return };
    let window = &world.window;
    let (lost, _) = world.api.paired("jdoe").await;
    world.visit(&world.far, &[("page", "manage")]).await;
    element(window, "form:has([value=codes]) [name=otp]").await.send_keys(&world.code(&lost)).await.unwrap();
    element(window, "form:has([value=codes]) button").await.click().await.unwrap();
    element(window, "#codes").await;
    let script = "return [...document.querySelectorAll('#codes li')].map((code) => code.textContent)";
    let codes = window.execute(script, vec![]).await.unwrap();
    let code = |at: usize| format!("{}\n", codes[at].as_str().unwrap());
    save_codes(window).await;
    type_into(window, "otp", &code(0)).await;
    text(window, STATUS, "you need one of your recovery codes").await;

    let mut phone = Phone::register(&world.api.app).await;
    world.visit(&world.far, &[("page", "pair")]).await;
    type_into(window, "phrase", &phrase(&phone).await).await;
    type_into(window, "otp", &code(1)).await;
    text(window, STATUS, "Confirm on your phone").await;
    let pairings = phone.get("pairings").await;
    let path = format!("pairings/{}/allow", pairings[0]["id"].as_str().unwrap());
    phone.secret = phone.post(&path, json!({})).await.1["secret"].as_str().map(str::to_owned);
    world.answer("paired: true").await;
    world.visit(&world.far, &[("page", "manage")]).await;
    text(window, "#rest", "You have 8 recovery codes left").await;
    type_into(window, "otp", &(world.code(&phone) + "\n")).await;
    text(window, STATUS, "You can pair another phone at the site").await;
    assert_eq!(world.api.initiate("jdoe", &[("otp", code(2).trim())]).await.1["error_code"], 707);
}

/// The site has signed the address. After the link, neither the lost phone nor the lost recovery codes are needed.
#[tokio::test]
async fn with_a_link_in_a_mail() {
    let Some(world) = world().await else { return };
    let window = &world.window;
    let (lost, _) = world.api.paired("jdoe").await;
    world.api.post("users/activate_next_otp_list", &[("user_name", "jdoe")]).await;
    let signed = ("sign_reset_email", "jdoe@example.com");
    for (page, way) in [("authenticate", "a[href='?other']"), ("manage", "summary")] {
        world.visit(&world.far, &[("page", page), ("sign_requester_metadata", "order <17>"), signed, PHONE]).await;
        element(window, way).await.click().await.unwrap();
        text(window, "#rest", "can be sent to j\u{2026}@example.com").await;
        look(&world.browser, window, &format!("lost-{page}")).await;
        if page == "manage" {
            window.find(Locator::Css("details:last-of-type summary")).await.unwrap();
            let about = "[...document.querySelectorAll('details')].at(-1).textContent";
            for shown in ["j\u{2026}@example.com", "order <17>"] {
                holds(window, &format!("{about}.includes({shown:?})")).await;
            }
        }
        element(window, "[value=mail]").await.click().await.unwrap();
        text(window, "#rest", "A link was sent to j\u{2026}@example.com").await;
        look(&world.browser, window, &format!("lost-{page}-sent")).await;
    }
    let mails: Vec<_> = world.mails.lock().unwrap().drain(..).collect();
    assert_eq!(mails.len(), 2);
    let Message::Mail { address, text: mail, .. } = &mails[1] else { panic!("no mail") };
    assert_eq!(address, "jdoe@example.com");
    let link = mail.split_whitespace().last().unwrap();
    window.goto(link).await.unwrap();
    text(window, "h1", "Lost phone").await;
    look(&world.browser, window, "reset").await;
    element(window, "button").await.click().await.unwrap();
    text(window, "body", "The pairing has ended").await;
    look(&world.browser, window, "reset-done").await;
    assert_eq!(lost.get("pairings").await, json!([]));

    world.visit(&world.far, &[signed]).await;
    text(window, STATUS, "Pair your phone").await;
    assert!(window.find(Locator::Css("[name=otp]")).await.is_err());
}

/// Without an address, or with the text that original clients sign for none, no link is offered. Mails are limited.
#[tokio::test]
async fn links_are_offered_only_if_they_can_be_sent_and_are_limited() {
    let Some(world) = world().await else { return };
    let window = &world.window;
    world.api.paired("jdoe").await;
    for none in ["", "None", "jdoe@example.com,eve@example.com"] {
        world.visit(&world.far, &[("page", "manage"), ("sign_reset_email", none)]).await;
        element(window, "summary").await.click().await.unwrap();
        text(window, "#rest", "ask my site for help").await;
        assert!(window.find(Locator::Css("[value=mail]")).await.is_err(), "{none}");
    }
    for sent in 0..6 {
        world.visit(&world.far, &[("page", "manage"), ("sign_reset_email", "jdoe@example.com")]).await;
        element(window, "summary").await.click().await.unwrap();
        element(window, "[value=mail]").await.click().await.unwrap();
        text(window, "#rest", if sent < 5 { "A link was sent" } else { "Too many" }).await;
    }
    assert_eq!(world.mails.lock().unwrap().len(), 5);
}
