//! Telling phones that listen when to look again: those of this process, and those of other servers on one database.

#[cfg(feature = "postgres")]
use std::time::Duration;

#[cfg(feature = "postgres")]
use sqlx::Executor;
#[cfg(feature = "postgres")]
use tokio::time::{sleep, timeout};

use super::Server;
#[cfg(feature = "postgres")]
use crate::store::{Database, query};

#[cfg(feature = "postgres")]
const CHANNEL: &str = "toopher_events";
/// How often a connection over which nothing comes is looked at.
#[cfg(feature = "postgres")]
const QUIET: Duration = Duration::from_secs(10);
/// How long an answer to that is waited for, and how long a connection is left alone after trouble.
#[cfg(feature = "postgres")]
const TROUBLE: Duration = Duration::from_secs(2);

impl Server {
    /// Tells a device that something waits for it, or does no longer. It is a hint: what it is about is in the database,
    /// and phones that listen are told to look from time to time in any case.
    pub(super) async fn notify(&self, device: Option<&str>) {
        let Some(device) = device else { return };
        self.notify_here(device);
        #[cfg(feature = "postgres")]
        if let Database::Postgres(_) = self.database {
            let told = query("SELECT pg_notify($1, $2)").bind(CHANNEL);
            let told = told.bind(format!("{} {device}", self.shared.instance)).rows(&self.database).await;
            if let Err(error) = told {
                tracing::warn!(%error, "other servers could not be told that a phone should look");
            }
        }
    }

    fn notify_here(&self, device: &str) {
        // No phone listening is no error.
        let _ = self.shared.events.send(device.into());
    }

    /// Passes on to the phones that listen here what other servers on the same PostgreSQL database tell them. Run it beside
    /// the router; it never ends. On SQLite there are no other servers, and it does nothing.
    ///
    /// Once a connection is back that was lost, all of them are told to look. In any case they are every 30 seconds.
    pub async fn relay_events(&self) {
        #[cfg(feature = "postgres")]
        if let Database::Postgres(database) = &self.database {
            loop {
                let error = match database.listener().await {
                    Ok(listener) => self.listen(listener).await,
                    Err(error) => error,
                };
                tracing::warn!(%error, "the connection is lost over which other servers tell what phones should see");
                sleep(TROUBLE).await;
            }
        }
        std::future::pending().await
    }

    /// Listens until there is trouble.
    #[cfg(feature = "postgres")]
    async fn listen(&self, mut listener: sqlx::postgres::PgListener) -> sqlx::Error {
        let late = || sqlx::Error::Io(std::io::ErrorKind::TimedOut.into());
        match timeout(TROUBLE, listener.listen(CHANNEL)).await {
            Err(_) => return late(),
            Ok(Err(error)) => return error,
            Ok(Ok(())) => {}
        }
        // What was told meanwhile is lost.
        self.notify_here(EVERYBODY);
        loop {
            match timeout(QUIET, listener.try_recv()).await {
                Ok(Ok(Some(told))) => match told.payload().split_once(' ') {
                    Some((instance, _)) if instance == self.shared.instance => {}
                    Some((_, device)) => self.notify_here(device),
                    None => {}
                },
                Ok(Ok(None)) => return sqlx::Error::Io(std::io::ErrorKind::ConnectionReset.into()),
                Ok(Err(error)) => return error,
                // Nothing comes from one that has been replaced, either.
                Err(_) => match timeout(TROUBLE, listener.fetch_one("SELECT 1 / (NOT pg_is_in_recovery())::int")).await
                {
                    Err(_) => return late(),
                    Ok(Err(error)) => return error,
                    Ok(Ok(_)) => {}
                },
            }
        }
    }
}

/// In place of a device: all look.
pub(super) const EVERYBODY: &str = "";
