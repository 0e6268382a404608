//! Who calls: the extractor in front of every call of the API.

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use http::header;

use super::Server;
use super::audit::Audit;
use super::error::ApiError;
use super::params::Params;
use crate::media;
use crate::oauth1::OauthRequest;
use crate::store::{Name, query};

/// The most bytes of a form.
const MAX_FORM: usize = 64 * 1024;
/// How long a body may take.
const BODY_TIME: std::time::Duration = std::time::Duration::from_secs(10);

/// A call whose signature is right, whose time is near, and whose nonce is new.
pub(super) struct Signed {
    pub(super) requester_id: String,
    pub(super) consumer_key: String,
    pub(super) params: Params,
}

impl FromRequest<Server> for Signed {
    type Rejection = ApiError;

    async fn from_request(request: Request<Body>, server: &Server) -> Result<Self, ApiError> {
        let mut audit = Audit::of_call();
        let call = Self::checked(request, server, &mut audit).await;
        audit.close(call)
    }
}

impl Signed {
    /// Begins the audit of something that this site decides, or asks for.
    pub(super) fn audit(&self, audit: Audit) -> Audit {
        audit.requester(&self.consumer_key)
    }

    async fn checked(request: Request<Body>, server: &Server, audit: &mut Audit) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let is_form = media::is_form(&parts.headers).map_err(|_| ApiError::NO_FORM)?;
        let body = read(body, MAX_FORM).await?;
        // What is not signed must not be able to change the meaning of what is.
        if !body.is_empty() && !is_form {
            return Err(ApiError::NO_FORM);
        }
        let query = parts.uri.query().unwrap_or_default();
        let base = server.shared.public.base_uri(&parts).ok_or(ApiError::UNSIGNED)?;
        let headers = parts.headers.get_all(header::AUTHORIZATION).iter().map(http::HeaderValue::as_bytes);
        let signed = OauthRequest::parse(parts.method.as_str(), base, headers, Some(query), Some(&body))?;
        let requester_id = server.check(&signed, audit).await?;
        Ok(Self { requester_id, consumer_key: signed.consumer_key().to_owned(), params: Params::read(query, &body) })
    }
}

pub(super) async fn read(body: Body, limit: usize) -> Result<bytes::Bytes, ApiError> {
    let read = tokio::time::timeout(BODY_TIME, axum::body::to_bytes(body, limit));
    read.await.map_err(|_| ApiError::TOO_SLOW)?.map_err(|error| {
        if std::error::Error::source(&error).is_some_and(|cause| cause.is::<http_body_util::LengthLimitError>()) {
            ApiError::TOO_LARGE
        } else {
            ApiError::bad_request("The request body broke off.")
        }
    })
}

impl Server {
    /// Checks signature, time and nonce, in this order: only who can sign can use a nonce up.
    pub(super) async fn check(&self, signed: &OauthRequest, audit: &mut Audit) -> Result<String, ApiError> {
        let key = signed.consumer_key();
        let consumer = query("SELECT id, sealed_secret FROM requesters WHERE consumer_key = $1 AND NOT revoked");
        // One with a NUL is nobody's, and not every database can be asked for it.
        let consumer = if key.contains('\0') { None } else { consumer.bind(key).row(&self.database).await? };
        let Some(consumer) = consumer else {
            // As long as a known one takes.
            std::hint::black_box(signed.is_signed_with("a secret of nobody, as long as any"));
            return Err(ApiError::UNSIGNED.because("unknown_requester"));
        };
        audit.requester = Some(key.to_owned());
        let id: String = consumer.get("id")?;
        let secret = self.open_consumer_secret(&id, &consumer.get::<Vec<u8>>("sealed_secret")?)?;
        let now = self.now()?;
        if !signed.is_signed_with(&secret) {
            return Err(ApiError::UNSIGNED.because("wrong_signature"));
        }
        const WRONG_TIME: ApiError = ApiError::UNSIGNED.because("wrong_time");
        let timestamp = i64::try_from(signed.timestamp()).map_err(|_| WRONG_TIME)?;
        if signed.timestamp().abs_diff(now) > self.clock_window() {
            return Err(WRONG_TIME);
        }
        let new = query(
            "INSERT INTO nonces (consumer_key, timestamp, nonce) VALUES ($1, $2, $3)
             ON CONFLICT (consumer_key, timestamp, nonce) DO NOTHING",
        )
        .bind(signed.consumer_key())
        .bind(timestamp)
        .bind(Name(signed.nonce()))
        .execute(&self.database)
        .await?;
        // Only then, since one that has just been forgotten looks new.
        let forgotten: Option<i64> = query("SELECT before FROM nonces_forgotten").scalar(&self.database).await?;
        let remembered = forgotten.is_some_and(|before| timestamp >= before);
        if new == 0 || !remembered { Err(ApiError::UNSIGNED.because("replayed_nonce")) } else { Ok(id) }
    }
}
