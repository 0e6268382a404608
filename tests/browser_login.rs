//! `examples/login` as people meet it: in a browser, with and without scripts, with an authenticator and with a phone.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use common::browser::{Browser, Look, PATIENCE, ask, at, click, fill, have_browser, read, screenshot, see, until};
use common::example::Example;
use common::toopher::Phone;
use fantoccini::key::Key;
use fantoccini::{Client, Locator};
use serde_json::json;
use tower_toopher::server::Server;
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
    let (site, browser) = (Site::start(&[("APPROVAL_SECONDS", "8")]), Browser::start().await);
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
    url: String,
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
        Self { site, app, url }
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

/// The number that the page shows for the phone, where it shows one.
async fn number(client: &Client) -> Option<String> {
    client.find(Locator::Css("#number:not([hidden]) strong")).await.ok()?.text().await.ok()
}

async fn answer(client: &Client, phone: &Phone, id: &str, answer: &str) {
    answer_with(phone, id, answer, number(client).await).await;
}

async fn answer_with(phone: &Phone, id: &str, answer: &str, number: Option<String>) {
    let body = number.map_or(json!({}), |number| json!({ "number": number }));
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
    let (with, browser) = (WithPhones::start("60").await, Browser::start().await);
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
    let (with, browser) = (WithPhones::start("6").await, Browser::start().await);
    for scripts in [true, false] {
        let client = &browser.window_as(Look { scripts, ..Look::default() }).await;
        let (user, password) = if scripts { ("alice", "wonderland") } else { ("bob", "builder") };
        let phone = with.pair(client, user, password).await;
        client.find(Locator::LinkText("Continue")).await.unwrap().click().await.unwrap();
        if !scripts {
            click(client, "#ask-button").await;
        }
        let late = rings(client, &phone).await;
        read(client, "We asked your phone.").await;
        let number = number(client).await;
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
        answer_with(&phone, &late, "allow", number).await;
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
    let (with, browser) = (WithPhones::start("60").await, Browser::start().await);
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

/// Presses the button of this name, once it can be pressed.
async fn press_button(client: &Client, name: &str) {
    let button = format!("//button[.='{name}' and not(@aria-disabled)]");
    until(client, name, || async {
        let button = client.find(Locator::XPath(&button)).await.ok()?;
        if button.is_displayed().await.ok()? { button.click().await.ok() } else { None }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_the_phone_in_a_second_window() {
    if !have_browser() {
        return;
    }
    let (with, browser) = (WithPhones::start("60").await, Browser::start().await);
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
    click(client, "a[href='/enrol/phone']").await;
    fill(client, "[name=phrase]", &words).await;
    click(client, "form[action='/enrol/phone'] button").await;
    read(phone, "Pair with Example Site?").await;
    press_button(phone, "Allow").await;
    read(client, "Your phone is set up").await;

    with.site.password(client, "alice", "wonderland").await;
    read(phone, "log in").await;
    press_button(phone, "Deny").await;
    read(client, "It was denied on your phone.").await;
    click(client, "#ask-button").await;
    // The phone wants the number that stands on the site.
    read(client, "on it.").await;
    let number = number(client).await.unwrap();
    fill(phone, "input.number", &number).await;
    press_button(phone, "Allow").await;
    at(client, "/account").await;
    read(client, "an approval on the phone").await;
}

/// A browser as a stranger writes one: it sends what it likes.
struct Visitor {
    http: reqwest::Client,
    url: String,
    cookies: Vec<(String, String)>,
    csrf: String,
}

struct Answer {
    status: u16,
    place: String,
    headers: String,
    body: String,
}

impl Visitor {
    async fn new(site: &Site) -> Self {
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let mut visitor = Self { http, url: site.0.url.clone(), cookies: Vec::new(), csrf: String::new() };
        visitor.get("/login").await;
        visitor
    }

    /// Half way: the password was right.
    async fn half(site: &Site, user: &str, password: &str) -> Self {
        let mut visitor = Self::new(site).await;
        let form = visitor.form(&[("username", user), ("password", password)]);
        assert_eq!(visitor.post("/login", &form, &[]).await.place, "/second");
        visitor.get("/second/late").await;
        visitor
    }

    fn form(&self, fields: &[(&str, &str)]) -> String {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("csrf", &self.csrf).extend_pairs(fields).finish()
    }

    async fn get(&mut self, path: &str) -> Answer {
        let answer = self.send(self.http.get(format!("{}{path}", self.url))).await;
        if let Some((_, after)) = answer.body.split_once("name=\"csrf\" value=\"") {
            self.csrf = after.split('"').next().unwrap().to_owned();
        }
        answer
    }

    async fn post(&mut self, path: &str, form: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = self.http.post(format!("{}{path}", self.url)).body(form.to_owned());
        request = request.header("content-type", "application/x-www-form-urlencoded");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request).await
    }

    async fn send(&mut self, request: reqwest::RequestBuilder) -> Answer {
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let response = request.header("cookie", cookies.join("; ")).send().await.unwrap();
        let mut headers: Vec<_> = response.headers().iter().map(|(name, value)| format!("{name}: {value:?}")).collect();
        for line in response.headers().get_all("set-cookie") {
            let line = line.to_str().unwrap();
            let set = line.contains("HttpOnly") && line.contains("SameSite=Lax");
            assert!(set || line.contains("Max-Age=0"), "{line}");
            let (name, value) = line.split(';').next().unwrap().split_once('=').unwrap();
            self.cookies.retain(|(known, _)| known != name);
            self.cookies.push((name.to_owned(), value.to_owned()));
        }
        headers.retain(|header| !header.starts_with("date") && !header.starts_with("set-cookie"));
        let place = response.headers().get("location").map_or("", |place| place.to_str().unwrap()).to_owned();
        let status = response.status().as_u16();
        Answer { status, place, headers: headers.join("\n"), body: response.text().await.unwrap() }
    }

    fn session(&self) -> String {
        self.cookies.iter().find(|(name, _)| name == "session").unwrap().1.clone()
    }
}

const JSON: &[(&str, &str)] = &[("accept", "application/json")];

/// Allows what waits, with the number that the site was told, where there is one.
async fn allow(phone: &Phone, asked: &Answer) {
    let asked: serde_json::Value = serde_json::from_str(&asked.body).unwrap();
    let waiting = phone.get("requests").await;
    let number = asked["number"].as_str().map_or(json!({}), |number| json!({ "number": number }));
    let id = waiting[0]["id"].as_str().unwrap();
    assert_eq!(phone.post(&format!("requests/{id}/allow"), number).await.0, 200);
}

/// A site whose alice has a phone.
async fn with_a_phone() -> (WithPhones, Phone) {
    let with = WithPhones::start("60").await;
    let mut phone = Phone::register(&with.app).await;
    let (_, phrase) = phone.post("phrases", json!({})).await;
    let mut alice = Visitor::half(&with.site, "alice", "wonderland").await;
    let form = alice.form(&[("phrase", phrase["phrase"].as_str().unwrap())]);
    assert_eq!(alice.post("/enrol/phone", &form, &[]).await.place, "/enrol/phone/wait");
    let waiting = phone.get("pairings").await;
    let allow = format!("pairings/{}/allow", waiting[0]["id"].as_str().unwrap());
    phone.secret = phone.post(&allow, json!({})).await.1["secret"].as_str().map(str::to_owned);
    assert!(alice.get("/enrol/phone/wait").await.body.contains("Your phone is set up"));
    (with, phone)
}

#[tokio::test(flavor = "multi_thread")]
async fn forms_of_other_sites_do_nothing() {
    let (with, phone) = with_a_phone().await;
    let site = &with.site;
    let other = Visitor::new(site).await.csrf;
    for csrf in ["", "csrf=&", "csrf=0123456789abcdef0123456789abcdef&", &format!("csrf={other}&")] {
        let mut visitor = Visitor::new(site).await;
        let twice = format!("csrf={}&csrf={}&", visitor.csrf, visitor.csrf);
        for csrf in [csrf, twice.as_str()] {
            let form = format!("{csrf}username=alice&password=wonderland");
            assert_eq!(visitor.post("/login", &form, &[]).await.status, 403, "{csrf}");
            let code = phone.code(now());
            assert_eq!(visitor.post("/login/otp", &format!("{form}&otp={code}"), &[]).await.status, 403, "{csrf}");
        }
        assert_eq!(visitor.get("/second").await.place, "/login");
    }
    // Nor does the page of another site that has got hold of a token.
    let mut visitor = Visitor::new(site).await;
    let form = visitor.form(&[("username", "alice"), ("password", "wonderland")]);
    for origin in ["https://evil.example", "null", &site.0.url.replace("http://", "http://evil.example.")] {
        assert_eq!(visitor.post("/login", &form, &[("origin", origin)]).await.status, 403, "{origin}");
    }
    assert_eq!(visitor.post("/login", &form, &[("origin", &site.0.url)]).await.place, "/second");

    // It does not even make the phone ring, and neither does a look.
    let mut half = Visitor::half(site, "alice", "wonderland").await;
    let stale = half.csrf.replace(['0', '1', '2', '3'], "f");
    for (form, origin) in [("", ""), (&*format!("csrf={stale}"), ""), (&*half.form(&[]), "https://evil.example")] {
        let headers = [("origin", origin)];
        let headers = if origin.is_empty() { &[][..] } else { &headers };
        assert_eq!(half.post("/second", form, headers).await.status, 403, "{form}");
    }
    for path in ["/second", "/second/wait/abc", "/second/wait/abc/state", "/second/late", "/approvals/abc"] {
        half.get(path).await;
    }
    assert_eq!(waiting_requests(&phone).await, 0);
    // The code was never looked at, so it is still good.
    let form = half.form(&[("otp", &phone.code(now()))]);
    assert_eq!(half.post("/second", &form, &[]).await.place, "/account");
}

#[tokio::test(flavor = "multi_thread")]
async fn half_way_is_nowhere() {
    let (with, phone) = with_a_phone().await;
    let mut half = Visitor::half(&with.site, "alice", "wonderland").await;
    assert_eq!(half.get("/account").await.place, "/second");
    let page = half.get("/second").await;
    for kept in ["default-src 'none'", "frame-ancestors 'none'", "no-store", "nosniff", "same-origin"] {
        assert!(page.headers.contains(kept) && !page.headers.contains("unsafe"), "{}", page.headers);
    }
    // Who has a second factor cannot be given another one by the password alone.
    for path in ["/enrol", "/enrol/app", "/enrol/phone"] {
        assert_eq!(half.get(path).await.status, 403, "{path}");
    }
    for path in ["/enrol/app", "/enrol/confirm", "/enrol/phone", "/enrol/phone/qr"] {
        let form = half.form(&[("phrase", "a b c d"), ("code", "123456")]);
        assert_eq!(half.post(path, &form, &[]).await.status, 403, "{path}");
    }
    for (otp, status) in [("000000", 401), ("", 401), ("1", 401), ("123456&otp=123456", 400)] {
        let form = half.form(&[]) + "&otp=" + otp;
        assert_eq!(half.post("/second", &form, &[]).await.status, status, "{otp}");
    }
    assert_eq!(half.get("/account").await.place, "/second");
    // A session that is logged in has another name, and the ones before are worth nothing.
    let before = half.session();
    let form = half.form(&[("otp", &phone.code(now()))]);
    assert_eq!(half.post("/second", &form, &[]).await.place, "/account");
    assert_ne!(half.session(), before);
    assert_eq!(half.get("/account").await.status, 200);
    let after = half.session();
    half.cookies = vec![("session".into(), before)];
    assert_eq!(half.get("/account").await.place, "/login");
    // Nor is one that was logged out.
    half.cookies = vec![("session".into(), after.clone())];
    half.get("/account").await;
    let form = half.form(&[]);
    assert_eq!(half.post("/logout", &form, &[]).await.place, "/login");
    half.cookies = vec![("session".into(), after)];
    assert_eq!(half.get("/account").await.place, "/login");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_lets_in_who_asked_for_it() {
    let (with, phone) = with_a_phone().await;
    let mut alice = Visitor::half(&with.site, "alice", "wonderland").await;
    let mut thief = Visitor::half(&with.site, "alice", "wonderland").await;
    let form = alice.form(&[]);
    let answered = alice.post("/second", &form, JSON).await;
    assert_eq!(answered.status, 202);
    let asked: serde_json::Value = serde_json::from_str(&answered.body).unwrap();
    let challenge = asked["challenge"].as_str().unwrap();
    // Somebody who knows the password asks at the same time, and is told to type a code.
    let form = thief.form(&[]);
    let second = thief.post("/second", &form, JSON).await;
    assert!(second.status == 401 && second.body.contains("Another login of yours is waiting"), "{}", second.body);

    allow(&phone, &answered).await;
    let status = format!("/approvals/{challenge}");
    assert!(thief.get(&status).await.body.contains("expired"));
    for form in [
        thief.form(&[("toopher_challenge", challenge)]),
        // Even word for word.
        alice.form(&[("toopher_challenge", challenge)]).replace(&alice.csrf, &thief.csrf),
    ] {
        let refused = thief.post("/second", &form, &[]).await;
        assert!(refused.status == 401 && refused.body.contains("Nobody was logged in"), "{}", refused.status);
    }
    assert_eq!(thief.get("/account").await.place, "/second");

    assert!(alice.get(&status).await.body.contains("granted"));
    let form = alice.form(&[("toopher_challenge", challenge)]);
    assert_eq!(alice.post("/second", &form, &[]).await.place, "/account");
    assert_eq!(alice.get("/account").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_logged_out_stays_out() {
    let (with, phone) = with_a_phone().await;
    let mut alice = Visitor::half(&with.site, "alice", "wonderland").await;
    // The request is held until the phone has answered; meanwhile another tab joins it, and logs out.
    let (http, url, csrf) = (alice.http.clone(), alice.url.clone(), alice.csrf.clone());
    let mut held = Visitor { http, url, csrf, cookies: alice.cookies.clone() };
    let form = alice.form(&[]);
    let waits = tokio::spawn({
        let form = form.clone();
        async move { (held.post("/second", &form, &[("prefer", "wait=20"), JSON[0]]).await, held) }
    });
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while waiting_requests(&phone).await == 0 {
        assert!(tokio::time::Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let joined = alice.post("/second", &form, JSON).await;
    assert_eq!((joined.status, waiting_requests(&phone).await), (202, 1));
    assert_eq!(alice.post("/logout", &form, &[]).await.place, "/login");
    allow(&phone, &joined).await;
    let (answer, mut held) = waits.await.unwrap();
    assert_ne!(answer.place, "/account", "{}", answer.body);
    assert_eq!(held.get("/account").await.place, "/login");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_tells_a_name_from_a_password_or_a_code() {
    let (with, phone) = with_a_phone().await;
    let mut visitor = Visitor::new(&with.site).await;
    let mut seen = Vec::new();
    let code = phone.code(now());
    for (user, password, otp) in [
        ("nobody", "wonderland", "123456"),
        ("alice", "wonderland", "000000"),
        ("alice", "wrong", code.as_str()),
        ("alice", "wonderland", code.as_str()),
        ("alice", "wonderland", ""),
        ("bob", "builder", "123456"),
        ("", "", "123456"),
    ] {
        let form = visitor.form(&[("username", user), ("password", password), ("otp", otp)]);
        let answer = visitor.post("/login/otp", &form, &[]).await;
        seen.push((answer.status, answer.headers, answer.body));
    }
    assert_eq!(seen[0].0, 403);
    assert!(seen.iter().all(|answer| *answer == seen[0]), "{seen:#?}");
    let mut seen = Vec::new();
    for (user, password) in [("nobody", "wonderland"), ("alice", "wrong"), ("", ""), (&"a".repeat(5000), "x")] {
        let form = visitor.form(&[("username", user), ("password", password)]);
        let answer = visitor.post("/login", &form, &[]).await;
        seen.push((answer.status, answer.headers, answer.body));
    }
    assert!(seen[0].0 == 403 && seen.iter().all(|answer| *answer == seen[0]), "{seen:#?}");
}

/// An API that asks for a number, and whose phone never answers.
async fn api_with_numbers() -> String {
    use axum::Json;
    use axum::routing::{get, post};
    let waiting = || async { Json(json!({ "id": "r1", "pending": true, "granted": false, "number": "07" })) };
    let api = Router::new()
        .route("/v1/users", get(async || Json(json!([{ "id": "u1", "name": "alice" }]))))
        .route("/v1/users/u1/pairings", get(async || Json(json!([{ "id": "p1", "enabled": true, "pending": false }]))))
        .route("/v1/authentication_requests/initiate", post(waiting))
        .route("/v1/authentication_requests/r1", get(waiting));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, api).await });
    url
}

/// What is seen, and what is not: nothing is cut off, every box has a label, and every page a heading.
async fn looks(client: &Client, name: &str) {
    let faults = "const faults = [];
        if (document.documentElement.scrollWidth > innerWidth) faults.push('wider than the window');
        for (const box of document.querySelectorAll('input:not([type=hidden])'))
            if (!box.labels.length) faults.push('no label: ' + box.name);
        for (const box of document.querySelectorAll('[name=otp][inputmode], [name=code]'))
            if (box.autocomplete !== 'one-time-code' || box.inputMode !== 'numeric') faults.push(box.outerHTML);
        if (document.querySelectorAll('h1').length !== 1) faults.push('headings');
        for (const region of ['alert', 'status'])
            for (const it of document.querySelectorAll('#' + region))
                if (it.getAttribute('role') !== region) faults.push('no live region: ' + region);
        return faults;";
    assert_eq!(ask(client, faults).await, json!([]), "{name}");
    screenshot(client, name).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_in_every_light() {
    if !have_browser() {
        return;
    }
    let url = api_with_numbers().await;
    let api = [("TOOPHER_BASE_URL", &*url), ("TOOPHER_CONSUMER_KEY", "key"), ("TOOPHER_CONSUMER_SECRET", "secret")];
    let browser = Browser::start().await;
    for (light, look) in [
        ("light", Look::default()),
        ("dark", Look { dark: true, ..Look::default() }),
        ("narrow", Look { narrow: true, ..Look::default() }),
        ("plain", Look { scripts: false, ..Look::default() }),
    ] {
        let numbers = Site::start(&api);
        let (with, client) = (WithPhones::start("60").await, &browser.window_as(look).await);
        let site = &with.site;
        let dark = "return matchMedia('(prefers-color-scheme: dark)').matches";
        assert_eq!(ask(client, dark).await, json!(look.dark));
        let named = |page: &str| format!("login-{light}-{page}");
        site.open(client, "/login").await;
        looks(client, &named("1-password")).await;
        site.password(client, "alice", "wrong").await;
        alert(client).await;
        looks(client, &named("2-wrong-password")).await;
        site.open(client, "/login/otp").await;
        looks(client, &named("3-all-at-once")).await;

        let phone = Phone::register(&with.app).await;
        let (_, phrase) = phone.post("phrases", json!({})).await;
        site.password(client, "bob", "builder").await;
        at(client, "/enrol").await;
        looks(client, &named("4-enrol")).await;
        click(client, "a[href='/enrol/phone']").await;
        see(client, "[name=phrase]").await;
        looks(client, &named("5-phone")).await;
        click(client, "button.second").await;
        at(client, "/enrol/phone/wait").await;
        until(client, "the image", || async {
            let drawn =
                "const image = document.querySelector('img.qr'); return image.complete && image.naturalWidth > 0";
            (ask(client, drawn).await == true).then_some(())
        })
        .await;
        looks(client, &named("6-phone-qr")).await;
        drop((phone, phrase));
        site.open(client, "/enrol").await;
        click(client, "form[action='/enrol/app'] button").await;
        see(client, ".qr svg").await;
        looks(client, &named("7-app")).await;
        fill(client, "[name=code]", "000000").await;
        click(client, "form[action='/enrol/confirm'] button").await;
        alert(client).await;
        looks(client, &named("8-app-wrong-code")).await;
        let mut app = Authenticator::new(&see(client, "#secret").await.text().await.unwrap());
        let code = app.code().await;
        fill(client, "[name=code]", &code).await;
        click(client, "form[action='/enrol/confirm'] button").await;
        see(client, ".backup").await;
        looks(client, &named("9-backup-codes")).await;
        client.find(Locator::LinkText("I have written them down")).await.unwrap().click().await.unwrap();
        fill(client, CODE, "000000").await;
        click(client, SEND).await;
        alert(client).await;
        looks(client, &named("10-code")).await;
        let code = app.code().await;
        fill(client, CODE, &code).await;
        click(client, SEND).await;
        at(client, "/account").await;
        looks(client, &named("11-account")).await;
        site.open(client, "/nowhere").await;
        looks(client, &named("12-nowhere")).await;

        // The site shows the number that the phone asks for, with its zero, and tells it.
        numbers.password(client, "alice", "wonderland").await;
        if !look.scripts {
            at(client, "/second").await;
            looks(client, &named("13-not-asked")).await;
            click(client, "#ask-button").await;
            at_wait(client).await;
        }
        read(client, "Type 07 on it.").await;
        assert_eq!(ask(client, "return document.querySelector('#status #number strong') !== null").await, true);
        looks(client, &named("14-number")).await;
        numbers.open(client, "/second/late").await;
        looks(client, &named("15-late")).await;
        // Who starts over comes back to what is waited for.
        client.find(Locator::LinkText("Start over")).await.unwrap().click().await.unwrap();
        at(client, "/login").await;
        numbers.password(client, "alice", "wonderland").await;
        if !look.scripts {
            click(client, "#ask-button").await;
        }
        read(client, "Type 07 on it.").await;
        client.clone().close().await.unwrap();
    }
}
