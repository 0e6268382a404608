//! What the responses tell caches: `Vary`, and `Cache-Control` where the handler sets nothing. `examples/tests` has the
//! same with nginx.
use std::convert::Infallible;

use crate::support::*;
use http::{HeaderName, HeaderValue, Request, Response, header};
use tower::{Layer, ServiceExt, service_fn};
use tower_toopher::middleware::Profile;
use tower_toopher::verify::{BypassReason, ErrorClass};
use tower_toopher::{DenyReason, Factor, Header, HeaderOrForm, SecondFactor, ToopherLayer, Verdict};

const USUAL: &str = "toopher-otp, toopher-approval, authorization, cookie";

/// The `Vary` lines and `Cache-Control` of the response.
fn caching(response: &Response<Body>) -> (Vec<&str>, Option<&str>) {
    let vary = response.headers().get_all(header::VARY).iter().map(|line| line.to_str().unwrap());
    (vary.collect(), response.headers().get(header::CACHE_CONTROL).map(|value| value.to_str().unwrap()))
}

fn verifier(verdict: impl Fn() -> Verdict + Send + Sync + 'static) -> ScriptedVerifier {
    ScriptedVerifier::new(move |_| Ok(verdict()))
}

/// The response of a handler that sets these headers.
async fn send<X, V>(
    layer: &ToopherLayer<V, X>,
    set: &[(&'static str, &'static str)],
    request: Request<Body>,
) -> Response<Body>
where
    V: tower::Service<tower_toopher::Attempt, Response = Verdict> + Clone,
    V::Error: Into<tower_toopher::BoxError>,
    X: tower_toopher::middleware::Extract<Body, Body = Body> + Clone,
{
    let set = set.to_vec();
    let handler = service_fn(move |_: Request<Body>| {
        let mut response = Response::new(Body::from("page"));
        for (name, value) in &set {
            response.headers_mut().append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        std::future::ready(Ok::<_, Infallible>(response))
    });
    layer.layer(handler).oneshot(request).await.unwrap()
}

#[tokio::test]
async fn a_response_that_depends_on_a_factor_says_so() {
    let granting = ToopherLayer::new(verifier(|| Verdict::Granted(Factor::Totp)));
    let expected = (vec![USUAL], Some("no-store"));
    assert_eq!(caching(&send(&granting, &[], request(Some(CODE))).await), expected);
    // Also without an OTP in the request: another request may have one.
    assert_eq!(caching(&send(&granting, &[], request(None)).await), expected);
    let open = ToopherLayer::new(verifier(|| Verdict::Bypassed(BypassReason::FailOpen(ErrorClass::Refused))));
    assert_eq!(caching(&send(&open, &[], request(Some(CODE))).await), expected);
    let mut verified = request(None);
    verified.extensions_mut().insert(SecondFactor::new(alice(), "log in", Factor::Totp));
    assert_eq!(caching(&send(&granting, &[], verified).await), expected);
    // Rejections too.
    let denying = verifier(|| Verdict::Denied(DenyReason::WrongOtp));
    let denying = [ToopherLayer::new(denying.clone()), ToopherLayer::new(denying).profile(Profile::ForwardAuth)];
    for layer in denying {
        for request in [request(Some(CODE)), request(Some("junk")), Request::new(Body::default())] {
            let response = send(&layer, &[], request).await;
            assert_eq!((response.status().as_u16(), caching(&response)), (401, expected.clone()));
        }
    }
    // A skipped request does not depend on a factor.
    let skipping = granting.clone().insecure_skip(|_| true);
    assert_eq!(caching(&send(&skipping, &[], request(None)).await), (vec![], None));
    // Two layers add the line once.
    let inner = granting.clone().action("pay").layer(OneShotService::new(&Calls::default()));
    let both = granting.layer(inner).oneshot(request(Some(CODE))).await.unwrap();
    assert_eq!(caching(&both), expected);
}

#[tokio::test]
async fn the_handler_decides_if_it_sets_a_caching_header() {
    let layer = ToopherLayer::new(verifier(|| Verdict::Granted(Factor::Totp)));
    for (set, cache_control) in [
        (&[("cache-control", "private, max-age=60")][..], "private, max-age=60"),
        (&[("cache-control", "public, s-maxage=60")], "public, s-maxage=60"),
        (&[("expires", "Thu, 01 Dec 2036 16:00:00 GMT")], "private"),
        (&[("cdn-cache-control", "max-age=60")], "no-store"),
        (&[("cache-control", "max-age=60")], "max-age=60, private"),
        (&[("cache-control", "must-revalidate")], "must-revalidate, no-store"),
    ] {
        let response = send(&layer, set, request(Some(CODE))).await;
        assert_eq!(caching(&response), (vec![USUAL], Some(cache_control)));
    }
    let merged = format!("accept, Origin, {USUAL}");
    let response = send(&layer, &[("vary", "accept"), ("vary", "Origin, accept")], request(Some(CODE))).await;
    assert_eq!(caching(&response), (vec![merged.as_str()], Some("no-store")));
    // The names of two layers are in one line.
    let inner = layer.clone().action("pay").layer(OneShotService::new(&Calls::default()));
    let outer = layer.extractor(Header::new(HeaderName::from_static("toopher-otp2")));
    let outer = outer.identify(|_| Some(alice()));
    let mut sent = request(Some(CODE));
    sent.headers_mut().insert("toopher-otp2", HeaderValue::from_static(CODE));
    let response = outer.layer(inner).oneshot(sent).await.unwrap();
    assert_eq!(caching(&response), (vec![format!("{USUAL}, toopher-otp2").as_str()], Some("no-store")));
}

#[tokio::test]
async fn vary_names_the_header_of_the_extractor() {
    let layer = ToopherLayer::new(verifier(|| Verdict::Granted(Factor::Totp)));
    let vary = |response: &Response<Body>| caching(response).0.join(";");
    let own = || Header::new(HeaderName::from_static("x-otp"));
    let rest = "toopher-approval, authorization, cookie";
    let request = || request(None);
    let first = layer.clone().extractor(own());
    assert_eq!(vary(&send(&first, &[], request()).await), format!("x-otp, {rest}"));
    // A layer that is changed after its first response has another value.
    assert_eq!(vary(&send(&first.extractor(HeaderOrForm::default()), &[], request()).await), USUAL);
    assert_eq!(
        vary(&send(&layer.clone().extractor(HeaderOrForm::default().header(own())), &[], request()).await),
        format!("x-otp, {rest}")
    );
    #[cfg(feature = "grants")]
    {
        use tower_toopher::crypto::SealingKey;
        use tower_toopher::middleware::grants::Grants;

        let grants = Grants::new(SealingKey::generate().unwrap()).header(HeaderName::from_static("x-grant"));
        let layer = layer.extractor(own());
        assert_eq!(vary(&send(&layer, &[], request()).await), format!("x-otp, {rest}"));
        assert_eq!(vary(&send(&layer.grants(grants), &[], request()).await), format!("x-otp, x-grant, {rest}"));
    }
}
