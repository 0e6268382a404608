//! `examples/quickstart` with `curl`, and `oathtool` as the authenticator.

use test_support::example::Example;
use test_support::{have, output};

struct Quickstart {
    example: Example,
    secret: String,
}

impl Quickstart {
    fn start(environment: &[(&str, &str)]) -> Self {
        let example = Example::start_with("quickstart", environment, "Without a phone");
        let secret = example.printed.lines().find_map(|line| line.strip_prefix("secret:")).unwrap().trim().to_owned();
        Self { example, secret }
    }

    fn code(&self, when: &str) -> String {
        output("oathtool", &["--totp", "-b", "-N", when, &self.secret])
    }

    /// The status and the body.
    fn curl(&self, path: &str, args: &[&str]) -> (String, String) {
        let url = format!("{}{path}", self.example.url);
        let mut all = vec!["-s", "-w", "\n%{http_code}"];
        all.extend(args);
        all.push(&url);
        let printed = output("curl", &all);
        let (body, status) = printed.rsplit_once('\n').unwrap();
        (status.to_owned(), body.to_owned())
    }
}

const ALICE: [&str; 2] = ["-u", "alice:wonderland"];

#[test]
fn right_wrong_replayed_and_missing_codes_in_header_and_form() {
    if !have(&["curl", "oathtool"]) {
        return;
    }
    let server = Quickstart::start(&[]);
    let status = |path: &str, args: &[&str]| server.curl(path, args).0;
    assert_eq!(server.curl("/", &[]), ("200".into(), "Public. Try /account.\n".into()));
    assert_eq!(status("/account", &[]), "401");
    assert_eq!(status("/account", &["-u", "alice:wrong"]), "401");
    assert_eq!(status("/account", &ALICE), "401");
    assert_eq!(status("/account", &["-I", ALICE[0], ALICE[1]]), "401");

    // The code is accepted once, in any spelling, on one route.
    let code = server.code("now");
    let header = format!("Toopher-OTP: {} {}", &code[..3], &code[3..]);
    let (granted, body) = server.curl("/account", &[ALICE[0], ALICE[1], "-H", &header]);
    assert_eq!((granted.as_str(), body.as_str()), ("200", "This is the account of alice.\n"));
    assert_eq!(status("/account", &[ALICE[0], ALICE[1], "-H", &header]), "401");
    assert_eq!(status("/transfer", &[ALICE[0], ALICE[1], "-d", &format!("otp={code}")]), "401");

    // The next code in a form. A different code in the header is rejected.
    let next = server.code("now + 30 seconds");
    let form = format!("to=bob&amount=10&otp={next}&memo=%zz");
    let (differs, body) = server.curl("/transfer", &[ALICE[0], ALICE[1], "-d", &form, "-H", "Toopher-OTP: 000000"]);
    assert!(differs == "400" && body.contains("otp_ambiguous"), "{body}");
    let (granted, body) = server.curl("/transfer", &[ALICE[0], ALICE[1], "-d", &form]);
    assert_eq!((granted.as_str(), body), ("200", format!("alice sent: {form}\n")));
    assert_eq!(status("/transfer", &[ALICE[0], ALICE[1], "-d", &form]), "401");
    assert_eq!(status("/transfer", &[ALICE[0], ALICE[1], "-d", "to=bob"]), "401");
    assert_eq!(status("/transfer", &[ALICE[0], ALICE[1], "-d", "to=bob&otp="]), "401");

    // Three failures since the last success: the user is throttled after two more.
    let (_, body) = server.curl("/account", &[ALICE[0], ALICE[1], "-H", "Toopher-OTP: 000000"]);
    assert!(body.contains("otp_invalid"));
    for _ in 0..3 {
        status("/account", &[ALICE[0], ALICE[1], "-H", "Toopher-OTP: 000000"]);
    }
    let (throttled, body) = server.curl("/account", &["-i", ALICE[0], ALICE[1], "-H", "Toopher-OTP: 000000"]);
    assert!(throttled == "429" && body.contains("retry-after:"), "{body}");
}

#[test]
fn the_printed_commands_work() {
    if !have(&["curl", "oathtool", "sh"]) {
        return;
    }
    let server = Quickstart::start(&[("SECRET", "gezd gnbv gy3t qojq gezd gnbv gy3t qojq")]);
    assert_eq!(server.secret, "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
    assert!(server.example.printed.contains("otpauth://totp/tower-toopher%20quickstart:alice?secret=GEZDGNBV"));
    let oathtool = server.example.printed.split('`').nth(1).unwrap();
    let code = output("sh", &["-c", oathtool]);
    let commands: Vec<_> = server.example.printed.lines().filter(|line| line.starts_with("  curl ")).collect();
    assert_eq!(commands.len(), 4);
    let run = |line: &str, code: &str| {
        output("sh", &["-c", &format!("{} -s -o /dev/null -w '%{{http_code}}'", line.replace("123456", code))])
    };
    assert_eq!(run(commands[0], ""), "200");
    assert_eq!(run(commands[1], ""), "401");
    assert_eq!(run(commands[2], &code), "200");
    assert_eq!(run(commands[3], &server.code("now + 30 seconds")), "200");
}

/// On a terminal, the QR code has colors of its own, so that it can be scanned on light and dark ones.
#[test]
fn the_terminal_shows_black_on_white() {
    if !have(&["script", "timeout"]) {
        return;
    }
    let program = test_support::example::command("quickstart", &[]).get_program().to_str().unwrap().to_owned();
    let typescript =
        output("script", &["-q", "-c", &format!("ADDR=127.0.0.1:0 timeout 2 {program}; true"), "/dev/null"]);
    let lines: Vec<_> = typescript.lines().filter(|line| line.starts_with("\u{1b}[38;5;16;48;5;231m")).collect();
    assert!(lines.len() > 15 && lines.iter().all(|line| line.trim_end().ends_with("\u{1b}[0m")), "{typescript}");
    // A pipe has none.
    assert!(!Quickstart::start(&[]).example.printed.contains('\u{1b}'));
}
