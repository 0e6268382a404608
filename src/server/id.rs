//! The id in a path.

use axum::extract::{FromRequestParts, Path};
use http::request::Parts;

use super::Server;
use super::error::ApiError;

/// Whatever stands in the path; one that no row has is found nowhere.
pub(super) struct Id(pub(super) String);

impl FromRequestParts<Server> for Id {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, server: &Server) -> Result<Self, ApiError> {
        // Fails for a path that is no text once it is decoded.
        let path = Path::<String>::from_request_parts(parts, server).await;
        let id = path.map_err(|_| ApiError::NOT_FOUND)?.0;
        // Not every database can be asked for it.
        if id.contains('\0') { Err(ApiError::NOT_FOUND) } else { Ok(Self(id)) }
    }
}
