//! Names of users, sites, actions, terminals and phones, as people see them.

use std::borrow::Cow;

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
    let is_hidden_blank = |at: usize| {
        let (before, after) = (&name[..at], &name[at + 1..]);
        before.is_empty() || after.is_empty() || before.ends_with(' ')
    };
    let shown = |(at, c): (usize, char)| match c {
        ' ' if is_hidden_blank(at) => BLANK,
        ' ' => ' ',
        c if is_invisible(c) => INVISIBLE,
        c => c,
    };
    if name.char_indices().all(|(at, c)| shown((at, c)) == c) {
        return Cow::Borrowed(name);
    }
    Cow::Owned(name.char_indices().map(shown).collect())
}

fn is_invisible(c: char) -> bool {
    matches!(c.general_category_group(), GeneralCategoryGroup::Other | GeneralCategoryGroup::Separator)
        // Letters, marks and symbols that have no glyph, or that only select the form of another character.
        || matches!(c,
            '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{2800}'
                | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{ffa0}' | '\u{e0100}'..='\u{e01ef}')
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
