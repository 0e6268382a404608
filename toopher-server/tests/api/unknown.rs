//! Users without a factor are like users with wrong codes: in the responses of a layer over this server, in the rows
//! that remain, and in the number of calls. Wrong and malformed codes leave a count and nothing else.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::Request as AxumRequest;
use axum::http::{Request, Response};
use axum::middleware::{Next, from_fn};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use test_support::process::scratch;
use toopher_server::{SealingKey, Server};
use toopher_server_test_support::site::{HOST, Site, redis_store};
use toopher_server_test_support::{Clock, T, rfc_totp, user};
use toopher_sql::{Database, query};
use tower::{Layer, Service, ServiceExt};
use tower_toopher::client::{PairingIds, ToopherVerifier};
use tower_toopher::store::PgDatabase;
use tower_toopher::test_util::assert_unknown_is_like_wrong;
use tower_toopher::totp::{MemoryPairings, Pairing};
use tower_toopher::verify::{ErrorClass, FailOpenLayer, FallbackVerifier, SessionId};
use tower_toopher::{Approvals, ToopherLayer, TotpVerifier, UserId};

use crate::client::client_with;
use crate::inner::{Body, Calls, OneShotService};

const KNOWN: &str = "known";
/// A user without a row, and users who cannot be authenticated.
const UNLIKE: [&str; 5] = ["unknown", "created", "pending", "deactivated", "disabled"];
/// Five that are verified, and three that are throttled.
const ATTEMPTS: usize = 8;
const TABLES: [&str; 11] = [
    "users",
    "terminals",
    "actions",
    "requests",
    "pairings",
    "recovery_codes",
    "failures",
    "used_steps",
    "approvals",
    "automations",
    "web_sessions",
];

/// A site whose server has a database that the test can read.
struct World {
    site: Site,
    clock: Clock,
    database: Database,
    calls: Calls,
    ids: Ids,
}

/// The pairings of users, as a site stores them.
#[derive(Clone, Default)]
struct Ids(std::sync::Arc<std::sync::Mutex<Vec<(String, String)>>>);

impl PairingIds for Ids {
    type Error = Infallible;

    async fn find(&self, user: &UserId) -> Result<Option<String>, Infallible> {
        let ids = self.0.lock().unwrap();
        Ok(ids.iter().find(|(name, _)| name == user.as_str()).map(|(_, id)| id.clone()))
    }
}

impl World {
    async fn new(name: &str) -> Self {
        let (clock, key, url) = (Clock::from_secs(T), SealingKey::generate().unwrap(), format!("https://{HOST}"));
        let (server, database) = if std::env::var("TEST_DATABASE").is_ok() {
            let postgres = test_support::postgres::shared().unwrap();
            let database = PgDatabase::new(&postgres.socket_url(&postgres.new_database())).unwrap();
            let server = Server::open_postgres(&database, key, &url).await.unwrap();
            (server, Database::connect(&database).await.unwrap())
        } else {
            let file = scratch(name).join("toopher.sqlite");
            (Server::open(&file, key, &url).await.unwrap(), Database::open(&file).await.unwrap())
        };
        let server = match std::env::var("TEST_FAILURE_STORE") {
            Err(_) => server,
            Ok(_) => server.failure_store_in_redis(redis_store(test_support::redis::shared().unwrap())),
        };
        let mut site = Site::new(&server.clock(&clock), &clock).await;
        let (calls, ids) = (Calls::default(), Ids::default());
        let count = calls.clone();
        site.app = site.app.layer(from_fn(move |request: AxumRequest, next: Next| {
            count.add();
            next.run(request)
        }));
        Self { site, clock, database, calls, ids }
    }

    /// With the users of the test.
    async fn with_users(name: &str) -> Self {
        let world = Self::new(name).await;
        let site = &world.site;
        for paired in [KNOWN, "deactivated", "disabled"] {
            let (_, id) = site.paired(paired).await;
            world.ids.0.lock().unwrap().push((paired.to_owned(), id));
        }
        let id = world.ids.find(&user("deactivated")).await.unwrap().unwrap();
        site.post(&format!("pairings/{id}"), &[("deactivated", "true")]).await;
        site.post("users/create", &[("name", "created")]).await;
        let (_, pending) = site.post("pairings/create/qr", &[("user_name", "pending")]).await;
        world.ids.0.lock().unwrap().push(("pending".to_owned(), pending["id"].as_str().unwrap().to_owned()));
        let (_, found) = site.send(site.signed("GET", "users", &[("name", "disabled")])).await;
        let id = found[0]["id"].as_str().unwrap();
        site.post(&format!("users/{id}"), &[("disable_toopher_auth", "true")]).await;
        // The action exists, as it does at a site with any login.
        site.post("authentication_requests/initiate", &[("user_name", KNOWN), ("action_name", "pay")]).await;
        world
    }

    async fn rows(&self) -> i64 {
        let mut rows = 0;
        for table in TABLES {
            rows += self.rows_of(table).await;
        }
        rows
    }

    async fn rows_of(&self, table: &'static str) -> i64 {
        query(format!("SELECT count(*) FROM {table}")).scalar(&self.database).await.unwrap().unwrap()
    }

    async fn assert_alike<S>(&self, service: S, unlike: &[&str])
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone,
    {
        let unlike: Vec<_> = unlike.iter().map(|name| user(name)).collect();
        assert_unknown_is_like_wrong(
            &user(KNOWN),
            &unlike,
            ATTEMPTS,
            async |user, otp| send(&service, user, otp.as_str()).await,
            || self.calls.count() as u64,
            async || self.rows().await,
        )
        .await;
        assert_eq!(self.rows_of("users").await, 5);
    }
}

async fn send<S>(service: &S, user: UserId, otp: &str) -> Response<Vec<u8>>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone,
{
    let request = Request::builder().extension(user).extension(SessionId::new("session").unwrap());
    let request = request.header("Toopher-OTP", otp).body(Body::default()).unwrap();
    let (parts, body) = service.clone().oneshot(request).await.unwrap().into_parts();
    Response::from_parts(parts, body.collect().await.unwrap().to_bytes().to_vec())
}

macro_rules! client {
    ($world:expr) => {
        client_with(&$world.site, $world.site.credentials.clone())
    };
}

fn inner() -> OneShotService {
    OneShotService::new(&Calls::default())
}

#[tokio::test]
async fn by_name() {
    let world = World::with_users("unknown-by-name").await;
    let service = ToopherLayer::new(ToopherVerifier::new(client!(world))).layer(inner());
    world.assert_alike(service, &UNLIKE).await;
    assert_eq!(world.rows_of("requests").await, 1);
}

#[tokio::test]
async fn by_pairing_id() {
    let world = World::with_users("unknown-by-pairing").await;
    let verifier = ToopherVerifier::new(client!(world)).with_pairing_ids(world.ids.clone());
    world.assert_alike(ToopherLayer::new(verifier).layer(inner()), &UNLIKE).await;
    // A pairing that the server has deleted, and one that it never had.
    let world = World::with_users("unknown-by-deleted-pairing").await;
    world.ids.0.lock().unwrap().push(("unknown".to_owned(), "12345678-1234-4123-8123-1234567890ab".to_owned()));
    let verifier = ToopherVerifier::new(client!(world)).with_pairing_ids(world.ids.clone());
    world.assert_alike(ToopherLayer::new(verifier).layer(inner()), &UNLIKE).await;
}

#[tokio::test]
async fn with_approvals_and_fail_open_around_the_verifier() {
    let world = World::with_users("unknown-approvals").await;
    let verifier = Approvals::new(ToopherVerifier::new(client!(world))).unwrap();
    world.assert_alike(ToopherLayer::new(verifier).approvals().layer(inner()), &UNLIKE).await;

    let world = World::with_users("unknown-fail-open").await;
    let fail_open = FailOpenLayer::insecure(10, Duration::from_secs(600)).unwrap();
    let fail_open = fail_open.insecure_also([ErrorClass::ServerError]).unwrap();
    let verifier = fail_open.layer(ToopherVerifier::new(client!(world)));
    world.assert_alike(ToopherLayer::new(verifier).layer(inner()), &UNLIKE).await;
}

#[tokio::test]
async fn with_a_second_verifier_in_both_orders() {
    let totp = |clock: &Clock| {
        let users = MemoryPairings::new();
        users.insert(user("here"), Pairing::confirmed(rfc_totp()));
        users.insert_user(user("unenrolled"));
        TotpVerifier::new(users).unwrap().clock(clock)
    };
    let unlike: Vec<_> = UNLIKE.into_iter().chain(["unenrolled"]).collect();
    let world = World::with_users("unknown-second").await;
    let both = FallbackVerifier::new(totp(&world.clock), ToopherVerifier::new(client!(world)));
    let service = ToopherLayer::new(both).layer(inner());
    world.assert_alike(service.clone(), &unlike).await;
    // The users of the first verifier get the same responses, without a call to the second one.
    assert_unknown_is_like_wrong(
        &user("here"),
        &[user("another")],
        ATTEMPTS,
        async |user, otp| send(&service, user, otp.as_str()).await,
        || 0,
        async || 0,
    )
    .await;

    let world = World::with_users("unknown-first").await;
    let both = FallbackVerifier::new(ToopherVerifier::new(client!(world)), totp(&world.clock));
    let unlike: Vec<_> = unlike.into_iter().chain(["here"]).collect();
    world.assert_alike(ToopherLayer::new(both).layer(inner()), &unlike).await;
}

async fn initiate(site: &Site, parameters: &[(&str, &str)]) -> (u16, Value) {
    site.post("authentication_requests/initiate", parameters).await
}

fn outcome(value: &Value) -> (bool, bool) {
    (value["pending"].as_bool().unwrap(), value["granted"].as_bool().unwrap())
}

const WAITING: (bool, bool) = (true, false);
const GRANTED: (bool, bool) = (false, true);
const DENIED: (bool, bool) = (false, false);

#[tokio::test]
async fn the_caller_gets_the_error_of_the_vendor_and_the_throttle_of_a_known_user() {
    let world = World::with_users("unknown-errors").await;
    let site = &world.site;
    let id = |name: &str| world.ids.0.lock().unwrap().iter().find(|(n, _)| n == name).unwrap().1.clone();
    let (pending, deactivated, disabled) = (id("pending"), id("deactivated"), id("disabled"));
    for (subject, code) in [
        (("user_name", KNOWN), None),
        (("user_name", "unknown"), Some(705)),
        (("user_name", "created"), Some(705)),
        (("user_name", "disabled"), Some(704)),
        (("user_name", "deactivated"), Some(707)),
        (("pairing_id", pending.as_str()), Some(601)),
        (("pairing_id", "unknown"), Some(601)),
    ] {
        // Five are counted, and the malformed ones are not.
        for otp in ["000000", "junk", "0000-0000-0000-0000", "", "000000", " ", "000000", "0000-0000-0000-0000"] {
            let (status, answer) = initiate(site, &[subject, ("otp", otp)]).await;
            match code {
                None => assert_eq!((status, outcome(&answer)), (200, DENIED), "{otp:?}"),
                Some(code) => {
                    let expected = if subject == ("pairing_id", "unknown") { 404 } else { 409 };
                    assert_eq!((status, &answer["error_code"]), (expected, &json!(code)), "{subject:?} {otp:?}");
                }
            }
        }
        for otp in ["000000", "0000-0000-0000-0000"] {
            let (status, answer) = initiate(site, &[subject, ("otp", otp)]).await;
            assert_eq!((status, &answer["error_code"]), (429, &json!(429)), "{subject:?} {otp:?}");
        }
        // The throttle is that of the name, whether or not the call has an OTP.
        assert_eq!(initiate(site, &[subject]).await.0, 429, "{subject:?}");
    }
    // One count for all calls about a user, however the call names the user.
    assert_eq!(initiate(site, &[("pairing_id", &deactivated), ("otp", "000000")]).await.0, 429);
    assert_eq!(initiate(site, &[("pairing_id", &disabled), ("otp", "000000")]).await.0, 429);
    // Other names, and the same name at another site, are not throttled.
    assert_eq!(initiate(site, &[("user_name", "other"), ("otp", "000000")]).await.0, 409);
    // A user who is created later begins without failures.
    let (phone, _) = site.paired("unknown").await;
    let code = phone.code(world.clock.now());
    assert_eq!(outcome(&initiate(site, &[("user_name", "unknown"), ("otp", &code)]).await.1), GRANTED);
    // A wait ends for unknown users as for known ones.
    world.clock.advance(30);
    for (name, status) in [(KNOWN, 200), ("created", 409)] {
        assert_eq!(initiate(site, &[("user_name", name), ("otp", "000000")]).await.0, status);
        assert_eq!(initiate(site, &[("user_name", name), ("otp", "000000")]).await.0, 429);
    }
}

#[tokio::test]
async fn names_that_do_not_exist_leave_no_rows() {
    let world = World::new("unknown-rows").await;
    let (site, before) = (&world.site, world.rows().await);
    for n in 0..20 {
        let name = format!("invented {n}");
        let terminal = [("user_name", name.as_str()), ("terminal_name", "pc"), ("terminal_name_extra", "cookie")];
        assert_eq!(initiate(site, &terminal).await.1["error_code"], 705);
        assert_eq!(site.send(site.signed("GET", "users", &[("name", &name)])).await.1, json!([]));
        assert_eq!(site.post("users/reset", &[("name", &name)]).await.1["error_code"], 705);
        assert_eq!(site.post("users/activate_next_otp_list", &[("user_name", &name)]).await.1["error_code"], 705);
    }
    assert_eq!(world.rows().await, before);
    for n in 0..20 {
        let name = format!("invented {n}");
        let all = [("user_name", name.as_str()), ("terminal_name", "pc"), ("action_name", "new"), ("otp", "000000")];
        assert_eq!(initiate(site, &all).await.1["error_code"], 705);
    }
    // Only the failures, which expire.
    assert_eq!(world.rows().await - world.rows_of("failures").await, before);
    // An unknown terminal is an error before anything is verified, whether or not the user exists.
    site.paired("jdoe").await;
    for name in ["jdoe", "invented"] {
        for _ in 0..6 {
            let all = [("user_name", name), ("terminal_id", "unknown"), ("otp", "000000")];
            assert_eq!(initiate(site, &all).await.1["error_code"], 706);
        }
    }
}

#[tokio::test]
async fn wrong_and_malformed_codes_leave_only_a_count() {
    let world = World::new("unknown-malformed").await;
    let site = &world.site;
    let (phone, pairing) = site.paired("jdoe").await;
    let here = [("user_name", "jdoe"), ("terminal_name", "laptop"), ("terminal_name_extra", "cookie")];
    let (_, request) = initiate(site, &here).await;
    assert_eq!(phone.post(&format!("requests/{}/allow", request["id"].as_str().unwrap()), json!({})).await.0, 200);
    world.clock.advance(600);
    let (before, failures) = (world.rows().await, world.rows_of("failures").await);
    let otp_auth = async |otp: &str| {
        let (_, waiting) = initiate(site, &here).await;
        let path = format!("authentication_requests/{}/otp_auth", waiting["id"].as_str().unwrap());
        (waiting["id"].as_str().unwrap().to_owned(), site.post(&path, &[("otp", otp)]).await)
    };
    for n in 0..40 {
        let otp = if n < 35 { ["junk", "", " "][n % 3] } else { "000000" };
        let renaming =
            [("user_name", "jdoe"), ("terminal_name", "evil"), ("terminal_name_extra", "cookie"), ("otp", otp)];
        let (status, answer) = initiate(site, &renaming).await;
        assert_eq!((status, outcome(&answer)), (200, DENIED), "{n}");
        let terminal = &answer["terminal"];
        assert_eq!((&terminal["id"], &terminal["name_extra"]), (&request["terminal"]["id"], &json!("cookie")));
        assert!(!answer["reason"].as_str().unwrap().is_empty() && answer["action"]["name"] == "log in");
    }
    assert_eq!(world.rows().await - world.rows_of("failures").await, before - failures);
    let path = format!("user_terminals/{}", request["terminal"]["id"].as_str().unwrap());
    assert_eq!(site.get(&path).await.1["name"], "laptop");
    // The owner's approvals are not used up.
    world.clock.advance(30);
    let (status, waiting) = initiate(site, &here).await;
    assert_eq!((status, outcome(&waiting)), (200, WAITING));
    assert_eq!(phone.post(&format!("requests/{}/allow", waiting["id"].as_str().unwrap()), json!({})).await.0, 200);

    // The same for codes about a pending request, which stays pending.
    world.clock.advance(3600);
    let code = phone.code(world.clock.now());
    assert_eq!(outcome(&initiate(site, &[("pairing_id", &pairing), ("otp", &code)]).await.1), GRANTED);
    for otp in ["", " ", "junk", "000000"] {
        let (id, (status, answer)) = otp_auth(otp).await;
        assert_eq!((status, outcome(&answer)), (200, WAITING), "{otp:?}");
        site.post(&format!("authentication_requests/{id}/cancel"), &[]).await;
    }
    assert_eq!(initiate(site, &here).await.0, 200);
}

/// An empty value gives a call no more rights than another value.
#[tokio::test]
async fn empty_parameters_widen_no_call() {
    let world = World::new("unknown-empty").await;
    let site = &world.site;
    let (phone, pairing) = site.paired("jdoe").await;
    let here = [("user_name", "jdoe"), ("terminal_name", "laptop"), ("terminal_name_extra", "cookie")];
    let with =
        |more: &[(&'static str, &'static str)]| here.iter().copied().chain(more.iter().copied()).collect::<Vec<_>>();
    let (_, request) = initiate(site, &here).await;
    let path = format!("requests/{}/allow", request["id"].as_str().unwrap());
    assert_eq!(phone.post(&path, json!({ "automate": true })).await.1["automated_from_now_on"], true);
    assert_eq!(outcome(&initiate(site, &here).await.1), GRANTED);

    // The rule answers none of these, and the first ones send no push.
    for (empty, expected) in [
        (with(&[("otp", "")]), DENIED),
        (with(&[("otp", " ")]), DENIED),
        (with(&[("otp", ""), ("otp", "")]), DENIED),
        (with(&[("automation_allowed", "")]), WAITING),
        (with(&[("challenge_required", "")]), WAITING),
        (with(&[("action_name", "")]), WAITING),
        (with(&[("action", "")]), WAITING),
        (vec![("user_name", "jdoe"), ("terminal_name", "laptop"), ("terminal_name_extra", "")], WAITING),
    ] {
        let (status, answer) = initiate(site, &empty).await;
        assert_eq!((status, outcome(&answer)), (200, expected), "{empty:?}");
        if expected == WAITING {
            site.post(&format!("authentication_requests/{}/cancel", answer["id"].as_str().unwrap()), &[]).await;
        }
        assert_eq!(phone.get("requests").await, json!([]));
    }
    assert_eq!(initiate(site, &with(&[("challenge_required", "")])).await.1["challenge_required"], true);
    let (_, matching) = initiate(site, &[("user_name", "jdoe"), ("number_matching", "")]).await;
    assert!(matching["number"].is_string());
    // In the query as in the form, and without an equals sign.
    for query in ["otp=", "otp", "otp=%20"] {
        let base = toopher_oauth1::BaseUri::new("https", HOST, "/v1/authentication_requests/initiate").unwrap();
        let value = if query.contains('%') { " " } else { "" };
        let all = with(&[("otp", value)]);
        let (nonce, now) = (toopher_oauth1::sign::nonce().unwrap(), world.clock.now().as_secs());
        let header = toopher_oauth1::sign::authorization(&site.credentials, "POST", &base, &all, &nonce, now);
        let form = "user_name=jdoe&terminal_name=laptop&terminal_name_extra=cookie";
        let request = Request::post(format!("/v1/authentication_requests/initiate?{query}"))
            .header("authorization", header)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(axum::body::Body::from(form));
        let (status, answer) = site.send(request.unwrap()).await;
        assert!(status == 429 || (status == 200 && outcome(&answer) == DENIED), "{query}: {status} {answer}");
    }
    // Values that contradict each other, and values that would name nothing.
    for ambiguous in [
        vec![("user_name", "jdoe"), ("otp", ""), ("otp", "000000")],
        vec![("pairing_id", pairing.as_str()), ("user_name", "")],
        with(&[("terminal_id", "")]),
    ] {
        assert_eq!(initiate(site, &ambiguous).await.0, 400, "{ambiguous:?}");
    }
    for name in ["name", "user_name"] {
        assert_eq!(site.send(site.signed("GET", "users", &[(name, "")])).await.0, 400);
    }
    let path = format!("users/{}", request["user"]["id"].as_str().unwrap());
    for flag in ["disable_toopher_auth", "toopher_authentication_enabled"] {
        assert_eq!(site.post(&path, &[(flag, "")]).await.0, 400);
    }
    // Original clients send these.
    let (_, paired) = site.paired("bob").await;
    for empty in [
        vec![("pairing_id", ""), ("user_name", "bob"), ("terminal_name", ""), ("terminal_name_extra", "")],
        vec![("pairing_id", paired.as_str()), ("terminal_name", "")],
    ] {
        assert_eq!(outcome(&initiate(site, &empty).await.1), WAITING, "{empty:?}");
    }
}
