//! What a postback says, once it is believed.

use crate::toopher::ApiErrorKind;

/// What came back, signed, new, and of this session.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Postback {
    /// How an authentication went.
    Authentication(PostbackAuthentication),
    /// How a pairing went.
    Pairing(PostbackPairing),
    /// How a user is set now.
    User(PostbackUser),
    /// An error. It lets nobody in, not even that of a user who has opted out.
    Failure(PostbackFailure),
}

impl Postback {
    /// Whether it says that this user has shown the second factor for this action. That is the one thing that lets a
    /// request in: what was approved for one action is not good for another.
    #[must_use]
    pub fn is_granted_for(&self, user_name: &str, action: &str) -> bool {
        matches!(self, Self::Authentication(authentication) if authentication.is_granted()
            && authentication.user_name.as_deref() == Some(user_name)
            && authentication.action.as_deref() == Some(action))
    }
}

/// How an authentication on a page went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostbackAuthentication {
    pub(super) id: String,
    pub(super) pending: bool,
    pub(super) granted: bool,
    pub(super) user_name: Option<String>,
    pub(super) action: Option<String>,
    pub(super) metadata: Option<String>,
}

impl PostbackAuthentication {
    /// The id of the authentication request.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether somebody has said yes to something: [`Postback::is_granted_for`] asks who, and to what.
    #[must_use]
    pub fn is_granted(&self) -> bool {
        self.granted && !self.pending
    }

    /// Whether nobody has said anything yet.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.pending
    }

    /// The user.
    #[must_use]
    pub fn user_name(&self) -> Option<&str> {
        self.user_name.as_deref()
    }

    /// What they were asked about.
    #[must_use]
    pub fn action(&self) -> Option<&str> {
        self.action.as_deref()
    }

    /// The text that was given to the page.
    #[must_use]
    pub fn requester_metadata(&self) -> Option<&str> {
        self.metadata.as_deref()
    }
}

/// How a pairing on a page went. It does not log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostbackPairing {
    pub(super) id: String,
    pub(super) enabled: bool,
    pub(super) pending: bool,
    pub(super) user_name: Option<String>,
}

impl PostbackPairing {
    /// The id of the pairing.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether the phone has accepted it.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.enabled && !self.pending
    }

    /// The user.
    #[must_use]
    pub fn user_name(&self) -> Option<&str> {
        self.user_name.as_deref()
    }
}

/// How a user is set now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostbackUser {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) enabled: bool,
}

impl PostbackUser {
    /// The API's id of the user.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The name that the application gave.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the second factor is switched on for them.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.enabled
    }
}

/// An error that a page posted back, signed like everything else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostbackFailure {
    pub(super) code: i64,
    pub(super) message: String,
}

impl PostbackFailure {
    /// What the error means.
    #[must_use]
    pub fn kind(&self) -> ApiErrorKind {
        ApiErrorKind::of(self.code, &self.message)
    }

    /// Its `error_code`.
    #[must_use]
    pub fn error_code(&self) -> i64 {
        self.code
    }

    /// Its `error_message`, as it came.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}
