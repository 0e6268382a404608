//! The actions of the forms: pairing, answering a request, and removing a phone.

use toopher_sql::query;

use super::answers::rejection;
use super::session::Session;
use crate::api_error::ApiError;
use crate::attempts::Limit;
use crate::audit::{Audit, Outcome};
use crate::crypto::digest;
use crate::models::PairingRow;
use crate::otp::OtpCheck;
use crate::params::Params;
use crate::recovery_codes::is_recovery_code;
use crate::state::Server;

const UNSUPPORTED: &str = "This page does not support this action.";

impl Session {
    /// Performs the action of a form. Returns a sentence for the user if the action was rejected.
    pub(super) async fn act(&self, server: &Server, form: &Params) -> Result<Option<&'static str>, ApiError> {
        let field = |name: &'static str| form.get(&[name]).map(Option::unwrap_or_default);
        match field("act")? {
            "pair" if self.kind == "pair" || (self.kind == "authenticate" && self.inline_pairing) => {
                self.pair(server, field("phrase")?, field("otp")?).await
            }
            // The settings page offers it to a user without a phone only.
            "pair" if self.kind == "manage" => match self.pairing(server).await? {
                Some(pairing) if pairing.pairing_state == "enabled" => Ok(Some(UNSUPPORTED)),
                _ => self.pair(server, field("phrase")?, field("otp")?).await,
            },
            "otp" | "recovery" if self.kind == "authenticate" => {
                let otp = field("otp")?;
                let recovers = field("act")? == "recovery" && self.is_unpaired(server).await?;
                let mut audit = self.audit(Audit::for_request().decided_by("otp"));
                let answered = if recovers {
                    self.recover(server, otp, &mut audit).await
                } else {
                    self.answer(server, otp, &mut audit).await
                };
                audit.close(answered)
            }
            "restart" => self.restart_pairing(server).await.map(|()| None),
            "again" if self.kind == "authenticate" => self.ask_again(server).await.map(|()| None),
            "cancel" if self.kind == "authenticate" => self.withdraw(server).await.map(|_| None),
            "mail" if matches!(self.kind.as_str(), "authenticate" | "manage" | "unpair") => {
                self.send_reset_link(server, field("pairing")?).await
            }
            "codes" if self.kind == "manage" => {
                let otp = field("otp")?;
                let mut audit = self.audit(Audit::for_user().decided_by("otp"));
                let created = self.new_codes(server, otp, &mut audit).await;
                audit.close(created)
            }
            "saved" => self.forget_codes(server).await.map(|()| None),
            // Needs a code: with the first factor alone, an attacker must not be able to remove the second one.
            "remove" if matches!(self.kind.as_str(), "manage" | "unpair") => {
                let (pairing, otp) = (field("pairing")?, field("otp")?);
                let mut audit = self.audit(Audit::for_pairing().decided_by("otp"));
                let removed = self.remove(server, pairing, otp, &mut audit).await;
                audit.close(removed)
            }
            _ => Ok(Some(UNSUPPORTED)),
        }
    }

    /// Whether the page authenticates a user without a phone, and offers to pair one.
    async fn is_unpaired(&self, server: &Server) -> Result<bool, ApiError> {
        let user = server.user(&self.requester_id, &self.user_id).await?.ok_or(ApiError::NO_USER)?;
        let pairing = self.pairing(server).await?;
        let is_paired = pairing.is_some_and(|pairing| pairing.pairing_state == "enabled");
        Ok(user.user_enabled && self.inline_pairing && !is_paired)
    }

    /// Removes a pairing, with a code of that phone, or a recovery code.
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
        // A user who has lost the phone has recovery codes.
        let has_lost_it = is_recovery_code(otp);
        let scope = if has_lost_it { None } else { Some(id) };
        let check = server.check_current_otp(&self.user_id, scope, otp).await?;
        check.describe_denial(audit);
        match check {
            OtpCheck::Wrong { reason, .. } => Ok(Some(rejection(otp, reason))),
            OtpCheck::Right(_) => {
                let device = pairing.device_id.as_deref();
                server.unpair((&self.user_id, id), device, has_lost_it, audit).await?;
                self.set_pairing(server, id).await?;
                Ok(None)
            }
        }
    }

    /// Pairs with the phone that shows the phrase, unless the user has a pairing: the user has only shown the first
    /// factor. A user with recovery codes must also use one of them, because an attacker with the first factor must not
    /// be able to add another second one.
    async fn pair(&self, server: &Server, phrase: &str, code: &str) -> Result<Option<&'static str>, ApiError> {
        let user = server.user(&self.requester_id, &self.user_id).await?.ok_or(ApiError::NO_USER)?;
        if !user.user_enabled {
            return Ok(Some(UNSUPPORTED));
        }
        let pairing = self.pairing(server).await?;
        if pairing.is_some_and(|pairing| matches!(pairing.pairing_state.as_str(), "enabled" | "pending")) {
            return Ok(None);
        }
        // The attempt is counted before the phrase is compared, so that the phrases of other users cannot be guessed:
        // for this page, and below for all pages and calls.
        let counted = query(
            "UPDATE web_sessions SET phrases_left = phrases_left - 1 WHERE token_digest = $1 AND phrases_left > 0",
        );
        if counted.bind(digest(&self.token)).execute(&server.database).await? == 0 {
            return Ok(Some("Too many attempts. Go back, and start again."));
        }
        let limits = Limit::on_phrases(&self.requester_id, &self.user_id);
        let Some(device) = server.take_phrase(&limits, phrase).await? else {
            return Ok(Some("No phone shows these words. They change every few minutes: compare them with the phone."));
        };
        // After the phrase, which the phone replaces: a wrong phrase must not use up a recovery code.
        if user.has_recovery_codes() && !self.has_used_code(server, code).await? {
            return Ok(Some(
                "This recovery code was not accepted. Each is valid once: use another one. The words are used up: let \
                 the phone show other words.",
            ));
        }
        let id = server.new_pairing(&self.user_id, Some(&device), None, true).await?;
        self.set_pairing(server, &id).await?;
        Ok(None)
    }

    /// Withdraws the pending pairing of this page from the phone, so that the page asks for other words.
    async fn restart_pairing(&self, server: &Server) -> Result<(), ApiError> {
        let withdraw = query("UPDATE pairings SET state = 'denied', modified = $1 WHERE id = $2 AND state = 'pending'");
        let withdraw = withdraw.bind(server.now_i64()?).bind(&self.pairing_id);
        if withdraw.execute(&server.database).await? > 0 {
            let mut audit = self.audit(Audit::for_pairing().decided_by("site"));
            audit.pairing.clone_from(&self.pairing_id);
            audit.settle(Outcome::Cancelled);
            let forget = query("UPDATE web_sessions SET pairing_id = NULL WHERE token_digest = $1");
            forget.bind(digest(&self.token)).execute(&server.database).await?;
            server.notify_pairing(self.pairing_id.as_deref()).await?;
        }
        Ok(())
    }

    /// Uses up a recovery code. Returns whether it was accepted.
    async fn has_used_code(&self, server: &Server, code: &str) -> Result<bool, ApiError> {
        let mut audit = self.audit(Audit::for_pairing().decided_by("otp"));
        let accepted = async {
            let check = server.check_current_otp(&self.user_id, None, code).await?;
            check.describe_denial(&mut audit);
            let accepted = matches!(check, OtpCheck::Right(_));
            if accepted {
                audit.settle(None);
            }
            Ok(accepted)
        };
        let accepted = accepted.await;
        audit.close(accepted)
    }

    /// Records the pairing that this page has requested or removed.
    async fn set_pairing(&self, server: &Server, id: &str) -> Result<(), ApiError> {
        query("UPDATE web_sessions SET pairing_id = $1 WHERE token_digest = $2")
            .bind(id)
            .bind(digest(&self.token))
            .execute(&server.database)
            .await?;
        Ok(())
    }
}
