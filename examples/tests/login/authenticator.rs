//! Codes of an authenticator app and recovery codes, in each of the three places.

use fantoccini::{Client, Locator};
use serde_json::json;
use test_support::browser::{Browser, Look, ask, click, fill, have_browser, read, see, until, until_path};

use tower_toopher::time::UnixTime;

use super::{Authenticator, CODE, SAVED, SEND, Site, alert, log_out, top};

#[tokio::test(flavor = "multi_thread")]
async fn codes_in_each_of_the_three_places() {
    if !have_browser() {
        return;
    }
    let (site, browser) = (Site::start(&[("APPROVAL_SECONDS", "8")]), Browser::start().await);
    for scripts in [true, false] {
        let client = browser.window_as(Look { scripts, ..Look::default() }).await;
        let (user, password) = if scripts { ("alice", "wonderland") } else { ("bob", "builder") };
        codes_in_the_three_places(&site, &client, user, password, scripts).await;
        client.close().await.unwrap();
    }
}

async fn codes_in_the_three_places(site: &Site, client: &Client, user: &str, password: &str, scripts: bool) {
    // Without a login there is no access, and the response does not show whether the name or the password is wrong.
    site.open(client, "/account").await;
    until_path(client, "/login").await;
    site.password(client, user, "wrong").await;
    let wrong = alert(client).await;
    site.password(client, "unknown", "wrong").await;
    assert_eq!(alert(client).await, wrong);

    // The password alone leads only to the enrollment.
    site.password(client, &format!(" {} ", user.to_uppercase()), password).await;
    until_path(client, "/enroll").await;
    site.open(client, "/account").await;
    until_path(client, "/enroll").await;
    click(client, "form[action='/enroll/app'] button").await;
    see(client, ".qr svg path").await;
    let link = see(client, "main li a").await.attr("href").await.unwrap().unwrap();
    assert!(link.starts_with(&format!("otpauth://totp/Example%20Site:{user}?secret=")), "{link}");
    fill(client, "[name=code]", "000000").await;
    click(client, "form[action='/enroll/confirm'] button").await;
    assert!(alert(client).await.contains("not right"));
    let (mut app, codes) = site.enroll(client, user, password).await;
    // The account can be enrolled once with the password alone.
    click(client, SAVED).await;
    client.back().await.unwrap();
    site.open(client, "/enroll/app").await;
    read(client, "You have a second factor already").await;
    assert!(!client.source().await.unwrap().contains(&codes[0]));

    // The second place: a dialog, with scripts.
    site.open(client, "/account").await;
    until_path(client, "/second").await;
    see(client, "dialog").await;
    assert_eq!(ask(client, "return document.querySelector('dialog:modal') !== null").await, json!(scripts));
    assert_eq!(ask(client, "return document.activeElement.name").await, json!("otp"));
    let used = app.totp.code_at(UnixTime::from_secs(app.last * 30)).as_str().to_owned();
    for (otp, message) in [
        (used.as_str(), "This code was not accepted. Each code works once: wait for the next one"),
        ("000000", "This code was not accepted. Each code works once: wait for the next one"),
        ("12345", "This is not a code."),
        ("ABCD-EFGH-JKMN-PQRS", "This recovery code was not accepted. Each of them works once: take another one."),
    ] {
        fill(client, CODE, otp).await;
        click(client, SEND).await;
        let text = alert(client).await;
        assert!(text.contains(message), "{otp}: {text}");
        if scripts {
            // The input is empty again, and still has the focus.
            until(client, "an empty input", || async {
                let state = "return document.activeElement.name + document.activeElement.value";
                (ask(client, state).await == json!("otp")).then_some(())
            })
            .await;
            ask(client, "document.getElementById('alert').textContent = ''").await;
        }
        site.open(client, "/account").await;
        until_path(client, "/second").await;
    }
    let code = app.code().await;
    fill(client, CODE, &Authenticator::spaced(&code)).await;
    click(client, SEND).await;
    until_path(client, "/account").await;
    read(client, &format!("Hello, {user}")).await;
    read(client, "a code of the authenticator").await;
    // Going back does no harm, and asks for no second factor again.
    client.back().await.unwrap();
    site.open(client, "/second").await;
    until_path(client, "/account").await;
    site.open(client, "/login").await;
    log_out(client).await;
    site.open(client, "/account").await;
    until_path(client, "/login").await;

    // The first place. The message is the same for every wrong value.
    site.single_form(client, user, password, &code).await;
    let wrong = alert(client).await;
    site.single_form(client, "unknown", password, "123456").await;
    assert_eq!(alert(client).await, wrong);
    site.single_form(client, user, "wrong", &codes[0]).await;
    assert_eq!(alert(client).await, wrong);
    // The password was wrong, so the code was not verified and is not used.
    site.single_form(client, user, password, &codes[0]).await;
    log_out(client).await;
    site.single_form(client, user, password, &codes[0]).await;
    assert_eq!(alert(client).await, wrong);
    site.single_form(client, user, password, &codes[1].to_lowercase()).await;
    until_path(client, "/account").await;
    read(client, "a recovery code").await;
    log_out(client).await;

    // The third place: no code was typed within the time limit.
    site.password(client, user, password).await;
    until_path(client, "/second").await;
    if !scripts {
        // The page does not leave: it would lose what the user types.
        fill(client, CODE, "123").await;
        client.enter_frame(0).await.unwrap();
        read(client, "The time limit has passed.").await;
        top(client).await;
        assert_eq!(see(client, CODE).await.prop("value").await.unwrap().as_deref(), Some("123"));
        client.enter_frame(0).await.unwrap();
        client.find(Locator::LinkText("More options")).await.unwrap().click().await.unwrap();
        top(client).await;
    }
    until_path(client, "/second/late").await;
    read(client, "The time limit has passed").await;
    fill(client, "form.otp [name=otp]", &codes[1]).await;
    click(client, "form.otp button").await;
    assert!(alert(client).await.contains("not accepted"));
    site.open(client, "/second/late").await;
    click(client, "summary").await;
    fill(client, "details [name=otp]", &codes[2]).await;
    click(client, "details button").await;
    log_out(client).await;

    // After too many wrong codes, the message contains the time to wait.
    site.password(client, user, password).await;
    until_path(client, "/second").await;
    for _ in 0..6 {
        site.open(client, "/second").await;
        fill(client, CODE, "000000").await;
        click(client, SEND).await;
        alert(client).await;
    }
    let wait = alert(client).await;
    assert!(wait.contains("Too many codes were wrong. Try again in ") && wait.contains(" seconds"), "{wait}");
    // A correct code is rejected meanwhile, and is not used.
    site.single_form(client, user, password, &codes[3]).await;
    assert!(alert(client).await.starts_with("Too many codes were wrong."));
}
