//! The actions of the forms: pairing, answering a request, and removing a phone.

use toopher_sql::query;

use super::session::Session;
use crate::api_error::ApiError;
use crate::audit::{Audit, Outcome};
use crate::crypto::digest;
use crate::models::PairingRow;
use crate::otp::OtpCheck;
use crate::params::Params;
use crate::state::Server;

const WRONG_CODE: &str = "This code was not accepted. Wait for the next one.";

impl Session {
    /// Performs the action of a form. Returns a sentence for the user if the action was rejected.
    pub(super) async fn act(&self, server: &Server, form: &Params) -> Result<Option<&'static str>, ApiError> {
        let field = |name: &'static str| form.get(&[name]).map(Option::unwrap_or_default);
        match field("act")? {
            "pair" if self.kind == "pair" || (self.kind == "authenticate" && self.inline_pairing) => {
                self.pair(server, field("phrase")?).await
            }
            "otp" if self.kind == "authenticate" => {
                let otp = field("otp")?;
                let mut audit = self.audit(Audit::for_request().decided_by("otp"));
                let answered = self.answer(server, otp, &mut audit).await;
                audit.close(answered)
            }
            // Needs a code: with the first factor alone, an attacker must not be able to remove the second one.
            "remove" if matches!(self.kind.as_str(), "manage" | "unpair") => {
                let (pairing, otp) = (field("pairing")?, field("otp")?);
                let mut audit = self.audit(Audit::for_pairing().decided_by("otp"));
                let removed = self.remove(server, pairing, otp, &mut audit).await;
                audit.close(removed)
            }
            _ => Ok(Some("This page does not support this action.")),
        }
    }

    /// Answers the pending request with a code.
    async fn answer(&self, server: &Server, otp: &str, audit: &mut Audit) -> Result<Option<&'static str>, ApiError> {
        let request = match &self.request_id {
            None => None,
            Some(id) => server.request(&self.requester_id, id).await?,
        };
        // No code is used up for a request that is decided or expired.
        let Some(request) = request.filter(|request| request.request_state == "pending") else {
            audit.settle(None);
            return Ok(Some("No request is pending."));
        };
        request.describe(audit);
        Ok(match server.answer_by_otp(&request, otp, audit).await? {
            OtpCheck::Right(_) => None,
            OtpCheck::Wrong(_) => Some(WRONG_CODE),
        })
    }

    /// Removes a pairing, with a code of that phone.
    async fn remove(
        &self,
        server: &Server,
        id: &str,
        otp: &str,
        audit: &mut Audit,
    ) -> Result<Option<&'static str>, ApiError> {
        let known = server.pairing(&self.requester_id, id).await?;
        let removable =
            |pairing: &PairingRow| pairing.user.user_id == self.user_id && pairing.pairing_state == "enabled";
        let Some(pairing) = known.filter(removable) else {
            audit.settle(Outcome::Denied("unknown_pairing"));
            return Ok(Some("This phone is not paired."));
        };
        audit.pairing = Some(id.to_owned());
        match server.check_otp(&self.user_id, Some(id), otp, audit).await? {
            OtpCheck::Wrong(_) => Ok(Some(WRONG_CODE)),
            OtpCheck::Right(_) => {
                server.unpair(id, pairing.device_id.as_deref(), audit).await?;
                Ok(None)
            }
        }
    }

    /// Pairs with the phone that shows the phrase, unless the user has a pairing: the user has only shown the first
    /// factor.
    async fn pair(&self, server: &Server, phrase: &str) -> Result<Option<&'static str>, ApiError> {
        let pairing = self.pairing(server).await?;
        if pairing.is_some_and(|pairing| matches!(pairing.pairing_state.as_str(), "enabled" | "pending")) {
            return Ok(None);
        }
        // The attempt is counted before the phrase is compared, so that the phrases of other users cannot be guessed.
        let counted = query(
            "UPDATE web_sessions SET phrases_left = phrases_left - 1 WHERE token_digest = $1 AND phrases_left > 0",
        );
        if counted.bind(digest(&self.token)).execute(&server.database).await? == 0 {
            return Ok(Some("Too many attempts. Go back, and start again."));
        }
        let Some(id) = server.pair_by_phrase(&self.user_id, phrase, true).await? else {
            return Ok(Some("No phone shows these words. They change every few minutes."));
        };
        query("UPDATE web_sessions SET pairing_id = $1 WHERE token_digest = $2")
            .bind(id)
            .bind(digest(&self.token))
            .execute(&server.database)
            .await?;
        Ok(None)
    }
}
