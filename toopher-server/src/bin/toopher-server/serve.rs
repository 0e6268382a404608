//! Serves calls until the program is stopped.

use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroU32;
use std::path::Path;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::get;
use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use http::StatusCode;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use toopher_server::Server;

use crate::config::Config;
use crate::database_url::require_single_replica;
use crate::demo::demo;
use crate::error::Error;
use crate::failure_store::FailureStore;
use crate::message_command::send;
use crate::open::{database_url, open};
use crate::options::{Common, Serve};

/// How often expired rows are deleted from the database.
const CLEANUP_INTERVAL: Duration = Duration::from_secs(300);
/// How long the headers of a request may take.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long requests in progress may take after the program is stopped.
const GRACE_PERIOD: Duration = Duration::from_secs(10);

pub(crate) async fn serve(common: &Common, options: Serve, config: &Config) -> Result<(), Error> {
    let listen = options.listen.or(config.listen).unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8080)));
    let tls = match (options.tls_cert.or(config.tls_cert.clone()), options.tls_key.or(config.tls_key.clone())) {
        (Some(certificate), Some(key)) => Some(tls(&certificate, &key).await?),
        (None, None) => None,
        _ => return Err("TLS needs both --tls-cert and --tls-key".into()),
    };
    let replicas = options.replicas.or(config.replicas).unwrap_or(NonZeroU32::MIN);
    if options.demo && replicas.get() > 1 {
        return Err(require_single_replica(replicas, "--demo keeps everything in memory"));
    }
    database_url(common, config)?.check_replicas(replicas)?;
    let listener = TcpListener::bind(listen).map_err(|error| format!("{listen}: {error}"))?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    let default = format!("{scheme}://{}", listener.local_addr()?);
    let public_url = options.public_url.or(config.public_url.clone());

    let server = if options.demo {
        let base_url = std::env::var("TOOPHER_BASE_URL").ok();
        let base_url = base_url.map(|url| url.trim_end_matches('/').trim_end_matches("/v1").to_owned());
        let public_url = public_url.or(base_url).unwrap_or(default);
        let server = Server::in_memory(&public_url).await?;
        // The nonces of calls before a restart are lost.
        server.reject_earlier_calls().await?;
        demo(&server, &public_url).await?;
        server
    } else {
        let failure_store = FailureStore::new(&common.failure_store, config)?;
        let server = open(common, config, &failure_store, &public_url.unwrap_or(default)).await?;
        failure_store.claim(&server).await?;
        server
    };
    let clock_skew = options.clock_skew.or(config.clock_skew).unwrap_or(300);
    let server = server.clock_skew(Duration::from_secs(clock_skew));

    let server = match options.message_command.or(config.message_command.clone()) {
        Some(program) => server.messenger(move |message| send(program.clone(), message)),
        None => server,
    };

    let handle = Handle::new();
    tokio::spawn(stop(handle.clone(), shutdown_signal()));
    tokio::spawn(cleanup(server.clone()));
    tokio::spawn({
        let server = server.clone();
        async move { server.forward_notifications().await }
    });
    let app = app(server).into_make_service();
    tracing::info!(address = %listener.local_addr()?, tls = tls.is_some(), "listening");
    match tls {
        None => {
            let mut http = axum_server::from_tcp(listener)?.handle(handle);
            set_http_timeouts(http.http_builder());
            http.serve(app).await?;
        }
        Some(tls) => {
            let mut https = axum_server::from_tcp_rustls(listener, tls)?.handle(handle);
            set_http_timeouts(https.http_builder());
            https.serve(app).await?;
        }
    }
    tracing::info!("stopped");
    Ok(())
}

/// Sets time limits, so that a client that sends no headers does not keep its connection.
fn set_http_timeouts(http: &mut hyper_util::server::conn::auto::Builder<TokioExecutor>) {
    http.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    http.http2().timer(TokioTimer::new()).keep_alive_interval(HEADER_TIMEOUT).keep_alive_timeout(HEADER_TIMEOUT);
}

async fn tls(certificate: &Path, key: &Path) -> Result<RustlsConfig, Error> {
    let config = RustlsConfig::from_pem_file(certificate, key).await;
    config.map_err(|error| format!("{} and {}: {error}", certificate.display(), key.display()).into())
}

/// The API and the probes. Each call has a line in the log, with its path, and without query, headers and body. The
/// audit events of decisions come from the library.
fn app(server: Server) -> Router {
    let ready = server.clone();
    let readyz = move || {
        let server = ready.clone();
        async move {
            match server.ready().await {
                Ok(()) => (StatusCode::OK, "ready\n"),
                Err(error) => {
                    tracing::error!(%error, "not ready");
                    (StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
                }
            }
        }
    };
    server.router().layer(from_fn(log)).route("/healthz", get(|| async { "alive\n" })).route("/readyz", get(readyz))
}

async fn log(request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), without_token(request.uri().path()));
    let start = Instant::now();
    let response = next.run(request).await;
    tracing::info!(%method, path, status = response.status().as_u16(), took = ?start.elapsed(), "call");
    response
}

/// The path without the token of a page, which authorizes its actions.
fn without_token(path: &str) -> String {
    match path.split_once("/web/session/") {
        Some((before, _)) => format!("{before}/web/session/..."),
        None => path.to_owned(),
    }
}

/// Completes on SIGTERM or Ctrl-C. SIGTERM is handled from the call on, not only from the first poll.
fn shutdown_signal() -> impl Future<Output = ()> {
    let interrupt = tokio::signal::ctrl_c();
    #[cfg(unix)]
    let terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate());
    async move {
        #[cfg(unix)]
        match terminate {
            Ok(mut terminate) => tokio::select! {
                _ = interrupt => {}
                _ = terminate.recv() => {}
            },
            Err(error) => {
                tracing::warn!(%error, "no handler for SIGTERM: it will end the program without a graceful shutdown");
                let _ = interrupt.await;
            }
        }
        #[cfg(not(unix))]
        let _ = interrupt.await;
    }
}

async fn stop(handle: Handle<SocketAddr>, signal: impl Future<Output = ()>) {
    signal.await;
    tracing::info!("stopping");
    handle.graceful_shutdown(Some(GRACE_PERIOD));
}

async fn cleanup(server: Server) {
    loop {
        tokio::time::sleep(CLEANUP_INTERVAL).await;
        if let Err(error) = server.cleanup().await {
            tracing::warn!(%error, "could not delete expired rows");
        }
    }
}
