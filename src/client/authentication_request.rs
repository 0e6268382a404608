//! The parameters of an authentication request.

use std::borrow::Cow;
use std::fmt;

use zeroize::Zeroizing;

use crate::verify::{Otp, Terminal};

/// An authentication request: the user, the terminal, and the action.
///
/// With an OTP, the API decides immediately and sends no push. Without an OTP, it sends a push to the user's phone.
///
/// ```
/// use tower_toopher::Terminal;
/// use tower_toopher::client::{ApiCall, AuthenticationRequest};
///
/// let terminal = Terminal::new("office laptop").with_discriminator("a random cookie");
/// let request = AuthenticationRequest::from_user_name("alice").terminal(&terminal).action("log in");
/// let call = ApiCall::authenticate(request);
/// assert_eq!(call.path(), "authentication_requests/initiate");
/// assert_eq!(call.parameter("terminal_name_extra"), Some("a random cookie"));
/// assert_eq!(call.parameter("otp"), None);
/// ```
#[derive(Clone)]
#[must_use]
pub struct AuthenticationRequest {
    parameters: Vec<(Cow<'static, str>, Zeroizing<String>)>,
}

impl AuthenticationRequest {
    /// A request to the user of this pairing.
    pub fn from_pairing_id(id: &str) -> Self {
        Self { parameters: Vec::new() }.with_parameter("pairing_id", id)
    }

    /// A request to the user with this name. The application needs to store no id of the API.
    pub fn from_user_name(name: &str) -> Self {
        Self { parameters: Vec::new() }.with_parameter("user_name", name)
    }

    /// Sets the terminal. Default: none. An empty name and an empty discriminator are not sent.
    pub fn terminal(mut self, terminal: &Terminal) -> Self {
        if !terminal.name().is_empty() {
            self = self.with_parameter("terminal_name", terminal.name());
        }
        match terminal.discriminator() {
            Some(discriminator) if !discriminator.is_empty() => {
                self.with_parameter("terminal_name_extra", discriminator)
            }
            _ => self,
        }
    }

    /// Sets the action that the user decides about. Default: that of the API, `log in`.
    pub fn action(self, action: &str) -> Self {
        if action.is_empty() { self } else { self.with_parameter("action_name", action) }
    }

    /// Sets the OTP, which decides the request immediately. Default: none.
    pub fn otp(self, otp: &Otp) -> Self {
        self.with_parameter("otp", otp.as_str())
    }

    /// Sets whether a rule of the user may decide in place of the user. Default: that of the API, yes.
    pub fn automation_allowed(self, allowed: bool) -> Self {
        self.with_parameter("automation_allowed", allowed.to_string())
    }

    /// Sets whether the phone must require its lock pattern. Default: that of the API, no.
    pub fn challenge_required(self, required: bool) -> Self {
        self.with_parameter("challenge_required", required.to_string())
    }

    /// Sets whether the user must enter a number on the phone that the site displays: see
    /// [`AuthenticationStatus::number`]. Default: that of the API, no. `toopher-server` supports it; the vendor's API
    /// did not.
    ///
    /// [`AuthenticationStatus::number`]: super::AuthenticationStatus::number
    pub fn number_matching(self, required: bool) -> Self {
        self.with_parameter("number_matching", required.to_string())
    }

    /// Adds a parameter that has no method here. See [`ApiCall::with_parameter`](super::ApiCall::with_parameter).
    pub fn with_parameter(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<String>) -> Self {
        self.parameters.push((name.into(), Zeroizing::new(value.into())));
        self
    }

    pub(super) fn into_parameters(self) -> Vec<(Cow<'static, str>, Zeroizing<String>)> {
        self.parameters
    }
}

impl fmt::Debug for AuthenticationRequest {
    /// Omits the parameters, because an OTP may be among them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthenticationRequest").finish_non_exhaustive()
    }
}
