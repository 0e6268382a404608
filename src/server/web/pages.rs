//! How the pages look: plain HTML that works without a script, and better with it.

use axum::response::{Html, IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};

use super::payload::Payload;
use super::session::Session;
use crate::server::Server;
use crate::server::error::ApiError;
use crate::server::objects::utc;
use crate::server::reset::escaped;
use crate::store::query;

const SCRIPT: &str = include_str!("frame.js");
const STYLE: &str = include_str!("frame.css");

/// Sites that are isolated from other origins show only what says that it may be shown.
const FOR_ALL: (HeaderName, HeaderValue) =
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("cross-origin"));

pub(super) async fn script() -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("text/javascript; charset=utf-8")), FOR_ALL], SCRIPT)
        .into_response()
}

pub(super) async fn style() -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("text/css; charset=utf-8")), FOR_ALL], STYLE).into_response()
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
        (HeaderName::from_static("cross-origin-embedder-policy"), "require-corp"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    let (name, value) = FOR_ALL;
    response.headers_mut().insert(name, value);
    let ancestors = origin.and_then(|origin| HeaderValue::try_from(format!("frame-ancestors {origin}")).ok());
    if let Some(ancestors) = ancestors {
        response.headers_mut().append(header::CONTENT_SECURITY_POLICY, ancestors);
    }
    response
}

/// What the last thing that a person did here came to, and how they look at the page now.
#[derive(Clone, Copy, Default)]
pub(super) struct Reply<'a> {
    /// Why it was not done, for them to read.
    pub(super) message: &'a str,
    /// The pairing that it was about, where there may be several.
    pub(super) pairing: &'a str,
    /// Whether they are about to type: then a browser without scripts must not load the page again by itself.
    pub(super) typing: bool,
}

/// A page for a person, with nothing that is signed. `root` is where the style is, as the page sees it.
pub(super) fn refused(error: &ApiError, root: &str) -> Response {
    let status = format!("<h1>This page cannot be shown</h1><p>{}</p>", escaped(error.message()));
    headers((error.status(), Html(document("", root, "", &status, ""))).into_response(), None)
}

/// Every page has the same parts, so that the script can put those of one in the place of another's: what is announced
/// when it changes, and the rest.
fn document(head: &str, root: &str, whom: &str, status: &str, rest: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>Second factor</title>\
         <link rel=\"stylesheet\" href=\"{root}/frame.css\">{head}<main>{whom}\
         <div role=\"status\" tabindex=\"-1\">{status}</div><div id=\"rest\">{rest}</div></main></html>"
    )
}

/// The page of a session as it stands.
pub(super) async fn session(server: &Server, session: &Session, reply: Reply<'_>) -> Result<Response, ApiError> {
    let user = server.user(&session.requester_id, &session.user_id).await?.ok_or(ApiError::NO_USER)?;
    let pairing = session.pairing(server).await?;
    let state = pairing.as_ref().map_or("none", |pairing| pairing.pairing_state.as_str());
    let page = match (session.kind.as_str(), state) {
        ("manage" | "unpair", "enabled") => manage(server, session, reply).await?,
        ("manage" | "unpair", _) => Page::done("There is no phone to remove", Payload::of_user(&user)),
        _ if !user.user_enabled => {
            Page::done("The second factor is switched off for you", Payload::of_error(&ApiError::USER_DISABLED))
        }
        ("pair", "enabled") => match &pairing {
            Some(pairing) => Page::done("The phone is paired", Payload::of_pairing(pairing)),
            None => Page::done("", Payload::of_error(&ApiError::NO_PAIRING)),
        },
        (_, "pending") => Page::waiting("<h1>Confirm on your phone</h1><p>Your phone asks whether to pair.</p>", ""),
        ("pair", "refused") => match &pairing {
            Some(pairing) => Page::done("The phone refused", Payload::of_pairing(pairing)),
            None => Page::done("", Payload::of_error(&ApiError::NO_PAIRING)),
        },
        ("pair", _) => pair(reply.message, false),
        ("authenticate", "enabled") => match &pairing {
            Some(pairing) => match authenticate(server, session, pairing, reply.message).await {
                Err(error) if error.status() == StatusCode::TOO_MANY_REQUESTS => Page::busy(),
                page => page?,
            },
            None => Page::done("", Payload::of_error(&ApiError::NO_USER)),
        },
        _ if session.inline_pairing => pair(reply.message, state == "refused"),
        _ => Page::done("No phone is paired", Payload::of_error(&ApiError::NO_USER)),
    };
    page.response(server, session, reply.typing).await
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
        return Ok(Page::done(request.outcome(), Payload::of_request(session, &request)));
    }
    let asks = match request.number() {
        Some(number) => format!("<h1>Type <strong>{number}</strong> on your phone</h1>"),
        None => "<h1>Look at your phone</h1>".into(),
    };
    let asks = format!("{asks}<p>{} asks for your approval.</p>", escaped(&session.requester_name));
    Ok(Page::waiting(&asks, &otp_form("otp", "Or type the code that your phone shows", "Continue", "", message)))
}

async fn manage(server: &Server, session: &Session, reply: Reply<'_>) -> Result<Page, ApiError> {
    let pairings: Vec<(String, i64)> =
        query("SELECT id, created FROM pairings WHERE user_id = $1 AND state = 'enabled' ORDER BY created")
            .bind(&session.user_id)
            .all(&server.database)
            .await?;
    let forms: String = pairings
        .iter()
        .map(|(id, created)| {
            let hidden = format!("<input type=\"hidden\" name=\"pairing\" value=\"{}\">", escaped(id));
            let paired = format!("<h2>Paired on {} UTC</h2>", utc(*created));
            let message = if id == reply.pairing { reply.message } else { "" };
            paired + &otp_form("remove", "To remove it, type the code that it shows", "Remove", &hidden, message)
        })
        .collect();
    // What is said of a phone that is not there has no form to stand in.
    let homeless = !pairings.iter().any(|(id, _)| id == reply.pairing);
    let problem = if homeless { problem(reply.message) } else { String::new() };
    Ok(Page::form("<h1>Your phones</h1>", &(problem + &forms)))
}

fn pair(message: &str, refused: bool) -> Page {
    let refused = if refused { "<p>The phone refused.</p>" } else { "" };
    let input = "name=\"phrase\" autocomplete=\"off\" autocapitalize=\"none\" spellcheck=\"false\"";
    Page::form(
        &format!("<h1>Pair your phone</h1>{refused}<p>Your phone shows some words. Type them here.</p>"),
        &form("pair", "Words", input, "Pair", "", message),
    )
}

fn otp_form(act: &str, label: &str, button: &str, hidden: &str, message: &str) -> String {
    let input = "name=\"otp\" inputmode=\"numeric\" autocomplete=\"one-time-code\" class=\"code\"";
    form(act, label, input, button, hidden, message)
}

fn form(act: &str, label: &str, input: &str, button: &str, hidden: &str, message: &str) -> String {
    let invalid = if message.is_empty() { "" } else { " aria-invalid=\"true\" aria-describedby=\"problem\"" };
    format!(
        "<form method=\"post\">{}<input type=\"hidden\" name=\"act\" value=\"{act}\">{hidden}\
         <label>{label} <input {input}{invalid} required></label><button>{button}</button></form>",
        problem(message)
    )
}

/// There is one at most, since one thing was done.
fn problem(message: &str) -> String {
    if message.is_empty() {
        String::new()
    } else {
        format!("<p role=\"alert\" id=\"problem\">{}</p>", escaped(message))
    }
}

/// One of three: a form, something to wait for, or an outcome to post.
struct Page {
    status: String,
    rest: String,
    waits: bool,
    outcome: Option<Payload>,
}

impl Page {
    fn form(status: &str, form: &str) -> Self {
        Self { status: status.to_owned(), rest: form.to_owned(), waits: false, outcome: None }
    }

    fn waiting(status: &str, form: &str) -> Self {
        Self { waits: true, ..Self::form(status, form) }
    }

    /// Phones are asked no more for a while. Not by itself again: that would be one more question as soon as it can be.
    fn busy() -> Self {
        Self::form(
            "<h1>Too many attempts</h1><p>Answer what your phone shows already, or wait a few minutes. \
             If that does not help, ask the site.</p>",
            "<p><a href=\"?\">Try again</a></p>",
        )
    }

    fn done(text: &str, outcome: Payload) -> Self {
        let text = if text.is_empty() { "One moment" } else { text };
        let rest = "<p class=\"plain\">The site is told by a script. Allow scripts, and start again.</p>";
        Self { outcome: Some(outcome), ..Self::form(&format!("<h1>{text}</h1>"), rest) }
    }

    /// Without a script the page is loaded again while it waits, and what is being typed would be lost. So the form is a
    /// page of its own there, which does not: the script shows it, and takes away what is plain.
    fn without_script(&mut self, typing: bool) -> &'static str {
        let form = std::mem::take(&mut self.rest);
        let (link, hidden) = match (form.is_empty(), typing) {
            (true, _) => ("<a href=\"?\">Look again</a>", ""),
            (false, true) => ("<a href=\"?\">Wait for the phone</a>", ""),
            (false, false) => ("<a href=\"?code\">Type a code</a> or <a href=\"?\">look again</a>", " hidden"),
        };
        self.rest = format!("<div id=\"waits\" class=\"typed\"{hidden}>{form}</div><p class=\"plain\">{link}</p>");
        if typing && !form.is_empty() { "" } else { "<noscript><meta http-equiv=\"refresh\" content=\"3\"></noscript>" }
    }

    async fn response(mut self, server: &Server, session: &Session, typing: bool) -> Result<Response, ApiError> {
        let mut head = String::from("<script src=\"../frame.js\" defer></script>");
        if self.waits {
            head.push_str(self.without_script(typing));
        }
        // Who and for whom, so that nobody types a code for somebody else's sake.
        let whom = format!(
            "<p><strong>{}</strong> for <strong>{}</strong></p>",
            escaped(&session.user_name),
            escaped(&session.requester_name)
        );
        if let Some(outcome) = self.outcome {
            let message = outcome.message(server, session).await?;
            self.rest.push_str(&format!(
                "<script type=\"application/json\" id=\"outcome\" data-origin=\"{}\">{message}</script>",
                escaped(session.origin.as_deref().unwrap_or("*"))
            ));
        }
        let page = document(&head, "..", &whom, &self.status, &self.rest);
        Ok(headers(Html(page).into_response(), session.origin.as_deref()))
    }
}
