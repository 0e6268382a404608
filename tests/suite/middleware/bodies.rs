//! The inner service receives the body of the request unchanged, whatever its framing, or the request is rejected.
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use crate::support::*;
use axum::body::Body as AxumBody;
use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderMap, HeaderValue, Request, Response, Version, header};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use proptest::prelude::*;
use tower::{Layer, ServiceExt, service_fn};
use tower_toopher::middleware::ReplayBody;
use tower_toopher::{Factor, HeaderOrForm, RejectionKind as Kind, ToopherLayer, Verdict};

/// A body of the given frames. Its size hint is empty by default.
struct Frames {
    frames: std::vec::IntoIter<Step>,
    hint: SizeHint,
}

#[derive(Clone)]
enum Step {
    Data(Bytes),
    Trailers(HeaderMap),
    Error,
    /// Returns `Pending` once, and wakes the task.
    Wait,
    /// Returns `Pending` always.
    Stall,
}

fn frames(steps: impl IntoIterator<Item = Step>) -> Frames {
    let steps: Vec<_> = steps.into_iter().collect();
    Frames { frames: steps.into_iter(), hint: SizeHint::default() }
}

fn data(text: &str) -> Step {
    Step::Data(Bytes::copy_from_slice(text.as_bytes()))
}

impl HttpBody for Frames {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.frames.next() {
            None => Poll::Ready(None),
            Some(Step::Data(bytes)) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            Some(Step::Trailers(trailers)) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
            Some(Step::Error) => Poll::Ready(Some(Err(std::io::Error::other("connection closed")))),
            Some(Step::Wait) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Some(Step::Stall) => Poll::Pending,
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.hint
    }
}

fn form<B>(body: B) -> Request<B> {
    Request::post("/transfer")
        .extension(alice())
        .header("Content-Type", "application/x-www-form-urlencoded")
        .body(body)
        .unwrap()
}

/// The result of a form: the rejection, or the verified OTP, and the forwarded bytes and trailers.
type Seen = Result<(Option<String>, Bytes, Option<HeaderMap>), Kind>;

async fn through_wrapping<B>(body: B) -> Seen
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<tower_toopher::BoxError> + std::fmt::Debug,
{
    let verified: Arc<Mutex<Option<String>>> = Arc::default();
    let (record, forwarded) = (verified.clone(), Arc::new(Mutex::new(None)));
    let verifier = ScriptedVerifier::new(move |attempt| {
        *record.lock().unwrap() = attempt.otp().map(|otp| otp.as_str().to_owned());
        Ok(Verdict::Granted(Factor::Totp))
    });
    let keep = forwarded.clone();
    let inner = service_fn(move |request: Request<ReplayBody<B>>| {
        let keep = keep.clone();
        async move {
            let body = request.into_body();
            let exact = body.size_hint().exact();
            let collected = body.collect().await.unwrap();
            let trailers = collected.trailers().cloned();
            let bytes = collected.to_bytes();
            assert!(exact.is_none_or(|exact| exact == bytes.len() as u64));
            *keep.lock().unwrap() = Some((bytes, trailers));
            Ok::<_, Infallible>(Response::new(Body::default()))
        }
    });
    let service = ToopherLayer::new(verifier).extractor(HeaderOrForm::default().wrapping()).layer(inner);
    let response = service.oneshot(form(body)).await.unwrap();
    match kind(&response) {
        Some(kind) => {
            assert!(forwarded.lock().unwrap().is_none(), "rejected, and the inner service was called");
            assert!(verified.lock().unwrap().is_none());
            Err(kind)
        }
        None => {
            let (bytes, trailers) = forwarded.lock().unwrap().take().unwrap();
            Ok((verified.lock().unwrap().take(), bytes, trailers))
        }
    }
}

fn seen(otp: Option<&str>, bytes: &str) -> Seen {
    Ok((otp.map(Into::into), Bytes::copy_from_slice(bytes.as_bytes()), None))
}

#[tokio::test]
async fn the_bytes_are_the_same_in_every_framing() {
    let text = "to=bob&a=%zz&b=+&otp=081804&c=%";
    assert_eq!(through_wrapping(Full::from(text)).await, seen(Some(CODE), text));
    assert_eq!(through_wrapping(frames([data(text)])).await, seen(Some(CODE), text));
    let single = text.chars().flat_map(|c| [data(&c.to_string()), data(""), Step::Wait]);
    assert_eq!(through_wrapping(frames(single)).await, seen(Some(CODE), text));
    assert_eq!(through_wrapping(frames([])).await, seen(None, ""));
    assert_eq!(through_wrapping(frames([data(""), data("a=b")])).await, seen(None, "a=b"));
}

#[tokio::test]
async fn trailers_are_forwarded_or_rejected_but_never_lost() {
    let trailers: HeaderMap = [(header::ETAG, HeaderValue::from_static("\"x\""))].into_iter().collect();
    let steps = [data("otp=081"), data("804"), Step::Trailers(trailers.clone())];
    let expected = Ok((Some(CODE.to_owned()), Bytes::from("otp=081804"), Some(trailers)));
    assert_eq!(through_wrapping(frames(steps.clone())).await, expected);

    let service = ToopherLayer::new(ScriptedVerifier::always(Verdict::Granted(Factor::Totp)))
        .extractor(HeaderOrForm::default())
        .layer(OneShotService::new(&Calls::default()));
    let response = service.oneshot(form(AxumBody::new(frames(steps)))).await.unwrap();
    assert_eq!(kind(&response), Some(Kind::UnreadableBody));
}

#[tokio::test]
async fn the_limit_applies_in_every_framing() {
    let at_limit = format!("otp=081804&x={}", "y".repeat(65_536 - 13));
    let over = format!("{at_limit}z");
    let chunked = |text: &str| frames(text.as_bytes().chunks(1000).map(|c| Step::Data(Bytes::copy_from_slice(c))));
    assert_eq!(at_limit.len(), 65_536);
    assert_eq!(through_wrapping(Full::from(at_limit.clone())).await, seen(Some(CODE), &at_limit));
    assert_eq!(through_wrapping(chunked(&at_limit)).await, seen(Some(CODE), &at_limit));
    assert_eq!(through_wrapping(Full::from(over.clone())).await, Err(Kind::BodyTooLarge));
    assert_eq!(through_wrapping(chunked(&over)).await, Err(Kind::BodyTooLarge));
    assert_eq!(through_wrapping(frames([data(&over)])).await, Err(Kind::BodyTooLarge));

    // A body whose announced length exceeds the limit is not read.
    let mut announced = frames([Step::Stall]);
    announced.hint.set_lower(65_537);
    assert_eq!(through_wrapping(announced).await, Err(Kind::BodyTooLarge));
    // An endless body is read up to the limit.
    let endless = frames((0..1000).map(|_| data(&"x".repeat(1000))));
    assert_eq!(through_wrapping(endless).await, Err(Kind::BodyTooLarge));
    let hollow = frames((0..100_000).map(|_| data("")));
    assert_eq!(through_wrapping(hollow).await, Err(Kind::UnreadableBody));
}

#[tokio::test]
async fn a_broken_body_is_rejected_and_a_stalled_one_pends() {
    assert_eq!(through_wrapping(frames([Step::Error])).await, Err(Kind::UnreadableBody));
    assert_eq!(through_wrapping(frames([data("otp=081804"), Step::Error])).await, Err(Kind::UnreadableBody));
    assert!(through_wrapping(frames([data("otp=081804"), Step::Stall])).now_or_never().is_none());
}

#[tokio::test]
async fn the_head_of_the_request_is_unchanged() {
    #[derive(Clone, PartialEq, Debug)]
    struct ConnectInfo(u16);
    let inner = service_fn(|request: Request<AxumBody>| async move {
        let (parts, body) = request.into_parts();
        assert_eq!((parts.method.as_str(), parts.version), ("PUT", Version::HTTP_2));
        assert_eq!(parts.uri, "https://app.test/a//b/%2e?q=1");
        assert_eq!(parts.headers["content-length"], "23");
        assert_eq!(parts.headers.get_all("x-many").iter().count(), 2);
        assert_eq!(parts.extensions.get::<ConnectInfo>(), Some(&ConnectInfo(7)));
        assert_eq!(body.size_hint().exact(), Some(23));
        assert_eq!(body.collect().await.unwrap().to_bytes(), "otp=081804&amount=10000");
        Ok::<_, Infallible>(Response::new(Body::default()))
    });
    let service = ToopherLayer::new(ScriptedVerifier::always(Verdict::Granted(Factor::Totp)))
        .extractor(HeaderOrForm::default())
        .layer(inner);
    let request = Request::put("https://app.test/a//b/%2e?q=1")
        .version(Version::HTTP_2)
        .extension(alice())
        .extension(ConnectInfo(7))
        .header("content-type", "application/X-WWW-form-urlencoded; charset=\"UTF-8\"")
        .header("content-length", "23")
        .header("x-many", "1")
        .header("x-many", "2")
        .body(AxumBody::from("otp=081804&amount=10000"))
        .unwrap();
    assert_eq!(service.oneshot(request).await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_body_of_another_type_is_not_read() {
    for content_type in ["", "application/json", "multipart/form-data; boundary=x", "text/plain"] {
        let verifier = ScriptedVerifier::new(|attempt| {
            assert!(attempt.otp().is_none());
            Ok(Verdict::Granted(Factor::Push))
        });
        let inner = service_fn(|request: Request<ReplayBody<Frames>>| async move {
            // The inner service is the first reader, and receives the original frames, including the error.
            let mut body = request.into_body();
            assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "otp=081804");
            assert!(body.frame().await.unwrap().is_err());
            Ok::<_, Infallible>(Response::new(Body::default()))
        });
        let service = ToopherLayer::new(verifier).extractor(HeaderOrForm::default().wrapping()).layer(inner);
        let mut request = form(frames([data("otp=081804"), Step::Error]));
        request.headers_mut().insert(header::CONTENT_TYPE, content_type.parse().unwrap());
        assert_eq!(service.oneshot(request).await.unwrap().status(), 200, "{content_type}");
    }
}

#[test]
fn a_replayed_body_has_its_length_and_its_end() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let inner = service_fn(|request: Request<ReplayBody<Frames>>| async move {
            let mut body = request.into_body();
            assert_eq!((body.size_hint().exact(), body.is_end_stream()), (Some(10), false));
            body.frame().await.unwrap().unwrap();
            // The trailers follow.
            assert_eq!((body.size_hint().exact(), body.is_end_stream()), (Some(0), false));
            assert!(body.frame().await.unwrap().unwrap().is_trailers());
            assert!(body.is_end_stream() && body.frame().await.is_none());
            Ok::<_, Infallible>(Response::new(Body::default()))
        });
        let service = ToopherLayer::new(ScriptedVerifier::always(Verdict::Granted(Factor::Totp)))
            .extractor(HeaderOrForm::default().wrapping())
            .layer(inner);
        let steps = [data("otp=081804"), Step::Trailers(HeaderMap::new())];
        assert_eq!(service.oneshot(form(frames(steps))).await.unwrap().status(), 200);
    });
}

proptest! {
    #[test]
    fn bytes_in_any_frames_are_forwarded_complete(
        text in "[a-z=&%+0-9]{0,200}", cuts in proptest::collection::vec(0_usize..200, 0..20),
    ) {
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        let steps: Vec<_> = cuts.windows(2).map(|cut| data(&text[cut[0]..cut[1]])).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        if let Ok((_, bytes, _)) = runtime.block_on(through_wrapping(frames(steps))) {
            prop_assert_eq!(bytes, text);
        }
    }
}
