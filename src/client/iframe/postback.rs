//! The result of a postback that was checked.

use crate::client::api_error_kind::ApiErrorKind;

/// The result of a postback: correctly signed, recent, and of this session.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Postback {
    /// The result of an authentication.
    Authentication(PostbackAuthentication),
    /// The result of a pairing.
    Pairing(PostbackPairing),
    /// The settings of a user.
    User(PostbackUser),
    /// An error. It is never a grant, not even the error for a user who opted out.
    Failure(PostbackFailure),
}

impl Postback {
    /// Whether this user showed the second factor for this action. Grant a request only if this returns `true`: an
    /// approval of one action is not valid for another.
    #[must_use]
    pub fn is_granted_for(&self, user_name: &str, action: &str) -> bool {
        matches!(self, Self::Authentication(authentication) if authentication.is_granted()
            && authentication.user_name.as_deref() == Some(user_name)
            && authentication.action.as_deref() == Some(action))
    }
}

/// The result of an authentication on a page.
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

    /// Whether a user approved an action. [`Postback::is_granted_for`] also checks which user and which action.
    #[must_use]
    pub fn is_granted(&self) -> bool {
        self.granted && !self.pending
    }

    /// Whether the user has not decided yet.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.pending
    }

    /// The user.
    #[must_use]
    pub fn user_name(&self) -> Option<&str> {
        self.user_name.as_deref()
    }

    /// The action that the user decided about.
    #[must_use]
    pub fn action(&self) -> Option<&str> {
        self.action.as_deref()
    }

    /// The text that the application passed to the page.
    #[must_use]
    pub fn requester_metadata(&self) -> Option<&str> {
        self.metadata.as_deref()
    }
}

/// The result of a pairing on a page. It does not authenticate the user.
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

    /// Whether the phone confirmed the pairing.
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

/// The settings of a user, after the user changed them on a page.
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

    /// The name that the application chose.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the second factor is enabled for the user.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.enabled
    }
}

/// An error that a page posted, with a correct signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostbackFailure {
    pub(super) code: i64,
    pub(super) message: String,
}

impl PostbackFailure {
    /// The meaning of the error.
    #[must_use]
    pub fn kind(&self) -> ApiErrorKind {
        ApiErrorKind::from_code(self.code, &self.message)
    }

    /// The `error_code`.
    #[must_use]
    pub fn error_code(&self) -> i64 {
        self.code
    }

    /// The `error_message`, as the page sent it.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}
