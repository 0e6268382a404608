//! [`SecondFactor`] as an axum extractor.

use std::convert::Infallible;
use std::fmt;

use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use axum_core::response::{IntoResponse, Response};
use http::StatusCode;
use http::request::Parts;

use crate::verify::{Bypassed, SecondFactor};

/// The rejection of a handler that requires a [`SecondFactor`].
///
/// Its response has status 500 if the route has no [`ToopherLayer`](crate::ToopherLayer), which is a mistake of the
/// application. It has status 403 if the layer forwarded the request without a factor, as it was configured to
/// ([`Bypassed`]).
#[derive(Clone, Copy, Debug)]
pub struct MissingSecondFactor {
    bypassed: bool,
}

impl fmt::Display for MissingSecondFactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.bypassed {
            "A second factor is required."
        } else {
            "This handler requires a `SecondFactor`: add a `ToopherLayer` to its route."
        })
    }
}

impl std::error::Error for MissingSecondFactor {}

impl IntoResponse for MissingSecondFactor {
    fn into_response(self) -> Response {
        let status = if self.bypassed { StatusCode::FORBIDDEN } else { StatusCode::INTERNAL_SERVER_ERROR };
        (status, self.to_string()).into_response()
    }
}

/// Fails closed: without a factor the handler does not run.
impl<S: Sync> FromRequestParts<S> for SecondFactor {
    type Rejection = MissingSecondFactor;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let bypassed = parts.extensions.get::<Bypassed>().is_some();
        parts.extensions.get::<Self>().cloned().ok_or(MissingSecondFactor { bypassed })
    }
}

/// For handlers behind a layer that forwards some requests without a factor.
impl<S: Sync> OptionalFromRequestParts<S> for SecondFactor {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Self::Rejection> {
        Ok(parts.extensions.get::<Self>().cloned())
    }
}
