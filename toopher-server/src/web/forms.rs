//! The parts of the pages' forms.

use crate::html::escape_html;

/// The field of a code of the phone.
const DIGITS: &str = "name=\"otp\" inputmode=\"numeric\" autocomplete=\"one-time-code\" class=\"code\"";
/// The field of a recovery code: keyboards of phones show letters.
const LETTERS: &str = "name=\"otp\" inputmode=\"text\" autocomplete=\"off\" autocapitalize=\"characters\" \
    spellcheck=\"false\" class=\"code letters\"";
const WORDS: &str = "name=\"phrase\" autocomplete=\"off\" autocapitalize=\"none\" spellcheck=\"false\"";

/// A form for a code of the phone.
pub(super) fn code_form(act: &str, label: &str, button: &str, hidden: &str, message: &str) -> String {
    form(act, label, DIGITS, button, hidden, message)
}

/// A form for a recovery code, which may also take a code of the phone.
pub(super) fn recovery_form(act: &str, label: &str, button: &str, hidden: &str, message: &str) -> String {
    form(act, label, LETTERS, button, hidden, message)
}

/// The form for the words of a phone, and a recovery code if the user has them.
pub(super) fn words_form(needs_recovery_code: bool, message: &str) -> String {
    let code = if needs_recovery_code {
        format!("<label>One of your recovery codes <input {LETTERS} required></label>")
    } else {
        String::new()
    };
    let invalid = invalid(message);
    format!(
        "<form method=\"post\">{}<input type=\"hidden\" name=\"act\" value=\"pair\">\
         <label>Words <input {WORDS}{invalid} required></label>{code}<button>Pair</button></form>",
        problem(message)
    )
}

/// A form that is only a button.
pub(super) fn button_form(act: &str, button: &str) -> String {
    format!("<form method=\"post\"><button name=\"act\" value=\"{act}\" class=\"link\">{button}</button></form>")
}

fn form(act: &str, label: &str, input: &str, button: &str, hidden: &str, message: &str) -> String {
    format!(
        "<form method=\"post\">{}<input type=\"hidden\" name=\"act\" value=\"{act}\">{hidden}\
         <label>{label} <input {input}{} required></label><button>{button}</button></form>",
        problem(message),
        invalid(message)
    )
}

fn invalid(message: &str) -> &'static str {
    if message.is_empty() { "" } else { " aria-invalid=\"true\" aria-describedby=\"problem\"" }
}

/// The message of a rejected action. A page has at most one, so the id is unique.
pub(super) fn problem(message: &str) -> String {
    if message.is_empty() {
        String::new()
    } else {
        format!("<p role=\"alert\" id=\"problem\">{}</p>", escape_html(message))
    }
}
