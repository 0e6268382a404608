//! The calls of the API.

use std::borrow::Cow;
use std::fmt;

use http::Method;
use zeroize::Zeroizing;

use super::authentication_request::AuthenticationRequest;
use super::base_url::is_segment;
use super::error::ClientError;
use super::response_shape::ResponseShape;
use crate::verify::{Otp, Terminal};

/// A call of the Toopher API: the request type of the `tower::Service` [`ToopherClient`](super::ToopherClient).
///
/// If a layer clones a call and sends it again, as tower's retry layer does, the client signs each HTTP request with a
/// new nonce and timestamp.
///
/// ```
/// use tower_toopher::client::ApiCall;
///
/// let call = ApiCall::pair("awkward turtle", "alice");
/// assert_eq!((call.method().as_str(), call.path()), ("POST", "pairings/create"));
/// assert_eq!(call.parameter("pairing_phrase"), Some("awkward turtle"));
/// assert!(!call.is_safe());
/// ```
///
/// `Debug` prints the method and the path. It omits the parameters, because an OTP may be among them.
#[derive(Clone)]
#[must_use]
pub struct ApiCall {
    method: Method,
    path: String,
    /// Whether the id is not a segment of a path. The client never sends such a call.
    invalid_id: bool,
    parameters: Vec<(Cow<'static, str>, Zeroizing<String>)>,
    shape: ResponseShape,
}

impl ApiCall {
    fn new(method: Method, path: impl Into<String>, shape: ResponseShape) -> Self {
        Self { method, path: path.into(), invalid_id: false, parameters: Vec::new(), shape }
    }

    fn post(path: &str, shape: ResponseShape) -> Self {
        Self::new(Method::POST, path, shape)
    }

    /// A call of the resource with this id.
    fn with_id(method: Method, before: &str, id: &str, after: &str, shape: ResponseShape) -> Self {
        if is_segment(id) {
            Self::new(method, format!("{before}/{id}{after}"), shape)
        } else {
            Self { invalid_id: true, ..Self::new(method, before, shape) }
        }
    }

    /// Adds a parameter that the constructors and [`AuthenticationRequest`] do not set.
    ///
    /// Names that begin with `oauth_` are reserved for the signature: the client rejects such a call.
    pub fn with_parameter(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<String>) -> Self {
        self.parameters.push((name.into(), Zeroizing::new(value.into())));
        self
    }

    /// Pairs a user with the phone that displays this phrase.
    pub fn pair(phrase: &str, user_name: &str) -> Self {
        Self::post("pairings/create", ResponseShape::Pairing(None))
            .with_parameter("pairing_phrase", phrase)
            .with_parameter("user_name", user_name)
    }

    /// Pairs a user with a phone by text message. An international number begins with `+` and the country code.
    pub fn pair_with_sms(phone_number: &str, user_name: &str) -> Self {
        Self::post("pairings/create/sms", ResponseShape::Pairing(None))
            .with_parameter("phone_number", phone_number)
            .with_parameter("user_name", user_name)
    }

    /// Begins a pairing by QR code.
    pub fn pair_with_qr(user_name: &str) -> Self {
        Self::post("pairings/create/qr", ResponseShape::Pairing(None)).with_parameter("user_name", user_name)
    }

    /// Requests the QR code of a pairing.
    pub fn qr_image(pairing_id: &str) -> Self {
        Self::with_id(Method::GET, "qr/pairings", pairing_id, "", ResponseShape::Image)
    }

    /// Requests the state of a pairing.
    pub fn pairing_status(pairing_id: &str) -> Self {
        Self::with_id(Method::GET, "pairings", pairing_id, "", ResponseShape::Pairing(Some(pairing_id.into())))
    }

    /// Removes a pairing.
    pub fn deactivate_pairing(pairing_id: &str) -> Self {
        Self::with_id(Method::POST, "pairings", pairing_id, "", ResponseShape::Pairing(Some(pairing_id.into())))
            .with_parameter("deactivated", "true")
    }

    /// Requests a URL at which the user can reset a pairing.
    pub fn generate_reset_link(pairing_id: &str) -> Self {
        Self::with_id(Method::POST, "pairings", pairing_id, "/generate_reset_link", ResponseShape::ResetLink)
    }

    /// Sends such a URL to the user by e-mail.
    pub fn send_reset_link(pairing_id: &str, email: &str) -> Self {
        Self::with_id(Method::POST, "pairings", pairing_id, "/send_reset_link", ResponseShape::Empty)
            .with_parameter("reset_email", email)
    }

    /// Begins an authentication request.
    pub fn authenticate(request: AuthenticationRequest) -> Self {
        let mut call = Self::post("authentication_requests/initiate", ResponseShape::Authentication(None));
        call.parameters = request.into_parameters();
        call
    }

    /// Requests the state of an authentication request.
    pub fn authentication_status(id: &str) -> Self {
        Self::with_id(Method::GET, "authentication_requests", id, "", ResponseShape::Authentication(Some(id.into())))
    }

    /// Decides an authentication request with an OTP.
    pub fn otp_auth(id: &str, otp: &Otp) -> Self {
        Self::with_id(
            Method::POST,
            "authentication_requests",
            id,
            "/otp_auth",
            ResponseShape::Authentication(Some(id.into())),
        )
        .with_parameter("otp", otp.as_str())
    }

    /// Cancels an authentication request.
    pub fn cancel_authentication(id: &str) -> Self {
        Self::with_id(Method::POST, "authentication_requests", id, "/cancel", ResponseShape::Empty)
    }

    /// Creates a user.
    pub fn create_user(name: &str) -> Self {
        Self::post("users/create", ResponseShape::User(None)).with_parameter("name", name)
    }

    /// Searches for users with this name.
    pub fn find_users(name: &str) -> Self {
        Self::new(Method::GET, "users", ResponseShape::Users).with_parameter("name", name)
    }

    /// Requests a user.
    pub fn user(id: &str) -> Self {
        Self::with_id(Method::GET, "users", id, "", ResponseShape::User(Some(id.into())))
    }

    /// Enables the second factor of a user.
    pub fn enable_user(id: &str) -> Self {
        Self::with_id(Method::POST, "users", id, "", ResponseShape::User(Some(id.into())))
            .with_parameter("toopher_authentication_enabled", "true")
    }

    /// Disables the second factor of a user.
    pub fn disable_user(id: &str) -> Self {
        Self::with_id(Method::POST, "users", id, "", ResponseShape::User(Some(id.into())))
            .with_parameter("toopher_authentication_enabled", "false")
    }

    /// Removes all pairings of a user. The user must pair again.
    pub fn reset_user(name: &str) -> Self {
        Self::post("users/reset", ResponseShape::Empty).with_parameter("name", name)
    }

    /// Requests all pairings of a user.
    pub fn pairings_of_user(id: &str) -> Self {
        Self::with_id(Method::GET, "users", id, "/pairings", ResponseShape::Pairings)
    }

    /// Creates a terminal of a user.
    pub fn create_terminal(user_name: &str, terminal: &Terminal) -> Self {
        let call = Self::post("user_terminals/create", ResponseShape::NewTerminal)
            .with_parameter("user_name", user_name)
            .with_parameter("name", terminal.name());
        match terminal.discriminator() {
            Some(discriminator) if !discriminator.is_empty() => call.with_parameter("name_extra", discriminator),
            _ => call,
        }
    }

    /// Requests a terminal.
    pub fn terminal(id: &str) -> Self {
        Self::with_id(Method::GET, "user_terminals", id, "", ResponseShape::Terminal(id.into()))
    }

    /// The HTTP method: `GET` or `POST`.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The path, relative to the base URL.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The value of a parameter.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters().find(|(n, _)| *n == name).map(|(_, value)| value)
    }

    /// Whether the call is safe (RFC 9110 section 9.2.1): it only reads, so it can be repeated.
    #[must_use]
    pub fn is_safe(&self) -> bool {
        self.method == Method::GET
    }

    pub(super) fn parameters(&self) -> impl Iterator<Item = (&str, &str)> {
        self.parameters.iter().map(|(name, value)| (&**name, value.as_str()))
    }

    /// The values that must not appear in an error message.
    pub(super) fn secrets(&self) -> impl Iterator<Item = &str> {
        let secret = ["otp", "security_answer", "terminal_name_extra", "name_extra"];
        self.parameters().filter(move |(name, _)| secret.contains(name)).map(|(_, value)| value)
    }

    pub(super) fn check(&self) -> Result<(), ClientError> {
        if self.invalid_id {
            return Err(ClientError::invalid_call("an id consists of letters, digits and -._~"));
        }
        if self.parameters().any(|(name, _)| name.starts_with("oauth_")) {
            return Err(ClientError::invalid_call("parameter names that begin with oauth_ are reserved"));
        }
        Ok(())
    }

    /// The kind of response that the call expects.
    pub(super) fn shape(&self) -> &ResponseShape {
        &self.shape
    }
}

impl fmt::Debug for ApiCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiCall").field("method", &self.method).field("path", &self.path).finish_non_exhaustive()
    }
}
