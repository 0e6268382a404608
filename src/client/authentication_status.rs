//! The state of an authentication request.

use super::json::{InvalidField, Object};
use super::user::{User, UserTerminal};

/// The state of an authentication request.
///
/// It is either granted, denied or pending. While it is pending, every other field of the response is preliminary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthenticationStatus {
    id: String,
    pending: bool,
    granted: bool,
    automated: bool,
    totp_valid: Option<bool>,
    reason: String,
    reason_code: Option<i64>,
    terminal: Option<UserTerminal>,
    user: Option<User>,
    action: Option<String>,
    number: Option<u8>,
}

impl AuthenticationStatus {
    pub(super) fn read(fields: &Object) -> Result<Self, InvalidField> {
        Ok(Self {
            id: fields.id()?,
            pending: fields.bool("pending")?,
            granted: fields.bool("granted")?,
            automated: fields.lenient_bool("automated")?.unwrap_or_default(),
            totp_valid: fields.lenient_bool("totp_valid")?,
            reason: fields.optional_text("reason")?.unwrap_or_default().to_owned(),
            reason_code: fields.integer("reason_code"),
            terminal: fields.object("terminal")?.map(UserTerminal::read).transpose()?,
            user: fields.object("user")?.map(User::read).transpose()?,
            action: match fields.object("action")? {
                Some(action) => action.optional_text("name")?.map(str::to_owned),
                None => None,
            },
            number: fields.optional_text("number")?.and_then(parse_two_digits),
        })
    }

    /// The id of the authentication request. A call polls the state by it.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether the user has not decided yet.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.pending
    }

    /// Whether the request is decided and granted.
    #[must_use]
    pub fn is_granted(&self) -> bool {
        !self.pending && self.granted
    }

    /// Whether the request is decided and denied.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        !self.pending && !self.granted
    }

    /// Whether a rule of the user decided the request, without a push.
    #[must_use]
    pub fn is_automated(&self) -> bool {
        !self.pending && self.automated
    }

    /// Whether the OTP was valid: `false` if the call had no OTP, `None` if the response does not say.
    #[must_use]
    pub fn is_totp_valid(&self) -> Option<bool> {
        self.totp_valid
    }

    /// The reason of the outcome, as text for people. It is often empty.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// The code of the reason. Only 708 has a known meaning: an OTP is required.
    #[must_use]
    pub fn reason_code(&self) -> Option<i64> {
        self.reason_code
    }

    /// The terminal that the request comes from.
    #[must_use]
    pub fn terminal(&self) -> Option<&UserTerminal> {
        self.terminal.as_ref()
    }

    /// The user who must decide.
    #[must_use]
    pub fn user(&self) -> Option<&User> {
        self.user.as_ref()
    }

    /// The action that the user decides about.
    #[must_use]
    pub fn action(&self) -> Option<&str> {
        self.action.as_deref()
    }

    /// The two digits that the site displays and the user enters on the phone while the request is pending. `None`
    /// unless the call [requested them](super::AuthenticationRequest::number_matching) and the API supports them.
    #[must_use]
    pub fn number(&self) -> Option<u8> {
        self.number.filter(|_| self.pending)
    }
}

fn parse_two_digits(text: &str) -> Option<u8> {
    let digits = text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok())?
}
