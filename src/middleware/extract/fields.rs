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
            let Some(at) = names.iter().position(|field| name_matches(pair, field)) else {
                if names.iter().any(|field| is_confusable(pair, field)) {
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

/// Whether the pair has exactly this name.
fn name_matches(pair: &[u8], field: &str) -> bool {
    decoded_name(pair).eq(field.bytes())
}

/// Whether some form reader would treat the pair as the field: other letter case, surrounding white space, brackets.
fn is_confusable(pair: &[u8], field: &str) -> bool {
    let mut stem = decoded_name(pair).take_while(|&b| b != b'[').skip_while(u8::is_ascii_whitespace);
    field.bytes().all(|expected| stem.next().is_some_and(|b| b.eq_ignore_ascii_case(&expected)))
        && stem.all(|b| b.is_ascii_whitespace())
}

/// The bytes of the pair's name, decoded like the WHATWG parser does.
fn decoded_name(pair: &[u8]) -> impl Iterator<Item = u8> {
    let mut encoded = pair.iter().take_while(|&&b| b != b'=');
    std::iter::from_fn(move || {
        Some(match *encoded.next()? {
            b'+' => b' ',
            b'%' => {
                let mut ahead = encoded.clone();
                let mut hex = || char::from(*ahead.next()?).to_digit(16);
                match (hex(), hex()) {
                    (Some(high), Some(low)) => {
                        encoded = ahead;
                        (high * 16 + low) as u8
                    }
                    // A percent sign without two digits is literal.
                    _ => b'%',
                }
            }
            plain => plain,
        })
    })
}

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
