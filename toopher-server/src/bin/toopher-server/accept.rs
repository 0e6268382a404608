//! Accepts connections.

use std::io::{Error, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::connection::serve;
use crate::connections::Connections;
use crate::tls::Tls;

/// The pause after an error that is not of one connection.
const PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections, each within the limits of their number. It never returns.
pub(crate) async fn accept(
    listener: &TcpListener,
    tls: Option<&Tls>,
    app: &Router,
    connections: &Arc<Connections>,
    stopping: &watch::Receiver<bool>,
) {
    loop {
        let (stream, client) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) if is_of_one_connection(&error) => continue,
            Err(error) => {
                // Above all EMFILE and ENFILE: no files are left. The next attempt would fail at once, too.
                tracing::error!(%error, "could not accept connections");
                let _ = timeout(PAUSE, connections.close_one()).await;
                sleep(PAUSE).await;
                continue;
            }
        };
        let Some(permit) = connections.admit(client.ip()).await else { continue };
        // Events and responses are small, and are sent at once.
        let _ = stream.set_nodelay(true);
        let tls = tls.map(Tls::acceptor);
        tokio::spawn(serve(stream, client.ip(), tls, app.clone(), permit, stopping.clone()));
    }
}

/// Errors of a connection that was closed before it was accepted.
fn is_of_one_connection(error: &Error) -> bool {
    use ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
