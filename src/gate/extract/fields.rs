//! The fields of a form that are the gate's own.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;

use super::ExtractError;
use crate::{Challenge, Otp};

/// What the fields are called, once they are decoded.
#[derive(Clone, Debug)]
pub(super) struct FieldNames {
    pub(super) otp: Arc<str>,
    pub(super) challenge: Arc<str>,
    pub(super) user: Option<Arc<str>>,
}

impl Default for FieldNames {
    fn default() -> Self {
        Self { otp: "otp".into(), challenge: "toopher_challenge".into(), user: None }
    }
}

#[derive(Debug, Default)]
pub(super) struct Fields {
    pub(super) otp: Option<Otp>,
    pub(super) challenge: Option<Challenge>,
    pub(super) user: Option<Box<str>>,
}

impl FieldNames {
    fn all(&self) -> [Option<&str>; 3] {
        [Some(&self.otp), Some(&self.challenge), self.user.as_deref()]
    }

    /// Finds the one field of each name. Pairs are split as the WHATWG parser does. Names are compared as they are
    /// decoded, without a copy, and only the values of these fields are decoded: a form that is made of nothing but
    /// lookalikes takes no longer than any other.
    pub(super) fn find(&self, form: &[u8]) -> Result<Fields, ExtractError> {
        let names = self.all();
        let mut found: [Option<Cow<'_, str>>; 3] = [None, None, None];
        for pair in form.split(|&b| b == b'&').filter(|pair| !pair.is_empty()) {
            let Some(at) = names.iter().position(|field| field.is_some_and(|field| is_called(pair, field))) else {
                if names.iter().flatten().any(|field| looks_like(pair, field)) {
                    return Err(ExtractError::Ambiguous);
                }
                continue;
            };
            let value = form_urlencoded::parse(pair).next().map(|(_, value)| value);
            if std::mem::replace(&mut found[at], value).is_some() {
                return Err(ExtractError::Ambiguous);
            }
        }
        let [otp, challenge, user] = found;
        // What is no text is read differently by different readers.
        if user.as_ref().is_some_and(|user| user.contains(char::REPLACEMENT_CHARACTER)) {
            return Err(ExtractError::UnreadableBody("the name of the user is not in UTF-8".into()));
        }
        Ok(Fields {
            otp: otp.map(|otp| Otp::parse(otp.as_bytes())).transpose().map_err(ExtractError::Malformed)?,
            challenge: challenge.map(|challenge| Challenge::new(challenge.as_bytes())),
            user: user.map(|user| user.into()),
        })
    }

    /// The form without OTP and challenge: what is the same when a request comes again with either of them.
    pub(super) fn without_own(&self, form: &Bytes, has_own: bool) -> Bytes {
        if !has_own {
            return form.clone();
        }
        let own = |pair: &&[u8]| {
            let name = form_urlencoded::parse(pair).next().map(|(name, _)| name);
            name.is_some_and(|name| *name == *self.otp || *name == *self.challenge)
        };
        form.split(|&b| b == b'&').filter(|pair| !own(pair)).collect::<Vec<_>>().join(&b'&').into()
    }
}

/// Whether the pair is the field of this name.
fn is_called(pair: &[u8], field: &str) -> bool {
    decoded_name(pair).eq(field.bytes())
}

/// Whether some form reader would take the pair for the field: in another letter case, in white space, with brackets.
fn looks_like(pair: &[u8], field: &str) -> bool {
    let mut stem = decoded_name(pair).take_while(|&b| b != b'[').skip_while(u8::is_ascii_whitespace);
    field.bytes().all(|expected| stem.next().is_some_and(|b| b.eq_ignore_ascii_case(&expected)))
        && stem.all(|b| b.is_ascii_whitespace())
}

/// The bytes of a pair's name, as the WHATWG parser decodes them.
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
                    // A sign that encodes nothing stands for itself.
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
    fn challenge_and_user_stand_beside_the_otp() {
        let names = FieldNames { user: Some("username".into()), ..FieldNames::default() };
        let found = names.find(b"username=al%C3%AFce&toopher_challenge=abc&x=1").unwrap();
        assert_eq!((found.user.as_deref(), found.challenge), (Some("al\u{ef}ce"), Some(Challenge::new(b"abc"))));
        for ambiguous in
            ["username=a&username=b", "toopher_challenge=a&toopher_challenge=a", "Username=a", "username[]=a"]
        {
            assert!(matches!(names.find(ambiguous.as_bytes()), Err(ExtractError::Ambiguous)), "{ambiguous}");
        }
        assert!(matches!(names.find(b"username=%ff"), Err(ExtractError::UnreadableBody(_))));
        // Without a name of its own the field of the user is one like any other.
        assert!(FieldNames::default().find(b"username=a&username=b").unwrap().user.is_none());
    }

    #[test]
    fn what_is_bound_leaves_out_otp_and_challenge_alone() {
        let bound = |form: &'static str| FieldNames::default().without_own(&Bytes::from_static(form.as_bytes()), true);
        for same in
            ["a=1&b=2", "a=1&toopher_challenge=x&b=2", "o%74p=081804&a=1&b=2", "a=1&b=2&otp=1&toopher_challenge="]
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

        /// The reader never decodes more than it must, and still sees what the whole-form parser sees.
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
                Err(_) => prop_assert!(
                    named.len() > 1
                        || form_urlencoded::parse(form.as_bytes())
                            .any(|(name, _)| name != "otp" && name.split('[').next().unwrap().trim_ascii().eq_ignore_ascii_case("otp"))
                ),
            }
        }

        #[test]
        fn any_bytes_are_read_without_panic(form in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = FieldNames::default().find(&form);
        }
    }
}
