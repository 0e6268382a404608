use std::borrow::Cow;
use std::fmt;

use http::Method;
use zeroize::Zeroizing;

use super::base_url::is_segment;
use super::expected::Expected;
use super::json::Json;
use super::{ApiReply, ClientError, Initiate};
use crate::{Otp, Terminal};

/// One call of the Toopher API: what a [`ToopherClient`](super::ToopherClient) is a `tower::Service` of.
///
/// Cloning it and sending it again, as tower's retry does, makes a new request with a signature of its own.
///
/// ```
/// use tower_toopher::toopher::ApiCall;
///
/// let call = ApiCall::pair("awkward turtle", "alice");
/// assert_eq!((call.method().as_str(), call.path()), ("POST", "pairings/create"));
/// assert_eq!(call.parameter("pairing_phrase"), Some("awkward turtle"));
/// assert!(!call.is_status());
/// ```
///
/// `Debug` shows where the call goes and none of its parameters: an OTP may be among them.
#[derive(Clone)]
#[must_use]
pub struct ApiCall {
    method: Method,
    path: String,
    /// An id that is no segment of a path; the call is never sent.
    bad_id: bool,
    parameters: Vec<(Cow<'static, str>, Zeroizing<String>)>,
    expected: Expected,
}

impl ApiCall {
    fn new(method: Method, path: impl Into<String>, expected: Expected) -> Self {
        Self { method, path: path.into(), bad_id: false, parameters: Vec::new(), expected }
    }

    fn post(path: &str, expected: Expected) -> Self {
        Self::new(Method::POST, path, expected)
    }

    /// A call on the resource with this id.
    fn on(method: Method, before: &str, id: &str, after: &str, expected: Expected) -> Self {
        if is_segment(id) {
            Self::new(method, format!("{before}/{id}{after}"), expected)
        } else {
            Self { bad_id: true, ..Self::new(method, before, expected) }
        }
    }

    /// Adds a parameter. Those of the API that have no method of their own can be given by it.
    ///
    /// Names that begin with `oauth_` are the signature's, and a call with one is refused.
    pub fn with(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<String>) -> Self {
        self.parameters.push((name.into(), Zeroizing::new(value.into())));
        self
    }

    /// Pairs a user with the phone that shows this phrase.
    pub fn pair(phrase: &str, user_name: &str) -> Self {
        Self::post("pairings/create", Expected::Pairing(None))
            .with("pairing_phrase", phrase)
            .with("user_name", user_name)
    }

    /// Pairs a user with a phone by text message. The number of a phone abroad begins with `+` and the country's code.
    pub fn pair_with_sms(phone_number: &str, user_name: &str) -> Self {
        Self::post("pairings/create/sms", Expected::Pairing(None))
            .with("phone_number", phone_number)
            .with("user_name", user_name)
    }

    /// Begins a pairing whose QR code the phone is to read.
    pub fn pair_with_qr(user_name: &str) -> Self {
        Self::post("pairings/create/qr", Expected::Pairing(None)).with("user_name", user_name)
    }

    /// Asks for the QR code of a pairing.
    pub fn qr_image(pairing_id: &str) -> Self {
        Self::on(Method::GET, "qr/pairings", pairing_id, "", Expected::Image)
    }

    /// Asks how a pairing stands.
    pub fn pairing_status(pairing_id: &str) -> Self {
        Self::on(Method::GET, "pairings", pairing_id, "", Expected::Pairing(Some(pairing_id.into())))
    }

    /// Removes a pairing.
    pub fn deactivate_pairing(pairing_id: &str) -> Self {
        Self::on(Method::POST, "pairings", pairing_id, "", Expected::Pairing(Some(pairing_id.into())))
            .with("deactivated", "true")
    }

    /// Asks for an address at which the user can reset a pairing.
    pub fn generate_reset_link(pairing_id: &str) -> Self {
        Self::on(Method::POST, "pairings", pairing_id, "/generate_reset_link", Expected::ResetLink)
    }

    /// Has such an address sent by e-mail.
    pub fn send_reset_link(pairing_id: &str, email: &str) -> Self {
        Self::on(Method::POST, "pairings", pairing_id, "/send_reset_link", Expected::Nothing).with("reset_email", email)
    }

    /// Begins an authentication request.
    pub fn authenticate(initiate: Initiate) -> Self {
        let mut call = Self::post("authentication_requests/initiate", Expected::Authentication(None));
        call.parameters = initiate.into_parameters();
        call
    }

    /// Asks how an authentication request stands.
    pub fn authentication_status(id: &str) -> Self {
        Self::on(Method::GET, "authentication_requests", id, "", Expected::Authentication(Some(id.into())))
    }

    /// Decides an authentication request by an OTP.
    pub fn otp_auth(id: &str, otp: &Otp) -> Self {
        Self::on(Method::POST, "authentication_requests", id, "/otp_auth", Expected::Authentication(Some(id.into())))
            .with("otp", otp.as_str())
    }

    /// Takes an authentication request back.
    pub fn cancel_authentication(id: &str) -> Self {
        Self::on(Method::POST, "authentication_requests", id, "/cancel", Expected::Nothing)
    }

    /// Creates a user.
    pub fn create_user(name: &str) -> Self {
        Self::post("users/create", Expected::User(None)).with("name", name)
    }

    /// Looks for users of this name.
    pub fn find_users(name: &str) -> Self {
        Self::new(Method::GET, "users", Expected::Users).with("name", name)
    }

    /// Asks for a user.
    pub fn user(id: &str) -> Self {
        Self::on(Method::GET, "users", id, "", Expected::User(Some(id.into())))
    }

    /// Switches the second factor of a user on.
    pub fn enable_user(id: &str) -> Self {
        Self::on(Method::POST, "users", id, "", Expected::User(Some(id.into())))
            .with("toopher_authentication_enabled", "true")
    }

    /// Switches the second factor of a user off.
    pub fn disable_user(id: &str) -> Self {
        Self::on(Method::POST, "users", id, "", Expected::User(Some(id.into())))
            .with("toopher_authentication_enabled", "false")
    }

    /// Removes all pairings of a user, who must pair again.
    pub fn reset_user(name: &str) -> Self {
        Self::post("users/reset", Expected::Nothing).with("name", name)
    }

    /// Asks for all pairings of a user.
    pub fn pairings_of_user(id: &str) -> Self {
        Self::on(Method::GET, "users", id, "/pairings", Expected::Pairings)
    }

    /// Names a terminal of a user.
    pub fn create_terminal(user_name: &str, terminal: &Terminal) -> Self {
        let call = Self::post("user_terminals/create", Expected::NewTerminal)
            .with("user_name", user_name)
            .with("name", terminal.name());
        match terminal.discriminator() {
            Some(discriminator) if !discriminator.is_empty() => call.with("name_extra", discriminator),
            _ => call,
        }
    }

    /// Asks for a terminal.
    pub fn terminal(id: &str) -> Self {
        Self::on(Method::GET, "user_terminals", id, "", Expected::Terminal(id.into()))
    }

    /// Whether it is `GET` or `POST`.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The path under the base URL.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The value of a parameter.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters().find(|(n, _)| *n == name).map(|(_, value)| value)
    }

    /// Whether it only looks, so that making it twice does no more than making it once.
    #[must_use]
    pub fn is_status(&self) -> bool {
        self.method == Method::GET
    }

    pub(super) fn parameters(&self) -> impl Iterator<Item = (&str, &str)> {
        self.parameters.iter().map(|(name, value)| (&**name, value.as_str()))
    }

    /// What must not come back in a message.
    pub(super) fn secrets(&self) -> impl Iterator<Item = &str> {
        let secret = ["otp", "security_answer", "terminal_name_extra", "name_extra"];
        self.parameters().filter(move |(name, _)| secret.contains(name)).map(|(_, value)| value)
    }

    pub(super) fn check(&self) -> Result<(), ClientError> {
        if self.bad_id {
            return Err(ClientError::call("an id is not made of letters, digits and -._~"));
        }
        if self.parameters().any(|(name, _)| name.starts_with("oauth_")) {
            return Err(ClientError::call("a parameter has a name of the signature"));
        }
        Ok(())
    }

    pub(super) fn expects_image(&self) -> bool {
        matches!(self.expected, Expected::Image)
    }

    pub(super) fn expects_nothing(&self) -> bool {
        matches!(self.expected, Expected::Nothing)
    }

    /// Reads the body of a success.
    pub(super) fn read(&self, body: &Json) -> Result<ApiReply, ClientError> {
        self.expected.read(body)
    }
}

impl fmt::Debug for ApiCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiCall").field("method", &self.method).field("path", &self.path).finish_non_exhaustive()
    }
}
