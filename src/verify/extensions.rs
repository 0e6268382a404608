//! What the application knows of a request and inserts into its extensions, where every part of the crate finds it.
//!
//! A [`UserId`](crate::UserId) and a [`Terminal`](crate::Terminal) are inserted in the same way.

use std::fmt;
use std::sync::Arc;

use crate::error::{ConfigError, ConfigErrorKind};

macro_rules! extensions {
    ($($(#[$doc:meta])* $name:ident($kind:ident, $max:literal) $debug:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            #[doc = concat!("Creates the value from text of 1 to ", stringify!($max), " bytes.")]
            ///
            /// # Errors
            ///
            /// [`ConfigError`] when the text is empty or longer.
            pub fn new(text: impl Into<Arc<str>>) -> Result<Self, ConfigError> {
                let text = text.into();
                if text.is_empty() || text.len() > $max {
                    return Err(ConfigError::new(ConfigErrorKind::$kind));
                }
                Ok(Self(text))
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                if $debug { f.debug_tuple(stringify!($name)).field(&self.0).finish() }
                else { f.write_str(concat!(stringify!($name), "(<redacted>)")) }
            }
        }
    )*};
}

extensions! {
    /// Identifies the session of the user. Approvals and grants are bound to it.
    ///
    /// It must be unique to the session and secret, and must not change as long as an approval or a grant should be
    /// valid. If it is not secret (a constant, for example), **an attacker with the password can send the same request
    /// while an approval is pending and use the user's approval.** If the id of the session changes at login, use a
    /// value stored in the session instead.
    SessionId(SessionId, 1024) false;

    /// Identifies the request in audit events and in the span around the verifier. A value that the client chooses,
    /// such as a header that no trusted proxy overwrites, proves nothing.
    RequestId(RequestId, 256) true;

    /// Binds approvals of this request to an additional value: the tenant in a header, for example, or, for a
    /// forward-auth proxy ([`Profile::ForwardAuth`](crate::middleware::Profile::ForwardAuth)), the method and URI of
    /// the request that the proxy asks about. Without this extension the layer requests no approval there.
    ExtraBinding(ExtraBinding, 8192) false;

    /// Replaces the path of the request in audit events: the route of axum's `MatchedPath`, for example. Use it where
    /// paths contain secrets. Default: the path without its query. Without the extension, also because its text was
    /// too long, the event contains the path.
    AuditPath(AuditPath, 1024) true;
}
