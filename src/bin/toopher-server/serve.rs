//! Answering calls until told to stop.

use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
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
use tower_toopher::server::{Message, Server};

use super::database::one_only;
use super::demo::demo;
use super::guard::Guard;
use super::options::{Common, Config, Serve};
use super::{Failure, open, place};

/// How often what is over is removed from the database.
const SWEEP: Duration = Duration::from_secs(300);
/// How long the headers of a request may take.
const HEADER_TIME: Duration = Duration::from_secs(10);
/// How long a message may take.
const MESSAGE_TIME: Duration = Duration::from_secs(20);
/// How long requests under way may take once the program is told to stop.
const GRACE: Duration = Duration::from_secs(10);

pub(super) async fn serve(common: &Common, options: Serve, config: &Config) -> Result<(), Failure> {
    let listen = options.listen.or(config.listen).unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8080)));
    let tls = match (options.tls_cert.or(config.tls_cert.clone()), options.tls_key.or(config.tls_key.clone())) {
        (Some(certificate), Some(key)) => Some(tls(&certificate, &key).await?),
        (None, None) => None,
        _ => return Err("TLS needs both --tls-cert and --tls-key".into()),
    };
    let replicas = options.replicas.or(config.replicas).unwrap_or(NonZeroU32::MIN);
    if options.demo && replicas.get() > 1 {
        return Err(one_only(replicas, "--demo keeps everything in memory"));
    }
    place(common, config)?.serves(replicas)?;
    let listener = TcpListener::bind(listen).map_err(|error| format!("{listen}: {error}"))?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    let default = format!("{scheme}://{}", listener.local_addr()?);
    let public_url = options.public_url.or(config.public_url.clone());

    let server = if options.demo {
        let from_outside = std::env::var("TOOPHER_BASE_URL").ok();
        let base_url = from_outside.map(|url| url.trim_end_matches('/').trim_end_matches("/v1").to_owned());
        let public_url = public_url.or(base_url).unwrap_or(default);
        let server = Server::in_memory(&public_url).await?;
        // What was answered before a restart is not known any more.
        server.refuse_earlier_calls().await?;
        demo(&server, &public_url).await?;
        server
    } else {
        let guard = Guard::new(&common.guard, config)?;
        let server = open(common, config, &guard, &public_url.unwrap_or(default)).await?;
        guard.settle(&server).await?;
        server
    };
    let window = options.clock_window.or(config.clock_window).unwrap_or(300);
    let server = server.clock_window_of(Duration::from_secs(window));

    let server = match options.message_command.or(config.message_command.clone()) {
        Some(program) => server.messenger(move |message| send(program.clone(), message)),
        None => server,
    };

    let handle = Handle::new();
    tokio::spawn(stop(handle.clone(), told_to_stop()));
    tokio::spawn(sweep(server.clone()));
    tokio::spawn({
        let server = server.clone();
        async move { server.relay_events().await }
    });
    let app = app(server).into_make_service();
    tracing::info!(address = %listener.local_addr()?, tls = tls.is_some(), "listening");
    match tls {
        None => {
            let mut http = axum_server::from_tcp(listener)?.handle(handle);
            patient_but_not_for_ever(http.http_builder());
            http.serve(app).await?;
        }
        Some(tls) => {
            let mut https = axum_server::from_tcp_rustls(listener, tls)?.handle(handle);
            patient_but_not_for_ever(https.http_builder());
            https.serve(app).await?;
        }
    }
    tracing::info!("stopped");
    Ok(())
}

/// A client that does not finish its headers is not waited for.
fn patient_but_not_for_ever(http: &mut hyper_util::server::conn::auto::Builder<TokioExecutor>) {
    http.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIME);
    http.http2().timer(TokioTimer::new()).keep_alive_interval(HEADER_TIME).keep_alive_timeout(HEADER_TIME);
}

/// Has a program send a message. It is given no shell, and the address as one argument.
async fn send(program: PathBuf, message: Message) -> Result<(), Failure> {
    use tokio::io::AsyncWriteExt;
    let (kind, address, text) = match message {
        Message::Sms { number, text } => ("sms", number, text),
        Message::Mail { address, text } => ("mail", address, text),
        _ => return Err("a kind of message that is not known here".into()),
    };
    let mut child = tokio::process::Command::new(&program)
        .args([kind, &address])
        .stdin(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("{}: {error}", program.display()))?;
    let sent = tokio::time::timeout(MESSAGE_TIME, async {
        if let Some(mut input) = child.stdin.take() {
            // A program may end well without reading all of it.
            input.write_all(text.as_bytes()).await.ok();
        }
        child.wait().await
    });
    let status = sent.await.map_err(|_| "the message took too long")??;
    if status.success() { Ok(()) } else { Err(format!("{} ended with {status}", program.display()).into()) }
}

async fn tls(certificate: &Path, key: &Path) -> Result<RustlsConfig, Failure> {
    let config = RustlsConfig::from_pem_file(certificate, key).await;
    config.map_err(|error| format!("{} and {}: {error}", certificate.display(), key.display()).into())
}

/// The API, the probes, and a line in the log for each call: its path, but no query, no header and no body. What was
/// decided is told by the server itself.
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

/// The address of a page, in which the last part lets whoever has it use the page.
fn without_token(path: &str) -> String {
    match path.split_once("/web/session/") {
        Some((before, _)) => format!("{before}/web/session/..."),
        None => path.to_owned(),
    }
}

/// Ends when the program is told to stop. It listens for SIGTERM from the call on, and not only once it is waited for.
fn told_to_stop() -> impl Future<Output = ()> {
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
                tracing::warn!(%error, "SIGTERM will end the program at once");
                let _ = interrupt.await;
            }
        }
        #[cfg(not(unix))]
        let _ = interrupt.await;
    }
}

async fn stop(handle: Handle<SocketAddr>, told: impl Future<Output = ()>) {
    told.await;
    tracing::info!("stopping");
    handle.graceful_shutdown(Some(GRACE));
}

async fn sweep(server: Server) {
    loop {
        tokio::time::sleep(SWEEP).await;
        if let Err(error) = server.sweep().await {
            tracing::warn!(%error, "what is over could not be removed");
        }
    }
}
