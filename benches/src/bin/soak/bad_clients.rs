//! Clients that disconnect during a request, or do not send HTTP.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::stats::NO_RESPONSE;

struct Message {
    bytes: Vec<u8>,
    /// Whether the client waits for a response before it disconnects.
    waits: bool,
}

fn messages(path: &str) -> [Message; 7] {
    let disconnect = |bytes: String| Message { bytes: bytes.into(), waits: false };
    let wait = |bytes: Vec<u8>| Message { bytes, waits: true };
    let post = format!("POST {path} HTTP/1.1\r\nhost: x\r\nx-user: user-0\r\ncookie: session=1\r\n");
    let form = format!("{post}content-type: application/x-www-form-urlencoded\r\n");
    let long_form = format!("user_name=user-0&otp=1{}", "2".repeat(5000));
    let long_code = "1".repeat(600_000);
    [
        disconnect(format!("{form}content-length: 60000\r\n\r\n{long_form}")),
        disconnect(format!("{form}transfer-encoding: chunked\r\n\r\n40\r\notp=000000&")),
        wait(format!("{form}transfer-encoding: chunked\r\n\r\nZZ\r\notp=000000&").into()),
        disconnect(post),
        disconnect(String::new()),
        wait([b"GET / HTTP/1.1\r\ntoopher-otp: ", &[0_u8; 50][..], b"\r\n\r\n"].concat()),
        wait(format!("GET {path} HTTP/1.1\r\nhost: x\r\ntoopher-otp: {long_code}\r\n\r\n").into()),
    ]
}

/// Sends one of the messages and returns the status, or [`NO_RESPONSE`].
pub(crate) async fn send(address: SocketAddr, path: &str, index: usize) -> u16 {
    let messages = messages(path);
    let message = &messages[index % messages.len()];
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        // The server may close the connection before it has read the whole message.
        let _ = stream.write_all(&message.bytes).await;
        if !message.waits {
            return None;
        }
        let mut head = [0; 12];
        stream.read_exact(&mut head).await.ok()?;
        std::str::from_utf8(&head).ok()?.strip_prefix("HTTP/1.1 ")?.parse().ok()
    };
    tokio::time::timeout(Duration::from_secs(10), exchange).await.ok().flatten().unwrap_or(NO_RESPONSE)
}
