//! The phone page of the server, in a second window.

use fantoccini::{Client, Locator};
use test_support::browser::{Browser, click, fill, have_browser, read, until, until_path};

use super::{WithServer, number};

/// Waits for the button with this label to be enabled, and clicks it.
async fn press_button(client: &Client, name: &str) {
    let button = format!("//button[.='{name}' and not(@aria-disabled)]");
    until(client, name, || async {
        let button = client.find(Locator::XPath(&button)).await.ok()?;
        if button.is_displayed().await.ok()? { button.click().await.ok() } else { None }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_phone_page_pairs_denies_and_approves() {
    if !have_browser() {
        return;
    }
    let (with, browser) = (WithServer::start("60").await, Browser::start().await);
    let (client, phone) = (&browser.window().await, &browser.window().await);
    phone.goto(&format!("{}/phone", with.url)).await.unwrap();
    fill(phone, "#name", "My phone").await;
    press_button(phone, "Continue").await;
    click(phone, "#new-phrase").await;
    let words = until(phone, "the words", || async {
        let words = phone.find(Locator::Css("#words")).await.ok()?.text().await.ok()?;
        (!words.is_empty()).then_some(words)
    })
    .await;
    with.site.password(client, "alice", "wonderland").await;
    click(client, "a[href='/enroll/phone']").await;
    fill(client, "[name=phrase]", &words).await;
    click(client, "form[action='/enroll/phone'] button").await;
    read(phone, "Pair with Example Site?").await;
    press_button(phone, "Allow").await;
    read(client, "Your recovery codes").await;

    with.site.password(client, "alice", "wonderland").await;
    read(phone, "log in").await;
    press_button(phone, "Deny").await;
    read(client, "denied on your phone").await;
    click(client, "#request-button").await;
    // The phone asks for the number that the site shows.
    read(client, "on your phone.").await;
    let number = number(client).await;
    fill(phone, "input.number", &number).await;
    press_button(phone, "Allow").await;
    until_path(client, "/account").await;
    read(client, "an approval on the phone").await;
}
