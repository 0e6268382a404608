//! Requests captured from twelve builds of the original clients, replayed against a server at the time of their
//! capture: the valid ones get a response that the client can parse, the invalid one is rejected.

use axum::body::Body;
use axum::http::{Request, Uri};
use http_body_util::BodyExt;
use serde_json::Value;
use toopher_oauth1::Credentials;
use toopher_server::Server;
use toopher_server_test_support::Clock;
use tower::ServiceExt;

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn timestamp(request: &Value) -> u64 {
    let everywhere = format!("{} {} {}", request["authorization"], request["url"], request["body"]);
    let (_, after) = everywhere.split_once("oauth_timestamp").unwrap();
    let digits: String = after.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap()
}

/// Sends the request to a server with the public URL that the client used.
async fn replay(request: &Value) -> (u16, String, Vec<u8>) {
    let uri: Uri = text(&request["url"]).parse().unwrap();
    let clock = Clock::from_secs(timestamp(request));
    let public_url = format!("http://{}", uri.authority().unwrap());
    let server = Server::in_memory(&public_url).await.unwrap().clock(clock);
    let server = server.messenger(|_| async { Ok(()) });
    server
        .add_requester("old site", &Credentials::new("key", text(&request["consumer_secret"])).unwrap())
        .await
        .unwrap();
    let mut builder = Request::builder().method(text(&request["method"])).uri(uri.path_and_query().unwrap().as_str());
    for (name, value) in [("authorization", &request["authorization"]), ("content-type", &request["content_type"])] {
        if let Some(value) = value.as_str() {
            builder = builder.header(name, value);
        }
    }
    let body = Body::from(text(&request["body"]).to_owned());
    let response = server.router().oneshot(builder.body(body).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    let content_type = parts.headers["content-type"].to_str().unwrap().to_owned();
    (parts.status.as_u16(), content_type, body.collect().await.unwrap().to_bytes().to_vec())
}

#[tokio::test]
async fn captured_requests_are_answered() {
    let path = format!("{}/../toopher-oauth1/tests/vectors/captured-requests.json", env!("CARGO_MANIFEST_DIR"));
    let vectors: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let (mut refused, mut answered, mut errors) = (0, 0, 0);
    for request in vectors["requests"].as_array().unwrap() {
        let what = format!("{} {} {}", request["id"], request["client"], request["url"]);
        let (status, content_type, body) = replay(request).await;
        assert_eq!(content_type, "application/json; charset=utf-8", "{what}");
        let answer: Value = serde_json::from_slice(&body).unwrap();
        if request["valid"] == false {
            assert_eq!((status, answer["error_code"].as_u64()), (401, Some(401)), "{what}");
            refused += 1;
            continue;
        }
        assert_ne!(status, 401, "{what}: {answer}");
        if status == 200 {
            // The response has no member that old clients take for an error, and all members that they read.
            assert!(answer.get("error_code").is_none() && answer.get("error_message").is_none());
            let named = |value: &Value| value["id"].is_string() && value["name"].is_string();
            let path = text(&request["url"]);
            if path.contains("user_terminals/create") || path.contains("users/create") {
                assert!(named(&answer), "{what}: {answer}");
            } else if path.contains("/pairings/create") {
                assert!(answer["id"].is_string() && answer["enabled"].is_boolean() && answer["pending"].is_boolean());
                assert!(named(&answer["user"]));
            }
            answered += 1;
        } else {
            // These name pairings, phrases and requests of the vendor's server.
            assert!(matches!(status, 404 | 409), "{what}: {status} {answer}");
            assert!(answer["error_code"].is_u64() && answer["error_message"].is_string(), "{what}: {answer}");
            errors += 1;
        }
    }
    assert_eq!(refused, 1);
    assert_eq!(answered + errors, 93);
    assert!(answered >= 24, "{answered} answered, {errors} errors");
}
