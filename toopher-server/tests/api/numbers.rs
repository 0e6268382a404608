//! Number matching: the site shows two digits, and the user types them on the phone.

use axum::body::Body;
use axum::http::Request;
use futures_util::future::join_all;
use serde_json::{Value, json};
use toopher_server_test_support::site::{Phone, Site, json, server};
use toopher_server_test_support::{Clock, T};
use tower::ServiceExt;

const MATCHED: (&str, &str) = ("number_matching", "true");

async fn site() -> (Site, Clock) {
    let clock = Clock::from_secs(T);
    (Site::new(&server(&clock).await, &clock).await, clock)
}

/// A request with number matching: its id, and the number.
async fn matched(site: &Site, more: &[(&str, &str)]) -> (String, String) {
    let parameters: Vec<_> = [MATCHED, ("terminal_name", "laptop")].into_iter().chain(more.iter().copied()).collect();
    let (status, request) = site.initiate("jdoe", &parameters).await;
    assert_eq!((status, &request["pending"]), (200, &json!(true)), "{request}");
    let number = request["number"].as_str().unwrap();
    assert!((10..100).contains(&number.parse::<u8>().unwrap()) && number.len() == 2, "{number}");
    (request["id"].as_str().unwrap().to_owned(), number.to_owned())
}

async fn status(site: &Site, id: &str) -> Value {
    let (status, request) = site.get(&format!("authentication_requests/{id}")).await;
    assert_eq!(status, 200);
    request
}

async fn answer(phone: &Phone, id: &str, answer: &str, body: Value) -> (u16, Value) {
    phone.post(&format!("requests/{id}/{answer}"), body).await
}

/// Another number of two digits.
fn other(number: &str) -> String {
    let number: u8 = number.parse().unwrap();
    (if number == 99 { 10 } else { number + 1 }).to_string()
}

#[tokio::test]
async fn the_right_number_allows() {
    let (site, _) = site().await;
    let (phone, _) = site.paired("jdoe").await;
    let (id, number) = matched(&site, &[]).await;
    assert_eq!(status(&site, &id).await["number"], number.as_str());
    // The phone sees that there is a number, but not which one.
    let waiting = phone.get("requests").await;
    assert_eq!(waiting[0]["number_required"], true);
    assert!(waiting[0].get("number").is_none());
    let shown =
        waiting[0].as_object().unwrap().iter().filter(|(name, _)| !["id", "created", "expires"].contains(&&***name));
    assert!(shown.map(|(_, value)| value.to_string()).all(|value| !value.contains(&number)), "{waiting}");

    let (code, answered) = answer(&phone, &id, "allow", json!({ "number": number })).await;
    assert_eq!((code, &answered["granted"], &answered["reason"]), (200, &json!(true), &json!("")));
    let decided = status(&site, &id).await;
    assert_eq!((&decided["pending"], &decided["granted"]), (&json!(false), &json!(true)));
    // The request is decided.
    assert!(decided.get("number").is_none());
}

#[tokio::test]
async fn without_a_number_the_request_stays_pending() {
    let (site, _) = site().await;
    let (phone, _) = site.paired("jdoe").await;
    let (id, number) = matched(&site, &[]).await;
    for nothing in [
        json!({}),
        json!({ "automate": true }),
        json!({ "number": null }),
        json!({ "number": "" }),
        json!({ "number": "4" }),
        json!({ "number": format!("{number}1") }),
        json!({ "number": format!(" {number}") }),
        json!({ "number": number.parse::<u8>().unwrap() }),
        json!({ "number": [number] }),
        json!({ "number": "٤٢" }),
    ] {
        let (code, error) = answer(&phone, &id, "allow", nothing.clone()).await;
        assert_eq!((code, &error["error_code"]), (400, &json!(400)), "{nothing}");
    }
    let (_, error) = answer(&phone, &id, "allow", json!({})).await;
    assert!(error["error_message"].as_str().unwrap().contains("number"), "{error}");
    assert_eq!(phone.get("automations").await, json!([]));
    assert_eq!(status(&site, &id).await["pending"], true);
    assert_eq!(answer(&phone, &id, "allow", json!({ "number": number })).await.0, 200);
    assert_eq!(status(&site, &id).await["granted"], true);
}

#[tokio::test]
async fn a_wrong_number_denies_and_creates_no_rule() {
    let (site, _) = site().await;
    let (phone, _) = site.paired("jdoe").await;
    for wrong in ["other", "00"] {
        let (id, number) = matched(&site, &[("requester_specified_terminal_id", "a browser")]).await;
        let wrong = if wrong == "other" { other(&number) } else { wrong.to_owned() };
        let (code, answered) = answer(&phone, &id, "allow", json!({ "number": wrong, "automate": true })).await;
        assert_eq!(
            (code, &answered["granted"], &answered["automated_from_now_on"]),
            (200, &json!(false), &json!(false))
        );
        assert_eq!(answered["reason"], "The number was wrong.");
        // There is no second guess.
        assert_eq!(answer(&phone, &id, "allow", json!({ "number": number })).await.0, 409);
        let decided = status(&site, &id).await;
        assert_eq!((&decided["pending"], &decided["granted"]), (&json!(false), &json!(false)));
        assert_eq!(decided["reason"], "The number was wrong.");
        assert!(decided.get("number").is_none());
    }
    assert_eq!(phone.get("automations").await, json!([]));
    assert_eq!(phone.get("requests").await, json!([]));
}

#[tokio::test]
async fn denying_needs_no_number() {
    let (site, _) = site().await;
    let (phone, _) = site.paired("jdoe").await;
    let (id, _) = matched(&site, &[]).await;
    assert_eq!(answer(&phone, &id, "deny", json!({})).await.0, 200);
    let decided = status(&site, &id).await;
    assert_eq!(
        (&decided["granted"], &decided["reason"]),
        (&json!(false), &json!("The request was denied on the phone."))
    );
}

#[tokio::test]
async fn without_number_matching_nothing_changes() {
    let (site, _) = site().await;
    let (phone, _) = site.paired("jdoe").await;
    for parameters in [vec![], vec![("number_matching", "false")]] {
        let (_, request) = site.initiate("jdoe", &parameters).await;
        let id = request["id"].as_str().unwrap();
        assert!(request.get("number").is_none() && status(&site, id).await.get("number").is_none());
        assert_eq!(phone.get("requests").await[0]["number_required"], false);
        // A number for a request without number matching is ignored.
        assert_eq!(answer(&phone, id, "allow", json!({ "number": "10" })).await.0, 200);
        assert_eq!(status(&site, id).await["granted"], true);
    }
    assert_eq!(site.initiate("jdoe", &[("number_matching", "perhaps")]).await.0, 400);
}

#[tokio::test]
async fn decided_requests_have_no_number() {
    let (site, clock) = site().await;
    let (phone, _) = site.paired("jdoe").await;
    let code = phone.code(clock.now());
    let (_, by_otp) = site.initiate("jdoe", &[MATCHED, ("otp", &code)]).await;
    assert_eq!((&by_otp["granted"], by_otp.get("number")), (&json!(true), None));
    let terminal = ("requester_specified_terminal_id", "a browser");
    let (id, number) = matched(&site, &[terminal]).await;
    let (_, answered) = answer(&phone, &id, "allow", json!({ "number": number, "automate": true })).await;
    assert_eq!(answered["automated_from_now_on"], true);
    let (_, automated) = site.initiate("jdoe", &[MATCHED, terminal]).await;
    assert_eq!(
        (&automated["granted"], &automated["automated"], automated.get("number")),
        (&json!(true), &json!(true), None)
    );
    // Neither have expired and cancelled ones.
    let (late, number) = matched(&site, &[]).await;
    clock.advance(121);
    assert_eq!(answer(&phone, &late, "allow", json!({ "number": number })).await.0, 409);
    assert!(status(&site, &late).await.get("number").is_none());
    let (cancelled, _) = matched(&site, &[]).await;
    let (_, answer) = site.post(&format!("authentication_requests/{cancelled}/cancel"), &[]).await;
    assert_eq!((&answer["cancelled"], answer.get("number")), (&json!(true), None));
}

#[tokio::test]
async fn one_of_many_concurrent_numbers_decides() {
    let (site, _) = site().await;
    let (phone, _) = site.paired("jdoe").await;
    for round in 0..8 {
        let (id, number) = matched(&site, &[]).await;
        // Any of them may be first.
        let mut guesses = [number.clone(), other(&number), number.clone(), other(&other(&number))];
        guesses.rotate_left(round % 4);
        let answers =
            join_all(guesses.iter().map(|guess| answer(&phone, &id, "allow", json!({ "number": guess })))).await;
        let taken: Vec<_> = guesses.iter().zip(&answers).filter(|(_, (code, _))| *code == 200).collect();
        assert_eq!(taken.len(), 1, "{answers:?}");
        let (guess, (_, taken)) = taken[0];
        assert_eq!(taken["granted"], *guess == number);
        assert!(answers.iter().all(|(code, _)| [200, 409].contains(code)), "{answers:?}");
        let decided = status(&site, &id).await;
        assert_eq!((&decided["pending"], &decided["granted"]), (&json!(false), &taken["granted"]));
        assert_eq!(decided["reason"], taken["reason"]);
    }
}

#[tokio::test]
async fn only_the_requester_sees_the_number() {
    let clock = Clock::from_secs(T);
    let shared = server(&clock).await;
    let (mine, theirs) = (Site::new(&shared, &clock).await, Site::new(&shared, &clock).await);
    let (phone, _) = mine.paired("jdoe").await;
    let (stranger, _) = theirs.paired("jdoe").await;
    let (id, number) = matched(&mine, &[]).await;
    let (code, error) = theirs.get(&format!("authentication_requests/{id}")).await;
    // The error code is 404, which contains "40".
    assert!(code == 404 && error["error_code"] == 404 && error.as_object().unwrap().len() == 2, "{error}");
    assert!(!error["error_message"].as_str().unwrap().contains(&number), "{error}");
    // Another phone learns nothing about the request, not even that a number is missing.
    for body in [json!({}), json!({ "number": number }), json!({ "number": other(&number) })] {
        assert_eq!(answer(&stranger, &id, "allow", body).await.0, 409);
    }
    let unauthorized = Request::post(format!("/phone/v1/requests/{id}/allow"))
        .header("content-type", "application/json")
        .body(Body::from(json!({ "number": number }).to_string()))
        .unwrap();
    assert_eq!(json(mine.app.clone().oneshot(unauthorized).await.unwrap()).await.0, 401);
    assert_eq!(status(&mine, &id).await["pending"], true);
    assert_eq!(answer(&phone, &id, "allow", json!({ "number": number })).await.0, 200);
}
