//! Clients that leave in the middle, or send what is no HTTP.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::tally::NONE;

/// What is sent before the connection is dropped, at this path; and whether an answer is waited for.
fn texts(path: &str) -> [(Vec<u8>, bool); 7] {
    let post = format!("POST {path} HTTP/1.1\r\nhost: x\r\nx-user: user-0\r\ncookie: session=1\r\n");
    let form = format!("{post}content-type: application/x-www-form-urlencoded\r\n");
    [
        (format!("{form}content-length: 60000\r\n\r\nuser_name=user-0&otp=1{}", "2".repeat(5000)).into(), false),
        (format!("{form}transfer-encoding: chunked\r\n\r\n40\r\notp=000000&").into(), false),
        (format!("{form}transfer-encoding: chunked\r\n\r\nZZ\r\notp=000000&").into(), true),
        (post.into(), false),
        (b"".into(), false),
        ([b"GET / HTTP/1.1\r\ntoopher-otp: ", &[0_u8; 50][..], b"\r\n\r\n"].concat(), true),
        (format!("GET {path} HTTP/1.1\r\nhost: x\r\ntoopher-otp: {}\r\n\r\n", "1".repeat(600_000)).into(), true),
    ]
}

/// The status, or [`NONE`].
pub async fn visit(address: SocketAddr, path: &str, nth: usize) -> u16 {
    let texts = texts(path);
    let (text, waits) = &texts[nth % texts.len()];
    let visit = async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        // The server may have closed it before all is written.
        let _ = stream.write_all(text).await;
        if !waits {
            return None;
        }
        let mut head = [0; 12];
        stream.read_exact(&mut head).await.ok()?;
        std::str::from_utf8(&head).ok()?.strip_prefix("HTTP/1.1 ")?.parse().ok()
    };
    tokio::time::timeout(Duration::from_secs(10), visit).await.ok().flatten().unwrap_or(NONE)
}
