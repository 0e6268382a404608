//! The pages that a site shows in a frame, in a real browser: what users see and do, what the site receives, and that
//! other sites receive nothing.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Query, RawForm, State};
use axum::http::StatusCode;
use axum::middleware::map_response;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use fantoccini::{Client, Locator};
use serde_json::json;
use test_support::browser::{self, Browser, element, have_browser, holds, text, until};
use toopher_oauth1::{BaseUri, sign};
use toopher_server::{Message, Server};
use toopher_server_test_support::site::{self, Phone};
use toopher_server_test_support::{Clock, T};
use tower_toopher::client::iframe::{Iframe, Page, Postback};

use super::accessibility::checked_screenshot as screenshot;

const SITE: &str = r#"<!doctype html><html lang="en"><meta charset="utf-8"><title>My site</title>
<style>:root { color-scheme: light dark; font-family: sans-serif } iframe { border: 1px solid gray }</style>
<h1>My site</h1><p>Messages: <span id="messages">0</span></p><p role="status" id="answer"></p>
<script>
"use strict";
// Before the frame, since automated results are posted at once.
window.addEventListener("message", async (event) => {
  const messages = document.getElementById("messages");
  messages.textContent = Number(messages.textContent) + 1;
  // The frame may be sandboxed, and then has no origin, but it is the same window.
  if (event.source !== document.getElementById("toopher_iframe").contentWindow) return;
  if (event.origin !== "SERVER" && event.origin !== "null") return;
  const { status, payload } = JSON.parse(event.data);
  if (status !== "toopher-api-complete") return;
  TAMPER
  const answer = await fetch("/postback?visit=VISIT", { method: "POST", body: new URLSearchParams(payload) });
  document.getElementById("answer").textContent = await answer.text();
});
</script>
FRAME</html>"#;

/// The site: it shows frames, and verifies the posted results.
#[derive(Clone)]
struct Backend {
    iframe: Iframe,
    server: String,
    visits: Arc<Mutex<Vec<Option<String>>>>,
}

/// The parameters of a visit: `page`, `user`, `attributes` of the frame, the referrer `policy`, a complete `address`, a
/// script to `tamper` with the result, and further signed parameters.
type Parameters = HashMap<String, String>;

async fn show(State(backend): State<Backend>, Query(parameters): Query<Parameters>) -> Response {
    let of = |name: &str| parameters.get(name).map_or("", String::as_str);
    let token = Iframe::session_token().unwrap();
    let visit = {
        let mut visits = backend.visits.lock().unwrap();
        visits.push(Some(token.clone()));
        visits.len() - 1
    };
    let user = if of("user").is_empty() { "jdoe" } else { of("user") };
    let mut page = match of("page") {
        "pair" => Page::pair(user).with_parameter("session_token", &*token),
        "manage" => Page::manage_user(user).with_parameter("session_token", &*token),
        _ => Page::authenticate(user, &token),
    };
    for (name, value) in parameters.iter().filter_map(|(name, value)| Some((name.strip_prefix("sign_")?, value))) {
        page =
            if name == "site_origin" { page.site_origin(value) } else { page.with_parameter(name.to_owned(), value) };
    }
    let address = if of("address").is_empty() { backend.iframe.url(&page).unwrap() } else { of("address").to_owned() };
    let frame = format!(
        "<iframe id=toopher_iframe title=\"Second factor\" width=640 height=400 {} src=\"{}\"></iframe>",
        of("attributes"),
        address.replace('&', "&amp;")
    );
    let html = SITE
        .replace("SERVER", &backend.server)
        .replace("TAMPER", of("tamper"))
        .replace("VISIT", &visit.to_string())
        .replace("FRAME", &frame);
    let policy = if of("policy").is_empty() { "strict-origin-when-cross-origin" } else { of("policy") };
    let mut response = ([("referrer-policy", policy), ("cache-control", "no-store")], Html(html)).into_response();
    if !of("embedder").is_empty() {
        response.headers_mut().insert("cross-origin-embedder-policy", of("embedder").parse().unwrap());
    }
    response
}

async fn postback(
    State(backend): State<Backend>,
    Query(parameters): Query<Parameters>,
    RawForm(form): RawForm,
) -> String {
    // Removed before the verification: each token can be used once.
    let visit: usize = parameters["visit"].parse().unwrap();
    let token = backend.visits.lock().unwrap()[visit].take().unwrap_or_default();
    match backend.iframe.check_form(&form, &token) {
        Err(error) => format!("refused: {error}"),
        Ok(answer) if answer.is_granted_for("jdoe", "Log In") => "welcome, jdoe".into(),
        Ok(Postback::Pairing(pairing)) => format!("paired: {}", pairing.is_enabled()),
        Ok(Postback::Failure(failure)) => format!("error {}", failure.error_code()),
        Ok(Postback::User(user)) => format!("settings of {}", user.name()),
        Ok(_) => "not let in".into(),
    }
}

pub(super) struct World {
    pub(super) browser: Browser,
    pub(super) window: Client,
    pub(super) clock: Clock,
    pub(super) api: site::Site,
    pub(super) server: String,
    /// The mails that the server has sent.
    pub(super) mails: Arc<Mutex<Vec<Message>>>,
    /// The site on the host of the server, with another port; and on another host, which is another site for the
    /// browser.
    near: String,
    pub(super) far: String,
    backend: Backend,
    /// The status of a proxy's response in place of the server's, unless it is 0.
    pub(super) outage: Arc<AtomicU16>,
}

/// Returns `None` if there is no browser.
pub(super) async fn world() -> Option<World> {
    if !have_browser() {
        return None;
    }
    let browser = Browser::start().await;
    let window = browser.window().await;
    let clock = Clock::from_secs(T);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let authority = listener.local_addr().unwrap().to_string();
    let server_url = format!("http://{authority}");
    let mails = Arc::new(Mutex::new(Vec::new()));
    let sent = Arc::clone(&mails);
    let server = Server::in_memory(&server_url).await.unwrap().clock(&clock).messenger(move |message| {
        sent.lock().unwrap().push(message);
        std::future::ready(Ok(()))
    });
    let mut api = site::Site::new(&server, &clock).await;
    api.public = ("http".into(), authority);
    let outage = Arc::new(AtomicU16::new(0));
    let status = Arc::clone(&outage);
    let app = api.app.clone().layer(map_response(move |response: Response| {
        std::future::ready(match status.load(Ordering::SeqCst) {
            0 => response,
            code => (StatusCode::from_u16(code).unwrap(), Html("<p>Bad gateway</p>")).into_response(),
        })
    }));
    tokio::spawn(async move { axum::serve(listener, app).await });

    let iframe = Iframe::new(format!("{server_url}/v1").parse().unwrap(), api.credentials.clone()).clock(&clock);
    let backend = Backend { iframe, server: server_url.clone(), visits: Arc::default() };
    let port = serve_site(&backend).await;
    let (near, far) = (format!("http://127.0.0.1:{port}"), format!("http://localhost:{port}"));
    Some(World { browser, window, clock, api, server: server_url, mails, near, far, backend, outage })
}

async fn serve_site(backend: &Backend) -> u16 {
    let app = Router::new().route("/", get(show)).route("/postback", post(postback)).with_state(backend.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(listener, app).await });
    port
}

impl World {
    /// Opens the site, and switches to its frame.
    pub(super) async fn visit(&self, site: &str, parameters: &[(&str, &str)]) {
        self.open(&self.window, site, parameters).await;
    }

    pub(super) async fn open(&self, window: &Client, site: &str, parameters: &[(&str, &str)]) {
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
        window.goto(&format!("{site}/?{query}")).await.unwrap();
        enter(window).await;
    }

    /// A signed URL, as the site creates it.
    fn address(&self, token: &str) -> String {
        self.backend.iframe.url(&Page::authenticate("jdoe", token)).unwrap()
    }

    /// Waits until the browser logs this error.
    async fn logged(&self, part: &str) {
        until(&self.window, part, async || {
            self.browser.log(&self.window).await.iter().any(|line| line.contains(part)).then_some(())
        })
        .await;
    }

    /// The response of the site to the posted result.
    pub(super) async fn answer(&self, part: &str) -> String {
        answer(&self.window, part).await
    }

    /// The pending request of the phone, and how many there are.
    pub(super) async fn waiting(&self, phone: &Phone) -> (String, usize) {
        until(&self.window, "a request on the phone", async || {
            let requests = phone.get("requests").await;
            let first = requests.as_array().unwrap().first()?;
            Some((first["id"].as_str().unwrap().to_owned(), requests.as_array().unwrap().len()))
        })
        .await
    }

    pub(super) async fn allow(&self, phone: &Phone, automate: bool) {
        let (id, _) = self.waiting(phone).await;
        // The user reads it from the page. Here the API of the site returns it.
        let (_, request) = self.api.get(&format!("authentication_requests/{id}")).await;
        let answer = json!({ "automate": automate, "number": request["number"] });
        let allowed = phone.post(&format!("requests/{id}/allow"), answer).await;
        assert_eq!((allowed.0, &allowed.1["automated_from_now_on"]), (200, &json!(automate)));
    }

    async fn deny(&self, phone: &Phone) {
        let (id, _) = self.waiting(phone).await;
        assert_eq!(phone.post(&format!("requests/{id}/deny"), json!({})).await.0, 200);
    }

    pub(super) fn code(&self, phone: &Phone) -> String {
        let code = phone.code(self.clock.now());
        format!("{} {}", &code[..3], &code[3..])
    }

    /// Waits until the page has reloaded this many times.
    pub(super) async fn reloads(&self, times: usize) {
        let script = "return performance.getEntriesByType('resource').filter(e => e.initiatorType === 'fetch').length";
        let already = self.window.execute(script, vec![]).await.unwrap().as_u64().unwrap();
        let enough = already + u64::try_from(times).unwrap();
        until(&self.window, "the page to look again", async || {
            (self.window.execute(script, vec![]).await.unwrap().as_u64().unwrap() >= enough).then_some(())
        })
        .await;
    }
}

pub(super) async fn enter(window: &Client) {
    element(window, "iframe").await.enter_frame().await.unwrap();
}

async fn value(window: &Client, field: &str) -> String {
    element(window, &format!("[name={field}]")).await.prop("value").await.unwrap().unwrap()
}

async fn answer(window: &Client, part: &str) -> String {
    window.enter_parent_frame().await.unwrap();
    text(window, "#answer", part).await
}

/// The page during a request: `Type 42 on your phone`.
pub(super) const PENDING: &str = "Type";
pub(super) const STATUS: &str = "[role=status]";

pub(super) async fn type_into(window: &Client, field: &str, typed: &str) {
    element(window, &format!("[name={field}]")).await.send_keys(typed).await.unwrap();
}

/// Continues after the recovery codes of a new phone.
pub(super) async fn save_codes(window: &Client) {
    element(window, "[value=saved]").await.click().await.unwrap();
}

pub(super) async fn phrase(phone: &Phone) -> String {
    phone.post("phrases", json!({})).await.1["phrase"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_phone_is_paired_with_its_phrase() {
    let Some(world) = world().await else { return };
    let window = &world.window;
    let phone = Phone::register(&world.api.app).await;
    world.visit(&world.far, &[("page", "pair")]).await;
    text(window, STATUS, "Pair your phone").await;
    screenshot(window, "pair").await;
    type_into(window, "phrase", "no such words\n").await;
    text(window, "[role=alert]", "No phone shows these words").await;
    screenshot(window, "pair-wrong").await;
    // The focus stays in the input.
    window.active_element().await.unwrap().send_keys(&phrase(&phone).await.to_uppercase()).await.unwrap();
    window.active_element().await.unwrap().send_keys("\n").await.unwrap();
    text(window, STATUS, "Confirm on your phone").await;
    screenshot(window, "pair-confirm").await;
    let pairings = phone.get("pairings").await;
    phone.post(&format!("pairings/{}/deny", pairings[0]["id"].as_str().unwrap()), json!({})).await;
    text(window, STATUS, "denied").await;
    world.answer("paired: false").await;

    world.visit(&world.far, &[("page", "pair")]).await;
    type_into(window, "phrase", &(phrase(&phone).await + "\n")).await;
    text(window, STATUS, "Confirm on your phone").await;
    let pairings = phone.get("pairings").await;
    let waiting = pairings.as_array().unwrap().iter().find(|pairing| pairing["pending"] == true).unwrap();
    phone.post(&format!("pairings/{}/allow", waiting["id"].as_str().unwrap()), json!({})).await;
    text(window, STATUS, "The phone is paired").await;
    screenshot(window, "paired").await;
    save_codes(window).await;
    world.answer("paired: true").await;
}

#[tokio::test]
async fn a_code_is_typed_during_a_request() {
    let Some(world) = world().await else { return };
    let window = &world.window;
    let (phone, _) = world.api.paired("jdoe").await;
    world.visit(&world.far, &[]).await;
    text(window, STATUS, PENDING).await;
    screenshot(window, "authenticate").await;
    // The input and the focus are kept while the page reloads.
    type_into(window, "otp", "0000").await;
    world.reloads(3).await;
    assert_eq!(value(window, "otp").await, "0000");
    window.active_element().await.unwrap().send_keys("00\n").await.unwrap();
    text(window, "[role=alert]", "not accepted").await;
    screenshot(window, "authenticate-wrong").await;
    // So are the message about the wrong code and the focus.
    world.reloads(2).await;
    text(window, "[role=alert]", "not accepted").await;
    let field = window.active_element().await.unwrap();
    let attribute = async |name: &str| field.attr(name).await.unwrap().unwrap_or_default();
    assert_eq!(attribute("name").await, "otp");
    assert_eq!(attribute("autocomplete").await, "one-time-code");
    assert_eq!(attribute("inputmode").await, "numeric");
    assert_eq!(attribute("aria-invalid").await, "true");
    field.send_keys(&(world.code(&phone) + "\n")).await.unwrap();
    text(window, STATUS, "Allowed").await;
    screenshot(window, "authenticate-allowed").await;
    world.answer("welcome, jdoe").await;
    assert_eq!(phone.get("requests").await, json!([]));
}

#[tokio::test]
async fn a_phone_allows_denies_or_does_not_answer() {
    let Some(world) = world().await else { return };
    let window = &world.window;
    let (phone, _) = world.api.paired("jdoe").await;
    for site in [&world.near, &world.far] {
        world.visit(site, &[]).await;
        text(window, STATUS, PENDING).await;
        world.allow(&phone, false).await;
        text(window, STATUS, "Allowed").await;
        world.answer("welcome, jdoe").await;

        world.visit(site, &[]).await;
        world.deny(&phone).await;
        text(window, STATUS, "Not allowed").await;
        world.answer("not let in").await;

        // The input with the focus is removed, so the status gets the focus.
        world.visit(site, &[]).await;
        type_into(window, "otp", "081").await;
        world.waiting(&phone).await;
        world.clock.advance(121);
        text(window, STATUS, "No answer in time").await;
        assert_eq!(window.active_element().await.unwrap().attr("role").await.unwrap().as_deref(), Some("status"));
        screenshot(window, "authenticate-late").await;
        world.answer("not let in").await;
    }
}

#[tokio::test]
async fn users_without_a_phone_pair_one_in_the_frame_first() {
    let Some(world) = world().await else { return };
    let window = &world.window;
    let phone = Phone::register(&world.api.app).await;
    world.visit(&world.far, &[("sign_allow_inline_pairing", "false")]).await;
    text(window, STATUS, "No phone is paired").await;
    world.answer("error 705").await;

    world.visit(&world.far, &[]).await;
    for (answer, then) in [("deny", "The pairing was denied"), ("allow", PENDING)] {
        type_into(window, "phrase", &(phrase(&phone).await + "\n")).await;
        text(window, STATUS, "Confirm on your phone").await;
        let pairings = phone.get("pairings").await;
        let waiting = pairings.as_array().unwrap().iter().find(|pairing| pairing["pending"] == true).unwrap();
        phone.post(&format!("pairings/{}/{answer}", waiting["id"].as_str().unwrap()), json!({})).await;
        text(window, STATUS, then).await;
    }
    world.allow(&phone, false).await;
    text(window, STATUS, "Allowed").await;
    save_codes(window).await;
    world.answer("welcome, jdoe").await;
}

/// Each page on which a user can pair: the user has recovery codes and no phone, so an attacker with the first factor
/// needs one of the codes.
#[tokio::test]
async fn users_with_recovery_codes_pair_a_phone_with_one_of_them() {
    let Some(world) = world().await else { return };
    let window = &world.window;
    for (page, paired) in
        [("pair", "The phone is paired"), ("manage", "The phone is paired"), ("authenticate", PENDING)]
    {
        // Another user for each page.
        let user = if page == "authenticate" { "jdoe" } else { page };
        let phone = Phone::register(&world.api.app).await;
        let list = [("user_name", user), ("create_user_if_needed", "true")];
        let (_, list) = world.api.post("users/activate_next_otp_list", &list).await;
        let codes: Vec<&str> = list["otp_list"].as_array().unwrap().iter().map(|code| code.as_str().unwrap()).collect();
        world.visit(&world.far, &[("page", page), ("user", user)]).await;
        text(window, "form", "One of your recovery codes").await;
        screenshot(window, &format!("pair-{page}-recovery-code")).await;
        // Without a code the browser sends nothing: it moves the focus to the missing field.
        type_into(window, "phrase", &(phrase(&phone).await + "\n")).await;
        until(window, "the focus in the field of the code", async || {
            (window.active_element().await.unwrap().attr("name").await.unwrap()? == "otp").then_some(())
        })
        .await;
        type_into(window, "otp", "wrong-code\n").await;
        text(window, "[role=alert]", "This recovery code was not accepted").await;
        assert_eq!(phone.get("pairings").await, json!([]));
        // A wrong phrase uses up no code.
        type_into(window, "phrase", "no such words").await;
        type_into(window, "otp", &format!("{}\n", codes[0])).await;
        text(window, "[role=alert]", "No phone shows these words").await;
        type_into(window, "phrase", &phrase(&phone).await).await;
        type_into(window, "otp", &format!("{}\n", codes[0])).await;
        text(window, STATUS, "Confirm on your phone").await;
        let pairings = phone.get("pairings").await;
        phone.post(&format!("pairings/{}/allow", pairings[0]["id"].as_str().unwrap()), json!({})).await;
        text(window, STATUS, paired).await;
        let (_, request) = world.api.initiate(user, &[("otp", codes[0])]).await;
        assert_eq!(request["granted"], false, "{page}: {request}");
        let (_, request) = world.api.initiate(user, &[("otp", codes[1])]).await;
        let left = &request["user"]["number_of_pregenerated_otps_remaining"];
        assert_eq!((&request["granted"], left), (&json!(true), &json!(8)), "{page}: {request}");
    }
}

#[tokio::test]
async fn tabs_reloads_and_back_navigation() {
    let Some(world) = world().await else { return };
    let window = &world.window;
    let (phone, _) = world.api.paired("jdoe").await;
    let first = window.window().await.unwrap();
    world.visit(&world.far, &[("page", "authenticate")]).await;
    text(window, STATUS, PENDING).await;
    let (of_first, _) = world.waiting(&phone).await;
    let second = window.new_window(true).await.unwrap().handle;
    window.switch_to_window(second).await.unwrap();
    world.visit(&world.far, &[]).await;
    text(window, STATUS, PENDING).await;
    assert_eq!(world.waiting(&phone).await.1, 2);
    phone.post(&format!("requests/{of_first}/deny"), json!({})).await;
    world.reloads(2).await;
    text(window, STATUS, PENDING).await;
    // The other tab has a request of its own.
    window.switch_to_window(first).await.unwrap();
    answer(window, "not let in").await;
    window.refresh().await.unwrap();
    enter(window).await;
    text(window, STATUS, PENDING).await;

    // A wrong code is a separate history entry of the browser, with a way back.
    type_into(window, "otp", "000000\n").await;
    text(window, "[role=alert]", "not accepted").await;
    window.back().await.unwrap();
    enter(window).await;
    until(window, "the page before", async || window.find(Locator::Css("[role=alert]")).await.is_err().then_some(()))
        .await;
    text(window, STATUS, PENDING).await;
    assert_eq!(value(window, "otp").await, "");
    type_into(window, "otp", &(world.code(&phone) + "\n")).await;
    text(window, STATUS, "Allowed").await;
    world.answer("welcome, jdoe").await;
}

#[tokio::test]
async fn back_navigation_does_not_log_in_again() {
    let Some(world) = world().await else { return };
    let (phone, _) = world.api.paired("jdoe").await;
    // Once with the cached page, and once reloaded, where the frame shows its last page.
    let loads_anew = world.browser.window_with(&["--disable-features=BackForwardCache"], json!({})).await;
    for (window, again) in
        [(&world.window, "welcome, jdoe"), (&loads_anew, "refused: the postback belongs to another session")]
    {
        world.open(window, &world.far, &[]).await;
        text(window, STATUS, PENDING).await;
        world.allow(&phone, false).await;
        answer(window, "welcome, jdoe").await;
        window.goto(&format!("{}/?page=manage", world.far)).await.unwrap();
        window.back().await.unwrap();
        enter(window).await;
        text(window, STATUS, "Allowed").await;
        answer(window, again).await;
        assert_eq!(text(window, "#messages", "").await, "1");
    }
}

#[tokio::test]
async fn the_older_pages() {
    let Some(world) = world().await else { return };
    let window = &world.window;
    let (phone, _) = world.api.paired("jdoe").await;
    let address = |page: &str| {
        let now = world.clock.now().as_secs();
        let base = BaseUri::new(&world.api.public.0, &world.api.public.1, &format!("/v1/web/{page}")).unwrap();
        let ttl = (now + 60).to_string();
        let parameters = [("username", "jdoe"), ("session_token", "s9s7vsb"), ("ttl", ttl.as_str())];
        sign::query(&world.api.credentials, &base, &parameters, &sign::nonce().unwrap(), now)
    };
    world.visit(&world.far, &[("address", &(address("auth") + "&terminal_name=my+pc"))]).await;
    text(window, STATUS, PENDING).await;
    assert_eq!(phone.get("requests").await[0]["terminal"], "my pc");
    world.allow(&phone, false).await;
    // Signed, but not with a token of this site.
    world.answer("refused: the postback belongs to another session").await;
    world.visit(&world.far, &[("address", &address("unpair"))]).await;
    type_into(window, "otp", &(world.code(&phone) + "\n")).await;
    text(window, STATUS, "No phone is paired").await;
    world.answer("refused: the postback belongs to another session").await;
}

#[tokio::test]
async fn pages_survive_outages_and_expire() {
    let Some(world) = world().await else { return };
    let window = &world.window;
    let (phone, _) = world.api.paired("jdoe").await;
    world.visit(&world.far, &[]).await;
    text(window, STATUS, PENDING).await;
    type_into(window, "otp", "081").await;
    for status in [502, 429, 200] {
        world.outage.store(status, Ordering::SeqCst);
        world.reloads(2).await;
        text(window, STATUS, PENDING).await;
        assert_eq!(value(window, "otp").await, "081");
    }
    world.outage.store(0, Ordering::SeqCst);
    world.allow(&phone, false).await;
    text(window, STATUS, "Allowed").await;
    world.answer("welcome, jdoe").await;

    let other = Phone::register(&world.api.app).await;
    world.visit(&world.far, &[("page", "pair"), ("user", "new")]).await;
    type_into(window, "phrase", &(phrase(&other).await + "\n")).await;
    text(window, STATUS, "Confirm on your phone").await;
    world.clock.advance(601);
    text(window, STATUS, "This page has expired").await;
    assert!(window.find(Locator::Css("#pending")).await.is_err());
}

#[tokio::test]
async fn a_url_opens_once_and_five_requests_are_sent() {
    let Some(world) = world().await else { return };
    let window = &world.window;
    let (phone, _) = world.api.paired("jdoe").await;
    let address = world.address("1");
    world.visit(&world.far, &[("address", &address)]).await;
    text(window, STATUS, PENDING).await;
    world.visit(&world.far, &[("address", &address)]).await;
    text(window, STATUS, "used before").await;
    screenshot(window, "opened-before").await;
    // Outside a frame it is not opened, and not used up.
    let address = world.address("2");
    window.goto(&address).await.unwrap();
    text(window, STATUS, "only shown within").await;
    screenshot(window, "top-level").await;
    world.visit(&world.far, &[("address", &address)]).await;
    text(window, STATUS, PENDING).await;
    let session = window.execute("return location.href", vec![]).await.unwrap();
    window.goto(session.as_str().unwrap()).await.unwrap();
    text(window, STATUS, "only shown within").await;

    while world.waiting(&phone).await.1 < 5 {
        world.visit(&world.far, &[]).await;
        text(window, STATUS, PENDING).await;
    }
    world.visit(&world.far, &[]).await;
    text(window, STATUS, "Too many").await;
    screenshot(window, "too-many").await;
    world.deny(&phone).await;
    element(window, "a").await.click().await.unwrap();
    text(window, STATUS, PENDING).await;
}

#[tokio::test]
async fn a_browser_is_recognized_by_the_same_site() {
    let Some(world) = world().await else { return };
    let window = &world.window;
    let (phone, _) = world.api.paired("jdoe").await;
    for site in [&world.far, &world.near] {
        // The browser is not recognized yet, nor by the rule for the other site.
        world.visit(site, &[]).await;
        text(window, STATUS, PENDING).await;
        world.allow(&phone, true).await;
        world.answer("welcome, jdoe").await;
        world.visit(site, &[]).await;
        text(window, STATUS, "Allowed").await;
        world.answer("welcome, jdoe").await;
        // If the site hides its origin, the browser is not recognized. The site can send its origin for the frame
        // alone.
        world.visit(site, &[("policy", "no-referrer")]).await;
        text(window, STATUS, PENDING).await;
        world.deny(&phone).await;
        world.answer("not let in").await;
        let attributes = "referrerpolicy=strict-origin";
        world.visit(site, &[("policy", "no-referrer"), ("attributes", attributes)]).await;
        world.answer("welcome, jdoe").await;
    }
    // Another browser is not recognized. It is from then on, although it only stores partitioned third-party cookies.
    let blocks = json!({ "profile.block_third_party_cookies": true, "profile.cookie_controls_mode": 1 });
    let other = world.browser.window_with(&[], blocks).await;
    world.open(&other, &world.far, &[]).await;
    text(&other, STATUS, PENDING).await;
    world.allow(&phone, true).await;
    answer(&other, "welcome, jdoe").await;
    world.open(&other, &world.far, &[]).await;
    answer(&other, "welcome, jdoe").await;
}

#[tokio::test]
async fn settings_remove_a_phone_with_its_code() {
    let Some(world) = world().await else { return };
    let window = &world.window;
    let (first, _) = world.api.paired("jdoe").await;
    world.clock.advance(60);
    let (second, _) = world.api.paired("jdoe").await;
    world.visit(&world.far, &[("page", "manage")]).await;
    text(window, STATUS, "Your phones").await;
    screenshot(window, "manage").await;
    let field = async |at: usize| window.find_all(Locator::Css("[name=otp]")).await.unwrap().swap_remove(at);
    // The code of one phone does not remove the other one. The message is in the form where the code was typed.
    field(1).await.send_keys(&(world.code(&first) + "\n")).await.unwrap();
    text(window, "section:nth-of-type(2) [role=alert]", "not accepted").await;
    screenshot(window, "manage-wrong").await;
    assert_eq!(window.find_all(Locator::Css("[role=alert]")).await.unwrap().len(), 1);
    window.active_element().await.unwrap().send_keys(&(world.code(&second) + "\n")).await.unwrap();
    until(window, "one phone", async || {
        let forms = window.find_all(Locator::Css("[value=remove]")).await.ok()?;
        (forms.len() == 1).then_some(())
    })
    .await;
    world.clock.advance(30);
    type_into(window, "otp", &(world.code(&first) + "\n")).await;
    text(window, STATUS, "No phone is paired").await;
    world.answer("settings of jdoe").await;
}

#[tokio::test]
async fn altered_results_are_rejected() {
    let Some(world) = world().await else { return };
    let (phone, _) = world.api.paired("jdoe").await;
    for (tamper, expected) in [
        ("payload.granted = 'true';", "refused: the signature"),
        ("payload.error_code = '704';", "refused: the signature"),
        ("delete payload.toopher_sig;", "refused: the postback is not signed"),
        ("payload.session_token = 'another';", "refused: the signature"),
        ("", "not let in"),
    ] {
        world.visit(&world.far, &[("tamper", tamper)]).await;
        world.deny(&phone).await;
        world.answer(expected).await;
    }
}

#[tokio::test]
async fn another_site_shows_and_receives_nothing() {
    let Some(world) = world().await else { return };
    let window = &world.window;
    let (phone, _) = world.api.paired("jdoe").await;
    let messages = async || {
        window.enter_parent_frame().await.unwrap();
        text(window, "#messages", "").await
    };
    // The page of one site's session, in a frame of the other site.
    world.visit(&world.far, &[]).await;
    text(window, STATUS, PENDING).await;
    let session = window.execute("return location.href", vec![]).await.unwrap().as_str().unwrap().to_owned();
    world.allow(&phone, false).await;
    text(window, STATUS, "Allowed").await;
    world.visit(&world.near, &[("address", &session)]).await;
    world.logged("frame-ancestors").await;
    assert_eq!(messages().await, "0");
    // In a browser without support for the policy, it would still receive nothing.
    let stripped = world.api.app.clone().layer(map_response(async |mut response: Response| {
        response.headers_mut().remove("content-security-policy");
        response
    }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let old = session.replace(&world.server, &format!("http://{}", listener.local_addr().unwrap()));
    tokio::spawn(async move { axum::serve(listener, stripped).await });
    world.visit(&world.near, &[("address", &old)]).await;
    text(window, STATUS, "Allowed").await;
    world.logged("postMessage").await;
    assert_eq!(messages().await, "0");
    world.visit(&world.far, &[("address", &old)]).await;
    text(window, STATUS, "Allowed").await;
    until(window, "a message", async || (messages().await == "1").then_some(())).await;

    // The result of a new URL goes to the site in it, even if the browser hides the site around the frame.
    let named = [("sign_site_origin", world.far.as_str())];
    world.visit(&world.far, &named).await;
    text(window, STATUS, PENDING).await;
    world.allow(&phone, false).await;
    world.answer("welcome, jdoe").await;
    world.visit(&world.near, &named).await;
    text(window, STATUS, "another site").await;
    world.visit(&world.far, &[named[0], ("policy", "no-referrer")]).await;
    text(window, STATUS, PENDING).await;
    world.allow(&phone, false).await;
    world.answer("welcome, jdoe").await;
    world.browser.log(window).await;
    world.visit(&world.near, &[named[0], ("policy", "no-referrer")]).await;
    world.logged("frame-ancestors").await;
    assert_eq!(messages().await, "0");
}

#[tokio::test]
async fn without_scripts_the_page_reloads_and_keeps_input() {
    let Some(world) = world().await else { return };
    let (phone, _) = world.api.paired("jdoe").await;
    let window =
        &world.browser.window_with(&[], json!({ "profile.managed_default_content_settings.javascript": 2 })).await;
    world.open(window, &world.far, &[]).await;
    text(window, STATUS, PENDING).await;
    browser::screenshot(window, "plain").await;
    world.deny(&phone).await;
    text(window, STATUS, "Not allowed").await;
    text(window, "#rest", "Allow scripts").await;
    browser::screenshot(window, "plain-done").await;

    world.open(window, &world.far, &[]).await;
    element(window, "a[href='?code']").await.click().await.unwrap();
    type_into(window, "otp", "00").await;
    assert!(window.find(Locator::Css("noscript meta, meta[http-equiv]")).await.is_err());
    type_into(window, "otp", "0000\n").await;
    text(window, "[role=alert]", "not accepted").await;
    browser::screenshot(window, "plain-wrong").await;
    assert!(window.find(Locator::Css("noscript meta, meta[http-equiv]")).await.is_err());
    type_into(window, "otp", &(world.code(&phone) + "\n")).await;
    text(window, STATUS, "Allowed").await;
}

#[tokio::test]
async fn sandboxes_and_isolated_sites() {
    let Some(world) = world().await else { return };
    let window = &world.window;
    let (phone, _) = world.api.paired("jdoe").await;
    for parameters in [
        [("attributes", "sandbox='allow-scripts allow-forms allow-same-origin'"), ("embedder", "")],
        // Without an origin of its own the page cannot fetch, and is reloaded.
        [("attributes", "sandbox='allow-scripts allow-forms'"), ("embedder", "")],
        [("attributes", ""), ("embedder", "require-corp")],
        [("attributes", "sandbox='allow-scripts allow-forms'"), ("embedder", "require-corp")],
    ] {
        world.visit(&world.far, &parameters).await;
        text(window, STATUS, PENDING).await;
        world.allow(&phone, false).await;
        text(window, STATUS, "Allowed").await;
        world.answer("welcome, jdoe").await;

        world.visit(&world.far, &parameters).await;
        type_into(window, "otp", "000000\n").await;
        text(window, "[role=alert]", "not accepted").await;
        world.clock.advance(30);
        type_into(window, "otp", &(world.code(&phone) + "\n")).await;
        text(window, STATUS, "Allowed").await;
        world.answer("welcome, jdoe").await;
    }
    // Without scripts, a sandboxed page cannot even reload.
    world.visit(&world.far, &[("attributes", "sandbox='allow-forms'")]).await;
    world.deny(&phone).await;
    element(window, "a[href='?']").await.click().await.unwrap();
    text(window, STATUS, "Not allowed").await;
}

#[tokio::test]
async fn dark_mode_and_small_screens() {
    let Some(world) = world().await else { return };
    let (phone, _) = world.api.paired("jdoe").await;
    let dark = world.browser.window_with(&["--blink-settings=preferredColorScheme=0"], json!({})).await;
    for (window, name, width) in [(&dark, "dark", "640"), (&world.window, "narrow", "320")] {
        let attributes = format!("style='width:{width}px'");
        for page in ["authenticate", "manage"] {
            world.open(window, &world.far, &[("page", page), ("attributes", &attributes)]).await;
            text(window, STATUS, "o").await;
            screenshot(window, &format!("{page}-{name}")).await;
            type_into(window, "otp", "000000\n").await;
            text(window, "[role=alert]", "not accepted").await;
            screenshot(window, &format!("{page}-{name}-wrong")).await;
            // The text may appear before its style.
            holds(window, "document.documentElement.scrollWidth <= innerWidth").await;
        }
        world.open(window, &world.far, &[("page", "pair"), ("user", "new"), ("attributes", &attributes)]).await;
        text(window, STATUS, "Pair your phone").await;
        screenshot(window, &format!("pair-{name}")).await;
    }
    // The smallest size in the protocol.
    let small = [("attributes", "style='width:400px;height:300px'")];
    world.visit(&world.far, &small).await;
    text(&world.window, STATUS, PENDING).await;
    screenshot(&world.window, "authenticate-small").await;
    holds(&world.window, "document.documentElement.scrollHeight <= innerHeight").await;
    drop(phone);
}

#[tokio::test]
async fn no_page_violates_its_policy() {
    let Some(world) = world().await else { return };
    let (phone, _) = world.api.paired("jdoe").await;
    // The driver receives no logs from processes of frames, so there are none.
    let flags = [
        "--disable-site-isolation-trials",
        "--disable-features=IsolateOrigins,site-per-process,IsolateSandboxedIframes",
    ];
    let window = &world.browser.window_with(&flags, json!({})).await;
    for site in [&world.near, &world.far] {
        for attributes in ["", "sandbox='allow-scripts allow-forms'"] {
            let of =
                |page: &'static str, user: &'static str| [("attributes", attributes), ("page", page), ("user", user)];
            world.open(window, site, &of("pair", "new")).await;
            type_into(window, "phrase", "no such words\n").await;
            text(window, "[role=alert]", "No phone shows these words").await;
            for page in ["manage", "authenticate"] {
                world.open(window, site, &of(page, "jdoe")).await;
                type_into(window, "otp", "000000\n").await;
                text(window, "[role=alert]", "not accepted").await;
                world.clock.advance(30);
            }
            let address = window.execute("return location.href", vec![]).await.unwrap();
            type_into(window, "otp", &(world.code(&phone) + "\n")).await;
            text(window, STATUS, "Allowed").await;
            answer(window, "welcome, jdoe").await;
            let address = address.as_str().unwrap().replace("/session/", "/session/x");
            world.open(window, site, &[("address", &address)]).await;
            text(window, STATUS, "This page has expired").await;
        }
    }
    let log = world.browser.log(window).await;
    let expected = ["favicon.ico", "status of 404 (Not Found)"];
    let complaints: Vec<_> = log.iter().filter(|line| !expected.iter().any(|part| line.contains(part))).collect();
    assert!(complaints.is_empty() && log.len() >= 4, "{log:#?}");
}
