//! `examples/grants.rs` and `examples/sessions.rs` as a newcomer meets them: each line that they print to be typed,
//! typed.
#![allow(clippy::unwrap_used)]

mod common;

use common::example::Example;
use common::process::scratch;
use common::{have, output};

/// The statuses of the lines in the example's head, in their order.
fn typed(name: &str) -> Vec<String> {
    let example = Example::start(name);
    let folder = scratch(&format!("example-{name}"));
    let source = std::fs::read_to_string(format!("examples/{name}.rs")).unwrap();
    let lines: Vec<_> = source.lines().filter_map(|line| line.strip_prefix("//! ")).collect();
    let starting = |start: &str| lines.iter().find(|line| line.starts_with(start)).unwrap();
    let (otp, browser) = (starting("otp() {"), starting("browser() {"));
    assert!(browser.contains("curl -i "));
    let browser = browser.replace("curl -i ", "curl -s -o /dev/null -w '%{http_code}' ");
    let mut codes = 0;
    let requests = lines.iter().filter(|line| line.starts_with("browser "));
    let statuses = requests.map(|line| {
        // Nobody waits for the next code here.
        let otp = otp.replace("oathtool", &format!("oathtool -N 'now + {} seconds'", 30 * codes));
        codes += line.matches("$(otp)").count();
        let line = line.replace("http://127.0.0.1:3000", &example.url);
        output("sh", &["-c", &format!("cd {}\n{otp}\n{browser}\n{line}", folder.display())])
    });
    statuses.collect()
}

#[test]
fn what_they_say_can_be_pasted() {
    if !have(&["curl", "oathtool", "sh"]) {
        return;
    }
    assert_eq!(typed("grants"), ["200", "401", "200", "200", "401", "200", "200", "200", "401"]);
    assert_eq!(typed("sessions"), ["200", "401", "200", "200", "200", "401"]);
}
