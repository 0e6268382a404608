//! All parts as processes: `curl`, the axum service of `examples/toopher`, `toopher-server`, and codes of `oathtool`.
//! And the client over TLS.

use std::io::{BufRead, BufReader};

use test_support::example::Example;
use test_support::process::{Running, certificate, command, requester, scratch};
use test_support::{have, output};
use toopher_oauth1::Credentials;
use tower_toopher::client::{ClientErrorKind, ReqwestTransport, ToopherClient};

/// The running `examples/toopher`.
struct Service(Example);

impl Service {
    fn start(base_url: &str, key: &str, secret: &str) -> Self {
        let api = [("TOOPHER_BASE_URL", base_url), ("TOOPHER_CONSUMER_KEY", key), ("TOOPHER_CONSUMER_SECRET", secret)];
        Self(Example::start_with("toopher", &api, "Listening on "))
    }

    /// The status of a request of alice.
    fn curl(&self, args: &[&str]) -> String {
        let url = format!("{}/account", self.0.url);
        let fixed = ["-s", "-o", "/dev/null", "-w", "%{http_code}", "-u", "alice:wonderland", &url];
        output("curl", &[&fixed[..], args].concat())
    }
}

#[test]
fn a_code_and_an_approval_through_all_parts() {
    if !have(&["curl", "oathtool", "sh", "sed"]) {
        return;
    }
    let folder = scratch("chain");
    let mut server = Running::start(&folder, &["--demo"]);
    let mut printed = String::new();
    let mut reader = BufReader::new(server.process.stdout.take().unwrap());
    while !printed.contains("requests/$(pending requests") {
        assert!(reader.read_line(&mut printed).unwrap() > 0);
    }
    let variable = |name: &str| {
        let line = printed.lines().find_map(|line| line.strip_prefix(&format!("export {name}=")));
        line.unwrap().to_owned()
    };
    let base_url = variable("TOOPHER_BASE_URL");
    // The commands that the server prints pair a phone, and set these variables.
    let pairing = printed.split("# Authenticate with").next().unwrap();
    let variables = output("sh", &["-c", &format!("{pairing}\necho \"$PHONE $SECRET\"")]);
    let (phone, secret) = variables.lines().last().unwrap().split_once(' ').unwrap();
    let service = Service::start(&base_url, &variable("TOOPHER_CONSUMER_KEY"), &variable("TOOPHER_CONSUMER_SECRET"));

    let code = output("oathtool", &["--totp", "-b", secret]);
    let with_code = format!("Toopher-OTP: {} {}", &code[..3], &code[3..]);
    assert_eq!(service.curl(&["-H", "Toopher-OTP: 000000"]), "401");
    assert_eq!(service.curl(&["-H", &with_code]), "200");
    assert_eq!(service.curl(&["-H", &with_code]), "401");
    assert_eq!(service.curl(&["-H", "Toopher-OTP:;"]), "401");

    let jar = folder.join("jar").to_str().unwrap().to_owned();
    let head = folder.join("head").to_str().unwrap().to_owned();
    assert_eq!(service.curl(&["-c", &jar, "-D", &head]), "202");
    let head = std::fs::read_to_string(head).unwrap();
    let approval = head.lines().find(|line| line.starts_with("toopher-approval: ")).unwrap();
    let poll = || service.curl(&["-c", &jar, "-b", &jar, "-H", approval]);
    assert_eq!(poll(), "202");
    let phone_url = base_url.replace("/v1", "/phone/v1");
    let token = format!("Authorization: Bearer {phone}");
    let pending = output("curl", &["-s", "-H", &token, &format!("{phone_url}/requests")]);
    let pending: serde_json::Value = serde_json::from_str(&pending).unwrap();
    assert_eq!(pending.as_array().unwrap().len(), 1, "{pending}");
    assert_eq!((&pending[0]["user"], &pending[0]["action"]), (&"alice".into(), &"see the account".into()));
    let allow = format!("{phone_url}/requests/{}/allow", pending[0]["id"].as_str().unwrap());
    output("curl", &["-s", "-f", "-H", &token, "-H", "Content-Type: application/json", "-d", "{}", &allow]);
    // The approval is bound to the browser that requested it, and is redeemed once.
    assert_eq!(service.curl(&["-H", approval]), "401");
    assert_eq!(service.curl(&[]), "401");
    assert_eq!(poll(), "200");
    assert_eq!(poll(), "401");

    // Without the server, the service fails closed.
    assert!(server.stop());
    assert_eq!(service.curl(&["-H", "Toopher-OTP: 123456"]), "503");
    assert_eq!(service.curl(&["-b", &jar]), "503");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_trusts_only_the_configured_certificates() {
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

    let distrusting = ReqwestTransport::from_builder(reqwest::Client::builder().no_proxy()).unwrap();
    let client = ToopherClient::with_transport(base.parse().unwrap(), credentials, distrusting);
    let error = client.create_user("zo\u{eb}").await.unwrap_err();
    assert_eq!(error.kind(), ClientErrorKind::Transport, "{error:?}");
    assert!(command(&folder).arg("--version").status().unwrap().success());
}
