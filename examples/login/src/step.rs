//! The two occasions on which a user shows a second factor.

/// What the second factor is for. Each has pages of its own, at [`path`](Self::path).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The login, after the password.
    LogIn,
    /// A change of the second factors, for a user who is logged in.
    Change,
}

impl Step {
    pub(crate) const ALL: [Self; 2] = [Self::LogIn, Self::Change];

    pub(crate) const fn path(self) -> &'static str {
        match self {
            Self::LogIn => "/second",
            Self::Change => "/confirm",
        }
    }

    /// The action that the phone shows. A factor for a login is no factor for a change, unless the route says so.
    pub(crate) const fn action(self) -> &'static str {
        match self {
            Self::LogIn => "log in",
            Self::Change => "change your second factors",
        }
    }

    /// The heading of the pages.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::LogIn => "One more step",
            Self::Change => "Confirm that it is you",
        }
    }
}
