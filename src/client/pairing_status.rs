//! The state of a pairing.

use super::json::{InvalidField, Object};
use super::user::User;

/// The state of the pairing of a user with a phone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairingStatus {
    id: String,
    enabled: bool,
    pending: bool,
    deactivated: bool,
    user: Option<User>,
}

impl PairingStatus {
    pub(super) fn read(fields: &Object) -> Result<Self, InvalidField> {
        Ok(Self {
            id: fields.id()?,
            enabled: fields.lenient_bool("enabled")?.ok_or(InvalidField)?,
            pending: fields.lenient_bool("pending")?.unwrap_or_default(),
            deactivated: fields.lenient_bool("deactivated")?.unwrap_or_default(),
            user: fields.object("user")?.map(User::read).transpose()?,
        })
    }

    /// The id of the pairing. A call polls the state by it, and the application can store it with the user.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether the phone confirmed the pairing. It may have been removed since.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// Whether the phone has not confirmed the pairing yet. `false` if the response does not say, as with older APIs.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.pending
    }

    /// Whether the pairing was removed. The phone receives no more requests.
    #[must_use]
    pub fn is_deactivated(&self) -> bool {
        self.deactivated
    }

    /// Whether the pairing can authenticate the user: the phone confirmed it, and it was not removed.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.enabled && !self.pending && !self.deactivated
    }

    /// The user who owns the phone.
    #[must_use]
    pub fn user(&self) -> Option<&User> {
        self.user.as_ref()
    }
}
