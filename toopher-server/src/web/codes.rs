//! The recovery codes that a page creates: for a user who has paired the first phone, and a new set on the settings
//! page. The page shows them until the user has saved them, also after a reload.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header};
use toopher_sql::query;
use zeroize::Zeroizing;

use super::answers::rejection;
use super::session::Session;
use crate::aad;
use crate::api_error::ApiError;
use crate::audit::{Audit, Outcome};
use crate::crypto::digest;
use crate::models::{PairingRow, User};
use crate::otp::OtpCheck;
use crate::recovery_codes::new_recovery_codes;
use crate::state::Server;

impl Session {
    /// The recovery codes that this page shows, a line each.
    pub(super) fn shown_codes(&self, server: &Server) -> Result<Option<Zeroizing<String>>, ApiError> {
        let Some(sealed) = &self.sealed_codes else { return Ok(None) };
        let codes = server.sealing_key().decrypt(&aad::recovery_codes(&self.user_id), sealed)?;
        let codes = std::str::from_utf8(&codes).map_err(|error| ApiError::internal(&error))?;
        Ok(Some(Zeroizing::new(codes.to_owned())))
    }

    /// The recovery codes for a user who has just paired a phone on this page, who gets them if there are none.
    pub(super) async fn codes_after_pairing(
        &self,
        server: &Server,
        user: &User,
        pairing: &PairingRow,
    ) -> Result<Option<Zeroizing<String>>, ApiError> {
        if self.sealed_codes.is_none() && self.has_paired(Some(pairing)) && !user.has_recovery_codes() {
            let mut audit = self.audit(Audit::for_user().decided_by("phone"));
            let created = self.create_codes(server, pairing, false, &mut audit).await;
            audit.close(created)?;
            // Of two concurrent loads of the page, one has created them.
            let created = Self::find(server, &self.token).await?.ok_or(ApiError::PAGE_EXPIRED)?;
            return created.shown_codes(server);
        }
        self.shown_codes(server)
    }

    /// Creates a new set on the settings page. It needs a code of a phone or a recovery code: with the first factor
    /// alone, an attacker must not be able to replace them.
    pub(super) async fn new_codes(
        &self,
        server: &Server,
        otp: &str,
        audit: &mut Audit,
    ) -> Result<Option<&'static str>, ApiError> {
        // After a double click they are there already.
        if self.sealed_codes.is_some() {
            audit.settle(None);
            return Ok(None);
        }
        // A page of a user without a phone asks for one, and would not show the codes that replace the previous ones.
        let pairing = self.pairing(server).await?.filter(|pairing| pairing.pairing_state == "enabled");
        let Some(pairing) = pairing else {
            audit.settle(Outcome::Denied("unknown_pairing"));
            return Ok(Some("No phone is paired."));
        };
        let check = server.check_current_otp(&self.user_id, None, otp).await?;
        check.describe_denial(audit);
        match check {
            OtpCheck::Right(_) => self.create_codes(server, &pairing, true, audit).await.map(|()| None),
            OtpCheck::Wrong { reason, .. } => Ok(Some(rejection(otp, reason))),
        }
    }

    /// Creates codes that end with the pairing, if it is enabled. Codes that exist are only replaced if `replaces`:
    /// other loads of the page, and the site, may have created some since the user was read.
    async fn create_codes(
        &self,
        server: &Server,
        pairing: &PairingRow,
        replaces: bool,
        audit: &mut Audit,
    ) -> Result<(), ApiError> {
        let (codes, statements) = new_recovery_codes(&self.user_id, Some(pairing.id()))?;
        let sealed = server.sealing_key().encrypt(&aad::recovery_codes(&self.user_id), codes.as_bytes())?;
        let show = query(
            "UPDATE web_sessions SET sealed_codes = $1 WHERE token_digest = $2 AND sealed_codes IS NULL
                AND EXISTS (SELECT 1 FROM pairings p WHERE p.id = $3 AND p.state = 'enabled')
                AND ($4 OR NOT EXISTS (SELECT 1 FROM recovery_codes c WHERE c.user_id = web_sessions.user_id))",
        );
        let show = show.bind(sealed).bind(digest(&self.token)).bind(pairing.id()).bind(replaces);
        let created = server.transaction_for_user(&self.user_id, |connection| {
            Box::pin(async move {
                if show.execute(&mut *connection).await? == 0 {
                    return Ok(false);
                }
                for statement in statements {
                    statement.execute(&mut *connection).await?;
                }
                Ok::<_, ApiError>(true)
            })
        });
        audit.settle(created.await?.then_some(Outcome::NewRecoveryCodes));
        Ok(())
    }

    /// Shows the codes no longer: the user has saved them.
    pub(super) async fn forget_codes(&self, server: &Server) -> Result<(), ApiError> {
        let forget = query("UPDATE web_sessions SET sealed_codes = NULL WHERE token_digest = $1");
        forget.bind(digest(&self.token)).execute(&server.database).await?;
        Ok(())
    }

    /// The codes as a file.
    pub(super) fn download(&self, server: &Server) -> Result<Response, ApiError> {
        let codes = self.shown_codes(server)?.ok_or(ApiError::NOT_FOUND)?;
        let text = format!("Recovery codes. Each is valid once.\r\n\r\n{}\r\n", codes.replace('\n', "\r\n"));
        let headers = [
            (header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8")),
            (header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment; filename=\"recovery-codes.txt\"")),
        ];
        Ok((headers, text).into_response())
    }
}
