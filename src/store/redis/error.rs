use std::fmt;

use redis::ErrorKind;

/// Why a [`RedisStore`](super::RedisStore) could not tell.
///
/// Of what the server says only the code is kept (`OOM`, `READONLY`): some servers repeat in their errors what they were
/// sent, passwords among it.
#[derive(Clone)]
pub struct RedisError(Trouble);

#[derive(Clone)]
enum Trouble {
    Url(&'static str),
    Deadline,
    Connection(redis::RedisError),
    Login,
    Server(String),
    Answer,
    Evicts(String),
    Runtime,
}

impl RedisError {
    pub(super) fn url(why: &'static str) -> Self {
        Self(Trouble::Url(why))
    }

    pub(super) fn deadline() -> Self {
        Self(Trouble::Deadline)
    }

    /// The answer is none of those that there are.
    pub(super) fn answer() -> Self {
        Self(Trouble::Answer)
    }

    pub(super) fn evicts(policy: &str) -> Self {
        Self(Trouble::Evicts(word(policy)))
    }

    /// There is none, or it has ended.
    pub(super) fn runtime() -> Self {
        Self(Trouble::Runtime)
    }

    /// Whether the answer did not come in time. What was asked for may have been done.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        match &self.0 {
            Trouble::Deadline => true,
            Trouble::Connection(error) => error.is_timeout(),
            _ => false,
        }
    }

    /// Whether there was no connection, or it broke. What was asked for may have been done.
    #[must_use]
    pub fn is_connection(&self) -> bool {
        matches!(self.0, Trouble::Connection(_))
    }

    /// The code of an error that the server answered with, such as `OOM`.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        match &self.0 {
            Trouble::Server(code) => Some(code),
            _ => None,
        }
    }

    /// Whether the server said so of itself: that it has become a replica, has lost its replicas or its disk, is full,
    /// or is not yet up. Another connection may be to another server, to which the name leads by now.
    pub(super) fn is_of_the_server(&self) -> bool {
        const OF_WHAT_WAS_ASKED: [&str; 6] = ["ERR", "WRONGTYPE", "NOSCRIPT", "NOPERM", "CROSSSLOT", "EXECABORT"];
        self.code().is_some_and(|code| !OF_WHAT_WAS_ASKED.contains(&code))
    }
}

impl From<redis::RedisError> for RedisError {
    fn from(error: redis::RedisError) -> Self {
        Self(match error.kind() {
            ErrorKind::Server(_) | ErrorKind::Extension => Trouble::Server(word(error.code().unwrap_or_default())),
            ErrorKind::AuthenticationFailed => Trouble::Login,
            ErrorKind::Parse | ErrorKind::UnexpectedReturnType => Trouble::Answer,
            _ => Trouble::Connection(error),
        })
    }
}

/// A word of the server's, or what stands for one that is not.
fn word(said: &str) -> String {
    let is_word = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    if said.is_empty() || said.len() > 32 || !said.bytes().all(is_word) { "an error".into() } else { said.into() }
}

impl fmt::Display for RedisError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redis: ")?;
        match &self.0 {
            Trouble::Url(why) => f.write_str(why),
            Trouble::Deadline => f.write_str("no answer in time"),
            // Only errors of the operating system and of TLS say more than what kind they are.
            Trouble::Connection(error) if error.is_io_error() => write!(f, "{error}"),
            Trouble::Connection(error) => f.write_str(error.category()),
            Trouble::Login => f.write_str("the server refused the user name or the password"),
            Trouble::Server(code) => write!(f, "the server answered {code}"),
            Trouble::Answer => f.write_str("an answer that is none"),
            Trouble::Evicts(policy) => {
                write!(f, "the server forgets under pressure: maxmemory-policy is {policy}, and must be noeviction")
            }
            Trouble::Runtime => f.write_str("there is no Tokio runtime to work in, or it has ended"),
        }
    }
}

/// The same words: the errors within know more than is told.
impl fmt::Debug for RedisError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisError({self})")
    }
}

impl std::error::Error for RedisError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.0 {
            Trouble::Connection(error) if error.is_io_error() => error.source(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_repeats_is_not_told() {
        let said = "ERR unknown command 'HELLO', with args beginning with: '3' 'AUTH' 'default' 'hunter2'";
        let parsed = redis::parse_redis_value(format!("-{said}\r\n").as_bytes()).unwrap().extract_error().unwrap_err();
        let error = RedisError::from(parsed);
        assert_eq!((error.to_string(), error.code()), ("Redis: the server answered ERR".into(), Some("ERR")));
        assert!(!format!("{error:?}").contains("hunter2"));
        let code = redis::parse_redis_value(b"-hunter2:\x1b[31m x\r\n").unwrap().extract_error().unwrap_err();
        assert_eq!(RedisError::from(code).code(), Some("an error"));
        let failed = redis::RedisError::from((ErrorKind::AuthenticationFailed, "failed", said.to_owned()));
        assert!(!format!("{0} {0:?}", RedisError::from(failed)).contains("hunter2"));
        let client = redis::RedisError::from((ErrorKind::InvalidClientConfig, "bad", said.to_owned()));
        assert!(!format!("{0} {0:?}", RedisError::from(client)).contains("hunter2"));
    }
}
