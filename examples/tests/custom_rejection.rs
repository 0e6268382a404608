//! The pages of `examples/custom-rejection` in a browser: accessible, and in the colors that the user prefers.

use fantoccini::Locator;
use serde_json::json;
use test_support::axe;
use test_support::browser::{Browser, Look, ask, click, fill, have_browser, read, screenshot, see};
use test_support::example::Example;
use tower_toopher::time::Clock;
use tower_toopher::totp::{Secret, Totp};

#[tokio::test(flavor = "multi_thread")]
async fn its_pages_are_accessible() {
    if !have_browser() {
        return;
    }
    let browser = Browser::start().await;
    for (mode, look) in [
        ("light", Look::default()),
        ("dark", Look { dark: true, ..Look::default() }),
        ("narrow", Look { narrow: true, ..Look::default() }),
    ] {
        let (example, client) = (Example::start("custom-rejection"), &browser.window_as(look).await);
        let check = async |page: &str| {
            assert_eq!(axe::violations(client).await, [""; 0], "{mode} {page}");
            let fits = "return document.documentElement.scrollWidth <= innerWidth";
            assert_eq!(ask(client, fits).await, json!(true), "{mode} {page}");
            // The browser's own colors, whose dark ground is darker than its text.
            let dark = "const probe = document.body.appendChild(document.createElement('p'));
                probe.style.color = 'Canvas';
                const dark = getComputedStyle(probe).color === 'rgb(255, 255, 255)';
                probe.remove();
                return !dark";
            assert_eq!(ask(client, dark).await, json!(look.dark), "{mode} {page}");
            screenshot(client, &format!("custom-rejection-{mode}-{page}")).await;
        };
        client.goto(&format!("{}/account", example.url)).await.unwrap();
        read(client, "Log in as alice").await;
        check("1-login").await;
        client.find(Locator::Css("a")).await.unwrap().click().await.unwrap();
        see(client, "[name=otp]").await;
        check("2-code").await;
        fill(client, "[name=otp]", "000000").await;
        click(client, "button").await;
        read(client, "That code was not accepted.").await;
        check("3-wrong-code").await;
        let secret = Secret::from_base32("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ").unwrap();
        let code = Totp::new(secret).code_at(Clock::system().now().unwrap());
        fill(client, "[name=otp]", code.as_str()).await;
        click(client, "button").await;
        read(client, "The account of alice.").await;
        check("4-account").await;
        client.clone().close().await.unwrap();
    }
}
