//! `examples/frame` in a browser: the site, the frame of the server in it, and results that the site does not accept.

use axum::Router;
use fantoccini::Client;
use serde_json::json;
use test_support::axe;
use test_support::browser::{
    Browser, Look, ask, click, element, fill, have_browser, read, screenshot, see, until, until_path,
};
use test_support::example::Example;
use toopher_server::Server;
use toopher_server_test_support::site::Phone;
use tower_toopher::time::Clock;

/// The site, its server, and the server's router for phones.
struct World {
    example: Example,
    app: Router,
}

async fn world() -> World {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = Server::in_memory(&url).await.unwrap();
    let credentials = server.create_requester("Example Site").await.unwrap();
    let app = server.router();
    let served = app.clone();
    tokio::spawn(async move { axum::serve(listener, served).await });
    let api = [
        ("TOOPHER_BASE_URL", &*format!("{url}/v1")),
        ("TOOPHER_CONSUMER_KEY", credentials.key()),
        ("TOOPHER_CONSUMER_SECRET", credentials.secret()),
    ];
    World { example: Example::start_with("frame", &api, "Open "), app }
}

impl World {
    async fn open(&self, client: &Client, path: &str) {
        client.goto(&format!("{}{path}", self.example.url)).await.unwrap();
    }

    async fn password(&self, client: &Client, user: &str, password: &str) {
        self.open(client, "/login").await;
        fill(client, "[name=username]", user).await;
        fill(client, "[name=password]", password).await;
        click(client, "button").await;
    }

    /// Pairs a phone in the frame, which must show the form for it.
    async fn pair(&self, client: &Client) -> Phone {
        let mut phone = Phone::register(&self.app).await;
        let (_, phrase) = phone.post("phrases", json!({})).await;
        enter(client).await;
        fill(client, "[name=phrase]", phrase["phrase"].as_str().unwrap()).await;
        click(client, "form button").await;
        let id =
            until(client, "a pairing", || async { phone.get("pairings").await[0]["id"].as_str().map(str::to_owned) });
        let id = id.await;
        phone.secret =
            phone.post(&format!("pairings/{id}/allow"), json!({})).await.1["secret"].as_str().map(Into::into);
        client.enter_parent_frame().await.unwrap();
        phone
    }

    async fn code(&self, client: &Client, phone: &Phone) {
        enter(client).await;
        fill(client, "[name=otp]", &phone.code(Clock::system().now().unwrap())).await;
        click(client, "form:has([name=otp]) button").await;
        client.switch_to_window(client.window().await.unwrap()).await.unwrap();
    }
}

/// The frame of a user without recovery codes shows new ones. The result comes when they are saved.
async fn save_codes(client: &Client) {
    client.switch_to_window(client.window().await.unwrap()).await.unwrap();
    enter(client).await;
    click(client, "[value=saved]").await;
    client.switch_to_window(client.window().await.unwrap()).await.unwrap();
}

async fn enter(client: &Client) {
    element(client, "#toopher_iframe").await.enter_frame().await.unwrap();
}

/// The form of a result, as the script has filled it. The page does not send it.
async fn hold_results(client: &Client) {
    let script = "HTMLFormElement.prototype.send = HTMLFormElement.prototype.submit;
        HTMLFormElement.prototype.submit = function () { this.dataset.held = ''; }";
    ask(client, script).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_pairs_and_phones_are_managed_in_the_frame() {
    if !have_browser() {
        return;
    }
    let browser = Browser::start().await;
    for (mode, look) in [
        ("light", Look::default()),
        ("dark", Look { dark: true, ..Look::default() }),
        ("narrow", Look { narrow: true, ..Look::default() }),
    ] {
        let (world, client) = (world().await, &browser.window_as(look).await);
        let check = async |page: &str| {
            assert_eq!(axe::violations(client).await, [""; 0], "{mode} {page}");
            let fits = "return document.documentElement.scrollWidth <= innerWidth";
            assert_eq!(ask(client, fits).await, json!(true), "{mode} {page}");
            screenshot(client, &format!("frame-{mode}-{page}")).await;
        };
        world.open(client, "/").await;
        until_path(client, "/login").await;
        check("1-login").await;
        world.password(client, "alice", "wrong").await;
        read(client, "do not belong together").await;
        world.password(client, "alice", "wonderland").await;
        until_path(client, "/second-factor").await;
        // The password alone opens nothing else.
        for path in ["/", "/pair", "/phones"] {
            world.open(client, path).await;
            until_path(client, "/second-factor").await;
        }
        see(client, "#toopher_iframe").await;
        check("2-pair").await;
        let phone = world.pair(client).await;
        world.code(client, &phone).await;
        save_codes(client).await;
        until_path(client, "/").await;
        read(client, "You are logged in as alice").await;
        check("3-account").await;

        // The phone is removed with its code, and the site receives the result.
        click(client, "a[href='/phones']").await;
        until_path(client, "/phones").await;
        see(client, "#toopher_iframe").await;
        check("4-phones").await;
        let code = phone.code(tower_toopher::time::UnixTime::from_secs(Clock::system().now().unwrap().as_secs() + 30));
        enter(client).await;
        fill(client, "[name=otp]", &code).await;
        click(client, "form:has([name=otp]) button").await;
        client.switch_to_window(client.window().await.unwrap()).await.unwrap();
        read(client, "Your phones have changed.").await;

        // And another one is paired.
        world.open(client, "/pair").await;
        world.pair(client).await;
        save_codes(client).await;
        read(client, "Your phone is paired.").await;
        check("5-paired").await;
        world.open(client, "/phones").await;
        enter(client).await;
        see(client, "[name=otp]").await;
        client.clone().close().await.unwrap();
    }
}

/// Every result is verified: its signature, its user, its action, and that it is for this display of the frame.
#[tokio::test(flavor = "multi_thread")]
async fn results_are_verified() {
    if !have_browser() {
        return;
    }
    let (world, browser) = (world().await, Browser::start().await);
    let client = &browser.window().await;
    world.password(client, "alice", "wonderland").await;
    until_path(client, "/second-factor").await;
    hold_results(client).await;
    let phone = world.pair(client).await;
    world.code(client, &phone).await;
    save_codes(client).await;
    see_held(client).await;
    let fields = ask(
        client,
        "return [...document.querySelectorAll('#postback input')].map((input) => [input.name, input.value])",
    )
    .await;
    let fields: Vec<(String, String)> = serde_json::from_value(fields).unwrap();
    assert!(fields.iter().any(|(name, _)| name == "toopher_sig"), "{fields:?}");

    // In the session of another user, after the display of a frame there.
    let other = &browser.window().await;
    world.password(other, "bob", "builder").await;
    until_path(other, "/second-factor").await;
    submit(other, &fields).await;
    read(other, "The result of the frame was not accepted").await;
    // The token of that display is used up, whatever the result was.
    world.open(other, "/").await;
    until_path(other, "/second-factor").await;

    // Changed: a field, one that is missing, and one more.
    let mut changed = fields.clone();
    changed[0].1.push('1');
    let more = [&fields[..], &[("more".into(), "1".into())]].concat();
    for wrong in [changed, fields[1..].to_vec(), more] {
        submit(client, &wrong).await;
        read(client, "The result of the frame was not accepted").await;
        world.open(client, "/").await;
        until_path(client, "/second-factor").await;
    }
    // The result itself is for the first display, whose token is gone.
    submit(client, &fields).await;
    read(client, "The result of the frame was not accepted").await;
    world.open(client, "/").await;
    until_path(client, "/second-factor").await;

    // A message that is not from the frame is ignored.
    hold_results(client).await;
    let message = json!({ "status": "toopher-api-complete", "payload": {} }).to_string();
    ask(client, &format!("window.postMessage({}, '*')", json!(message))).await;
    ask(client, "return new Promise((done) => setTimeout(done, 0))").await;
    assert_eq!(ask(client, "return 'held' in document.getElementById('postback').dataset").await, json!(false));
}

/// Waits until the script has passed a result on.
async fn see_held(client: &Client) {
    until(client, "a result", || async {
        let held = "return 'held' in document.getElementById('postback').dataset";
        (ask(client, held).await == json!(true)).then_some(())
    })
    .await;
}

/// Sends a form with these fields to the site.
async fn submit(client: &Client, fields: &[(String, String)]) {
    let script = format!(
        "const form = document.createElement('form');
         form.method = 'post';
         form.action = '/postback';
         for (const [name, value] of {}) {{
           const input = document.createElement('input');
           input.name = name;
           input.value = value;
           form.append(input);
         }}
         document.body.append(form);
         (form.send || form.submit).call(form);",
        json!(fields)
    );
    ask(client, &script).await;
}
