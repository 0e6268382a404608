//! HTML documents for the frame, which work without scripts, and their headers.

use axum::response::{Html, IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};
use zeroize::Zeroizing;

use super::payload::Payload;
use super::session::Session;
use crate::api_error::ApiError;
use crate::html::escape_html;
use crate::names::visible_name;
use crate::state::Server;

const SCRIPT: &str = include_str!("frame.js");
const STYLE: &str = include_str!("frame.css");

/// Cross-origin isolated sites only show resources with this header.
const CROSS_ORIGIN: (HeaderName, HeaderValue) =
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("cross-origin"));

pub(super) async fn script() -> Response {
    let media_type = HeaderValue::from_static("text/javascript; charset=utf-8");
    ([(header::CONTENT_TYPE, media_type), CROSS_ORIGIN], SCRIPT).into_response()
}

pub(super) async fn style() -> Response {
    let media_type = HeaderValue::from_static("text/css; charset=utf-8");
    ([(header::CONTENT_TYPE, media_type), CROSS_ORIGIN], STYLE).into_response()
}

/// Adds the security headers: only this server's scripts, no other sources, no referrer, and frames only in `origin`,
/// if the browser has sent it.
pub(super) fn with_headers(mut response: Response, origin: Option<&str>) -> Response {
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; form-action 'self'; \
             base-uri 'none'",
        ),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("x-content-type-options"), "nosniff"),
        (HeaderName::from_static("cross-origin-embedder-policy"), "require-corp"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    let (name, value) = CROSS_ORIGIN;
    response.headers_mut().insert(name, value);
    let ancestors = origin.and_then(|origin| HeaderValue::try_from(format!("frame-ancestors {origin}")).ok());
    if let Some(ancestors) = ancestors {
        response.headers_mut().append(header::CONTENT_SECURITY_POLICY, ancestors);
    }
    response
}

/// An error for the user, without a signed result. `root` is the relative URL of the folder with the style.
pub(super) fn error_page(error: &ApiError, root: &str) -> Response {
    let status = format!("<h1>This page cannot be shown</h1><p>{}</p>", escape_html(error.message()));
    with_headers((error.status(), Html(document("", root, None, "", &status, ""))).into_response(), None)
}

/// The page that a client names if it cannot sign the URL of a page. It does not show the message in the URL, which any
/// site can write.
pub(super) async fn unsignable() -> Response {
    let mut response = error_page(&ApiError::UNSIGNABLE, ".");
    *response.status_mut() = StatusCode::OK;
    response
}

/// All pages have the same parts, which the script replaces by those of another one: the status, whose changes screen
/// readers announce, and the rest.
fn document(head: &str, root: &str, theme: Option<&str>, user: &str, status: &str, rest: &str) -> String {
    let theme = theme.map_or_else(String::new, |theme| format!(" data-theme=\"{theme}\""));
    format!(
        "<!doctype html><html lang=\"en\"{theme}><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>Second factor</title>\
         <link rel=\"stylesheet\" href=\"{root}/frame.css\">{head}<main>{user}\
         <div role=\"status\" tabindex=\"-1\">{status}</div><div id=\"rest\">{rest}</div></main></html>"
    )
}

/// The content of a page: a form, a pending request, or a result.
pub(super) struct Page {
    status: String,
    rest: String,
    pending: bool,
    result: Option<Payload>,
    /// New recovery codes, a line each. The result is only posted when the user has saved them.
    codes: Option<Zeroizing<String>>,
    /// The end of the page, with its time limit.
    foot: String,
}

impl Page {
    pub(super) fn form(status: &str, form: &str) -> Self {
        Self {
            status: status.to_owned(),
            rest: form.to_owned(),
            pending: false,
            result: None,
            codes: None,
            foot: String::new(),
        }
    }

    pub(super) fn pending(status: &str, form: &str) -> Self {
        Self { pending: true, ..Self::form(status, form) }
    }

    /// New recovery codes on the settings page.
    pub(super) fn new_codes(codes: Zeroizing<String>) -> Self {
        Self { codes: Some(codes), ..Self::form("<h1>Save your recovery codes</h1>", "") }
    }

    pub(super) fn with_codes(self, codes: Option<Zeroizing<String>>) -> Self {
        Self { codes, ..self }
    }

    /// Adds elements at the end, and the time limit: for how many seconds the page can be used, and what is then.
    pub(super) fn with_limit(self, elements: &str, left: i64, then: &str) -> Self {
        let foot = format!(
            "<div class=\"foot\">{elements}<p class=\"left\" data-left=\"{}\" hidden>Expires in \
             <span class=\"time\"></span>. {then}</p></div>",
            left.max(0)
        );
        Self { foot, ..self }
    }

    /// For a user with too many requests. It does not reload, because a reload would send another request as soon as
    /// that is possible.
    pub(super) fn busy() -> Self {
        Self::form(
            "<h1>Too many attempts</h1><p>Answer the requests on your phone, or wait a few minutes. \
             If that does not help, contact the site.</p>",
            "<p><a href=\"?\">Try again</a></p>",
        )
    }

    /// A result, with a heading and a sentence for the user, who can send it again if the site does not react.
    pub(super) fn done(heading: &str, text: &str, result: Payload) -> Self {
        let heading = if heading.is_empty() { "One moment" } else { heading };
        let text = if text.is_empty() { String::new() } else { format!("<p>{text}</p>") };
        let rest = "<p class=\"plain\">The result is sent by a script. Allow scripts, and start again.</p>\
             <p><button type=\"button\" id=\"continue\" hidden>Continue</button></p>";
        Self { result: Some(result), ..Self::form(&format!("<h1>{heading}</h1>{text}"), rest) }
    }

    /// Without scripts, a pending page reloads, which would clear the form. So the form is on a second page, which does
    /// not reload. With scripts, the script shows the form, and removes the elements of the class `plain`.
    fn without_script(&mut self, typing: bool) -> &'static str {
        let form = std::mem::take(&mut self.rest);
        let (link, hidden) = match (form.is_empty(), typing) {
            (true, _) => ("<a href=\"?\">Reload</a>", ""),
            (false, true) => ("<a href=\"?\">Wait for the phone</a>", ""),
            (false, false) => ("<a href=\"?code\">Type a code</a> or <a href=\"?\">reload</a>", " hidden"),
        };
        self.rest = format!("<div id=\"pending\" class=\"typed\"{hidden}>{form}</div><p class=\"plain\">{link}</p>");
        if typing && !form.is_empty() { "" } else { "<noscript><meta http-equiv=\"refresh\" content=\"3\"></noscript>" }
    }

    pub(super) async fn response(
        mut self,
        server: &Server,
        session: &Session,
        typing: bool,
    ) -> Result<Response, ApiError> {
        let mut head = String::from("<script src=\"../frame.js\" defer></script>");
        if let Some(codes) = &self.codes {
            self.rest = codes_section(codes);
        }
        if self.pending {
            head.push_str(self.without_script(typing));
        }
        // The names of the user and the site, so that users recognize a page for another account.
        let user = format!(
            "<p><strong>{}</strong> for <strong>{}</strong></p>",
            escape_html(&visible_name(&session.user_name)),
            escape_html(&visible_name(&session.requester_name))
        );
        self.rest.push_str(&self.foot);
        if let Some(result) = self.result {
            let is_posted = self.codes.is_none();
            let message = result.message(server, session, is_posted).await?;
            let held = if is_posted { "" } else { "<span id=\"held\"></span>" };
            self.rest.push_str(&format!(
                "{held}<script type=\"application/json\" id=\"outcome\" data-origin=\"{}\">{message}</script>",
                escape_html(session.origin.as_deref().unwrap_or("*"))
            ));
        }
        let page = document(&head, "..", session.theme.as_deref(), &user, &self.status, &self.rest);
        Ok(with_headers(Html(page).into_response(), session.origin.as_deref()))
    }
}

/// The codes, which the user can copy, download and print. Without scripts, the browser can do it.
fn codes_section(codes: &str) -> String {
    let lines: String = codes.lines().map(|code| format!("<li><code>{}</code></li>", escape_html(code))).collect();
    format!(
        "<section><h2>Your recovery codes</h2><p>If you lose your phone, each of them logs you in once. Keep them \
         where your phone is not. They are not shown again.</p><ol id=\"codes\">{lines}</ol>\
         <p class=\"tools\"><button type=\"button\" id=\"copy\" class=\"link\" hidden>Copy</button> \
         <a href=\"?download\">Download</a> \
         <button type=\"button\" id=\"print\" class=\"link\" hidden>Print</button></p>\
         <p id=\"copied\" aria-live=\"polite\"></p></section><form method=\"post\">\
         <button name=\"act\" value=\"saved\">I have saved them: continue</button></form>"
    )
}
