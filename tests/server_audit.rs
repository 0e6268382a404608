//! Each decision of the server is told once, with its fields, and without a secret.
#![allow(clippy::unwrap_used)]

mod common;

use std::cell::{Cell, RefCell};
use std::pin::pin;

use axum::body::Body;
use axum::http::Request;
use common::heard::{Lines, subscriber};
use common::toopher::{HOST, Phone, Site, server, text};
use common::{Clock, T};
use futures_util::future::{Either, select};
use serde_json::{Value, json};
use tower::ServiceExt;
use tower_toopher::oauth1::{BaseUri, Credentials, sign};
use tower_toopher::server::{Message, Server};
use tower_toopher::store::RedisStore;
use tracing::subscriber::DefaultGuard;

/// A server with one site, and all that is told of it on this thread.
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
        let clock = Clock::at(T);
        let server = server(&clock).await.messenger(async |_: Message| Ok(()));
        let site = Site::new(&server, &clock).await;
        let secrets = RefCell::new(vec![site.credentials.secret().to_owned()]);
        Self { server, site, clock, lines, read: Cell::new(0), secrets, _listening }
    }

    /// Nothing that is told may ever hold it.
    fn secret(&self, secret: &str) -> String {
        self.secrets.borrow_mut().push(secret.to_owned());
        secret.to_owned()
    }

    /// The audit events since it was last asked for them: the level and the fields of each. The requester is left out where
    /// it is this site, and null where none is told, but for calls.
    #[track_caller]
    fn told(&self) -> Vec<(String, Value)> {
        let all = self.lines.text();
        let new = &all[self.read.replace(all.len())..];
        let events = new.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let ours = events.filter(|event| event["target"].as_str().unwrap().starts_with("tower_toopher"));
        let mut told = Vec::new();
        for mut event in ours {
            // What is dealt by chance could be any digits.
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
            if fields["about"] != "call" {
                match fields.remove("requester") {
                    None => drop(fields.insert("requester".into(), Value::Null)),
                    Some(key) => assert_eq!(key, self.site.credentials.key()),
                }
            }
            told.push((event["level"].as_str().unwrap().to_owned(), event["fields"].take()));
        }
        told
    }

    /// That this was told, and nothing else.
    #[track_caller]
    fn hears(&self, level: &str, fields: Value) {
        assert_eq!(self.told(), [(level.to_owned(), fields)]);
    }

    #[track_caller]
    fn hears_nothing(&self) {
        assert_eq!(self.told(), []);
    }

    /// A phone that is paired with `user`, of which nothing is left to be heard.
    async fn paired(&self, user: &str) -> (Phone, String) {
        let (phone, id) = self.pairing(user).await;
        let mut phone = phone;
        let (_, allowed) = phone.post(&format!("pairings/{id}/allow"), json!({})).await;
        phone.secret = Some(self.secret(allowed["secret"].as_str().unwrap()));
        self.told();
        (phone, id)
    }

    /// A pairing that waits for a phone.
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

    /// Asks the phone of jdoe, and returns the request.
    async fn asks(&self, more: &[(&str, &str)]) -> Value {
        let parameters: Vec<_> = LAPTOP.iter().chain(more).copied().collect();
        let (status, request) = self.site.initiate("jdoe", &parameters).await;
        assert_eq!((status, &request["pending"]), (200, &json!(true)));
        self.told();
        request
    }

    async fn by_otp(&self, request: &str, otp: &str) -> u16 {
        self.site.post(&format!("authentication_requests/{request}/otp_auth"), &[("otp", otp)]).await.0
    }
}

const LAPTOP: [(&str, &str); 2] = [("terminal_name", "laptop"), ("terminal_name_extra", "discriminator")];
const WRONG: &str = "000000";

fn id(value: &Value) -> String {
    value["id"].as_str().unwrap().to_owned()
}

/// Both, where they are objects.
fn and(mut fields: Value, more: Value) -> Value {
    fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    fields
}

/// What is told of a request of jdoe's on the laptop.
fn request(fields: Value) -> Value {
    and(json!({ "about": "request", "user": "jdoe", "action": "log in", "terminal": "laptop" }), fields)
}

#[tokio::test]
async fn what_a_code_came_to() {
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
    world.hears("INFO", otp(json!({ "outcome": "granted", "factor": "totp", "approval": approval })));
    for (wrong, reason) in [(code.as_str(), "replayed_otp"), (WRONG, "wrong_otp"), ("s3cret", "malformed_otp")] {
        let (_, approval) = with(wrong).await;
        world.hears("WARN", otp(json!({ "outcome": "denied", "reason": reason, "approval": approval })));
    }
    let list = [("user_name", "jdoe")];
    let (_, list) = world.site.post("users/activate_next_otp_list", &list).await;
    world.hears("INFO", json!({ "about": "user", "by": "site", "outcome": "new_backup_codes", "user": "jdoe" }));
    let (_, approval) = with(list["otp_list"][0].as_str().unwrap()).await;
    world.hears("INFO", otp(json!({ "outcome": "granted", "factor": "backup_code", "approval": approval })));

    // By the id of the pairing, which is told then; and without a terminal and an action that anybody has named.
    world.clock.advance(30);
    let code = world.code(&phone);
    let by_pairing = [("pairing_id", pairing.as_str()), ("otp", &code)];
    let (_, granted) = world.site.post("authentication_requests/initiate", &by_pairing).await;
    world.hears(
        "INFO",
        json!({ "about": "request", "by": "otp", "outcome": "granted", "factor": "totp", "user": "jdoe",
            "action": "log in", "approval": granted["id"], "pairing": pairing }),
    );

    for _ in 0..5 {
        with(WRONG).await;
    }
    assert_eq!(world.told().len(), 5);
    assert_eq!(with(&world.code(&phone)).await.0, 429);
    world.hears("WARN", otp(json!({ "outcome": "denied", "reason": "throttled" })));
    while with(WRONG).await.0 != 429 || world.told()[0].1["reason"] != "locked_out" {
        world.told();
        world.clock.advance(24 * 3600);
    }
    assert_eq!(with(WRONG).await.0, 429);
    world.hears("WARN", otp(json!({ "outcome": "denied", "reason": "locked_out" })));
    // Nor is a phone asked then.
    assert_eq!(world.site.initiate("jdoe", &LAPTOP).await.0, 429);
    world.hears("WARN", request(json!({ "outcome": "denied", "reason": "locked_out", "pairing": pairing })));

    // Those for whom there is nothing to check.
    assert_eq!(world.site.initiate("nobody", &[("otp", WRONG)]).await.1["error_code"], 705);
    world.hears("WARN", json!({ "about": "request", "outcome": "denied", "reason": "not_enrolled", "user": "nobody" }));
    world.site.post("authentication_requests/initiate", &[("pairing_id", "none"), ("otp", WRONG)]).await;
    world.hears("WARN", json!({ "about": "request", "outcome": "denied", "reason": "unknown_pairing" }));
    // What cannot be read decides nothing.
    assert_eq!(world.site.post("authentication_requests/initiate", &[("otp", WRONG)]).await.0, 400);
    world.hears_nothing();
}

#[tokio::test]
async fn trouble_and_a_client_that_goes_away() {
    let world = World::new().await;
    let (phone, _) = world.paired("jdoe").await;
    let code = world.code(&phone);
    // Accepts, and says nothing.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    let store = RedisStore::new(&format!("redis://{address}")).unwrap();
    let site = Site { app: world.server.clone().guard_in_redis(store).router(), ..world.site.clone() };
    let with_otp = |fields| and(json!({ "about": "request", "by": "otp", "user": "jdoe", "action": "log in" }), fields);
    {
        let otp = [("otp", code.as_str())];
        let answer = pin!(site.initiate("jdoe", &otp));
        let asked = pin!(silent.accept());
        let first = select(answer, asked).await;
        assert!(matches!(first, Either::Right(_)), "it was answered before the store was asked");
        world.hears_nothing();
    }
    // With the block the call is dropped.
    world.hears("INFO", with_otp(json!({ "outcome": "abandoned" })));

    drop(silent);
    assert_eq!(site.initiate("jdoe", &[("otp", &code)]).await.0, 503);
    world.hears("ERROR", with_otp(json!({ "outcome": "unavailable", "reason": "store" })));
    let waiting = world.asks(&[]).await;
    assert_eq!(phone.at(&site.app).post(&format!("requests/{}/allow", id(&waiting)), json!({})).await.0, 503);
    let told = world.told();
    let fields = json!({ "by": "phone", "outcome": "unavailable", "reason": "store", "approval": waiting["id"] });
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].1, request(and(fields, json!({ "pairing": told[0].1["pairing"] }))));

    // The pairings are ended, and the lock is not.
    assert_eq!(site.post("users/reset", &[("name", "jdoe")]).await.0, 503);
    let reset = json!({ "about": "user", "by": "site", "user": "jdoe", "outcome": "unavailable" });
    world.hears("ERROR", and(reset, json!({ "reason": "not_unlocked" })));

    // The clock is the first that is looked at.
    let lost = world.server.clone().clock(|| std::time::UNIX_EPOCH - std::time::Duration::from_secs(1));
    let site = Site { app: lost.router(), ..world.site.clone() };
    assert_eq!(site.initiate("jdoe", &[("otp", &code)]).await.0, 503);
    world.hears("ERROR", json!({ "about": "call", "outcome": "unavailable", "requester": site.credentials.key() }));
}

#[tokio::test]
async fn what_a_phone_and_a_code_make_of_a_request_that_waits() {
    let world = World::new().await;
    let (phone, pairing) = world.paired("jdoe").await;
    let (status, asked) = world.site.initiate("jdoe", &LAPTOP).await;
    assert_eq!(status, 200);
    let about = |asked: &Value, fields| request(and(fields, json!({ "approval": asked["id"], "pairing": pairing })));
    world.hears("INFO", about(&asked, json!({ "outcome": "pending" })));
    world.site.get(&format!("authentication_requests/{}", id(&asked))).await;
    world.hears_nothing();

    let answer = async |asked: &Value, word: &str, body: Value| {
        phone.post(&format!("requests/{}/{word}", id(asked)), body).await.0
    };
    // Of two at once one is it.
    let both = futures_util::join!(answer(&asked, "allow", json!({})), answer(&asked, "allow", json!({})));
    assert!(matches!(both, (200, 409) | (409, 200)), "{both:?}");
    let mut told = world.told();
    told.sort_by_key(|(level, _)| level.clone());
    assert_eq!(told.len(), 2);
    let granted = json!({ "by": "phone", "outcome": "granted", "factor": "push" });
    assert_eq!(told[0], ("INFO".into(), about(&asked, granted)));
    assert_eq!((&told[1].1["outcome"], &told[1].1["reason"]), (&json!("denied"), &json!("not_waiting")));
    assert_eq!(answer(&asked, "deny", json!({})).await, 409);
    let late = json!({ "about": "request", "by": "phone", "outcome": "denied", "reason": "not_waiting" });
    // As with one that there never was, nothing of it is known.
    world.hears("WARN", and(late, json!({ "requester": null })));

    let asked = world.asks(&[]).await;
    answer(&asked, "deny", json!({})).await;
    world.hears("WARN", about(&asked, json!({ "by": "phone", "outcome": "denied", "reason": "refused" })));

    let asked = world.asks(&[("number_matching", "true")]).await;
    let number: u8 = asked["number"].as_str().unwrap().parse().unwrap();
    assert_eq!(answer(&asked, "allow", json!({})).await, 400);
    world.hears_nothing();
    let other = if number == 99 { 10 } else { number + 1 };
    answer(&asked, "allow", json!({ "number": other.to_string() })).await;
    world.hears("WARN", about(&asked, json!({ "by": "phone", "outcome": "denied", "reason": "wrong_number" })));

    let asked = world.asks(&[]).await;
    assert_eq!(world.by_otp(&id(&asked), &world.secret(WRONG)).await, 200);
    world.hears("WARN", about(&asked, json!({ "by": "otp", "outcome": "denied", "reason": "wrong_otp" })));
    let code = world.code(&phone);
    world.by_otp(&id(&asked), &code).await;
    world.hears("INFO", about(&asked, json!({ "by": "otp", "outcome": "granted", "factor": "totp" })));
    // What is decided is not decided again.
    assert_eq!(world.by_otp(&id(&asked), &code).await, 200);
    world.hears_nothing();
    assert_eq!(world.by_otp("s3cret", &code).await, 404);
    let unknown = json!({ "about": "request", "by": "otp", "outcome": "denied", "reason": "unknown_approval" });
    world.hears("WARN", unknown);

    let asked = world.asks(&[]).await;
    for _ in 0..2 {
        world.site.post(&format!("authentication_requests/{}/cancel", id(&asked)), &[]).await;
    }
    world.hears("INFO", about(&asked, json!({ "by": "site", "outcome": "cancelled" })));

    // Five wait at once, and then nobody is asked.
    for _ in 0..5 {
        world.asks(&[]).await;
    }
    assert_eq!(world.site.initiate("jdoe", &LAPTOP).await.0, 429);
    let refused = json!({ "outcome": "denied", "reason": "asked_too_often", "pairing": pairing });
    world.hears("WARN", request(refused));
}

#[tokio::test]
async fn a_rule_that_answers() {
    let world = World::new().await;
    let (phone, pairing) = world.paired("jdoe").await;
    for (word, level, result) in [
        ("allow", "INFO", json!({ "outcome": "granted", "factor": "push" })),
        ("deny", "WARN", json!({ "outcome": "denied", "reason": "refused" })),
    ] {
        // A browser of its own, told apart by what is told to nobody.
        let here = [("terminal_name", "laptop"), ("terminal_name_extra", &*world.secret(&format!("cookie-{word}")))];
        let (_, asked) = world.site.initiate("jdoe", &here).await;
        world.told();
        phone.post(&format!("requests/{}/{word}", id(&asked)), json!({ "automate": true })).await;
        let about = |asked: &Value, by: &str| {
            let whom = json!({ "by": by, "approval": asked["id"], "pairing": pairing });
            request(and(result.clone(), whom))
        };
        world.hears(level, and(about(&asked, "phone"), json!({ "automates": true })));
        let (_, answered) = world.site.initiate("jdoe", &here).await;
        assert_eq!(answered["automated"], true);
        world.hears(level, about(&answered, "rule"));
    }
}

#[tokio::test]
async fn nobody_answers() {
    let world = World::new().await;
    let (phone, pairing) = world.paired("jdoe").await;
    let asked = world.asks(&[]).await;
    let status = async || world.site.get(&format!("authentication_requests/{}", id(&asked))).await.1;
    world.server.sweep().await.unwrap();
    world.hears_nothing();
    world.clock.advance(120);
    let before = status().await;
    assert_eq!((&before["pending"], &before["granted"]), (&json!(false), &json!(false)));
    world.hears_nothing();
    world.server.sweep().await.unwrap();
    world.server.sweep().await.unwrap();
    let unanswered = json!({ "by": "time", "outcome": "denied", "reason": "unanswered" });
    world.hears("WARN", request(and(unanswered, json!({ "approval": asked["id"], "pairing": pairing }))));
    // The site sees no difference, and it stands.
    assert_eq!(status().await, before);
    assert_eq!(phone.post(&format!("requests/{}/allow", id(&asked)), json!({})).await.0, 409);
    assert_eq!(status().await["granted"], false);
}

#[tokio::test]
async fn what_becomes_of_pairings() {
    let world = World::new().await;
    let about = |pairing: &str, fields| and(json!({ "about": "pairing", "user": "jdoe", "pairing": pairing }), fields);
    let (phone, pairing) = world.pairing("jdoe").await;
    world.hears_nothing();
    let (_, allowed) = phone.post(&format!("pairings/{pairing}/allow"), json!({})).await;
    world.secret(allowed["secret"].as_str().unwrap());
    world.hears("INFO", about(&pairing, json!({ "by": "phone", "outcome": "paired" })));
    let again = phone.post(&format!("pairings/{pairing}/allow"), json!({})).await;
    assert_eq!(again.0, 404);
    world.hears("WARN", about(&pairing, json!({ "by": "phone", "outcome": "denied", "reason": "not_waiting" })));
    phone.post(&format!("pairings/{pairing}/remove"), json!({})).await;
    world.hears("WARN", about(&pairing, json!({ "by": "phone", "outcome": "unpaired" })));

    let (phone, pairing) = world.pairing("jdoe").await;
    phone.post(&format!("pairings/{pairing}/deny"), json!({})).await;
    world.hears("WARN", about(&pairing, json!({ "by": "phone", "outcome": "denied", "reason": "refused" })));

    let secret = world.secret("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
    let (_, upgraded) = world.site.post("pairings/upgrade", &[("user_name", "jdoe"), ("secret", &secret)]).await;
    let pairing = id(&upgraded);
    world.hears("INFO", about(&pairing, json!({ "by": "site", "outcome": "paired" })));
    world.site.post(&format!("pairings/{pairing}"), &[("deactivated", "false")]).await;
    world.hears_nothing();
    world.site.post(&format!("pairings/{pairing}"), &[("deactivated", "true")]).await;
    world.hears("WARN", about(&pairing, json!({ "by": "site", "outcome": "unpaired" })));

    // A link, its token and its answer.
    let (_, pairing) = world.paired("jdoe").await;
    let question = [("security_question", "the pet?"), ("security_answer", &*world.secret("rex the cat"))];
    let (_, link) = world.site.post(&format!("pairings/{pairing}/generate_reset_link"), &question).await;
    let link = link["url"].as_str().unwrap().to_owned();
    let token = world.secret(link.split_once("reset_authorization=").unwrap().1);
    let path = format!("/v1/pairings/{pairing}/reset");
    assert_eq!(text(&world.site.app, &format!("{path}?reset_authorization={token}")).await.0, 200);
    world.hears_nothing();
    let unknown = json!({ "about": "pairing", "requester": null, "outcome": "denied", "reason": "unknown_link" });
    for (token, answer, status, fields) in [
        ("s3cret", "rex+the+cat", 404, unknown.clone()),
        (&token, "tom", 403, about(&pairing, json!({ "outcome": "denied", "reason": "wrong_answer" }))),
        (&token, "rex+the+cat", 200, about(&pairing, json!({ "outcome": "unpaired" }))),
        (&token, "rex+the+cat", 404, unknown),
    ] {
        let form = Body::from(format!("reset_authorization={token}&answer={answer}"));
        let request = Request::post(&path).body(form).unwrap();
        assert_eq!(world.site.app.clone().oneshot(request).await.unwrap().status(), status);
        world.hears("WARN", and(json!({ "by": "reset_link" }), fields));
    }
}

#[tokio::test]
async fn what_is_done_to_users() {
    let world = World::new().await;
    world.paired("jdoe").await;
    let (_, users) = world.site.get("users").await;
    let user = id(&users[0]);
    let about = |by: &str, outcome: &str| json!({ "about": "user", "user": "jdoe", "by": by, "outcome": outcome });
    let update = async |parameters: &[(&str, &str)]| world.site.post(&format!("users/{user}"), parameters).await.0;
    assert_eq!(update(&[("disable_toopher_auth", "true")]).await, 200);
    world.hears("WARN", about("site", "disabled"));
    assert_eq!(world.site.initiate("jdoe", &LAPTOP).await.1["error_code"], 704);
    let disabled = json!({ "about": "request", "outcome": "denied", "reason": "user_disabled", "user": "jdoe" });
    world.hears("WARN", disabled);
    assert_eq!(update(&[("toopher_authentication_enabled", "true")]).await, 200);
    world.hears("INFO", about("site", "enabled"));
    assert_eq!(update(&[]).await, 200);
    world.hears_nothing();
    world.site.post("users/none", &[("disable_toopher_auth", "true")]).await;
    let unknown = json!({ "about": "user", "by": "site", "outcome": "denied", "reason": "unknown_user" });
    world.hears("WARN", unknown);
    world.site.post("users/reset", &[("name", "jdoe")]).await;
    world.hears("WARN", about("site", "reset"));

    let key = world.site.credentials.key();
    for (enabled, level, outcome) in [(false, "WARN", "disabled"), (true, "INFO", "enabled")] {
        assert!(world.server.enable_user(key, "jdoe", enabled).await.unwrap());
        world.hears(level, about("administrator", outcome));
    }
    assert!(world.server.reset_user(key, "jdoe").await.unwrap());
    world.hears("WARN", about("administrator", "reset"));
    assert!(!world.server.reset_user(key, "nobody").await.unwrap());
    world.hears_nothing();
}

#[tokio::test]
async fn who_calls_in_vain() {
    let world = World::new().await;
    let site = &world.site;
    let refused = |fields| and(json!({ "about": "call", "outcome": "denied" }), fields);
    let known = json!({ "requester": site.credentials.key() });

    let unsigned = Request::get("/v1/users?oauth_consumer_key=s3cret").body(Body::empty()).unwrap();
    assert_eq!(site.send(unsigned).await.0, 401);
    world.hears("WARN", refused(json!({ "reason": "unsigned" })));
    // Whoever takes the one for the other has sent a secret as a key.
    let swapped = Credentials::new(site.credentials.secret(), site.credentials.key()).unwrap();
    assert_eq!(Site { credentials: swapped, ..site.clone() }.get("users").await.0, 401);
    world.hears("WARN", refused(json!({ "reason": "unknown_requester" })));
    let guessed = Credentials::new(site.credentials.key(), world.secret("a guess")).unwrap();
    assert_eq!(Site { credentials: guessed, ..site.clone() }.get("users").await.0, 401);
    world.hears("WARN", refused(and(known.clone(), json!({ "reason": "wrong_signature" }))));
    let late = site.signed("GET", "users", &[]);
    world.clock.advance(301);
    assert_eq!(site.send(late).await.0, 401);
    world.hears("WARN", refused(and(known.clone(), json!({ "reason": "wrong_time" }))));

    let once = site.signed("GET", "users", &[]);
    let header = once.headers()["authorization"].clone();
    let twice = Request::get(once.uri().clone()).header("authorization", header).body(Body::empty()).unwrap();
    assert_eq!(site.send(once).await.0, 200);
    world.hears_nothing();
    assert_eq!(site.send(twice).await.0, 401);
    world.hears("WARN", refused(and(known, json!({ "reason": "replayed_nonce" }))));

    let mut phone = Phone::register(&site.app).await;
    phone.token = world.secret("a token of nobody");
    assert_eq!(phone.post("phrases", json!({})).await.0, 401);
    world.hears("WARN", refused(json!({ "reason": "unknown_device" })));
}

#[tokio::test]
async fn what_is_done_on_pages() {
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
    world.hears_nothing();
    assert_eq!(text(app, &address).await.0, 401);
    let key = world.site.credentials.key();
    world.hears("WARN", json!({ "about": "call", "outcome": "denied", "reason": "replayed_nonce", "requester": key }));
    text(app, &session).await;
    let asked = world.told();
    let approval = asked[0].1["approval"].clone();
    let about = |fields| {
        let whom = json!({ "about": "request", "user": "jdoe", "action": "Log In", "terminal": "web browser" });
        and(and(whom, json!({ "approval": approval, "pairing": pairing })), fields)
    };
    assert_eq!(asked, [("INFO".to_owned(), about(json!({ "outcome": "pending" })))]);
    // Looking again asks nobody.
    text(app, &session).await;
    world.hears_nothing();
    for unreadable in ["act=otp&otp=1&otp=2", "act=remove&otp=1&otp=2", "act=fly"] {
        act(&session, unreadable.to_owned()).await;
    }
    world.hears_nothing();
    act(&session, format!("act=otp&otp={}", world.secret(WRONG))).await;
    world.hears("WARN", about(json!({ "by": "otp", "outcome": "denied", "reason": "wrong_otp" })));
    assert_eq!(act(&session, format!("act=otp&otp={}", world.code(&phone))).await, 303);
    world.hears("INFO", about(json!({ "by": "otp", "outcome": "granted", "factor": "totp" })));
    act(&session, format!("act=otp&otp={WRONG}")).await;
    world.hears_nothing();

    // The page says so of what nobody has answered, before it is told and afterwards.
    let (_, session) = open("authenticate").await;
    text(app, &session).await;
    world.clock.advance(120);
    assert!(text(app, &session).await.1.contains("Nobody answered in time"));
    assert_eq!(world.told().len(), 1);
    world.server.sweep().await.unwrap();
    assert_eq!(world.told().len(), 1);
    assert!(text(app, &session).await.1.contains("Nobody answered in time"));
    world.hears_nothing();

    // Of two that load a page at once one asks in vain, and that is taken back.
    let mut taken_back = false;
    for _ in 0..4 {
        let (_, session) = open("authenticate").await;
        futures_util::join!(text(app, &session), text(app, &session));
        let told = world.told();
        let mut outcomes: Vec<_> = told.iter().map(|(_, fields)| fields["outcome"].as_str().unwrap()).collect();
        outcomes.sort_unstable();
        if outcomes != ["pending"] {
            assert_eq!(outcomes, ["cancelled", "pending", "pending"]);
            taken_back = true;
            break;
        }
    }
    assert!(taken_back, "there were no two at once");

    let (_, session) = open("manage_user").await;
    assert_eq!(act(&session, "act=remove&pairing=1&otp=1&otp=2".to_owned()).await, 400);
    world.hears_nothing();
    let removed = |fields| and(json!({ "about": "pairing", "by": "otp", "user": "jdoe", "pairing": pairing }), fields);
    act(&session, format!("act=remove&pairing={pairing}&otp={WRONG}")).await;
    world.hears("WARN", removed(json!({ "outcome": "denied", "reason": "wrong_otp" })));
    world.clock.advance(30);
    assert_eq!(act(&session, format!("act=remove&pairing={pairing}&otp={}", world.code(&phone))).await, 303);
    world.hears("WARN", removed(json!({ "outcome": "unpaired" })));
    act(&session, format!("act=remove&pairing=s3cret&otp={WRONG}")).await;
    let unknown = json!({ "about": "pairing", "by": "otp", "user": "jdoe", "outcome": "denied" });
    world.hears("WARN", and(unknown, json!({ "reason": "unknown_pairing" })));
}

#[tokio::test]
async fn what_people_write_cannot_forge_a_line() {
    let world = World::new().await;
    let hostile = "mallory\n\u{1b}[2J INFO tower_toopher::audit: decision outcome=\"granted\" \u{202e}";
    world.paired(hostile).await;
    world.site.initiate(hostile, &[("terminal_name", hostile), ("action_name", hostile)]).await;
    let (_, told) = world.told().remove(0);
    let shown = r#"mallory\n\u{1b}[2J INFO tower_toopher::audit: decision outcome=\"granted\" \u{202e}"#;
    for field in ["user", "terminal", "action"] {
        assert_eq!(told[field], shown);
    }
}
