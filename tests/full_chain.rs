//! The whole chain as processes: `curl`, an axum service behind a `ToopherLayer`, a `ToopherVerifier`, HTTP,
//! `toopher-server`, and a code from `oathtool`. And the client over TLS.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::{BufRead, BufReader};

use common::example::Example;
use common::process::{Running, certificate, command, requester, scratch};
use common::{have, output};
use tower_toopher::oauth1::Credentials;
use tower_toopher::toopher::{ReqwestTransport, ToopherClient};

/// `examples/toopher.rs`.
struct Guarded(Example);

impl Guarded {
    fn start(base_url: &str, key: &str, secret: &str) -> Self {
        let api = [("TOOPHER_BASE_URL", base_url), ("TOOPHER_CONSUMER_KEY", key), ("TOOPHER_CONSUMER_SECRET", secret)];
        Self(Example::start_with("toopher", &api, "Listening on "))
    }

    /// The status of alice's request.
    fn curl(&self, more: &[&str]) -> String {
        let url = format!("{}/account", self.0.url);
        let fixed = ["-s", "-o", "/dev/null", "-w", "%{http_code}", "-u", "alice:wonderland", &url];
        output("curl", &[&fixed[..], more].concat())
    }
}

#[test]
fn a_code_and_an_approval_through_everything() {
    if !have(&["curl", "oathtool", "sh", "sed"]) {
        return;
    }
    let folder = scratch("chain");
    let mut server = Running::start(&folder, &["--demo"]);
    let mut printed = String::new();
    let mut reader = BufReader::new(server.process.stdout.take().unwrap());
    while !printed.contains("requests/$(waiting requests") {
        assert!(reader.read_line(&mut printed).unwrap() > 0);
    }
    let variable = |name: &str| {
        let line = printed.lines().find_map(|line| line.strip_prefix(&format!("export {name}=")));
        line.unwrap().to_owned()
    };
    let base_url = variable("TOOPHER_BASE_URL");
    // The demo's own lines pair a phone; what they learn is kept for here.
    let pairing = printed.split("# Authenticate by").next().unwrap();
    let learnt = output("sh", &["-c", &format!("{pairing}\necho \"$PHONE $SECRET\"")]);
    let (phone, secret) = learnt.lines().last().unwrap().split_once(' ').unwrap();
    let guarded = Guarded::start(&base_url, &variable("TOOPHER_CONSUMER_KEY"), &variable("TOOPHER_CONSUMER_SECRET"));

    let code = output("oathtool", &["--totp", "-b", secret]);
    let with_code = format!("Toopher-OTP: {} {}", &code[..3], &code[3..]);
    assert_eq!(guarded.curl(&["-H", "Toopher-OTP: 000000"]), "401");
    assert_eq!(guarded.curl(&["-H", &with_code]), "200");
    assert_eq!(guarded.curl(&["-H", &with_code]), "401");
    assert_eq!(guarded.curl(&["-H", "Toopher-OTP:;"]), "401");

    let jar = folder.join("jar").to_str().unwrap().to_owned();
    let head = folder.join("head").to_str().unwrap().to_owned();
    assert_eq!(guarded.curl(&["-c", &jar, "-D", &head]), "202");
    let head = std::fs::read_to_string(head).unwrap();
    let challenge = head.lines().find(|line| line.starts_with("toopher-challenge: ")).unwrap();
    let ask = || guarded.curl(&["-c", &jar, "-b", &jar, "-H", challenge]);
    assert_eq!(ask(), "202");
    let phone_url = base_url.replace("/v1", "/phone/v1");
    let token = format!("Authorization: Bearer {phone}");
    let waiting = output("curl", &["-s", "-H", &token, &format!("{phone_url}/requests")]);
    let waiting: serde_json::Value = serde_json::from_str(&waiting).unwrap();
    assert_eq!(waiting.as_array().unwrap().len(), 1, "{waiting}");
    assert_eq!((&waiting[0]["user"], &waiting[0]["action"]), (&"alice".into(), &"see the account".into()));
    let allow = format!("{phone_url}/requests/{}/allow", waiting[0]["id"].as_str().unwrap());
    output("curl", &["-s", "-f", "-H", &token, "-H", "Content-Type: application/json", "-d", "{}", &allow]);
    // Another browser gets nothing of it; this one gets in, once.
    assert_eq!(guarded.curl(&["-H", challenge]), "401");
    assert_eq!(guarded.curl(&[]), "401");
    assert_eq!(ask(), "200");
    assert_eq!(ask(), "401");

    // With the server gone the door is closed.
    assert!(server.stop());
    assert_eq!(guarded.curl(&["-H", "Toopher-OTP: 123456"]), "503");
    assert_eq!(guarded.curl(&["-b", &jar]), "503");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_over_tls_trusts_whom_it_is_told_to() {
    if !have(&["openssl"]) {
        return;
    }
    let folder = scratch("client-tls");
    let (key, secret) = requester(&folder);
    certificate(&folder);
    let server = Running::start(&folder, &["--tls-cert", "tls.pem", "--tls-key", "tls.key"]);
    let base = format!("https://{}/v1", server.address);
    let credentials = Credentials::new(key, secret).unwrap();
    let certificate = reqwest::Certificate::from_pem(&std::fs::read(folder.join("tls.pem")).unwrap()).unwrap();
    let trusting = reqwest::Client::builder().no_proxy().tls_certs_only([certificate]);
    let trusting = ReqwestTransport::from_builder(trusting).unwrap();
    let client = ToopherClient::with_transport(base.parse().unwrap(), credentials.clone(), trusting);
    assert_eq!(client.create_user("zo\u{eb}").await.unwrap().name(), Some("zo\u{eb}"));

    let stranger = ReqwestTransport::from_builder(reqwest::Client::builder().no_proxy()).unwrap();
    let client = ToopherClient::with_transport(base.parse().unwrap(), credentials, stranger);
    let error = client.create_user("zo\u{eb}").await.unwrap_err();
    assert!(error.is_transport(), "{error:?}");
    assert!(command(&folder).arg("--version").status().unwrap().success());
}
