//! Signatures from the test suites of the original clients, and requests captured from these clients.
#![allow(clippy::unwrap_used)]

use http::Uri;
use serde_json::Value;
use toopher_oauth1::{BaseUri, CheckError, Credentials, OauthRequest, Signable, postback, sign};

fn vectors(file: &str) -> Value {
    let path = format!("{}/tests/vectors/{file}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn base(uri: &str) -> BaseUri {
    let uri: Uri = uri.parse().unwrap();
    BaseUri::new(uri.scheme_str().unwrap(), uri.authority().unwrap().as_str(), uri.path()).unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

#[test]
fn signatures_of_the_original_suites() {
    let vectors = vectors("signatures.json");
    let mut seen = 0;
    for kind in ["iframe_url", "header"] {
        for vector in vectors[kind].as_array().unwrap() {
            let (secret, signature) = (text(&vector["consumer_secret"]), text(&vector["signature"]));
            let base = base(text(&vector["base_url"]));
            let method = text(&vector["method"]);
            let parameters: Vec<_> =
                vector["params"].as_object().unwrap().iter().map(|(k, v)| (k.as_str(), text(v))).collect();
            let protocol: Vec<_> =
                vector["oauth"].as_object().unwrap().iter().map(|(k, v)| (k.as_str(), text(v))).collect();
            let signable = Signable::new(method, &base, parameters.iter().chain(&protocol).copied());
            assert_eq!(signable.base_string(), text(&vector["base_string"]), "{}", vector["id"]);
            assert_eq!(signable.signature(secret), signature);

            let credentials = Credentials::new(text(&vector["oauth"]["oauth_consumer_key"]), secret).unwrap();
            let nonce = text(&vector["oauth"]["oauth_nonce"]);
            let timestamp: u64 = text(&vector["oauth"]["oauth_timestamp"]).parse().unwrap();
            let url = sign::query(&credentials, &base, &parameters, nonce, timestamp);
            let query = url.split_once('?').unwrap().1;
            if method == "GET" {
                let request = OauthRequest::parse(method, base.clone(), [], Some(query), None).unwrap();
                assert!(request.signed_parameters(secret, &[]).is_some(), "{}", vector["id"]);
            }
            let header = sign::authorization(&credentials, method, &base, &parameters, nonce, timestamp);
            let quoted = format!(
                "oauth_signature=\"{}\"",
                signature.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D")
            );
            assert!(header.to_str().unwrap().contains(&quoted));
            let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(&parameters).finish();
            let request = OauthRequest::parse(method, base, [header.as_bytes()], None, Some(form.as_bytes())).unwrap();
            assert!(
                request.signed_parameters(secret, &[]).is_some() && request.signed_parameters("another", &[]).is_none()
            );
            seen += 1;
        }
    }
    assert_eq!(seen, 30);
}

/// A captured request, parsed.
fn captured(request: &Value) -> OauthRequest {
    let uri: Uri = text(&request["url"]).parse().unwrap();
    let form = request["content_type"].as_str().map(|_| text(&request["body"]).as_bytes());
    let header = request["authorization"].as_str().map(str::as_bytes);
    OauthRequest::parse(text(&request["method"]), base(text(&request["url"])), header, uri.query(), form).unwrap()
}

#[test]
fn captured_requests_are_verified() {
    let vectors = vectors("captured-requests.json");
    let requests = vectors["requests"].as_array().unwrap();
    for request in requests {
        let signed = captured(request).signed_parameters(text(&request["consumer_secret"]), &[]).is_some();
        assert_eq!(signed, request["valid"].as_bool().unwrap(), "{} {}", request["id"], request["client"]);
        assert!(captured(request).signed_parameters("another secret", &[]).is_none());
    }
    assert_eq!(requests.len(), 94);
}

#[test]
fn altered_requests_are_rejected() {
    let vectors = vectors("captured-requests.json");
    let tampered = |request: &Value, field: &str, from: &str, to: &str| {
        let mut request = request.clone();
        let value = text(&request[field]).replacen(from, to, 1);
        assert_ne!(value, text(&request[field]));
        request[field] = value.into();
        captured(&request).signed_parameters("secret", &[]).is_some()
    };
    for request in vectors["requests"].as_array().unwrap().iter().filter(|request| request["valid"] == true) {
        assert!(!tampered(request, "url", "/v1/", "/v2/"));
        assert!(!tampered(request, "url", "127.0.0.1", "127.0.0.2"));
        let method = if request["method"] == "GET" { ("GET", "PUT") } else { ("POST", "GET") };
        assert!(!tampered(request, "method", method.0, method.1));
        if text(&request["body"]).contains('=') && !text(&request["body"]).contains("oauth_") {
            assert!(!tampered(request, "body", "=", "=x"));
        }
    }
}

#[test]
fn a_parameter_in_query_and_form_may_be_signed_once() {
    let pairs = "user_name=jdoe&action_name=LogIn";
    let header = |signature: &str| {
        format!(
            "OAuth oauth_consumer_key=\"abcdefg\",oauth_nonce=\"0123456789abcdef\",oauth_signature=\"{signature}\",\
             oauth_signature_method=\"HMAC-SHA1\",oauth_timestamp=\"1000\",oauth_version=\"1.0\""
        )
    };
    let check = |signature: &str, query: &str, form: &str| {
        let base = base("https://api.toopher.test/v1/authentication_requests/initiate");
        let header = header(signature);
        let request = OauthRequest::parse("POST", base, [header.as_bytes()], Some(query), Some(form.as_bytes()));
        request.unwrap().signed_parameters("hijklmnop", &[]).is_some()
    };
    assert!(check("Yg9uhcrCusF0ia0FhqYIKOhe5qk%3D", pairs, pairs));
    assert!(check("WFd4jBxxsH65gqoXEfpFPWJ6puI%3D", pairs, pairs));
    assert!(!check("Yg9uhcrCusF0ia0FhqYIKOhe5qk%3D", pairs, "user_name=eve&action_name=LogIn"));
    assert!(!check("Yg9uhcrCusF0ia0FhqYIKOhe5qk%3D", pairs, "user_name=jdoe&action_name=LogIn&user_name=eve"));
}

#[test]
fn oauth_parameters_occur_once_and_are_supported() {
    let good = "oauth_consumer_key=\"k\",oauth_nonce=\"n\",oauth_signature=\"s\",\
                oauth_signature_method=\"HMAC-SHA1\",oauth_timestamp=\"1\"";
    let check = |header: &str, query: Option<&str>, form: Option<&str>| {
        let header = format!("OAuth {header}");
        let base = base("https://h/v1/x");
        OauthRequest::parse("POST", base, [header.as_bytes()], query, form.map(str::as_bytes)).map(|_| ())
    };
    assert_eq!(check(good, None, None), Ok(()));
    assert_eq!(check(&format!("{good},oauth_version=\"1.0\",oauth_token=\"\""), None, None), Ok(()));
    for (header, error) in [
        ("".to_owned(), CheckError::Unsigned),
        (good.replace("oauth_nonce=\"n\",", ""), CheckError::Unsigned),
        (good.replace("oauth_nonce=\"n\"", "oauth_nonce=\"\""), CheckError::BadNonce),
        (good.replace("\"n\"", &format!("\"{}\"", "n".repeat(257))), CheckError::BadNonce),
        (format!("{good},oauth_nonce=\"n\""), CheckError::Repeated),
        (format!("{good},oauth_signature=\"s\""), CheckError::Repeated),
        (format!("{good},oauth_version=\"2.0\""), CheckError::Unsupported),
        (format!("{good},oauth_version=\"1.0\",oauth_version=\"1.0\""), CheckError::Unsupported),
        (format!("{good},oauth_token=\"t\""), CheckError::Unsupported),
        (good.replace("HMAC-SHA1", "PLAINTEXT"), CheckError::Unsupported),
        (good.replace("HMAC-SHA1", "hmac-sha1"), CheckError::Unsupported),
        (good.replace("\"1\"", "\"-1\""), CheckError::BadTimestamp),
        (good.replace("\"1\"", "\"\""), CheckError::BadTimestamp),
        (good.replace("\"1\"", "\"1.5\""), CheckError::BadTimestamp),
        (good.replace("\"1\"", "\"%D9%A1\""), CheckError::BadTimestamp),
        (good.replace("\"1\"", "\"123456789012345678901234567890\""), CheckError::BadTimestamp),
        (format!("{good},x"), CheckError::MalformedHeader),
    ] {
        assert_eq!(check(&header, None, None), Err(error), "{header}");
    }
    assert_eq!(check(good, Some("oauth_nonce=other"), None), Err(CheckError::Repeated));
    assert_eq!(check(good, None, Some("oauth_signature=s")), Err(CheckError::Repeated));
    assert_eq!(check(good, None, Some("oauth_token=t")), Err(CheckError::Unsupported));
    let no_nonce = good.replace("oauth_nonce=\"n\",", "");
    assert_eq!(check(&no_nonce, Some("oauth_nonce=n"), None), Err(CheckError::Scattered));
    assert_eq!(check(good, None, Some("oauth_version=1.0")), Err(CheckError::Scattered));
    assert_eq!(check(good, Some("oauth_body_hash=x"), None), Err(CheckError::Scattered));
    let two = format!("OAuth {good}");
    let base = base("https://h/v1/x");
    let twice = OauthRequest::parse("POST", base, [two.as_bytes(), two.as_bytes()], None, None);
    assert_eq!(twice.map(|_| ()).unwrap_err(), CheckError::MalformedHeader);
}

#[test]
fn debug_output_contains_no_secret() {
    let credentials = Credentials::new("key", "hush").unwrap();
    let header = sign::authorization(&credentials, "POST", &base("https://h/"), &[("otp", "081804")], "n", 1);
    assert!(!format!("{credentials:?} {header:?}").contains("hush"));
    let form = Some(&b"otp=081804"[..]);
    let request = OauthRequest::parse("POST", base("https://h/"), [header.as_bytes()], None, form).unwrap();
    let signable = base("https://h/");
    let signable = Signable::new("POST", &signable, [("otp", "081804")]);
    assert!(!format!("{request:?} {signable:?} {header:?}").contains("081804"));
    assert!(Credentials::new("", "x").is_err() && Credentials::new("x", "").is_err());
}

/// The signed text of each encoder, whose signature was computed with Python's `hmac`.
#[test]
fn postbacks_are_encoded_as_by_java_and_ruby() {
    let fields = [("session_token", "s*~"), ("name", "a*b~c d!'()\u{e9}")];
    // name=a*b%7Ec+d%21%27%28%29%C3%A9&session_token=s*%7E
    assert_eq!(postback::signature("hijklmnop", &fields), "ONWVJc+2XVXVtoIYTDGKJcLv75Q=");
    // PHP and Python up to 3.6: name=a%2Ab%7Ec+d%21%27%28%29%C3%A9&session_token=s%2A%7E
    assert!(!postback::is_signature("hijklmnop", &fields, "dzX/Nr3U9hT087Z1zQH7GKZ5zAg="));
    // Python from 3.7: name=a%2Ab~c+d%21%27%28%29%C3%A9&session_token=s%2A~
    assert!(!postback::is_signature("hijklmnop", &fields, "oJ1ZGF7gmd3WC+nrktJtYtRXu5Q="));
    // Other characters have the same signature in all of them.
    let fields = [("session_token", "s"), ("name", "b c d!'()\u{e9}&=+%/_.-")];
    assert_eq!(postback::signature("hijklmnop", &fields), "3j0Tx4eSWQ5/09jY7SKSYUsaCfU=");
}

#[test]
fn postbacks_of_the_original_suites() {
    let vectors = vectors("signatures.json");
    let postbacks = vectors["postback"].as_array().unwrap();
    for vector in postbacks {
        let fields: Vec<_> = vector["fields"].as_object().unwrap().iter().map(|(k, v)| (k.as_str(), text(v))).collect();
        let (secret, expected) = (text(&vector["secret"]), text(&vector["toopher_sig"]));
        assert_eq!(postback::signature(secret, &fields), expected, "{}", vector["id"]);
        assert!(postback::is_signature(secret, &fields, expected));
        assert!(!postback::is_signature("another", &fields, expected));
        assert!(!postback::is_signature(secret, &fields[1..], expected));
        assert!(!postback::is_signature(secret, &fields, "invalid"));
    }
    assert_eq!(postbacks.len(), 9);
}
