//! Signals to the process: graceful and immediate ends, and new certificates.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt;

use axum::http::Response;
use http_body_util::BodyExt;
use test_support::have;
use test_support::process::{Running, certificate, requester, scratch};
use toopher_server_test_support::cluster::site_at;
use tower::ServiceExt;

const HALF_BODY: &[u8] =
    b"POST /phone/v1/devices HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{";

/// An open connection with this request, after the server has begun to handle it.
fn send(address: &str, request: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(std::time::Duration::from_secs(60))).unwrap();
    stream.write_all(request).unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn event_streams_and_idle_connections_end_at_sigterm() {
    let folder = scratch("sigterm");
    let credentials = requester(&folder);
    let mut server = Running::start(&folder, &[]);
    let site = site_at(&server.address, &credentials, None);
    let (phone, _) = site.paired("jdoe").await;
    let events: Response<_> = site.app.clone().oneshot(phone.request("GET", "events", String::new())).await.unwrap();
    assert_eq!(events.status(), 200);
    let mut idle = send(&server.address, b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n");
    let mut answer = [0; 12];
    idle.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    let _silent = send(&server.address, b"");
    server.signal("TERM");
    // The router that forwards the stream returns after its regular end, and fails if the connection is cut.
    let body = events.into_body().collect().await.unwrap().to_bytes();
    assert!(body.starts_with(b"event: changed"), "{body:?}");
    assert!(server.process.wait().unwrap().success());
    assert!(!server.whole_log().contains("not finished"));
}

#[test]
fn a_second_signal_ends_the_process_at_once() {
    let folder = scratch("second-signal");
    requester(&folder);
    for (name, status) in [("TERM", 143), ("INT", 130)] {
        let mut server = Running::start(&folder, &[]);
        // A call in progress.
        let mut call = send(&server.address, HALF_BODY);
        let mut probe = send(&server.address, b"GET /healthz HTTP/1.0\r\n\r\n");
        probe.read_to_end(&mut Vec::new()).unwrap();
        server.signal("TERM");
        server.wait_for_log("stopping");
        server.signal(name);
        let ended = server.process.wait().unwrap();
        assert_eq!((ended.code(), ended.signal()), (Some(status), None));
        assert_eq!(call.read_to_end(&mut Vec::new()).unwrap_or(0), 0);
    }
}

#[test]
fn sighup_loads_the_certificate_again() {
    if !have(&["openssl", "curl"]) {
        return;
    }
    let folder = scratch("sighup");
    requester(&folder);
    certificate(&folder);
    let mut server = Running::start(&folder, &["--tls-cert", "tls.pem", "--tls-key", "tls.key"]);
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let url = format!("https://{}/healthz", server.address);
    let accepts = |certificate: &str| {
        let curl = std::process::Command::new("curl").args(["-sS", "--cacert", certificate, &url]).output().unwrap();
        curl.status.success() && curl.stdout == b"alive\n"
    };
    let first = path("first.pem");
    std::fs::copy(path("tls.pem"), &first).unwrap();
    assert!(accepts(&first));
    certificate(&folder);
    assert!(accepts(&first));
    server.signal("HUP");
    server.wait_for_log("loaded the TLS certificate");
    assert!(accepts(&path("tls.pem")) && !accepts(&first));
    // Broken files: the certificate of another key, no certificate, no file.
    let second = path("second.pem");
    std::fs::copy(path("tls.pem"), &second).unwrap();
    let failures = |server: &Running| server.log().matches("could not load the TLS certificate").count();
    for (failed, break_it) in [
        (1, &(|| assert!(std::fs::copy(&first, path("tls.pem")).unwrap() > 0)) as &dyn Fn()),
        (2, &|| std::fs::write(path("tls.pem"), "no certificate").unwrap()),
        (3, &|| std::fs::remove_file(path("tls.pem")).unwrap()),
    ] {
        break_it();
        server.signal("HUP");
        while failures(&server) < failed {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        assert!(accepts(&second), "{failed}");
    }
    assert!(server.stop());
    // Without TLS the signal has no effect.
    let mut server = Running::start(&folder, &[]);
    server.signal("HUP");
    server.wait_for_log("SIGHUP has no effect");
    assert!(server.stop());
}
