//! Requests that the user answers on the phone, or that a rule of the phone answers.

use tower_toopher::Factor;

use crate::api_error::ApiError;
use crate::audit::{Audit, Outcome};
use crate::models::RequestRow;
use crate::new_request::{NewRequest, NewState};
use crate::state::Server;

/// A request for the user's approval on the phone.
pub(crate) struct PushRequest<'a> {
    pub(crate) requester: &'a str,
    pub(crate) user: &'a str,
    /// `None` for a user without one, who can answer with a recovery code.
    pub(crate) pairing: Option<&'a str>,
    pub(crate) device: Option<&'a str>,
    /// The id of a terminal that gets the name.
    pub(crate) renamed_terminal: Option<&'a str>,
    pub(crate) terminal_name: &'a str,
    pub(crate) discriminator: &'a str,
    pub(crate) action: &'a str,
    pub(crate) automation_allowed: bool,
    pub(crate) challenge_required: bool,
    /// Whether the user must type a number on the phone that the site shows.
    pub(crate) number_matching: bool,
}

impl Server {
    /// Creates a request that is pending, or that a rule of the phone has answered.
    pub(crate) async fn request_approval(
        &self,
        push: &PushRequest<'_>,
        audit: &mut Audit,
    ) -> Result<RequestRow, ApiError> {
        audit.action = Some(push.action.to_owned());
        audit.terminal = Some(push.terminal_name.to_owned());
        audit.pairing = push.pairing.map(str::to_owned);
        self.reject_if_locked(push.user).await?;
        // Several names in Latin-1 become the same text with a replacement character. A rule for one would apply to
        // all.
        let is_exact = !push.action.contains(char::REPLACEMENT_CHARACTER);
        let request = self.store_request(NewRequest {
            requester: push.requester.to_owned(),
            user: push.user.to_owned(),
            pairing: push.pairing.map(str::to_owned),
            renamed_terminal: push.renamed_terminal.map(str::to_owned),
            terminal_name: push.terminal_name.to_owned(),
            discriminator: push.discriminator.to_owned(),
            action: push.action.to_owned(),
            automation_allowed: push.automation_allowed && is_exact,
            challenge_required: push.challenge_required,
            state: NewState::Pending { number: push.number_matching.then(number).transpose()? },
        });
        let request = request.await?;
        audit.terminal = Some(request.terminal.terminal_name.clone());
        audit.approval = Some(request.request_id.clone());
        match request.request_state.as_str() {
            "pending" => {
                audit.settle(Outcome::Pending);
                self.notify(push.device).await;
            }
            state => {
                audit.by = Some("rule");
                audit.settle(if state == "granted" {
                    Outcome::Granted(Factor::Push.name())
                } else {
                    Outcome::Denied("denied_by_user")
                });
            }
        }
        Ok(request)
    }
}

/// A random number of two digits: 10 to 99, uniformly distributed.
fn number() -> Result<String, getrandom::Error> {
    const NUMBERS: u8 = 90;
    loop {
        let mut byte = [0];
        getrandom::fill(&mut byte)?;
        // A multiple of the count of numbers. Larger values would make some numbers more likely.
        if byte[0] < 2 * NUMBERS {
            return Ok((10 + byte[0] % NUMBERS).to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn all_numbers_of_two_digits_are_generated() {
        let generated: HashSet<u8> = (0..20_000).map(|_| number().unwrap().parse().unwrap()).collect();
        assert_eq!(generated, (10..=99).collect());
    }
}
