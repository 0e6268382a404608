use std::fmt;

/// A setting or a value that is not valid. [`kind`](Self::kind) names it, and the text says what is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfigError {
    kind: ConfigErrorKind,
}

impl ConfigError {
    pub(crate) const fn new(kind: ConfigErrorKind) -> Self {
        Self { kind }
    }

    /// Which setting or value is not valid.
    #[must_use]
    pub const fn kind(&self) -> ConfigErrorKind {
        self.kind
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident => $text:literal,)*) => {
        /// The settings and values that a [`ConfigError`] is about.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ConfigErrorKind {
            $($(#[$doc])* $kind,)*
        }

        impl fmt::Display for ConfigError {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self.kind {
                    $(ConfigErrorKind::$kind => $text,)*
                })
            }
        }
    };
}

kinds! {
    /// An `acr` value of RFC 9470.
    AcrValue => "an acr value is printable ASCII without blanks, quotes and backslashes",
    /// The verifier's id of an approval.
    ApprovalId => "an approval id has 1 to 256 bytes",
    /// The limit on approval requests per user.
    ApprovalLimit => "an approval limit is 1 to 100 approvals, reset after 1 minute to 30 days",
    /// The client's handle for an approval.
    ApprovalToken => "an approval token has 1 to 2048 characters: letters, digits, `-` and `_`",
    /// The URL of a Toopher API.
    BaseUrl => "a base URL is an http or https URL with a plain path, and without user, password, query and fragment",
    /// A name of a cookie.
    CookieName => "a cookie name is a token (RFC 9110 section 5.6.2) of at most 64 characters",
    /// A path for audit events.
    AuditPath => "an audit path has 1 to 1024 bytes",
    /// A value that an approval is additionally bound to.
    ExtraBinding => "an extra binding has 1 to 8192 bytes",
    /// A verifier's own name for a factor.
    FactorName => "the name of a factor has 1 to 32 bytes",
    /// The bounds or the classes of fail-open.
    FailOpen => "fail-open needs a limit of 1 to 10,000 requests, a window of 1 second to 24 hours, no `Overloaded`",
    /// A grant.
    Grant => "a grant has 1 to 1024 characters: letters, digits, `-` and `_`",
    /// The number that a person compares.
    Number => "the number of an approval is 0 to 99",
    /// The prefix of keys in Redis.
    Prefix => "a key prefix has 1 to 64 letters, digits, `-`, `_`, `.`, `:` or `/`",
    /// The realm of `WWW-Authenticate`.
    Realm => "a realm is one or more printable ASCII characters",
    /// The id of a request.
    RequestId => "a request id has 1 to 256 bytes",
    /// An encryption key.
    SealingKey => "a sealing key is 64 hexadecimal digits, or 32 bytes in base64",
    /// The id of a session.
    SessionId => "a session id has 1 to 1024 bytes",
    /// The path of the status service.
    StatusPath => "a status path begins with `/` and has printable ASCII characters without `\"`, `\\`, `?` and `#`",
    /// The limits on failed attempts.
    Throttle => "a throttle needs 1 <= free <= lock_after <= 100 and 1 second <= first_delay <= max_delay <= 24 hours",
    /// The id of a user.
    UserId => "a user id has 1 to 512 bytes",
    /// The accepted time steps.
    Window => "a window has at most ten time steps to either side",
}

impl std::error::Error for ConfigError {}
