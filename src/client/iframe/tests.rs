//! The vectors that the original clients' test suites assert.

use std::time::Duration;

use serde_json::Value;

use super::{Iframe, Page, Postback, PostbackError};
use crate::client::{ApiErrorKind, ClientErrorKind, Credentials};
use crate::time::UnixTime;

const TOKEN: &str = "s9s7vsb";

fn vectors(kind: &str) -> Vec<Value> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/toopher-oauth1/tests/vectors/signatures.json");
    let vectors: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    vectors[kind].as_array().unwrap().clone()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn iframe_with_time(seconds: u64) -> Iframe {
    let credentials = Credentials::new("abcdefg", "hijklmnop").unwrap();
    Iframe::new("https://api.toopher.test/v1/".parse().unwrap(), credentials)
        .clock(move || UnixTime::from_secs(seconds))
}

/// The page of a vector, built with the methods of `Page` where they produce the same value.
fn page(vector: &Value) -> Page {
    let parameters = vector["params"].as_object().unwrap();
    let name = text(&vector["base_url"]).rsplit('/').next().unwrap();
    let mut page = match name {
        "pair" => Page::pair("jdoe"),
        "manage_user" => Page::manage_user("jdoe"),
        _ => Page::authenticate("jdoe", text(&parameters["session_token"])),
    };
    for (name, value) in parameters {
        let value = text(value);
        page = match (name.as_str(), value) {
            ("v" | "username" | "session_token" | "expires", _) => page,
            ("action_name", _) => page.action(value),
            ("reset_email", _) => page.reset_email(value),
            ("requester_metadata", _) => page.requester_metadata(value),
            ("allow_inline_pairing", "true" | "false") => page.allow_inline_pairing(value == "true"),
            ("automation_allowed", "true" | "false") => page.automation_allowed(value == "true"),
            ("challenge_required", "true" | "false") => page.challenge_required(value == "true"),
            _ => page.with_parameter(name.clone(), value),
        };
    }
    page
}

#[test]
fn every_url_of_the_suites_is_reproduced() {
    let vectors = vectors("iframe_url");
    for vector in &vectors {
        let expires: u64 = text(&vector["params"]["expires"]).parse().unwrap();
        let iframe = iframe_with_time(1000).lifetime(Duration::from_secs(expires - 1000));
        let url = iframe.url_with_nonce(&page(vector), "12345678").unwrap();
        let (address, query) = url.split_once('?').unwrap();
        assert_eq!(address, text(&vector["base_url"]));
        let mut sent: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let signature = sent.iter().position(|(name, _)| name == "oauth_signature").unwrap();
        assert_eq!(sent.swap_remove(signature).1, text(&vector["signature"]), "{}", vector["id"]);
        sent.sort();
        let mut expected: Vec<_> = vector["params"].as_object().unwrap().iter().collect();
        expected.extend(vector["oauth"].as_object().unwrap());
        expected.sort_by_key(|(name, _)| *name);
        let expected: Vec<_> = expected.iter().map(|(k, v)| ((*k).clone(), text(v).to_owned())).collect();
        assert_eq!(sent, expected);
    }
    assert_eq!(vectors.len(), 29);
    let iframe = iframe_with_time(1000);
    assert_ne!(iframe.url(&Page::pair("a")).unwrap(), iframe.url(&Page::pair("a")).unwrap());
    assert!(
        iframe
            .url(&Page::pair("a").with_parameter("oauth_nonce", "b"))
            .is_err_and(|error| error.kind() == ClientErrorKind::InvalidCall)
    );
}

fn fields(vector: &Value) -> Vec<(String, String)> {
    let fields = vector["fields"].as_object().unwrap();
    let fields = fields.iter().map(|(name, value)| (name.clone(), text(value).to_owned()));
    fields.chain([("toopher_sig".to_owned(), text(&vector["toopher_sig"]).to_owned())]).collect()
}

fn check(now: u64, fields: &[(String, String)], token: &str) -> Result<Postback, PostbackError> {
    let result = iframe_with_time(now).check(fields.iter().map(|(name, value)| (name.as_str(), value.as_str())), token);
    let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    assert_eq!(iframe_with_time(now).check_form(form.as_bytes(), token), result);
    let data = form_urlencoded::Serializer::new(String::new()).append_pair("toopher_iframe_data", &form).finish();
    let framed = format!("csrf=x&{data}&granted=true");
    assert_eq!(iframe_with_time(now).check_form(framed.as_bytes(), token), result);
    result
}

fn signed(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let signature = toopher_oauth1::postback::signature("hijklmnop", pairs);
    let pairs = pairs.iter().copied().chain([("toopher_sig", signature.as_str())]);
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[test]
fn every_postback_of_the_suites_is_checked() {
    let vectors = vectors("postback");
    for vector in &vectors {
        let id = text(&vector["id"]);
        let result = check(1000, &fields(vector), TOKEN);
        match id {
            "S01" | "S06" => assert!(result.unwrap().is_granted_for("user name", "action name"), "{id}"),
            "S03" | "S04" => assert!(
                matches!(&result, Ok(Postback::Authentication(authentication))
                    if !authentication.is_granted() && authentication.is_pending() == (id == "S04")),
                "{id}: {result:?}"
            ),
            "S08" | "S09" => {
                assert!(matches!(&result, Ok(Postback::Pairing(pairing)) if pairing.is_enabled()), "{id}: {result:?}")
            }
            "S10" => assert!(
                matches!(&result, Ok(Postback::User(user)) if user.is_enabled() && user.name() == "user name"),
                "{id}: {result:?}"
            ),
            "S12" => assert_eq!(result, Err(PostbackError::Malformed)),
            "S13" => assert_eq!(result, Err(PostbackError::Incomplete)),
            _ => assert_eq!(id, "a vector with an expectation"),
        }
    }
    assert_eq!(vectors.len(), 9);
}

#[test]
fn a_change_of_any_field_is_rejected_first() {
    let good = fields(&vectors("postback")[0]);
    assert!(check(1299, &good, TOKEN).unwrap().is_granted_for("user name", "action name"));
    assert!(!check(1299, &good, TOKEN).unwrap().is_granted_for("another", "action name"));
    assert!(!check(1299, &good, TOKEN).unwrap().is_granted_for("user name", "another"));
    for at in 0..good.len() {
        let (mut missing, mut changed, mut twice) = (good.clone(), good.clone(), good.clone());
        missing.remove(at);
        changed[at].1.push('x');
        twice.push(good[at].clone());
        let unsigned = good[at].0 == "toopher_sig";
        let expected = if unsigned { PostbackError::Unsigned } else { PostbackError::WrongSignature };
        assert_eq!(check(1000, &missing, TOKEN), Err(expected));
        // The signature is checked before the time and the session.
        assert_eq!(check(9000, &changed, "another"), Err(PostbackError::WrongSignature));
        assert_eq!(check(1000, &twice, TOKEN), Err(PostbackError::DuplicateField));
    }
    let mut forged = good;
    forged.push(("error_code".into(), "704".into()));
    assert_eq!(check(1000, &forged, TOKEN), Err(PostbackError::WrongSignature));
}

#[test]
fn time_and_session() {
    let good = fields(&vectors("postback")[0]);
    for (at, result) in [
        (1000, None),
        (1299, None),
        (1300, Some(PostbackError::Expired)),
        (2000, Some(PostbackError::Expired)),
        (970, None),
        (969, Some(PostbackError::NotYetValid)),
        (0, Some(PostbackError::NotYetValid)),
    ] {
        assert_eq!(check(at, &good, TOKEN).err(), result, "{at}");
    }
    for token in ["", "another", "s9s7vs", "s9s7vsbb", "S9S7VSB"] {
        assert_eq!(check(1000, &good, token), Err(PostbackError::WrongSession), "{token}");
    }
    let without = signed(&[("resource_type", "pairing"), ("session_token", ""), ("timestamp", "1000")]);
    assert_eq!(check(1000, &without, ""), Err(PostbackError::WrongSession));
    for timestamp in ["", "+1000", "-1", "1000.0", " 1000", "99999999999999999999"] {
        let fields = signed(&[("session_token", TOKEN), ("timestamp", timestamp)]);
        assert_eq!(check(1000, &fields, TOKEN), Err(PostbackError::Incomplete), "{timestamp}");
    }
    let short = iframe_with_time(1006).max_age(Duration::from_secs(5));
    let result = short.check(good.iter().map(|(name, value)| (name.as_str(), value.as_str())), TOKEN);
    assert_eq!(result, Err(PostbackError::Expired));
}

#[test]
fn a_signed_error_is_not_a_grant() {
    let base = [("session_token", TOKEN), ("timestamp", "1000")];
    for (code, kind) in [("704", ApiErrorKind::UserOptedOut), ("707", ApiErrorKind::PairingDeactivated)] {
        // Also if the other fields are those of a grant.
        let grant = [
            ("resource_type", "authentication_request"),
            ("id", "1"),
            ("pending", "false"),
            ("granted", "true"),
            ("user_name", "jdoe"),
            ("action_name", "pay"),
            ("error_code", code),
            ("error_message", "what"),
        ];
        let postback = check(1000, &signed(&[&base[..], &grant[..]].concat()), TOKEN).unwrap();
        assert!(!postback.is_granted_for("jdoe", "pay"));
        let failure = match &postback {
            Postback::Failure(failure) => Some((failure.kind(), failure.message())),
            _ => None,
        };
        assert_eq!(failure, Some((kind, "what")));
    }
    let error = signed(&[&base[..], &[("error_code", "x")]].concat());
    assert_eq!(check(1000, &error, TOKEN), Err(PostbackError::Malformed));
    for (name, value) in [("granted", "1"), ("granted", "TRUE "), ("pending", ""), ("pending", "0"), ("granted", "")] {
        let mut grant = vec![("resource_type", "authentication_request"), ("id", "1"), ("user_name", "jdoe")];
        grant.extend([("pending", "false"), ("granted", "true")].into_iter().filter(|(other, _)| *other != name));
        grant.push((name, value));
        let fields = signed(&[&base[..], &grant[..]].concat());
        assert_eq!(check(1000, &fields, TOKEN), Err(PostbackError::Malformed), "{name}={value}");
    }
    let other = signed(&[&base[..], &[("resource_type", "other")]].concat());
    assert_eq!(check(1000, &other, TOKEN), Err(PostbackError::Malformed));
}

#[test]
fn debug_omits_the_secret_and_the_token() {
    let page = Page::authenticate("jdoe", TOKEN);
    let shown = format!("{:?} {page:?}", iframe_with_time(0));
    assert!(!shown.contains("hijklmnop") && !shown.contains(TOKEN), "{shown}");
}
