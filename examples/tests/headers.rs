//! The headers of the examples: each states the command that runs it, and its `curl` commands work.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use test_support::example::Example;
use test_support::{have, output};

use super::{commands, header};

#[test]
fn each_header_states_the_command_and_the_readme_lists_it() {
    let examples = format!("{}/..", env!("CARGO_MANIFEST_DIR"));
    let readme = std::fs::read_to_string(format!("{examples}/README.md")).unwrap();
    let mut found = 0;
    for entry in std::fs::read_dir(&examples).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if ["shutdown", "tests"].contains(&name.as_str())
            || !std::path::Path::new(&format!("{examples}/{name}/Cargo.toml")).exists()
        {
            continue;
        }
        let command = format!("cargo run -p example-{name}");
        assert!(header(&name).contains(&command), "{name}");
        assert!(readme.contains(&format!("`{command}`")), "{name}");
        found += 1;
    }
    assert_eq!(found, 14);
}

/// Runs the `curl` commands of a header, and returns the statuses and the output.
fn run(name: &str) -> (Vec<String>, String) {
    let example = Example::start(name);
    let script = commands(name, 1).replace("http://127.0.0.1:3000", &example.url).replace("curl -i", "curl -s -i");
    // The codes of three consecutive time steps, instead of waits.
    let mut offsets = ["now - 30 seconds", "now", "now + 30 seconds"].into_iter();
    let mut lines = Vec::new();
    for line in script.lines() {
        let offset = if line.contains("$(otp)") { offsets.next().unwrap() } else { "now" };
        lines.push(
            line.replace("$(otp)", &format!("$(oathtool -N '{offset}' --totp -b GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ)")),
        );
    }
    let printed = output("bash", &["-c", &lines.join("\n")]);
    // A body does not always end with a line break.
    let statuses = printed.split("HTTP/1.1 ").skip(1).map(|response| response[..3].to_owned());
    (statuses.collect(), printed)
}

#[test]
fn the_curl_commands_work() {
    if !have(&["bash", "curl", "oathtool"]) {
        return;
    }
    let (statuses, printed) = run("hyper-header");
    assert_eq!(statuses, ["401", "200"], "{printed}");
    assert!(printed.contains("Hello, alice."), "{printed}");

    let (statuses, printed) = run("custom-rejection");
    assert_eq!(statuses, ["303", "401", "200"], "{printed}");
    assert!(printed.contains("location: /login") && printed.contains("<form method=\"post\">"), "{printed}");

    // The code of the step before must not expire on the way.
    let second = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() % 30;
    if second > 20 {
        std::thread::sleep(Duration::from_secs(31 - second));
    }
    let (statuses, printed) = run("per-route");
    assert_eq!(statuses, ["200"; 4], "{printed}");
    assert!(printed.contains("alice may transfer money.") && printed.contains("alice may administer."), "{printed}");
}
