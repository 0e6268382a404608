//! The phone's page in a real browser: what a person sees and does, with the network and without.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use common::browser::{Browser, have_browser, holds, keep, screenshot};
use common::toopher::Site;
use common::{Clock, have, output};
use fantoccini::{Client, Locator};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tower_toopher::server::Server;

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A server that listens, on a runtime of its own: when that ends, so do all connections.
struct Listening {
    runtime: Option<Runtime>,
    address: SocketAddr,
}

impl Listening {
    fn start(app: Router, port: u16) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(async move { axum::serve(TcpListener::from_std(listener).unwrap(), app).await });
        Self { runtime: Some(runtime), address }
    }

    fn stop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Until the port is free; a runtime cannot be waited for within another.
            let end = move || runtime.shutdown_timeout(std::time::Duration::from_secs(5));
            std::thread::spawn(end).join().unwrap();
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.stop();
    }
}

struct World {
    site: Site,
    server: Server,
    listening: Listening,
    browser: Browser,
    page: Client,
    url: String,
}

impl World {
    async fn new() -> Self {
        Self::at("").await
    }

    /// With the router mounted under this path.
    async fn at(path: &str) -> Self {
        let server = Server::in_memory("https://mfa.example.test").await.unwrap();
        let site = Site::new(&server, &Clock::at(now())).await;
        let listening = Listening::start(mounted(&server, path), 0);
        let browser = Browser::start().await;
        let page = browser.window_with(&["--window-size=420,900"], json!({})).await;
        let url = format!("http://{}{path}/phone", listening.address);
        Self { site, server, listening, browser, page, url }
    }

    async fn registered() -> Self {
        let world = Self::new().await;
        world.page.goto(&world.url).await.unwrap();
        world.register().await;
        world
    }

    async fn register(&self) {
        holds(&self.page, "!document.getElementById('register').hidden").await;
        self.type_into("#name", "My phone").await;
        self.press("Continue").await;
        self.connected().await;
    }

    async fn connected(&self) {
        holds(&self.page, "document.body.dataset.connection === 'live'").await;
    }

    /// Presses the first button of this name that can be seen, once it can be pressed.
    async fn press(&self, label: &str) {
        let find = format!(
            "[...document.querySelectorAll('button')].find((button) => button.textContent === {label:?}
                && button.checkVisibility() && !button.hasAttribute('aria-disabled') && !button.closest('[aria-busy]'))"
        );
        holds(&self.page, &find).await;
        let button = self.page.execute(&format!("return {find}"), vec![]).await.unwrap();
        let button: fantoccini::elements::Element =
            fantoccini::elements::Element::from_element_id(self.page.clone(), element(&button));
        button.click().await.unwrap();
    }

    async fn type_into(&self, css: &str, text: &str) {
        let field = self.page.wait().for_element(Locator::Css(css)).await.unwrap();
        field.clear().await.unwrap();
        field.send_keys(text).await.unwrap();
    }

    async fn text(&self, css: &str) -> String {
        self.page.find(Locator::Css(css)).await.unwrap().text().await.unwrap()
    }

    /// Waits until the page says this somewhere.
    async fn says(&self, text: &str) {
        holds(&self.page, &format!("document.body.innerText.includes({text:?})")).await;
    }

    async fn phrase(&self) -> String {
        let label = self.text("#new-phrase").await;
        self.press(&label).await;
        holds(&self.page, "document.getElementById('words').textContent").await;
        self.text("#words").await
    }

    /// Pairs the page's phone with this user; returns the pairing.
    async fn pair(&self, user: &str) -> String {
        let phrase = self.phrase().await;
        let (status, pairing) =
            self.site.post("pairings/create", &[("user_name", user), ("pairing_phrase", &phrase)]).await;
        assert_eq!(status, 200);
        self.says("Pair with").await;
        self.press("Allow").await;
        self.says("Paired with").await;
        pairing["id"].as_str().unwrap().to_owned()
    }

    async fn ask(&self, user: &str, more: &[(&str, &str)]) -> Value {
        let all: Vec<_> = [("terminal_name", "laptop"), ("action_name", "log in")].into_iter().collect();
        let all: Vec<_> = all
            .into_iter()
            .filter(|(name, _)| !more.iter().any(|(n, _)| n == name))
            .chain(more.iter().copied())
            .collect();
        let (status, request) = self.site.initiate(user, &all).await;
        assert_eq!(status, 200, "{request}");
        request
    }

    async fn status(&self, request: &Value) -> Value {
        self.site.get(&format!("authentication_requests/{}", request["id"].as_str().unwrap())).await.1
    }

    /// The code that the page shows, by the entry of this index.
    async fn code(&self) -> String {
        holds(&self.page, "document.querySelector('.code')?.textContent").await;
        self.text(".code").await
    }

    /// Whether the site accepts a code.
    async fn accepts(&self, user: &str, code: &str) -> bool {
        self.ask(user, &[("otp", code)]).await["granted"] == true
    }

    /// No policy was hurt, and no script failed.
    async fn clean(&self) {
        let bad: Vec<_> = self
            .browser
            .log(&self.page)
            .await
            .into_iter()
            .filter(|line| !line.contains("Failed to load resource"))
            .collect();
        assert!(bad.is_empty(), "{bad:?}");
    }
}

fn mounted(server: &Server, path: &str) -> Router {
    if path.is_empty() { server.router() } else { Router::new().nest(path, server.router()) }
}

fn element(value: &Value) -> fantoccini::elements::ElementRef {
    let id = value.as_object().and_then(|object| object.values().next()).and_then(Value::as_str).unwrap();
    id.to_owned().into()
}

#[tokio::test(flavor = "multi_thread")]
async fn from_the_registration_to_a_log_in() {
    if !have_browser() || !have(&["zbarimg"]) {
        return;
    }
    let world = World::new().await;
    world.page.goto(&world.url).await.unwrap();
    holds(&world.page, "!document.getElementById('register').hidden").await;
    screenshot(&world.page, "phone-1-first").await;
    // Without a name there is no phone.
    world.press("Continue").await;
    world.says("Give this phone a name").await;
    world.register().await;
    screenshot(&world.page, "phone-2-registered").await;

    let phrase = world.phrase().await;
    assert_eq!(phrase.split(' ').count(), 4);
    world.says("min more").await;
    screenshot(&world.page, "phone-3-phrase").await;
    let qr = world.page.find(Locator::Id("qr")).await.unwrap().screenshot().await.unwrap();
    let qr = keep("phone-qr", &qr);
    assert_eq!(output("zbarimg", &["-q", "--raw", qr.to_str().unwrap()]), phrase);

    let (status, pairing) =
        world.site.post("pairings/create", &[("user_name", "jdoe"), ("pairing_phrase", &phrase)]).await;
    assert_eq!((status, &pairing["pending"]), (200, &json!(true)));
    world.says("Pair with my site?").await;
    // The words are used.
    holds(&world.page, "document.getElementById('phrase').hidden").await;
    screenshot(&world.page, "phone-4-asks-to-pair").await;
    world.press("Allow").await;
    world.says("Paired with my site").await;
    let (_, pairing) = world.site.get(&format!("pairings/{}", pairing["id"].as_str().unwrap())).await;
    assert_eq!(pairing["enabled"], true);

    world.press("my sitejdoe").await;
    let first = world.code().await;
    world.says("s left").await;
    screenshot(&world.page, "phone-5-code").await;
    assert!(world.accepts("jdoe", &first).await && !world.accepts("jdoe", &first).await);
    // Half a minute later, as the browser sees it.
    let later = "const now = Date.now; Date.now = () => now() + 30000";
    world.page.execute(later, vec![]).await.unwrap();
    holds(&world.page, &format!("document.querySelector('.code').textContent !== '{first}'")).await;
    assert!(world.accepts("jdoe", &world.code().await).await);

    // What is asked appears by itself.
    for (button, granted) in [("Allow", true), ("Deny", false)] {
        let request = world.ask("jdoe", &[]).await;
        world.says("my site asks").await;
        for part in ["jdoe", "log in", "laptop", "Waits for"] {
            world.says(part).await;
        }
        screenshot(&world.page, &format!("phone-6-asks-{granted}")).await;
        world.press(button).await;
        world.says("Nothing waits for you").await;
        let decided = world.status(&request).await;
        assert_eq!((&decided["pending"], &decided["granted"]), (&json!(false), &json!(granted)));
    }
    // What is taken back goes away by itself.
    let request = world.ask("jdoe", &[]).await;
    world.says("my site asks").await;
    world.site.post(&format!("authentication_requests/{}/cancel", request["id"].as_str().unwrap()), &[]).await;
    world.says("Nothing waits for you").await;

    // The phone is the same after a reload.
    world.page.refresh().await.unwrap();
    world.connected().await;
    world.says("my site").await;
    assert!(world.text("#device").await.contains("My phone"));
    // And can be rid of.
    world.press("my sitejdoe").await;
    world.press("Remove").await;
    holds(&world.page, "document.getElementById('confirm').open").await;
    screenshot(&world.page, "phone-7-remove").await;
    world.press("Cancel").await;
    world.press("Remove").await;
    world.page.find(Locator::Id("confirm-yes")).await.unwrap().click().await.unwrap();
    world.says("No site is paired").await;
    let (_, pairing) = world.site.get(&format!("pairings/{}", pairing["id"].as_str().unwrap())).await;
    assert_eq!(pairing["deactivated"], true);
    world.clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn codes_without_a_network() {
    if !have_browser() {
        return;
    }
    let mut world = World::registered().await;
    world.pair("jdoe").await;
    world.says("Works without a network").await;
    world.listening.stop();
    world.says("Offline").await;
    world.page.refresh().await.unwrap();
    world.says("Offline").await;
    world.press("my sitejdoe").await;
    let offline = world.code().await;
    world.says("s left").await;
    screenshot(&world.page, "phone-offline").await;
    // What needs the server says so, and changes nothing.
    world.press("Remove").await;
    world.page.find(Locator::Id("confirm-yes")).await.unwrap().click().await.unwrap();
    world.says("out of reach").await;
    assert!(world.accepts("jdoe", &offline).await);
    // It finds the server again by itself.
    let app = world.server.router();
    world.listening = Listening::start(app, world.listening.address.port());
    world.connected().await;
    world.ask("jdoe", &[]).await;
    world.says("my site asks").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn automate_here() {
    if !have_browser() {
        return;
    }
    let world = World::registered().await;
    world.pair("jdoe").await;
    let browser = [("requester_specified_terminal_id", "a browser")];
    // By its name alone a terminal cannot be told apart, and one that wants to be confirmed twice is always asked.
    for more in [&[][..], &[browser[0], ("challenge_required", "true")]] {
        world.ask("jdoe", more).await;
        world.says("my site asks").await;
        holds(&world.page, "!document.querySelector('#requests [type=checkbox]')").await;
        world.press("Deny").await;
        world.says("Nothing waits").await;
    }
    world.ask("jdoe", &browser).await;
    let automate = world.page.wait().for_element(Locator::Css("#requests [type=checkbox]")).await.unwrap();
    automate.click().await.unwrap();
    screenshot(&world.page, "phone-automate").await;
    world.press("Allow").await;
    world.says("From now on without asking").await;
    world.says("Allowed: log in at my site as jdoe from laptop").await;
    screenshot(&world.page, "phone-rules").await;
    let automated = world.ask("jdoe", &browser).await;
    assert_eq!((&automated["granted"], &automated["automated"]), (&json!(true), &json!(true)));
    world.press("Ask again").await;
    holds(&world.page, "document.getElementById('rules-section').hidden").await;
    assert_eq!(world.ask("jdoe", &browser).await["pending"], true);
    world.says("my site asks").await;
    world.clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_wants_to_be_confirmed_twice() {
    if !have_browser() {
        return;
    }
    let world = World::registered().await;
    world.pair("jdoe").await;
    let request = world.ask("jdoe", &[("challenge_required", "true")]).await;
    world.press("Allow").await;
    holds(&world.page, "document.getElementById('confirm').open").await;
    screenshot(&world.page, "phone-confirm").await;
    world.press("Cancel").await;
    assert_eq!(world.status(&request).await["pending"], true);
    world.press("Allow").await;
    holds(&world.page, "document.getElementById('confirm').open").await;
    world.page.find(Locator::Id("confirm-yes")).await.unwrap().click().await.unwrap();
    world.says("Allowed: log in").await;
    assert_eq!(world.status(&request).await["granted"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_number_that_the_site_shows() {
    if !have_browser() {
        return;
    }
    let world = World::registered().await;
    world.pair("jdoe").await;
    let matched = [("number_matching", "true")];
    let request = world.ask("jdoe", &matched).await;
    let number = request["number"].as_str().unwrap();
    world.says("The number that you see").await;
    assert!(!world.page.source().await.unwrap().contains(&format!(">{number}<")));
    // None is no answer.
    world.press("Allow").await;
    world.says("Type the two digits first").await;
    screenshot(&world.page, "phone-number").await;
    assert_eq!(world.status(&request).await["pending"], true);
    world.type_into("input.number", number).await;
    // By the keyboard alone, which is then at the list again.
    let field = world.page.find(Locator::Css("input.number")).await.unwrap();
    field.send_keys("\u{e007}").await.unwrap();
    world.says("Allowed: log in").await;
    holds(&world.page, "document.activeElement.id === 'requests-title'").await;
    assert_eq!(world.status(&request).await["granted"], true);

    let request = world.ask("jdoe", &matched).await;
    world.type_into("input.number", if request["number"] == "99" { "10" } else { "99" }).await;
    world.press("Allow").await;
    world.says("The number was wrong.").await;
    screenshot(&world.page, "phone-number-wrong").await;
    let denied = world.status(&request).await;
    assert_eq!((&denied["granted"], &denied["reason"]), (&json!(false), &json!("The number was wrong.")));

    // Denying needs none.
    let request = world.ask("jdoe", &matched).await;
    world.press("Deny").await;
    world.says("Denied: log in").await;
    assert_eq!(world.status(&request).await["pending"], false);
    world.clean().await;
}

/// Whoever presses "Allow" as the list moves up has not read what stands there now.
#[tokio::test(flavor = "multi_thread")]
async fn a_finger_that_is_too_fast() {
    if !have_browser() {
        return;
    }
    let world = World::registered().await;
    world.pair("jdoe").await;
    let two = [world.ask("jdoe", &[]).await, world.ask("jdoe", &[("terminal_name", "another laptop")]).await];
    let granted = async || {
        let [first, second] = [world.status(&two[0]).await, world.status(&two[1]).await];
        [first, second].iter().filter(|request| request["granted"] == true).count()
    };
    holds(&world.page, "document.querySelectorAll('#requests .main:not([aria-disabled])').length === 2").await;
    let twice = "(async (done) => {
        const list = document.getElementById('requests');
        const moved = new Promise((resolve) => new MutationObserver(resolve).observe(list, { childList: true }));
        const allow = () => list.querySelector('.main').click();
        allow();
        await moved;
        allow();
        setTimeout(() => done(list.childElementCount), 300);
    })(arguments[0])";
    assert_eq!(world.page.execute_async(twice, vec![]).await.unwrap(), 1);
    assert_eq!(granted().await, 1);
    // Once it can have been read, it is allowed like any other.
    world.press("Allow").await;
    world.says("Nothing waits for you").await;
    assert_eq!(granted().await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_of_a_qr_code() {
    if !have_browser() || !have(&["rsvg-convert", "zbarimg"]) {
        return;
    }
    let world = World::new().await;
    let link = async || {
        let (_, pairing) = world.site.post("pairings/create/qr", &[("user_name", "jdoe")]).await;
        let path = format!("qr/pairings/{}", pairing["id"].as_str().unwrap());
        let request = world.site.signed("GET", &path, &[]);
        let image = tower::ServiceExt::oneshot(world.site.app.clone(), request).await.unwrap().into_body();
        let image = http_body_util::BodyExt::collect(image).await.unwrap().to_bytes();
        let folder = common::process::scratch("claim");
        let file = |name: &str| folder.join(name).to_str().unwrap().to_owned();
        std::fs::write(file("qr.svg"), image).unwrap();
        output("rsvg-convert", &["-w", "600", "-b", "white", "-o", &file("qr.png"), &file("qr.svg")]);
        let link = output("zbarimg", &["-q", "--raw", &file("qr.png")]);
        link.strip_prefix("https://mfa.example.test/phone").unwrap().to_owned()
    };
    let fragment = link().await;
    assert!(fragment.starts_with("#claim="));
    // Opened by a phone that is not registered yet.
    world.page.goto(&format!("{}{fragment}", world.url)).await.unwrap();
    holds(&world.page, "!document.getElementById('register').hidden").await;
    holds(&world.page, "location.hash === '' && history.length <= 2").await;
    world.register().await;
    world.says("Pair with my site?").await;
    world.press("Allow").await;
    world.says("Paired with my site").await;
    // A second time it is none; and another one, with the page open, is taken at once.
    world.page.execute(&format!("location.hash = {fragment:?}"), vec![]).await.unwrap();
    world.says("The link does not work any more").await;
    let fragment = link().await;
    world.page.execute(&format!("location.hash = {fragment:?}"), vec![]).await.unwrap();
    world.says("Pair with my site?").await;
    holds(&world.page, "location.hash === ''").await;
    world.press("Deny").await;
    world.says("Not paired with my site").await;
    world.clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_strangers_are_text() {
    if !have_browser() {
        return;
    }
    let world = World::registered().await;
    let markup = "<img src=x onerror=\"document.title='hacked'\"><script>document.title='hacked'</script>";
    world.pair(markup).await;
    let long = format!("long {}", "W".repeat(480));
    let request =
        world.ask(markup, &[("action_name", "\u{202e}ni gol\u{2066}\n\u{200b}"), ("terminal_name", &long)]).await;
    world.says("my site asks").await;
    assert_eq!(world.text("#requests dl div:nth-child(1) dd").await, markup);
    // What turns the direction of writing stands out.
    assert!(world.text("#requests dl div:nth-child(2) dd").await.starts_with("\u{fffd}ni gol\u{fffd}\u{fffd}\u{fffd}"));
    let still = "document.title === 'Second factor' && !document.querySelector('main img, main script')";
    holds(&world.page, still).await;
    // However long it is, the buttons are where they can be seen, and nothing is wider than the page.
    world
        .browser
        .devtools(
            &world.page,
            "Emulation.setDeviceMetricsOverride",
            json!({ "width": 320, "height": 900, "deviceScaleFactor": 2, "mobile": true }),
        )
        .await;
    holds(&world.page, "document.documentElement.scrollWidth <= 320").await;
    holds(&world.page, "document.querySelector('#requests .main').getBoundingClientRect().bottom < innerHeight").await;
    screenshot(&world.page, "phone-hostile-320").await;
    world.press("Allow").await;
    world.says("Allowed:").await;
    assert_eq!(world.status(&request).await["granted"], true);
    holds(&world.page, still).await;
    world.clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_tabs_are_one_phone() {
    if !have_browser() {
        return;
    }
    let world = World::new().await;
    world.page.goto(&world.url).await.unwrap();
    let first = world.page.window().await.unwrap();
    let second = world.page.new_window(true).await.unwrap().handle;
    world.page.switch_to_window(second.clone()).await.unwrap();
    world.page.goto(&world.url).await.unwrap();
    world.register().await;
    world.page.switch_to_window(first.clone()).await.unwrap();
    holds(&world.page, "document.getElementById('register').hidden").await;
    world.pair("jdoe").await;
    let request = world.ask("jdoe", &[]).await;
    world.says("my site asks").await;
    // Both know the pairing, the request, and what became of it.
    world.page.switch_to_window(second).await.unwrap();
    world.says("my site asks").await;
    world.press("Allow").await;
    world.says("Nothing waits").await;
    world.press("my sitejdoe").await;
    assert!(world.accepts("jdoe", &world.code().await).await);
    world.page.switch_to_window(first).await.unwrap();
    world.says("Nothing waits").await;
    assert_eq!(world.status(&request).await["granted"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_that_the_server_does_not_know_any_more() {
    if !have_browser() {
        return;
    }
    let mut world = World::registered().await;
    world.pair("jdoe").await;
    world.listening.stop();
    // Another server, which has never heard of it.
    let other = Server::in_memory("https://mfa.example.test").await.unwrap();
    let port = world.listening.address.port();
    world.listening = Listening::start(other.router(), port);
    world.says("does not know this phone any more").await;
    world.press("my sitejdoe").await;
    let code = world.code().await;
    screenshot(&world.page, "phone-unknown").await;
    assert!(world.accepts("jdoe", &code).await);
    // It can begin again, and keeps its codes.
    world.press("Start anew").await;
    world.register().await;
    holds(&world.page, "document.querySelector('[data-key$=ended]')").await;
    world.press("my sitejdoe").await;
    world.says("knows no such pairing of this phone").await;
    assert!(world.code().await.len() == 6);
    screenshot(&world.page, "phone-ended").await;
    world.press("Remove").await;
    world.page.find(Locator::Id("confirm-yes")).await.unwrap().click().await.unwrap();
    world.says("No site is paired").await;
    world.page.refresh().await.unwrap();
    world.connected().await;
    world.says("No site is paired").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_wrong() {
    if !have_browser() {
        return;
    }
    let world = World::registered().await;
    world.pair("jdoe").await;
    holds(&world.page, "document.getElementById('skew').hidden").await;
    world.page.execute("const now = Date.now; Date.now = () => now() + 600000", vec![]).await.unwrap();
    let request = world.ask("jdoe", &[]).await;
    // How long it waits is the server's to say.
    world.says("my site asks").await;
    world.says("Waits for 1:").await;
    world.says("s ahead of the server's, so codes may not be accepted").await;
    world.press("Allow").await;
    world.says("Allowed: log in").await;
    assert_eq!(world.status(&request).await["granted"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_that_cannot_keep_the_key() {
    if !have_browser() {
        return;
    }
    let world = World::registered().await;
    let phrase = world.phrase().await;
    let (_, pairing) = world.site.post("pairings/create", &[("user_name", "jdoe"), ("pairing_phrase", &phrase)]).await;
    let path = format!("pairings/{}", pairing["id"].as_str().unwrap());
    world.says("Pair with my site?").await;
    let full = "window.put ??= IDBObjectStore.prototype.put; IDBObjectStore.prototype.put = function (value) {
        if (FULL) { throw new DOMException('no room', 'QuotaExceededError'); } return put.call(this, value); }";
    // Known before, nothing is allowed.
    world.page.execute(&full.replace("FULL", "true"), vec![]).await.unwrap();
    world.press("Allow").await;
    world.says("nothing was allowed").await;
    assert_eq!(world.site.get(&path).await.1["pending"], true);
    // Known after, what to do is said.
    world.page.execute(&full.replace("FULL", "value.id"), vec![]).await.unwrap();
    world.press("Allow").await;
    world.says("could not keep the key of its codes").await;
    assert_eq!(world.site.get(&path).await.1["enabled"], true);
    world.press("my sitejdoe").await;
    world.says("can show no codes").await;
    screenshot(&world.page, "phone-no-key").await;
    // It still answers.
    let request = world.ask("jdoe", &[]).await;
    world.press("Allow").await;
    world.says("Allowed: log in").await;
    assert_eq!(world.status(&request).await["granted"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn under_a_path() {
    if !have_browser() {
        return;
    }
    let mut world = World::at("/mfa").await;
    // With a slash too many it finds its files as well.
    world.page.goto(&format!("{}/", world.url)).await.unwrap();
    holds(&world.page, &format!("location.href === {:?}", world.url)).await;
    world.register().await;
    world.pair("jdoe").await;
    world.says("Works without a network").await;
    let manifest = world.browser.devtools(&world.page, "Page.getAppManifest", json!({})).await;
    assert_eq!(manifest["errors"], json!([]), "{manifest}");
    assert_eq!(manifest["manifest"]["startUrl"], world.url.as_str(), "{manifest}");
    let errors = world.browser.devtools(&world.page, "Page.getInstallabilityErrors", json!({})).await;
    assert_eq!(errors["installabilityErrors"], json!([]));
    let scope = "(await navigator.serviceWorker.ready).scope";
    let scope = world.page.execute_async(&format!("(async (done) => done({scope}))(arguments[0])"), vec![]).await;
    assert_eq!(scope.unwrap(), world.url.as_str());
    world.listening.stop();
    world.page.refresh().await.unwrap();
    world.press("my sitejdoe").await;
    assert!(world.accepts("jdoe", &world.code().await).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_page_is_not_allowed() {
    if !have_browser() {
        return;
    }
    let world = World::registered().await;
    let hurt = async |script: &str| {
        let _ = world.page.execute(script, vec![]).await;
        holds(&world.page, "true").await;
        let console = world.browser.log(&world.page).await.join("\n");
        assert!(
            console.contains("Content Security Policy") || console.contains("requires 'Trusted"),
            "{script}: {console}"
        );
    };
    hurt("const s = document.createElement('script'); s.text = 'document.title = 1'; document.body.append(s)").await;
    hurt("try { document.body.innerHTML = '<b>x</b>' } catch (error) { console.error(error.message) }").await;
    hurt("document.body.setAttribute('style', 'color: red'); const s = document.createElement('style'); document.body.append(s)").await;
    hurt("document.body.append(Object.assign(new Image(), { src: 'http://elsewhere.test/x.png' }))").await;
    holds(&world.page, "document.title === 'Second factor'").await;
    // The key is used, and not given away.
    world.pair("jdoe").await;
    let export = "(async (done) => {
        const open = indexedDB.open('toopher-phone /phone/');
        const database = await new Promise((resolve) => { open.onsuccess = () => resolve(open.result); });
        const all = database.transaction('keys').objectStore('keys').getAll();
        const [entry] = await new Promise((resolve) => { all.onsuccess = () => resolve(all.result); });
        crypto.subtle.exportKey('raw', entry.key).then(() => done('exported'), (error) => done(error.name));
    })(arguments[0])";
    assert_eq!(world.page.execute_async(export, vec![]).await.unwrap(), "InvalidAccessError");
    // Nothing of the server's answers is in the caches, and no cookie was set.
    let kept = "(async (done) => {
        const urls = [];
        for (const name of await caches.keys()) {
            urls.push(...(await (await caches.open(name)).keys()).map(({ url }) => url));
        }
        done([urls.length > 10, urls.some((url) => url.includes('/v1/')), document.cookie]);
    })(arguments[0])";
    world.says("Works without a network").await;
    assert_eq!(world.page.execute_async(kept, vec![]).await.unwrap(), json!([true, false, ""]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_version_takes_over() {
    if !have_browser() {
        return;
    }
    let mut world = World::registered().await;
    world.pair("jdoe").await;
    world.says("Works without a network").await;
    let port = world.listening.address.port();
    let caches = "(async (done) => done((await caches.keys()).join()))(arguments[0])";
    let (_, worker) = common::toopher::text(&world.site.app, "/phone/sw.js").await;
    let old = worker.split_once("const VERSION = \"").unwrap().1.split_once('"').unwrap().0;
    assert_eq!(world.page.execute_async(caches, vec![]).await.unwrap(), format!("toopher-phone /phone {old}"));
    for (version, by_hand) in [("second", true), ("third", false)] {
        world.listening.stop();
        let newer = worker.replace(old, version);
        let newer =
            async move || ([("content-type", "text/javascript"), ("service-worker-allowed", "../phone")], newer);
        let app =
            Router::new().route("/phone/sw.js", axum::routing::get(newer)).fallback_service(world.server.router());
        world.listening = Listening::start(app, port);
        // Looked for by the browser, and offered; nothing is taken away from who is using the page.
        world.page.refresh().await.unwrap();
        world.says("There is a newer version").await;
        if by_hand {
            world.press("Use it").await;
        } else {
            world.page.refresh().await.unwrap();
        }
        holds(&world.page, "document.getElementById('update').hidden").await;
        world.connected().await;
        let kept = world.page.execute_async(caches, vec![]).await.unwrap();
        assert_eq!(kept, format!("toopher-phone /phone {version}"));
        world.press("my sitejdoe").await;
        world.code().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_it_cannot_work_it_says_why() {
    if !have_browser() {
        return;
    }
    let world = World::new().await;
    let insecure = format!("http://mfa.test:{}/phone", world.listening.address.port());
    world.page.goto(&insecure).await.unwrap();
    world.says("needs a secure connection").await;
    screenshot(&world.page, "phone-insecure").await;
    world.browser.devtools(&world.page, "Emulation.setScriptExecutionDisabled", json!({ "value": true })).await;
    world.page.goto(&world.url).await.unwrap();
    let shown = world.page.find(Locator::Css("noscript p")).await.unwrap().text().await.unwrap();
    assert!(shown.contains("needs JavaScript"), "{shown}");
    assert!(!world.page.find(Locator::Id("starting")).await.unwrap().is_displayed().await.unwrap());
    screenshot(&world.page, "phone-no-script").await;
}

/// For people to look at.
#[tokio::test(flavor = "multi_thread")]
async fn it_looks_well_in_the_dark_and_on_a_desk() {
    if !have_browser() {
        return;
    }
    let world = World::registered().await;
    world.pair("jane.doe@example.com").await;
    let browser = ("requester_specified_terminal_id", "a browser");
    world
        .ask("jane.doe@example.com", &[browser, ("number_matching", "true"), ("terminal_name", "Firefox on Linux")])
        .await;
    world.says("my site asks").await;
    world.press("my sitejane.doe@example.com").await;
    world.code().await;
    for (name, width, scheme) in [
        ("320-dark", 320, "dark"),
        ("320-light", 320, "light"),
        ("desk-light", 1280, "light"),
        ("desk-dark", 1280, "dark"),
    ] {
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        world.browser.devtools(&world.page, "Emulation.setEmulatedMedia", features).await;
        let size = json!({ "width": width, "height": 1400, "deviceScaleFactor": 1, "mobile": width < 500 });
        world.browser.devtools(&world.page, "Emulation.setDeviceMetricsOverride", size).await;
        holds(&world.page, &format!("innerWidth === {width} && document.documentElement.scrollWidth <= {width}")).await;
        screenshot(&world.page, &format!("phone-{name}")).await;
    }
    // The QR code can be scanned in the dark, too.
    world.browser.devtools(&world.page, "Emulation.clearDeviceMetricsOverride", json!({})).await;
    let phrase = world.phrase().await;
    let qr = world.page.find(Locator::Id("qr")).await.unwrap().screenshot().await.unwrap();
    if have(&["zbarimg"]) {
        assert_eq!(output("zbarimg", &["-q", "--raw", keep("phone-qr-dark", &qr).to_str().unwrap()]), phrase);
    }
    screenshot(&world.page, "phone-phrase-dark").await;
}
