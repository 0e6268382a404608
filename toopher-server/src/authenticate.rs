//! Authentication of requesters: the extractor of every call of the API.

use std::hint::black_box;

use axum::body::Body;
use axum::extract::{FromRequest, MatchedPath, Request};
use http::request::Parts;
use http::{HeaderValue, header};
use toopher_oauth1::{OauthRequest, Parameter};
use toopher_sql::{OpaqueText, SqlError, query};
use tower_toopher::middleware::is_form;

use crate::api_error::ApiError;
use crate::audit::Audit;
use crate::body::read_body;
use crate::params::Params;
use crate::state::Server;

/// The end of the route of the call whose parameters PHP 2.0 signs with empty values if it does not send them. Empty
/// and absent values mean the same for this call.
const SIGNED_IF_UNSENT: (&str, &[&str]) =
    ("/pairings/{id}/generate_reset_link", &["security_question", "security_answer"]);

/// The parameters that need not be in UTF-8: names that a person reads, and their copies by Java 2.0, which are
/// ignored.
///
/// Java sends Latin-1, and signs each byte outside ASCII as a replacement character (U+FFFD). Several bytes have the
/// same signature, so the server uses the text that is signed. The value of another parameter could then be the same
/// for two users.
const READ_BY_A_PERSON: &[&str] = &["action", "action_name", "terminal_name", "actionName", "terminalName"];

/// A call with a valid signature, a timestamp close to the server's time, and a new nonce.
pub(crate) struct AuthenticatedCall {
    pub(crate) requester_id: String,
    pub(crate) consumer_key: String,
    pub(crate) params: Params,
}

impl FromRequest<Server> for AuthenticatedCall {
    type Rejection = ApiError;

    async fn from_request(request: Request<Body>, server: &Server) -> Result<Self, ApiError> {
        let mut audit = Audit::for_call();
        let call = Self::verify(request, server, &mut audit).await;
        audit.close(call)
    }
}

impl AuthenticatedCall {
    /// Adds the requester to the audit of a decision of this call.
    pub(crate) fn audit(&self, audit: Audit) -> Audit {
        audit.requester(&self.consumer_key)
    }

    async fn verify(request: Request<Body>, server: &Server, audit: &mut Audit) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let is_form = is_form(&parts.headers).map_err(|_| ApiError::NO_FORM)?;
        let body = read_body(body).await?;
        // OAuth signs forms only, so another body could change the meaning of a signed call.
        if !body.is_empty() && !is_form {
            return Err(ApiError::NO_FORM);
        }
        let query = parts.uri.query().unwrap_or_default();
        let base = server.shared.public_url.base_uri(&parts).ok_or(ApiError::UNSIGNED)?;
        let headers = parts.headers.get_all(header::AUTHORIZATION).iter().map(HeaderValue::as_bytes);
        let signed = OauthRequest::parse(parts.method.as_str(), base, headers, Some(query), Some(&body))?;
        let (requester_id, params) = server.authenticate(&signed, unsent(&parts), audit).await?;
        let call = Self { requester_id, consumer_key: signed.consumer_key().to_owned(), params };
        // XML and YAML are formats of the vendor's API.
        match call.params.get(&["format"])? {
            Some(format) if !format.eq_ignore_ascii_case("json") => Err(ApiError::NO_FORMAT),
            _ => Ok(call),
        }
    }
}

/// The parameters of this call that a client may sign without sending them.
fn unsent(parts: &Parts) -> &'static [&'static str] {
    let (route, names) = SIGNED_IF_UNSENT;
    match parts.extensions.get::<MatchedPath>() {
        Some(path) if path.as_str().ends_with(route) => names,
        _ => &[],
    }
}

impl Server {
    /// Checks the signature, the timestamp and the nonce in this order, so that only the holder of the secret can use
    /// up a nonce. Returns the id of the requester, and the parameters that the signature covers: no others may be
    /// used.
    pub(crate) async fn authenticate(
        &self,
        signed: &OauthRequest,
        unsent: &[&'static str],
        audit: &mut Audit,
    ) -> Result<(String, Params), ApiError> {
        const WRONG_TIME: ApiError = ApiError::UNSIGNED.with_reason("wrong_time");
        let key = signed.consumer_key();
        let consumer = query("SELECT id, sealed_secret FROM requesters WHERE consumer_key = $1 AND NOT revoked");
        // No requester has a key with a NUL, and PostgreSQL accepts none in text.
        let consumer = if key.contains('\0') { None } else { consumer.bind(key).row(&self.database).await? };
        let Some(consumer) = consumer else {
            // Takes as long as for a known requester.
            black_box(signed.signed_parameters("a secret of no requester, as long", unsent));
            return Err(ApiError::UNSIGNED.with_reason("unknown_requester"));
        };
        audit.requester = Some(key.to_owned());
        let id: String = consumer.get("id")?;
        let secret = self.decrypt_consumer_secret(&id, &consumer.get::<Vec<u8>>("sealed_secret")?)?;
        let now = self.now()?;
        let parameters = signed.signed_parameters(&secret, unsent);
        let parameters = parameters.ok_or(ApiError::UNSIGNED.with_reason("wrong_signature"))?;
        let server_time = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let timestamp = i64::try_from(signed.timestamp()).map_err(|_| WRONG_TIME)?;
        if signed.timestamp().abs_diff(now.as_secs()) > self.clock_skew_secs() {
            return Err(WRONG_TIME);
        }
        let (is_new, deleted_before) = self.record_nonce(key, timestamp, signed.nonce()).await?;
        if self.is_far_ahead(deleted_before, server_time) {
            return Err(ApiError::internal(&"the clock was ahead when nonces were deleted: run repair-clock"));
        }
        if !is_new || timestamp < deleted_before {
            return Err(ApiError::UNSIGNED.with_reason("replayed_nonce"));
        }
        let is_ambiguous = |pair: &Parameter<'_>| !pair.is_utf8 && !READ_BY_A_PERSON.contains(&pair.name);
        if parameters.iter().any(is_ambiguous) {
            return Err(ApiError::NO_UTF8);
        }
        Ok((id, Params::from_pairs(parameters.iter().map(|pair| (pair.name, pair.value)))))
    }

    /// Records a nonce. Returns whether it was not recorded before, and the time before which nonces were deleted.
    async fn record_nonce(&self, key: &str, timestamp: i64, nonce: &str) -> Result<(bool, i64), SqlError> {
        if self.database.is_shared() {
            // One round trip to PostgreSQL.
            let record = query("SELECT is_new, deleted_before FROM record_nonce($1, $2, $3)");
            let recorded = record.bind(key).bind(timestamp).bind(OpaqueText(nonce)).one(&self.database).await?;
            let (is_new, before): (bool, Option<i64>) = recorded.unwrap_or((false, None));
            return Ok((is_new, before.unwrap_or(i64::MAX)));
        }
        let insert = query(
            "INSERT INTO nonces (consumer_key, timestamp, nonce) VALUES ($1, $2, $3)
             ON CONFLICT (consumer_key, timestamp, nonce) DO NOTHING",
        );
        let insert = insert.bind(key).bind(timestamp).bind(OpaqueText(nonce));
        let recorded = self.database.transaction("nonces".into(), |connection| {
            Box::pin(async {
                let is_new = insert.execute(&mut *connection).await? > 0;
                // Read after the insertion: a nonce that was deleted just before it looks new.
                let before = query("SELECT before FROM nonces_deleted").scalar(connection).await?;
                Ok((is_new, before.unwrap_or(i64::MAX)))
            })
        });
        recorded.await
    }
}
