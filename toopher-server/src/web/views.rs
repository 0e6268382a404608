//! The views of a session: which page it shows in which state.

use axum::response::Response;
use http::StatusCode;

use super::forms::{code_form, words_form};
use super::manage::manage;
use super::other::{other_ways, recovery_only};
use super::page::Page;
use super::payload::Payload;
use super::reply::{Reply, View};
use super::session::Session;
use crate::api_error::ApiError;
use crate::html::{escape_html, phone_page};
use crate::models::{PairingRow, RequestRow, User};
use crate::names::visible_name;
use crate::state::Server;

const NO_PHONE: &str = "No phone is paired";
const EXPIRED: &str = "Then start again at the site.";

/// The page of a session in its current state.
pub(super) async fn session_page(server: &Server, session: &Session, reply: Reply<'_>) -> Result<Response, ApiError> {
    let user = server.user(&session.requester_id, &session.user_id).await?.ok_or(ApiError::NO_USER)?;
    let pairing = session.pairing(server).await?;
    let page = current_page(server, session, &user, pairing.as_ref(), reply).await?;
    page.response(server, session, reply.view.is_typing()).await
}

async fn current_page(
    server: &Server,
    session: &Session,
    user: &User,
    pairing: Option<&PairingRow>,
    reply: Reply<'_>,
) -> Result<Page, ApiError> {
    let state = pairing.map_or("none", |pairing| pairing.pairing_state.as_str());
    let left = session.expires.saturating_sub(server.now_i64()?);
    Ok(match (session.kind.as_str(), state, pairing) {
        ("manage" | "unpair", "enabled", _) if !session.has_paired(pairing) => match session.shown_codes(server)? {
            Some(codes) => Page::new_codes(codes),
            None => manage(server, session, user, reply).await?.with_limit("", left, EXPIRED),
        },
        // The page has removed the phone.
        ("unpair", ..) | ("manage", "deactivated", _) => removed(user),
        ("manage", ..) if !user.user_enabled => removed(user),
        _ if !user.user_enabled => {
            let text = "You need none at this site.";
            Page::done("The second factor is disabled for you", text, Payload::from_error(&ApiError::USER_DISABLED))
        }
        ("pair" | "manage", "enabled", Some(pairing)) => {
            let codes = session.codes_after_pairing(server, user, pairing).await?;
            let text = "It receives a request when you log in.";
            Page::done("The phone is paired", text, Payload::from_pairing(pairing)).with_codes(codes)
        }
        (_, "pending", _) => {
            let status = "<h1>Confirm on your phone</h1><p>Allow the pairing on your phone.</p>";
            let again = "<form method=\"post\" class=\"ways\"><button name=\"act\" value=\"restart\" class=\"link\">\
                Use other words</button></form>";
            Page::pending(status, "").with_limit(again, left, EXPIRED)
        }
        ("pair", "denied", Some(pairing)) => {
            let text = "It was denied on the phone. To try again, start at the site.";
            Page::done("The pairing was denied", text, Payload::from_pairing(pairing))
        }
        // Clients call the settings the page for pairing.
        ("pair" | "manage", ..) => pair(server, session, user, state == "denied", reply)?.with_limit("", left, EXPIRED),
        ("authenticate", "enabled", Some(pairing)) => match authenticate(server, session, user, pairing, reply).await {
            Err(error) if error.status() == StatusCode::TOO_MANY_REQUESTS => Page::busy(),
            page => page?,
        },
        _ => match session.recovered(server).await? {
            Some(request) => decided(server, session, &request).await?,
            None if session.inline_pairing => {
                pair(server, session, user, state == "denied", reply)?.with_limit("", left, EXPIRED)
            }
            None => {
                let text = "You are returned to the site, where you can pair one.";
                Page::done(NO_PHONE, text, Payload::from_error(&session.unpaired(server).await?))
            }
        },
    })
}

fn removed(user: &User) -> Page {
    let text = if user.has_recovery_codes() {
        "To pair another phone, you need one of your recovery codes."
    } else {
        "You can pair another phone at the site."
    };
    Page::done(NO_PHONE, text, Payload::from_user(user))
}

async fn authenticate(
    server: &Server,
    session: &Session,
    user: &User,
    pairing: &PairingRow,
    reply: Reply<'_>,
) -> Result<Page, ApiError> {
    let id = session.request(server, pairing).await?;
    let request = server.request(&session.requester_id, &id).await?.ok_or(ApiError::NOT_FOUND)?;
    if request.request_state != "pending" {
        let page = decided(server, session, &request).await?;
        let is_granted = request.request_state == "granted";
        let codes = if is_granted { session.codes_after_pairing(server, user, pairing).await? } else { None };
        return Ok(page.with_codes(codes));
    }
    // An authenticator without a phone receives no request.
    let has_phone = pairing.device_id.is_some();
    let heading = match request.number().filter(|_| has_phone) {
        Some(number) => format!("Type <strong>{number}</strong> on your phone"),
        None if has_phone => "Look at your phone".into(),
        None => "Type your code".into(),
    };
    let (site, action) = (visible_name(&session.requester_name), visible_name(&session.action_name));
    let status = format!(
        "<h1>{heading}</h1><p>{} asks for your approval: <strong>{}</strong></p>",
        escape_html(&site),
        escape_html(&action)
    );
    let left = request.expires().saturating_sub(server.now_i64()?);
    let then = "Then nothing is allowed.";
    if matches!(reply.view, View::Other | View::Sent) {
        let ways = other_ways(server, session, user, pairing.id(), reply);
        return Ok(Page::pending(&status, &ways).with_limit("<a href=\"?\">Back</a>", left, then));
    }
    let label = if has_phone { "Or type the code that your phone shows" } else { "The code of your authenticator" };
    let message = if matches!(reply.act, "otp" | "") { reply.message } else { "" };
    let form = code_form("otp", label, "Continue", "", message);
    let again = if has_phone { "<button name=\"act\" value=\"again\" class=\"link\">Ask again</button> " } else { "" };
    let ways = format!("<form method=\"post\" class=\"ways\">{again}<a href=\"?other\">Try another way</a></form>");
    Ok(Page::pending(&status, &form).with_limit(&ways, left, then))
}

/// The result of a request.
async fn decided(server: &Server, session: &Session, request: &RequestRow) -> Result<Page, ApiError> {
    match server.reject_if_revoked(request).await {
        Err(error) if error.status() == StatusCode::CONFLICT => {
            let text = "To try again, start at the site.";
            return Ok(Page::done("Not allowed", text, Payload::from_error(&error)));
        }
        valid => valid?,
    }
    let (heading, text) = request.outcome();
    Ok(Page::done(heading, text, Payload::from_request(session, request)))
}

fn pair(server: &Server, session: &Session, user: &User, denied: bool, reply: Reply<'_>) -> Result<Page, ApiError> {
    let has_codes = user.has_recovery_codes();
    if session.kind == "authenticate" && has_codes && reply.view == View::Other {
        let status = "<h1>Log in with a recovery code</h1><p>Each of them is valid once.</p>";
        return Ok(Page::form(status, &(recovery_only(reply) + "<p><a href=\"?\">Back</a></p>")));
    }
    let denied = if denied { "<p>The pairing was denied.</p>" } else { "" };
    let status = format!("<h1>Pair your phone</h1>{denied}<p>Your phone shows some words. Type them here.</p>");
    let phone = phone_page(&server.shared.public_url, "Open this page on your phone:")?;
    let other = if session.kind == "authenticate" && has_codes {
        "<p><a href=\"?other\">Log in with a recovery code, without a phone</a></p>"
    } else {
        ""
    };
    let lost = if has_codes {
        let site = escape_html(&visible_name(&session.requester_name));
        format!("<p>If you have lost your recovery codes, ask {site} for help.</p>")
    } else {
        String::new()
    };
    Ok(Page::form(&status, &format!("{phone}{}{other}{lost}", words_form(has_codes, reply.message))))
}
