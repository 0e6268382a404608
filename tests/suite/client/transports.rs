//! The transports over real sockets, with servers that respond incorrectly or not at all.
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::support::{DENIED, GRANTED, PENDING, Seen, credentials, with_fixed_clock};
use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower::Service;
use tower_toopher::BoxError;
#[cfg(feature = "client-hyper")]
use tower_toopher::client::HyperTransport;
#[cfg(feature = "client")]
use tower_toopher::client::ReqwestTransport;
use tower_toopher::client::{AuthenticationRequest, ClientError, ClientErrorKind, ToopherClient};

/// The number of transports that [`on_each`] runs.
const TRANSPORTS: usize = cfg!(feature = "client") as usize + cfg!(feature = "client-hyper") as usize;

/// What a server does after it has read a request.
#[derive(Clone)]
enum Then {
    Send(Vec<u8>),
    /// Sends this, and then nothing, with the connection open.
    Stall(Vec<u8>),
    /// Sends the first part, and then repeats the second.
    Endless(Vec<u8>, Vec<u8>),
    HangUp,
}

fn http(status: &str, headers: &str, body: &str) -> Then {
    let length = body.len();
    Then::Send(format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n{headers}\r\n{body}").into())
}

/// A server on a free port, and the requests that it received. It panics and closes the connection if a request has no
/// valid signature.
async fn serve(then: impl Fn(usize) -> Then + Send + Sync + 'static) -> (SocketAddr, Arc<Mutex<Vec<Seen>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (seen, then) = (Arc::<Mutex<Vec<Seen>>>::default(), Arc::new(then));
    let keep = seen.clone();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (keep, then) = (keep.clone(), then.clone());
            tokio::spawn(async move {
                while let Some(request) = read(&mut stream).await {
                    let at = {
                        let mut seen = keep.lock().unwrap();
                        seen.push(Seen::new(&request));
                        seen.len() - 1
                    };
                    match then(at) {
                        Then::Send(text) => stream.write_all(&text).await.unwrap(),
                        Then::Stall(text) => {
                            stream.write_all(&text).await.unwrap();
                            std::future::pending::<()>().await;
                        }
                        Then::Endless(first, more) => {
                            stream.write_all(&first).await.unwrap();
                            while stream.write_all(&more).await.is_ok() {}
                            return;
                        }
                        Then::HangUp => return,
                    }
                }
            });
        }
    });
    (addr, seen)
}

/// Reads one request whose body has a `Content-Length`.
async fn read(stream: &mut TcpStream) -> Option<Request<Bytes>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.trim_end().lines();
    let mut first = lines.next()?.split(' ');
    let mut request = Request::builder().method(first.next()?).uri(first.next()?);
    let mut length = 0;
    for line in lines {
        let (name, value) = line.split_once(": ")?;
        if name.eq_ignore_ascii_case("content-length") {
            length = value.parse().unwrap();
        }
        request = request.header(name, value);
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    request.body(body.into()).ok()
}

#[cfg(feature = "client")]
fn reqwest() -> ReqwestTransport {
    // This machine may have a proxy.
    ReqwestTransport::from_builder(reqwest::Client::builder().no_proxy()).unwrap()
}

fn client<T>(base: &str, transport: T) -> ToopherClient<T> {
    with_fixed_clock(ToopherClient::with_transport(base.parse().unwrap(), credentials(), transport))
}

fn request() -> AuthenticationRequest {
    AuthenticationRequest::from_user_name("a~b*c+d e").otp(&"081804".parse().unwrap())
}

/// One call that may have an effect, and one safe call.
async fn both_calls<T, B>(client: &ToopherClient<T>) -> [Result<(), ClientError>; 2]
where
    T: Service<Request<Bytes>, Response = Response<B>> + Clone,
    T::Error: Into<BoxError>,
    B: Body,
    B::Error: Into<BoxError>,
{
    let granted = |status: tower_toopher::client::AuthenticationStatus| assert!(status.is_granted());
    [client.authenticate(request()).await.map(granted), client.authentication_status("1").await.map(granted)]
}

/// Runs the same for each transport.
macro_rules! on_each {
    ($addr:expr, |$client:ident| $body:expr) => {
        on_each!(at format!("http://{}/v1/", $addr), |$client| $body)
    };
    (at $base:expr, |$client:ident| $body:expr) => {{
        let base = $base;
        #[cfg(feature = "client")]
        {
            let $client = client(&base, reqwest());
            $body;
        }
        #[cfg(feature = "client-hyper")]
        {
            let $client = client(&base, HyperTransport::new().unwrap());
            $body;
        }
    }};
}

#[tokio::test]
async fn responses_are_read_and_connections_are_reused() {
    let (addr, seen) = serve(|at| http("200 OK", "", [GRANTED, PENDING, DENIED][at % 3])).await;
    on_each!(addr, |client| {
        assert!(client.authenticate(request()).await.unwrap().is_granted());
        assert!(client.authentication_status("1").await.unwrap().is_pending());
        assert!(client.otp_auth("1", &"081804".parse().unwrap()).await.unwrap().is_denied());
    });
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 3 * TRANSPORTS);
    assert_eq!(seen[0].body, "user_name=a%7Eb*c%2Bd+e&otp=081804");
    for first_call in seen.iter().step_by(3).skip(1) {
        assert_eq!(first_call.pairs, seen[0].pairs);
        assert_ne!(first_call.nonce, seen[0].nonce);
    }
}

#[tokio::test]
async fn chunked_responses_and_queries() {
    let chunked = |body: &str| {
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        Then::Send(format!("{head}{:x}\r\n{body}\r\n0\r\n\r\n", body.len()).into())
    };
    let (addr, seen) = serve(move |_| chunked("[]")).await;
    on_each!(addr, |client| assert_eq!(client.find_user("a~b*c+d e \u{e9} %20").await.unwrap(), None));
    assert!(seen.lock().unwrap().iter().all(|seen| seen.get("name") == Some("a~b*c+d e \u{e9} %20")));
}

/// G10: neither host nor scheme nor method of a redirect is followed, and the second host receives nothing.
#[tokio::test]
async fn redirects_are_not_followed() {
    let (second, received) = serve(|_| http("200 OK", "", GRANTED)).await;
    for status in ["301 Moved Permanently", "302 Found", "303 See Other", "307 Temporary Redirect", "308 Permanent"] {
        for to in [format!("http://{second}/v1/authentication_requests/1"), "/v1/authentication_requests/1".into()] {
            let redirect = http(status, &format!("location: {to}\r\n"), GRANTED);
            let (first, seen) = serve(move |_| redirect.clone()).await;
            on_each!(first, |client| for result in both_calls(&client).await {
                let error = result.unwrap_err();
                assert_eq!(error.kind(), ClientErrorKind::InvalidResponse, "{status} {to}");
                assert!(error.status().unwrap().is_redirection(), "{status} {to}");
            });
            assert_eq!(seen.lock().unwrap().len(), 2 * TRANSPORTS);
        }
    }
    assert_eq!(received.lock().unwrap().len(), 0);
    // The transport turns redirects off in a builder that would follow them.
    #[cfg(feature = "client")]
    {
        let (first, _) = serve(move |_| http("307 T", &format!("location: http://{second}/v1/x\r\n"), "")).await;
        let eager = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::limited(5));
        let transport = ReqwestTransport::from_builder(eager).unwrap();
        let error = client(&format!("http://{first}/v1/"), transport).authenticate(request()).await.unwrap_err();
        assert_eq!(error.kind(), ClientErrorKind::InvalidResponse);
        assert_eq!(received.lock().unwrap().len(), 0);
    }
}

/// F4 at the level of bytes.
#[tokio::test]
async fn broken_responses_are_errors() {
    use ClientErrorKind::{InvalidResponse, ServerError, Transport};

    let head = "HTTP/1.1 200 OK\r\n";
    let large = "x".repeat(10 * 1024 * 1024);
    for (then, kind) in [
        (Then::HangUp, Transport),
        (Then::Send(b"SMTP ready\r\n\r\n".to_vec()), Transport),
        (Then::Send(b"HTTP/1.1 2000 OK\r\n\r\n".to_vec()), Transport),
        (Then::Send(format!("{head}content-length: 5\r\ncontent-length: 6\r\n\r\nhello").into()), Transport),
        (Then::Send(format!("{head}transfer-encoding: chunked\r\n\r\nzz\r\n").into()), Transport),
        (Then::Endless(head.into(), b"x-filler: 0123456789abcdef0123456789abcdef\r\n".to_vec()), Transport),
        (
            Then::Send(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n".to_vec()),
            InvalidResponse,
        ),
        (http("500 Internal Server Error", "", GRANTED), ServerError),
        (http("200 OK", "content-type: text/html\r\n", "<html>granted</html>"), InvalidResponse),
        (http("200 OK", "", ""), InvalidResponse),
        (http("204 No Content", "", ""), InvalidResponse),
        (http("401 Unauthorized", "www-authenticate: Basic\r\n", "who are you"), InvalidResponse),
        (http("200 OK", "", &GRANTED[..GRANTED.len() - 1]), InvalidResponse),
        (http("200 OK", "content-encoding: gzip\r\n", "\u{1f}\u{8b}"), InvalidResponse),
        (http("200 OK", "", &format!("{GRANTED}{large}")), InvalidResponse),
        (Then::Endless(format!("{head}\r\n").into(), vec![b' '; 4096]), InvalidResponse),
        (
            Then::Endless(format!("{head}transfer-encoding: chunked\r\n\r\n").into(), b"4\r\n    \r\n".to_vec()),
            InvalidResponse,
        ),
    ] {
        let shown = match &then {
            Then::Send(text) | Then::Stall(text) | Then::Endless(text, _) => {
                String::from_utf8_lossy(&text[..text.len().min(90)]).into_owned()
            }
            Then::HangUp => "hang up".into(),
        };
        let (addr, _) = serve(move |_| then.clone()).await;
        on_each!(addr, |client| for result in both_calls(&client).await {
            let error = result.unwrap_err();
            assert_eq!(error.kind(), kind, "{shown}: {error:?}");
            assert!(!format!("{error:?}").contains("081804"));
        });
    }
}

/// A body that ends before its `Content-Length` is an error, even if the received part is a whole grant.
#[tokio::test]
async fn a_truncated_body_is_an_error_of_the_transport() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                read(&mut stream).await;
                let text = format!("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{GRANTED}");
                stream.write_all(text.as_bytes()).await.unwrap();
            });
        }
    });
    on_each!(addr, |client| for result in both_calls(&client).await {
        assert_eq!(result.unwrap_err().kind(), ClientErrorKind::Transport);
    });
}

#[tokio::test]
async fn a_refused_connection_is_an_error_of_the_transport() {
    let port = test_support::ClosedPort::new();
    let addr = port.address;
    on_each!(addr, |client| for result in both_calls(&client).await {
        let error = result.unwrap_err();
        assert_eq!((error.kind(), error.status()), (ClientErrorKind::Transport, None));
        // The transport's own message does not contain the path of the request either.
        assert!(!format!("{error:?}").contains("authentication_requests"), "{error:?}");
    });
}

/// Over `https` the client sends no request and accepts no response without TLS.
#[tokio::test]
async fn a_server_without_tls_is_an_error_of_the_transport() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let received = Arc::<Mutex<Vec<u8>>>::default();
    let keep = received.clone();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut first = [0; 64];
            let read = stream.read(&mut first).await.unwrap();
            keep.lock().unwrap().extend_from_slice(&first[..read]);
            let text = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{GRANTED}", GRANTED.len());
            let _ = stream.write_all(text.as_bytes()).await;
        }
    });
    on_each!(at format!("https://{addr}/v1"), |client| {
        assert_eq!(client.authenticate(request()).await.unwrap_err().kind(), ClientErrorKind::Transport);
    });
    let received = received.lock().unwrap();
    assert!(!received.is_empty() && !received.windows(4).any(|bytes| bytes == b"POST"));
}

/// After a connection failure the client repeats a safe call once, with a new nonce, and no other call.
#[tokio::test]
async fn only_safe_calls_are_repeated_after_a_connection_failure() {
    let (addr, seen) = serve(|at| if at == 0 { Then::HangUp } else { http("200 OK", "", GRANTED) }).await;
    let taken = || std::mem::take(&mut *seen.lock().unwrap());
    on_each!(addr, |client| {
        assert!(client.authentication_status("1").await.unwrap().is_granted());
        let two = taken();
        assert_eq!(two.len(), 2);
        assert_ne!(two[0].nonce, two[1].nonce);
    });
    on_each!(addr, |client| {
        assert_eq!(client.authenticate(request()).await.unwrap_err().kind(), ClientErrorKind::Transport);
        assert_eq!(taken().len(), 1);
    });
}

/// The paused clock advances whenever all tasks are idle, so each of these takes its whole timeout and no more.
#[tokio::test(start_paused = true)]
async fn a_stalled_server_is_a_timeout() {
    for then in [
        Then::Stall(Vec::new()),
        Then::Stall(b"HTTP/1.1 200 OK\r\n".to_vec()),
        Then::Stall(format!("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{GRANTED}").into()),
        Then::Stall(format!("HTTP/1.1 200 OK\r\n\r\n{GRANTED}").into()),
    ] {
        let (addr, _) = serve(move |_| then.clone()).await;
        on_each!(addr, |client| {
            let started = tokio::time::Instant::now();
            for result in both_calls(&client.timeout(Duration::from_secs(10))).await {
                assert_eq!(result.unwrap_err().kind(), ClientErrorKind::Timeout);
            }
            assert_eq!(started.elapsed().as_secs(), 20);
        });
    }
}
