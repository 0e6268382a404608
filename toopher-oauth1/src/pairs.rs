//! Lists of parameters.

use std::borrow::Cow;
use std::fmt;

use percent_encoding::percent_decode;

/// A decoded parameter.
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Parameter<'a> {
    /// The name.
    pub name: &'a str,
    /// The value.
    pub value: &'a str,
    /// Whether the name and the value were sent in UTF-8.
    ///
    /// Otherwise each invalid sequence is a replacement character (U+FFFD) in the text, which is the signed text. So
    /// different bytes have the same signature, and the text must not identify anything: `jos%E9` and `jos%E8` are the
    /// same text.
    pub is_utf8: bool,
}

impl Parameter<'_> {
    pub(crate) fn is_protocol(&self) -> bool {
        self.name.starts_with("oauth_")
    }
}

impl fmt::Debug for Parameter<'_> {
    /// Omits the value, which may be an OTP.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parameter").field("name", &self.name).field("is_utf8", &self.is_utf8).finish_non_exhaustive()
    }
}

/// Decoded names and values, in one allocation for all of them.
#[derive(Default)]
pub(crate) struct Pairs {
    text: String,
    pairs: Vec<Pair>,
}

/// The end of a name, and of its value.
struct Pair {
    name: usize,
    value: usize,
    is_utf8: bool,
}

impl Pairs {
    /// With the capacity for the pairs of an encoded text of this length.
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self { text: String::with_capacity(bytes), pairs: Vec::with_capacity(8) }
    }

    /// Decodes a form or a query as form data: a plus is a space.
    pub(crate) fn from_form(encoded: &[u8]) -> Self {
        if encoded.contains(&b'+') {
            let spaced: Vec<u8> = encoded.iter().map(|&b| if b == b'+' { b' ' } else { b }).collect();
            Self::from_query_with_pluses(&spaced)
        } else {
            Self::from_query_with_pluses(encoded)
        }
    }

    /// Decodes a query in which a plus is a plus.
    pub(crate) fn from_query_with_pluses(encoded: &[u8]) -> Self {
        let mut pairs = Self::with_capacity(encoded.len());
        for pair in encoded.split(|&b| b == b'&').filter(|pair| !pair.is_empty()) {
            let mut halves = pair.splitn(2, |&b| b == b'=');
            let mut half = || Cow::from(percent_decode(halves.next().unwrap_or_default()));
            let (name, value) = (half(), half());
            let (name, value) = (String::from_utf8_lossy(&name), String::from_utf8_lossy(&value));
            // Borrowed text has no replaced sequence.
            let is_utf8 = matches!((&name, &value), (Cow::Borrowed(_), Cow::Borrowed(_)));
            pairs.push(&name, &value, is_utf8);
        }
        pairs
    }

    pub(crate) fn push(&mut self, name: &str, value: &str, is_utf8: bool) {
        self.text.push_str(name);
        let end_of_name = self.text.len();
        self.text.push_str(value);
        self.pairs.push(Pair { name: end_of_name, value: self.text.len(), is_utf8 });
    }

    pub(crate) fn len(&self) -> usize {
        self.pairs.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Parameter<'_>> {
        let mut start = 0;
        self.pairs.iter().map(move |pair| {
            let (name, value) = (&self.text[start..pair.name], &self.text[pair.name..pair.value]);
            start = pair.value;
            Parameter { name, value, is_utf8: pair.is_utf8 }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The decoding is the one that other form parsers have.
    #[test]
    fn forms_are_decoded_as_by_a_reference_parser() {
        for text in
            ["a=1&b", "&&a=b=c&=x&%3D=%26", "a+b=c+d%2B", "%E9=1", "a=%e9+%c3%a9%", "a=%f0%9f", "\u{e9}=1", "a=\0"]
        {
            let pairs = Pairs::from_form(text.as_bytes());
            let decoded: Vec<_> = pairs.iter().map(|pair| (pair.name.into(), pair.value.into())).collect();
            assert_eq!(decoded, form_urlencoded::parse(text.as_bytes()).collect::<Vec<_>>(), "{text}");
        }
        let exact = |text: &str| Pairs::from_form(text.as_bytes()).iter().map(|pair| pair.is_utf8).collect::<Vec<_>>();
        assert_eq!(exact("a=%EF%BF%BD&b=%E9&%E9=c&d=%C3%A9"), [true, false, false, true]);
        let pluses = Pairs::from_query_with_pluses(b"a+b=c+d%2B%20");
        assert_eq!(pluses.iter().map(|pair| (pair.name, pair.value)).collect::<Vec<_>>(), [("a+b", "c+d+ ")]);
    }
}
