//! Connections that strangers open and do not use.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use test_support::process::{Running, certificate, command, requester, run, scratch};
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use toopher_server_test_support::cluster::site_at;
use toopher_server_test_support::site::Phone;

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
const PING: &[u8] = b"\0\0\x08\x06\0\0\0\0\0pingpong";
/// `GET /healthz` on stream 1: without the end of the headers, and with it.
const HALF_HEADERS: &[u8] = b"\0\0\x0f\x01\x01\0\0\0\x01\x82\x86\x04\x08/healthz\x01\x01x";
const HEADERS: &[u8] = b"\0\0\x0f\x01\x05\0\0\0\x01\x82\x86\x04\x08/healthz\x01\x01x";
const GET: &[u8] = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";

fn half_body(path: &str, content_type: &str) -> Vec<u8> {
    format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: {content_type}\r\ncontent-length: 99\r\n\r\n{{").into()
}

fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}

/// Reads until the server closes the connection.
fn read_to_end(stream: &mut impl Read) -> Vec<u8> {
    let (mut all, mut buffer) = (Vec::new(), [0; 1024]);
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return all,
            Ok(read) => all.extend(&buffer[..read]),
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                panic!("the connection stays open after {:?}", String::from_utf8_lossy(&all))
            }
            // A reset.
            Err(_) => return all,
        }
    }
}

/// Sends bytes one at a time until the connection is closed.
fn send_slowly(mut stream: TcpStream, begin: &[u8], repeat: &[u8]) {
    stream.write_all(begin).unwrap();
    let mut reader = stream.try_clone().unwrap();
    let reader = std::thread::spawn(move || read_to_end(&mut reader));
    // The server closes it after some of them, or after none.
    for _ in 0..300 {
        if reader.is_finished() || stream.write_all(repeat).is_err() {
            break;
        }
        sleep(Duration::from_millis(200));
    }
    reader.join().unwrap();
}

pub(crate) fn tls_client(folder: &Path) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(folder.join("tls.pem")).unwrap()).unwrap();
    Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
}

/// Each connection ends within the limits of time, which are at most 11 seconds here. The test waits a minute for each.
#[test]
fn connections_without_a_request_are_closed() {
    let folder = scratch("idle");
    requester(&folder);
    let server = Running::start(&folder, &[]);
    let address = &server.address;
    std::thread::scope(|scope| {
        for (sent, answer) in [
            (Vec::new(), ""),
            (b"P".to_vec(), ""),
            (PREFACE.to_vec(), ""),
            ([PREFACE, HALF_HEADERS].concat(), ""),
            ([PREFACE, HEADERS].concat(), "alive"),
            (b"GET /healthz HTTP/1.1\r\nhost:".to_vec(), ""),
            (GET.to_vec(), "alive"),
            ([GET, b"GET /he"].concat(), "alive"),
        ] {
            scope.spawn(move || {
                let mut stream = connect(address);
                stream.write_all(&sent).unwrap();
                let received = String::from_utf8_lossy(&read_to_end(&mut stream)).into_owned();
                assert!(received.contains(answer), "{sent:?} {received:?}");
            });
        }
        scope.spawn(|| send_slowly(connect(address), b"GET / HTTP/1.1\r\nx: ", b"x"));
        scope.spawn(|| send_slowly(connect(address), &[GET, b"GET / HTTP/1.1\r\nx: "].concat(), b"x"));
        scope.spawn(|| send_slowly(connect(address), PREFACE, PING));
        scope.spawn(|| send_slowly(connect(address), &[PREFACE, HEADERS].concat(), PING));
        for (path, content_type, status) in [
            ("/phone/v1/devices", "application/json", "408"),
            ("/v1/users/create", "application/x-www-form-urlencoded", "408"),
            ("/v1/pairings/x/reset", "application/x-www-form-urlencoded", "408"),
            // These read no body.
            ("/phone/v1/phrases", "application/json", "401"),
            ("/web/session/x", "application/x-www-form-urlencoded", "404"),
            ("/", "text/plain", "404"),
        ] {
            scope.spawn(move || {
                let mut stream = connect(address);
                stream.write_all(&half_body(path, content_type)).unwrap();
                let received = String::from_utf8(read_to_end(&mut stream)).unwrap();
                assert!(received.starts_with(&format!("HTTP/1.1 {status}")), "{path}: {received}");
            });
        }
        // A body that is too large is not read to its end.
        scope.spawn(|| {
            let mut stream = connect(address);
            let head = "POST /phone/v1/devices HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n";
            let body = " ".repeat(20_000);
            stream.write_all(format!("{head}content-length: 1000000\r\n\r\n{body}").as_bytes()).unwrap();
            let received = String::from_utf8(read_to_end(&mut stream)).unwrap();
            assert!(received.starts_with("HTTP/1.1 413"), "{received}");
        });
    });
}

#[test]
fn tls_connections_without_a_request_are_closed() {
    if !test_support::have(&["openssl"]) {
        return;
    }
    let folder = scratch("idle-tls");
    requester(&folder);
    certificate(&folder);
    let server = Running::start(&folder, &["--tls-cert", "tls.pem", "--tls-key", "tls.key"]);
    let address = &server.address;
    let config = tls_client(&folder);
    std::thread::scope(|scope| {
        // No handshake, its first byte, the head of its first record.
        for begin in [b"".as_slice(), b"\x16", b"\x16\x03\x01\x01\0\x01\0\0\xfc"] {
            scope.spawn(move || {
                let mut stream = connect(address);
                stream.write_all(begin).unwrap();
                read_to_end(&mut stream);
            });
        }
        // A handshake whose record comes byte by byte.
        scope.spawn(|| send_slowly(connect(address), b"\x16\x03\x01\x40\0", b"x"));
        for sent in [b"".as_slice(), b"P", PREFACE, GET] {
            let name = "127.0.0.1".try_into().unwrap();
            let mut tls = StreamOwned::new(ClientConnection::new(config.clone(), name).unwrap(), connect(address));
            scope.spawn(move || {
                while tls.conn.is_handshaking() {
                    tls.conn.complete_io(&mut tls.sock).unwrap();
                }
                tls.write_all(sent).unwrap();
                read_to_end(&mut tls);
            });
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_limits_new_connections_replace_waiting_ones() {
    let folder = scratch("limits");
    let credentials = requester(&folder);
    let server = Running::start(&folder, &["--max-connections", "24"]);
    let site = site_at(&server.address, &credentials, None);
    let (phone, _) = site.paired("jdoe").await;
    // A stream is not replaced while other connections wait.
    let events = tower::ServiceExt::oneshot(site.app.clone(), phone.request("GET", "events", String::new())).await;
    let mut events = events.unwrap().into_body();
    let mut event = async || {
        let frame = tokio::time::timeout(Duration::from_secs(60), http_body_util::BodyExt::frame(&mut events)).await;
        frame.expect("no event").unwrap().unwrap().into_data().unwrap()
    };
    assert!(event().await.starts_with(b"event: changed"));
    let half = half_body("/phone/v1/devices", "application/json");
    let mut opened = Vec::new();
    for (n, sent) in [b"".as_slice(), b"P", PREFACE, GET, &half].iter().cycle().take(100).enumerate() {
        for source in ["127.0.0.1", "127.0.0.2", "127.0.0.3"] {
            let mut stream = connect_from(source, &server.address).await;
            tokio::io::AsyncWriteExt::write_all(&mut stream, sent).await.unwrap();
            opened.push(stream);
        }
        if n % 10 == 0 {
            let (status, request) = site.initiate("jdoe", &[("terminal_name", "laptop")]).await;
            // The sixth pending request is rejected.
            assert!(matches!(status, 200 | 429), "{request}");
        }
    }
    assert!(event().await.starts_with(b"event: changed"));
    server.wait_for_log("connection limit reached");
    assert!(files(&server) < 24 + 30, "{}", files(&server));
}

/// Event streams of one phone without a pairing, whose HTTP/2 window is zero.
#[tokio::test(flavor = "multi_thread")]
async fn event_streams_that_no_client_takes_exclude_no_call() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let folder = scratch("zero-window");
    let credentials = requester(&folder);
    let server = Running::start(&folder, &["--max-connections", "24"]);
    let site = site_at(&server.address, &credentials, None);
    let phone = Phone::register(&site.app).await;
    assert_eq!(phone.post("phrases", serde_json::json!({})).await.0, 200);
    let token = format!("Bearer {}", phone.token);
    let literal = |name: &str, value: &str| {
        assert!(name.len() < 127 && value.len() < 127);
        let length = |text: &str| vec![u8::try_from(text.len()).unwrap()];
        [vec![0], length(name), name.into(), length(value), value.into()].concat()
    };
    let head = [
        b"\x82\x86".to_vec(),
        literal(":path", "/phone/v1/events"),
        literal(":authority", "x"),
        literal("authorization", &token),
    ]
    .concat();
    let settings = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x06\x04\0\0\0\0\0\0\x04\0\0\0\0";
    let frame = [0, 0, u8::try_from(head.len()).unwrap(), 1, 5, 0, 0, 0, 1];
    let sent = [settings.as_slice(), &frame, &head].concat();
    let mut opened = Vec::new();
    for _ in 0..40 {
        let mut stream = connect_from("127.0.0.2", &server.address).await;
        let _ = stream.write_all(&sent).await;
        // Until the head of the response, or the end.
        let mut frame = [0; 9];
        while stream.read_exact(&mut frame).await.is_ok() && frame[3] != 1 {
            let mut payload = vec![0; usize::from(frame[2])];
            stream.read_exact(&mut payload).await.unwrap();
        }
        opened.push(stream);
    }
    for n in 0..5 {
        let (status, answer) = site.post("users/create", &[("name", &format!("user {n}"))]).await;
        assert_eq!(status, 200, "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_replaces_its_own_connections() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let folder = scratch("share");
    requester(&folder);
    let limits = ["--max-connections", "24", "--max-connections-per-address", "6"];
    let server = Running::start(&folder, &limits);
    let mut other = connect_from("127.0.0.9", &server.address).await;
    let mut opened = Vec::new();
    for _ in 0..50 {
        opened.push(connect_from("127.0.0.2", &server.address).await);
    }
    let mut answer = [0; 12];
    opened[49].write_all(GET).await.unwrap();
    opened[49].read_exact(&mut answer).await.unwrap();
    assert_eq!(opened[0].read(&mut [0]).await.unwrap_or(0), 0);
    other.write_all(GET).await.unwrap();
    other.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    server.wait_for_log("connection limit of a client address reached client=127.0.0.2");
}

pub(crate) async fn connect_from(source: &str, address: &str) -> tokio::net::TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(format!("{source}:0").parse().unwrap()).unwrap();
    socket.connect(address.parse().unwrap()).await.unwrap()
}

/// The open files of a server.
pub(crate) fn files(server: &Running) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", server.process.id())).unwrap().count()
}

#[test]
fn the_limit_of_files_is_raised_and_connections_stay_below() {
    let folder = scratch("files");
    requester(&folder);
    let mut server = Running::start_with_files(&folder, "-Sn 300 && ulimit -Hn 400", &[]);
    let log = server.log();
    assert!(log.contains("files=400") && log.contains("max_connections=262"), "{log}");
    assert!(server.stop());
    let (ok, message) = run(&folder, &["serve", "--listen", "127.0.0.1:0", "--max-connections", "100000000"]);
    assert!(!ok && message.contains("--max-connections") && message.contains("ulimit -n"), "{message}");
    let mut shell = std::process::Command::new("sh");
    let program = command(&folder);
    shell.current_dir(&folder).args(["-c", "ulimit -n 100; exec \"$0\" serve --listen 127.0.0.1:0"]);
    let output = shell.arg(program.get_program()).output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && message.contains("ulimit -n"), "{message}");
}
