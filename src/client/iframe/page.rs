//! The pages, and their parameters.

use std::borrow::Cow;
use std::fmt;

/// A page of the API, with its parameters.
///
/// Set each parameter once: it is not defined which of two values a page uses.
#[derive(Clone, PartialEq, Eq)]
#[must_use]
pub struct Page {
    path: &'static str,
    /// `v` and `username` are the first ones.
    parameters: Vec<(Cow<'static, str>, String)>,
}

impl Page {
    fn new(path: &'static str, user_name: &str) -> Self {
        Self { path, parameters: Vec::new() }.with_parameter("v", "2").with_parameter("username", user_name)
    }

    /// The page on which a user pairs a phone.
    ///
    /// A postback without a session token is rejected, so set one with `with_parameter("session_token", …)`.
    pub fn pair(user_name: &str) -> Self {
        Self::new("web/pair", user_name)
    }

    /// The page on which a user authenticates, after pairing a phone if there is none.
    ///
    /// The postback contains the session token: see [`Iframe::session_token`](super::Iframe::session_token).
    pub fn authenticate(user_name: &str, session_token: &str) -> Self {
        Self::new("web/authenticate", user_name)
            .with_parameter("session_token", session_token)
            .with_parameter("action_name", "Log In")
    }

    /// The page on which a user sees and changes their own settings.
    pub fn manage_user(user_name: &str) -> Self {
        Self::new("web/manage_user", user_name)
    }

    /// Sets the action that the user decides about. Default: `Log In` on the page that authenticates, nothing on the
    /// others.
    pub fn action(mut self, action: &str) -> Self {
        self.parameters.retain(|(name, _)| name != "action_name");
        self.with_parameter("action_name", action)
    }

    /// Sets the e-mail address for a reset link when the phone is lost. Default: none.
    pub fn reset_email(self, email: &str) -> Self {
        self.with_parameter("reset_email", email)
    }

    /// Sets a text that the postback returns. Default: none. The user can read it.
    pub fn requester_metadata(self, metadata: &str) -> Self {
        self.with_parameter("requester_metadata", metadata)
    }

    /// Sets whether a user without a phone may pair one on the page. Default: that of the page, yes.
    pub fn allow_inline_pairing(self, allow: bool) -> Self {
        self.with_parameter("allow_inline_pairing", allow.to_string())
    }

    /// Sets whether a rule of the user may decide in place of the user. Default: that of the page, yes.
    pub fn automation_allowed(self, allowed: bool) -> Self {
        self.with_parameter("automation_allowed", allowed.to_string())
    }

    /// Sets whether the phone must require its lock pattern. Default: that of the page, no.
    pub fn challenge_required(self, required: bool) -> Self {
        self.with_parameter("challenge_required", required.to_string())
    }

    /// Sets the origin of the application's pages, such as `https://example.com`. `toopher-server` then allows only
    /// this origin to frame the page, and passes the result only to a window of this origin. Default: the origin that
    /// the browser reports for the page around the frame. Other servers ignore it.
    pub fn site_origin(self, origin: &str) -> Self {
        self.with_parameter("site_origin", origin)
    }

    /// Adds a parameter that has no method here. Names that begin with `oauth_` are reserved for the signature.
    pub fn with_parameter(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<String>) -> Self {
        self.parameters.push((name.into(), value.into()));
        self
    }

    pub(super) fn path(&self) -> &'static str {
        self.path
    }

    pub(super) fn parameters(&self) -> impl Iterator<Item = (&str, &str)> {
        self.parameters.iter().map(|(name, value)| (&**name, value.as_str()))
    }
}

impl fmt::Debug for Page {
    /// Omits the parameters, because the session token is among them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Page").field("path", &self.path).finish_non_exhaustive()
    }
}
