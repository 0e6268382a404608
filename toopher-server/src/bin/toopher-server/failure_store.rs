//! The options of the failure store: the database, or Redis.

use std::path::{Path, PathBuf};

use clap::Args;
use toopher_server::Server;

use crate::config::Config;
use crate::error::Error;
use crate::secret_file::read_secret;

const PASSWORD: &str = "TOOPHER_SERVER_FAILURE_STORE_PASSWORD";

#[derive(Args)]
pub(crate) struct FailureStoreOptions {
    /// Where failures and used codes are stored: "database", or redis://user@host:6379/0 [default: database]
    ///
    /// All servers on one database must use the same failure store, and so must the other commands. rediss:// is Redis
    /// over TLS. The password of Redis is read from the environment variable TOOPHER_SERVER_FAILURE_STORE_PASSWORD, or
    /// from a file.
    #[arg(
        long,
        global = true,
        env = "TOOPHER_SERVER_FAILURE_STORE",
        hide_env_values = true,
        value_name = "database|URL"
    )]
    failure_store: Option<String>,
    /// A file with the password of Redis
    #[arg(long, global = true, env = "TOOPHER_SERVER_FAILURE_STORE_PASSWORD_FILE", value_name = "FILE")]
    failure_store_password_file: Option<PathBuf>,
    /// The prefix of all keys in Redis, the same for all servers [default: toopher]
    #[arg(long, global = true, env = "TOOPHER_SERVER_FAILURE_STORE_PREFIX", value_name = "TEXT")]
    failure_store_prefix: Option<String>,
    /// A PEM file with the root certificates for Redis, instead of those that the system trusts
    #[arg(long, global = true, env = "TOOPHER_SERVER_FAILURE_STORE_CA", value_name = "FILE")]
    failure_store_ca: Option<PathBuf>,
}

/// The value of `--failure-store`.
pub(crate) enum FailureStore {
    Database,
    Redis { url: String, prefix: Option<String>, ca: Option<PathBuf> },
}

impl FailureStore {
    pub(crate) fn new(options: &FailureStoreOptions, config: &Config) -> Result<Self, Error> {
        let value = options.failure_store.as_ref().or(config.failure_store.as_ref());
        let prefix = options.failure_store_prefix.as_ref().or(config.failure_store_prefix.as_ref()).cloned();
        let ca = options.failure_store_ca.as_ref().or(config.failure_store_ca.as_ref()).cloned();
        let file = options.failure_store_password_file.as_ref();
        let file = file.or(config.failure_store_password_file.as_ref());
        let for_redis = prefix.is_some() || ca.is_some() || file.is_some() || std::env::var_os(PASSWORD).is_some();
        let url = match value.map(String::as_str) {
            None | Some("database") if !for_redis => return Ok(Self::Database),
            None | Some("database") => {
                // Without this error, a missing URL would silently select the database.
                return Err(
                    "a password, prefix or certificates are set, but no URL of Redis: --failure-store redis://..."
                        .into(),
                );
            }
            Some(url) if url.contains("://") => url,
            // Without the value, which may contain a password.
            Some(_) => {
                return Err("--failure-store is neither \"database\" nor a URL that begins with redis://".into());
            }
        };
        if has_password(url) && std::env::args().any(|argument| argument.contains(url)) {
            tracing::warn!("others can read the password of Redis: set {PASSWORD} instead");
        }
        Ok(Self::Redis { url: with_password(url, password(file.map(PathBuf::as_path))?)?, prefix, ca })
    }

    /// Configures the failure store of the server. It does not connect yet.
    pub(crate) fn apply(&self, server: Server) -> Result<Server, Error> {
        match self {
            Self::Database => Ok(server),
            Self::Redis { url, prefix, ca } => in_redis(server, url, prefix.as_deref(), ca.as_deref()),
        }
    }

    /// The URL without secrets, for error messages.
    fn address(&self) -> String {
        match self {
            Self::Database => "database".into(),
            Self::Redis { url, .. } => without_secrets(url),
        }
    }

    /// Checks that Redis can be used, if the store is there.
    pub(crate) async fn check(&self, server: &Server) -> Result<(), Error> {
        server.check_failure_store().await.map_err(|error| {
            let remedy = "it must run, be reachable from here, and accept the user and the password";
            format!("--failure-store {}: {error}; {remedy}", self.address()).into()
        })
    }

    /// Checks, before calls are served, that the other servers use the same store.
    pub(crate) async fn claim(&self, server: &Server) -> Result<(), Error> {
        self.check(server).await?;
        Ok(server.claim_failure_store().await?)
    }
}

#[cfg(feature = "redis")]
fn in_redis(server: Server, url: &str, prefix: Option<&str>, ca: Option<&Path>) -> Result<Server, Error> {
    use tower_toopher::store::RedisStore;
    let store = match ca {
        None => RedisStore::new(url),
        #[cfg(feature = "redis")]
        Some(file) => {
            let roots =
                std::fs::read(file).map_err(|error| format!("--failure-store-ca {}: {error}", file.display()))?;
            RedisStore::with_roots(url, &roots)
        }
    };
    let store = store.map_err(|error| format!("--failure-store: {error}"))?;
    let store = match prefix {
        Some(prefix) => store.prefix(prefix).map_err(|error| format!("--failure-store-prefix: {error}"))?,
        None => store,
    };
    Ok(server.failure_store_in_redis(store))
}

#[cfg(not(feature = "redis"))]
fn in_redis(_: Server, _: &str, _: Option<&str>, _: Option<&Path>) -> Result<Server, Error> {
    Err("this program was built without Redis: build it with --features redis".into())
}

fn password(file: Option<&Path>) -> Result<Option<String>, Error> {
    let password = match (std::env::var(PASSWORD), file) {
        (Ok(_), Some(_)) => {
            return Err(format!("the password of Redis is in {PASSWORD} and in a file: set one of them").into());
        }
        (Ok(password), None) => password,
        (Err(std::env::VarError::NotUnicode(_)), _) => return Err(format!("{PASSWORD} is not UTF-8").into()),
        (Err(_), None) => return Ok(None),
        (Err(_), Some(file)) => {
            let text = read_secret(file);
            let text = text.map_err(|error| format!("--failure-store-password-file {}: {error}", file.display()))?;
            text.trim_end_matches(['\r', '\n']).to_owned()
        }
    };
    // Redis might accept an empty password where a real one was intended.
    if password.is_empty() { Err("the password of Redis is empty".into()) } else { Ok(Some(password)) }
}

/// The parts of a URL: the scheme, the user with the password, and the rest.
fn parts(url: &str) -> (&str, Option<&str>, &str) {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    match rest.rsplit_once('@') {
        Some((user, rest)) => (scheme, Some(user), rest),
        None => (scheme, None, rest),
    }
}

fn is_socket(scheme: &str) -> bool {
    scheme == "unix" || scheme.ends_with("+unix")
}

fn has_password(url: &str) -> bool {
    let (scheme, user, rest) = parts(url);
    if is_socket(scheme) {
        url.contains("pass=")
    } else {
        user.is_some_and(|user| user.contains(':')) || rest.contains("pass=")
    }
}

/// The URL with the password, as the store expects it.
fn with_password(url: &str, password: Option<String>) -> Result<String, Error> {
    let Some(password) = password else { return Ok(url.to_owned()) };
    if has_password(url) {
        return Err("--failure-store contains a password, and another one is set: set one of them".into());
    }
    let (scheme, user, rest) = parts(url);
    if is_socket(scheme) {
        let password: String = form_urlencoded::byte_serialize(password.as_bytes()).collect();
        let joint = if url.contains('?') { '&' } else { '?' };
        return Ok(format!("{url}{joint}pass={password}"));
    }
    let password = percent_encoding::utf8_percent_encode(&password, percent_encoding::NON_ALPHANUMERIC);
    Ok(format!("{scheme}://{}:{password}@{rest}", user.unwrap_or_default()))
}

/// The URL without the user, the password and the parameters.
fn without_secrets(url: &str) -> String {
    let (scheme, _, rest) = parts(url);
    format!("{scheme}://{}", rest.split(['?', '#']).next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_inserted_and_never_shown() {
        let odd = "p@ss:/?#[]% \u{e9}&=+";
        for (url, expected) in [
            ("redis://10.0.0.7", "redis://10.0.0.7"),
            ("redis://app@10.0.0.7:6380/2", "redis://10.0.0.7:6380/2"),
            ("rediss://[::1]:6380", "rediss://[::1]:6380"),
            ("unix:///run/redis.sock", "unix:///run/redis.sock"),
            ("redis+unix:///run/redis.sock?db=1&user=app", "redis+unix:///run/redis.sock"),
        ] {
            let whole = with_password(url, Some(odd.into())).unwrap_or_default();
            assert!(has_password(&whole) && !has_password(url), "{whole}");
            assert_eq!(without_secrets(&whole), expected);
            #[cfg(feature = "redis")]
            assert!(tower_toopher::store::RedisStore::new(&whole).is_ok(), "{whole}");
            assert!(with_password(&whole, Some("two".into())).is_err());
            assert!(with_password(url, None).is_ok_and(|same| same == url));
        }
        for url in
            ["redis://app:no@10.0.0.7", "redis://:no@10.0.0.7?x=y@z", "unix:///s?pass=no", "redis://a:n@o@10.0.0.7"]
        {
            assert!(has_password(url) && !without_secrets(url).contains("no"), "{url}");
        }
    }
}
