//! The examples stop when a supervisor asks for it, and survive a flood of connections.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use test_support::example::{Example, command};
use test_support::have;

/// The examples that listen at `ADDR`, with the variables that they require.
const EXAMPLES: [(&str, &[(&str, &str)]); 13] = [
    ("axum-login", &[]),
    ("custom-rejection", &[]),
    ("forward-auth", &[]),
    ("frame", &API),
    ("grants", &[]),
    ("hyper-header", &[]),
    ("login", &[]),
    ("per-route", &[]),
    ("quickstart", &[]),
    ("resilient-verifier", &[]),
    ("sessions", &[]),
    ("tonic", &[]),
    ("toopher", &API),
];

const API: [(&str, &str); 3] = [
    ("TOOPHER_BASE_URL", "http://127.0.0.1:1/v1"),
    ("TOOPHER_CONSUMER_KEY", "key"),
    ("TOOPHER_CONSUMER_SECRET", "secret"),
];

/// Sends a request and waits for the first byte of the response, so that the example serves.
fn get(address: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    // An HTTP/2 server closes the connection.
    let _ = stream.read(&mut [0; 1]).unwrap();
    stream
}

#[test]
fn every_example_stops_on_sigterm_although_clients_keep_their_connections() {
    std::thread::scope(|scope| {
        for (name, environment) in EXAMPLES {
            scope.spawn(move || {
                let mut example = Example::start_with(name, environment, "Listening on ");
                let _idle = TcpStream::connect(example.address()).unwrap();
                let _keep_alive = get(example.address());
                let mut half = TcpStream::connect(example.address()).unwrap();
                half.write_all(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nabc").unwrap();
                assert!(example.stop(), "{name}");
            });
        }
    });
}

#[test]
fn the_replicas_stop_on_sigterm() {
    if !have(&["redis-server"]) {
        return;
    }
    let mut example = Example::start_with("replicas", &[("WAIT", "1"), ("ROUNDS", "1")], "Press enter");
    assert!(example.stop());
}

/// hyper closes a connection without a complete request head: silent from the start, in the middle of a head, or after
/// a response.
#[test]
fn plain_hyper_closes_silent_connections() {
    let example = Example::start_with("hyper-header", &[("HEAD_SECONDS", "1")], "Listening on ");
    let silent: Vec<_> = ["", "P", "PRI * HTTP/2.0\r\n", "GET / HTTP/1.1\r\nHost: localhost\r\n"]
        .into_iter()
        .map(|sent| {
            let mut stream = TcpStream::connect(example.address()).unwrap();
            stream.write_all(sent.as_bytes()).unwrap();
            stream
        })
        .chain([get(example.address())])
        .collect();
    for mut stream in silent {
        // Without the deadline of the example, the read ends with this one.
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.read_to_end(&mut Vec::new()).unwrap();
    }
}

/// The example accepts connections again after the process had no free file, and does not retry without a pause.
#[test]
fn plain_hyper_survives_a_lack_of_files() {
    let program = command("hyper-header", &[]).get_program().to_owned();
    let mut process = Command::new("sh")
        .args(["-c", "ulimit -n 24 && exec \"$0\""])
        .arg(program)
        .env("ADDR", "127.0.0.1:0")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("Listening on http://").unwrap().to_owned();

    let begun = Instant::now();
    let connections: Vec<_> = (0..40).map(|_| TcpStream::connect(&address).unwrap()).collect();
    let mut stderr = BufReader::new(process.stderr.take().unwrap());
    let mut errors = 0;
    for _ in 0..3 {
        line.clear();
        stderr.read_line(&mut line).unwrap();
        assert!(line.starts_with("accept error: "), "{line}");
        errors += 1;
    }
    drop(connections);
    drop(get(&address));

    test_support::output("kill", &["-TERM", &process.id().to_string()]);
    assert!(process.wait().unwrap().success());
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).unwrap();
    errors += rest.matches("accept error: ").count();
    // At most one for each pause.
    assert!(errors as u128 <= begun.elapsed().as_millis() / 100 + 1, "{errors} errors");
}
