//! Signed calls while strangers use all that strangers can have: prints the times of the calls with and without them.

use std::io::Write;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::Request;
use futures_util::future::join_all;
use test_support::process::{Running, certificate, requester, scratch};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_rustls::TlsConnector;
use toopher_server_test_support::cluster::{now, site_at};
use toopher_server_test_support::site::{Phone, Site};
use tower::ServiceExt;

use crate::connections::{PREFACE, connect_from, files, tls_client};

const CALLS: usize = 500;
/// More than the limit of files.
const STRANGERS: usize = 1_500;
const SOURCES: usize = 8;
/// Between the beginnings of two strangers, so that they do not act all at once.
const STAGGER: Duration = Duration::from_millis(8);
/// The pause of a stranger whose connection was closed.
const PAUSE: Duration = Duration::from_secs(3);

const HALF_HEAD: &[u8] = b"GET /phone HTTP/1.1\r\nhost:";
const HALF_BODY: &[u8] =
    b"POST /phone/v1/devices HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{";
const IDLE: &[u8] = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";

/// The times of signed calls, sorted.
async fn call(site: &Site) -> Vec<Duration> {
    let mut times = Vec::with_capacity(CALLS);
    for n in 0..CALLS {
        site.clock.set(now().as_secs());
        let start = Instant::now();
        let (status, answer) = site.post("users/create", &[("name", &format!("user {}", n % 20))]).await;
        times.push(start.elapsed());
        assert_eq!(status, 200, "call {n}: {answer}");
    }
    times.sort_unstable();
    times
}

/// Opens connections again and again, each with the same beginning, and never reads a response of more than a buffer.
async fn stranger(number: usize, address: String, tls: Option<TlsConnector>) {
    let source = format!("127.0.0.{}", 2 + number % SOURCES);
    let sent = [b"".as_slice(), b"P", PREFACE, HALF_HEAD, HALF_BODY, IDLE][number / SOURCES % 6];
    tokio::time::sleep(STAGGER * u32::try_from(number).unwrap()).await;
    loop {
        let stream = connect_from(&source, &address).await;
        match &tls {
            // Some of them stop within the handshake.
            Some(tls) if !number.is_multiple_of(3) => {
                let name = "127.0.0.1".try_into().unwrap();
                if let Ok(stream) = tls.connect(name, stream).await {
                    hold(stream, sent).await;
                }
            }
            _ => hold(stream, sent).await,
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Threads of the lowest priority: strangers have processors of their own, and must not compete with the server and its
/// caller for these.
fn strangers_runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(1).on_thread_start(|| {
        rustix::process::nice(19).unwrap();
    });
    builder.enable_all().build().unwrap()
}

async fn hold(mut stream: impl AsyncRead + AsyncWrite + Unpin, sent: &[u8]) {
    let _ = stream.write_all(sent).await;
    while stream.read(&mut [0; 1024]).await.is_ok_and(|read| read > 0) {}
}

/// Registers phones.
async fn registrations(site: Site) {
    loop {
        let request = Request::post("/phone/v1/devices").header("content-type", "application/json");
        let request = request.body(Body::from(r#"{"name":"a phone"}"#)).unwrap();
        let _ = site.app.clone().oneshot(request).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn streams(site: &Site, phones: &[Phone]) -> Vec<Body> {
    let opening = phones.iter().flat_map(|phone| std::iter::repeat_n(phone, 8));
    let opening = opening.map(|phone| site.app.clone().oneshot(phone.request("GET", "events", String::new())));
    join_all(opening).await.into_iter().map(|response| response.unwrap().into_body()).collect()
}

/// The number of threads, and the resident memory in KiB.
fn usage(server: &Running) -> (usize, usize) {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.process.id())).unwrap();
    let value = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    };
    (value("Threads:"), value("VmRSS:"))
}

async fn run(with_tls: bool) {
    let folder = scratch(if with_tls { "load-tls" } else { "load" });
    let credentials = requester(&folder);
    let mut options = vec!["--max-connections-per-address", "200"];
    let mut pem = None;
    let mut tls = None;
    if with_tls {
        certificate(&folder);
        options.extend(["--tls-cert", "tls.pem", "--tls-key", "tls.key"]);
        pem = Some(std::fs::read(folder.join("tls.pem")).unwrap());
        tls = Some(TlsConnector::from(tls_client(&folder)));
    }
    // The usual limit.
    let server = Running::start_with_files(&folder, "-n 1024", &options);
    let site = site_at(&server.address, &credentials, pem.as_deref());
    let mut phones = Vec::new();
    for n in 0..10 {
        phones.push(site.paired(&format!("user {n}")).await.0);
    }
    let before = call(&site).await;
    let (_, memory_before) = usage(&server);

    let strangers = strangers_runtime();
    for number in 0..STRANGERS {
        strangers.spawn(stranger(number, server.address.clone(), tls.clone()));
    }
    strangers.spawn(registrations(site.clone()));
    let streams = streams(&site, &phones).await;
    // From now on all connections that the server accepts are in use.
    server.wait_for_log("connection limit");
    assert!(files(&server) >= 800, "{} files", files(&server));
    let during = call(&site).await;
    let (files, (threads, memory)) = (files(&server), usage(&server));
    strangers.shutdown_background();
    drop(streams);

    let p99 = |times: &[Duration]| times[times.len() * 99 / 100];
    let (without, with) = (p99(&before), p99(&during));
    let more = memory.saturating_sub(memory_before) / 1024;
    let ratio = with.as_secs_f64() / without.as_secs_f64();
    let how = if with_tls { " over TLS" } else { "" };
    // The test harness captures `println!`.
    let report = format!(
        "signed calls{how}, 99th percentile: {without:?} alone, {with:?} with {STRANGERS} idle connections, event \
         streams and registrations (x{ratio:.1}); {files} files, {threads} threads, {more} MiB more memory\n"
    );
    let _ = std::io::stderr().write_all(report.as_bytes());
    assert!(files <= 1024 && threads <= 64, "{report}");
    assert!(more < 200, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_continue_while_strangers_use_all_connections() {
    if !test_support::have(&["openssl"]) {
        return;
    }
    // The strangers are threads of this process.
    rlimit::increase_nofile_limit(8192).unwrap();
    for with_tls in [false, true] {
        run(with_tls).await;
    }
}
