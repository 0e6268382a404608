//! [`SecondFactor`] as an axum extractor.

use std::convert::Infallible;

use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use axum_core::response::{IntoResponse, Response};
use http::StatusCode;
use http::request::Parts;

use crate::SecondFactor;

/// The route has no second factor in front of it: add a [`ToopherLayer`](crate::ToopherLayer). Answered with 500.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct MissingSecondFactor;

impl IntoResponse for MissingSecondFactor {
    fn into_response(self) -> Response {
        (StatusCode::INTERNAL_SERVER_ERROR, "This handler wants a `SecondFactor`: add a `ToopherLayer` to its route.")
            .into_response()
    }
}

/// Fails closed: without a factor the handler does not run.
impl<S: Sync> FromRequestParts<S> for SecondFactor {
    type Rejection = MissingSecondFactor;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        parts.extensions.get::<Self>().cloned().ok_or(MissingSecondFactor)
    }
}

/// For handlers behind a gate that some requests pass without a factor.
impl<S: Sync> OptionalFromRequestParts<S> for SecondFactor {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Self::Rejection> {
        Ok(parts.extensions.get::<Self>().cloned())
    }
}
