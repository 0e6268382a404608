//! The service behind a layer, and requests to it.

use axum::http::{Request, Response};
pub(crate) use test_support::service::{Body, Calls, OneShotService};
use toopher_server_test_support::alice;
use tower_toopher::verify::SessionId;
use tower_toopher::{Rejection, RejectionKind};

/// A request of alice with this OTP header.
pub(crate) fn request(otp: Option<&str>) -> Request<Body> {
    let builder = Request::builder().uri("/account").extension(alice()).extension(SessionId::new("session").unwrap());
    let builder = match otp {
        Some(otp) => builder.header("Toopher-OTP", otp),
        None => builder,
    };
    builder.body(Body::default()).unwrap()
}

pub(crate) fn kind<B>(response: &Response<B>) -> Option<RejectionKind> {
    response.extensions().get::<Rejection>().map(Rejection::kind)
}
