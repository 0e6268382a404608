//! The commands in the headers of `examples/grants` and `examples/sessions`, and the status of each response.

use test_support::example::Example;
use test_support::process::scratch;
use test_support::{have, output};

use super::header;

/// Runs the commands of the example's header in their order, and returns the statuses.
fn run_commands(name: &str) -> Vec<String> {
    let example = Example::start(name);
    let folder = scratch(&format!("example-{name}"));
    let lines = header(name);
    let line_with = |start: &str| lines.iter().find(|line| line.starts_with(start)).unwrap();
    let (otp, browser) = (line_with("otp() {"), line_with("browser() {"));
    assert!(browser.contains("curl -i "));
    let browser = browser.replace("curl -i ", "curl -s -o /dev/null -w '%{http_code}' ");
    let mut codes = 0;
    let requests = lines.iter().filter(|line| line.starts_with("browser "));
    let statuses = requests.map(|line| {
        // The code of a later time step, instead of a wait.
        let otp = otp.replace("oathtool", &format!("oathtool -N 'now + {} seconds'", 30 * codes));
        codes += line.matches("$(otp)").count();
        let line = line.replace("http://127.0.0.1:3000", &example.url);
        output("sh", &["-c", &format!("cd {}\n{otp}\n{browser}\n{line}", folder.display())])
    });
    statuses.collect()
}

#[test]
fn the_commands_of_the_headers_work() {
    if !have(&["curl", "oathtool", "sh"]) {
        return;
    }
    assert_eq!(run_commands("grants"), ["200", "401", "200", "200", "401", "200", "200", "200", "401"]);
    assert_eq!(run_commands("sessions"), ["200", "401", "200", "200", "200", "401"]);
}
