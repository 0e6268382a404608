//! What the tests of several packages share: processes, databases, a browser, an inner service and captured logs.
#![allow(clippy::unwrap_used, missing_debug_implementations)]

pub mod axe;
pub mod browser;
pub mod capture;
pub mod example;
pub mod postgres;
pub mod process;
pub mod redis;
pub mod resp;
pub mod service;

/// Whether these programs are installed. A test that needs a missing one is reported as skipped. With `REQUIRE_TOOLS`,
/// which `tests/all.sh` sets, a missing program is a failure.
pub fn have(programs: &[&str]) -> bool {
    let found = |program: &&&str| {
        std::process::Command::new("sh").args(["-c", &format!("command -v {program} >/dev/null")]).status()
    };
    let missing: Vec<_> =
        programs.iter().filter(|program| !found(program).is_ok_and(|status| status.success())).collect();
    assert!(missing.is_empty() || std::env::var_os("REQUIRE_TOOLS").is_none(), "not installed: {missing:?}");
    if !missing.is_empty() {
        skipped(&format!("these programs are not installed: {missing:?}"));
    }
    missing.is_empty()
}

/// Reports the running test as skipped. Writes to the process's standard error, since the harness captures `eprintln!`
/// of tests that pass.
pub fn skipped(why: &str) {
    use std::io::Write;
    let test = std::thread::current();
    let name = test.name().unwrap_or("a test");
    // One write, since other threads write too.
    let line = format!("{name}: skipped, since {why} (tests/all.sh installs what is missing)\n");
    let _ = std::io::stderr().write_all(line.as_bytes());
}

/// The standard output of a program, without its last line break.
pub fn output(program: &str, args: &[&str]) -> String {
    let output = std::process::Command::new(program).args(args).output().unwrap();
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

/// A port on loopback that refuses connections until this is dropped: its socket is bound, and does not listen.
pub struct ClosedPort {
    _socket: tokio::net::TcpSocket,
    pub address: std::net::SocketAddr,
}

impl ClosedPort {
    #[allow(clippy::new_without_default, reason = "it takes a port")]
    pub fn new() -> Self {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let address = socket.local_addr().unwrap();
        Self { _socket: socket, address }
    }
}

/// A program or folder beside the running program, or beside the `deps` folder that holds the running test.
pub fn built(name: &str) -> std::path::PathBuf {
    let program = std::env::current_exe().unwrap();
    let folder = program.parent().unwrap();
    if folder.ends_with("deps") { folder.with_file_name(name) } else { folder.join(name) }
}

/// Builds the program of the package `name`, and returns its path.
///
/// A test builds it with the features that `cargo test --workspace --all-features` uses (a test target is selected so
/// that the development dependencies count too), because then only the program itself is left to build.
pub fn build(name: &str) -> std::path::PathBuf {
    // `CARGO` is unset where cargo did not start this program.
    let mut cargo = std::process::Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--bin", name]);
    if cfg!(debug_assertions) {
        cargo.args(["--workspace", "--all-features", "--test", "examples"]);
    } else {
        cargo.args(["--package", name, "--release"]);
    }
    assert!(cargo.status().unwrap().success());
    built(name)
}

/// Cargo's target folder.
pub fn target_dir() -> std::path::PathBuf {
    std::env::current_exe().unwrap().ancestors().nth(3).unwrap().to_owned()
}
