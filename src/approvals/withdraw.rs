//! Ends a pending approval before it is decided.

use super::error::ApprovalError;
use super::service::Approvals;
use super::token::{self, owner_hash};
use crate::store::{ApprovalStore, EndReason};
use crate::verify::{ApprovalId, ApprovalToken, SessionId, UserId};

impl<V, S: ApprovalStore> Approvals<V, S> {
    /// Ends the approval that this user requested in this session: the user gives up, or wants another push. It grants
    /// nothing from then on, and the user's next request begins another approval.
    ///
    /// Returns the verifier's id of the approval, so that the application can withdraw the push from the phone, by
    /// `ToopherClient::cancel_authentication` for example. `None` for a token of another user or session, which ends
    /// nothing. The approval remains counted in [`limit`](Self::limit): otherwise a client with the password could send
    /// any number of pushes.
    ///
    /// # Errors
    ///
    /// [`ApprovalError`] when the store fails. The approval then ends when it expires.
    pub async fn withdraw(
        &self,
        user: &UserId,
        session: &SessionId,
        token: &ApprovalToken,
    ) -> Result<Option<ApprovalId>, ApprovalError> {
        let Some(claims) = token::decrypt(&self.keys, token, &owner_hash(user, Some(session))) else {
            return Ok(None);
        };
        let ended = self.store.end_approval(user, claims.approval.key(), EndReason::Sent).await;
        ended.map_err(ApprovalError::store)?;
        Ok(Some(claims.approval.id().clone()))
    }
}
