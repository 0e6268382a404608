//! Ids of rows, and ids in paths.

use axum::extract::{FromRequestParts, Path};
use http::request::Parts;
use uuid::Uuid;

use crate::api_error::ApiError;

pub(crate) fn new_id() -> String {
    Uuid::new_v4().to_string()
}

/// The id in the path of a call. It may be any text; the lookup of an id that no row has returns nothing.
pub(crate) struct Id(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        // Fails when the decoded path is not UTF-8.
        let path = Path::<String>::from_request_parts(parts, state).await;
        let id = path.map_err(|_| ApiError::NOT_FOUND)?.0;
        // PostgreSQL accepts no NUL in text.
        if id.contains('\0') { Err(ApiError::NOT_FOUND) } else { Ok(Self(id)) }
    }
}
