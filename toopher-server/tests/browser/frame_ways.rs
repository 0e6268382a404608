//! The ways through the pages in a frame: where the phone page is, other ways than the phone, and how a page ends.

use std::sync::atomic::Ordering;

use fantoccini::{Client, Locator};
use serde_json::json;
use test_support::browser::{element, holds, keep, screenshot, text, until};
use test_support::{have, output};
use toopher_server_test_support::site::Phone;

use super::accessibility::{accessible, look};
use super::frames::{PENDING, STATUS, World, enter, phrase, save_codes, type_into, world};

async fn press(window: &Client, css: &str) {
    element(window, css).await.click().await.unwrap();
}

const OTHER: &str = "a[href='?other']";
/// A frame as wide as a phone.
const PHONE: (&str, &str) = ("attributes", "style='width:360px;height:640px'");

#[tokio::test]
async fn a_pairing_page_shows_where_the_phone_page_is() {
    let Some(world) = world().await else { return };
    let window = &world.window;
    let address = format!("{}/phone", world.server);
    for page in ["pair", "manage", "authenticate"] {
        world.visit(&world.far, &[("page", page), ("user", "new"), PHONE]).await;
        text(window, STATUS, "Pair your phone").await;
        let link = element(window, ".phone a").await;
        assert_eq!(link.text().await.unwrap(), address);
        assert_eq!(link.prop("href").await.unwrap().as_deref(), Some(address.as_str()));
        text(window, ".left", "Expires in 9:").await;
        holds(window, "document.documentElement.scrollWidth <= innerWidth").await;
        look(&world.browser, window, &format!("where-{page}")).await;
    }
    if have(&["zbarimg"]) {
        let qr = element(window, ".qr").await.screenshot().await.unwrap();
        let qr = keep("where-qr", &qr);
        assert_eq!(output("zbarimg", &["-q", "--raw", qr.to_str().unwrap()]), address);
    }
    // The root of the server, which people open as well. Clients of the API get an error as before.
    window.goto(&world.server).await.unwrap();
    text(window, "h1", "Second factor").await;
    assert_eq!(element(window, ".phone a").await.text().await.unwrap(), address);
    look(&world.browser, window, "root").await;
    press(window, ".phone a").await;
    let tabs = until(window, "the phone page in a tab", async || {
        let tabs = window.windows().await.unwrap();
        (tabs.len() == 2).then_some(tabs)
    })
    .await;
    window.switch_to_window(tabs[1].clone()).await.unwrap();
    text(window, "h1", "Second factor").await;
    holds(window, "location.pathname === '/phone'").await;
}

#[tokio::test]
async fn a_waiting_page_asks_again_and_ends_with_a_way_to_continue() {
    let Some(world) = world().await else { return };
    let window = &world.window;
    let (phone, _) = world.api.paired("jdoe").await;
    world.visit(&world.far, &[PHONE]).await;
    text(window, STATUS, "my site asks for your approval: Log In").await;
    text(window, ".left", "Expires in 1:").await;
    look(&world.browser, window, "waiting").await;
    let (first, _) = world.waiting(&phone).await;
    press(window, "[value=again]").await;
    // The first request is withdrawn from the phone, and there is one other.
    let second = until(window, "another request", async || {
        let (id, count) = world.waiting(&phone).await;
        (id != first && count == 1).then_some(id)
    })
    .await;
    assert_eq!(world.api.get(&format!("authentication_requests/{first}")).await.1["cancelled"], true);
    assert_eq!(world.api.get(&format!("authentication_requests/{second}")).await.1["pending"], true);
    text(window, STATUS, PENDING).await;
    world.allow(&phone, false).await;
    text(window, STATUS, "Allowed").await;
    look(&world.browser, window, "allowed").await;
    world.answer("welcome, jdoe").await;
    // A site that has not reacted gets the result again.
    enter(window).await;
    press(window, "#continue:not([hidden])").await;
    window.enter_parent_frame().await.unwrap();
    text(window, "#messages", "2").await;
}

#[tokio::test]
async fn the_user_cancels_a_request() {
    let Some(world) = world().await else { return };
    let window = &world.window;
    let (phone, _) = world.api.paired("jdoe").await;
    world.visit(&world.far, &[]).await;
    text(window, STATUS, PENDING).await;
    press(window, OTHER).await;
    press(window, "[value=cancel]").await;
    text(window, STATUS, "Cancelled").await;
    assert_eq!(phone.get("requests").await, json!([]));
    world.answer("not let in").await;
}

/// A page offers only what the user has, and the request on the phone stays pending meanwhile.
#[tokio::test]
async fn another_way_is_one_that_exists() {
    let Some(world) = world().await else { return };
    let window = &world.window;
    let (phone, _) = world.api.paired("jdoe").await;
    world.visit(&world.far, &[PHONE]).await;
    press(window, OTHER).await;
    text(window, "#rest", "ask my site for help").await;
    assert!(!text(window, "#rest", "").await.contains("recovery"));
    look(&world.browser, window, "other").await;
    // In a sandbox, where the whole page reloads, the view stays as well. This request is newer.
    world.clock.advance(1);
    world.visit(&world.far, &[("attributes", "sandbox='allow-scripts allow-forms'")]).await;
    press(window, OTHER).await;
    let loaded = "performance.timeOrigin";
    text(window, "#rest", "ask my site for help").await;
    let before = window.execute(&format!("return {loaded}"), vec![]).await.unwrap();
    holds(window, &format!("{loaded} !== {before}")).await;
    text(window, "#rest", "ask my site for help").await;
    world.allow(&phone, false).await;
    text(window, STATUS, "Allowed").await;
    world.answer("welcome, jdoe").await;
    // That of the first visit.
    let first = world.waiting(&phone).await.0;
    phone.post(&format!("requests/{first}/deny"), json!({})).await;

    let (_, list) = world.api.post("users/activate_next_otp_list", &[("user_name", "jdoe")]).await;
    let code = list["otp_list"][0].as_str().unwrap().to_owned();
    for used in [false, true] {
        world.visit(&world.far, &[PHONE]).await;
        press(window, OTHER).await;
        let field = element(window, "form:has([value=recovery]) [name=otp]").await;
        // The keyboard of a phone shows letters.
        assert_eq!(field.attr("inputmode").await.unwrap().as_deref(), Some("text"));
        field.send_keys(&format!("{}\n", code.to_lowercase())).await.unwrap();
        if used {
            let message = text(window, "[role=alert]", "Each is valid once").await;
            assert!(!message.contains("next one"), "{message}");
            look(&world.browser, window, "other-used").await;
            world.waiting(&phone).await;
        } else {
            text(window, STATUS, "Allowed").await;
            world.answer("welcome, jdoe").await;
        }
    }
}

/// A user who has recovery codes and no phone can log in, without pairing one first.
#[tokio::test]
async fn a_recovery_code_without_a_phone() {
    let Some(world) = world().await else { return };
    let window = &world.window;
    let list = [("user_name", "jdoe"), ("create_user_if_needed", "true")];
    let (_, list) = world.api.post("users/activate_next_otp_list", &list).await;
    world.visit(&world.far, &[PHONE]).await;
    text(window, STATUS, "Pair your phone").await;
    press(window, OTHER).await;
    text(window, STATUS, "Log in with a recovery code").await;
    type_into(window, "otp", "123456\n").await;
    text(window, "[role=alert]", "sixteen letters and digits").await;
    type_into(window, "otp", "AAAA-AAAA-AAAA-AAAA\n").await;
    text(window, "[role=alert]", "Each is valid once").await;
    look(&world.browser, window, "recovery-only").await;
    type_into(window, "otp", &format!("{}\n", list["otp_list"][3].as_str().unwrap())).await;
    text(window, STATUS, "Allowed").await;
    world.answer("welcome, jdoe").await;
}

#[tokio::test]
async fn a_mistyped_number_and_an_outage_are_named() {
    let Some(world) = world().await else { return };
    let window = &world.window;
    let (phone, _) = world.api.paired("jdoe").await;
    world.visit(&world.far, &[]).await;
    text(window, STATUS, PENDING).await;
    world.outage.store(502, Ordering::SeqCst);
    text(window, "#offline", "The server cannot be reached").await;
    screenshot(window, "frame-offline").await;
    world.outage.store(0, Ordering::SeqCst);
    until(window, "the end of the message", async || {
        window.find(Locator::Css("#offline")).await.is_err().then_some(())
    })
    .await;
    let (id, _) = world.waiting(&phone).await;
    phone.post(&format!("requests/{id}/allow"), json!({ "number": "00" })).await;
    text(window, STATUS, "Wrong number").await;
    let shown = text(window, STATUS, "is not the one that this page showed").await;
    assert!(!shown.contains("denied"), "{shown}");
    accessible(window, "wrong number").await;
    world.answer("not let in").await;
}

#[tokio::test]
async fn the_site_chooses_the_theme() {
    let Some(world) = world().await else { return };
    let dark = world.browser.window_with(&["--blink-settings=preferredColorScheme=0"], json!({})).await;
    let (light_back, dark_back) = ("rgb(255, 255, 255)", "rgb(22, 24, 29)");
    for (window, theme, back) in [
        (&world.window, "dark", dark_back),
        (&world.window, "light", light_back),
        (&world.window, "\"><b>", light_back),
        (&dark, "light", light_back),
        (&dark, "dark", dark_back),
        (&dark, "", dark_back),
    ] {
        world.open(window, &world.far, &[("page", "pair"), ("user", "new"), ("sign_theme", theme)]).await;
        text(window, STATUS, "Pair your phone").await;
        holds(window, &format!("getComputedStyle(document.documentElement).backgroundColor === '{back}'")).await;
        accessible(window, theme).await;
    }
}

/// The first phone comes with recovery codes. The site gets the result when the user has saved them.
#[tokio::test]
async fn the_first_phone_comes_with_recovery_codes() {
    let Some(world) = world().await else { return };
    let window = &world.window;
    let phone = Phone::register(&world.api.app).await;
    world.visit(&world.far, &[("page", "pair"), PHONE]).await;
    type_into(window, "phrase", &(phrase(&phone).await + "\n")).await;
    text(window, STATUS, "Confirm on your phone").await;
    look(&world.browser, window, "confirm").await;
    // Another phone, or other words: the pairing is withdrawn from this one.
    press(window, "[value=restart]").await;
    text(window, STATUS, "Pair your phone").await;
    assert_eq!(phone.get("pairings").await, json!([]));
    type_into(window, "phrase", &(phrase(&phone).await + "\n")).await;
    text(window, STATUS, "Confirm on your phone").await;
    let pairings = phone.get("pairings").await;
    phone.post(&format!("pairings/{}/allow", pairings[0]["id"].as_str().unwrap()), json!({})).await;
    text(window, STATUS, "The phone is paired").await;
    let codes = shown_codes(window).await;
    assert_eq!(codes.len(), 10);
    holds(window, "document.documentElement.scrollWidth <= innerWidth").await;
    look(&world.browser, window, "codes").await;
    window.execute("location.reload()", vec![]).await.unwrap();
    assert_eq!(shown_codes(window).await, codes);
    copied(&world, &codes).await;
    window.enter_parent_frame().await.unwrap();
    assert_eq!(text(window, "#messages", "").await, "0");
    enter(window).await;
    // The user takes longer than the site accepts a result.
    world.clock.advance(400);
    save_codes(window).await;
    world.answer("paired: true").await;
    let (_, request) = world.api.initiate("jdoe", &[("otp", &codes[7])]).await;
    assert_eq!(request["granted"], true, "{request}");
    // An attacker who has paired a phone keeps no code when the site ends the pairing.
    let pairing = phone.get("pairings").await[0]["id"].as_str().unwrap().to_owned();
    world.api.post(&format!("pairings/{pairing}"), &[("deactivated", "true")]).await;
    assert_eq!(world.api.initiate("jdoe", &[("otp", &codes[8])]).await.1["error_code"], 707);
}

async fn shown_codes(window: &Client) -> Vec<String> {
    element(window, "#codes").await;
    let script = "return [...document.querySelectorAll('#codes li')].map((code) => code.textContent)";
    let codes = window.execute(script, vec![]).await.unwrap();
    codes.as_array().unwrap().iter().map(|code| code.as_str().unwrap().to_owned()).collect()
}

/// The codes can be copied, downloaded and printed.
async fn copied(world: &World, codes: &[String]) {
    let window = &world.window;
    press(window, "#copy").await;
    text(window, "#copied", "Copied.").await;
    let fetch = "(async (done) => {
        const response = await fetch('?download');
        done([response.headers.get('content-disposition'), await response.text()]);
    })(arguments[0])";
    let file = window.execute_async(fetch, vec![]).await.unwrap();
    assert_eq!(file[0], "attachment; filename=\"recovery-codes.txt\"");
    assert!(codes.iter().all(|code| file[1].as_str().unwrap().contains(code)));
    // The link leads to a file, and the page stays.
    press(window, "a[href='?download']").await;
    window.execute_async(fetch, vec![]).await.unwrap();
    text(window, "#codes", &codes[0]).await;
    let print = "window.print = () => { document.title = 'printed' }; document.getElementById('print').click()";
    window.execute(print, vec![]).await.unwrap();
    holds(window, "document.title === 'printed'").await;
}

#[tokio::test]
async fn the_settings_create_new_recovery_codes() {
    let Some(world) = world().await else { return };
    let window = &world.window;
    let (phone, _) = world.api.paired("jdoe").await;
    world.visit(&world.far, &[("page", "manage"), PHONE]).await;
    text(window, "#rest", "You have no recovery codes").await;
    look(&world.browser, window, "settings").await;
    let create = async |code: &str| {
        element(window, "form:has([value=codes]) [name=otp]").await.send_keys(code).await.unwrap();
    };
    create("000000\n").await;
    text(window, "form:has([value=codes]) [role=alert]", "not accepted").await;
    // A double click sends the form once, and nothing is lost.
    create(&world.code(&phone)).await;
    let twice = "const form = document.querySelector('form:has([value=codes])'); \
                 form.requestSubmit(); form.requestSubmit();";
    window.execute(twice, vec![]).await.unwrap();
    text(window, STATUS, "Save your recovery codes").await;
    let first = shown_codes(window).await;
    copied(&world, &first).await;
    save_codes(window).await;
    text(window, "#rest", "You have 10 recovery codes left").await;
    // A recovery code creates another set, which replaces the first one.
    create(&format!("{}\n", first[0])).await;
    text(window, STATUS, "Save your recovery codes").await;
    let second = shown_codes(window).await;
    assert!(second.iter().all(|code| !first.contains(code)));
    save_codes(window).await;
    create(&format!("{}\n", first[1])).await;
    text(window, "form:has([value=codes]) [role=alert]", "Each is valid once").await;
    text(window, "#rest", "You have 10 recovery codes left").await;
}
