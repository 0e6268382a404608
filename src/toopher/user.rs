use super::json::{Object, WrongField};
use super::reply::optional_id;

/// A user, as the API knows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    id: Option<String>,
    name: Option<String>,
    enabled: Option<bool>,
}

impl User {
    pub(super) fn read(fields: &Object) -> Result<Self, WrongField> {
        let enabled = match fields.lenient_bool("toopher_authentication_enabled")? {
            Some(enabled) => Some(enabled),
            None => fields.lenient_bool("disable_toopher_auth")?.map(|disabled| !disabled),
        };
        Ok(Self { id: optional_id(fields)?, name: fields.optional_text("name")?.map(str::to_owned), enabled })
    }

    /// The API's id of the user.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The name that the application gave.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Whether the second factor is switched on for the user. None when the answer does not say.
    #[must_use]
    pub fn is_enabled(&self) -> Option<bool> {
        self.enabled
    }
}

/// A terminal of a user, as the API knows it.
///
/// Its discriminator, which is nobody else's business, is not kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserTerminal {
    id: Option<String>,
    name: Option<String>,
}

impl UserTerminal {
    pub(super) fn read(fields: &Object) -> Result<Self, WrongField> {
        Ok(Self { id: optional_id(fields)?, name: fields.optional_text("name")?.map(str::to_owned) })
    }

    /// The API's id of the terminal. An older server does not say when it creates one.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The name that people read on their phone.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }
}
