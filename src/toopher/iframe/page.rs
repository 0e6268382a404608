use std::borrow::Cow;
use std::fmt;

/// A page of the API, and what it is to show.
///
/// Of two values for one parameter the page takes which it likes, so each is set once.
#[derive(Clone, PartialEq, Eq)]
#[must_use]
pub struct Page {
    path: &'static str,
    /// `v` and `username` come first, `action_name` only on the page that has an action.
    parameters: Vec<(Cow<'static, str>, String)>,
}

impl Page {
    fn new(path: &'static str, user_name: &str) -> Self {
        Self { path, parameters: Vec::new() }.with("v", "2").with("username", user_name)
    }

    /// The page on which a user pairs a phone.
    ///
    /// Its postback is checked only with a session token: set one with `with("session_token", …)`.
    pub fn pair(user_name: &str) -> Self {
        Self::new("web/pair", user_name)
    }

    /// The page on which a user is authenticated, and pairs a phone first where there is none.
    ///
    /// The session token comes back in the postback: see [`Iframe::session_token`](super::Iframe::session_token).
    pub fn authenticate(user_name: &str, session_token: &str) -> Self {
        Self::new("web/authenticate", user_name).with("session_token", session_token).with("action_name", "Log In")
    }

    /// The page on which a user sees and changes what is set for them.
    pub fn manage_user(user_name: &str) -> Self {
        Self::new("web/manage_user", user_name)
    }

    /// Sets what is asked for. Default: `Log In` on the page that authenticates, nothing on the others.
    pub fn action(mut self, action: &str) -> Self {
        self.parameters.retain(|(name, _)| name != "action_name");
        self.with("action_name", action)
    }

    /// Sets where a link goes when the phone is lost. Default: nowhere.
    pub fn reset_email(self, email: &str) -> Self {
        self.with("reset_email", email)
    }

    /// Sets a text that comes back in the postback. Default: none. The user sees it.
    pub fn requester_metadata(self, metadata: &str) -> Self {
        self.with("requester_metadata", metadata)
    }

    /// Sets whether a user without a phone may pair one on the page. Default: left to the page, which says yes.
    pub fn allow_inline_pairing(self, allow: bool) -> Self {
        self.with("allow_inline_pairing", allow.to_string())
    }

    /// Sets whether a rule of the user's may answer in their place. Default: left to the page, which says yes.
    pub fn automation_allowed(self, allowed: bool) -> Self {
        self.with("automation_allowed", allowed.to_string())
    }

    /// Sets whether the phone must ask for its lock pattern. Default: left to the page, which says no.
    pub fn challenge_required(self, required: bool) -> Self {
        self.with("challenge_required", required.to_string())
    }

    /// Sets the origin of the application's own pages, such as `https://example.com`: `toopher-server` then shows the
    /// page in no frame of another's, and gives the result to no other window. Default: it goes by what the browser says
    /// of the page around the frame. Other servers do not know it.
    pub fn site_origin(self, origin: &str) -> Self {
        self.with("site_origin", origin)
    }

    /// Adds a parameter that has no method of its own. Names that begin with `oauth_` are the signature's.
    pub fn with(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<String>) -> Self {
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
    /// Leaves the parameters out: the session token is among them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Page").field("path", &self.path).finish_non_exhaustive()
    }
}
