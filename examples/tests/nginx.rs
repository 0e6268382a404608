//! An nginx process with the configuration of `examples/forward-auth`, or another one.
#![allow(clippy::panic)]

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use test_support::process::scratch;

/// A running nginx. It ends with the test.
pub(crate) struct Nginx {
    process: Child,
    pub(crate) address: String,
}

impl Nginx {
    /// With the documented configuration, except for its three addresses and one more location.
    pub(crate) fn start(name: &str, verify: &str, application: &str) -> Self {
        let documented = concat!(env!("CARGO_MANIFEST_DIR"), "/../forward-auth/nginx.conf");
        let documented = std::fs::read_to_string(documented).unwrap();
        // A location that an administrator adds later.
        let added = "        location /later/ {\n            proxy_pass http://application;\n        }\n";
        let text = documented.replacen("        location / {", &format!("{added}\n        location / {{"), 1);
        assert!(text.contains(added));
        Self::start_with(name, &text, &[("127.0.0.1:3000", verify), ("127.0.0.1:3001", application)])
    }

    /// With this configuration, in which each address is replaced. nginx listens at 127.0.0.1:8080.
    pub(crate) fn start_with(name: &str, configuration: &str, addresses: &[(&str, &str)]) -> Self {
        let folder = scratch(name);
        for _ in 0..5 {
            let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
            let mut text = configuration.to_owned();
            for (example, actual) in addresses.iter().copied().chain([("127.0.0.1:8080", address.as_str())]) {
                assert_eq!(text.matches(example).count(), 1, "{example}");
                text = text.replace(example, actual);
            }
            std::fs::write(folder.join("nginx.conf"), text).unwrap();
            if let Some(nginx) = Self::try_start(&folder, address) {
                return nginx;
            }
        }
        panic!("nginx does not start: {}", std::fs::read_to_string(folder.join("errors")).unwrap());
    }

    /// `None` if another process has taken the port.
    fn try_start(folder: &Path, address: String) -> Option<Self> {
        let errors = std::fs::File::create(folder.join("errors")).unwrap();
        let process = Command::new("nginx")
            .args(["-p", folder.to_str().unwrap(), "-e", "stderr", "-c", folder.join("nginx.conf").to_str().unwrap()])
            // A single process, which can be killed.
            .args(["-g", "master_process off;"])
            .stdout(Stdio::null())
            .stderr(errors)
            .spawn()
            .unwrap();
        let mut nginx = Self { process, address };
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline {
            if nginx.process.try_wait().unwrap().is_some() {
                return None;
            }
            if TcpStream::connect(&nginx.address).is_ok() {
                return Some(nginx);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        None
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Received {
        let mut request = Request::builder().method(method).uri(format!("http://{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
        let response = client.request(request.body(Full::new(body.into())).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        Received { status: parts.status.as_u16(), headers: parts.headers, text }
    }

    pub(crate) async fn get(&self, headers: &[(&str, &str)]) -> Received {
        self.send("GET", "/report", headers, "").await
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A response that the client has received.
pub(crate) struct Received {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Received {
    pub(crate) fn header(&self, name: impl Into<HeaderName>) -> Option<&str> {
        self.headers.get(name.into()).map(|value| value.to_str().unwrap())
    }
}
