//! `examples/login` in a browser with and without scripts, with an authenticator and with a phone, and as a client that
//! sends any request.

mod again;
mod authenticator;
mod codes;
mod factors;
mod limits;
mod pages;
mod phone;
mod phone_page;
mod remember;
mod requests;
mod visitor;

use std::time::Duration;

use axum::Router;
use fantoccini::key::Key;
use fantoccini::{Client, Locator};
use serde_json::json;
use test_support::browser::{click, fill, read, see, until, until_path};
use test_support::example::Example;
use toopher_server::Server;
use toopher_server_test_support::site::Phone;
use tower_toopher::time::{Clock, UnixTime};
use tower_toopher::totp::{Secret, Totp};

/// The running example.
struct Site(Example);

impl Site {
    fn start(variables: &[(&str, &str)]) -> Self {
        Self(Example::start_with("login", variables, "Listening on "))
    }

    async fn open(&self, client: &Client, path: &str) {
        client.goto(&format!("{}{path}", self.0.url)).await.unwrap();
    }

    /// Submits the password.
    async fn password(&self, client: &Client, user: &str, password: &str) {
        self.open(client, "/login").await;
        fill(client, "[name=username]", user).await;
        fill(client, "[name=password]", password).await;
        click(client, "main button").await;
    }

    /// Submits name, password and code in one form.
    async fn single_form(&self, client: &Client, user: &str, password: &str, otp: &str) {
        self.open(client, "/login").await;
        client.find(Locator::LinkText("Type a code with the password")).await.unwrap().click().await.unwrap();
        until_path(client, "/login/otp").await;
        fill(client, "[name=username]", user).await;
        fill(client, "[name=password]", password).await;
        fill(client, "[name=otp]", otp).await;
        click(client, "main button").await;
    }

    /// Submits the password and enrolls an authenticator. Returns it and its recovery codes.
    async fn enroll(&self, client: &Client, user: &str, password: &str) -> (Authenticator, Vec<String>) {
        self.password(client, user, password).await;
        until_path(client, "/enroll").await;
        click(client, "form[action='/enroll/app'] button").await;
        until_path(client, "/enroll/app").await;
        let mut app = Authenticator::new(&see(client, "#secret").await.text().await.unwrap());
        let code = app.code().await;
        fill(client, "[name=code]", &code).await;
        click(client, "form[action='/enroll/confirm'] button").await;
        read(client, "Your recovery codes").await;
        let mut codes = Vec::new();
        for code in client.find_all(Locator::Css(".recovery code")).await.unwrap() {
            codes.push(code.text().await.unwrap());
        }
        assert_eq!(codes.len(), 10);
        (app, codes)
    }

    /// The same, and continues to the login with a code, after which the user is logged in.
    async fn enrolled(&self, client: &Client, user: &str, password: &str) -> (Authenticator, Vec<String>) {
        let (mut app, codes) = self.enroll(client, user, password).await;
        click(client, SAVED).await;
        until_path(client, "/second").await;
        let code = app.code().await;
        fill(client, CODE, &code).await;
        click(client, SEND).await;
        until_path(client, "/account").await;
        (app, codes)
    }
}

/// An authenticator app. It returns each code once, and waits for the next one only if necessary.
pub(super) struct Authenticator {
    totp: Totp,
    last: u64,
}

fn now() -> UnixTime {
    Clock::system().now().unwrap()
}

impl Authenticator {
    pub(super) fn new(secret: &str) -> Self {
        Self { totp: Totp::new(Secret::from_base32(secret).unwrap()), last: 0 }
    }

    pub(super) async fn code(&mut self) -> String {
        let current = now().as_secs() / 30;
        // The verifier accepts one step before and after the current one. The one before must not expire on the way.
        let oldest = if now().as_secs() % 30 < 20 { current - 1 } else { current };
        let step = oldest.max(self.last + 1);
        while step > now().as_secs() / 30 + 1 {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        self.last = step;
        self.totp.code_at(UnixTime::from_secs(step * 30)).as_str().to_owned()
    }

    fn spaced(code: &str) -> String {
        format!(" {} {} ", &code[..3], &code[3..])
    }
}

async fn log_out(client: &Client) {
    until_path(client, "/account").await;
    client.find(Locator::XPath("//button[.='Log out']")).await.unwrap().click().await.unwrap();
    until_path(client, "/login").await;
}

async fn alert(client: &Client) -> String {
    until(client, "an alert", || async {
        let text = client.find(Locator::Css("#alert")).await.ok()?.text().await.ok()?;
        (!text.is_empty()).then_some(text)
    })
    .await
}

async fn press(client: &Client, key: Key) {
    client.active_element().await.unwrap().send_keys(&char::from(key).to_string()).await.unwrap();
}

const CODE: &str = "dialog form.otp [name=otp]";
const SEND: &str = "dialog form.otp button";
/// The user has saved the recovery codes.
const SAVED: &str = "form[action='/codes/saved'] button";

/// The site with a server, for approvals on phones.
struct WithServer {
    site: Site,
    app: Router,
    url: String,
}

impl WithServer {
    async fn start(seconds: &str) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = Server::in_memory(&url).await.unwrap();
        let credentials = server.create_requester("Example Site").await.unwrap();
        let app = server.router();
        let served = app.clone();
        tokio::spawn(async move { axum::serve(listener, served).await });
        let site = Site::start(&[
            ("TOOPHER_BASE_URL", &format!("{url}/v1")),
            ("TOOPHER_CONSUMER_KEY", credentials.key()),
            ("TOOPHER_CONSUMER_SECRET", credentials.secret()),
            ("APPROVAL_SECONDS", seconds),
        ]);
        Self { site, app, url }
    }

    /// Submits the password and pairs a phone. Ends on the page of the recovery codes.
    async fn pair(&self, client: &Client, user: &str, password: &str) -> Phone {
        let mut phone = Phone::register(&self.app).await;
        let (_, phrase) = phone.post("phrases", json!({})).await;
        self.site.password(client, user, password).await;
        until_path(client, "/enroll").await;
        click(client, "a[href='/enroll/phone']").await;
        fill(client, "[name=phrase]", "no such words").await;
        click(client, "form[action='/enroll/phone'] button").await;
        assert!(alert(client).await.contains("No phone shows these words"));
        fill(client, "[name=phrase]", phrase["phrase"].as_str().unwrap()).await;
        click(client, "form[action='/enroll/phone'] button").await;
        until_path(client, "/enroll/phone/wait").await;
        read(client, "Waiting for your phone").await;
        let pending = phone.get("pairings").await;
        let id = pending[0]["id"].as_str().unwrap();
        let (status, allowed) = phone.post(&format!("pairings/{id}/allow"), json!({})).await;
        assert_eq!(status, 200);
        phone.secret = allowed["secret"].as_str().map(str::to_owned);
        read(client, "Your recovery codes").await;
        phone
    }
}

/// Waits for a request on the phone, and returns its id.
async fn request_on(client: &Client, phone: &Phone) -> String {
    until(client, "a request on the phone", || async {
        let pending = phone.get("requests").await;
        pending[0]["id"].as_str().map(str::to_owned)
    })
    .await
}

/// The number that the page shows for number matching. A page without scripts that was rendered while the status was
/// not available shows it after a reload.
async fn number(client: &Client) -> String {
    until(client, "a number", || async {
        if let Ok(number) = client.find(Locator::Css("#number:not([hidden]) strong")).await {
            return number.text().await.ok();
        }
        if client.current_url().await.ok()?.path().starts_with("/second/wait/") {
            client.refresh().await.ok()?;
        }
        None
    })
    .await
}

async fn answer(client: &Client, phone: &Phone, id: &str, answer: &str) {
    let body = json!({ "number": number(client).await });
    let (status, answered) = phone.post(&format!("requests/{id}/{answer}"), body).await;
    assert_eq!(status, 200, "{answered}");
}

async fn pending_requests(phone: &Phone) -> usize {
    phone.get("requests").await.as_array().map_or(0, Vec::len)
}

/// Leaves the frame, even if it was removed.
async fn top(client: &Client) {
    client.switch_to_window(client.window().await.unwrap()).await.unwrap();
}

async fn until_wait_page(client: &Client) {
    until(client, "the page that waits", || async {
        client.current_url().await.ok()?.path().starts_with("/second/wait/").then_some(())
    })
    .await;
}
