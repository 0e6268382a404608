//! Signed calls from an address whose connections an attacker holds, for example behind the same router.

use test_support::process::{Running, requester, scratch};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use toopher_server_test_support::cluster::{now, site_at};
use toopher_server_test_support::site::Phone;

const SHARE: usize = 24;
/// More than the share, so that some of them wait for a connection at each time.
const ATTACKERS: usize = 32;
const CALLS: usize = 100;

/// Sends requests without waiting for the responses, until the connection is closed. Then connects again at once.
async fn attack(address: String, requests: String) {
    loop {
        let Ok(mut stream) = TcpStream::connect(&address).await else { continue };
        let (mut reader, mut writer) = stream.split();
        let write = async { while writer.write_all(requests.as_bytes()).await.is_ok() {} };
        let read = async { while reader.read(&mut [0; 4096]).await.is_ok_and(|read| read > 0) {} };
        tokio::select! {
            () = write => {}
            () = read => {}
        }
        // Otherwise the port stays in use for a minute.
        let _ = stream.set_zero_linger();
    }
}

/// Each request waits for its turn, and the next one begins at once, so no connection waits for its client.
#[tokio::test(flavor = "multi_thread")]
async fn slow_calls_in_all_connections_of_an_address_exclude_no_signed_calls_from_it() {
    let folder = scratch("same-address");
    let credentials = requester(&folder);
    let server = Running::start(&folder, &["--max-connections-per-address", &SHARE.to_string()]);
    let site = site_at(&server.address, &credentials, None);
    let mut attackers = tokio::task::JoinSet::new();
    let mut requests = Vec::new();
    for _ in 0..ATTACKERS {
        let token = Phone::register(&site.app).await.token;
        let head = format!("POST /phone/v1/phrases HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\r\n");
        requests.push(head.repeat(4));
    }
    requests.into_iter().for_each(|requests| drop(attackers.spawn(attack(server.address.clone(), requests))));
    server.wait_for_log("connection limit of a client address reached");
    let mut succeeded = 0;
    for n in 0..CALLS {
        site.clock.set(now().as_secs());
        let (status, _) = site.post("users/create", &[("name", &format!("user {n}"))]).await;
        succeeded += usize::from(status == 200);
    }
    attackers.shutdown().await;
    assert!(succeeded >= CALLS * 9 / 10, "{succeeded} of {CALLS} calls succeeded");
}
