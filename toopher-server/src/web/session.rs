//! The session of a page.

use toopher_sql::{Record, Row, SqlError, query};

use crate::api_error::ApiError;
use crate::audit::Audit;
use crate::crypto::digest;
use crate::models::PairingRow;
use crate::state::Server;

/// How long a page can be used, in seconds.
pub(crate) const SESSION_LIFETIME: i64 = 600;

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
    pub(super) action_name: String,
    pub(super) automation_allowed: bool,
    pub(super) challenge_required: bool,
    pub(super) number_matching: bool,
    pub(super) terminal_name: String,
    pub(super) discriminator: String,
    pub(super) origin: Option<String>,
    pub(super) pairing_id: Option<String>,
    pub(super) request_id: Option<String>,
    /// The address for the link of a lost phone.
    pub(super) reset_email: Option<String>,
    pub(super) theme: Option<String>,
    /// The recovery codes that the user has not saved yet.
    pub(super) sealed_codes: Option<Vec<u8>>,
    pub(super) expires: i64,
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
            reset_email: row.get("reset_email")?,
            theme: row.get("theme")?,
            sealed_codes: row.get("sealed_codes")?,
            expires: row.get("expires")?,
        })
    }
}

impl Session {
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

    /// The time at which the result of this page was signed first: now, if it was not signed before, or if it is only
    /// posted when the user has saved the recovery codes.
    pub(super) async fn signed_at(&self, server: &Server, is_posted: bool) -> Result<i64, ApiError> {
        if !is_posted {
            return server.now_i64();
        }
        let signed =
            query("UPDATE web_sessions SET signed = coalesce(signed, $1) WHERE token_digest = $2 RETURNING signed")
                .bind(server.now_i64()?)
                .bind(digest(&self.token))
                .scalar(&server.database)
                .await?;
        signed.ok_or(ApiError::NOT_FOUND)
    }
}
