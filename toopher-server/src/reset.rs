//! Links with which a user who has lost a phone deactivates its pairing, and the page behind them.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use form_urlencoded::byte_serialize;
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};
use subtle::ConstantTimeEq;
use toopher_sql::query;

use crate::api_error::ApiError;
use crate::attempts::Limit;
use crate::audit::{Audit, AuditError, Outcome};
use crate::authenticate::AuthenticatedCall;
use crate::body::read_body;
use crate::crypto::{digest, keyed_digest, token};
use crate::html::{escape_html, page};
use crate::id::Id;
use crate::message::{Message, is_mail_address};
use crate::pairing_phrase::normalize;
use crate::params::Params;
use crate::state::Server;

/// How long a link is valid, in seconds.
pub(crate) const LINK_LIFETIME: i64 = 24 * 60 * 60;
/// The maximum number of answers to the security question.
const MAX_TRIES: i64 = 5;

impl Server {
    /// Creates a link, which replaces the previous one. Its token authorizes the page, which is not signed.
    async fn reset_link_of(&self, call: &AuthenticatedCall, id: &str) -> Result<String, ApiError> {
        self.pairing(&call.requester_id, id).await?.ok_or(ApiError::NO_PAIRING)?;
        let question = call.params.get(&["security_question"])?;
        let answer = call.params.get(&["security_answer"])?;
        if question.is_some() != answer.is_some() {
            return Err(ApiError::bad_request("A security question and its answer must be sent together."));
        }
        self.reset_link(id, question, answer).await
    }

    async fn reset_link(&self, id: &str, question: Option<&str>, answer: Option<&str>) -> Result<String, ApiError> {
        let token = token()?;
        let expires = self.now_i64()?.saturating_add(LINK_LIFETIME);
        query(
            "UPDATE pairings SET reset_digest = $1, reset_expires = $2, reset_question = $3, reset_answer_digest = $4,
             reset_tries_left = $5 WHERE id = $6",
        )
        .bind(digest(&token))
        .bind(expires)
        .bind(question)
        .bind(answer.map(|answer| self.answer_digest(id, answer)).transpose()?)
        .bind(MAX_TRIES)
        .bind(id)
        .execute(&self.database)
        .await?;
        let token: String = byte_serialize(token.as_bytes()).collect();
        Ok(format!("{}/v1/pairings/{id}/reset?reset_authorization={token}", self.shared.public_url))
    }

    /// Sends a link to an address that the site has signed for a page.
    pub(crate) async fn mail_reset_link(&self, id: &str, address: &str) -> Result<(), ApiError> {
        let link = self.reset_link(id, None, None).await?;
        self.send(mail(address, &link)).await
    }

    /// The question of a link, if it has one. Returns `None` if the link is not valid.
    async fn reset_question(&self, id: &str, token: &str) -> Result<Option<Option<String>>, ApiError> {
        let question = query(
            "SELECT reset_question FROM pairings WHERE id = $1 AND reset_digest = $2 AND reset_expires > $3
                AND reset_tries_left > 0 AND state <> 'deactivated'",
        );
        let question = question.bind(id).bind(digest(token)).bind(self.now_i64()?);
        Ok(question.scalar(&self.database).await?)
    }

    /// The digest of an answer, regardless of case and spaces. It is keyed, since an attacker could guess an answer
    /// from a plain digest.
    fn answer_digest(&self, pairing: &str, answer: &str) -> Result<Vec<u8>, ApiError> {
        keyed_digest(&self.shared.digest_key, &format!("answer for pairing {pairing}: {}", normalize(answer)))
    }
}

pub(crate) async fn generate_link(
    State(server): State<Server>,
    Id(id): Id,
    call: AuthenticatedCall,
) -> Result<Json<Value>, ApiError> {
    Ok(Json(json!({ "url": server.reset_link_of(&call, &id).await? })))
}

pub(crate) async fn send_link(
    State(server): State<Server>,
    Id(id): Id,
    call: AuthenticatedCall,
) -> Result<Json<Value>, ApiError> {
    let address = call.params.require(&["reset_email"])?.to_owned();
    if !is_mail_address(&address) {
        return Err(ApiError::bad_request("This is not a mail address."));
    }
    server.require_messenger()?;
    let link = server.reset_link_of(&call, &id).await?;
    server.send(mail(&address, &link)).await?;
    Ok(Json(json!({})))
}

fn mail(address: &str, link: &str) -> Message {
    let text = format!("If you have lost the phone that you log in with, open this link to end its pairing: {link}");
    Message::Mail { address: address.to_owned(), text }
}

/// Shows the form. It changes nothing, since mail scanners also load links.
pub(crate) async fn show(State(server): State<Server>, Id(id): Id, uri: http::Uri) -> Result<Response, ApiError> {
    let params = Params::read(uri.query().unwrap_or_default().as_bytes());
    let token = params.get(&["reset_authorization"])?.unwrap_or_default();
    let Some(question) = server.reset_question(&id, token).await? else {
        return Ok(server.html(StatusCode::NOT_FOUND, GONE));
    };
    Ok(server.html(StatusCode::OK, &form(token, question.as_deref(), "")))
}

pub(crate) async fn submit(
    State(server): State<Server>,
    Id(id): Id,
    request: axum::extract::Request,
) -> Result<Response, ApiError> {
    let body = read_body(request.into_body()).await?;
    let mut audit = Audit::for_pairing().decided_by("reset_link");
    let page = server.follow_reset_link(&id, &Params::read(&body), &mut audit).await;
    audit.close(page)
}

impl Server {
    async fn follow_reset_link(&self, id: &str, params: &Params, audit: &mut Audit) -> Result<Response, ApiError> {
        let token = params.get(&["reset_authorization"])?.unwrap_or_default();
        let gone = |audit: &mut Audit| {
            audit.settle(Outcome::Denied("unknown_link"));
            Ok(self.html(StatusCode::NOT_FOUND, GONE))
        };
        let Some(question) = self.reset_question(id, token).await? else { return gone(audit) };
        let user = self.describe_pairing(id, None, audit).await?;
        // The attempt is counted before the answer is compared, in one statement.
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
            let limits = Limit::on_answers(id);
            if let Err(error) = self.count_attempt(&limits).await {
                let too_many = "Too many answers were wrong. Try again tomorrow, or ask the site.";
                audit.settle(error.outcome());
                return if error.status() == StatusCode::TOO_MANY_REQUESTS {
                    Ok(self.html(StatusCode::TOO_MANY_REQUESTS, &form(token, question.as_deref(), too_many)))
                } else {
                    Err(error)
                };
            }
            let given = self.answer_digest(id, params.get(&["answer"])?.unwrap_or_default())?;
            if !bool::from(given.ct_eq(&expected)) {
                audit.settle(Outcome::Denied("wrong_answer"));
                return Ok(self.html(StatusCode::FORBIDDEN, &form(token, question.as_deref(), "The answer is wrong.")));
            }
        }
        let device = self.end_by_link(&user, id, token).await?;
        // Of two concurrent submissions, one has deactivated the pairing.
        audit.settle(device.is_some().then_some(Outcome::Unpaired));
        self.notify(device.flatten().as_deref()).await;
        Ok(self.html(StatusCode::OK, ENDED))
    }

    /// Deactivates the pairing of a link, and returns its device, or `None` if the link was used before. With the last
    /// pairing the recovery codes end: a user who has lost both could otherwise pair no phone.
    async fn end_by_link(&self, user: &str, id: &str, token: &str) -> Result<Option<Option<String>>, ApiError> {
        let was_enabled = query("SELECT id FROM pairings WHERE id = $1 AND state = 'enabled'").bind(id);
        let end = query(
            "UPDATE pairings SET state = 'deactivated', modified = $1, reset_digest = NULL
             WHERE id = $2 AND reset_digest = $3 RETURNING device_id",
        );
        let end = end.bind(self.now_i64()?).bind(id).bind(digest(token));
        let delete_codes = query(
            "DELETE FROM recovery_codes WHERE user_id = $1
                AND NOT EXISTS (SELECT 1 FROM pairings p WHERE p.user_id = $1 AND p.state = 'enabled')",
        );
        let delete_codes = delete_codes.bind(user);
        let ended = self.transaction_for_user(user, |connection| {
            Box::pin(async move {
                let was_enabled = was_enabled.row(&mut *connection).await?.is_some();
                let device: Option<Option<String>> = end.scalar(&mut *connection).await?;
                if was_enabled && device.is_some() {
                    delete_codes.execute(connection).await?;
                }
                Ok::<_, ApiError>(device)
            })
        });
        ended.await
    }
}

const ENDED: &str = "<p>The pairing has ended, and your recovery codes are no longer valid if it was the last one. \
    Pair a new phone the next time that you log in.</p>";

const GONE: &str = "<p>This link is no longer valid. Request a new one.</p>";

fn form(token: &str, question: Option<&str>, message: &str) -> String {
    let question = question.map_or_else(String::new, |question| {
        format!("<label>{} <input name=\"answer\" autocomplete=\"off\" required></label>", escape_html(question))
    });
    let message = if message.is_empty() { String::new() } else { format!("<p role=\"alert\">{message}</p>") };
    format!(
        "<p>If you have lost your phone, or no longer use it, end its pairing here. If it is your last phone, your \
         recovery codes end as well.</p>\
         {message}<form method=\"post\">{question}\
         <input type=\"hidden\" name=\"reset_authorization\" value=\"{}\"><button>End the pairing</button></form>",
        escape_html(token)
    )
}

impl Server {
    /// A page whose URL, with the token, is not sent as a referrer.
    fn html(&self, status: StatusCode, body: &str) -> Response {
        let mut page = page(&self.shared.public_url, "Lost phone", body);
        *page.status_mut() = status;
        page.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        page
    }
}
