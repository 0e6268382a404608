//! What the API answers with. Optional fields may be missing, and unknown ones are passed over.

use std::fmt;

use bytes::Bytes;

use super::base_url::is_segment;
use super::json::{Json, Object, WrongField};
use super::user::{User, UserTerminal};

/// The answer to an [`ApiCall`](super::ApiCall).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ApiReply {
    /// To authentication calls.
    Authentication(AuthenticationStatus),
    /// To calls about one pairing.
    Pairing(PairingStatus),
    /// To the call for a user's pairings.
    Pairings(Vec<PairingStatus>),
    /// To calls about one user.
    User(User),
    /// To the search for users.
    Users(Vec<User>),
    /// To calls about a terminal.
    Terminal(UserTerminal),
    /// To the call for a reset link.
    ResetLink(ResetLink),
    /// To the call for a QR code: an image, most likely a PNG.
    Image(Bytes),
    /// To calls that answer with nothing.
    Done,
}

/// How an authentication request stands.
///
/// It is granted, denied or pending, and never two of them: while it is pending, whatever else the answer says is not
/// decided.
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
    pub(super) fn read(fields: &Object) -> Result<Self, WrongField> {
        Ok(Self {
            id: id(fields)?,
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
            number: fields.optional_text("number")?.and_then(two_digits),
        })
    }

    /// The id under which its status is asked for.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether it waits for a person.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.pending
    }

    /// Whether it is decided, with a yes.
    #[must_use]
    pub fn is_granted(&self) -> bool {
        !self.pending && self.granted
    }

    /// Whether it is decided, with a no.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        !self.pending && !self.granted
    }

    /// Whether it was decided without asking anybody, by a rule that the user has made.
    #[must_use]
    pub fn is_automated(&self) -> bool {
        !self.pending && self.automated
    }

    /// Whether the OTP was right: no where none was given, and none where the answer does not say.
    #[must_use]
    pub fn is_totp_valid(&self) -> Option<bool> {
        self.totp_valid
    }

    /// The reason of the outcome, for people. Often empty.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// The code of the reason. Only 708 has a known meaning: the user must show an OTP.
    #[must_use]
    pub fn reason_code(&self) -> Option<i64> {
        self.reason_code
    }

    /// The terminal that the request came from.
    #[must_use]
    pub fn terminal(&self) -> Option<&UserTerminal> {
        self.terminal.as_ref()
    }

    /// The user who is asked.
    #[must_use]
    pub fn user(&self) -> Option<&User> {
        self.user.as_ref()
    }

    /// What they are asked about.
    #[must_use]
    pub fn action(&self) -> Option<&str> {
        self.action.as_deref()
    }

    /// The two digits that the site shows while the request is pending, and the phone asks for: where they were
    /// [wanted](super::Initiate::number_matching), and the API knows of them.
    #[must_use]
    pub fn number(&self) -> Option<u8> {
        self.number.filter(|_| self.pending)
    }
}

fn two_digits(text: &str) -> Option<u8> {
    let digits = text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok())?
}

/// How the pairing of a user with a phone stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairingStatus {
    id: String,
    enabled: bool,
    pending: bool,
    deactivated: bool,
    user: Option<User>,
}

impl PairingStatus {
    pub(super) fn read(fields: &Object) -> Result<Self, WrongField> {
        Ok(Self {
            id: id(fields)?,
            enabled: fields.lenient_bool("enabled")?.ok_or(WrongField)?,
            pending: fields.lenient_bool("pending")?.unwrap_or_default(),
            deactivated: fields.lenient_bool("deactivated")?.unwrap_or_default(),
            user: fields.object("user")?.map(User::read).transpose()?,
        })
    }

    /// The id under which its status is asked for, and which can be stored as the user's.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether the phone has accepted it. It may have been removed since.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// Whether it waits for the phone. Older servers do not say, and are taken to say no.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.pending
    }

    /// Whether it was removed, and gets no more requests.
    #[must_use]
    pub fn is_deactivated(&self) -> bool {
        self.deactivated
    }

    /// Whether it authenticates: accepted, decided, and not removed.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.enabled && !self.pending && !self.deactivated
    }

    /// The user whose phone it is.
    #[must_use]
    pub fn user(&self) -> Option<&User> {
        self.user.as_ref()
    }
}

/// An address at which whoever has it can reset a pairing. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct ResetLink(String);

impl ResetLink {
    pub(super) fn read(fields: &Object) -> Result<Self, WrongField> {
        Ok(Self(fields.text("url")?.to_owned()))
    }

    /// The address. It comes from the API and is not checked.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ResetLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResetLink(<redacted>)")
    }
}

/// Reads each element of a list of objects.
pub(super) fn list<T>(list: &Json, read: impl Fn(&Object) -> Result<T, WrongField>) -> Result<Vec<T>, WrongField> {
    let Json::Array(elements) = list else { return Err(WrongField) };
    elements
        .iter()
        .map(|element| match element {
            Json::Object(fields) => read(fields),
            _ => Err(WrongField),
        })
        .collect()
}

/// An id goes into the path of later calls, so one that could change it is none.
fn id(fields: &Object) -> Result<String, WrongField> {
    optional_id(fields)?.ok_or(WrongField)
}

pub(super) fn optional_id(fields: &Object) -> Result<Option<String>, WrongField> {
    match fields.optional_text("id")? {
        None => Ok(None),
        Some(id) if is_segment(id) => Ok(Some(id.to_owned())),
        Some(_) => Err(WrongField),
    }
}
