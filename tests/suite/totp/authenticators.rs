//! What other programs read from an enrollment: a QR reader (`zbarimg`), and an authenticator's URI parser (`pyotp`).
use std::fmt::Write;
use std::path::{Path, PathBuf};

use crate::support::rfc_totp;
use test_support::{have, output};
use tower_toopher::totp::{Algorithm, Digits, Enrollment, Secret, Totp};

const NAMES: [(&str, &str); 9] = [
    ("Example Bank", "alice@example.com"),
    ("A&B=C?D#E/F%20+", "a+b&c=d?e#f/g%00"),
    ("caf\u{e9} \u{9280}\u{884c}", "zo\u{eb} \u{1f600}"),
    ("Big: Corp", "urn:user:7"),
    (" spaces ", "\ttabs and\nlines\t"),
    ("\"quotes' <b>", "back\\slash`;--"),
    ("~-._*()!$,;@[]{}|^", "~-._*()!$,;@[]{}|^"),
    ("\u{5d0}\u{5d1}", "\u{202e}backwards"),
    ("100%", "50%25"),
];

fn scratch(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name)
}

fn scan(image: &Path) -> String {
    output("zbarimg", &["--quiet", "--raw", "--set", "*.enable=0", "--set", "qrcode.enable=1", image.to_str().unwrap()])
}

#[test]
fn both_qr_codes_are_read_back_as_the_uri() {
    if !have(&["zbarimg", "rsvg-convert"]) {
        return;
    }
    for (i, (issuer, account)) in NAMES.iter().enumerate() {
        let enrollment = Enrollment::with_totp(issuer, account, rfc_totp()).unwrap();
        let (svg, png) = (scratch(&format!("qr{i}.svg")), scratch(&format!("qr{i}.png")));
        std::fs::write(&svg, enrollment.qr_svg().as_str()).unwrap();
        output("rsvg-convert", &["-o", png.to_str().unwrap(), svg.to_str().unwrap()]);
        assert_eq!(scan(&png), *enrollment.uri(), "{issuer} {account}");

        let terminal = scratch(&format!("qr{i}.pgm"));
        std::fs::write(&terminal, pixels(&enrollment.qr_text())).unwrap();
        assert_eq!(scan(&terminal), *enrollment.uri(), "{issuer} {account}");
    }
}

/// Draws half-block characters as a terminal with light text on a dark background, with four pixels for each module.
fn pixels(text: &str) -> String {
    let rows: Vec<Vec<u8>> = text
        .lines()
        .flat_map(|line| {
            let half = |lit: [char; 2]| line.chars().map(|c| if lit.contains(&c) { 255 } else { 0 }).collect();
            [half(['\u{2588}', '\u{2580}']), half(['\u{2588}', '\u{2584}'])]
        })
        .collect();
    let mut image = format!("P2\n{} {}\n255\n", rows[0].len() * 4, rows.len() * 4);
    for row in &rows {
        for _ in 0..4 {
            for module in row {
                for _ in 0..4 {
                    write!(image, "{module} ").unwrap();
                }
            }
            image.push('\n');
        }
    }
    image
}

#[test]
fn an_authenticator_reads_the_uri_and_computes_the_same_codes() {
    let python = std::env::var("PYOTP_PYTHON").unwrap_or_else(|_| "python3".into());
    let has_pyotp = std::process::Command::new(&python).args(["-c", "import pyotp"]).output();
    if !has_pyotp.is_ok_and(|output| output.status.success()) {
        assert!(std::env::var_os("REQUIRE_TOOLS").is_none(), "pyotp is not installed");
        test_support::skipped("pyotp is not installed");
        return;
    }
    let program = "import pyotp, sys\n\
                   totp = pyotp.parse_uri(sys.argv[1])\n\
                   sys.stdout.buffer.write('\\n'.join([totp.issuer, totp.name, totp.at(int(sys.argv[2]))]).encode())";
    let at = 1_111_111_109;
    for (issuer, account) in NAMES {
        let read = output(
            &python,
            &["-c", program, &Enrollment::with_totp(issuer, account, rfc_totp()).unwrap().uri(), "1111111109"],
        );
        let read: Vec<_> = read.split('\n').collect();
        let shown = |name: &str| {
            let blank = |c: char| c.is_whitespace() || c == ':' || c == '\u{202e}';
            name.split(blank).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(read, [&shown(issuer), &shown(account), "081804"]);
    }
    for (algorithm, length) in [(Algorithm::Sha1, 20), (Algorithm::Sha256, 32), (Algorithm::Sha512, 64)] {
        for digits in [Digits::Six, Digits::Seven, Digits::Eight] {
            let secret = Secret::from_bytes((0..length).collect::<Vec<u8>>()).unwrap();
            let totp = Totp::new(secret).algorithm(algorithm).digits(digits).period(60.try_into().unwrap());
            let uri = Enrollment::with_totp("i", "a", totp.clone()).unwrap().uri();
            let read = output(&python, &["-c", program, &uri, "1111111109"]);
            assert_eq!(
                read.split('\n').nth(2),
                Some(totp.code_at(tower_toopher::time::UnixTime::from_secs(at)).as_str())
            );
        }
    }
}
