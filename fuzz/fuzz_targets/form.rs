//! Any bytes in frames of any size as a form: the layer finds an OTP exactly where the reference parser finds one
//! field, and forwards the bytes unchanged.
#![no_main]

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::ready;
use std::rc::Rc;

use bytes::Bytes;
use futures::executor::block_on;
use futures::stream;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full, StreamBody};
use libfuzzer_sys::fuzz_target;
use tower::{Layer, ServiceExt, service_fn};
use tower_toopher::verify::SessionId;
use tower_toopher::{Attempt, Factor, HeaderOrForm, Otp, Rejection, RejectionKind, ToopherLayer, UserId, Verdict};

const LIMIT: usize = 64 * 1024;

fuzz_target!(|input: (&[u8], u8)| {
    let (form, frame_size) = input;
    // With approvals the layer calls the verifier for a form without an OTP too.
    let verified = Rc::new(RefCell::new(None));
    let verifier = service_fn(|attempt: Attempt| {
        *verified.borrow_mut() = Some(attempt.otp().cloned());
        ready(Ok::<_, Infallible>(Verdict::Granted(Factor::Totp)))
    });
    let layer = ToopherLayer::new(verifier).extractor(HeaderOrForm::default().limit(LIMIT).wrapping()).approvals();
    let response = block_on(layer.layer(service_fn(echo)).oneshot(request(form, frame_size))).unwrap();

    let values = |field: &str| form_urlencoded::parse(form).filter(|(name, _)| name == field).count();
    match response.extensions().get().map(Rejection::kind) {
        None => {
            let otp = form_urlencoded::parse(form).find(|(name, _)| name == "otp");
            let otp = otp.map(|(_, value)| Otp::parse(value.as_bytes()).unwrap());
            assert_eq!(verified.take(), Some(otp));
            assert!(values("otp") <= 1 && values("toopher_approval") <= 1 && !has_confusable_name(form));
            assert_eq!(block_on(response.into_body().collect()).unwrap().to_bytes(), form);
        }
        Some(RejectionKind::MalformedOtp) => {
            assert_eq!(values("otp"), 1);
            let (_, value) = form_urlencoded::parse(form).find(|(name, _)| name == "otp").unwrap();
            assert!(Otp::parse(value.as_bytes()).is_err());
        }
        Some(RejectionKind::AmbiguousOtp) => {
            assert!(values("otp") > 1 || values("toopher_approval") > 1 || has_confusable_name(form));
        }
        Some(RejectionKind::BodyTooLarge) => assert!(form.len() > LIMIT),
        Some(other) => panic!("unexpected rejection: {other:?}"),
    }
});

fn request(form: &[u8], frame_size: u8) -> Request<impl Body<Data = Bytes, Error = Infallible> + use<>> {
    let frames: Vec<_> = form
        .chunks(usize::from(frame_size).max(1))
        .map(|chunk| Ok::<_, Infallible>(Frame::data(Bytes::copy_from_slice(chunk))))
        .collect();
    Request::post("/")
        .header("content-type", "application/x-www-form-urlencoded")
        .extension(UserId::new("alice").unwrap())
        .extension(SessionId::new("session").unwrap())
        .body(StreamBody::new(stream::iter(frames)))
        .unwrap()
}

/// Responds with the body of the request.
async fn echo<B: Body<Error: std::fmt::Debug>>(request: Request<B>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::new(request.into_body().collect().await.unwrap().to_bytes())))
}

/// Returns whether a name differs from that of a field only in letter case, surrounding white space or brackets.
fn has_confusable_name(form: &[u8]) -> bool {
    form_urlencoded::parse(form).any(|(name, _)| {
        let stem = name.split('[').next().unwrap_or_default().trim_ascii();
        ["otp", "toopher_approval"].iter().any(|field| name != *field && stem.eq_ignore_ascii_case(field))
    })
}
