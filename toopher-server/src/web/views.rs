//! The views of a session: which page it shows in which state.

use axum::response::Response;
use http::StatusCode;
use toopher_sql::query;

use super::page::Page;
use super::payload::Payload;
use super::session::Session;
use crate::api_error::ApiError;
use crate::html::escape_html;
use crate::models::{PairingRow, User, utc};
use crate::names::visible_name;
use crate::state::Server;

/// The reply to the user's last action.
#[derive(Clone, Copy, Default)]
pub(super) struct Reply<'a> {
    /// Why the action was rejected.
    pub(super) message: &'a str,
    /// The pairing of the action, of which there may be several.
    pub(super) pairing: &'a str,
    /// Whether the user is about to type. A browser without scripts must not reload the page then.
    pub(super) typing: bool,
}

/// The page of a session in its current state.
pub(super) async fn session_page(server: &Server, session: &Session, reply: Reply<'_>) -> Result<Response, ApiError> {
    let user = server.user(&session.requester_id, &session.user_id).await?.ok_or(ApiError::NO_USER)?;
    let pairing = session.pairing(server).await?;
    let state = pairing.as_ref().map_or("none", |pairing| pairing.pairing_state.as_str());
    let page = match (session.kind.as_str(), state) {
        ("manage" | "unpair", "enabled") if !session.has_paired(pairing.as_ref()) => {
            manage(server, session, reply).await?
        }
        // The page has removed the phone.
        ("unpair", _) | ("manage", "deactivated") => Page::done("No phone is paired", Payload::from_user(&user)),
        ("manage", _) if !user.user_enabled => Page::done("No phone is paired", Payload::from_user(&user)),
        _ if !user.user_enabled => {
            Page::done("The second factor is disabled for you", Payload::from_error(&ApiError::USER_DISABLED))
        }
        ("pair" | "manage", "enabled") => match &pairing {
            Some(pairing) => Page::done("The phone is paired", Payload::from_pairing(pairing)),
            None => Page::done("", Payload::from_error(&ApiError::NO_PAIRING)),
        },
        (_, "pending") => Page::pending("<h1>Confirm on your phone</h1><p>Allow the pairing on your phone.</p>", ""),
        ("pair", "denied") => match &pairing {
            Some(pairing) => Page::done("The pairing was denied", Payload::from_pairing(pairing)),
            None => Page::done("", Payload::from_error(&ApiError::NO_PAIRING)),
        },
        ("pair", _) => pair(reply.message, false, &user),
        // Clients call it the page for pairing.
        ("manage", _) => pair(reply.message, state == "denied", &user),
        ("authenticate", "enabled") => match &pairing {
            Some(pairing) => match authenticate(server, session, pairing, reply.message).await {
                Err(error) if error.status() == StatusCode::TOO_MANY_REQUESTS => Page::busy(),
                page => page?,
            },
            None => Page::done("", Payload::from_error(&ApiError::NO_USER)),
        },
        _ if session.inline_pairing => pair(reply.message, state == "denied", &user),
        _ => Page::done("No phone is paired", Payload::from_error(&session.unpaired(server).await?)),
    };
    page.response(server, session, reply.typing).await
}

async fn authenticate(
    server: &Server,
    session: &Session,
    pairing: &PairingRow,
    message: &str,
) -> Result<Page, ApiError> {
    let id = session.request(server, pairing).await?;
    let request = server.request(&session.requester_id, &id).await?.ok_or(ApiError::NOT_FOUND)?;
    if request.request_state != "pending" {
        match server.reject_if_revoked(&request).await {
            Err(error) if error.status() == StatusCode::CONFLICT => {
                return Ok(Page::done("Not allowed", Payload::from_error(&error)));
            }
            valid => valid?,
        }
        return Ok(Page::done(request.outcome(), Payload::from_request(session, &request)));
    }
    let heading = match request.number() {
        Some(number) => format!("<h1>Type <strong>{number}</strong> on your phone</h1>"),
        None => "<h1>Look at your phone</h1>".into(),
    };
    let status =
        format!("{heading}<p>{} asks for your approval.</p>", escape_html(&visible_name(&session.requester_name)));
    Ok(Page::pending(&status, &otp_form("otp", "Or type the code that your phone shows", "Continue", "", message)))
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
            let hidden = format!("<input type=\"hidden\" name=\"pairing\" value=\"{}\">", escape_html(id));
            let paired = format!("<h2>Paired on {} UTC</h2>", utc(*created));
            let message = if id == reply.pairing { reply.message } else { "" };
            paired + &otp_form("remove", "To remove it, type the code that it shows", "Remove", &hidden, message)
        })
        .collect();
    // A message about a phone that is not paired belongs to none of the forms.
    let is_shown = pairings.iter().any(|(id, _)| id == reply.pairing);
    let problem = if is_shown { String::new() } else { problem(reply.message) };
    Ok(Page::form("<h1>Your phones</h1>", &(problem + &forms)))
}

fn pair(message: &str, denied: bool, user: &User) -> Page {
    let denied = if denied { "<p>The pairing was denied.</p>" } else { "" };
    let input = "name=\"phrase\" autocomplete=\"off\" autocapitalize=\"none\" spellcheck=\"false\"";
    let code = if user.has_recovery_codes() {
        "<label>One of your recovery codes <input name=\"otp\" autocomplete=\"off\" autocapitalize=\"none\" \
         spellcheck=\"false\" required></label>"
    } else {
        ""
    };
    Page::form(
        &format!("<h1>Pair your phone</h1>{denied}<p>Your phone shows some words. Type them here.</p>"),
        &form("pair", "Words", input, "Pair", code, message),
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

/// The message of a rejected action. A page has at most one, so the id is unique.
fn problem(message: &str) -> String {
    if message.is_empty() {
        String::new()
    } else {
        format!("<p role=\"alert\" id=\"problem\">{}</p>", escape_html(message))
    }
}
