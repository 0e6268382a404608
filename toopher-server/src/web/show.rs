//! Shows the page of a session, and handles its forms.

use axum::extract::{RawQuery, Request, State};
use axum::response::{IntoResponse, Redirect, Response};
use http::{HeaderMap, StatusCode};

use super::browser::require_frame;
use super::page::{error_page, with_headers};
use super::reply::{Reply, View};
use super::session::Session;
use super::views::session_page;
use crate::api_error::ApiError;
use crate::body::read_body;
use crate::id::Id;
use crate::params::Params;
use crate::state::Server;

/// Returns the page in its current state: a form, a pending request, or a result. Without scripts, the browser reloads
/// a pending page.
pub(super) async fn show(
    State(server): State<Server>,
    Id(token): Id,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let page = async {
        require_frame(&headers)?;
        let session = Session::find(&server, &token).await?.ok_or(ApiError::PAGE_EXPIRED)?;
        if query.as_deref() == Some("download") {
            return Ok(with_headers(session.download(&server)?, session.origin.as_deref()));
        }
        session_page(&server, &session, Reply { view: View::new(query.as_deref()), ..Reply::default() }).await
    };
    page.await.unwrap_or_else(|error| error_page(&error, ".."))
}

/// Handles a form of the page.
pub(super) async fn act(State(server): State<Server>, Id(token): Id, request: Request) -> Response {
    let view = match View::new(request.uri().query()) {
        View::Main => View::Code,
        view => view,
    };
    let page = async {
        require_frame(request.headers())?;
        let session = Session::find(&server, &token).await?.ok_or(ApiError::PAGE_EXPIRED)?;
        let form = Params::read(&read_body(request.into_body()).await?);
        let field = |name| form.get(&[name]).ok().flatten().unwrap_or_default();
        let reply = |message| Reply { message, act: field("act"), pairing: field("pairing"), view };
        match session.act(&server, &form).await {
            // A redirect, so that a reload of the page does not send the form again.
            Ok(None) => {
                let query = if field("act") == "mail" { "?sent" } else { "" };
                let page = Redirect::to(&format!("{}/web/session/{token}{query}", server.shared.public_url));
                Ok(with_headers(page.into_response(), session.origin.as_deref()))
            }
            Ok(Some(message)) => {
                // The action may have changed the session, also a concurrent one after a double click.
                let session = Session::find(&server, &token).await?.ok_or(ApiError::PAGE_EXPIRED)?;
                session_page(&server, &session, reply(message)).await
            }
            Err(error) if error.status() == StatusCode::TOO_MANY_REQUESTS => {
                let message = "Too many attempts. Wait a few minutes, or answer on your phone.";
                session_page(&server, &session, reply(message)).await
            }
            Err(error) => Err(error),
        }
    };
    page.await.unwrap_or_else(|error| error_page(&error, ".."))
}
