//! What every mode uses: the users, their codes, the clock, and the inner service.

use std::hint::black_box;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::SystemTime;

use axum::Router;
use axum::http::HeaderMap;
use axum::routing::any;
use tower_toopher::time::UnixTime;
use tower_toopher::totp::{Secret, Totp};
use tower_toopher::{Otp, UserId};

pub(crate) type BoxError = Box<dyn std::error::Error>;

pub(crate) struct Load {
    pub(crate) address: SocketAddr,
    /// The fixed time of the server's clock, in seconds since the Unix epoch.
    pub(crate) now: u64,
    pub(crate) users: Vec<User>,
    pub(crate) database: PathBuf,
}

pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) secret: Vec<u8>,
}

pub(crate) fn users_with_secrets(count: usize) -> Vec<User> {
    let names = (0..count).map(|i| format!("user-{i:06}"));
    names.map(|name| User { secret: format!("{name:->20}").into_bytes(), name }).collect()
}

impl Load {
    /// Returns the fixed clock. It also reads the system clock, so that a reading takes a realistic time.
    pub(crate) fn clock(&self) -> impl Fn() -> UnixTime + Clone + Send + Sync + use<> {
        let now = UnixTime::from_secs(self.now);
        move || {
            black_box(SystemTime::now());
            now
        }
    }

    /// Returns every user with every code within `reach` steps of the current one, the oldest codes first.
    pub(crate) fn codes(&self, reach: i64) -> impl Iterator<Item = (&str, Otp)> {
        (-reach..=reach).flat_map(move |step| {
            let time = UnixTime::from_secs(self.now.saturating_add_signed(step * 30));
            self.users.iter().map(move |user| (user.name.as_str(), totp(&user.secret).code_at(time)))
        })
    }
}

pub(crate) fn inner_service() -> Router {
    Router::new().route("/", any(async || "in"))
}

pub(crate) fn totp(secret: &[u8]) -> Totp {
    Totp::new(Secret::from_bytes(secret).unwrap())
}

/// Identifies the user by a header, in place of a first factor, which is not measured.
pub(crate) fn user_of(headers: &HeaderMap) -> Option<UserId> {
    UserId::new(headers.get("x-user")?.to_str().ok()?).ok()
}
