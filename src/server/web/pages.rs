//! How the pages look: plain HTML that works without a script, and better with it.

use axum::response::{Html, IntoResponse, Response};
use http::{HeaderName, HeaderValue, header};

use super::payload::Payload;
use super::session::Session;
use crate::server::Server;
use crate::server::error::ApiError;
use crate::server::reset::escaped;

const SCRIPT: &str = include_str!("frame.js");
const STYLE: &str = include_str!("frame.css");

pub(super) async fn script() -> Response {
    ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], SCRIPT).into_response()
}

pub(super) async fn style() -> Response {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], STYLE).into_response()
}

/// No script but ours, no other source, an address that goes nowhere, and a frame of the site that opened the page, as
/// far as the browser has said which that is.
pub(super) fn headers(mut response: Response, origin: Option<&str>) -> Response {
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'",
        ),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("x-content-type-options"), "nosniff"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    let ancestors = origin.and_then(|origin| HeaderValue::try_from(format!("frame-ancestors {origin}")).ok());
    if let Some(ancestors) = ancestors {
        response.headers_mut().append(header::CONTENT_SECURITY_POLICY, ancestors);
    }
    response
}

/// A page for a person, with nothing that is signed. `root` is where the style is, as the page sees it.
pub(super) fn refused(error: &ApiError, root: &str) -> Response {
    let body = format!("<h1>This page cannot be shown</h1><p role=\"alert\">{}</p>", escaped(error.message()));
    headers((error.status(), Html(document("", root, &body))).into_response(), None)
}

fn document(head: &str, root: &str, body: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>Second factor</title>\
         <link rel=\"stylesheet\" href=\"{root}/frame.css\">{head}<main>{body}</main></html>"
    )
}

/// The page of a session as it stands.
pub(super) async fn session(server: &Server, session: &Session, message: &str) -> Result<Response, ApiError> {
    let user = server.user(&session.requester_id, &session.user_id).await?.ok_or(ApiError::NO_USER)?;
    let pairing = session.pairing(server).await?;
    let state = pairing.as_ref().map_or("none", |pairing| pairing.pairing_state.as_str());
    let page = match (session.kind.as_str(), state) {
        ("manage" | "unpair", "enabled") => manage(server, session, message).await?,
        ("manage" | "unpair", _) => Page::done("There is no phone to remove.", Payload::of_user(&user)),
        _ if !user.user_enabled => Page::done("", Payload::of_error(&ApiError::USER_DISABLED)),
        ("pair", "enabled") => match &pairing {
            Some(pairing) => Page::done("The phone is paired.", Payload::of_pairing(pairing)),
            None => Page::done("", Payload::of_error(&ApiError::NO_PAIRING)),
        },
        (_, "pending") => Page::waiting("<h1>Confirm on your phone</h1><p>Your phone asks whether to pair.</p>", ""),
        ("pair", "refused") => match &pairing {
            Some(pairing) => Page::done("The phone refused.", Payload::of_pairing(pairing)),
            None => Page::done("", Payload::of_error(&ApiError::NO_PAIRING)),
        },
        ("pair", _) => Page::form(&pair_form(message)),
        ("authenticate", "enabled") => match &pairing {
            Some(pairing) => authenticate(server, session, pairing, message).await?,
            None => Page::done("", Payload::of_error(&ApiError::NO_USER)),
        },
        _ if session.inline_pairing => Page::form(&pair_form(message)),
        _ => Page::done("", Payload::of_error(&ApiError::NO_USER)),
    };
    page.response(server, session).await
}

async fn authenticate(
    server: &Server,
    session: &Session,
    pairing: &crate::server::objects::PairingRow,
    message: &str,
) -> Result<Page, ApiError> {
    let id = session.ask(server, pairing).await?;
    let request = server.request(&session.requester_id, &id).await?.ok_or(ApiError::NOT_FOUND)?;
    if request.request_state != "pending" {
        let text = if request.request_state == "granted" { "Allowed." } else { "Not allowed." };
        return Ok(Page::done(text, Payload::of_request(session, &request)));
    }
    let asks = match request.number() {
        Some(number) => format!("<h1>Type <strong>{number}</strong> on your phone</h1>"),
        None => "<h1>Look at your phone</h1>".into(),
    };
    let asks = format!("{asks}<p>{} asks for your approval.</p>", escaped(&session.requester_name));
    Ok(Page::waiting(&asks, &otp_form("otp", "Or type the code that your phone shows", "Continue", "", message)))
}

async fn manage(server: &Server, session: &Session, message: &str) -> Result<Page, ApiError> {
    let pairings: Vec<(String, String)> = sqlx::query_as(
        "SELECT id, datetime(created, 'unixepoch') FROM pairings WHERE user_id = ? AND state = 'enabled' ORDER BY created",
    )
    .bind(&session.user_id)
    .fetch_all(server.pool())
    .await?;
    let forms: String = pairings
        .iter()
        .map(|(id, created)| {
            let hidden = format!("<input type=\"hidden\" name=\"pairing\" value=\"{}\">", escaped(id));
            let paired = format!("<p>Paired on {} UTC</p>", escaped(created));
            paired + &otp_form("remove", "To remove it, type the code that it shows", "Remove", &hidden, message)
        })
        .collect();
    Ok(Page::form(&format!("<h1>Your phones</h1>{forms}")))
}

fn pair_form(message: &str) -> String {
    format!(
        "<h1>Pair your phone</h1><p>Your phone shows some words. Type them here.</p><p role=\"alert\">{}</p>\
         <form method=\"post\"><input type=\"hidden\" name=\"act\" value=\"pair\">\
         <label>Words <input name=\"phrase\" autocomplete=\"off\" autocapitalize=\"none\" required autofocus></label>\
         <button>Pair</button></form>",
        escaped(message)
    )
}

fn otp_form(act: &str, label: &str, button: &str, hidden: &str, message: &str) -> String {
    format!(
        "<form method=\"post\"><p role=\"alert\">{}</p><input type=\"hidden\" name=\"act\" value=\"{act}\">{hidden}\
         <label>{label} <input name=\"otp\" inputmode=\"numeric\" autocomplete=\"one-time-code\" required></label>\
         <button>{button}</button></form>",
        escaped(message)
    )
}

/// One of three: a form, something to wait for, or an outcome to post.
struct Page {
    body: String,
    waits: bool,
    outcome: Option<Payload>,
}

impl Page {
    fn form(body: &str) -> Self {
        Self { body: body.to_owned(), waits: false, outcome: None }
    }

    fn waiting(status: &str, form: &str) -> Self {
        Self { body: format!("<div role=\"status\">{status}</div>{form}"), waits: true, outcome: None }
    }

    fn done(text: &str, outcome: Payload) -> Self {
        let text = if text.is_empty() { "One moment." } else { text };
        Self { body: format!("<p role=\"status\">{text}</p>"), waits: false, outcome: Some(outcome) }
    }

    async fn response(self, server: &Server, session: &Session) -> Result<Response, ApiError> {
        let mut head = String::from("<script src=\"../frame.js\" defer></script>");
        if self.waits {
            head.push_str("<noscript><meta http-equiv=\"refresh\" content=\"3\"></noscript>");
        }
        // Who and for whom, so that nobody types a code for somebody else's sake.
        let whom = format!("<p>{} for {}</p>", escaped(&session.user_name), escaped(&session.requester_name));
        let mut body = whom + &self.body;
        if self.waits {
            body.push_str("<div id=\"waits\" hidden></div>");
        }
        if let Some(outcome) = self.outcome {
            let message = outcome.message(server, session).await?;
            body.push_str(&format!(
                "<script type=\"application/json\" id=\"outcome\" data-origin=\"{}\">{message}</script>",
                escaped(session.origin.as_deref().unwrap_or("*"))
            ));
        }
        Ok(headers(Html(document(&head, "..", &body)).into_response(), session.origin.as_deref()))
    }
}
