//! Users and their terminals.

use super::json::{InvalidField, Object};

/// A user of the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    id: Option<String>,
    name: Option<String>,
    enabled: Option<bool>,
}

impl User {
    pub(super) fn read(fields: &Object) -> Result<Self, InvalidField> {
        let enabled = match fields.lenient_bool("toopher_authentication_enabled")? {
            Some(enabled) => Some(enabled),
            None => fields.lenient_bool("disable_toopher_auth")?.map(|disabled| !disabled),
        };
        Ok(Self { id: fields.optional_id()?, name: fields.optional_text("name")?.map(str::to_owned), enabled })
    }

    /// The API's id of the user.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The name that the application chose.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Whether the second factor is enabled for the user. `None` if the response does not say.
    #[must_use]
    pub fn is_enabled(&self) -> Option<bool> {
        self.enabled
    }
}

/// A terminal of a user.
///
/// It omits the discriminator, which is a secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserTerminal {
    id: Option<String>,
    name: Option<String>,
}

impl UserTerminal {
    pub(super) fn read(fields: &Object) -> Result<Self, InvalidField> {
        Ok(Self { id: fields.optional_id()?, name: fields.optional_text("name")?.map(str::to_owned) })
    }

    /// The API's id of the terminal. Older APIs do not return it when they create a terminal.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The name that the phone displays.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }
}
