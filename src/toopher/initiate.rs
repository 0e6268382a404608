use std::borrow::Cow;
use std::fmt;

use zeroize::Zeroizing;

use crate::{Otp, Terminal};

/// What an authentication request asks: whom, from where, about what.
///
/// With an OTP it is decided at once and nobody is disturbed; without, the user's phone is asked.
///
/// ```
/// use tower_toopher::Terminal;
/// use tower_toopher::toopher::{ApiCall, Initiate};
///
/// let terminal = Terminal::new("office laptop").with_discriminator("a random cookie");
/// let call = ApiCall::authenticate(Initiate::by_user_name("alice").terminal(&terminal).action("log in"));
/// assert_eq!(call.path(), "authentication_requests/initiate");
/// assert_eq!(call.parameter("terminal_name_extra"), Some("a random cookie"));
/// assert_eq!(call.parameter("otp"), None);
/// ```
#[derive(Clone)]
#[must_use]
pub struct Initiate {
    parameters: Vec<(Cow<'static, str>, Zeroizing<String>)>,
}

impl Initiate {
    /// Asks the user of this pairing.
    pub fn by_pairing_id(id: &str) -> Self {
        Self { parameters: Vec::new() }.with("pairing_id", id)
    }

    /// Asks the user of this name: nothing of the API needs to be stored.
    pub fn by_user_name(name: &str) -> Self {
        Self { parameters: Vec::new() }.with("user_name", name)
    }

    /// Sets where the user sits. Default: nowhere. Neither an empty name nor an empty discriminator is sent.
    pub fn terminal(self, terminal: &Terminal) -> Self {
        let named = if terminal.name().is_empty() { self } else { self.with("terminal_name", terminal.name()) };
        match terminal.discriminator() {
            Some(discriminator) if !discriminator.is_empty() => named.with("terminal_name_extra", discriminator),
            _ => named,
        }
    }

    /// Sets what the user is asked about. Default: left to the API, which says `log in`.
    pub fn action(self, action: &str) -> Self {
        if action.is_empty() { self } else { self.with("action_name", action) }
    }

    /// Sets the OTP, which decides the request at once. Default: none.
    pub fn otp(self, otp: &Otp) -> Self {
        self.with("otp", otp.as_str())
    }

    /// Sets whether a rule of the user's may answer in their place. Default: left to the API, which says yes.
    pub fn automation_allowed(self, allowed: bool) -> Self {
        self.with("automation_allowed", allowed.to_string())
    }

    /// Sets whether the phone must ask for its lock pattern. Default: left to the API, which says no.
    pub fn challenge_required(self, required: bool) -> Self {
        self.with("challenge_required", required.to_string())
    }

    /// Sets whether the site shows a number that the phone asks for: see [`AuthenticationStatus::number`]. Default: left
    /// to the API, which says no. The vendor's API did not know it; `toopher-server` does.
    ///
    /// [`AuthenticationStatus::number`]: super::AuthenticationStatus::number
    pub fn number_matching(self, wanted: bool) -> Self {
        self.with("number_matching", wanted.to_string())
    }

    /// Adds a parameter that has no method of its own. See [`ApiCall::with`](super::ApiCall::with).
    pub fn with(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<String>) -> Self {
        self.parameters.push((name.into(), Zeroizing::new(value.into())));
        self
    }

    pub(super) fn into_parameters(self) -> Vec<(Cow<'static, str>, Zeroizing<String>)> {
        self.parameters
    }
}

impl fmt::Debug for Initiate {
    /// Leaves the parameters out: an OTP may be among them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Initiate").finish_non_exhaustive()
    }
}
