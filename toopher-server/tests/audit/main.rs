//! Each decision of the server emits one audit event, with its fields and without secrets.
#![allow(clippy::unwrap_used)]

use std::cell::{Cell, RefCell};
use std::pin::pin;

use axum::body::Body;
use axum::http::Request;
use futures_util::future::{Either, select};
use serde_json::{Value, json};
use test_support::capture::{Lines, subscriber};
use toopher_oauth1::{BaseUri, Credentials, sign};
use toopher_server::{Message, Server};
use toopher_server_test_support::site::{HOST, Phone, Site, server, text};
use toopher_server_test_support::{Clock, T};
use tower::ServiceExt;
use tower_toopher::store::RedisStore;
use tracing::subscriber::DefaultGuard;

/// A server with one site, and the audit events of this thread.
struct World {
    server: Server,
    site: Site,
    clock: Clock,
    lines: Lines,
    read: Cell<usize>,
    secrets: RefCell<Vec<String>>,
    _listening: DefaultGuard,
}

impl World {
    async fn new() -> Self {
        let lines = Lines::default();
        let _listening = tracing::subscriber::set_default(subscriber(&lines));
        let clock = Clock::from_secs(T);
        let server = server(&clock).await.messenger(async |_: Message| Ok(()));
        let site = Site::new(&server, &clock).await;
        let secrets = RefCell::new(vec![site.credentials.secret().to_owned()]);
        Self { server, site, clock, lines, read: Cell::new(0), secrets, _listening }
    }

    /// Registers a secret, which no event may contain.
    fn secret(&self, secret: &str) -> String {
        self.secrets.borrow_mut().push(secret.to_owned());
        secret.to_owned()
    }

    /// The audit events since the last call: the level and the fields of each. The requester is omitted if it is this
    /// site, and null if there is none, except for calls.
    #[track_caller]
    fn events(&self) -> Vec<(String, Value)> {
        let all = self.lines.text();
        let new = &all[self.read.replace(all.len())..];
        let events = new.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let ours = events.filter(|event| event["target"].as_str().unwrap().starts_with("tower_toopher"));
        let mut events = Vec::new();
        for mut event in ours {
            // Random ids may contain any digits.
            let mut shown = event.to_string();
            for dealt in ["approval", "pairing", "requester"] {
                if let Some(dealt) = event["fields"][dealt].as_str() {
                    shown = shown.replace(dealt, "");
                }
            }
            for secret in self.secrets.borrow().iter() {
                assert!(!shown.contains(secret.as_str()), "{secret}: {shown}");
            }
            if event["target"] != "tower_toopher::audit" {
                continue;
            }
            let fields = event["fields"].as_object_mut().unwrap();
            assert_eq!(fields.remove("message"), Some(json!("decision")));
            if fields["resource"] != "call" {
                match fields.remove("requester") {
                    None => drop(fields.insert("requester".into(), Value::Null)),
                    Some(key) => assert_eq!(key, self.site.credentials.key()),
                }
            }
            events.push((event["level"].as_str().unwrap().to_owned(), event["fields"].take()));
        }
        events
    }

    /// Asserts that this event was emitted, and no other.
    #[track_caller]
    fn emits(&self, level: &str, fields: Value) {
        assert_eq!(self.events(), [(level.to_owned(), fields)]);
    }

    #[track_caller]
    fn emits_nothing(&self) {
        assert_eq!(self.events(), []);
    }

    /// A phone that is paired with `user`. The events of the pairing are discarded.
    async fn paired(&self, user: &str) -> (Phone, String) {
        let (phone, id) = self.pairing(user).await;
        let mut phone = phone;
        let (_, allowed) = phone.post(&format!("pairings/{id}/allow"), json!({})).await;
        phone.secret = Some(self.secret(allowed["secret"].as_str().unwrap()));
        self.events();
        (phone, id)
    }

    /// A pairing that is pending on a phone.
    async fn pairing(&self, user: &str) -> (Phone, String) {
        let phone = Phone::register(&self.site.app).await;
        self.secret(&phone.token);
        let (_, phrase) = phone.post("phrases", json!({})).await;
        let phrase = self.secret(phrase["phrase"].as_str().unwrap());
        let named = [("user_name", user), ("pairing_phrase", phrase.as_str())];
        let (status, pairing) = self.site.post("pairings/create", &named).await;
        assert_eq!(status, 200);
        (phone, id(&pairing))
    }

    fn code(&self, phone: &Phone) -> String {
        self.secret(&phone.code(self.clock.now()))
    }

    /// Sends a request to the phone of jdoe, and returns it.
    async fn request_approval(&self, more: &[(&str, &str)]) -> Value {
        let parameters: Vec<_> = LAPTOP.iter().chain(more).copied().collect();
        let (status, request) = self.site.initiate("jdoe", &parameters).await;
        assert_eq!((status, &request["pending"]), (200, &json!(true)));
        self.events();
        request
    }

    async fn answer_with_otp(&self, request: &str, otp: &str) -> u16 {
        self.site.post(&format!("authentication_requests/{request}/otp_auth"), &[("otp", otp)]).await.0
    }
}

const LAPTOP: [(&str, &str); 2] = [("terminal_name", "laptop"), ("terminal_name_extra", "discriminator")];
const WRONG: &str = "000000";

fn id(value: &Value) -> String {
    value["id"].as_str().unwrap().to_owned()
}

/// Merges two objects.
fn and(mut fields: Value, more: Value) -> Value {
    fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    fields
}

/// The fields of a request of jdoe on the laptop.
fn request(fields: Value) -> Value {
    and(json!({ "resource": "request", "user": "jdoe", "action": "log in", "terminal": "laptop" }), fields)
}

#[tokio::test]
async fn codes() {
    let world = World::new().await;
    world.secret("discriminator");
    let (phone, pairing) = world.paired("jdoe").await;
    let with = async |otp: &str| {
        let otp = world.secret(otp);
        let [name, extra] = LAPTOP;
        let (status, request) = world.site.initiate("jdoe", &[name, extra, ("otp", &otp)]).await;
        (status, request["id"].as_str().map(str::to_owned))
    };
    let otp = |fields| and(request(json!({ "by": "otp" })), fields);

    let code = world.code(&phone);
    let (status, approval) = with(&code).await;
    assert_eq!(status, 200);
    world.emits("INFO", otp(json!({ "outcome": "granted", "factor": "totp", "approval": approval })));
    for (wrong, reason) in [(code.as_str(), "replayed_otp"), (WRONG, "wrong_otp"), ("s3cret", "malformed_otp")] {
        let (_, approval) = with(wrong).await;
        world.emits("WARN", otp(json!({ "outcome": "denied", "reason": reason, "approval": approval })));
    }
    let list = [("user_name", "jdoe")];
    let (_, list) = world.site.post("users/activate_next_otp_list", &list).await;
    world.emits("INFO", json!({ "resource": "user", "by": "site", "outcome": "new_recovery_codes", "user": "jdoe" }));
    let (_, approval) = with(list["otp_list"][0].as_str().unwrap()).await;
    world.emits("INFO", otp(json!({ "outcome": "granted", "factor": "recovery_code", "approval": approval })));

    // By the id of the pairing, which the event contains then, and without a terminal and an action.
    world.clock.advance(30);
    let code = world.code(&phone);
    let by_pairing = [("pairing_id", pairing.as_str()), ("otp", &code)];
    let (_, granted) = world.site.post("authentication_requests/initiate", &by_pairing).await;
    world.emits(
        "INFO",
        json!({ "resource": "request", "by": "otp", "outcome": "granted", "factor": "totp", "user": "jdoe",
            "action": "log in", "approval": granted["id"], "pairing": pairing }),
    );

    for _ in 0..5 {
        with(WRONG).await;
    }
    assert_eq!(world.events().len(), 5);
    assert_eq!(with(&world.code(&phone)).await.0, 429);
    world.emits("WARN", otp(json!({ "outcome": "denied", "reason": "throttled" })));
    while with(WRONG).await.0 != 429 || world.events()[0].1["reason"] != "locked_out" {
        world.events();
        world.clock.advance(24 * 3600);
    }
    assert_eq!(with(WRONG).await.0, 429);
    world.emits("WARN", otp(json!({ "outcome": "denied", "reason": "locked_out" })));
    // No push is sent then either.
    assert_eq!(world.site.initiate("jdoe", &LAPTOP).await.0, 429);
    world.emits("WARN", request(json!({ "outcome": "denied", "reason": "locked_out", "pairing": pairing })));

    // Users without a factor to verify.
    assert_eq!(world.site.initiate("unknown", &[("otp", WRONG)]).await.1["error_code"], 705);
    world.emits(
        "WARN",
        json!({ "resource": "request", "by": "otp", "outcome": "denied", "reason": "unknown_user", "user": "unknown",
            "action": "log in" }),
    );
    world.site.post("authentication_requests/initiate", &[("pairing_id", "none"), ("otp", WRONG)]).await;
    world.emits(
        "WARN",
        json!({ "resource": "request", "by": "otp", "outcome": "denied", "reason": "unknown_pairing",
            "action": "log in" }),
    );
    // A call that cannot be parsed decides nothing.
    assert_eq!(world.site.post("authentication_requests/initiate", &[("otp", WRONG)]).await.0, 400);
    world.emits_nothing();
}

#[tokio::test]
async fn failures_and_disconnected_clients() {
    let world = World::new().await;
    let (phone, _) = world.paired("jdoe").await;
    let code = world.code(&phone);
    // Accepts connections and sends nothing.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    let store = RedisStore::new(&format!("redis://{address}")).unwrap();
    let site = Site { app: world.server.clone().failure_store_in_redis(store).router(), ..world.site.clone() };
    let with_otp =
        |fields| and(json!({ "resource": "request", "by": "otp", "user": "jdoe", "action": "log in" }), fields);
    {
        let otp = [("otp", code.as_str())];
        let answer = pin!(site.initiate("jdoe", &otp));
        let asked = pin!(silent.accept());
        let first = select(answer, asked).await;
        assert!(matches!(first, Either::Right(_)), "it was answered before the store was asked");
        world.emits_nothing();
    }
    // The call is dropped at the end of the block.
    world.emits("INFO", with_otp(json!({ "outcome": "aborted" })));

    drop(silent);
    assert_eq!(site.initiate("jdoe", &[("otp", &code)]).await.0, 503);
    world.emits("ERROR", with_otp(json!({ "outcome": "unavailable", "reason": "store" })));
    let waiting = world.request_approval(&[]).await;
    assert_eq!(phone.with_app(&site.app).post(&format!("requests/{}/allow", id(&waiting)), json!({})).await.0, 503);
    let events = world.events();
    let fields = json!({ "by": "phone", "outcome": "unavailable", "reason": "store", "approval": waiting["id"] });
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].1, request(and(fields, json!({ "pairing": events[0].1["pairing"] }))));

    // The pairings are deactivated, but the user is not unlocked.
    assert_eq!(site.post("users/reset", &[("name", "jdoe")]).await.0, 503);
    let reset = json!({ "resource": "user", "by": "site", "user": "jdoe", "outcome": "unavailable" });
    world.emits("ERROR", and(reset, json!({ "reason": "not_unlocked" })));

    // The clock is read first.
    let lost = world.server.clone().clock(tower_toopher::time::Clock::from_system_time(|| {
        std::time::UNIX_EPOCH - std::time::Duration::from_secs(1)
    }));
    let site = Site { app: lost.router(), ..world.site.clone() };
    assert_eq!(site.initiate("jdoe", &[("otp", &code)]).await.0, 503);
    world.emits("ERROR", json!({ "resource": "call", "outcome": "unavailable", "requester": site.credentials.key() }));
}

#[tokio::test]
async fn phones_and_codes_decide_pending_requests() {
    let world = World::new().await;
    let (phone, pairing) = world.paired("jdoe").await;
    let (status, asked) = world.site.initiate("jdoe", &LAPTOP).await;
    assert_eq!(status, 200);
    let event = |asked: &Value, fields| request(and(fields, json!({ "approval": asked["id"], "pairing": pairing })));
    world.emits("INFO", event(&asked, json!({ "outcome": "pending" })));
    world.site.get(&format!("authentication_requests/{}", id(&asked))).await;
    world.emits_nothing();

    let answer = async |asked: &Value, word: &str, body: Value| {
        phone.post(&format!("requests/{}/{word}", id(asked)), body).await.0
    };
    // One of two concurrent answers decides.
    let both = tokio::join!(answer(&asked, "allow", json!({})), answer(&asked, "allow", json!({})));
    assert!(matches!(both, (200, 409) | (409, 200)), "{both:?}");
    let mut events = world.events();
    events.sort_by_key(|(level, _)| level.clone());
    assert_eq!(events.len(), 2);
    let granted = json!({ "by": "phone", "outcome": "granted", "factor": "push" });
    assert_eq!(events[0], ("INFO".into(), event(&asked, granted)));
    assert_eq!((&events[1].1["outcome"], &events[1].1["reason"]), (&json!("denied"), &json!("not_pending")));
    assert_eq!(answer(&asked, "deny", json!({})).await, 409);
    let late = json!({ "resource": "request", "by": "phone", "outcome": "denied", "reason": "not_pending" });
    // As for a request that never existed, nothing is known about it.
    world.emits("WARN", and(late, json!({ "requester": null })));

    let asked = world.request_approval(&[]).await;
    answer(&asked, "deny", json!({})).await;
    world.emits("WARN", event(&asked, json!({ "by": "phone", "outcome": "denied", "reason": "denied_by_user" })));

    let asked = world.request_approval(&[("number_matching", "true")]).await;
    let number: u8 = asked["number"].as_str().unwrap().parse().unwrap();
    assert_eq!(answer(&asked, "allow", json!({})).await, 400);
    world.emits_nothing();
    let other = if number == 99 { 10 } else { number + 1 };
    answer(&asked, "allow", json!({ "number": other.to_string() })).await;
    world.emits("WARN", event(&asked, json!({ "by": "phone", "outcome": "denied", "reason": "wrong_number" })));

    let asked = world.request_approval(&[]).await;
    assert_eq!(world.answer_with_otp(&id(&asked), &world.secret(WRONG)).await, 200);
    world.emits("WARN", event(&asked, json!({ "by": "otp", "outcome": "denied", "reason": "wrong_otp" })));
    let code = world.code(&phone);
    world.answer_with_otp(&id(&asked), &code).await;
    world.emits("INFO", event(&asked, json!({ "by": "otp", "outcome": "granted", "factor": "totp" })));
    // A decided request is not decided again.
    assert_eq!(world.answer_with_otp(&id(&asked), &code).await, 200);
    world.emits_nothing();
    assert_eq!(world.answer_with_otp("s3cret", &code).await, 404);
    let unknown = json!({ "resource": "request", "by": "otp", "outcome": "denied", "reason": "invalid_approval" });
    world.emits("WARN", unknown);

    let asked = world.request_approval(&[]).await;
    for _ in 0..2 {
        world.site.post(&format!("authentication_requests/{}/cancel", id(&asked)), &[]).await;
    }
    world.emits("INFO", event(&asked, json!({ "by": "site", "outcome": "cancelled" })));

    // Five requests are pending, and then no push is sent.
    for _ in 0..5 {
        world.request_approval(&[]).await;
    }
    assert_eq!(world.site.initiate("jdoe", &LAPTOP).await.0, 429);
    let refused = json!({ "outcome": "denied", "reason": "too_many_requests", "pairing": pairing });
    world.emits("WARN", request(refused));
}

#[tokio::test]
async fn rules() {
    let world = World::new().await;
    let (phone, pairing) = world.paired("jdoe").await;
    for (word, level, result) in [
        ("allow", "INFO", json!({ "outcome": "granted", "factor": "push" })),
        ("deny", "WARN", json!({ "outcome": "denied", "reason": "denied_by_user" })),
    ] {
        // A browser with a discriminator, which no event contains.
        let here = [("terminal_name", "laptop"), ("terminal_name_extra", &*world.secret(&format!("cookie-{word}")))];
        let (_, asked) = world.site.initiate("jdoe", &here).await;
        world.events();
        phone.post(&format!("requests/{}/{word}", id(&asked)), json!({ "automate": true })).await;
        let event = |asked: &Value, by: &str| {
            let whom = json!({ "by": by, "approval": asked["id"], "pairing": pairing });
            request(and(result.clone(), whom))
        };
        world.emits(level, and(event(&asked, "phone"), json!({ "automates": true })));
        let (_, answered) = world.site.initiate("jdoe", &here).await;
        assert_eq!(answered["automated"], true);
        world.emits(level, event(&answered, "rule"));
    }
}

#[tokio::test]
async fn unanswered_requests() {
    let world = World::new().await;
    let (phone, pairing) = world.paired("jdoe").await;
    let asked = world.request_approval(&[]).await;
    let status = async || world.site.get(&format!("authentication_requests/{}", id(&asked))).await.1;
    world.server.cleanup().await.unwrap();
    world.emits_nothing();
    world.clock.advance(120);
    let before = status().await;
    assert_eq!((&before["pending"], &before["granted"]), (&json!(false), &json!(false)));
    world.emits_nothing();
    world.server.cleanup().await.unwrap();
    world.server.cleanup().await.unwrap();
    let unanswered = json!({ "by": "time", "outcome": "denied", "reason": "unanswered" });
    world.emits("WARN", request(and(unanswered, json!({ "approval": asked["id"], "pairing": pairing }))));
    // The site sees no difference, and the decision is final.
    assert_eq!(status().await, before);
    assert_eq!(phone.post(&format!("requests/{}/allow", id(&asked)), json!({})).await.0, 409);
    assert_eq!(status().await["granted"], false);
}

#[tokio::test]
async fn pairings() {
    let world = World::new().await;
    let event =
        |pairing: &str, fields| and(json!({ "resource": "pairing", "user": "jdoe", "pairing": pairing }), fields);
    let (phone, pairing) = world.pairing("jdoe").await;
    world.emits_nothing();
    let (_, allowed) = phone.post(&format!("pairings/{pairing}/allow"), json!({})).await;
    world.secret(allowed["secret"].as_str().unwrap());
    world.emits("INFO", event(&pairing, json!({ "by": "phone", "outcome": "paired" })));
    let again = phone.post(&format!("pairings/{pairing}/allow"), json!({})).await;
    assert_eq!(again.0, 404);
    world.emits("WARN", event(&pairing, json!({ "by": "phone", "outcome": "denied", "reason": "not_pending" })));
    phone.post(&format!("pairings/{pairing}/remove"), json!({})).await;
    world.emits("WARN", event(&pairing, json!({ "by": "phone", "outcome": "unpaired" })));

    let (phone, pairing) = world.pairing("jdoe").await;
    phone.post(&format!("pairings/{pairing}/deny"), json!({})).await;
    world.emits("WARN", event(&pairing, json!({ "by": "phone", "outcome": "denied", "reason": "denied_by_user" })));

    let secret = world.secret("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
    let (_, upgraded) = world.site.post("pairings/upgrade", &[("user_name", "jdoe"), ("secret", &secret)]).await;
    let pairing = id(&upgraded);
    world.emits("INFO", event(&pairing, json!({ "by": "site", "outcome": "paired" })));
    world.site.post(&format!("pairings/{pairing}"), &[("deactivated", "false")]).await;
    world.emits_nothing();
    world.site.post(&format!("pairings/{pairing}"), &[("deactivated", "true")]).await;
    world.emits("WARN", event(&pairing, json!({ "by": "site", "outcome": "unpaired" })));

    // A link, its token and its answer.
    let (_, pairing) = world.paired("jdoe").await;
    let question = [("security_question", "the pet?"), ("security_answer", &*world.secret("rex the cat"))];
    let (_, link) = world.site.post(&format!("pairings/{pairing}/generate_reset_link"), &question).await;
    let link = link["url"].as_str().unwrap().to_owned();
    let token = world.secret(link.split_once("reset_authorization=").unwrap().1);
    let path = format!("/v1/pairings/{pairing}/reset");
    assert_eq!(text(&world.site.app, &format!("{path}?reset_authorization={token}")).await.0, 200);
    world.emits_nothing();
    let unknown = json!({ "resource": "pairing", "requester": null, "outcome": "denied", "reason": "unknown_link" });
    for (token, answer, status, fields) in [
        ("s3cret", "rex+the+cat", 404, unknown.clone()),
        (&token, "tom", 403, event(&pairing, json!({ "outcome": "denied", "reason": "wrong_answer" }))),
        (&token, "rex+the+cat", 200, event(&pairing, json!({ "outcome": "unpaired" }))),
        (&token, "rex+the+cat", 404, unknown),
    ] {
        let form = Body::from(format!("reset_authorization={token}&answer={answer}"));
        let request = Request::post(&path).body(form).unwrap();
        assert_eq!(world.site.app.clone().oneshot(request).await.unwrap().status(), status);
        world.emits("WARN", and(json!({ "by": "reset_link" }), fields));
    }
}

#[tokio::test]
async fn changes_of_users() {
    let world = World::new().await;
    world.paired("jdoe").await;
    let (_, users) = world.site.get("users").await;
    let user = id(&users[0]);
    let event = |by: &str, outcome: &str| json!({ "resource": "user", "user": "jdoe", "by": by, "outcome": outcome });
    let update = async |parameters: &[(&str, &str)]| world.site.post(&format!("users/{user}"), parameters).await.0;
    assert_eq!(update(&[("disable_toopher_auth", "true")]).await, 200);
    world.emits("WARN", event("site", "disabled"));
    assert_eq!(world.site.initiate("jdoe", &LAPTOP).await.1["error_code"], 704);
    let disabled = json!({ "resource": "request", "outcome": "denied", "reason": "user_disabled", "user": "jdoe" });
    world.emits("WARN", disabled);
    assert_eq!(update(&[("toopher_authentication_enabled", "true")]).await, 200);
    world.emits("INFO", event("site", "enabled"));
    assert_eq!(update(&[]).await, 200);
    world.emits_nothing();
    world.site.post("users/none", &[("disable_toopher_auth", "true")]).await;
    let unknown = json!({ "resource": "user", "by": "site", "outcome": "denied", "reason": "unknown_user" });
    world.emits("WARN", unknown);
    world.site.post("users/reset", &[("name", "jdoe")]).await;
    world.emits("WARN", event("site", "reset"));

    let key = world.site.credentials.key();
    for (enabled, level, outcome) in [(false, "WARN", "disabled"), (true, "INFO", "enabled")] {
        assert!(world.server.enable_user(key, "jdoe", enabled).await.unwrap());
        world.emits(level, event("administrator", outcome));
    }
    assert!(world.server.reset_user(key, "jdoe").await.unwrap());
    world.emits("WARN", event("administrator", "reset"));
    assert!(!world.server.reset_user(key, "unknown").await.unwrap());
    world.emits_nothing();
}

#[tokio::test]
async fn rejected_calls() {
    let world = World::new().await;
    let site = &world.site;
    let refused = |fields| and(json!({ "resource": "call", "outcome": "denied" }), fields);
    let known = json!({ "requester": site.credentials.key() });

    let unsigned = Request::get("/v1/users?oauth_consumer_key=s3cret").body(Body::empty()).unwrap();
    assert_eq!(site.send(unsigned).await.0, 401);
    world.emits("WARN", refused(json!({ "reason": "unsigned" })));
    // A client that confuses the two has sent a secret as the key.
    let swapped = Credentials::new(site.credentials.secret(), site.credentials.key()).unwrap();
    assert_eq!(Site { credentials: swapped, ..site.clone() }.get("users").await.0, 401);
    world.emits("WARN", refused(json!({ "reason": "unknown_requester" })));
    let guessed = Credentials::new(site.credentials.key(), world.secret("a guess")).unwrap();
    assert_eq!(Site { credentials: guessed, ..site.clone() }.get("users").await.0, 401);
    world.emits("WARN", refused(and(known.clone(), json!({ "reason": "wrong_signature" }))));
    let late = site.signed("GET", "users", &[]);
    world.clock.advance(301);
    assert_eq!(site.send(late).await.0, 401);
    world.emits("WARN", refused(and(known.clone(), json!({ "reason": "wrong_time" }))));

    let once = site.signed("GET", "users", &[]);
    let header = once.headers()["authorization"].clone();
    let twice = Request::get(once.uri().clone()).header("authorization", header).body(Body::empty()).unwrap();
    assert_eq!(site.send(once).await.0, 200);
    world.emits_nothing();
    assert_eq!(site.send(twice).await.0, 401);
    world.emits("WARN", refused(and(known, json!({ "reason": "replayed_nonce" }))));

    let mut phone = Phone::register(&site.app).await;
    phone.token = world.secret("a token of unknown");
    assert_eq!(phone.post("phrases", json!({})).await.0, 401);
    world.emits("WARN", refused(json!({ "reason": "unknown_device" })));
}

#[tokio::test]
async fn decisions_on_pages() {
    let world = World::new().await;
    let (phone, pairing) = world.paired("jdoe").await;
    world.secret("s9s7vsb");
    let app = &world.site.app;
    let open = async |page: &str| {
        let expires = (world.clock.now().as_secs() + 100).to_string();
        let parameters = [("v", "2"), ("username", "jdoe"), ("session_token", "s9s7vsb"), ("expires", &*expires)];
        let base = BaseUri::new("https", HOST, &format!("/v1/web/{page}")).unwrap();
        let now = world.clock.now().as_secs();
        let address = sign::query(&world.site.credentials, &base, &parameters, &sign::nonce().unwrap(), now);
        let path = address.strip_prefix(&format!("https://{HOST}")).unwrap().to_owned();
        let response = app.clone().oneshot(Request::get(&path).body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), 303);
        let session = response.headers()["location"].to_str().unwrap().strip_prefix(&format!("https://{HOST}"));
        let session = session.unwrap().to_owned();
        world.secret(session.rsplit('/').next().unwrap());
        (path, session)
    };
    let act = async |session: &str, form: String| {
        let request = Request::post(session).header("content-type", "application/x-www-form-urlencoded");
        app.clone().oneshot(request.body(Body::from(form)).unwrap()).await.unwrap().status().as_u16()
    };

    let (address, session) = open("authenticate").await;
    world.emits_nothing();
    assert_eq!(text(app, &address).await.0, 401);
    let key = world.site.credentials.key();
    world.emits(
        "WARN",
        json!({ "resource": "call", "outcome": "denied", "reason": "replayed_nonce", "requester": key }),
    );
    text(app, &session).await;
    let asked = world.events();
    let approval = asked[0].1["approval"].clone();
    let event = |fields| {
        let whom = json!({ "resource": "request", "user": "jdoe", "action": "Log In", "terminal": "web browser" });
        and(and(whom, json!({ "approval": approval, "pairing": pairing })), fields)
    };
    assert_eq!(asked, [("INFO".to_owned(), event(json!({ "outcome": "pending" })))]);
    // A reload sends no request.
    text(app, &session).await;
    world.emits_nothing();
    for unreadable in ["act=otp&otp=1&otp=2", "act=remove&otp=1&otp=2", "act=fly"] {
        act(&session, unreadable.to_owned()).await;
    }
    world.emits_nothing();
    act(&session, format!("act=otp&otp={}", world.secret(WRONG))).await;
    world.emits("WARN", event(json!({ "by": "otp", "outcome": "denied", "reason": "wrong_otp" })));
    assert_eq!(act(&session, format!("act=otp&otp={}", world.code(&phone))).await, 303);
    world.emits("INFO", event(json!({ "by": "otp", "outcome": "granted", "factor": "totp" })));
    act(&session, format!("act=otp&otp={WRONG}")).await;
    world.emits_nothing();

    // The page reports an unanswered request before and after its event.
    let (_, session) = open("authenticate").await;
    text(app, &session).await;
    world.clock.advance(120);
    assert!(text(app, &session).await.1.contains("No answer in time"));
    assert_eq!(world.events().len(), 1);
    world.server.cleanup().await.unwrap();
    assert_eq!(world.events().len(), 1);
    assert!(text(app, &session).await.1.contains("No answer in time"));
    world.emits_nothing();

    // If a page is loaded twice at once, one of its two requests is cancelled.
    let mut taken_back = false;
    for _ in 0..4 {
        let (_, session) = open("authenticate").await;
        tokio::join!(text(app, &session), text(app, &session));
        let events = world.events();
        let mut outcomes: Vec<_> = events.iter().map(|(_, fields)| fields["outcome"].as_str().unwrap()).collect();
        outcomes.sort_unstable();
        if outcomes != ["pending"] {
            assert_eq!(outcomes, ["cancelled", "pending", "pending"]);
            taken_back = true;
            break;
        }
    }
    assert!(taken_back, "there were no two at once");

    // The user asks again.
    let (_, session) = open("authenticate").await;
    text(app, &session).await;
    let approval = world.events()[0].1["approval"].clone();
    assert_eq!(act(&session, "act=again".to_owned()).await, 303);
    let withdrawn = json!({ "resource": "request", "user": "jdoe", "action": "Log In", "terminal": "web browser",
        "approval": approval, "pairing": pairing, "by": "site", "outcome": "cancelled" });
    world.emits("INFO", withdrawn);
    assert_eq!(act(&session, "act=again".to_owned()).await, 303);
    world.emits_nothing();

    let (_, session) = open("manage_user").await;
    assert_eq!(act(&session, "act=remove&pairing=1&otp=1&otp=2".to_owned()).await, 400);
    world.emits_nothing();
    let user = |fields| and(json!({ "resource": "user", "by": "otp", "user": "jdoe" }), fields);
    act(&session, format!("act=codes&otp={WRONG}")).await;
    world.emits("WARN", user(json!({ "outcome": "denied", "reason": "wrong_otp" })));
    world.clock.advance(30);
    assert_eq!(act(&session, format!("act=codes&otp={}", world.code(&phone))).await, 303);
    world.emits("INFO", user(json!({ "outcome": "new_recovery_codes" })));
    assert_eq!(act(&session, format!("act=codes&otp={WRONG}")).await, 303);
    world.emits_nothing();
    let removed =
        |fields| and(json!({ "resource": "pairing", "by": "otp", "user": "jdoe", "pairing": pairing }), fields);
    act(&session, format!("act=remove&pairing={pairing}&otp={WRONG}")).await;
    world.emits("WARN", removed(json!({ "outcome": "denied", "reason": "wrong_otp" })));
    world.clock.advance(30);
    assert_eq!(act(&session, format!("act=remove&pairing={pairing}&otp={}", world.code(&phone))).await, 303);
    world.emits("WARN", removed(json!({ "outcome": "unpaired" })));
    act(&session, format!("act=remove&pairing=s3cret&otp={WRONG}")).await;
    let unknown = json!({ "resource": "pairing", "by": "otp", "user": "jdoe", "outcome": "denied" });
    world.emits("WARN", and(unknown, json!({ "reason": "unknown_pairing" })));
}

#[tokio::test]
async fn text_of_clients_cannot_forge_a_line() {
    let world = World::new().await;
    let hostile = "mallory\n\u{1b}[2J INFO tower_toopher::audit: decision outcome=\"granted\" \u{202e}";
    world.paired(hostile).await;
    world.site.initiate(hostile, &[("terminal_name", hostile), ("action_name", hostile)]).await;
    let (_, events) = world.events().remove(0);
    let shown = r#"mallory\n\u{1b}[2J INFO tower_toopher::audit: decision outcome=\"granted\" \u{202e}"#;
    for field in ["user", "terminal", "action"] {
        assert_eq!(events[field], shown);
    }
}
