//! Makes text of clients safe for logs.

use std::borrow::Cow;

/// The maximum length of a text in audit events, in bytes.
const MAX_TEXT: usize = 1024;

/// The first 1,024 bytes of a text, at a character boundary.
pub(super) fn truncate(text: &str) -> &str {
    let mut end = text.len().min(MAX_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Truncates a text to 1,024 bytes and escapes line breaks, control characters, quotes, invisible characters, and
/// characters that change the reading direction, so that it cannot forge a log line, control a terminal, or look like
/// another name. Ordinary text does not change.
///
/// It is for audit sinks that write text. The `tracing` events of the layer are escaped already.
#[must_use]
pub fn escape_for_log(text: &str) -> Cow<'_, str> {
    let text = truncate(text);
    let harmless = |c: char| c == '\'' || (c != '"' && c.escape_debug().len() == 1 && !is_blank(c));
    if text.chars().all(harmless) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            c if harmless(c) => escaped.push(c),
            c if is_blank(c) => escaped.extend(c.escape_unicode()),
            c => escaped.extend(c.escape_debug()),
        }
    }
    Cow::Owned(escaped)
}

/// Letters and symbols that fonts show as a blank or as nothing.
fn is_blank(c: char) -> bool {
    matches!(
        c,
        '\u{115f}'
            | '\u{1160}'
            | '\u{2800}'
            | '\u{3164}'
            | '\u{ffa0}'
            | '\u{fffc}'
            | '\u{13441}'
            | '\u{13442}'
            | '\u{16fe4}'
            | '\u{1d159}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_breaks_and_hidden_characters_are_escaped() {
        for ordinary in ["alice", "O'Brien", "Zo\u{eb}", "\u{5c71}\u{7530}", "/a b/%0a?", ""] {
            assert!(matches!(escape_for_log(ordinary), Cow::Borrowed(same) if same == ordinary), "{ordinary:?}");
        }
        for (hostile, shown) in [
            ("a\nb", r"a\nb"),
            ("a\r\u{1b}[2Jb", r"a\r\u{1b}[2Jb"),
            ("a\u{85}\u{2028}\u{202e}\u{9b}b", r"a\u{85}\u{2028}\u{202e}\u{9b}b"),
            ("a\u{200b}\u{feff}\u{7f}\0", r"a\u{200b}\u{feff}\u{7f}\0"),
            ("a\u{ad}\u{34f}\u{fe0f}\u{e0041}\u{a0}b", r"a\u{ad}\u{34f}\u{fe0f}\u{e0041}\u{a0}b"),
            ("\u{115f}\u{1160}\u{2800}\u{3164}\u{ffa0}", r"\u{115f}\u{1160}\u{2800}\u{3164}\u{ffa0}"),
            ("\u{fffc}\u{13441}\u{13442}\u{16fe4}\u{1d159}", r"\u{fffc}\u{13441}\u{13442}\u{16fe4}\u{1d159}"),
            (r"a\nb", r"a\\nb"),
            (r#"a" outcome="granted"#, r#"a\" outcome=\"granted"#),
        ] {
            assert_eq!(escape_for_log(hostile), shown);
        }
        assert_eq!(escape_for_log(&"\u{e9}".repeat(2000)).len(), 1024);
    }
}
