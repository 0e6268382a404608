//! One connection: the TLS handshake, and HTTP/1.1 or HTTP/2, within the limits of time and memory.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, Request, Version, header};
use hyper::body::{Body as _, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tower_service::Service;

use crate::connection_state::Phase;
use crate::connections::{Connections, Permit};
use crate::progress::{Progress, Tracked, event_stream};

/// How long a connection may take to close after it was asked to.
const CLOSE_TIME: Duration = Duration::from_secs(1);
/// The maximum size of the head of a request, in bytes.
const MAX_HEAD: u32 = 16 * 1024;
/// The maximum number of requests of an HTTP/2 connection at once.
const MAX_STREAMS: u32 = 32;
/// The maximum size of bodies of an HTTP/2 connection that no handler has read, in bytes.
const WINDOW: u32 = 64 * 1024;
/// The interval and the time limit of HTTP/2's pings, which detect a lost client of an event stream.
const PING: Duration = Duration::from_secs(20);
/// The call of phones that waits for its turn. A client without an account can send it, and it can be repeated.
const QUEUED_CALL: &str = "/phone/v1/phrases";

/// The other end of the connection of a request: the client, or a proxy.
#[derive(Clone, Copy)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// Serves a connection until one side ends it, or a limit is reached.
pub(crate) async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    peer: IpAddr,
    tls: Option<TlsAcceptor>,
    app: Router,
    permit: Permit,
    stopping: watch::Receiver<bool>,
) {
    let serving = async {
        match tls {
            None => serve_http(stream, peer, app, &permit, stopping).await,
            Some(tls) => match tls.accept(stream).await {
                Ok(stream) => serve_http(stream, peer, app, &permit, stopping).await,
                Err(error) => tracing::debug!(%error, "TLS handshake failed"),
            },
        }
    };
    tokio::select! {
        () = serving => {}
        () = permit.closed() => {}
        () = permit.expired(CLOSE_TIME) => {}
    }
}

async fn serve_http<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    peer: IpAddr,
    app: Router,
    permit: &Permit,
    mut stopping: watch::Receiver<bool>,
) {
    let (connections, id) = (permit.connections(), permit.id());
    let service = service_fn(|request| respond(app.clone(), peer, request, connections.clone(), id));
    let builder = http();
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    // Also completes when the sender is gone.
    let stopped = async { drop(stopping.wait_for(|stopping| *stopping).await) };
    tokio::select! {
        ended = connection.as_mut() => return log_end(ended),
        () = stopped => {}
        () = permit.expired(Duration::ZERO) => {}
    }
    connection.as_mut().graceful_shutdown();
    log_end(connection.await);
}

fn http() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    // The time of a head is part of `Permit::expired`.
    builder.http1().max_buf_size(MAX_HEAD as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING)
        .max_header_list_size(MAX_HEAD)
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW);
    builder
}

/// Calls the router, and reports the progress of the request until the client has received the response.
async fn respond(
    mut app: Router,
    peer: IpAddr,
    mut request: Request<Incoming>,
    connections: Arc<Connections>,
    id: u64,
) -> Result<Response, Infallible> {
    request.extensions_mut().insert(Peer(peer));
    let has_body = !request.body().is_end_stream();
    // A public URL can have a path before it.
    let work = if request.uri().path().ends_with(QUEUED_CALL) { Phase::Queued } else { Phase::Working };
    let progress = Progress::begin(connections.clone(), id, has_body, work);
    let request = request.map(|body| Body::new(Tracked::request(body, progress.clone(), work)));
    // Only HTTP/1.1 has the header.
    let can_close = request.version() < Version::HTTP_2;
    let mut response = app.call(request).await?;
    if can_close && connections.are_exhausted(id) {
        // A client that sends requests without pauses would never wait.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    let content_type = response.headers().get(header::CONTENT_TYPE);
    let streams = content_type.is_some_and(|value| value.as_bytes().starts_with(b"text/event-stream"));
    progress.advance(Phase::Responding);
    Ok(response.map(|body| {
        let body = if streams { event_stream(body, progress.clone()) } else { body };
        Body::new(Tracked::response(body, progress))
    }))
}

fn log_end(ended: Result<(), Box<dyn std::error::Error + Send + Sync>>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "connection failed");
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::time::Instant;

    use super::*;
    use crate::connection_limits::Limits;

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";

    /// The client's side of a connection, and the time after which the server has ended it.
    async fn connect(app: Router) -> (DuplexStream, tokio::task::JoinHandle<Duration>, watch::Sender<bool>) {
        connect_within(Limits { total: 1, per_address: None }, app).await
    }

    async fn connect_within(
        limits: Limits,
        app: Router,
    ) -> (DuplexStream, tokio::task::JoinHandle<Duration>, watch::Sender<bool>) {
        let connections = Arc::new(Connections::new(limits));
        let permit = connections.admit(Ipv4Addr::LOCALHOST.into()).await.unwrap();
        let (client, server) = duplex(1024);
        let (stop, stopping) = watch::channel(false);
        let start = Instant::now();
        let serving = tokio::spawn(async move {
            serve(server, Ipv4Addr::LOCALHOST.into(), None, app, permit, stopping).await;
            start.elapsed()
        });
        (client, serving, stop)
    }

    fn seconds(from: u64, took: Duration) -> bool {
        (Duration::from_secs(from)..=Duration::from_secs(from) + CLOSE_TIME).contains(&took)
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_without_a_request_ends() {
        for sent in [b"".as_slice(), b"P", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET / HT"] {
            let (mut client, serving, _stop) = connect(Router::new()).await;
            client.write_all(sent).await.unwrap();
            assert!(seconds(10, serving.await.unwrap()), "{sent:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_its_response_is_disconnected() {
        let app = Router::new().route("/", get(|| async { vec![0; 100_000] }));
        let (mut client, serving, _stop) = connect(app).await;
        client.write_all(REQUEST).await.unwrap();
        let took = serving.await.unwrap();
        assert!(seconds(10, took) || seconds(60, took), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_over_the_limit_is_rejected() {
        let (mut client, serving, _stop) = connect(Router::new()).await;
        let (mut reader, mut writer) = tokio::io::split(&mut client);
        let head = [b"GET / HTTP/1.1\r\nx: ".as_slice(), &[b'x'; 20_000]].concat();
        let mut answer = Vec::new();
        let (_, _) = tokio::join!(writer.write_all(&head), reader.read_to_end(&mut answer));
        assert!(answer.starts_with(b"HTTP/1.1 431"), "{:?}", String::from_utf8_lossy(&answer));
        assert!(serving.await.unwrap() < Duration::from_secs(2));
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_waiting_connection_each_one_has_one_request() {
        // Of all, and of an address.
        for (total, per_address) in [(1, None), (2, Some(1))] {
            let app = Router::new().route("/", get(|| async {}));
            let (mut client, _serving, _stop) = connect_within(Limits { total, per_address }, app).await;
            client.write_all(&REQUEST.repeat(3)).await.unwrap();
            let mut answers = String::new();
            client.read_to_string(&mut answers).await.unwrap();
            assert_eq!(answers.matches("HTTP/1.1 200").count(), 1, "{answers}");
            assert!(answers.contains("connection: close"), "{answers}");
        }
    }

    /// Such a connection is not replaced.
    #[tokio::test]
    async fn a_handler_that_drops_the_body_works() {
        let (began, mut begun) = tokio::sync::mpsc::unbounded_channel();
        let handler = move || {
            began.send(()).unwrap();
            std::future::pending::<()>()
        };
        let app = Router::new().route("/", axum::routing::post(handler));
        // None, complete, and incomplete.
        for body in ["0\r\n\r\n", "2\r\n\r\n{}", "2\r\n\r\n{"] {
            let connections = Arc::new(Connections::new(Limits { total: 1, per_address: None }));
            let permit = connections.admit(Ipv4Addr::LOCALHOST.into()).await.unwrap();
            let (mut client, server) = duplex(1024);
            let (_stop, stopping) = watch::channel(false);
            let serving = tokio::spawn(serve(server, Ipv4Addr::LOCALHOST.into(), None, app.clone(), permit, stopping));
            let request = format!("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: {body}");
            client.write_all(request.as_bytes()).await.unwrap();
            begun.recv().await.unwrap();
            assert!(connections.admit(Ipv4Addr::LOCALHOST.into()).await.is_none(), "{body:?}");
            assert!(!serving.is_finished());
        }
    }

    /// The window of HTTP/2 is zero.
    #[tokio::test(start_paused = true)]
    async fn an_event_stream_that_the_client_does_not_take_ends() {
        // Dropped when the events are.
        let (listener, mut listeners) = tokio::sync::mpsc::channel::<()>(1);
        let events = move || {
            let listener = listener.clone();
            let event = futures_util::stream::repeat_with(move || {
                let _listener = &listener;
                Ok::<_, Infallible>("data: {}\n\n")
            });
            async { ([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(event)) }
        };
        let (mut client, serving, _stop) = connect(Router::new().route("/", get(events))).await;
        // SETTINGS_INITIAL_WINDOW_SIZE, and GET / on stream 1.
        client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x06\x04\0\0\0\0\0\0\x04\0\0\0\0").await.unwrap();
        client.write_all(b"\0\0\x06\x01\x05\0\0\0\x01\x82\x86\x84\x01\x01x").await.unwrap();
        let (mut reader, mut writer) = tokio::io::split(client);
        tokio::spawn(async move {
            let mut head = [0; 9];
            while reader.read_exact(&mut head).await.is_ok() {
                let mut payload = vec![0; usize::from(head[2]) + 256 * usize::from(head[1])];
                reader.read_exact(&mut payload).await.unwrap();
                // Acknowledges SETTINGS and PING.
                if matches!(head[3], 4 | 6) && head[4] == 0 {
                    head[4] = 1;
                    let sent = [head.as_slice(), &payload].concat();
                    let sent = if head[3] == 4 { b"\0\0\0\x04\x01\0\0\0\0".as_slice() } else { &sent };
                    let _ = writer.write_all(sent).await;
                }
            }
        });
        let took = tokio::time::timeout(Duration::from_secs(1000), serving).await.unwrap().unwrap();
        assert!(took < Duration::from_secs(130), "{took:?}");
        assert!(listeners.recv().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn an_event_stream_stays_open_until_the_server_stops() {
        let events = || async {
            let events = futures_util::stream::pending::<Result<String, Infallible>>();
            ([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(events))
        };
        let (mut client, serving, stop) = connect(Router::new().route("/", get(events))).await;
        client.write_all(REQUEST).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1000)).await;
        assert!(!serving.is_finished());
        // A graceful shutdown waits for the end of the response; the library ends event streams.
        stop.send_replace(true);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(!serving.is_finished());
        drop(client);
        serving.await.unwrap();
    }
}
