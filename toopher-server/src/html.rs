//! HTML: escaping, and the parts that pages share.

use axum::response::{Html, IntoResponse, Response};
use http::{HeaderName, HeaderValue, header};

use crate::api_error::ApiError;
use crate::public_url::PublicUrl;
use crate::qr;

pub(crate) fn escape_html(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

/// Where the phone page is: as a QR code for another device, and as a link, whose text is the address.
pub(crate) fn phone_page(public_url: &PublicUrl, before: &str) -> Result<String, ApiError> {
    let url = format!("{public_url}/phone");
    let qr = qr::svg(&url, "The address of the phone page as a QR code")?;
    let url = escape_html(&url);
    Ok(format!(
        "<div class=\"phone\">{qr}<p>{before} <a href=\"{url}\" target=\"_blank\" rel=\"noopener\">{url}</a></p></div>"
    ))
}

/// A page that is not in a frame, with this heading. It loads the style only, cannot be framed, and is no referrer.
pub(crate) fn page(public_url: &PublicUrl, heading: &str, body: &str) -> Response {
    let style = escape_html(&format!("{public_url}/web/frame.css"));
    let page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>{heading}</title>\
         <link rel=\"stylesheet\" href=\"{style}\"><main><h1>{heading}</h1>{body}</main></html>"
    );
    let mut response = Html(page).into_response();
    for (name, value) in [
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
        ),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("x-content-type-options"), "nosniff"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
