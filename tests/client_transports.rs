//! The two transports over real sockets, against servers that answer badly or not at all.
#![allow(clippy::unwrap_used)]

mod client_common;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use client_common::{DENIED, GRANTED, PENDING, Seen, at_now, credentials};
use http::{Request, Response};
use http_body::Body;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower::Service;
use tower_toopher::BoxError;
use tower_toopher::toopher::{ClientError, HyperTransport, Initiate, ReqwestTransport, ToopherClient};

/// What a server does with a request, once it has read it.
#[derive(Clone)]
enum Then {
    Say(Vec<u8>),
    /// Says this, and then nothing, with the connection open.
    Stall(Vec<u8>),
    /// Says this, and this again and again.
    Endless(Vec<u8>, Vec<u8>),
    HangUp,
}

fn say(status: &str, headers: &str, body: &str) -> Then {
    let length = body.len();
    Then::Say(format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n{headers}\r\n{body}").into())
}

/// A server on a free port, and the requests that it has seen: all of them signed, or it panics and hangs up.
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
                        seen.push(Seen::of(&request));
                        seen.len() - 1
                    };
                    match then(at) {
                        Then::Say(text) => stream.write_all(&text).await.unwrap(),
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

/// Reads one request with a body of a stated length.
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

fn reqwest() -> ReqwestTransport {
    // Should this machine have a proxy.
    ReqwestTransport::from_builder(reqwest::Client::builder().no_proxy()).unwrap()
}

fn client<T>(addr: SocketAddr, transport: T) -> ToopherClient<T> {
    at_now(ToopherClient::with_transport(format!("http://{addr}/v1/").parse().unwrap(), credentials(), transport))
}

fn whom() -> Initiate {
    Initiate::by_user_name("a~b*c+d e").otp(&"081804".parse().unwrap())
}

/// One call that could be granted, and one that only looks.
async fn both_calls<T, B>(client: &ToopherClient<T>) -> [Result<(), ClientError>; 2]
where
    T: Service<Request<Bytes>, Response = Response<B>> + Clone,
    T::Error: Into<BoxError>,
    B: Body,
    B::Error: Into<BoxError>,
{
    let granted = |status: tower_toopher::toopher::AuthenticationStatus| assert!(status.is_granted());
    [client.authenticate(whom()).await.map(granted), client.authentication_status("1").await.map(granted)]
}

/// Runs the same for both transports.
macro_rules! on_both {
    ($addr:expr, |$client:ident| $body:expr) => {{
        let $client = client($addr, reqwest());
        $body;
        let $client = client($addr, HyperTransport::new().unwrap());
        $body;
    }};
}

#[tokio::test]
async fn answers_arrive_and_connections_are_used_again() {
    let (addr, seen) = serve(|at| say("200 OK", "", [GRANTED, PENDING, DENIED][at % 3])).await;
    on_both!(addr, |client| {
        assert!(client.authenticate(whom()).await.unwrap().is_granted());
        assert!(client.authentication_status("1").await.unwrap().is_pending());
        assert!(client.otp_auth("1", &"081804".parse().unwrap()).await.unwrap().is_denied());
    });
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 6);
    assert_eq!(seen[3].pairs, seen[0].pairs);
    assert_eq!(seen[0].body, "user_name=a%7Eb*c%2Bd+e&otp=081804");
    assert_ne!(seen[0].nonce, seen[3].nonce);
}

#[tokio::test]
async fn chunked_answers_and_queries() {
    let chunked = |body: &str| {
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        Then::Say(format!("{head}{:x}\r\n{body}\r\n0\r\n\r\n", body.len()).into())
    };
    let (addr, seen) = serve(move |_| chunked("[]")).await;
    on_both!(addr, |client| assert_eq!(client.find_user("a~b*c+d e \u{e9} %20").await.unwrap(), None));
    assert!(seen.lock().unwrap().iter().all(|seen| seen.get("name") == Some("a~b*c+d e \u{e9} %20")));
}

/// G10: neither host nor scheme nor method of a redirect is followed, and the second host hears nothing.
#[tokio::test]
async fn redirects_are_not_followed() {
    let (second, heard) = serve(|_| say("200 OK", "", GRANTED)).await;
    for status in ["301 Moved Permanently", "302 Found", "303 See Other", "307 Temporary Redirect", "308 Permanent"] {
        for to in [format!("http://{second}/v1/authentication_requests/1"), "/v1/authentication_requests/1".into()] {
            let answer = say(status, &format!("location: {to}\r\n"), GRANTED);
            let (first, seen) = serve(move |_| answer.clone()).await;
            on_both!(first, |client| for result in both_calls(&client).await {
                let error = result.unwrap_err();
                assert!(error.is_invalid_answer() && error.status().unwrap().is_redirection(), "{status} {to}");
            });
            assert_eq!(seen.lock().unwrap().len(), 4);
        }
    }
    assert_eq!(heard.lock().unwrap().len(), 0);
    // A builder that would follow them is told not to.
    let (first, _) = serve(move |_| say("307 T", &format!("location: http://{second}/v1/x\r\n"), "")).await;
    let eager = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::limited(5));
    let transport = ReqwestTransport::from_builder(eager).unwrap();
    assert!(client(first, transport).authenticate(whom()).await.unwrap_err().is_invalid_answer());
    assert_eq!(heard.lock().unwrap().len(), 0);
}

/// F4 at the level of bytes.
#[tokio::test]
async fn broken_answers_are_errors() {
    let head = "HTTP/1.1 200 OK\r\n";
    let large = "x".repeat(10 * 1024 * 1024);
    for (then, what) in [
        (Then::HangUp, "transport"),
        (Then::Say(b"SMTP ready\r\n\r\n".to_vec()), "transport"),
        (Then::Say(b"HTTP/1.1 2000 OK\r\n\r\n".to_vec()), "transport"),
        (Then::Say(format!("{head}content-length: 5\r\ncontent-length: 6\r\n\r\nhello").into()), "transport"),
        (Then::Say(format!("{head}transfer-encoding: chunked\r\n\r\nzz\r\n").into()), "transport"),
        (Then::Endless(head.into(), b"x-filler: 0123456789abcdef0123456789abcdef\r\n".to_vec()), "transport"),
        (
            Then::Say(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n".to_vec()),
            "answer",
        ),
        (say("500 Internal Server Error", "", GRANTED), "answer"),
        (say("200 OK", "content-type: text/html\r\n", "<html>granted</html>"), "answer"),
        (say("200 OK", "", ""), "answer"),
        (say("204 No Content", "", ""), "answer"),
        (say("401 Unauthorized", "www-authenticate: Basic\r\n", "who are you"), "answer"),
        (say("200 OK", "", &GRANTED[..GRANTED.len() - 1]), "answer"),
        (say("200 OK", "content-encoding: gzip\r\n", "\u{1f}\u{8b}"), "answer"),
        (say("200 OK", "", &format!("{GRANTED}{large}")), "answer"),
        (Then::Endless(format!("{head}\r\n").into(), vec![b' '; 4096]), "answer"),
        (
            Then::Endless(format!("{head}transfer-encoding: chunked\r\n\r\n").into(), b"4\r\n    \r\n".to_vec()),
            "answer",
        ),
    ] {
        let shown = match &then {
            Then::Say(text) | Then::Stall(text) | Then::Endless(text, _) => {
                String::from_utf8_lossy(&text[..text.len().min(90)]).into_owned()
            }
            Then::HangUp => "hang up".into(),
        };
        let (addr, _) = serve(move |_| then.clone()).await;
        on_both!(addr, |client| for result in both_calls(&client).await {
            let error = result.unwrap_err();
            let kind = if error.is_transport() { "transport" } else { "answer" };
            assert_eq!(kind, what, "{shown}: {error:?}");
            assert!(error.is_transport() || error.is_invalid_answer());
            assert!(!format!("{error:?}").contains("081804"));
        });
    }
}

/// A body that is cut off before its stated length, even where what came is a whole grant.
#[tokio::test]
async fn a_body_that_is_cut_off_is_no_answer() {
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
    on_both!(addr, |client| for result in both_calls(&client).await {
        assert!(result.unwrap_err().is_transport());
    });
}

#[tokio::test]
async fn nobody_there_is_an_error_of_the_transport() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    drop(listener);
    on_both!(addr, |client| for result in both_calls(&client).await {
        let error = result.unwrap_err();
        assert!(error.is_transport() && error.status().is_none());
        // Not even the transport's own words hold the address of what was asked.
        assert!(!format!("{error:?}").contains("authentication_requests"), "{error:?}");
    });
}

/// Over `https` nothing is said, and nothing believed, before there is TLS.
#[tokio::test]
async fn a_server_without_tls_is_an_error_of_the_transport() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let heard = Arc::<Mutex<Vec<u8>>>::default();
    let keep = heard.clone();
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
    let base = || format!("https://{addr}/v1").parse().unwrap();
    let over_reqwest = ToopherClient::with_transport(base(), credentials(), reqwest());
    let over_hyper = ToopherClient::with_transport(base(), credentials(), HyperTransport::new().unwrap());
    assert!(over_reqwest.authenticate(whom()).await.unwrap_err().is_transport());
    assert!(over_hyper.authenticate(whom()).await.unwrap_err().is_transport());
    let heard = heard.lock().unwrap();
    assert!(!heard.is_empty() && !heard.windows(4).any(|bytes| bytes == b"POST"));
}

/// A status call whose connection breaks is made again with a nonce of its own; one that may push is not.
#[tokio::test]
async fn broken_connections_are_tried_again_only_to_look() {
    let (addr, seen) = serve(|at| if at == 0 { Then::HangUp } else { say("200 OK", "", GRANTED) }).await;
    let taken = || std::mem::take(&mut *seen.lock().unwrap());
    on_both!(addr, |client| {
        assert!(client.authentication_status("1").await.unwrap().is_granted());
        let two = taken();
        assert_eq!(two.len(), 2);
        assert_ne!(two[0].nonce, two[1].nonce);
    });
    on_both!(addr, |client| {
        assert!(client.authenticate(whom()).await.unwrap_err().is_transport());
        assert_eq!(taken().len(), 1);
    });
}

/// Time runs as soon as nobody does anything, so each of these waits for its whole time and no longer.
#[tokio::test(start_paused = true)]
async fn servers_that_stall_are_left() {
    for then in [
        Then::Stall(Vec::new()),
        Then::Stall(b"HTTP/1.1 200 OK\r\n".to_vec()),
        Then::Stall(format!("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{GRANTED}").into()),
        Then::Stall(format!("HTTP/1.1 200 OK\r\n\r\n{GRANTED}").into()),
    ] {
        let (addr, _) = serve(move |_| then.clone()).await;
        on_both!(addr, |client| {
            let started = tokio::time::Instant::now();
            for result in both_calls(&client.timeout(Duration::from_secs(10))).await {
                assert!(result.unwrap_err().is_timeout());
            }
            assert_eq!(started.elapsed().as_secs(), 20);
        });
    }
}
