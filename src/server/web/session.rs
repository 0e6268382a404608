//! One page of one user, from its opening to its end.

use sqlx::{FromRow, Row};

use super::Act;
use crate::server::Server;
use crate::server::error::ApiError;
use crate::server::guard::OtpCheck;
use crate::server::objects::PairingRow;
use crate::server::pairings::{digest, token};
use crate::server::params::Params;
use crate::server::requests::Ask;

/// How long a page can be used.
const LIFETIME: i64 = 600;

#[derive(FromRow)]
pub(super) struct Session {
    #[sqlx(skip)]
    pub(super) token: String,
    pub(super) requester_id: String,
    pub(super) requester_name: String,
    pub(super) user_id: String,
    pub(super) kind: String,
    pub(super) first_protocol: bool,
    pub(super) inline_pairing: bool,
    pub(super) session_token: String,
    pub(super) requester_metadata: Option<String>,
    action_name: String,
    automation_allowed: bool,
    pub(super) challenge_required: bool,
    terminal_name: String,
    discriminator: String,
    pub(super) pairing_id: Option<String>,
    pub(super) request_id: Option<String>,
}

impl Session {
    /// Opens a page, and returns the token for it.
    pub(super) async fn open(
        server: &Server,
        requester: &str,
        params: &Params,
        terminal_name: Option<&str>,
        discriminator: &str,
        kind: &'static str,
        first_protocol: bool,
    ) -> Result<String, ApiError> {
        let user = server.user_named(requester, params.require(&["username"])?).await?;
        let token = token()?;
        sqlx::query(
            "INSERT INTO web_sessions (token_digest, user_id, kind, first_protocol, inline_pairing, session_token,
                requester_metadata, action_name, automation_allowed, challenge_required, terminal_name, discriminator,
                expires) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(digest(&token))
        .bind(&user.user_id)
        .bind(kind)
        .bind(first_protocol)
        .bind(!first_protocol && params.flag(&["allow_inline_pairing"])?.unwrap_or(true))
        .bind(params.get(&["session_token"])?.unwrap_or_default())
        .bind(params.get(&["requester_metadata"])?)
        .bind(params.get(&["action_name"])?.unwrap_or("Log In"))
        .bind(params.flag(&["automation_allowed"])?.unwrap_or(true))
        .bind(params.flag(&["challenge_required"])?.unwrap_or(false))
        .bind(terminal_name.unwrap_or("web browser"))
        .bind(discriminator)
        .bind(server.now_i64()?.saturating_add(LIFETIME))
        .execute(server.pool())
        .await?;
        Ok(token)
    }

    pub(super) async fn find(server: &Server, token: &str) -> Result<Option<Self>, ApiError> {
        let session: Option<Self> = sqlx::query_as(
            "SELECT w.*, r.id AS requester_id, r.name AS requester_name FROM web_sessions w
             JOIN users u ON u.id = w.user_id JOIN requesters r ON r.id = u.requester_id
             WHERE w.token_digest = ? AND w.expires > ? AND r.revoked = 0",
        )
        .bind(digest(token))
        .bind(server.now_i64()?)
        .fetch_optional(server.pool())
        .await?;
        Ok(session.map(|session| Self { token: token.to_owned(), ..session }))
    }

    /// The user's newest pairing that is not over.
    pub(super) async fn pairing(&self, server: &Server) -> Result<Option<PairingRow>, ApiError> {
        let id: Option<String> = sqlx::query_scalar(
            "SELECT id FROM pairings WHERE user_id = ? AND (state = 'enabled' OR id = ?)
             ORDER BY state = 'enabled' DESC, created DESC, id LIMIT 1",
        )
        .bind(&self.user_id)
        .bind(&self.pairing_id)
        .fetch_optional(server.pool())
        .await?;
        match id {
            None => Ok(None),
            Some(id) => server.pairing(&self.requester_id, &id).await,
        }
    }

    /// Asks the phone, once for each page.
    pub(super) async fn ask(&self, server: &Server, pairing: &PairingRow) -> Result<String, ApiError> {
        if let Some(id) = &self.request_id {
            return Ok(id.clone());
        }
        let ask = Ask {
            requester: &self.requester_id,
            user: &self.user_id,
            pairing: pairing.id(),
            device: pairing.device_id.as_deref(),
            terminal_name: &self.terminal_name,
            discriminator: &self.discriminator,
            action: &self.action_name,
            automation_allowed: self.automation_allowed,
            challenge_required: self.challenge_required,
        };
        let id = server.ask(&ask).await?;
        // Of two that load the page at once, one's request is the page's; the other's is taken back.
        let mine = sqlx::query("UPDATE web_sessions SET request_id = ? WHERE token_digest = ? AND request_id IS NULL")
            .bind(&id)
            .bind(digest(&self.token))
            .execute(server.pool())
            .await?
            .rows_affected();
        if mine > 0 {
            return Ok(id);
        }
        server.decide(&id, "cancelled", false, "").await?;
        let first = sqlx::query("SELECT request_id FROM web_sessions WHERE token_digest = ?").bind(digest(&self.token));
        Ok(first.fetch_one(server.pool()).await?.try_get("request_id")?)
    }

    /// Does what a form asks for. A sentence says why it did not.
    pub(super) async fn act(&self, server: &Server, act: &Act) -> Result<Option<&'static str>, ApiError> {
        match act.act.as_str() {
            "pair" if self.kind == "pair" || (self.kind == "authenticate" && self.inline_pairing) => {
                self.pair(server, &act.phrase).await
            }
            "otp" if self.kind == "authenticate" => {
                let Some(request) = &self.request_id else { return Ok(Some("Nothing waits for a code.")) };
                match server.check_otp(&self.user_id, None, &act.otp).await? {
                    OtpCheck::Right => {
                        server.decide(request, "granted", true, "").await?;
                        server.notify_pairing(self.pairing(server).await?.as_ref().map(PairingRow::id)).await?;
                        Ok(None)
                    }
                    OtpCheck::Wrong(_) => Ok(Some("That code was not accepted. Wait for the next one.")),
                }
            }
            // Who has only the first factor must not be able to take the second one away.
            "remove" if matches!(self.kind.as_str(), "manage" | "unpair") => {
                match server.check_otp(&self.user_id, None, &act.otp).await? {
                    OtpCheck::Wrong(_) => Ok(Some("That code was not accepted. Wait for the next one.")),
                    OtpCheck::Right => {
                        let device: Option<Option<String>> = sqlx::query_scalar(
                            "UPDATE pairings SET state = 'deactivated', modified = ? WHERE id = ? AND user_id = ?
                             RETURNING device_id",
                        )
                        .bind(server.now_i64()?)
                        .bind(&act.pairing)
                        .bind(&self.user_id)
                        .fetch_all(server.pool())
                        .await?
                        .pop();
                        server.notify(device.flatten().as_deref());
                        Ok(None)
                    }
                }
            }
            _ => Ok(Some("This page cannot do that.")),
        }
    }

    /// Pairs with the phone that shows the phrase, unless the user has one: the page knows only the first factor.
    async fn pair(&self, server: &Server, phrase: &str) -> Result<Option<&'static str>, ApiError> {
        let pairing = self.pairing(server).await?;
        if pairing.is_some_and(|pairing| matches!(pairing.pairing_state.as_str(), "enabled" | "pending")) {
            return Ok(None);
        }
        let Some(id) = server.pair_by_phrase(&self.user_id, phrase).await? else {
            return Ok(Some("No phone shows these words. They change every few minutes."));
        };
        sqlx::query("UPDATE web_sessions SET pairing_id = ? WHERE token_digest = ?")
            .bind(id)
            .bind(digest(&self.token))
            .execute(server.pool())
            .await?;
        Ok(None)
    }
}
