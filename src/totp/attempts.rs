//! The limit on attempts, around each verification.

use super::config::Config;
use super::error::TotpError;
use super::pairing::Pairings;
use super::verifier::{Outcome, TotpVerifier};
use crate::store::{Admission, Store};
use crate::verify::{DenyReason, UserId};

impl<P: Pairings, S: Store> TotpVerifier<P, S> {
    /// Counts the attempt, and returns why it may not be verified. What follows is passed to
    /// [`release_if_failed`](Self::release_if_failed). A future that runs both around a third would contain that twice.
    pub(super) async fn count_attempt(&self, user: &UserId) -> Result<Option<DenyReason>, TotpError> {
        let Config { throttle, clock, .. } = &self.shared.config;
        let counted = self.shared.store.count_attempt(user, throttle, clock.now()?).await;
        Ok(match counted.map_err(TotpError::store)? {
            Admission::Admitted => None,
            Admission::Throttled { retry_after } => Some(DenyReason::Throttled { retry_after }),
            Admission::LockedOut => Some(DenyReason::LockedOut),
        })
    }

    /// Releases the attempt if it could not be verified, so that a backend that is down for a while does not lock its
    /// users out.
    pub(super) async fn release_if_failed(
        &self,
        user: &UserId,
        checked: Result<Outcome, TotpError>,
    ) -> Result<Outcome, TotpError> {
        if checked.is_err() {
            // If the release fails too, the attempt remains counted. The first error is the one to report.
            self.shared.store.release_attempt(user, &self.shared.config.throttle).await.ok();
        }
        checked
    }
}
