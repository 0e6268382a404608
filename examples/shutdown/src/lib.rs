//! Stops an example when a supervisor or the user asks for it.

use std::time::Duration;

/// How long open connections may finish their requests. Supervisors kill a process after ten seconds.
const GRACE: Duration = Duration::from_secs(3);

/// Resolves on the first SIGTERM or SIGINT (Ctrl-C), for the graceful shutdown of a server. The process exits with
/// success after three more seconds, or on a second signal, even if a client keeps its connection.
pub async fn signal() {
    next().await;
    tokio::spawn(async {
        let _ = tokio::time::timeout(GRACE, next()).await;
        std::process::exit(0);
    });
}

#[cfg(unix)]
async fn next() {
    use tokio::signal::unix::{SignalKind, signal};

    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
        }
        // Without a handler, the system ends the process.
        Err(_) => std::future::pending().await,
    }
}

#[cfg(not(unix))]
async fn next() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending().await
    }
}
