//! The fields of a form that the layer reads.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;

use super::error::ExtractError;
use crate::verify::{ApprovalToken, Otp};

/// The decoded names of the fields.
#[derive(Clone, Debug)]
pub(super) struct FieldNames {
    pub(super) otp: Arc<str>,
    pub(super) approval_token: Arc<str>,
}

impl Default for FieldNames {
    fn default() -> Self {
        Self { otp: "otp".into(), approval_token: "toopher_approval".into() }
    }
}

#[derive(Debug, Default)]
pub(super) struct Fields {
    pub(super) otp: Option<Otp>,
    pub(super) approval_token: Option<ApprovalToken>,
}

impl FieldNames {
    /// Finds the one field of each name. Pairs are split as the WHATWG parser does. Names are compared while they are
    /// decoded, without a copy, and only the values of these fields are decoded, so a form that consists of look-alike
    /// names takes no longer than any other.
    pub(super) fn find(&self, form: &[u8]) -> Result<Fields, ExtractError> {
        let names: [&str; 2] = [&self.otp, &self.approval_token];
        let mut found: [Option<Cow<'_, str>>; 2] = [None, None];
        for pair in form.split(|&b| b == b'&').filter(|pair| !pair.is_empty()) {
            let (mut at, mut is_confusable) = (None, false);
            // Most names differ in their first byte.
            let first = decoded_name(pair).next().unwrap_or_default();
            for (i, field) in names.iter().enumerate() {
                let is_candidate = |byte: &u8| first.is_ascii_whitespace() || byte.eq_ignore_ascii_case(&first);
                if !field.as_bytes().first().is_none_or(is_candidate) {
                    continue;
                }
                match compare(pair, field) {
                    NameMatch::Exact => at = at.or(Some(i)),
                    NameMatch::Confusable => is_confusable = true,
                    NameMatch::Different => {}
                }
            }
            let Some(at) = at else {
                if is_confusable {
                    return Err(ExtractError::Ambiguous);
                }
                continue;
            };
            let value = form_urlencoded::parse(pair).next().map(|(_, value)| value);
            if std::mem::replace(&mut found[at], value).is_some() {
                return Err(ExtractError::Ambiguous);
            }
        }
        let [otp, approval_token] = found;
        Ok(Fields {
            otp: otp.map(|otp| Otp::parse(otp.as_bytes())).transpose().map_err(ExtractError::Malformed)?,
            approval_token: approval_token.map(|token| ApprovalToken::from_client(token.as_bytes())),
        })
    }

    /// Whether the form contains neither field, nor one that some readers take for it.
    pub(super) fn are_absent(&self, form: &[u8]) -> bool {
        matches!(self.find(form), Ok(Fields { otp: None, approval_token: None }))
    }

    /// The form without the credentials: what must be equal when the client repeats the request with either of them.
    pub(super) fn strip_credentials(&self, form: &Bytes, has_credentials: bool) -> Bytes {
        if !has_credentials {
            return form.clone();
        }
        let is_credential = |pair: &&[u8]| {
            let name = form_urlencoded::parse(pair).next().map(|(name, _)| name);
            name.is_some_and(|name| *name == *self.otp || *name == *self.approval_token)
        };
        form.split(|&b| b == b'&').filter(|pair| !is_credential(pair)).collect::<Vec<_>>().join(&b'&').into()
    }
}

/// How the name of a pair compares with that of a field.
enum NameMatch {
    Exact,
    /// Some form reader would treat the pair as the field: other letter case, surrounding white space, brackets.
    Confusable,
    Different,
}

/// Compares the name of the pair in one pass.
fn compare(pair: &[u8], field: &str) -> NameMatch {
    let mut name = decoded_name(pair);
    let (mut byte, mut is_exact) = (name.next(), true);
    let skips_blanks = !field.starts_with(|c: char| c.is_ascii_whitespace());
    while skips_blanks && byte.is_some_and(|byte| byte.is_ascii_whitespace()) {
        (byte, is_exact) = (name.next(), false);
    }
    for expected in field.bytes() {
        match byte {
            Some(byte) if byte == expected => {}
            Some(byte) if byte.eq_ignore_ascii_case(&expected) => is_exact = false,
            _ => return NameMatch::Different,
        }
        byte = name.next();
    }
    loop {
        match byte {
            None if is_exact => return NameMatch::Exact,
            None | Some(b'[') => return NameMatch::Confusable,
            Some(byte) if byte.is_ascii_whitespace() => is_exact = false,
            Some(_) => return NameMatch::Different,
        }
        byte = name.next();
    }
}

/// The bytes of the pair's name, decoded like the WHATWG parser does.
#[inline]
fn decoded_name(mut rest: &[u8]) -> impl Iterator<Item = u8> {
    std::iter::from_fn(move || {
        let (&byte, after) = rest.split_first().filter(|(byte, _)| **byte != b'=')?;
        rest = after;
        Some(match (byte, after) {
            (b'+', _) => b' ',
            (b'%', [high, low, after @ ..]) => match (HEX[usize::from(*high)], HEX[usize::from(*low)]) {
                (high @ ..16, low @ ..16) => {
                    rest = after;
                    high * 16 + low
                }
                // A percent sign without two digits is literal.
                _ => b'%',
            },
            (plain, _) => plain,
        })
    })
}

/// The value of each byte as a hexadecimal digit, or 16.
const HEX: [u8; 256] = {
    let mut table = [16; 256];
    let mut digit = 0;
    while digit < 16 {
        table[b"0123456789abcdef"[digit] as usize] = digit as u8;
        table[b"0123456789ABCDEF"[digit] as usize] = digit as u8;
        digit += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fields() {
        let find = |form: &str| FieldNames::default().find(form.as_bytes()).map(|found| found.otp);
        for one in [
            "otp=081804",
            "a=b&otp=081804",
            "&&otp=081804&",
            "otp=081+804",
            "otp=081%20804",
            "%6ftp=081804",
            "o%74p=%30%381804",
            "x=%zz&otp=081804&y=%",
            "notp=1&otp=081804&otpx=2&xotp=3",
            "otp=%20081804%0A",
        ] {
            assert_eq!(find(one).unwrap().unwrap().as_str(), "081804", "{one}");
        }
        for none in ["", "a=b", "otpx=081804", "o=t&p=081804", "x=otp=081804", "=081804", "&&&", "otp.x=1"] {
            assert!(find(none).unwrap().is_none(), "{none}");
        }
        for malformed in
            ["otp", "otp=", "otp=%20", "otp=None", "otp=%2B81804", "otp=%zz", "otp=%FF81804", "otp=1&x=081804"]
        {
            assert!(matches!(find(malformed), Err(ExtractError::Malformed(_))), "{malformed}");
        }
        for ambiguous in [
            "otp=000000&otp=081804",
            "otp=081804&otp=081804",
            "otp=&otp=081804",
            "otp=081804&%6Ftp=081804",
            "otp=081804&OTP=000000",
            "otp[]=081804",
            "otp=081804&otp[0]=1",
            "OTP=081804",
            "otp=081804&+otp=000000",
            "otp=081804&otp%5B%5D=000000",
        ] {
            assert!(matches!(find(ambiguous), Err(ExtractError::Ambiguous)), "{ambiguous}");
        }
    }

    #[test]
    fn unusual_names_of_fields() {
        let is_found = |field: &str, form: &str| {
            let names = FieldNames { otp: field.into(), ..FieldNames::default() };
            names.find(form.as_bytes()).map(|found| found.otp.is_some()).map_err(|_| ())
        };
        assert_eq!(is_found("", "=081804"), Ok(true));
        assert_eq!(is_found(" a", "+a=081804&a=1"), Ok(true));
        assert_eq!(is_found("a[b]", "a[b]=081804&a=1&a[]=2"), Ok(true));
        assert_eq!(is_found("a[b]", "A[b]=081804"), Err(()));
        assert_eq!(is_found("\u{eb}", "%c3%ab=081804&%C3=1"), Ok(true));
    }

    #[test]
    fn an_approval_token_beside_the_otp() {
        let names = FieldNames::default();
        let found = names.find(b"username=al%C3%AFce&toopher_approval=abc&x=1").unwrap();
        assert_eq!(found.approval_token, Some(ApprovalToken::from_client(b"abc")));
        for ambiguous in [
            "toopher_approval=a&toopher_approval=a",
            "Toopher_Approval=a",
            "toopher_approval[]=a",
            "x=1&TOOPHER_APPROVAL=a",
        ] {
            assert!(matches!(names.find(ambiguous.as_bytes()), Err(ExtractError::Ambiguous)), "{ambiguous}");
        }
    }

    #[test]
    fn only_credentials_are_stripped() {
        let bound =
            |form: &'static str| FieldNames::default().strip_credentials(&Bytes::from_static(form.as_bytes()), true);
        for same in ["a=1&b=2", "a=1&toopher_approval=x&b=2", "o%74p=081804&a=1&b=2", "a=1&b=2&otp=1&toopher_approval="]
        {
            assert_eq!(bound(same), "a=1&b=2", "{same}");
        }
        for other in ["a=1", "a=1&b=2&otpx=1", "b=2&a=1", "a=1&b=%32"] {
            assert_ne!(bound(other), "a=1&b=2", "{other}");
        }
    }

    proptest! {
        #[test]
        fn names_are_decoded_as_the_reference_parser_does(name in "([otp+\\[ %]|%[0-9a-fA-F]{1,2}|%6f|%2B){0,12}") {
            let pair = format!("{name}=x");
            let (reference, _) = form_urlencoded::parse(pair.as_bytes()).next().unwrap();
            let decoded: Vec<u8> = decoded_name(pair.as_bytes()).collect();
            prop_assert_eq!(String::from_utf8_lossy(&decoded), reference);
        }

        /// The reader decodes as little as possible and agrees with the parser of whole forms.
        #[test]
        fn agrees_with_the_reference_parser(form in "([otpOTPx=&%+\\[\\]0-9]|%6f|%74|otp=|081804){0,40}") {
            let named: Vec<_> = form_urlencoded::parse(form.as_bytes()).filter(|(name, _)| name == "otp").collect();
            match FieldNames::default().find(form.as_bytes()).map(|found| found.otp) {
                Ok(None) => prop_assert!(named.is_empty()),
                Ok(Some(otp)) => {
                    prop_assert_eq!(named.len(), 1);
                    prop_assert_eq!(Otp::parse(named[0].1.as_bytes()), Ok(otp));
                }
                Err(ExtractError::Malformed(_)) => prop_assert_eq!(named.len(), 1),
                Err(_) => {
                    let mut names = form_urlencoded::parse(form.as_bytes()).map(|(name, _)| name);
                    let confusable = names.any(|name| {
                        name != "otp" && name.split('[').next().unwrap().trim_ascii().eq_ignore_ascii_case("otp")
                    });
                    prop_assert!(named.len() > 1 || confusable);
                }
            }
        }

        #[test]
        fn any_bytes_are_read_without_panic(form in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = FieldNames::default().find(&form);
        }
    }
}
