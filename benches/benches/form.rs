//! The cost of finding a one-time password in a form and forwarding the form unchanged.
//!
//! Run with `cargo bench -p tower-toopher-benches --features full --bench form`. The peers collect the whole form, as
//! an application would: into a map of owned strings, as axum's `Form` does, or only until the field is found, which
//! does not detect a second field of the same name.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::extract::{Form, FromRequest};
use bytes::Bytes;
use http::Request;
use http::request::Parts;
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use tower_toopher::middleware::{Credentials, Extract};
use tower_toopher::{HeaderOrForm, Otp};
use tower_toopher_benches::{Contender, compare_in_rounds, poll_once};

const OTP: &str = "otp=081804";
/// At 26 bytes each, the fields fill the longest form that the extractor accepts.
const FIELDS: usize = 2430;

fn main() {
    let small = "to=CH9300762011623852957&name=Bob+Miller&street=Long+Lane+7&city=Zurich&amount=1250.00&currency=CHF\
                 &reference=invoice+2026-0815&memo=with+%26+without&date=2026-11-30&csrf=3a7bd3e2360a3d29ee&otp=081804";
    let padded = format!("{small}{}", "&x=y".repeat((200 - small.len()) / 4));
    table("a form of 200 bytes", 201, 200, padded, true, 0.25);

    let long = (0..FIELDS).map(|i| format!("name-{i:04}=value-{i:04}-{:04}&", i % 97)).collect::<String>();
    table("a form of 64 KiB in 2,430 fields, the OTP last", 41, 10, format!("{long}{OTP}"), true, 0.15);
    table("a form of 64 KiB in 2,430 fields without an OTP", 41, 10, long, false, 0.15);
    // Each name has to be decoded before it can be compared with the name of the field.
    table("a form of 64 KiB in 16,000 encoded names, the OTP last", 21, 4, "%6f&".repeat(16_000) + OTP, true, 0.15);
    let almost = "otp%78=1&".repeat(7_000) + OTP;
    table("a form of 64 KiB in 7,000 names that begin like the field", 21, 4, almost, true, 0.15);
}

fn table(title: &str, rounds: usize, batch: usize, form: String, has_otp: bool, mark: f64) {
    let (length, form) = (form.len(), Bytes::from(form));
    let bodies = move |frames: usize| {
        let form = form.clone();
        move || (0..batch).map(|_| (head(), Frames::split(&form, frames))).collect::<Vec<_>>()
    };
    compare_in_rounds(
        rounds,
        &format!("{title}: {length} bytes"),
        vec![
            Contender::new("collect + form_urlencoded", bodies(1), move |(_, body)| with_map(body, has_otp)),
            Contender::new("collect + form_urlencoded, in four frames", bodies(4), move |(_, body)| {
                with_map(body, has_otp)
            }),
            Contender::new("collect + form_urlencoded until found", bodies(1), move |(_, body)| {
                until_found(body, has_otp)
            })
            .relative_to("collect + form_urlencoded", None),
            Contender::new("axum's Form, body used up", bodies(1), move |(head, body)| with_axum(head, body, has_otp))
                .relative_to("collect + form_urlencoded", None),
            Contender::new("HeaderOrForm", bodies(1), extract).relative_to("collect + form_urlencoded", mark),
            Contender::new("HeaderOrForm, in four frames", bodies(4), extract)
                .relative_to("collect + form_urlencoded, in four frames", mark),
            Contender::new("HeaderOrForm beside until found", bodies(1), extract)
                .relative_to("collect + form_urlencoded until found", None),
        ],
    );
}

fn head() -> Parts {
    Request::post("/").header("content-type", "application/x-www-form-urlencoded").body(()).unwrap().into_parts().0
}

/// Returns the OTP and the body for the inner service.
fn extract((mut head, body): (Parts, Frames)) -> (Parts, Credentials<Frames>) {
    thread_local!(static EXTRACTOR: HeaderOrForm = HeaderOrForm::default());
    let credentials = EXTRACTOR.with(|extractor| poll_once(extractor.extract(&mut head, body))).unwrap();
    (head, credentials)
}

fn with_map(body: Frames, has_otp: bool) -> (Option<Otp>, Frames) {
    let bytes = poll_once(body.collect()).unwrap().to_bytes();
    let form: HashMap<String, String> = form_urlencoded::parse(&bytes).into_owned().collect();
    let otp = form.get("otp").map(|otp| Otp::parse(otp.as_bytes()).unwrap());
    assert_eq!(otp.is_some(), has_otp);
    (otp, bytes.into())
}

fn until_found(body: Frames, has_otp: bool) -> (Option<Otp>, Frames) {
    let bytes = poll_once(body.collect()).unwrap().to_bytes();
    let field = form_urlencoded::parse(&bytes).find(|(name, _)| name == "otp");
    let otp = field.map(|(_, otp)| Otp::parse(otp.as_bytes()).unwrap());
    assert_eq!(otp.is_some(), has_otp);
    (otp, bytes.into())
}

fn with_axum(head: Parts, body: Frames, has_otp: bool) -> Option<Otp> {
    let request = Request::from_parts(head, axum::body::Body::new(body));
    let Form(form): Form<HashMap<String, String>> = poll_once(Form::from_request(request, &())).unwrap();
    let otp = form.get("otp").map(|otp| Otp::parse(otp.as_bytes()).unwrap());
    assert_eq!(otp.is_some(), has_otp);
    otp
}

/// A body that arrives in several frames.
#[derive(Default)]
struct Frames {
    first: Bytes,
    others: VecDeque<Bytes>,
}

impl Frames {
    fn split(form: &Bytes, frames: usize) -> Self {
        let size = form.len().div_ceil(frames);
        let piece = |i: usize| form.slice(i * size..((i + 1) * size).min(form.len()));
        Self { first: piece(0), others: (1..frames).map(piece).collect() }
    }
}

impl From<Bytes> for Frames {
    fn from(bytes: Bytes) -> Self {
        Self { first: bytes, others: VecDeque::new() }
    }
}

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = self.others.pop_front().unwrap_or_default();
        let first = std::mem::replace(&mut self.first, next);
        Poll::Ready((!first.is_empty()).then(|| Ok(Frame::data(first))))
    }
}
