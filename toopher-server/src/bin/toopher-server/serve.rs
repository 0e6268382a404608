//! Serves calls until the program is stopped.

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::get;
use http::StatusCode;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::timeout;
use toopher_server::{ClientAddress, Server};

use crate::accept::accept;
use crate::config::Config;
use crate::connection::Peer;
use crate::connection_limits::Limits;
use crate::connections::Connections;
use crate::database_url::require_single_replica;
use crate::demo::demo;
use crate::error::Error;
use crate::failure_store::FailureStore;
use crate::file_limit::{max_connections, raise_file_limit};
use crate::message_command::send;
use crate::mount::mount;
use crate::open::{database_url, open};
use crate::options::{Common, Serve};
use crate::readiness::Readiness;
use crate::signals::{StopSignals, on_hangup};
use crate::tls::Tls;
use crate::trusted_proxies::{self, Network};

/// How often expired rows are deleted from the database.
const CLEANUP_INTERVAL: Duration = Duration::from_secs(300);
/// How long requests in progress may take after the program is stopped. Supervisors kill a program after ten seconds.
const GRACE_PERIOD: Duration = Duration::from_secs(7);
/// How long connections without a request may take then.
const IDLE_GRACE_PERIOD: Duration = Duration::from_secs(1);

pub(crate) async fn serve(common: &Common, options: Serve, config: &Config) -> Result<(), Error> {
    let listen = options.listen.or(config.listen).unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8080)));
    let tls = match (options.tls_cert.or(config.tls_cert.clone()), options.tls_key.or(config.tls_key.clone())) {
        (Some(certificate), Some(key)) => Some(Tls::load(certificate, key)?),
        (None, None) => None,
        _ => return Err("TLS needs both --tls-cert and --tls-key".into()),
    };
    let replicas = options.replicas.or(config.replicas).unwrap_or(NonZeroU32::MIN);
    if options.demo && replicas.get() > 1 {
        return Err(require_single_replica(replicas, "--demo keeps everything in memory"));
    }
    database_url(common, config)?.check_replicas(replicas)?;
    let database_connections = common.database_connections.or(config.database_connections).map_or(10, NonZeroU32::get);
    let wanted = options.max_connections.or(config.max_connections).map(NonZeroUsize::get);
    let max_connections = max_connections(raise_file_limit(), database_connections, wanted)?;
    let per_address = options.max_connections_per_address.or(config.max_connections_per_address);
    let limits = Limits { total: max_connections, per_address: per_address.map(NonZeroUsize::get) };
    let listener = TcpListener::bind(listen).await.map_err(|error| format!("{listen}: {error}"))?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    let default = format!("{scheme}://{}", listener.local_addr()?);
    let public_url = options.public_url.or(config.public_url.clone());
    if let Some(url) = &public_url {
        Server::check_public_url(url)
            .map_err(|error| format!("--public-url: {error}; an example is https://mfa.example.com"))?;
    }

    let server = if options.demo {
        let base_url = std::env::var("TOOPHER_BASE_URL").ok();
        let base_url = base_url.map(|url| url.trim_end_matches('/').trim_end_matches("/v1").to_owned());
        let public_url = public_url.or(base_url).unwrap_or(default);
        let server = Server::in_memory(&public_url).await?;
        // The nonces of calls before a restart are lost.
        server.reject_earlier_calls().await?;
        demo(&server, &server.public_url()).await?;
        server
    } else {
        let failure_store = FailureStore::new(&common.failure_store, config)?;
        let server = open(common, config, &failure_store, &public_url.unwrap_or(default)).await?;
        failure_store.claim(&server).await?;
        server
    };
    let server = with_clock_skew(server, options.clock_skew, config);
    // Half of the connections are left for calls.
    let server = server.max_event_streams(max_connections / 2);
    tracing::info!(public_url = server.public_url(), "clients sign this URL, followed by /v1 and the path of a call");
    let phone_page = format!("{}/phone", server.public_url());
    let database = if options.demo {
        "in memory, until the program ends".into()
    } else {
        database_url(common, config)?.to_string()
    };
    tracing::info!(phone_page, database, "phones open the page");
    if let Err(error) = server.ready().await {
        tracing::error!(%error, "not ready");
    }

    let server = match options.message_command.or(config.message_command.clone()) {
        Some(program) => server.messenger(move |message| send(program.clone(), message)),
        None => server,
    };

    tokio::spawn(cleanup(server.clone()));
    tokio::spawn({
        let server = server.clone();
        async move { server.forward_notifications().await }
    });
    // Before this, a signal ends the process at once.
    let mut signals = StopSignals::new()?;
    tokio::spawn(on_hangup({
        let tls = tls.clone();
        move || reload(tls.as_ref())
    })?);
    tracing::info!(address = %listener.local_addr()?, tls = tls.is_some(), max_connections, "listening");
    let connections = Arc::new(Connections::new(limits));
    let (stop, stopping) = watch::channel(false);
    let trusted_proxies = options.trusted_proxies.or(config.trusted_proxies.clone()).unwrap_or_default();
    let app = app(server.clone(), trusted_proxies.into());
    tokio::select! {
        () = accept(&listener, tls.as_ref(), &app, &connections, &stopping) => {}
        _ = signals.next() => {}
    }
    // A second signal ends the process, whatever it is doing.
    tokio::spawn(async move { std::process::exit(signals.next().await) });
    tracing::info!("stopping");
    drop(listener);
    server.shutdown();
    stop.send_replace(true);
    if timeout(IDLE_GRACE_PERIOD, connections.all_ended()).await.is_err() {
        connections.close_idle();
        if timeout(GRACE_PERIOD - IDLE_GRACE_PERIOD, connections.all_ended()).await.is_err() {
            tracing::warn!("some calls were not finished");
        }
    }
    tracing::info!("stopped");
    Ok(())
}

pub(crate) fn with_clock_skew(server: Server, option: Option<u64>, config: &Config) -> Server {
    server.clock_skew(Duration::from_secs(option.or(config.clock_skew).unwrap_or(300)))
}

fn reload(tls: Option<&Tls>) {
    match tls.map(Tls::reload) {
        Some(Ok(())) => tracing::info!("loaded the TLS certificate and key again"),
        Some(Err(error)) => {
            tracing::error!(%error, "could not load the TLS certificate and key: the previous ones stay");
        }
        None => tracing::info!("SIGHUP has no effect without TLS"),
    }
}

/// The API and the probes. Each call has a line in the log, with its path, and without query, headers and body. The
/// audit events of decisions come from the library.
fn app(server: Server, trusted_proxies: Arc<[Network]>) -> Router {
    let (ready, readiness) = (server.clone(), Arc::new(Readiness::default()));
    let readyz = move || {
        let (server, readiness) = (ready.clone(), readiness.clone());
        async move {
            let check = async || {
                let result = server.ready().await;
                result.inspect_err(|error| tracing::error!(%error, "not ready")).is_ok()
            };
            if readiness.get(check).await {
                (StatusCode::OK, "ready\n")
            } else {
                (StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
            }
        }
    };
    // The probes pass everything that calls pass.
    let router = server.router().route("/healthz", get(|| async { "alive\n" })).route("/readyz", get(readyz));
    let log = move |request, next| log(trusted_proxies.clone(), request, next);
    mount(server.public_path(), router).layer(from_fn(log))
}

async fn log(trusted_proxies: Arc<[Network]>, mut request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), without_token(request.uri().path()));
    let peer = request.extensions().get().map(|&Peer(peer)| peer);
    let client = peer.map(|peer| trusted_proxies::client(peer, request.headers(), &trusted_proxies));
    if let Some(client) = client {
        // Audit events contain it.
        request.extensions_mut().insert(ClientAddress(client));
    }
    let start = Instant::now();
    let response = next.run(request).await;
    let (client, status) = (client.map(tracing::field::display), response.status().as_u16());
    tracing::info!(%method, path, status, client, took = ?start.elapsed(), "call");
    response
}

/// The path without the token of a page, which authorizes its actions.
fn without_token(path: &str) -> String {
    match path.split_once("/web/session/") {
        Some((before, _)) => format!("{before}/web/session/..."),
        None => path.to_owned(),
    }
}

async fn cleanup(server: Server) {
    loop {
        tokio::time::sleep(CLEANUP_INTERVAL).await;
        if let Err(error) = server.cleanup().await {
            tracing::warn!(%error, "could not delete expired rows");
        }
    }
}
