//! The responses of the API. Readers accept missing optional fields and ignore unknown fields.

use std::fmt;

use bytes::Bytes;

use super::authentication_status::AuthenticationStatus;
use super::json::{InvalidField, Object};
use super::pairing_status::PairingStatus;
use super::user::{User, UserTerminal};

/// The response to an [`ApiCall`](super::ApiCall).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ApiResponse {
    /// An authentication request.
    Authentication(AuthenticationStatus),
    /// A pairing.
    Pairing(PairingStatus),
    /// The pairings of a user.
    Pairings(Vec<PairingStatus>),
    /// A user.
    User(User),
    /// The users that a search found.
    Users(Vec<User>),
    /// A terminal.
    Terminal(UserTerminal),
    /// A reset link.
    ResetLink(ResetLink),
    /// A QR code: an image, usually a PNG.
    Image(Bytes),
    /// Success without content.
    Done,
}

/// A URL that resets a pairing. Anyone who has it can use it, so `Debug` omits it.
#[derive(Clone, PartialEq, Eq)]
pub struct ResetLink(String);

impl ResetLink {
    pub(super) fn read(fields: &Object) -> Result<Self, InvalidField> {
        Ok(Self(fields.text("url")?.to_owned()))
    }

    /// The URL. It comes from the API, and the client does not validate it.
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
