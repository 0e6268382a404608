//! The commands in the header of `examples/resilient-verifier`, and the responses that it describes.
#![allow(clippy::panic)]

use test_support::example::Example;
use test_support::{have, output};

use super::{commands, header};

#[test]
fn the_commands_of_the_header_do_what_it_describes() {
    if !have(&["curl", "sh"]) {
        return;
    }
    let example = Example::start("resilient-verifier");
    let commands = commands("resilient-verifier", 1).replace("http://127.0.0.1:3000", &example.url);
    let [first, slow, failing, six] = *commands.splitn(4, '\n').collect::<Vec<_>>() else { panic!("{commands}") };
    let run = |command: &str| output("sh", &["-c", &command.replace("curl -i ", "curl -s -i ")]);
    let expect = |command: &str, status: &str, part: &str| {
        let response = run(command).to_lowercase();
        let matches = response.starts_with(&format!("http/1.1 {status} ")) && response.contains(part);
        assert!(matches, "{command}: {response}");
        response
    };
    expect(first, "200", "you are in.");
    assert!(!expect(slow, "503", "unavailable").contains("retry-after"));
    expect(failing, "503", "retry-after: 10");
    let statuses = run(six);
    assert_eq!(statuses.split_whitespace().collect::<Vec<_>>(), ["503"; 6], "{statuses}");
    // The breaker is open: the backend is not called, and `Retry-After` is the time until it may be.
    expect(first, "503", "retry-after: ");
    assert!(header("resilient-verifier").join(" ").contains("for ten seconds"));
}
