//! Paths that no route has: an error in the format of the API, and a page for people who open the public URL.

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, Method, header};

use crate::api_error::ApiError;
use crate::html::{self, escape_html, phone_page};
use crate::state::Server;

/// Not a route of its own, so that an application that merges the router can have a page at its root.
pub(crate) async fn fallback(State(server): State<Server>, request: Request) -> Response {
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    if !is_read || !matches!(request.uri().path(), "/" | "") || !accepts_html(&request) {
        return ApiError::NOT_FOUND.into_response();
    }
    page(&server).unwrap_or_else(IntoResponse::into_response)
}

/// Whether the client names HTML, as browsers do and clients of the API do not.
fn accepts_html(request: &Request) -> bool {
    let mut accepted = request.headers().get_all(header::ACCEPT).iter();
    accepted.any(|accept| accept.to_str().is_ok_and(|accept| accept.to_ascii_lowercase().contains("text/html")))
}

fn page(server: &Server) -> Result<Response, ApiError> {
    let public_url = &server.shared.public_url;
    let phone =
        phone_page(public_url, "Open this page on your phone, and pair it with the site that asks for its words:")?;
    let base = escape_html(&public_url.to_string());
    let body = format!(
        "<p>Sites use this server when you log in: it sends a request to your phone, or verifies the code that your \
         phone shows.</p><h2>Your phone</h2>{phone}<h2>Sites</h2><p>The API is at <code>{base}/v1</code>. \
         The administrator creates the key of a site with <code>toopher-server requester create</code>.</p>"
    );
    let mut response = html::page(public_url, "Second factor", &body);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
    Ok(response)
}
