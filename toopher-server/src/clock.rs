//! The clock of a server.

use std::time::Duration;

use tower_toopher::time::{Clock, UnixTime};

use crate::api_error::ApiError;
use crate::clock_check::ClockCheck;
use crate::error::ServerError;
use crate::state::Server;

impl Server {
    /// Sets the clock, which is not compared with others then. Default: the clock of the operating system.
    #[must_use]
    pub fn clock(mut self, clock: impl Into<Clock>) -> Self {
        let clock = clock.into();
        self.verifier = self.verifier.clock(clock.clone());
        self.clock_check = None;
        self.clock = clock;
        self
    }

    /// Sets whether [`cleanup`](Self::cleanup) compares the clock with the monotonic clock of the operating system, and
    /// with the clock of PostgreSQL. Default: `true`, and `false` after [`clock`](Self::clock).
    ///
    /// Without the comparison, a clock that is ahead during one cleanup deletes what is still needed, and all signed
    /// calls are rejected until that time comes or [`repair_clock`](Self::repair_clock) is called.
    ///
    /// # Errors
    ///
    /// When the clock is before the Unix epoch.
    pub fn compare_clock(mut self, compare: bool) -> Result<Self, ServerError> {
        self.clock_check = if compare { Some(ClockCheck::new(self.admin_now()?)) } else { None };
        Ok(self)
    }

    /// Sets the maximum difference between the timestamp of a call and the server's time. Default: 300 seconds.
    ///
    /// Nonces are stored for twice this time, so a larger skew needs more space. A call whose nonce was deleted under a
    /// smaller skew stays rejected.
    #[must_use]
    pub fn clock_skew(mut self, skew: Duration) -> Self {
        self.clock_skew = skew;
        self
    }

    pub(crate) fn now(&self) -> Result<UnixTime, ApiError> {
        self.clock.now().map_err(|error| ApiError::internal(&error))
    }

    /// The time as it is in the database, in seconds.
    pub(crate) fn now_i64(&self) -> Result<i64, ApiError> {
        i64::try_from(self.now()?.as_secs()).map_err(|error| ApiError::internal(&error))
    }

    /// The same for administrative operations, whose error is not a response.
    pub(crate) fn admin_now(&self) -> Result<i64, ServerError> {
        Ok(i64::try_from(self.clock.now()?.as_secs()).unwrap_or(i64::MAX))
    }

    pub(crate) fn clock_skew_secs(&self) -> u64 {
        self.clock_skew.as_secs()
    }
}
