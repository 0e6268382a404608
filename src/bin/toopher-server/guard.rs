//! Where failures and spent codes are: in the database, or in Redis.

use std::path::{Path, PathBuf};

use clap::Args;
use tower_toopher::server::Server;

use crate::{Config, Failure};

const PASSWORD: &str = "TOOPHER_SERVER_GUARD_PASSWORD";

#[derive(Args)]
pub(crate) struct GuardOptions {
    /// Where failures and spent codes are kept: "database", or redis://user@host:6379/0 [default: database]
    ///
    /// All servers on one database keep them in the same place, and the commands must know it, too. With TLS it is
    /// rediss://. The password of Redis is taken from the environment variable TOOPHER_SERVER_GUARD_PASSWORD, or from a
    /// file.
    #[arg(long, global = true, env = "TOOPHER_SERVER_GUARD", hide_env_values = true, value_name = "database|URL")]
    guard: Option<String>,
    /// A file with the password of Redis
    #[arg(long, global = true, env = "TOOPHER_SERVER_GUARD_PASSWORD_FILE", value_name = "FILE")]
    guard_password_file: Option<PathBuf>,
    /// What all keys in Redis begin with, the same for all servers [default: toopher]
    #[arg(long, global = true, env = "TOOPHER_SERVER_GUARD_PREFIX", value_name = "TEXT")]
    guard_prefix: Option<String>,
    /// A PEM file with the certificates that Redis is trusted by, in place of those that the system trusts
    #[arg(long, global = true, env = "TOOPHER_SERVER_GUARD_CA", value_name = "FILE")]
    guard_ca: Option<PathBuf>,
}

/// What `--guard` says.
pub(crate) enum Guard {
    Database,
    Redis { url: String, prefix: Option<String>, ca: Option<PathBuf> },
}

impl Guard {
    pub(crate) fn new(options: &GuardOptions, config: &Config) -> Result<Self, Failure> {
        let said = options.guard.as_ref().or(config.guard.as_ref());
        let prefix = options.guard_prefix.as_ref().or(config.guard_prefix.as_ref()).cloned();
        let ca = options.guard_ca.as_ref().or(config.guard_ca.as_ref()).cloned();
        let file = options.guard_password_file.as_ref().or(config.guard_password_file.as_ref());
        let more = prefix.is_some() || ca.is_some() || file.is_some() || std::env::var_os(PASSWORD).is_some();
        let url = match said.map(String::as_str) {
            None | Some("database") if !more => return Ok(Self::Database),
            None | Some("database") => {
                // Whoever has said so much does not mean the database.
                return Err(
                    "its password, prefix or certificates are given, but not where Redis is: --guard redis://..."
                        .into(),
                );
            }
            Some(url) if url.contains("://") => url,
            // Not what it says, since a password may be part of it.
            Some(_) => return Err("--guard is neither \"database\" nor an address that begins with redis://".into()),
        };
        if has_password(url) && std::env::args().any(|argument| argument.contains(url)) {
            tracing::warn!("others can read the password of Redis: give it by {PASSWORD}");
        }
        Ok(Self::Redis { url: with_password(url, password(file.map(PathBuf::as_path))?)?, prefix, ca })
    }

    /// The server, with its failures and spent codes where they are to be. Nothing is connected to yet.
    pub(crate) fn of(&self, server: Server) -> Result<Server, Failure> {
        match self {
            Self::Database => Ok(server),
            Self::Redis { url, prefix, ca } => in_redis(server, url, prefix.as_deref(), ca.as_deref()),
        }
    }

    /// Where it is, for whoever is told that it cannot be used.
    fn address(&self) -> String {
        match self {
            Self::Database => "database".into(),
            Self::Redis { url, .. } => without_secrets(url),
        }
    }

    /// Asks Redis, if it is there, whether it can be used.
    pub(crate) async fn check(&self, server: &Server) -> Result<(), Failure> {
        server.check_guard().await.map_err(|error| {
            let remedy = "it must run, be reached from here, and take the user and the password that it is given";
            format!("--guard {}: {error}; {remedy}", self.address()).into()
        })
    }

    /// Looks, before anybody is served, whether the other servers have it there, too.
    pub(crate) async fn settle(&self, server: &Server) -> Result<(), Failure> {
        self.check(server).await?;
        Ok(server.settle_guard().await?)
    }
}

#[cfg(feature = "redis")]
fn in_redis(server: Server, url: &str, prefix: Option<&str>, ca: Option<&Path>) -> Result<Server, Failure> {
    use tower_toopher::store::RedisStore;
    let store = match ca {
        None => RedisStore::new(url),
        #[cfg(feature = "redis-tls")]
        Some(file) => {
            let roots = std::fs::read(file).map_err(|error| format!("--guard-ca {}: {error}", file.display()))?;
            RedisStore::with_roots(url, &roots)
        }
        #[cfg(not(feature = "redis-tls"))]
        Some(_) => {
            return Err("this program was built without TLS to Redis: build it with --features server,redis-tls".into());
        }
    };
    let store = store.map_err(|error| format!("--guard: {error}"))?;
    let store = match prefix {
        Some(prefix) => store.prefix(prefix).map_err(|error| format!("--guard-prefix: {error}"))?,
        None => store,
    };
    Ok(server.guard_in_redis(store))
}

#[cfg(not(feature = "redis"))]
fn in_redis(_: Server, _: &str, _: Option<&str>, _: Option<&Path>) -> Result<Server, Failure> {
    Err("this program was built without Redis: build it with --features server,redis (for rediss://, server,redis-tls)"
        .into())
}

fn password(file: Option<&Path>) -> Result<Option<String>, Failure> {
    let password = match (std::env::var(PASSWORD), file) {
        (Ok(_), Some(_)) => {
            return Err(format!("the password of Redis is in {PASSWORD} and in a file: give one").into());
        }
        (Ok(password), None) => password,
        (Err(std::env::VarError::NotUnicode(_)), _) => return Err(format!("{PASSWORD} is not UTF-8").into()),
        (Err(_), None) => return Ok(None),
        (Err(_), Some(file)) => {
            let text = crate::read_secret(file);
            let text = text.map_err(|error| format!("--guard-password-file {}: {error}", file.display()))?;
            text.trim_end_matches(['\r', '\n']).to_owned()
        }
    };
    // Without one, what was meant to be refused might not be.
    if password.is_empty() { Err("the password of Redis is empty".into()) } else { Ok(Some(password)) }
}

/// The parts of an address: its scheme, who asks, and where.
fn parts(url: &str) -> (&str, Option<&str>, &str) {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    match rest.rsplit_once('@') {
        Some((user, place)) => (scheme, Some(user), place),
        None => (scheme, None, rest),
    }
}

fn is_socket(scheme: &str) -> bool {
    scheme == "unix" || scheme.ends_with("+unix")
}

fn has_password(url: &str) -> bool {
    let (scheme, user, place) = parts(url);
    if is_socket(scheme) {
        url.contains("pass=")
    } else {
        user.is_some_and(|user| user.contains(':')) || place.contains("pass=")
    }
}

/// The address with the password in it, as the store takes it.
fn with_password(url: &str, password: Option<String>) -> Result<String, Failure> {
    let Some(password) = password else { return Ok(url.to_owned()) };
    if has_password(url) {
        return Err("--guard has a password, and another one is given beside it: give one".into());
    }
    let (scheme, user, place) = parts(url);
    if is_socket(scheme) {
        let password: String = form_urlencoded::byte_serialize(password.as_bytes()).collect();
        let joint = if url.contains('?') { '&' } else { '?' };
        return Ok(format!("{url}{joint}pass={password}"));
    }
    let password = percent_encoding::utf8_percent_encode(&password, percent_encoding::NON_ALPHANUMERIC);
    Ok(format!("{scheme}://{}:{password}@{place}", user.unwrap_or_default()))
}

/// Where it is, and nothing that opens it.
fn without_secrets(url: &str) -> String {
    let (scheme, _, place) = parts(url);
    format!("{scheme}://{}", place.split(['?', '#']).next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_put_where_they_belong_and_never_shown() {
        let odd = "p@ss:/?#[]% \u{e9}&=+";
        for (url, expected) in [
            ("redis://10.0.0.7", "redis://10.0.0.7"),
            ("redis://gate@10.0.0.7:6380/2", "redis://10.0.0.7:6380/2"),
            ("rediss://[::1]:6380", "rediss://[::1]:6380"),
            ("unix:///run/redis.sock", "unix:///run/redis.sock"),
            ("redis+unix:///run/redis.sock?db=1&user=gate", "redis+unix:///run/redis.sock"),
        ] {
            let whole = with_password(url, Some(odd.into())).unwrap_or_default();
            assert!(has_password(&whole) && !has_password(url), "{whole}");
            assert_eq!(without_secrets(&whole), expected);
            #[cfg(feature = "redis-tls")]
            assert!(tower_toopher::store::RedisStore::new(&whole).is_ok(), "{whole}");
            assert!(with_password(&whole, Some("two".into())).is_err());
            assert!(with_password(url, None).is_ok_and(|same| same == url));
        }
        for url in
            ["redis://gate:no@10.0.0.7", "redis://:no@10.0.0.7?x=y@z", "unix:///s?pass=no", "redis://a:n@o@10.0.0.7"]
        {
            assert!(has_password(url) && !without_secrets(url).contains("no"), "{url}");
        }
    }
}
