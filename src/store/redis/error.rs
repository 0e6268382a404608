use std::fmt;

use redis::ErrorKind;

/// The error of a [`RedisStore`](super::RedisStore).
///
/// Of an error that the server reported, it contains only the code (`OOM`, `READONLY`), because some servers repeat in
/// their errors what they received, including passwords.
#[derive(Clone)]
pub struct RedisError(Cause);

/// The kind of a [`RedisError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RedisErrorKind {
    /// The URL, or a certificate, is invalid.
    Config,
    /// The reply did not arrive in time. The operation may have been done.
    Timeout,
    /// There was no connection, or it broke. The operation may have been done.
    Connection,
    /// The server refused the user name or the password.
    Login,
    /// The server reported an error, with a [code](RedisError::code).
    Server,
    /// The reply is not valid.
    InvalidReply,
    /// The server is configured to evict keys.
    Evicts,
    /// There is no Tokio runtime, or it ended.
    Runtime,
}

#[derive(Clone)]
enum Cause {
    Config(&'static str),
    Deadline,
    Connection(redis::RedisError),
    Login,
    Server(String),
    InvalidReply,
    Evicts(String),
    Runtime,
}

impl RedisError {
    pub(super) fn config(reason: &'static str) -> Self {
        Self(Cause::Config(reason))
    }

    pub(super) fn deadline() -> Self {
        Self(Cause::Deadline)
    }

    pub(super) fn invalid_reply() -> Self {
        Self(Cause::InvalidReply)
    }

    pub(super) fn evicts(policy: &str) -> Self {
        Self(Cause::Evicts(sanitize(policy)))
    }

    pub(super) fn runtime() -> Self {
        Self(Cause::Runtime)
    }

    /// The kind of the error.
    #[must_use]
    pub fn kind(&self) -> RedisErrorKind {
        match &self.0 {
            Cause::Config(_) => RedisErrorKind::Config,
            Cause::Deadline => RedisErrorKind::Timeout,
            Cause::Connection(error) if error.is_timeout() => RedisErrorKind::Timeout,
            Cause::Connection(_) => RedisErrorKind::Connection,
            Cause::Login => RedisErrorKind::Login,
            Cause::Server(_) => RedisErrorKind::Server,
            Cause::InvalidReply => RedisErrorKind::InvalidReply,
            Cause::Evicts(_) => RedisErrorKind::Evicts,
            Cause::Runtime => RedisErrorKind::Runtime,
        }
    }

    /// The code of an error that the server reported, such as `OOM`.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        match &self.0 {
            Cause::Server(code) => Some(code),
            _ => None,
        }
    }

    /// Whether the server reported its own state: that it became a replica, lost its replicas or its disk, is full, or
    /// is not yet started. Another connection may lead to another server, because the name may have a new address.
    pub(super) fn is_of_server(&self) -> bool {
        const OF_COMMAND: [&str; 6] = ["ERR", "WRONGTYPE", "NOSCRIPT", "NOPERM", "CROSSSLOT", "EXECABORT"];
        self.code().is_some_and(|code| !OF_COMMAND.contains(&code))
    }
}

impl From<redis::RedisError> for RedisError {
    fn from(error: redis::RedisError) -> Self {
        Self(match error.kind() {
            ErrorKind::Server(_) | ErrorKind::Extension => Cause::Server(sanitize(error.code().unwrap_or_default())),
            ErrorKind::AuthenticationFailed => Cause::Login,
            ErrorKind::Parse | ErrorKind::UnexpectedReturnType => Cause::InvalidReply,
            _ => Cause::Connection(error),
        })
    }
}

/// Returns a word of the server, or a replacement if it is not a word.
fn sanitize(word: &str) -> String {
    let is_valid = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    if word.is_empty() || word.len() > 32 || !word.bytes().all(is_valid) { "an error".into() } else { word.into() }
}

impl fmt::Display for RedisError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redis: ")?;
        match &self.0 {
            Cause::Config(reason) => f.write_str(reason),
            Cause::Deadline => f.write_str("no reply in time"),
            // Only errors of the operating system and of TLS contain more than their kind.
            Cause::Connection(error) if error.is_io_error() => write!(f, "{error}"),
            Cause::Connection(error) => f.write_str(error.category()),
            Cause::Login => f.write_str("the server refused the user name or the password"),
            Cause::Server(code) => write!(f, "the server reported {code}"),
            Cause::InvalidReply => f.write_str("invalid reply"),
            Cause::Evicts(policy) => {
                write!(f, "the server evicts keys: maxmemory-policy is {policy}, and must be noeviction")
            }
            Cause::Runtime => f.write_str("there is no Tokio runtime, or it ended"),
        }
    }
}

/// The same text, because the errors inside contain more than may be displayed.
impl fmt::Debug for RedisError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisError({self})")
    }
}

impl std::error::Error for RedisError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.0 {
            Cause::Connection(error) if error.is_io_error() => error.source(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_repeats_is_not_displayed() {
        let text = "ERR unknown command 'HELLO', with args beginning with: '3' 'AUTH' 'default' 'hunter2'";
        let parsed = redis::parse_redis_value(format!("-{text}\r\n").as_bytes()).unwrap().extract_error().unwrap_err();
        let error = RedisError::from(parsed);
        assert_eq!((error.to_string(), error.code()), ("Redis: the server reported ERR".into(), Some("ERR")));
        assert_eq!(error.kind(), RedisErrorKind::Server);
        assert!(!format!("{error:?}").contains("hunter2"));
        let code = redis::parse_redis_value(b"-hunter2:\x1b[31m x\r\n").unwrap().extract_error().unwrap_err();
        assert_eq!(RedisError::from(code).code(), Some("an error"));
        let failed = redis::RedisError::from((ErrorKind::AuthenticationFailed, "failed", text.to_owned()));
        assert!(!format!("{0} {0:?}", RedisError::from(failed)).contains("hunter2"));
        let client = redis::RedisError::from((ErrorKind::InvalidClientConfig, "bad", text.to_owned()));
        assert!(!format!("{0} {0:?}", RedisError::from(client)).contains("hunter2"));
    }
}
