//! [`SecondFactor`] as an axum extractor.

use std::convert::Infallible;
use std::fmt;

use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use axum_core::response::{IntoResponse, Response};
use http::StatusCode;
use http::request::Parts;

use crate::{SecondFactor, WithoutSecondFactor};

/// Why a handler does not get the [`SecondFactor`] that it wants.
///
/// Either no [`ToopherLayer`](crate::ToopherLayer) is in front of its route, which is a mistake of the application and
/// answered with 500, or the layer let the request pass without one, as it was told to: 403.
#[derive(Clone, Copy, Debug)]
pub struct MissingSecondFactor {
    passed_without: bool,
}

impl fmt::Display for MissingSecondFactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.passed_without {
            "This needs a second factor, and none was shown."
        } else {
            "This handler wants a `SecondFactor`: add a `ToopherLayer` to its route."
        })
    }
}

impl std::error::Error for MissingSecondFactor {}

impl IntoResponse for MissingSecondFactor {
    fn into_response(self) -> Response {
        let status = if self.passed_without { StatusCode::FORBIDDEN } else { StatusCode::INTERNAL_SERVER_ERROR };
        (status, self.to_string()).into_response()
    }
}

/// Fails closed: without a factor the handler does not run.
impl<S: Sync> FromRequestParts<S> for SecondFactor {
    type Rejection = MissingSecondFactor;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let passed_without = parts.extensions.get::<WithoutSecondFactor>().is_some();
        parts.extensions.get::<Self>().cloned().ok_or(MissingSecondFactor { passed_without })
    }
}

/// For handlers behind a gate that some requests pass without a factor.
impl<S: Sync> OptionalFromRequestParts<S> for SecondFactor {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Self::Rejection> {
        Ok(parts.extensions.get::<Self>().cloned())
    }
}
