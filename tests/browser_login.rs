//! `examples/login` as people meet it: in a browser, with and without scripts, with an authenticator and with a phone.
#![allow(clippy::unwrap_used)]

mod common;

#[path = "common/browser.rs"]
mod browser;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use browser::{Browser, Look, ask, at, click, fill, have_browser, read, see, until};
use common::toopher::Phone;
use fantoccini::key::Key;
use fantoccini::{Client, Locator};
use serde_json::json;
use tower_toopher::server::Server;
use tower_toopher::totp::{Secret, Totp};

/// The running example; it ends with the test.
struct Site {
    process: Child,
    url: String,
}

impl Site {
    fn start(variables: &[(&str, &str)]) -> Self {
        static BUILT: OnceLock<()> = OnceLock::new();
        BUILT.get_or_init(|| {
            let built = Command::new(env!("CARGO")).args(["build", "--quiet", "--example", "login"]).status();
            assert!(built.unwrap().success());
        });
        let tests = std::env::current_exe().unwrap();
        let mut command = Command::new(tests.parent().unwrap().with_file_name("examples").join("login"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("TOOPHER_")) {
            command.env_remove(name);
        }
        command.env("ADDR", "127.0.0.1:0").envs(variables.iter().copied()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let mut line = String::new();
        let mut printed = BufReader::new(process.stdout.take().unwrap());
        printed.read_line(&mut line).unwrap();
        std::thread::spawn(move || std::io::copy(&mut printed, &mut std::io::sink()));
        let url = line.trim().strip_prefix("Listening on ").unwrap().to_owned();
        Self { process, url }
    }

    async fn open(&self, client: &Client, path: &str) {
        client.goto(&format!("{}{path}", self.url)).await.unwrap();
    }

    /// The first factor.
    async fn password(&self, client: &Client, user: &str, password: &str) {
        self.open(client, "/login").await;
        fill(client, "[name=username]", user).await;
        fill(client, "[name=password]", password).await;
        click(client, "main button").await;
    }

    /// All in one form.
    async fn at_once(&self, client: &Client, user: &str, password: &str, otp: &str) {
        self.open(client, "/login").await;
        client.find(Locator::LinkText("Input an OTP instead")).await.unwrap().click().await.unwrap();
        at(client, "/login/otp").await;
        fill(client, "[name=username]", user).await;
        fill(client, "[name=password]", password).await;
        fill(client, "[name=otp]", otp).await;
        click(client, "main button").await;
    }

    /// From the password to an authenticator and its backup codes.
    async fn enrol(&self, client: &Client, user: &str, password: &str) -> (Authenticator, Vec<String>) {
        self.password(client, user, password).await;
        at(client, "/enrol").await;
        click(client, "form[action='/enrol/app'] button").await;
        at(client, "/enrol/app").await;
        let mut app = Authenticator::new(&see(client, "#secret").await.text().await.unwrap());
        let code = app.code().await;
        fill(client, "[name=code]", &code).await;
        click(client, "form[action='/enrol/confirm'] button").await;
        read(client, "Your backup codes").await;
        let mut codes = Vec::new();
        for code in client.find_all(Locator::Css(".backup code")).await.unwrap() {
            codes.push(code.text().await.unwrap());
        }
        assert_eq!(codes.len(), 10);
        (app, codes)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The app on the phone. It gives each code once, and waits for the next one only when it has to.
struct Authenticator {
    totp: Totp,
    last: u64,
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

impl Authenticator {
    fn new(secret: &str) -> Self {
        Self { totp: Totp::new(Secret::from_base32(secret).unwrap()), last: 0 }
    }

    async fn code(&mut self) -> String {
        let current = now().as_secs() / 30;
        // One step before and after are accepted; the one before only while there is time to send it.
        let oldest = if now().as_secs() % 30 < 20 { current - 1 } else { current };
        let step = oldest.max(self.last + 1);
        while step > now().as_secs() / 30 + 1 {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        self.last = step;
        self.totp.code_at(Duration::from_secs(step * 30)).as_str().to_owned()
    }

    fn spaced(code: &str) -> String {
        format!(" {} {} ", &code[..3], &code[3..])
    }
}

async fn log_out(client: &Client) {
    at(client, "/account").await;
    client.find(Locator::XPath("//button[.='Log out']")).await.unwrap().click().await.unwrap();
    at(client, "/login").await;
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

#[tokio::test(flavor = "multi_thread")]
async fn an_authenticator_in_each_of_the_three_places() {
    if !have_browser() {
        return;
    }
    let (site, browser) = (Site::start(&[("APPROVAL_SECONDS", "4")]), Browser::start().await);
    for scripts in [true, false] {
        let client = browser.window_as(Look { scripts, ..Look::default() }).await;
        let (user, password) = if scripts { ("alice", "wonderland") } else { ("bob", "builder") };
        the_three_places(&site, &client, user, password, scripts).await;
        client.close().await.unwrap();
    }
}

async fn the_three_places(site: &Site, client: &Client, user: &str, password: &str, scripts: bool) {
    // Nobody is let in without, and names are not told from passwords.
    site.open(client, "/account").await;
    at(client, "/login").await;
    site.password(client, user, "wrong").await;
    let wrong = alert(client).await;
    site.password(client, "nobody", "wrong").await;
    assert_eq!(alert(client).await, wrong);

    // The password alone leads to the enrolment and nowhere else.
    site.password(client, &format!(" {} ", user.to_uppercase()), password).await;
    at(client, "/enrol").await;
    site.open(client, "/account").await;
    at(client, "/enrol").await;
    click(client, "form[action='/enrol/app'] button").await;
    see(client, ".qr svg path").await;
    let link = see(client, "main li a").await.attr("href").await.unwrap().unwrap();
    assert!(link.starts_with(&format!("otpauth://totp/Example%20Site:{user}?secret=")), "{link}");
    fill(client, "[name=code]", "000000").await;
    click(client, "form[action='/enrol/confirm'] button").await;
    assert!(alert(client).await.contains("not right"));
    let (mut app, codes) = site.enrol(client, user, password).await;
    // They are shown once, and the account can be enrolled once.
    client.back().await.unwrap();
    site.open(client, "/enrol/app").await;
    read(client, "You have a second factor already").await;
    assert!(!client.source().await.unwrap().contains(&codes[0]));

    // The second place: a dialog, if there are scripts.
    site.open(client, "/account").await;
    at(client, "/second").await;
    see(client, "dialog").await;
    assert_eq!(ask(client, "return document.querySelector('dialog:modal') !== null").await, json!(scripts));
    assert_eq!(ask(client, "return document.activeElement.name").await, json!("otp"));
    let used = app.totp.code_at(Duration::from_secs(app.last * 30)).as_str().to_owned();
    for (otp, _why) in [(used.as_str(), "it confirmed the enrolment"), ("000000", "wrong"), ("12345", "no code")] {
        fill(client, CODE, otp).await;
        click(client, SEND).await;
        assert!(alert(client).await.contains("not accepted"));
        if scripts {
            // The box is empty again, and still in focus.
            until(client, "an empty box", || async {
                let state = "return document.activeElement.name + document.activeElement.value";
                (ask(client, state).await == json!("otp")).then_some(())
            })
            .await;
            ask(client, "document.getElementById('alert').textContent = ''").await;
        }
        site.open(client, "/account").await;
        at(client, "/second").await;
    }
    let code = app.code().await;
    fill(client, CODE, &Authenticator::spaced(&code)).await;
    click(client, SEND).await;
    at(client, "/account").await;
    read(client, &format!("Hello, {user}")).await;
    read(client, "a code of the authenticator").await;
    // Back, and again: no harm, and nobody is asked twice.
    client.back().await.unwrap();
    site.open(client, "/second").await;
    at(client, "/account").await;
    site.open(client, "/login").await;
    log_out(client).await;
    site.open(client, "/account").await;
    at(client, "/login").await;

    // The first place. Whatever is wrong, it says the same.
    site.at_once(client, user, password, &code).await;
    let wrong = alert(client).await;
    site.at_once(client, "nobody", password, "123456").await;
    assert_eq!(alert(client).await, wrong);
    site.at_once(client, user, "wrong", &codes[0]).await;
    assert_eq!(alert(client).await, wrong);
    // That one was spent by it.
    site.at_once(client, user, password, &codes[0]).await;
    assert_eq!(alert(client).await, wrong);
    site.at_once(client, user, password, &codes[1].to_lowercase()).await;
    at(client, "/account").await;
    read(client, "a backup code").await;
    log_out(client).await;

    // The third place: nobody has typed anything for a while.
    site.password(client, user, password).await;
    at(client, "/second").await;
    at(client, "/second/late").await;
    read(client, "That took a while").await;
    fill(client, "form.otp [name=otp]", &codes[1]).await;
    click(client, "form.otp button").await;
    assert!(alert(client).await.contains("not accepted"));
    site.open(client, "/second/late").await;
    click(client, "summary").await;
    fill(client, "details [name=otp]", &codes[2]).await;
    click(client, "details button").await;
    log_out(client).await;

    // Enough wrong codes, and it says for how long to wait.
    site.password(client, user, password).await;
    for _ in 0..6 {
        site.open(client, "/second").await;
        fill(client, CODE, "000000").await;
        click(client, SEND).await;
        alert(client).await;
    }
    let wait = alert(client).await;
    assert!(wait.contains("Too many codes were wrong. Try again in ") && wait.contains(" seconds"), "{wait}");
    // A right one is refused meanwhile, and is not spent.
    site.at_once(client, user, password, &codes[3]).await;
    assert!(alert(client).await.starts_with("Too many codes were wrong."));
}

/// The site with a server beside it, and the phone of whoever holds it.
struct WithPhones {
    site: Site,
    app: Router,
}

impl WithPhones {
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
        Self { site, app }
    }

    /// From the password to a phone that can be asked.
    async fn pair(&self, client: &Client, user: &str, password: &str) -> Phone {
        let mut phone = Phone::register(&self.app).await;
        let (_, phrase) = phone.post("phrases", json!({})).await;
        self.site.password(client, user, password).await;
        at(client, "/enrol").await;
        click(client, "a[href='/enrol/phone']").await;
        fill(client, "[name=phrase]", "no such words").await;
        click(client, "form[action='/enrol/phone'] button").await;
        assert!(alert(client).await.contains("No phone shows these words"));
        fill(client, "[name=phrase]", phrase["phrase"].as_str().unwrap()).await;
        click(client, "form[action='/enrol/phone'] button").await;
        at(client, "/enrol/phone/wait").await;
        read(client, "Waiting for your phone").await;
        let waiting = phone.get("pairings").await;
        let id = waiting[0]["id"].as_str().unwrap();
        let (status, allowed) = phone.post(&format!("pairings/{id}/allow"), json!({})).await;
        assert_eq!(status, 200);
        phone.secret = allowed["secret"].as_str().map(str::to_owned);
        read(client, "Your phone is set up").await;
        phone
    }
}

/// What waits on the phone, once there is something.
async fn rings(client: &Client, phone: &Phone) -> String {
    until(client, "a request on the phone", || async {
        let waiting = phone.get("requests").await;
        waiting[0]["id"].as_str().map(str::to_owned)
    })
    .await
}

/// Answers, with the number that the page shows where it shows one.
async fn answer(client: &Client, phone: &Phone, id: &str, answer: &str) {
    let number = match client.find(Locator::Css("#number:not([hidden]) strong")).await {
        Ok(number) => number.text().await.unwrap(),
        Err(_) => String::new(),
    };
    let body = if number.is_empty() { json!({}) } else { json!({ "number": number }) };
    let (status, answered) = phone.post(&format!("requests/{id}/{answer}"), body).await;
    assert_eq!(status, 200, "{answered}");
}

async fn waiting_requests(phone: &Phone) -> usize {
    phone.get("requests").await.as_array().map_or(0, Vec::len)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_phone_with_scripts() {
    if !have_browser() {
        return;
    }
    let (with, browser) = (WithPhones::start("20").await, Browser::start().await);
    let (site, client) = (&with.site, &browser.window().await);
    let phone = with.pair(client, "alice", "wonderland").await;
    let log_in = || site.password(client, "alice", "wonderland");

    // Allowed. The dialog keeps the focus, and what changes is told.
    client.find(Locator::LinkText("Continue")).await.unwrap().click().await.unwrap();
    let id = rings(client, &phone).await;
    read(client, "We asked your phone.").await;
    assert_eq!(ask(client, "return document.getElementById('told').closest('[role=status]') !== null").await, true);
    for _ in 0..8 {
        press(client, Key::Tab).await;
        let inside = "const at = document.activeElement; return at === document.body || at.closest('dialog') !== null";
        assert_eq!(ask(client, inside).await, true);
    }
    assert_eq!(waiting_requests(&phone).await, 1);
    // Loaded again it still waits for the same answer.
    let waiting = client.current_url().await.unwrap();
    assert!(waiting.path().starts_with("/second/wait/"), "{waiting}");
    client.refresh().await.unwrap();
    read(client, "We asked your phone.").await;
    assert_eq!(rings(client, &phone).await, id);
    answer(client, &phone, &id, "allow").await;
    at(client, "/account").await;
    read(client, "an approval on the phone").await;
    // What was waited for is over, whoever has the address.
    client.back().await.unwrap();
    client.goto(waiting.as_str()).await.unwrap();
    at(client, "/account").await;
    log_out(client).await;
    client.goto(waiting.as_str()).await.unwrap();
    at(client, "/login").await;

    // Denied, then asked again and allowed.
    log_in().await;
    let id = rings(client, &phone).await;
    read(client, "We asked your phone.").await;
    answer(client, &phone, &id, "deny").await;
    read(client, "It was denied on your phone.").await;
    site.open(client, "/account").await;
    at(client, "/second").await;
    let id = rings(client, &phone).await;
    read(client, "We asked your phone.").await;
    answer(client, &phone, &id, "deny").await;
    read(client, "It was denied on your phone.").await;
    click(client, "#ask-button").await;
    let id = rings(client, &phone).await;
    read(client, "We asked your phone.").await;

    // Two tabs: the second one joins, and neither is in the way of the other.
    let first = client.window().await.unwrap();
    let second = client.new_window(true).await.unwrap();
    client.switch_to_window(second.handle).await.unwrap();
    log_in().await;
    read(client, "We asked your phone.").await;
    assert_eq!(waiting_requests(&phone).await, 1);
    answer(client, &phone, &id, "allow").await;
    at(client, "/account").await;
    client.close_window().await.unwrap();
    client.switch_to_window(first).await.unwrap();
    at(client, "/account").await;
    log_out(client).await;

    // A code in the middle of a wait. A wrong one changes nothing.
    log_in().await;
    let id = rings(client, &phone).await;
    read(client, "We asked your phone.").await;
    fill(client, CODE, "000000").await;
    click(client, SEND).await;
    assert!(alert(client).await.contains("not accepted"));
    read(client, "We asked your phone.").await;
    fill(client, CODE, &Authenticator::spaced(&phone.code(now()))).await;
    click(client, SEND).await;
    at(client, "/account").await;
    read(client, "a code of the authenticator").await;
    // The phone need not answer any more, and if it did, that would be for nothing.
    assert!(!phone.get("requests").await.to_string().contains(&id));
    log_out(client).await;

    // Escape leads out of it, and nowhere in.
    log_in().await;
    rings(client, &phone).await;
    read(client, "We asked your phone.").await;
    press(client, Key::Escape).await;
    at(client, "/login").await;
    read(client, "Go on as alice").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_phone_that_does_not_answer() {
    if !have_browser() {
        return;
    }
    let (with, browser) = (WithPhones::start("4").await, Browser::start().await);
    for scripts in [true, false] {
        let client = &browser.window_as(Look { scripts, ..Look::default() }).await;
        let (user, password) = if scripts { ("alice", "wonderland") } else { ("bob", "builder") };
        let phone = with.pair(client, user, password).await;
        client.find(Locator::LinkText("Continue")).await.unwrap().click().await.unwrap();
        if !scripts {
            click(client, "#ask-button").await;
        }
        let late = rings(client, &phone).await;
        if !scripts {
            see(client, "iframe").await;
            client.enter_frame(0).await.unwrap();
            read(client, "Your phone did not answer").await;
            client.find(Locator::LinkText("What now?")).await.unwrap().click().await.unwrap();
            top(client).await;
        }
        at(client, "/second/late").await;
        read(client, "Your phone did not answer").await;
        // Too late.
        answer(client, &phone, &late, "allow").await;
        client.refresh().await.unwrap();
        at(client, "/second/late").await;
        // Asked again, with a code typed in the frame's sight: the box keeps it while the frame looks again.
        click(client, "button.second").await;
        let id = rings(client, &phone).await;
        assert_ne!(id, late);
        at_wait(client).await;
        let otp = phone.code(now());
        fill(client, CODE, &otp).await;
        if scripts {
            read(client, "Your phone did not answer. Go on with the code.").await;
        } else {
            client.enter_frame(0).await.unwrap();
            read(client, "Your phone did not answer").await;
            top(client).await;
        }
        let typed = see(client, CODE).await.prop("value").await.unwrap();
        assert_eq!(typed.as_deref(), Some(otp.as_str()));
        click(client, SEND).await;
        at(client, "/account").await;
        log_out(client).await;
        client.clone().close().await.unwrap();
    }
}

/// Out of the frame, and out of one that is no more.
async fn top(client: &Client) {
    client.switch_to_window(client.window().await.unwrap()).await.unwrap();
}

async fn at_wait(client: &Client) {
    until(client, "the page that waits", || async {
        client.current_url().await.ok()?.path().starts_with("/second/wait/").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_phone_without_scripts() {
    if !have_browser() {
        return;
    }
    let (with, browser) = (WithPhones::start("30").await, Browser::start().await);
    let (site, client) = (&with.site, &browser.window_as(Look { scripts: false, ..Look::default() }).await);
    let phone = with.pair(client, "alice", "wonderland").await;
    let begin = || async {
        site.password(client, "alice", "wonderland").await;
        at(client, "/second").await;
        click(client, "#ask-button").await;
        at_wait(client).await;
    };
    // To look is to ask nobody.
    site.open(client, "/second").await;
    read(client, "We can ask your phone.").await;
    assert_eq!(waiting_requests(&phone).await, 0);

    begin().await;
    let id = rings(client, &phone).await;
    // Loading it again asks nobody again; going on too early neither.
    client.refresh().await.unwrap();
    click(client, "#ask-button").await;
    at_wait(client).await;
    assert_eq!(rings(client, &phone).await, id);
    answer(client, &phone, &id, "allow").await;
    client.enter_frame(0).await.unwrap();
    read(client, "Your phone said yes.").await;
    click(client, "button").await;
    top(client).await;
    at(client, "/account").await;
    log_out(client).await;

    begin().await;
    let id = rings(client, &phone).await;
    answer(client, &phone, &id, "deny").await;
    client.enter_frame(0).await.unwrap();
    read(client, "If it was not you who asked, change your password.").await;
    // What was denied cannot be fetched.
    top(client).await;
    click(client, "#ask-button").await;
    read(client, "Nobody was logged in.").await;
    site.open(client, "/account").await;
    at(client, "/second").await;

    // A code in the middle of a wait, after a wrong one.
    begin().await;
    let id = rings(client, &phone).await;
    fill(client, CODE, "000000").await;
    click(client, SEND).await;
    assert!(alert(client).await.contains("not accepted"));
    assert_eq!(rings(client, &phone).await, id);
    see(client, "iframe").await;
    fill(client, CODE, &phone.code(now())).await;
    click(client, SEND).await;
    at(client, "/account").await;
}
