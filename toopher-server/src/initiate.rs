//! The call that creates an authentication request, which an OTP answers at once, or the user's phone later.
//!
//! With an OTP, a user who does not exist or has no factor is like a user with a wrong OTP: the attempt is counted,
//! with as many statements, the call is rejected with 429 at the same attempt, and only the count is stored. The signed
//! caller receives an error in place of a denial.

use axum::Json;
use axum::extract::State;
use serde_json::Value;

use crate::api_error::ApiError;
use crate::audit::{Audit, Outcome};
use crate::authenticate::AuthenticatedCall;
use crate::id::new_id;
use crate::models::{DeniedRequest, RequestRow, TerminalRow};
use crate::new_request::{NewRequest, NewState, find_action};
use crate::otp::OtpCheck;
use crate::params::Params;
use crate::push_request::PushRequest;
use crate::state::Server;
use crate::subject::Subject;
use crate::terminals::{DISCRIMINATOR, find_terminal};

/// The parameters of a request, without the user and the OTP.
struct Details<'a> {
    terminal_id: Option<&'a str>,
    terminal_name: Option<&'a str>,
    discriminator: Option<&'a str>,
    action: &'a str,
    automation_allowed: bool,
    challenge_required: bool,
    number_matching: bool,
}

impl<'a> Details<'a> {
    fn read(params: &'a Params) -> Result<Self, ApiError> {
        let action = params.get_even_empty(&["action_name", "action"])?;
        Ok(Self {
            terminal_id: params.get_not_empty(&["terminal_id"])?,
            terminal_name: params.get(&["terminal_name"])?,
            discriminator: params.get(DISCRIMINATOR)?,
            action: action.filter(|action| !action.is_empty()).unwrap_or("log in"),
            // An action that the site did not name must not be answered by a rule for the default action.
            automation_allowed: params.narrowing_flag(&["automation_allowed"], false)? && action != Some(""),
            challenge_required: params.narrowing_flag(&["challenge_required"], true)?,
            number_matching: params.narrowing_flag(&["number_matching"], true)?,
        })
    }
}

impl Details<'_> {
    /// The id of a terminal that gets the name in the call.
    fn renamed_terminal(&self) -> Option<&str> {
        self.terminal_id.filter(|_| self.terminal_name.is_some())
    }
}

pub(crate) async fn initiate(State(server): State<Server>, call: AuthenticatedCall) -> Result<Json<Value>, ApiError> {
    let mut audit = call.audit(Audit::for_request());
    let answer = begin(&server, &call, &mut audit).await;
    audit.close(answer)
}

async fn begin(server: &Server, call: &AuthenticatedCall, audit: &mut Audit) -> Result<Json<Value>, ApiError> {
    // Parameters that cannot be read are rejected first, whether or not the user exists.
    let details = Details::read(&call.params)?;
    let otp = call.params.get_even_empty(&["otp"])?;
    let subject = server.subject(call, audit).await?;
    match otp {
        Some(otp) => server.answer_at_once(&call.requester_id, subject, &details, otp, audit).await,
        None => server.ask_for_approval(&call.requester_id, subject, &details, audit).await,
    }
}

impl Server {
    /// The name and the discriminator of the terminal: those of the call, or else those of the terminal with the id in
    /// the call.
    async fn described_terminal(&self, user: &str, details: &Details<'_>) -> Result<(String, String), ApiError> {
        let known = match details.terminal_id {
            None => None,
            Some(id) => Some(self.terminal_of_user(user, id).await?.ok_or(ApiError::NO_TERMINAL)?),
        };
        let (name, discriminator) = known.unwrap_or_default();
        let name = details.terminal_name.map_or(name, str::to_owned);
        Ok((name, details.discriminator.map_or(discriminator, str::to_owned)))
    }

    /// Verifies an OTP. Only a grant is stored: of a denial only the count remains, so that wrong codes create no rows,
    /// rename no terminal, and use up no approvals of the user.
    async fn answer_at_once(
        &self,
        requester: &str,
        subject: Subject,
        details: &Details<'_>,
        otp: &str,
        audit: &mut Audit,
    ) -> Result<Json<Value>, ApiError> {
        audit.by = Some("otp");
        audit.action = Some(details.action.to_owned());
        let (name, discriminator) = self.described_terminal(&subject.key, details).await?;
        audit.terminal = Some(name.clone());
        let check = self.check_otp(&subject.key, subject.pairing.as_deref(), &subject.secrets, otp).await?;
        let factor = match check {
            OtpCheck::Right(factor) => factor,
            OtpCheck::Wrong { message, .. } => {
                let denied = self.denied_request(requester, subject, details, (name, discriminator), message, audit);
                let denied = denied.await?;
                check.describe_denial(audit);
                return Ok(Json(denied.json()));
            }
        };
        let enrolled = subject.enrolled?;
        let request = self.store_request(NewRequest {
            requester: requester.to_owned(),
            user: enrolled.user.user_id,
            pairing: enrolled.pairing,
            renamed_terminal: details.renamed_terminal().map(str::to_owned),
            terminal_name: name,
            discriminator,
            action: details.action.to_owned(),
            automation_allowed: details.automation_allowed,
            challenge_required: details.challenge_required,
            state: NewState::Granted,
        });
        let request = request.await?;
        audit.terminal = Some(request.terminal.terminal_name.clone());
        audit.approval = Some(request.request_id.clone());
        audit.settle(Outcome::Granted(factor.name()));
        self.respond_with(&request).await
    }

    /// The response to a wrong code, which is not stored.
    async fn denied_request(
        &self,
        requester: &str,
        subject: Subject,
        details: &Details<'_>,
        (name, discriminator): (String, String),
        reason: &'static str,
        audit: &mut Audit,
    ) -> Result<RequestRow, ApiError> {
        let terminal_key = (subject.key, name.clone(), discriminator.clone());
        let action_key = (requester.to_owned(), details.action.to_owned());
        // For unknown users, too, so that the response takes as long.
        let found = self.database.read(move |connection| {
            Box::pin(async move {
                let (user, name, discriminator) = terminal_key;
                let terminal = find_terminal(&mut *connection, &user, &name, &discriminator).await?;
                Ok::<_, ApiError>((terminal, find_action(connection, &action_key.0, &action_key.1).await?))
            })
        });
        let (terminal, action) = found.await?;
        let user = subject.enrolled?.user;
        let (id, now) = (new_id(), self.now_i64()?);
        audit.approval = Some(id.clone());
        audit.terminal = terminal.as_ref().filter(|_| name.is_empty()).map(|known| known.terminal_name.clone());
        audit.terminal.get_or_insert(name.clone());
        let denied = DeniedRequest {
            id,
            terminal: terminal.unwrap_or_else(|| TerminalRow::not_stored(user, name, discriminator, now)),
            action_id: action.unwrap_or_else(new_id),
            action_name: details.action.to_owned(),
            reason,
            automation_allowed: details.automation_allowed,
            challenge_required: details.challenge_required,
        };
        Ok(RequestRow::denied(denied, now))
    }

    /// Creates a request that the user answers on the phone, or with a code.
    async fn ask_for_approval(
        &self,
        requester: &str,
        subject: Subject,
        details: &Details<'_>,
        audit: &mut Audit,
    ) -> Result<Json<Value>, ApiError> {
        let enrolled = match subject.enrolled {
            Ok(enrolled) => enrolled,
            Err(error) => {
                // As for a user who exists.
                self.reject_if_locked(&subject.key).await?;
                return Err(error);
            }
        };
        let user = enrolled.user.user_id.as_str();
        let (name, discriminator) = self.described_terminal(user, details).await?;
        // Error 706 makes a site that names its users ask them for the name of a new terminal.
        if subject.pairing.is_none()
            && name.is_empty()
            && !discriminator.is_empty()
            && !self.knows_terminal(user, &discriminator).await?
        {
            return Err(ApiError::NO_TERMINAL);
        }
        let push = PushRequest {
            requester,
            user,
            pairing: enrolled.pairing.as_deref(),
            device: enrolled.device.as_deref(),
            renamed_terminal: details.renamed_terminal(),
            terminal_name: &name,
            discriminator: &discriminator,
            action: details.action,
            automation_allowed: details.automation_allowed,
            challenge_required: details.challenge_required,
            number_matching: details.number_matching,
        };
        let request = self.request_approval(&push, audit).await?;
        self.respond_with(&request).await
    }
}
