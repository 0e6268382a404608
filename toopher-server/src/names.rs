//! Names of users, sites, actions, terminals and phones, as people see them.

use std::borrow::Cow;

use tower_toopher::middleware::escape_for_log;
use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory};

/// In place of a character that is invisible.
const INVISIBLE: char = '\u{fffd}';
/// In place of a blank that would not be noticed.
const BLANK: char = '\u{2423}';

/// Makes the characters visible by which two names could differ unnoticed: control and format characters, unassigned
/// and private ones, all that fonts show as nothing or as a blank, and blanks at the ends or in a row.
///
/// The page of the phone does the same, in `dom.js`.
pub(crate) fn visible_name(name: &str) -> Cow<'_, str> {
    let shown = |(at, c): (usize, char)| match c {
        ' ' if is_hidden_blank(name, at) => BLANK,
        ' ' => ' ',
        c if is_invisible(c) => INVISIBLE,
        c => c,
    };
    if name.char_indices().all(|(at, c)| shown((at, c)) == c) {
        return Cow::Borrowed(name);
    }
    Cow::Owned(name.char_indices().map(shown).collect())
}

/// A name for a terminal or a log, where it can be copied from: in place of the characters that
/// [`escape_for_log`] escapes, of all that are invisible, and of blanks at the ends or in a row, it has their escapes.
#[must_use]
pub fn escape_name(name: &str) -> String {
    let name = escape_for_log(name);
    let mut escaped = String::with_capacity(name.len());
    for (at, c) in name.char_indices() {
        match c {
            ' ' if !is_hidden_blank(&name, at) => escaped.push(' '),
            c if is_invisible(c) => escaped.extend(c.escape_unicode()),
            c => escaped.push(c),
        }
    }
    escaped
}

/// Whether the blank at this position of a name would not be noticed.
fn is_hidden_blank(name: &str, at: usize) -> bool {
    let (before, after) = (&name[..at], &name[at + 1..]);
    before.is_empty() || after.is_empty() || before.ends_with(' ')
}

/// Whether fonts show a character as nothing or as a blank: also U+0020.
fn is_invisible(c: char) -> bool {
    matches!(c.general_category_group(), GeneralCategoryGroup::Other | GeneralCategoryGroup::Separator)
        // Letters, marks and symbols that only select the form of another character. With the group above these are all
        // of `Default_Ignorable_Code_Point`.
        || matches!(c,
            '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{3164}'
                | '\u{fe00}'..='\u{fe0f}' | '\u{ffa0}' | '\u{e0100}'..='\u{e01ef}')
        // Those whose glyph is blank: of Braille, Egyptian hieroglyphs, Khitan small script, and notes; and the place
        // of an embedded object.
        || matches!(c, '\u{2800}' | '\u{fffc}' | '\u{13441}' | '\u{13442}' | '\u{16fe4}' | '\u{1d159}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_names_do_not_change() {
        for name in [
            "",
            "jdoe",
            "Zo\u{eb}",
            "Zoe\u{308}",
            "O'Brien & Sons",
            "\u{5c71}\u{7530} \u{592a}\u{90ce}",
            "\u{5d0}\u{5d1}",
            "\u{1f980}",
        ] {
            assert!(matches!(visible_name(name), Cow::Borrowed(same) if same == name), "{name:?}");
        }
    }

    /// Those with `Default_Ignorable_Code_Point` (Unicode 17), and those whose glyph is blank.
    #[test]
    fn all_ignorable_and_blank_characters_are_marked() {
        let ignorable = [
            0xad..=0xad,
            0x34f..=0x34f,
            0x61c..=0x61c,
            0x115f..=0x1160,
            0x17b4..=0x17b5,
            0x180b..=0x180f,
            0x200b..=0x200f,
            0x202a..=0x202e,
            0x2060..=0x206f,
            0x3164..=0x3164,
            0xfe00..=0xfe0f,
            0xfeff..=0xfeff,
            0xffa0..=0xffa0,
            0xfff0..=0xfff8,
            0x1_bca0..=0x1_bca3,
            0x1_d173..=0x1_d17a,
            0xe_0000..=0xe_0fff,
        ];
        let blank = [0x2800, 0xfffc, 0x1_3441, 0x1_3442, 0x1_6fe4, 0x1_d159];
        let shown = |code: &u32| visible_name(&format!("al{}ice", char::from_u32(*code).unwrap())) != "al\u{fffd}ice";
        let missing: Vec<u32> = ignorable.into_iter().flatten().chain(blank).filter(shown).collect();
        assert!(missing.is_empty(), "{missing:x?}");
    }

    #[test]
    fn escapes_for_terminals() {
        for (name, shown) in [
            ("Zo\u{eb} O'Brien", "Zo\u{eb} O'Brien"),
            (" a  b ", r"\u{20}a \u{20}b\u{20}"),
            ("a\u{1d159}\u{16fe4}\u{13441}\u{2800}\u{200b}b", r"a\u{1d159}\u{16fe4}\u{13441}\u{2800}\u{200b}b"),
            ("a\tb\"\u{1b}", r#"a\tb\"\u{1b}"#),
        ] {
            assert_eq!(escape_name(name), shown);
        }
    }

    #[test]
    fn invisible_characters_and_blanks_are_marked() {
        let blanks = "\u{a0}\u{2000}\u{202f}\u{205f}\u{3000}\u{115f}\u{1160}\u{2800}\u{3164}\u{ffa0}";
        let ignorable = "\u{ad}\u{34f}\u{61c}\u{17b4}\u{180b}\u{180e}\u{180f}\u{200b}\u{200c}\u{200d}\u{200e}\u{202e}\
                         \u{2060}\u{2066}\u{206f}\u{fe0f}\u{feff}\u{fff0}\u{1bca0}\u{1d173}\u{e0001}\u{e0041}\
                         \u{e0100}\u{e0fff}";
        let others = "\0\n\u{7f}\u{85}\u{2028}\u{2029}\u{e000}\u{fff9}\u{ffff}\u{10ffff}";
        for c in [blanks, ignorable, others].concat().chars() {
            assert_eq!(visible_name(&format!("al{c}ice")), "al\u{fffd}ice", "{c:?}");
            assert_eq!(visible_name(&c.to_string()), "\u{fffd}", "{c:?}");
        }
        for (name, shown) in [
            (" alice", "\u{2423}alice"),
            ("alice ", "alice\u{2423}"),
            ("al  ice", "al \u{2423}ice"),
            (" ", "\u{2423}"),
            ("   ", "\u{2423}\u{2423}\u{2423}"),
            ("a b", "a b"),
            ("a\u{a0} b", "a\u{fffd} b"),
        ] {
            assert_eq!(visible_name(name), shown);
        }
    }
}
