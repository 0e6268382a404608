//! Two sources that must agree: whatever a handler reads as a form, the layer has compared with the header. And two
//! layers over one form.
use std::collections::HashMap;

use crate::support::*;
use axum::Router;
use axum::body::Body as AxumBody;
use axum::extract::Form;
use axum::extract::rejection::FormRejection;
use axum::routing::any;
use http::{HeaderValue, Request, header};
use tower::{ServiceBuilder, ServiceExt};
use tower_toopher::totp::Pairing;
use tower_toopher::{Factor, Header, HeaderOrForm, ToopherLayer, Verdict};

/// The status, and the code in the form that axum's `Form` has read.
async fn handled(request: Request<AxumBody>) -> (u16, String) {
    let layer = ToopherLayer::new(ScriptedVerifier::new(|attempt| {
        Ok(match attempt.otp() {
            Some(_) => Verdict::Granted(Factor::Totp),
            None => Verdict::Denied(tower_toopher::DenyReason::OtpRequired),
        })
    }));
    let handler = |form: Result<Form<HashMap<String, String>>, FormRejection>| async move {
        form.ok().and_then(|Form(mut fields)| fields.remove("otp")).unwrap_or_default()
    };
    let app = Router::new().fallback(any(handler)).layer(layer.extractor(HeaderOrForm::default()));
    let response = app.oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let body = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
    (status, if status == 200 { String::from_utf8(body.to_vec()).unwrap() } else { String::new() })
}

#[tokio::test]
async fn no_content_type_lets_a_handler_read_a_code_that_was_not_compared() {
    const FORM: &str = "application/x-www-form-urlencoded";
    let mut lines: Vec<Vec<Vec<u8>>> = Vec::new();
    for line in [
        FORM.to_owned(),
        format!("{FORM}x"),
        format!("{FORM}, text/plain"),
        format!("text/plain, {FORM}"),
        format!("{FORM}; charset=utf-8"),
        format!("{FORM}; charset=utf-16"),
        format!("{FORM};boundary=\"a, b\""),
        format!("{FORM}; a=b, text/plain"),
        format!("{FORM}+json"),
        format!("{FORM} "),
        format!("{FORM}\t;"),
        FORM.to_uppercase(),
        format!("\"{FORM}\""),
        "multipart/form-data; boundary=x".into(),
        format!("multipart/form-data; boundary={FORM}"),
        "application/json".into(),
        "text/plain".into(),
        String::new(),
    ] {
        lines.push(vec![line.clone().into_bytes()]);
        lines.push(vec![line.clone().into_bytes(), b"text/plain".to_vec()]);
        lines.push(vec![b"text/plain".to_vec(), line.into_bytes()]);
    }
    lines.push(vec![[FORM.as_bytes(), b"\xff"].concat()]);
    lines.push(vec![]);
    let mut read = 0;
    for content_types in lines {
        for (body, method) in [("otp=000000", "POST"), ("otp=081804", "POST"), ("otp=000000", "GET")] {
            let mut request = Request::builder().method(method).extension(alice()).header("Toopher-OTP", CODE);
            for line in &content_types {
                request = request.header(header::CONTENT_TYPE, HeaderValue::from_bytes(line).unwrap());
            }
            let (status, code) = handled(request.body(AxumBody::from(body)).unwrap()).await;
            assert!(code.is_empty() || code == CODE, "{content_types:?} {body}: {status} {code}");
            read += usize::from(code == CODE);
            assert!(matches!(status, 200 | 400), "{content_types:?} {body}: {status}");
        }
    }
    assert!(read >= 4, "{read}");
}

/// axum's `Form` reads the query of these methods.
#[tokio::test]
async fn a_code_in_the_query_of_a_get_is_rejected() {
    for (method, uri, status) in [
        ("GET", "/?otp=000000", 400),
        ("GET", "/?a=b&%6ftp=081804", 400),
        ("HEAD", "/?OTP=081804", 400),
        ("GET", "/?otp[]=081804", 400),
        ("GET", "/?toopher_approval=abc", 400),
        ("GET", "/?otpx=1&a=otp", 200),
        ("GET", "/?", 200),
        ("POST", "/?otp=000000", 200),
    ] {
        let request = Request::builder().method(method).uri(uri).extension(alice()).header("Toopher-OTP", CODE);
        let (received, code) = handled(request.body(AxumBody::empty()).unwrap()).await;
        assert_eq!((received, code.as_str()), (status, ""), "{method} {uri}");
    }
}

/// Each layer reads a field and a header of its own, and each code is used once.
#[tokio::test]
async fn a_form_passes_two_layers_with_a_code_for_each() {
    let (verifier, clock, users) = totp_verifier();
    users.insert(alice(), Pairing::confirmed(rfc_totp()));
    let own = |name: &'static str| {
        HeaderOrForm::default().field(name).header(Header::new(http::HeaderName::from_static(name)))
    };
    let calls = Calls::default();
    let service = ServiceBuilder::new()
        .layer(ToopherLayer::new(verifier.clone()).action("log in").extractor(own("login-otp")))
        .layer(ToopherLayer::new(verifier).action("pay").extractor(own("pay-otp")))
        .service(OneShotService::new(&calls));
    clock.set(T + 1);
    for (form, status) in [
        // One code for both.
        (format!("to=bob&login-otp={CODE}&pay-otp={CODE}"), 401),
        (format!("to=bob&login-otp={NEXT_CODE}"), 401),
    ] {
        let request = Request::post("/").extension(alice()).header("content-type", "application/x-www-form-urlencoded");
        let response = service.clone().oneshot(request.body(Body::from(form.clone())).unwrap()).await.unwrap();
        assert_eq!(response.status(), status, "{form}");
    }
    // The codes of two later steps, in their order.
    clock.set(T + 61);
    let codes = [T + 61, T + 91].map(|at| rfc_totp().code_at(tower_toopher::time::UnixTime::from_secs(at)));
    let form = format!("to=bob&login-otp={}&pay-otp={}", codes[0].as_str(), codes[1].as_str());
    let request = Request::post("/").extension(alice()).header("content-type", "application/x-www-form-urlencoded");
    let response = service.oneshot(request.body(Body::from(form)).unwrap()).await.unwrap();
    assert_eq!((response.status().as_u16(), calls.count()), (200, 1));
}
