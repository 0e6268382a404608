//! The request of a page, which the user answers on the phone.

use toopher_sql::query;

use super::session::Session;
use crate::api_error::ApiError;
use crate::audit::{Audit, Outcome};
use crate::crypto::digest;
use crate::models::PairingRow;
use crate::push_request::PushRequest;
use crate::state::Server;

impl Session {
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
        self.cancel(server, &id).await?;
        let first = query("SELECT request_id FROM web_sessions WHERE token_digest = $1").bind(digest(&self.token));
        first.scalar(&server.database).await?.ok_or(ApiError::PAGE_EXPIRED)
    }

    /// Withdraws the pending request from the phone. Returns whether it was pending.
    pub(super) async fn withdraw(&self, server: &Server) -> Result<bool, ApiError> {
        match &self.request_id {
            Some(id) => self.cancel(server, id).await,
            None => Ok(false),
        }
    }

    /// Withdraws the pending request. The page then sends another one.
    pub(super) async fn ask_again(&self, server: &Server) -> Result<(), ApiError> {
        if self.withdraw(server).await? {
            let forget = query("UPDATE web_sessions SET request_id = NULL WHERE token_digest = $1 AND request_id = $2");
            let forget = forget.bind(digest(&self.token)).bind(&self.request_id);
            forget.execute(&server.database).await?;
        }
        Ok(())
    }

    async fn cancel(&self, server: &Server, id: &str) -> Result<bool, ApiError> {
        let Some(request) = server.request(&self.requester_id, id).await? else { return Ok(false) };
        let first = server.decide(id, "cancelled", false, "The request was cancelled.").await?;
        if first {
            let mut audit = self.audit(Audit::for_request().decided_by("site"));
            request.describe(&mut audit);
            audit.settle(Outcome::Cancelled);
            server.notify_pairing(request.request_pairing_id.as_deref()).await?;
        }
        Ok(first)
    }
}
