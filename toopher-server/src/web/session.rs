//! The session of a page.

use toopher_sql::{Record, Row, SqlError, query};

use crate::api_error::ApiError;
use crate::audit::{Audit, Outcome};
use crate::crypto::{digest, token};
use crate::models::PairingRow;
use crate::params::Params;
use crate::push_request::PushRequest;
use crate::state::Server;

/// How long a page can be used, in seconds.
pub(crate) const SESSION_LIFETIME: i64 = 600;

/// The values of a new session, from the signed URL and the browser.
pub(super) struct NewSession<'a> {
    pub(super) requester: &'a str,
    pub(super) params: &'a Params,
    pub(super) terminal_name: Option<&'a str>,
    pub(super) discriminator: &'a str,
    pub(super) origin: Option<&'a str>,
    pub(super) kind: &'static str,
    pub(super) first_protocol: bool,
    /// Whether the page offers pairing if the URL does not say so.
    pub(super) inline_pairing: bool,
}

pub(super) struct Session {
    pub(super) token: String,
    pub(super) requester_id: String,
    pub(super) requester_name: String,
    consumer_key: String,
    pub(super) user_name: String,
    pub(super) user_id: String,
    pub(super) kind: String,
    pub(super) first_protocol: bool,
    pub(super) inline_pairing: bool,
    pub(super) session_token: String,
    pub(super) requester_metadata: Option<String>,
    action_name: String,
    automation_allowed: bool,
    pub(super) challenge_required: bool,
    number_matching: bool,
    terminal_name: String,
    discriminator: String,
    pub(super) origin: Option<String>,
    pub(super) pairing_id: Option<String>,
    pub(super) request_id: Option<String>,
}

impl Record for Session {
    fn from_row(row: &Row) -> Result<Self, SqlError> {
        Ok(Self {
            token: String::new(),
            requester_id: row.get("requester_id")?,
            requester_name: row.get("requester_name")?,
            consumer_key: row.get("consumer_key")?,
            user_name: row.get("user_name")?,
            user_id: row.get("user_id")?,
            kind: row.get("kind")?,
            first_protocol: row.get("first_protocol")?,
            inline_pairing: row.get("inline_pairing")?,
            session_token: row.get("session_token")?,
            requester_metadata: row.get("requester_metadata")?,
            action_name: row.get("action_name")?,
            automation_allowed: row.get("automation_allowed")?,
            challenge_required: row.get("challenge_required")?,
            number_matching: row.get("number_matching")?,
            terminal_name: row.get("terminal_name")?,
            discriminator: row.get("discriminator")?,
            origin: row.get("origin")?,
            pairing_id: row.get("pairing_id")?,
            request_id: row.get("request_id")?,
        })
    }
}

impl Session {
    /// Creates a session, and returns its token.
    pub(super) async fn create(server: &Server, new: &NewSession<'_>) -> Result<String, ApiError> {
        let NewSession {
            requester,
            params,
            terminal_name,
            discriminator,
            origin,
            kind,
            first_protocol,
            inline_pairing,
        } = *new;
        let user = server.user_named(requester, params.require(&["username"])?).await?;
        let action = params.get_even_empty(&["action_name"])?;
        let inline = params.flag_or_if_empty(&["allow_inline_pairing"], Some(false))?;
        let token = token()?;
        query(
            "INSERT INTO web_sessions (token_digest, user_id, kind, first_protocol, inline_pairing, session_token,
                requester_metadata, action_name, automation_allowed, challenge_required, terminal_name, discriminator,
                origin, expires, number_matching)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
        )
        .bind(digest(&token))
        .bind(&user.user_id)
        .bind(kind)
        .bind(first_protocol)
        .bind(!first_protocol && inline.unwrap_or(inline_pairing))
        .bind(params.get(&["session_token"])?.unwrap_or_default())
        .bind(params.get(&["requester_metadata"])?)
        .bind(action.filter(|action| !action.is_empty()).unwrap_or("Log In"))
        .bind(params.narrowing_flag(&["automation_allowed"], false)? && action != Some(""))
        .bind(params.narrowing_flag(&["challenge_required"], true)?)
        .bind(terminal_name.unwrap_or("web browser"))
        .bind(discriminator)
        .bind(origin)
        .bind(server.now_i64()?.saturating_add(SESSION_LIFETIME))
        .bind(params.flag_or_if_empty(&["number_matching"], Some(true))?.unwrap_or(true))
        .execute(&server.database)
        .await?;
        Ok(token)
    }

    pub(super) async fn find(server: &Server, token: &str) -> Result<Option<Self>, ApiError> {
        let session: Option<Self> = query(
            "SELECT w.*, r.id AS requester_id, r.name AS requester_name, r.consumer_key, u.name AS user_name
             FROM web_sessions w JOIN users u ON u.id = w.user_id JOIN requesters r ON r.id = u.requester_id
             WHERE w.token_digest = $1 AND w.expires > $2 AND NOT r.revoked",
        )
        .bind(digest(token))
        .bind(server.now_i64()?)
        .one(&server.database)
        .await?;
        Ok(session.map(|session| Self { token: token.to_owned(), ..session }))
    }

    /// The newest enabled pairing of the user, or else the pairing that this page has requested.
    pub(super) async fn pairing(&self, server: &Server) -> Result<Option<PairingRow>, ApiError> {
        let id: Option<String> = query(
            "SELECT id FROM pairings WHERE user_id = $1 AND (state = 'enabled' OR id = $2)
             ORDER BY state = 'enabled' DESC, created DESC, id LIMIT 1",
        )
        .bind(&self.user_id)
        .bind(&self.pairing_id)
        .scalar(&server.database)
        .await?;
        match id {
            None => Ok(None),
            Some(id) => server.pairing(&self.requester_id, &id).await,
        }
    }

    /// Whether this page has requested the pairing.
    pub(super) fn has_paired(&self, pairing: Option<&PairingRow>) -> bool {
        pairing.is_some_and(|pairing| self.pairing_id.as_deref() == Some(pairing.id()))
    }

    /// The error for a user without an enabled pairing, as in the call that creates a request.
    pub(super) async fn unpaired(&self, server: &Server) -> Result<ApiError, ApiError> {
        let ended: Option<String> =
            query("SELECT id FROM pairings WHERE user_id = $1 AND state = 'deactivated' LIMIT 1")
                .bind(&self.user_id)
                .scalar(&server.database)
                .await?;
        Ok(if ended.is_some() { ApiError::DEACTIVATED } else { ApiError::NO_USER })
    }

    /// Adds the requester and the user to the audit of a decision of this page.
    pub(super) fn audit(&self, audit: Audit) -> Audit {
        audit.requester(&self.consumer_key).user(&self.user_name)
    }

    /// The id of this page's request, which is created if there is none.
    pub(super) async fn request(&self, server: &Server, pairing: &PairingRow) -> Result<String, ApiError> {
        if let Some(id) = &self.request_id {
            return Ok(id.clone());
        }
        let push = PushRequest {
            requester: &self.requester_id,
            user: &self.user_id,
            pairing: Some(pairing.id()),
            device: pairing.device_id.as_deref(),
            renamed_terminal: None,
            terminal_name: &self.terminal_name,
            discriminator: &self.discriminator,
            action: &self.action_name,
            automation_allowed: self.automation_allowed,
            challenge_required: self.challenge_required,
            number_matching: self.number_matching,
        };
        let mut audit = self.audit(Audit::for_request());
        let request = server.request_approval(&push, &mut audit).await;
        let id = audit.close(request)?.request_id;
        // If the page is loaded twice at once, the first request belongs to it, and the other one is cancelled.
        let mine = query("UPDATE web_sessions SET request_id = $1 WHERE token_digest = $2 AND request_id IS NULL")
            .bind(&id)
            .bind(digest(&self.token))
            .execute(&server.database)
            .await?;
        if mine > 0 {
            return Ok(id);
        }
        if server.decide(&id, "cancelled", false, "").await? {
            let mut audit = self.audit(Audit::for_request().decided_by("site"));
            audit.approval = Some(id);
            audit.pairing = Some(pairing.id().to_owned());
            audit.settle(Outcome::Cancelled);
        }
        let first = query("SELECT request_id FROM web_sessions WHERE token_digest = $1").bind(digest(&self.token));
        first.scalar(&server.database).await?.ok_or(ApiError::PAGE_EXPIRED)
    }

    /// The time at which the result of this page was signed first: now, if it was not signed before.
    pub(super) async fn signed_at(&self, server: &Server) -> Result<i64, ApiError> {
        let signed =
            query("UPDATE web_sessions SET signed = coalesce(signed, $1) WHERE token_digest = $2 RETURNING signed")
                .bind(server.now_i64()?)
                .bind(digest(&self.token))
                .scalar(&server.database)
                .await?;
        signed.ok_or(ApiError::NOT_FOUND)
    }
}
