//! Rows that clients can create, and what they can guess: how many, and who is blocked then.

use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use futures_util::future::join_all;
use serde_json::{Value, json};
use test_support::process::scratch;
use toopher_server::{SealingKey, Server};
use toopher_server_test_support::site::{HOST, Phone, Site, json, server};
use toopher_server_test_support::{Clock, T};
use toopher_sql::{Database, query};
use tower::ServiceExt;

const DAY: u64 = 24 * 60 * 60;
const NO_PHRASE: (&str, &str) = ("pairing_phrase", "odd ember odd ember");

async fn world() -> (Server, Site, Clock) {
    let clock = Clock::from_secs(T);
    let server = server(&clock).await;
    let site = Site::new(&server, &clock).await;
    (server, site, clock)
}

async fn phrase(phone: &Phone) -> String {
    let (status, phrase) = phone.post("phrases", json!({})).await;
    assert_eq!(status, 200, "{phrase}");
    phrase["phrase"].as_str().unwrap().to_owned()
}

async fn pair(site: &Site, user: &str, phrase: &str) -> (u16, Value) {
    site.post("pairings/create", &[("user_name", user), ("pairing_phrase", phrase)]).await
}

/// The status of a call of a phone.
async fn status_of(site: &Site, phone: &Phone, method: &str, path: &str) -> u16 {
    let request = phone.request(method, path, json!({ "claim": "x" }).to_string());
    site.app.clone().oneshot(request).await.unwrap().status().as_u16()
}

#[tokio::test]
async fn registrations_store_nothing_and_block_no_phone() {
    let (server, site, clock) = world().await;
    let early = Phone::register(&site.app).await;
    let shown = phrase(&early).await;
    for _ in 0..10_050 {
        Phone::register(&site.app).await;
    }
    for _ in 0..20 {
        phrase(&Phone::register(&site.app).await).await;
    }
    let (phone, _) = site.paired("jdoe").await;
    // Neither the phone nor the phrase of before is affected.
    assert_eq!(pair(&site, "alice", &shown).await.0, 200);
    assert_eq!(early.get("pairings").await[0]["user"], "alice");
    assert_eq!(server.phones().await.unwrap().len(), 2);
    // Without a pairing, a phone is known for thirty days. With one, it is known as long as it is paired.
    let idle = Phone::register(&site.app).await;
    clock.advance(30 * DAY);
    server.cleanup().await.unwrap();
    assert_eq!(status_of(&site, &idle, "GET", "pairings").await, 200);
    clock.advance(1);
    assert_eq!(status_of(&site, &idle, "GET", "pairings").await, 401);
    server.cleanup().await.unwrap();
    assert_eq!(phone.get("pairings").await[0]["user"], "jdoe");
    // The pairing that was not allowed has expired, and the phone with it.
    assert_eq!(status_of(&site, &early, "GET", "pairings").await, 401);
    assert_eq!(server.phones().await.unwrap().len(), 1);
}

/// SQLite has one writer, which signed calls need. PostgreSQL has many.
#[tokio::test]
async fn phones_without_a_pairing_write_nothing_to_the_database_file() {
    let (clock, file) = (Clock::from_secs(T), scratch("phones-of-strangers").join("toopher.sqlite"));
    let server = Server::open(&file, SealingKey::generate().unwrap(), &format!("https://{HOST}")).await.unwrap();
    let site = Site::new(&server.clock(&clock), &clock).await;
    let phone = Phone::register(&site.app).await;
    let shown = phrase(&phone).await;
    let database = Database::open(&file).await.unwrap();
    for table in ["devices", "phrases", "attempts"] {
        let rows = query(format!("SELECT count(*) FROM {table}")).scalar::<i64>(&database).await.unwrap();
        assert_eq!(rows, Some(0), "{table}");
    }
    assert_eq!(pair(&site, "jdoe", &shown).await.0, 200);
}

#[tokio::test]
async fn a_token_is_only_valid_as_the_server_has_created_it() {
    let (_, site, clock) = world().await;
    let (other, ..) = world().await;
    let mut phone = Phone::register(&site.app).await;
    let token = phone.token.clone();
    let theirs = Phone::register(&Site::new(&other, &clock).await.app).await.token;
    let altered: Vec<_> = (0..token.len())
        .step_by(7)
        .map(|at| {
            let flipped = if &token[at..=at] == "A" { "B" } else { "A" };
            format!("{}{flipped}{}", &token[..at], &token[at + 1..])
        })
        .collect();
    let cut = (0..token.len()).step_by(11).map(|end| token[..end].to_owned());
    for bad in altered.into_iter().chain(cut).chain([theirs, token.repeat(2), "x".repeat(5000)]) {
        phone.token = bad;
        assert_eq!(status_of(&site, &phone, "GET", "requests").await, 401, "{}", phone.token);
    }
    // The longest name that is valid.
    for (length, expected) in [(200, 200), (201, 400)] {
        let body = json!({ "name": "x".repeat(length) }).to_string();
        let request =
            Request::post("/phone/v1/devices").header("content-type", "application/json").body(Body::from(body));
        let (status, device) = json(site.app.clone().oneshot(request.unwrap()).await.unwrap()).await;
        assert_eq!(status, expected);
        if status == 200 {
            phone.token = device["token"].as_str().unwrap().to_owned();
            phrase(&phone).await;
        }
    }
}

#[tokio::test]
async fn an_administrator_lists_and_removes_phones() {
    let (server, site, clock) = world().await;
    let (phone, pairing) = site.paired("jdoe").await;
    let (kept, _) = site.paired("alice").await;
    let pending = Phone::register(&site.app).await;
    assert_eq!(pair(&site, "bob", &phrase(&pending).await).await.0, 200);
    let phones = server.phones().await.unwrap();
    let mut names: Vec<_> = phones
        .iter()
        .map(|phone| {
            assert_eq!((phone.name.as_str(), phone.created.as_str()), ("my phone", "2005-03-18 01:58:29"));
            (phone.pairings[0].user.clone(), phone.pairings[0].requester.clone(), phone.pairings[0].pending)
        })
        .collect();
    names.sort();
    let of = |user: &str, pending| (user.to_owned(), "my site".to_owned(), pending);
    assert_eq!(names, [of("alice", false), of("bob", true), of("jdoe", false)]);

    let shown = phrase(&phone).await;
    let id = |user: &str| phones.iter().find(|phone| phone.pairings[0].user == user).unwrap().id.clone();
    assert!(server.remove_phone(&id("jdoe")).await.unwrap());
    assert!(!server.remove_phone("unknown").await.unwrap() && !server.remove_phone("a\0b").await.unwrap());
    for (method, path) in [
        ("GET", "pairings"),
        ("GET", "requests"),
        ("GET", "automations"),
        ("GET", "events"),
        ("POST", "phrases"),
        ("POST", "claims"),
        ("POST", &format!("pairings/{pairing}/allow")),
    ] {
        assert_eq!(status_of(&site, &phone, method, path).await, 401, "{path}");
    }
    // The phrase that it has shown before is not one, and its codes are not accepted.
    assert_eq!(pair(&site, "eve", &shown).await.0, 409);
    assert_eq!(site.get(&format!("pairings/{pairing}")).await.1["deactivated"], true);
    assert_eq!(site.initiate("jdoe", &[("otp", &phone.code(clock.now()))]).await.1["error_code"], 707);
    assert_eq!(kept.get("pairings").await[0]["user"], "alice");

    // A call is recorded within a day.
    clock.advance(2 * DAY);
    kept.get("pairings").await;
    clock.advance(2 * DAY);
    assert_eq!(server.remove_idle_phones(Duration::from_secs(3 * DAY)).await.unwrap(), 1);
    assert_eq!(status_of(&site, &pending, "GET", "pairings").await, 401);
    kept.get("pairings").await;
    // A removed phone stays removed.
    clock.advance(400 * DAY);
    server.cleanup().await.unwrap();
    assert_eq!(status_of(&site, &phone, "GET", "pairings").await, 401);
}

#[tokio::test]
async fn guesses_of_phrases_are_limited_for_each_user() {
    let (server, site, clock) = world().await;
    let other = Site::new(&server, &clock).await;
    let phone = Phone::register(&site.app).await;
    let mallory = [("user_name", "mallory"), NO_PHRASE];
    let burst = join_all((0..30).map(|_| site.post("pairings/create", &mallory))).await;
    assert_eq!(burst.iter().filter(|(status, _)| *status == 409).count(), 20);
    assert_eq!(burst.iter().filter(|(status, _)| *status == 429).count(), 10);
    // The right phrase does not pass, and is not used up. Other users and other sites are not affected.
    let shown = phrase(&phone).await;
    assert_eq!(pair(&site, "mallory", &shown).await.0, 429);
    assert_eq!(pair(&site, "alice", &shown).await.0, 200);
    assert_eq!(pair(&other, "mallory", &phrase(&phone).await).await.0, 200);
    // No user was created.
    assert_eq!(site.send(site.signed("GET", "users", &[("name", "mallory")])).await.1, json!([]));
    clock.advance(600);
    assert_eq!(pair(&site, "mallory", &phrase(&phone).await).await.0, 200);

    // Phrases of one's own phone give no further guesses, by name or by id.
    let (_, users) = site.send(site.signed("GET", "users", &[("name", "mallory")])).await;
    let by_id = [("user_id", users[0]["id"].as_str().unwrap()), NO_PHRASE];
    for _ in 0..10 {
        assert_eq!(site.post("pairings/create", &by_id).await.0, 409);
        assert_eq!(pair(&site, "mallory", &phrase(&phone).await).await.0, 200);
        assert_eq!(site.post("pairings/create", &mallory).await.0, 409);
    }
    assert_eq!(site.post("pairings/create", &by_id).await.0, 429);
    assert_eq!(pair(&site, "mallory", &phrase(&phone).await).await.0, 429);
    // If the clock was wrong once, the limit does not last longer.
    clock.set(T);
    assert_eq!(site.post("pairings/create", &mallory).await.0, 409);
}

#[tokio::test]
async fn guesses_of_phrases_by_all_users_are_limited_together() {
    let (server, site, clock) = world().await;
    for user in 0..50 {
        let user = format!("user {user}");
        let guess = [("user_name", user.as_str()), NO_PHRASE];
        let guesses = join_all((0..20).map(|_| site.post("pairings/create", &guess))).await;
        assert!(guesses.iter().all(|(status, _)| *status == 409));
    }
    assert_eq!(site.post("pairings/create", &[("user_name", "invented"), NO_PHRASE]).await.0, 429);
    let phone = Phone::register(&site.app).await;
    assert_eq!(pair(&site, "alice", &phrase(&phone).await).await.0, 429);
    // A QR code needs no phrase. Another site has guesses of its own.
    assert_eq!(site.post("pairings/create/qr", &[("user_name", "alice")]).await.0, 200);
    assert_eq!(pair(&Site::new(&server, &clock).await, "alice", &phrase(&phone).await).await.0, 200);
    clock.advance(600);
    server.cleanup().await.unwrap();
    assert_eq!(pair(&site, "alice", &phrase(&phone).await).await.0, 200);
}

#[tokio::test]
async fn wrong_numbers_are_limited_for_each_pairing() {
    let (_, site, clock) = world().await;
    let (phone, _) = site.paired("jdoe").await;
    let ask = [("number_matching", "true"), ("terminal_name", "laptop")];
    for wrong in 0..11 {
        clock.advance(60);
        let (_, request) = site.initiate("jdoe", &ask).await;
        let (id, number) = (request["id"].as_str().unwrap(), request["number"].as_str().unwrap());
        let guess = if number == "10" { "11" } else { "10" };
        let (status, answer) = phone.post(&format!("requests/{id}/allow"), json!({ "number": guess })).await;
        assert_eq!(status, if wrong < 10 { 200 } else { 429 }, "{answer}");
        if wrong == 10 {
            // It is still pending, and can be denied.
            let (status, answer) = phone.post(&format!("requests/{id}/deny"), json!({})).await;
            assert_eq!((status, &answer["granted"]), (200, &json!(false)));
        }
    }
    clock.advance(3600);
    // Right numbers are not limited.
    for _ in 0..15 {
        clock.advance(60);
        let (_, request) = site.initiate("jdoe", &ask).await;
        let path = format!("requests/{}/allow", request["id"].as_str().unwrap());
        let answer = phone.post(&path, json!({ "number": request["number"] })).await;
        assert_eq!((answer.0, &answer.1["granted"]), (200, &json!(true)));
    }
}

#[tokio::test]
async fn further_reset_links_give_no_further_answers() {
    let (_, site, clock) = world().await;
    let (_, pairing) = site.paired("jdoe").await;
    let question = [("security_question", "Pet?"), ("security_answer", "rex")];
    let answer = async |answer: &str| {
        let (_, link) = site.post(&format!("pairings/{pairing}/generate_reset_link"), &question).await;
        let url = link["url"].as_str().unwrap();
        let (path, token) = url.strip_prefix(&format!("https://{HOST}")).unwrap().split_once('?').unwrap();
        let request = Request::post(path).body(Body::from(format!("{token}&answer={answer}"))).unwrap();
        site.app.clone().oneshot(request).await.unwrap().status().as_u16()
    };
    for _ in 0..10 {
        assert_eq!(answer("tom").await, 403);
    }
    assert_eq!((answer("tom").await, answer("rex").await), (429, 429));
    clock.advance(DAY);
    assert_eq!(answer("rex").await, 200);
}

#[tokio::test]
async fn new_pairings_of_a_user_are_limited() {
    let (_, site, clock) = world().await;
    let made = join_all((0..60).map(|_| site.post("pairings/create/qr", &[("user_name", "jdoe")]))).await;
    assert_eq!(made.iter().filter(|(status, _)| *status == 200).count(), 50);
    assert_eq!(made.iter().filter(|(status, _)| *status == 429).count(), 10);
    assert_eq!(site.post("pairings/create/qr", &[("user_name", "alice")]).await.0, 200);
    clock.advance(3600);
    assert_eq!(site.post("pairings/create/qr", &[("user_name", "jdoe")]).await.0, 200);
}

#[tokio::test]
async fn one_secret_is_one_pairing_and_its_codes_are_used_up_once() {
    let (_, site, clock) = world().await;
    let upgrade = async |secret: &str| {
        let (status, pairing) = site.post("pairings/upgrade", &[("user_name", "jdoe"), ("secret", secret)]).await;
        assert_eq!((status, &pairing["enabled"]), (200, &json!(true)));
        pairing["id"].as_str().unwrap().to_owned()
    };
    let (hex, base32) = ("3132333435363738393031323334353637383930", "gezd gnbv gy3t qojq gezd gnbv gy3t qojq");
    // For HMAC, a key with zeros at its end is the same key.
    let padded = format!("{hex}{}", "00".repeat(44));
    let ids = join_all([hex, base32, &padded].repeat(4).into_iter().map(&upgrade)).await;
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    let granted = async |pairing: &str| {
        let (status, answer) =
            site.post("authentication_requests/initiate", &[("pairing_id", pairing), ("otp", "081804")]).await;
        (status, answer["granted"] == true)
    };
    assert_eq!(granted(&ids[0]).await, (200, true));
    assert_eq!(granted(&ids[0]).await, (200, false));
    // A pairing that was deactivated stays deactivated, and the code stays used.
    site.post(&format!("pairings/{}", ids[0]), &[("deactivated", "true")]).await;
    let again = upgrade(base32).await;
    assert_ne!(again, ids[0]);
    assert_eq!(granted(&again).await, (200, false));
    assert_eq!(granted(&ids[0]).await.0, 409);
    assert_eq!(site.initiate("jdoe", &[("otp", "081804")]).await.1["granted"], false);
    // The next code is accepted.
    clock.advance(30);
    let next = tower_toopher::totp::Totp::new(tower_toopher::totp::Secret::from_base32(base32).unwrap());
    let next = next.code_at(clock.now()).as_str().to_owned();
    assert_eq!(site.initiate("jdoe", &[("otp", &next)]).await.1["granted"], true);
}

/// Every name, at the limit and one byte over it, in characters of one to four bytes.
#[tokio::test]
async fn names_over_the_limit_are_a_clear_error() {
    let (server, site, _) = world().await;
    let (_, pairing) = site.paired("jdoe").await;
    let longest = ["x".repeat(512), "\u{e9}".repeat(256), "\u{20ac}".repeat(170), "\u{1f980}".repeat(128)];
    for name in longest {
        let over = format!("{name}{}", "x".repeat(513 - name.len()));
        let calls = [
            ("users/create", Vec::new(), "name"),
            ("authentication_requests/initiate", vec![("user_name", "jdoe")], "terminal_name"),
            ("authentication_requests/initiate", vec![("user_name", "jdoe")], "terminal_name_extra"),
            ("authentication_requests/initiate", vec![("user_name", "jdoe")], "action_name"),
            ("user_terminals/create", vec![("user_name", "jdoe")], "name"),
            ("user_terminals/create", vec![("user_name", "jdoe"), ("name", "a")], "name_extra"),
            ("pairings/create/qr", vec![], "user_name"),
            ("users/reset", vec![], "name"),
        ];
        for (path, mut parameters, parameter) in calls {
            parameters.push((parameter, &over));
            let (status, error) = site.post(path, &parameters).await;
            assert_eq!(
                (status, &error["error_message"]),
                (400, &json!("A parameter is longer than 512 bytes.")),
                "{path}"
            );
            parameters.pop();
            parameters.push((parameter, &name));
            let (status, answer) = site.post(path, &parameters).await;
            assert!(matches!(status, 200 | 409 | 429), "{path} {parameter}: {status} {answer}");
        }
        let reset = [("security_question", name.as_str()), ("security_answer", name.as_str())];
        assert_eq!(site.post(&format!("pairings/{pairing}/generate_reset_link"), &reset).await.0, 200);
    }
    for name in ["", " ", "a\0b", &"x".repeat(201)] {
        assert!(server.create_requester(name).await.is_err(), "{name}");
    }
    server.create_requester(&"\u{1f980}".repeat(50)).await.unwrap();
}
