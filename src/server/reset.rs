//! Links by which a person who has lost a phone ends its pairing, and the page that they lead to.

use axum::Json;
use axum::extract::State;
use axum::response::{Html, IntoResponse, Response};
use form_urlencoded::byte_serialize;
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::{Value, json};
use subtle::ConstantTimeEq;

use super::Server;
use super::audit::{Audit, Outcome};
use super::error::ApiError;
use super::id::Id;
use super::message::Message;
use super::pairings::{digest, token};
use super::params::Params;
use super::signed::{Signed, read};
use crate::store::query;

/// How long a link works.
const LINK_LIFETIME: i64 = 24 * 60 * 60;
/// How many answers to the security question are looked at.
const TRIES: i64 = 5;
const MAX_FORM: usize = 4096;

impl Server {
    /// Makes a link, in place of the one before. The token in it is the authority: the page is not signed.
    async fn reset_link(&self, call: &Signed, id: &str) -> Result<String, ApiError> {
        self.pairing(&call.requester_id, id).await?.ok_or(ApiError::NO_PAIRING)?;
        let question = call.params.get(&["security_question"])?;
        let answer = call.params.get(&["security_answer"])?;
        if question.is_some() != answer.is_some() {
            return Err(ApiError::bad_request("A security question needs its answer, and an answer its question."));
        }
        let token = token()?;
        let expires = self.now_i64()?.saturating_add(LINK_LIFETIME);
        query(
            "UPDATE pairings SET reset_digest = $1, reset_expires = $2, reset_question = $3, reset_answer_digest = $4,
             reset_tries_left = $5 WHERE id = $6",
        )
        .bind(digest(&token))
        .bind(expires)
        .bind(question)
        .bind(answer.map(|answer| self.answer_digest(id, answer)))
        .bind(TRIES)
        .bind(id)
        .execute(&self.database)
        .await?;
        let token: String = byte_serialize(token.as_bytes()).collect();
        Ok(format!("{}/v1/pairings/{id}/reset?reset_authorization={token}", self.shared.public))
    }

    /// The question of a link that works, if it has one. A link that does not is none.
    async fn reset_question(&self, id: &str, token: &str) -> Result<Option<Option<String>>, ApiError> {
        let question = query(
            "SELECT reset_question FROM pairings WHERE id = $1 AND reset_digest = $2 AND reset_expires > $3
                AND reset_tries_left > 0 AND state <> 'deactivated'",
        );
        let question = question.bind(id).bind(digest(token)).bind(self.now_i64()?);
        Ok(question.scalar(&self.database).await?)
    }
}

impl Server {
    /// People answer in other letters, and with other spaces, than they once did. Under the key, since an answer can be
    /// guessed from its plain digest.
    fn answer_digest(&self, pairing: &str, answer: &str) -> Vec<u8> {
        self.seal().digest(&format!("answer for pairing {pairing}: {}", super::phrases::normal(answer)))
    }
}

pub(super) async fn generate_link(
    State(server): State<Server>,
    Id(id): Id,
    call: Signed,
) -> Result<Json<Value>, ApiError> {
    Ok(Json(json!({ "url": server.reset_link(&call, &id).await? })))
}

pub(super) async fn send_link(State(server): State<Server>, Id(id): Id, call: Signed) -> Result<Json<Value>, ApiError> {
    let address = call.params.require(&["reset_email"])?.to_owned();
    if address.matches('@').count() != 1
        || address.starts_with(['-', '@'])
        || address.chars().any(|c| c.is_control() || c.is_whitespace())
    {
        return Err(ApiError::bad_request("That is no mail address."));
    }
    server.can_send()?;
    let link = server.reset_link(&call, &id).await?;
    let text = format!("If you have lost the phone that you log in with, open this link to end its pairing: {link}");
    server.send(Message::Mail { address, text }).await?;
    Ok(Json(json!({})))
}

/// Shows what the link does. Looking at it does nothing: programs that check mails look at links, too.
pub(super) async fn page(State(server): State<Server>, Id(id): Id, uri: http::Uri) -> Result<Response, ApiError> {
    let params = Params::read(uri.query().unwrap_or_default(), b"");
    let token = params.get(&["reset_authorization"])?.unwrap_or_default();
    let Some(question) = server.reset_question(&id, token).await? else {
        return Ok(html(StatusCode::NOT_FOUND, GONE));
    };
    Ok(html(StatusCode::OK, &form(token, question.as_deref(), "")))
}

pub(super) async fn submit(
    State(server): State<Server>,
    Id(id): Id,
    request: axum::extract::Request,
) -> Result<Response, ApiError> {
    let body = read(request.into_body(), MAX_FORM).await?;
    let mut audit = Audit::of_pairing().by("reset_link");
    let page = server.follow_reset_link(&id, &Params::read("", &body), &mut audit).await;
    audit.close(page)
}

impl Server {
    async fn follow_reset_link(&self, id: &str, params: &Params, audit: &mut Audit) -> Result<Response, ApiError> {
        let token = params.get(&["reset_authorization"])?.unwrap_or_default();
        let gone = |audit: &mut Audit| {
            audit.settle(Outcome::Denied("unknown_link"));
            Ok(html(StatusCode::NOT_FOUND, GONE))
        };
        let Some(question) = self.reset_question(id, token).await? else { return gone(audit) };
        self.note_pairing(id, None, audit).await?;
        // Counted before it is looked at, in one statement.
        let counted = query(
            "UPDATE pairings SET reset_tries_left = reset_tries_left - 1
             WHERE id = $1 AND reset_digest = $2 AND reset_tries_left > 0 RETURNING reset_answer_digest",
        )
        .bind(id)
        .bind(digest(token))
        .scalar::<Option<Vec<u8>>>(&self.database)
        .await?;
        let Some(counted) = counted else { return gone(audit) };
        if let Some(expected) = counted {
            let given = self.answer_digest(id, params.get(&["answer"])?.unwrap_or_default());
            if !bool::from(given.ct_eq(&expected)) {
                audit.settle(Outcome::Denied("wrong_answer"));
                return Ok(html(StatusCode::FORBIDDEN, &form(token, question.as_deref(), "That is not the answer.")));
            }
        }
        let device: Option<Option<String>> = query(
            "UPDATE pairings SET state = 'deactivated', modified = $1, reset_digest = NULL
             WHERE id = $2 AND reset_digest = $3 RETURNING device_id",
        )
        .bind(self.now_i64()?)
        .bind(id)
        .bind(digest(token))
        .scalar(&self.database)
        .await?;
        // Of two that follow it at once, one has ended the pairing.
        audit.settle(if device.is_some() { Outcome::Unpaired } else { Outcome::Nothing });
        self.notify(device.flatten().as_deref()).await;
        Ok(html(
            StatusCode::OK,
            "<p>The phone can no longer be used. Pair a new one the next time that you log in.</p>",
        ))
    }
}

const GONE: &str = "<p>This link does not work any more. Ask for a new one.</p>";

fn form(token: &str, question: Option<&str>, message: &str) -> String {
    let question = question.map_or_else(String::new, |question| {
        format!("<p><label>{} <input name=\"answer\" autocomplete=\"off\" required></label></p>", escaped(question))
    });
    format!(
        "<p>If you have lost your phone, or do not use it any more, end its pairing here.</p>\
         <p role=\"alert\">{message}</p><form method=\"post\">{question}\
         <input type=\"hidden\" name=\"reset_authorization\" value=\"{}\"><button>End the pairing</button></form>",
        escaped(token)
    )
}

pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

/// A page that loads nothing, stands in no frame, and whose address, with its token, goes nowhere.
fn html(status: StatusCode, body: &str) -> Response {
    let page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>Lost phone</title>\
         <h1>Lost phone</h1>{body}</html>"
    );
    let mut response = (status, Html(page)).into_response();
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
        ),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("x-content-type-options"), "nosniff"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
