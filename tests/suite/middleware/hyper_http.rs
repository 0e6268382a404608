//! The layer with plain hyper, over real sockets: HTTP/1.1 and HTTP/2, and requests that no client library sends.
use std::convert::Infallible;
use std::net::SocketAddr;

use crate::support::{CODE, RFC_SECRET, ScriptedVerifier, T, alice};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, Version};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower::{Layer, service_fn};
use tower_toopher::middleware::ReplayBody;
use tower_toopher::{DenyReason, Factor, HeaderOrForm, ToopherLayer, Verdict};

/// Serves on a free port until the test ends. The inner service returns version, path, body and trailers.
async fn serve() -> SocketAddr {
    let verifier = ScriptedVerifier::new(|attempt| {
        Ok(match attempt.otp() {
            None => Verdict::Denied(DenyReason::OtpRequired),
            Some(otp) if otp.as_str() == CODE => Verdict::Granted(Factor::Totp),
            Some(_) => Verdict::Denied(DenyReason::WrongOtp),
        })
    });
    let inner = service_fn(|request: Request<ReplayBody<Incoming>>| async move {
        let head = format!("{:?} {} ", request.version(), request.uri().path());
        if request.headers().contains_key("upgrade") {
            let upgrade = hyper::upgrade::on(request);
            tokio::spawn(async move {
                let mut io = TokioIo::new(upgrade.await.unwrap());
                io.write_all(b"upgraded").await.unwrap();
            });
            let switching = Response::builder().status(101).header("upgrade", "echo").header("connection", "upgrade");
            return Ok(switching.body(Full::default()).unwrap());
        }
        let collected = request.into_body().collect().await.unwrap();
        let trailer = collected.trailers().and_then(|t| t.get("x-sum")).map(|v| v.to_str().unwrap().to_owned());
        let mut body = head.into_bytes();
        body.extend_from_slice(&collected.to_bytes());
        body.extend_from_slice(trailer.unwrap_or_default().as_bytes());
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(body))))
    });
    let service = ToopherLayer::new(verifier)
        .identify(|_| Some(alice()))
        .extractor(HeaderOrForm::default().wrapping())
        .layer(inner);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service = TowerToHyperService::new(service.clone());
            tokio::spawn(async move {
                let server = auto::Builder::new(TokioExecutor::new());
                let _ = server.serve_connection_with_upgrades(TokioIo::new(stream), service).await;
            });
        }
    });
    addr
}

/// Sends raw bytes, and reads until the server closes the connection.
async fn raw(addr: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(request).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut response = Vec::new();
    let _ = stream.read_to_end(&mut response).await;
    String::from_utf8_lossy(&response).into_owned()
}

fn status(response: &str) -> &str {
    response.split(' ').nth(1).unwrap_or_default()
}

#[tokio::test]
async fn headers_and_forms_over_http_1() {
    let addr = serve().await;
    let get = |otp: &str| format!("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{otp}\r\n");
    for (otp, expected) in [
        ("", "401"),
        ("toopher-otp: 081804\r\n", "200"),
        ("TOOPHER-OTP:081804\r\n", "200"),
        ("Toopher-OTP: \t081 804 \r\n", "200"),
        ("Toopher-OTP:\r\n", "401"),
        ("Toopher-OTP: 000000\r\n", "401"),
        ("Toopher-OTP: 000000\r\nToopher-OTP: 081804\r\n", "400"),
        ("Toopher-OTP: 081804, 081804\r\n", "400"),
        ("Toopher-OTP: 08180\u{ff14}\r\n", "401"),
        ("Toopher_OTP: 081804\r\n", "401"),
        ("Toopher-OTP : 081804\r\n", "400"),
    ] {
        assert_eq!(status(&raw(addr, get(otp).as_bytes()).await), expected, "{otp:?}");
    }
    let latin1 =
        [b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntoopher-otp: 081804\xa0\r\n\r\n".to_vec()].concat();
    assert_eq!(status(&raw(addr, &latin1).await), "401");

    let post = |body: &str| {
        format!(
            "POST /p HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-type: application/x-www-form-urlencoded\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let response = raw(addr, post("a=%zz&otp=081+804").as_bytes()).await;
    assert!(status(&response) == "200" && response.ends_with("HTTP/1.1 /p a=%zz&otp=081+804"), "{response}");
    assert_eq!(status(&raw(addr, post(&"x".repeat(65_537)).as_bytes()).await), "413");
    // `Content-Length` is ten, and nine bytes are sent.
    let short = post("otp=081804").replace("otp=081804", "otp=08180");
    assert_ne!(status(&raw(addr, short.as_bytes()).await), "200");
}

#[tokio::test]
async fn chunked_forms_with_extensions_and_trailers() {
    let addr = serve().await;
    let head = "POST /p HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\
                content-type: application/x-www-form-urlencoded\r\n\r\n";
    let whole = "4\r\notp=\r\n3;ext=1\r\n081\r\n3\r\n804\r\n0\r\nx-sum: 42\r\n\r\n";
    let response = raw(addr, format!("{head}{whole}").as_bytes()).await;
    assert!(response.ends_with("HTTP/1.1 /p otp=08180442"), "{response}");
    for broken in ["4\r\notp=\r\n", "zz\r\notp=081804\r\n0\r\n\r\n", "a\r\notp=081804\r\n", "ffffffffffffffffff\r\n"] {
        let response = raw(addr, format!("{head}{broken}").as_bytes()).await;
        assert!(!response.starts_with("HTTP/1.1 2"), "{response}");
    }
    let big = format!("{head}{}", "400\r\n".to_owned() + &"x".repeat(1024) + "\r\n");
    let endless = format!("{big}{}", format!("400\r\n{}\r\n", "x".repeat(1024)).repeat(80));
    assert_eq!(status(&raw(addr, endless.as_bytes()).await), "413");
}

#[tokio::test]
async fn continue_100_is_sent_only_if_the_body_is_read() {
    let addr = serve().await;
    let head = |extra: &str, length: usize| {
        format!(
            "POST /p HTTP/1.1\r\nhost: a\r\nconnection: close\r\nexpect: 100-continue\r\n\
             content-type: application/x-www-form-urlencoded\r\ncontent-length: {length}\r\n{extra}\r\n"
        )
    };
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(head("", 10).as_bytes()).await.unwrap();
    let mut buffer = [0; 1024];
    let n = stream.read(&mut buffer).await.unwrap();
    assert!(buffer[..n].starts_with(b"HTTP/1.1 100 "));
    stream.write_all(b"otp=081804").await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    assert!(response.starts_with("HTTP/1.1 200 "), "{response}");

    // The form is too large, or the header is malformed: the client need not send the body.
    assert_eq!(status(&raw(addr, head("", 70_000).as_bytes()).await), "413");
    assert_eq!(status(&raw(addr, head("toopher-otp: x\r\n", 10).as_bytes()).await), "401");
}

#[tokio::test]
async fn the_layer_forwards_an_upgrade() {
    let addr = serve().await;
    let request =
        |otp: &str| format!("GET /ws HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: echo\r\n{otp}\r\n");
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(request("toopher-otp: 081804\r\n").as_bytes()).await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    assert!(response.starts_with("HTTP/1.1 101 ") && response.ends_with("upgraded"), "{response}");
    assert_eq!(status(&raw(addr, request("").as_bytes()).await), "401");
}

#[tokio::test]
async fn http_2_with_trailers_and_without_host() {
    let addr = serve().await;
    let io = TokioIo::new(TcpStream::connect(addr).await.unwrap());
    let (mut client, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    let trailers: HeaderMap =
        [(HeaderName::from_static("x-sum"), HeaderValue::from_static("42"))].into_iter().collect();
    let body = |frames: Vec<Frame<Bytes>>| {
        StreamBody::new(futures_util::stream::iter(frames.into_iter().map(Ok::<_, Infallible>)))
    };
    let post = || Request::post("http://app.test/p").version(Version::HTTP_2);
    let form = || post().header("content-type", "application/x-www-form-urlencoded");
    let data = |s: &'static str| Frame::data(Bytes::from_static(s.as_bytes()));

    let frames = vec![data("otp="), data(""), data("081804"), Frame::trailers(trailers)];
    let response = client.send_request(form().body(body(frames)).unwrap()).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "HTTP/2.0 /p otp=08180442");

    let response = client.send_request(form().body(body(vec![data("otp=000000")])).unwrap()).await.unwrap();
    assert_eq!(response.status(), 401);
    let response = client.send_request(form().body(body(vec![])).unwrap()).await.unwrap();
    assert_eq!(response.status(), 401);
    let chunk = || Frame::data(Bytes::from(vec![b'x'; 10_000]));
    let response = client.send_request(form().body(body((0..10).map(|_| chunk()).collect())).unwrap()).await.unwrap();
    assert_eq!(response.status(), 413);
    let response = client.send_request(post().header("toopher-otp", CODE).body(body(vec![])).unwrap()).await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(!response.headers().contains_key("connection"));
}

#[test]
fn the_constants_of_these_tests_agree() {
    assert_eq!((RFC_SECRET.len(), T / 30), (20, 37_037_036));
}
