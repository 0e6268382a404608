//! The guide `docs/axum-login.md`: its code is that of `examples/axum-login`, and the site does what the guide says.

use std::fs::read_to_string;

use fantoccini::{Client, Locator};
use test_support::axe;
use test_support::browser::{Browser, click, fill, have_browser, read, see, until_path};
use test_support::example::Example;

use super::login::Authenticator;

#[test]
fn each_block_of_the_guide_is_in_the_example() {
    let root = format!("{}/../..", env!("CARGO_MANIFEST_DIR"));
    let example = format!("{root}/examples/axum-login");
    let rust: String = std::fs::read_dir(format!("{example}/src"))
        .unwrap()
        .map(|file| read_to_string(file.unwrap().path()).unwrap())
        .collect();
    let toml = read_to_string(format!("{example}/Cargo.toml")).unwrap();
    let guide = read_to_string(format!("{root}/docs/axum-login.md")).unwrap();
    let mut found = 0;
    for block in guide.split("\n```").skip(1).step_by(2) {
        let (language, code) = block.split_once('\n').unwrap();
        let source = if language == "toml" { &toml } else { &rust };
        assert!(source.contains(code), "{language} block that is not in the example:\n{code}");
        found += 1;
    }
    assert_eq!(found, 11);
}

struct Site {
    example: Example,
    /// `localhost`, for which browsers store cookies that are `Secure`.
    url: String,
}

impl Site {
    fn start() -> Self {
        let example = Example::start("axum-login");
        let url = example.url.replace("127.0.0.1", "localhost");
        Self { example, url }
    }

    async fn open(&self, client: &Client, path: &str) {
        client.goto(&format!("{}{path}", self.url)).await.unwrap();
    }

    /// `toggle`: clicks the checkbox.
    async fn log_in(&self, client: &Client, toggle: bool) {
        self.open(client, "/login").await;
        fill(client, "[name=username]", "alice").await;
        fill(client, "[name=password]", "wonderland").await;
        if toggle {
            click(client, "[name=remember]").await;
        }
        click(client, "button").await;
    }

    async fn log_out(&self, client: &Client) {
        self.open(client, "/account").await;
        click(client, "form[action='/logout'] button").await;
        until_path(client, "/login").await;
    }
}

async fn code(client: &Client, code: &str) {
    fill(client, "[name=otp]", code).await;
    click(client, "form:has([name=otp]) button").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_site_does_what_the_guide_says() {
    if !have_browser() {
        return;
    }
    let (site, browser) = (Site::start(), Browser::start().await);
    assert!(site.example.address().starts_with("127.0.0.1:"));
    let (client, other) = (&browser.window().await, &browser.window().await);
    let check = async |client: &Client| assert_eq!(axe::violations(client).await, [""; 0]);

    // Without a second factor, the password leads to the enrollment only.
    site.open(client, "/account").await;
    until_path(client, "/login").await;
    check(client).await;
    site.log_in(client, false).await;
    until_path(client, "/enroll").await;
    check(client).await;
    let secret = see(client, "#secret").await.text().await.unwrap();
    client.refresh().await.unwrap();
    assert_eq!(see(client, "#secret").await.text().await.unwrap(), secret);
    let mut app = Authenticator::new(&secret);
    site.log_in(other, false).await;
    until_path(other, "/enroll").await;
    fill(client, "[name=code]", "000000").await;
    click(client, "form:has([name=code]) button").await;
    read(client, "This code was not right.").await;
    let first = app.code().await;
    fill(client, "[name=code]", &first).await;
    click(client, "form:has([name=code]) button").await;
    read(client, "Your recovery codes").await;
    check(client).await;
    let mut codes = Vec::new();
    for item in client.find_all(Locator::Css("li code")).await.unwrap() {
        codes.push(item.text().await.unwrap());
    }
    assert_eq!(codes.len(), 10);
    // Other sessions have ended.
    site.open(other, "/enroll").await;
    until_path(other, "/login").await;

    // This one continues, and the code is used up.
    site.open(client, "/account").await;
    until_path(client, "/code").await;
    check(client).await;
    code(client, &first).await;
    read(client, "That code was not accepted.").await;
    code(client, &codes[1]).await;
    until_path(client, "/account").await;
    read(client, "Hello, alice.").await;
    check(client).await;

    // Step-up: the factor of the login is not enough.
    site.open(client, "/transfer").await;
    fill(client, "[name=amount]", "10").await;
    code(client, "000000").await;
    read(client, "That code was not accepted.").await;
    fill(client, "[name=amount]", "10").await;
    code(client, &app.code().await).await;
    read(client, "alice has transferred money.").await;

    // Another login requires a code, or a recovery code, unless the browser is remembered.
    site.log_out(client).await;
    site.log_in(client, true).await;
    until_path(client, "/code").await;
    code(client, &codes[0]).await;
    until_path(client, "/account").await;
    site.log_out(client).await;
    // The box is ticked.
    site.log_in(client, false).await;
    until_path(client, "/account").await;
    // Without the tick, the browser is forgotten.
    site.log_out(client).await;
    site.log_in(client, true).await;
    until_path(client, "/code").await;
}
