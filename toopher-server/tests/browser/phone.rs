//! The phone's page in a real browser: what a user sees and does, with and without a network.

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use fantoccini::{Client, Locator};
use serde_json::{Value, json};
use test_support::browser::{self, Browser, have_browser, holds, keep};
use test_support::{have, output};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use toopher_server::Server;
use toopher_server_test_support::Clock;
use toopher_server_test_support::site::Site;

use super::accessibility::checked_screenshot as screenshot;

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A server on a runtime of its own. All connections close with the runtime.
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
            // Waits until the port is free. A runtime cannot be dropped within another one.
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
    /// Of the site, and of the server if the test controls its time.
    clock: Clock,
    server: Server,
    listening: Listening,
    browser: Browser,
    page: Client,
    url: String,
}

impl World {
    async fn new() -> Self {
        Self::under("").await
    }

    /// With the router mounted under this path.
    async fn under(path: &str) -> Self {
        Self::with(path, false).await
    }

    /// With a server whose time the test controls, and a registered phone.
    async fn with_clock() -> Self {
        let world = Self::with("", true).await;
        world.page.goto(&world.url).await.unwrap();
        world.register().await;
        world
    }

    async fn with(path: &str, controlled: bool) -> Self {
        let server = Server::in_memory("https://mfa.example.test").await.unwrap();
        let clock = Clock::from_secs(now());
        let server = if controlled { server.clock(&clock) } else { server };
        let site = Site::new(&server, &clock).await;
        let listening = Listening::start(mounted(&server, path), 0);
        let browser = Browser::start().await;
        let page = browser.window_with(&["--window-size=420,900"], json!({})).await;
        let url = format!("http://{}{path}/phone", listening.address);
        Self { site, clock, server, listening, browser, page, url }
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

    /// Presses the first visible button with this label, once it is enabled.
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

    /// Waits until the page contains this text.
    async fn shows(&self, text: &str) {
        holds(&self.page, &format!("document.body.innerText.includes({text:?})")).await;
    }

    async fn phrase(&self) -> String {
        let label = self.text("#new-phrase").await;
        self.press(&label).await;
        holds(&self.page, "document.getElementById('words').textContent").await;
        self.text("#words").await
    }

    /// Pairs the page's phone with this user, and returns the pairing.
    async fn pair(&self, user: &str) -> String {
        let phrase = self.phrase().await;
        let (status, pairing) =
            self.site.post("pairings/create", &[("user_name", user), ("pairing_phrase", &phrase)]).await;
        assert_eq!(status, 200);
        self.shows("Pair with").await;
        self.press("Allow").await;
        self.shows("Paired with").await;
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

    /// The code on the page.
    async fn code(&self) -> String {
        holds(&self.page, "document.querySelector('.code')?.textContent").await;
        self.text(".code").await
    }

    /// Whether the server accepts a code.
    async fn accepts(&self, user: &str, code: &str) -> bool {
        self.ask(user, &[("otp", code)]).await["granted"] == true
    }

    /// Asserts that the request is shown without a scroll box, in front of its buttons.
    async fn is_complete(&self) {
        let complete = "[...document.querySelectorAll('#requests form')].every((form) => {
            const end = form.querySelector('.buttons').getBoundingClientRect().top;
            return [...form.querySelectorAll('.name')].every((name) => {
                for (let box = name; box !== document.body; box = box.parentElement) {
                    const { overflowX, overflowY, maxHeight } = getComputedStyle(box);
                    if (overflowX !== 'visible' || overflowY !== 'visible' || maxHeight !== 'none') return false;
                }
                return name.getBoundingClientRect().bottom <= end;
            });
        })";
        holds(&self.page, complete).await;
    }

    /// Asserts that no policy was violated, and that no script failed.
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
async fn from_the_registration_to_a_login() {
    if !have_browser() || !have(&["zbarimg"]) {
        return;
    }
    let world = World::new().await;
    world.page.goto(&world.url).await.unwrap();
    holds(&world.page, "!document.getElementById('register').hidden").await;
    screenshot(&world.page, "phone-1-first").await;
    // A phone needs a name.
    world.press("Continue").await;
    world.shows("Give this phone a name").await;
    world.register().await;
    screenshot(&world.page, "phone-2-registered").await;

    let phrase = world.phrase().await;
    assert_eq!(phrase.split(' ').count(), 4);
    world.shows("Valid for").await;
    screenshot(&world.page, "phone-3-phrase").await;
    let qr = world.page.find(Locator::Id("qr")).await.unwrap().screenshot().await.unwrap();
    let qr = keep("phone-qr", &qr);
    assert_eq!(output("zbarimg", &["-q", "--raw", qr.to_str().unwrap()]), phrase);

    let (status, pairing) =
        world.site.post("pairings/create", &[("user_name", "jdoe"), ("pairing_phrase", &phrase)]).await;
    assert_eq!((status, &pairing["pending"]), (200, &json!(true)));
    world.shows("Pair with my site?").await;
    // The phrase is used up.
    holds(&world.page, "document.getElementById('phrase').hidden").await;
    screenshot(&world.page, "phone-4-asks-to-pair").await;
    world.press("Allow").await;
    world.shows("Paired with my site").await;
    let (_, pairing) = world.site.get(&format!("pairings/{}", pairing["id"].as_str().unwrap())).await;
    assert_eq!(pairing["enabled"], true);

    world.press("my sitejdoe").await;
    let first = world.code().await;
    world.shows("s left").await;
    screenshot(&world.page, "phone-5-code").await;
    assert!(world.accepts("jdoe", &first).await && !world.accepts("jdoe", &first).await);
    // Half a minute later, by the clock of the browser.
    let later = "const now = Date.now; Date.now = () => now() + 30000";
    world.page.execute(later, vec![]).await.unwrap();
    holds(&world.page, &format!("document.querySelector('.code').textContent !== '{first}'")).await;
    assert!(world.accepts("jdoe", &world.code().await).await);

    // A request appears without a reload.
    for (button, granted) in [("Allow", true), ("Deny", false)] {
        let request = world.ask("jdoe", &[]).await;
        world.shows("my site asks").await;
        for part in ["jdoe", "log in", "laptop", "Expires in"] {
            world.shows(part).await;
        }
        screenshot(&world.page, &format!("phone-6-asks-{granted}")).await;
        world.press(button).await;
        world.shows("No pending requests").await;
        let decided = world.status(&request).await;
        assert_eq!((&decided["pending"], &decided["granted"]), (&json!(false), &json!(granted)));
    }
    // A cancelled request disappears without a reload.
    let request = world.ask("jdoe", &[]).await;
    world.shows("my site asks").await;
    world.site.post(&format!("authentication_requests/{}/cancel", request["id"].as_str().unwrap()), &[]).await;
    world.shows("No pending requests").await;

    // The phone is the same after a reload.
    world.page.refresh().await.unwrap();
    world.connected().await;
    world.shows("my site").await;
    assert!(world.text("#device").await.contains("My phone"));
    // A pairing can be removed.
    world.press("my sitejdoe").await;
    world.press("Remove").await;
    holds(&world.page, "document.getElementById('confirm').open").await;
    screenshot(&world.page, "phone-7-remove").await;
    world.press("Cancel").await;
    world.press("Remove").await;
    world.page.find(Locator::Id("confirm-yes")).await.unwrap().click().await.unwrap();
    world.shows("No site is paired").await;
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
    world.shows("Works without a network").await;
    world.listening.stop();
    world.shows("Offline").await;
    world.page.refresh().await.unwrap();
    world.shows("Offline").await;
    world.press("my sitejdoe").await;
    let offline = world.code().await;
    world.shows("s left").await;
    screenshot(&world.page, "phone-offline").await;
    // Actions that need the server report it, and change nothing.
    world.press("Remove").await;
    world.page.find(Locator::Id("confirm-yes")).await.unwrap().click().await.unwrap();
    world.shows("cannot be reached").await;
    assert!(world.accepts("jdoe", &offline).await);
    // The page reconnects without a reload.
    let app = world.server.router();
    world.listening = Listening::start(app, world.listening.address.port());
    world.connected().await;
    world.ask("jdoe", &[]).await;
    world.shows("my site asks").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rules() {
    if !have_browser() {
        return;
    }
    let world = World::registered().await;
    world.pair("jdoe").await;
    let browser = [("requester_specified_terminal_id", "a browser")];
    // A terminal without a discriminator cannot be automated, nor can a request with a second confirmation.
    for more in [&[][..], &[browser[0], ("challenge_required", "true")]] {
        world.ask("jdoe", more).await;
        world.shows("my site asks").await;
        holds(&world.page, "!document.querySelector('#requests [type=checkbox]')").await;
        world.press("Deny").await;
        world.shows("No pending requests").await;
    }
    world.ask("jdoe", &browser).await;
    let automate = world.page.wait().for_element(Locator::Css("#requests [type=checkbox]")).await.unwrap();
    automate.click().await.unwrap();
    screenshot(&world.page, "phone-automate").await;
    world.press("Allow").await;
    world.shows("Further requests are answered in the same way").await;
    world.shows("Allowed: log in at my site as jdoe from laptop").await;
    screenshot(&world.page, "phone-rules").await;
    let automated = world.ask("jdoe", &browser).await;
    assert_eq!((&automated["granted"], &automated["automated"]), (&json!(true), &json!(true)));
    world.press("Ask again").await;
    holds(&world.page, "document.getElementById('rules-section').hidden").await;
    assert_eq!(world.ask("jdoe", &browser).await["pending"], true);
    world.shows("my site asks").await;
    world.clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_with_a_second_confirmation() {
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
    world.shows("Allowed: log in").await;
    assert_eq!(world.status(&request).await["granted"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn number_matching() {
    if !have_browser() {
        return;
    }
    let world = World::registered().await;
    world.pair("jdoe").await;
    let matched = [("number_matching", "true")];
    let request = world.ask("jdoe", &matched).await;
    let number = request["number"].as_str().unwrap();
    world.shows("The number that the site shows").await;
    assert!(!world.page.source().await.unwrap().contains(&format!(">{number}<")));
    // A missing number is not sent.
    world.press("Allow").await;
    world.shows("Type the two digits first").await;
    screenshot(&world.page, "phone-number").await;
    assert_eq!(world.status(&request).await["pending"], true);
    world.type_into("input.number", number).await;
    // With the keyboard alone. The focus returns to the list.
    let field = world.page.find(Locator::Css("input.number")).await.unwrap();
    field.send_keys("\u{e007}").await.unwrap();
    world.shows("Allowed: log in").await;
    holds(&world.page, "document.activeElement.id === 'requests-title'").await;
    assert_eq!(world.status(&request).await["granted"], true);

    let request = world.ask("jdoe", &matched).await;
    world.type_into("input.number", if request["number"] == "99" { "10" } else { "99" }).await;
    world.press("Allow").await;
    world.shows("The number was wrong.").await;
    screenshot(&world.page, "phone-number-wrong").await;
    let denied = world.status(&request).await;
    assert_eq!((&denied["granted"], &denied["reason"]), (&json!(false), &json!("The number was wrong.")));

    // Denying needs no number.
    let request = world.ask("jdoe", &matched).await;
    world.press("Deny").await;
    world.shows("Denied: log in").await;
    assert_eq!(world.status(&request).await["pending"], false);
    world.clean().await;
}

/// A user who presses "Allow" while the list moves has not read the request that is there now.
#[tokio::test(flavor = "multi_thread")]
async fn allow_is_disabled_after_a_change_of_the_list() {
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
    // After a moment it can be allowed.
    world.press("Allow").await;
    world.shows("No pending requests").await;
    assert_eq!(granted().await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn links_of_qr_codes() {
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
        let folder = test_support::process::scratch("claim");
        let file = |name: &str| folder.join(name).to_str().unwrap().to_owned();
        std::fs::write(file("qr.svg"), image).unwrap();
        output("rsvg-convert", &["-w", "600", "-b", "white", "-o", &file("qr.png"), &file("qr.svg")]);
        let link = output("zbarimg", &["-q", "--raw", &file("qr.png")]);
        // The site shows it as a link, too.
        assert_eq!(pairing["link"], link.as_str());
        link.strip_prefix("https://mfa.example.test/phone").unwrap().to_owned()
    };
    let fragment = link().await;
    assert!(fragment.starts_with("#claim="));
    // Opened by a phone that is not registered yet.
    world.page.goto(&format!("{}{fragment}", world.url)).await.unwrap();
    holds(&world.page, "!document.getElementById('register').hidden").await;
    holds(&world.page, "location.hash === '' && history.length <= 2").await;
    world.register().await;
    world.shows("Pair with my site?").await;
    world.press("Allow").await;
    world.shows("Paired with my site").await;
    // The second time the link is not valid. Another link is used at once while the page is open.
    world.page.execute(&format!("location.hash = {fragment:?}"), vec![]).await.unwrap();
    world.shows("The link is no longer valid").await;
    let fragment = link().await;
    world.page.execute(&format!("location.hash = {fragment:?}"), vec![]).await.unwrap();
    world.shows("Pair with my site?").await;
    holds(&world.page, "location.hash === ''").await;
    world.press("Deny").await;
    world.shows("Not paired with my site").await;
    // A link that the site shows on the same device is pasted. Other text is not sent.
    for text in ["", "four words of it", "https://mfa.example.test/phone#claim="] {
        world.type_into("#link", text).await;
        world.press("Use the link").await;
        world.shows("This is not the link of a pairing").await;
    }
    let pasted = format!("https://mfa.example.test/phone{}", link().await);
    world.type_into("#link", &pasted).await;
    world.press("Use the link").await;
    world.shows("Pair with my site?").await;
    holds(&world.page, "document.getElementById('link').value === ''").await;
    holds(&world.page, "document.getElementById('link-error').textContent === ''").await;
    screenshot(&world.page, "phone-pasted-link").await;
    world.press("Allow").await;
    world.shows("Paired with my site").await;
    world.clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn untrusted_names_are_text() {
    if !have_browser() {
        return;
    }
    let world = World::registered().await;
    let markup = "<img src=x onerror=\"document.title='hacked'\"><script>document.title='hacked'</script>";
    world.pair(markup).await;
    let long = format!("long {}", "W".repeat(480));
    let action =
        "\u{202e}ni gol\u{2066}\n\u{200b}\u{ad}\u{34f}\u{2800}\u{3164}\u{ffa0}\u{e0041}\u{fe0f}\u{a0}\u{e000}  x ";
    let request = world.ask(markup, &[("action_name", action), ("terminal_name", &long)]).await;
    world.shows("my site asks").await;
    assert_eq!(world.text("#requests dl div:not(.what) dd").await, markup);
    // Invisible characters and unusual blanks are visible.
    let shown = format!("\u{fffd}ni gol{} \u{2423}x\u{2423}", "\u{fffd}".repeat(12));
    assert_eq!(world.text("#requests .what dd").await, shown);
    let still = "document.title === 'Second factor' && !document.querySelector('main img, main script')";
    holds(&world.page, still).await;
    // However long the names are, all of them is visible in front of the buttons, and nothing is wider than the page.
    world
        .browser
        .devtools(
            &world.page,
            "Emulation.setDeviceMetricsOverride",
            json!({ "width": 320, "height": 900, "deviceScaleFactor": 2, "mobile": true }),
        )
        .await;
    holds(&world.page, "document.documentElement.scrollWidth <= 320").await;
    world.is_complete().await;
    screenshot(&world.page, "phone-hostile-320").await;
    world.press("Allow").await;
    world.shows("Allowed:").await;
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
    world.shows("my site asks").await;
    // Both tabs show the pairing, the request, and its outcome.
    world.page.switch_to_window(second).await.unwrap();
    world.shows("my site asks").await;
    world.press("Allow").await;
    world.shows("No pending requests").await;
    world.press("my sitejdoe").await;
    assert!(world.accepts("jdoe", &world.code().await).await);
    world.page.switch_to_window(first).await.unwrap();
    world.shows("No pending requests").await;
    assert_eq!(world.status(&request).await["granted"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_that_the_server_no_longer_knows() {
    if !have_browser() {
        return;
    }
    let mut world = World::registered().await;
    world.pair("jdoe").await;
    world.listening.stop();
    // Another server, which does not know the phone.
    let other = Server::in_memory("https://mfa.example.test").await.unwrap();
    let port = world.listening.address.port();
    world.listening = Listening::start(other.router(), port);
    world.shows("no longer knows this phone").await;
    world.press("my sitejdoe").await;
    let code = world.code().await;
    screenshot(&world.page, "phone-unknown").await;
    assert!(world.accepts("jdoe", &code).await);
    // The phone can be registered again, and keeps its codes.
    world.press("Register again").await;
    world.register().await;
    holds(&world.page, "document.querySelector('[data-key$=ended]')").await;
    world.press("my sitejdoe").await;
    world.shows("has no such pairing of this phone").await;
    assert_eq!(world.code().await.replace(' ', "").len(), 6);
    screenshot(&world.page, "phone-ended").await;
    world.press("Remove").await;
    world.page.find(Locator::Id("confirm-yes")).await.unwrap().click().await.unwrap();
    world.shows("No site is paired").await;
    world.page.refresh().await.unwrap();
    world.connected().await;
    world.shows("No site is paired").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_clock() {
    if !have_browser() {
        return;
    }
    let world = World::registered().await;
    world.pair("jdoe").await;
    holds(&world.page, "document.getElementById('skew').hidden").await;
    world.page.execute("const now = Date.now; Date.now = () => now() + 600000", vec![]).await.unwrap();
    let request = world.ask("jdoe", &[]).await;
    // The remaining time is computed from the server's clock.
    world.shows("my site asks").await;
    world.shows("Expires in 1:").await;
    world.shows("about 10 min ahead of the server's. The codes are computed with the server's time").await;
    world.press("Allow").await;
    world.shows("Allowed: log in").await;
    assert_eq!(world.status(&request).await["granted"], true);
    world.press("my sitejdoe").await;
    screenshot(&world.page, "phone-wrong-clock").await;
    assert!(world.accepts("jdoe", &world.code().await).await);
}

/// The page knows the difference of the clocks when it is opened without a network.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_clock_without_a_network() {
    if !have_browser() {
        return;
    }
    let mut world = World::registered().await;
    world.pair("jdoe").await;
    world.shows("Works without a network").await;
    let wrong = "const now = Date.now; Date.now = () => now() - 3600000;";
    world.browser.devtools(&world.page, "Page.addScriptToEvaluateOnNewDocument", json!({ "source": wrong })).await;
    world.page.refresh().await.unwrap();
    world.connected().await;
    world.shows("about 60 min behind the server's").await;
    world.listening.stop();
    world.shows("Offline").await;
    world.page.refresh().await.unwrap();
    world.shows("Offline").await;
    world.shows("about 60 min behind the server's").await;
    world.press("my sitejdoe").await;
    assert!(world.accepts("jdoe", &world.code().await).await);
}

/// The recipient and the amount are visible without scrolling in a box, also on a small screen.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_shown_completely() {
    if !have_browser() {
        return;
    }
    let world = World::registered().await;
    world.pair("jdoe").await;
    let action = "Transfer 1,234,567.89 EUR from the current account of the household, number DE00 1234 5678 9012 \
                  3456 00, to Mallory & Sons Ltd., number GB00 9876 5432 1098 7654 00, on 12 May, as \"rent\"";
    world.ask("jdoe", &[("action_name", action)]).await;
    let size = json!({ "width": 360, "height": 640, "deviceScaleFactor": 2, "mobile": true });
    world.browser.devtools(&world.page, "Emulation.setDeviceMetricsOverride", size).await;
    world.shows("Mallory & Sons Ltd., number GB00 9876 5432 1098 7654 00").await;
    world.is_complete().await;
    holds(&world.page, "document.documentElement.scrollWidth <= 360").await;
    screenshot(&world.page, "phone-complete-360").await;
}

/// One call of a phone reads everything, so that it is one line of the log.
#[tokio::test(flavor = "multi_thread")]
async fn one_call_reads_everything() {
    if !have_browser() {
        return;
    }
    let world = World::registered().await;
    world.pair("jdoe").await;
    world.page.execute("performance.clearResourceTimings()", vec![]).await.unwrap();
    world.ask("jdoe", &[]).await;
    world.shows("my site asks").await;
    let calls = "performance.getEntriesByType('resource').map(({ name }) => name.split('/v1/')[1])";
    holds(&world.page, &format!("{calls}.every((call) => call === 'overview')")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_request_is_first_and_withdrawn_ones_disappear() {
    if !have_browser() {
        return;
    }
    let world = World::with_clock().await;
    world.pair("jdoe").await;
    let old = world.ask("jdoe", &[("action_name", "the first")]).await;
    world.clock.advance(1);
    world.ask("jdoe", &[("action_name", "the second")]).await;
    holds(&world.page, "document.querySelectorAll('#requests form').length === 2").await;
    assert_eq!(world.text("#requests .what dd").await, "the second");
    world.site.post(&format!("authentication_requests/{}/cancel", old["id"].as_str().unwrap()), &[]).await;
    world.shows("Withdrawn by the site, or answered elsewhere: the first at my site.").await;
    holds(&world.page, "document.querySelectorAll('#requests form').length === 1").await;
    // So are the requests of a user whom the site disables.
    let user = format!("users/{}", old["user"]["id"].as_str().unwrap());
    world.site.post(&user, &[("disable_toopher_auth", "true")]).await;
    world.shows("No pending requests").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_end_with_their_cause() {
    if !have_browser() {
        return;
    }
    let mut world = World::registered().await;
    world.pair("jdoe").await;
    world.shows("No pending requests").await;
    world.listening.stop();
    world.shows("does not know whether a request is pending").await;
    holds(&world.page, "!document.body.innerText.includes('No pending requests')").await;
    world.press("Show the words").await;
    world.shows("The server cannot be reached").await;
    screenshot(&world.page, "phone-offline-problem").await;
    world.listening = Listening::start(world.server.router(), world.listening.address.port());
    world.connected().await;
    world.shows("No pending requests").await;
    holds(&world.page, "document.getElementById('problem').textContent === ''").await;
    // A number that is not complete is not sent, and the message ends when the user types.
    world.ask("jdoe", &[("number_matching", "true")]).await;
    world.press("Allow").await;
    world.shows("Type the two digits first").await;
    world.type_into("input.number", "1").await;
    holds(&world.page, "!document.body.innerText.includes('Type the two digits first')").await;
    holds(&world.page, "!document.querySelector('[aria-invalid]')").await;
}

/// Words and pairings that expire say so, and are not offered any longer.
#[tokio::test(flavor = "multi_thread")]
async fn time_limits_of_pairings() {
    if !have_browser() {
        return;
    }
    let world = World::with_clock().await;
    world.phrase().await;
    world.page.execute("const now = Date.now; Date.now = () => now() + 301000", vec![]).await.unwrap();
    world.shows("The words have expired").await;
    holds(&world.page, "document.getElementById('phrase').hidden").await;
    let phrase = world.phrase().await;
    world.shows("Then show other words").await;
    let (_, pairing) = world.site.post("pairings/create", &[("user_name", "jdoe"), ("pairing_phrase", &phrase)]).await;
    assert_eq!(pairing["pending"], true);
    world.shows("Pair with my site?").await;
    world.shows("Then start again at the site").await;
    screenshot(&world.page, "phone-pairing-time").await;
    // The server rejects it by its clock, and the page says why.
    world.clock.advance(600);
    world.press("Allow").await;
    world.shows("This pairing is no longer pending").await;
    holds(&world.page, "document.querySelectorAll('#pending-pairings li').length === 0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_that_cannot_store_the_key() {
    if !have_browser() {
        return;
    }
    let world = World::registered().await;
    let phrase = world.phrase().await;
    let (_, pairing) = world.site.post("pairings/create", &[("user_name", "jdoe"), ("pairing_phrase", &phrase)]).await;
    let path = format!("pairings/{}", pairing["id"].as_str().unwrap());
    world.shows("Pair with my site?").await;
    let full = "window.put ??= IDBObjectStore.prototype.put; IDBObjectStore.prototype.put = function (value) {
        if (FULL) { throw new DOMException('no room', 'QuotaExceededError'); } return put.call(this, value); }";
    // If it is known before, nothing is allowed.
    world.page.execute(&full.replace("FULL", "true"), vec![]).await.unwrap();
    world.press("Allow").await;
    world.shows("the pairing was not allowed").await;
    assert_eq!(world.site.get(&path).await.1["pending"], true);
    // If it fails later, the page shows the remedy.
    world.page.execute(&full.replace("FULL", "value.id"), vec![]).await.unwrap();
    world.press("Allow").await;
    world.shows("could not store the key of its codes").await;
    assert_eq!(world.site.get(&path).await.1["enabled"], true);
    world.press("my sitejdoe").await;
    world.shows("cannot show codes").await;
    screenshot(&world.page, "phone-no-key").await;
    // The phone still answers requests.
    let request = world.ask("jdoe", &[]).await;
    world.press("Allow").await;
    world.shows("Allowed: log in").await;
    assert_eq!(world.status(&request).await["granted"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn under_a_path() {
    if !have_browser() {
        return;
    }
    let mut world = World::under("/mfa").await;
    // With an additional slash it still finds its files.
    world.page.goto(&format!("{}/", world.url)).await.unwrap();
    holds(&world.page, &format!("location.href === {:?}", world.url)).await;
    world.register().await;
    world.pair("jdoe").await;
    world.shows("Works without a network").await;
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
async fn the_policy_of_the_page() {
    if !have_browser() {
        return;
    }
    let world = World::registered().await;
    let assert_blocked = async |script: &str| {
        let _ = world.page.execute(script, vec![]).await;
        holds(&world.page, "true").await;
        let console = world.browser.log(&world.page).await.join("\n");
        assert!(
            console.contains("Content Security Policy") || console.contains("requires 'Trusted"),
            "{script}: {console}"
        );
    };
    assert_blocked(
        "const s = document.createElement('script'); s.text = 'document.title = 1'; document.body.append(s)",
    )
    .await;
    assert_blocked("try { document.body.innerHTML = '<b>x</b>' } catch (error) { console.error(error.message) }").await;
    assert_blocked(
        "document.body.setAttribute('style', 'color: red'); const s = document.createElement('style'); \
         document.body.append(s)",
    )
    .await;
    assert_blocked("document.body.append(Object.assign(new Image(), { src: 'http://elsewhere.test/x.png' }))").await;
    holds(&world.page, "document.title === 'Second factor'").await;
    // The key can be used, but not exported.
    world.pair("jdoe").await;
    let export = "(async (done) => {
        const open = indexedDB.open('toopher-phone /phone/');
        const database = await new Promise((resolve) => { open.onsuccess = () => resolve(open.result); });
        const all = database.transaction('keys').objectStore('keys').getAll();
        const [entry] = await new Promise((resolve) => { all.onsuccess = () => resolve(all.result); });
        crypto.subtle.exportKey('raw', entry.key).then(() => done('exported'), (error) => done(error.name));
    })(arguments[0])";
    assert_eq!(world.page.execute_async(export, vec![]).await.unwrap(), "InvalidAccessError");
    // No response of the API is in the caches, and no cookie is set.
    let kept = "(async (done) => {
        const urls = [];
        for (const name of await caches.keys()) {
            urls.push(...(await (await caches.open(name)).keys()).map(({ url }) => url));
        }
        done([urls.length > 10, urls.some((url) => url.includes('/v1/')), document.cookie]);
    })(arguments[0])";
    world.shows("Works without a network").await;
    assert_eq!(world.page.execute_async(kept, vec![]).await.unwrap(), json!([true, false, ""]));
}

#[tokio::test(flavor = "multi_thread")]
async fn updates() {
    if !have_browser() {
        return;
    }
    let mut world = World::registered().await;
    world.pair("jdoe").await;
    world.shows("Works without a network").await;
    let port = world.listening.address.port();
    let caches = "(async (done) => done((await caches.keys()).join()))(arguments[0])";
    let (_, worker) = toopher_server_test_support::site::text(&world.site.app, "/phone/sw.js").await;
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
        // The browser finds the update, and the page offers it. The current page is kept.
        world.page.refresh().await.unwrap();
        world.shows("A new version").await;
        if by_hand {
            world.press("Reload").await;
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
async fn unsupported_browsers_get_a_reason() {
    if !have_browser() {
        return;
    }
    let world = World::new().await;
    let insecure = format!("http://mfa.test:{}/phone", world.listening.address.port());
    world.page.goto(&insecure).await.unwrap();
    world.shows("needs a secure connection").await;
    screenshot(&world.page, "phone-insecure").await;
    world.browser.devtools(&world.page, "Emulation.setScriptExecutionDisabled", json!({ "value": true })).await;
    world.page.goto(&world.url).await.unwrap();
    let shown = world.page.find(Locator::Css("noscript p")).await.unwrap().text().await.unwrap();
    assert!(shown.contains("needs JavaScript"), "{shown}");
    assert!(!world.page.find(Locator::Id("starting")).await.unwrap().is_displayed().await.unwrap());
    // The rules of the other pictures need scripts.
    browser::screenshot(&world.page, "phone-no-script").await;
}

/// Screenshots for people.
#[tokio::test(flavor = "multi_thread")]
async fn dark_mode_and_large_screens() {
    if !have_browser() {
        return;
    }
    let world = World::registered().await;
    world.pair("jane.doe@example.com").await;
    let browser = ("requester_specified_terminal_id", "a browser");
    world
        .ask("jane.doe@example.com", &[browser, ("number_matching", "true"), ("terminal_name", "Firefox on Linux")])
        .await;
    world.shows("my site asks").await;
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
    // The QR code can be scanned in dark mode.
    world.browser.devtools(&world.page, "Emulation.clearDeviceMetricsOverride", json!({})).await;
    let phrase = world.phrase().await;
    let qr = world.page.find(Locator::Id("qr")).await.unwrap().screenshot().await.unwrap();
    if have(&["zbarimg"]) {
        assert_eq!(output("zbarimg", &["-q", "--raw", keep("phone-qr-dark", &qr).to_str().unwrap()]), phrase);
    }
    screenshot(&world.page, "phone-phrase-dark").await;
}
