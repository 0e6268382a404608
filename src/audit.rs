//! What the audits of the gate and of the server share: the target of their events, and texts of others made fit to be told.

#[cfg(any(feature = "server", feature = "tracing"))]
use std::borrow::Cow;

/// The target of the events, and of the span.
#[cfg(any(feature = "server", feature = "tracing"))]
pub(crate) const TARGET: &str = "tower_toopher::audit";

/// The most bytes of a path, or of another text that a client chooses, that are told.
const MOST_TEXT: usize = 1024;

/// At most so much of a text, and whole characters.
pub(crate) fn cut(text: &str) -> &str {
    let mut end = text.len().min(MOST_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// A text that cannot end a line, colour a terminal or turn the reading direction, whatever the subscriber does with
/// it. Ordinary text stays what it is.
#[cfg(any(feature = "server", feature = "tracing"))]
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    let text = cut(text);
    let harmless = |c: char| c == '\'' || (c != '"' && c.escape_debug().len() == 1);
    if text.chars().all(harmless) {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if harmless(c) { plain.push(c) } else { plain.extend(c.escape_debug()) }
    }
    Cow::Owned(plain)
}

#[cfg(all(test, any(feature = "server", feature = "tracing")))]
mod tests {
    use super::*;

    #[test]
    fn what_ends_a_line_or_hides_text_is_escaped_and_nothing_else() {
        for ordinary in ["alice", "O'Brien", "Zo\u{eb}", "\u{5c71}\u{7530}", "/a b/%0a?", ""] {
            assert!(matches!(plain(ordinary), Cow::Borrowed(same) if same == ordinary), "{ordinary:?}");
        }
        for (hostile, shown) in [
            ("a\nb", r"a\nb"),
            ("a\r\u{1b}[2Jb", r"a\r\u{1b}[2Jb"),
            ("a\u{85}\u{2028}\u{202e}\u{9b}b", r"a\u{85}\u{2028}\u{202e}\u{9b}b"),
            ("a\u{200b}\u{feff}\u{7f}\0", r"a\u{200b}\u{feff}\u{7f}\0"),
            (r"a\nb", r"a\\nb"),
            (r#"a" outcome="granted"#, r#"a\" outcome=\"granted"#),
        ] {
            assert_eq!(plain(hostile), shown);
        }
        assert_eq!(plain(&"\u{e9}".repeat(2000)).len(), 1024);
    }
}
