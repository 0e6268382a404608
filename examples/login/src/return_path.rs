//! The page to which a user returns after a second factor was required for it.

use axum::extract::Request;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use tower_sessions::Session;
use tower_toopher::{BoxError, Rejection};

use super::session;
use super::step::Step;

const RETURN_PATH: &str = "return_path";

/// Outside the layer that requires a fresh factor: stores the path of a request that the layer rejects.
pub(crate) async fn store(session: Session, request: Request, next: Next) -> Response {
    // The router knows the path, so it is a page of this site.
    let path = match request.uri().path() {
        "/enroll/confirm" => "/enroll/app".to_owned(),
        "/enroll/phone/qr" => "/enroll/phone".to_owned(),
        path => path.to_owned(),
    };
    let response = next.run(request).await;
    // The layer inserts it into each of its responses.
    if response.extensions().get::<Rejection>().is_none() {
        return response;
    }
    match session.insert(RETURN_PATH, path).await {
        Ok(()) => response,
        Err(error) => session::server_error(&error),
    }
}

/// The layer's rejections: the user shows a factor first.
pub(crate) fn rejected(_: &Rejection, _: &Parts) -> Response {
    Redirect::to(Step::Change.path()).into_response()
}

/// The stored path, once.
pub(crate) async fn take(session: &Session) -> Result<String, BoxError> {
    Ok(session.remove(RETURN_PATH).await?.unwrap_or_else(|| "/account".to_owned()))
}
