//! Notifications of connected phones, of this server and of other servers on the same PostgreSQL database.

#[cfg(feature = "postgres")]
use std::time::Duration;

#[cfg(feature = "postgres")]
use tokio::time::sleep;
#[cfg(feature = "postgres")]
use toopher_sql::{Listener, SqlError, query};

use crate::state::Server;

#[cfg(feature = "postgres")]
const CHANNEL: &str = "toopher_events";
/// The pause before a new connection.
#[cfg(feature = "postgres")]
const RETRY: Duration = Duration::from_secs(2);

impl Server {
    /// Notifies a device that its requests or pairings have changed. A notification is a hint: the device reads the
    /// changes from the API, and phones are notified at intervals in any case.
    pub(crate) async fn notify(&self, device: Option<&str>) {
        let Some(device) = device else { return };
        self.shared.listeners.notify(device);
        #[cfg(feature = "postgres")]
        if self.database.is_shared() {
            let notify = query("SELECT pg_notify($1, $2)").bind(CHANNEL);
            let notify = notify.bind(format!("{} {device}", self.shared.instance));
            if let Err(error) = notify.rows(&self.database).await {
                tracing::warn!(%error, "could not notify other servers of a change for a phone");
            }
        }
    }

    /// Ends the event streams of phones, present and future ones. Call it before the server stops: a graceful shutdown
    /// otherwise waits for them. Phones connect again.
    pub fn shutdown(&self) {
        self.shared.listeners.stop();
    }

    /// Forwards the notifications of other servers on the same PostgreSQL database to the phones that are connected to
    /// this one. Run it beside the router. It never returns. On SQLite there are no other servers, and it does nothing.
    ///
    /// After a lost connection is restored, all phones are notified. They are notified every 30 seconds in any case.
    pub async fn forward_notifications(&self) {
        #[cfg(feature = "postgres")]
        loop {
            let error = match self.database.listen(CHANNEL).await {
                Ok(Some(listener)) => self.listen(listener).await,
                Ok(None) => break,
                Err(error) => error,
            };
            tracing::warn!(%error, "lost the connection for notifications of other servers");
            sleep(RETRY).await;
        }
        std::future::pending().await
    }

    /// Forwards notifications until an error.
    #[cfg(feature = "postgres")]
    async fn listen(&self, mut listener: Listener) -> SqlError {
        // Notifications before this are lost.
        self.shared.listeners.notify_all();
        loop {
            match listener.next().await {
                Ok(notification) => match notification.split_once(' ') {
                    Some((instance, _)) if instance == self.shared.instance => {}
                    Some((_, device)) => self.shared.listeners.notify(device),
                    None => {}
                },
                Err(error) => return error,
            }
        }
    }
}
