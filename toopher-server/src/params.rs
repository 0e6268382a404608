//! The parameters of a call, under every name and encoding that clients use.

use std::borrow::Cow;

use percent_encoding::percent_decode;

use crate::api_error::ApiError;

/// The maximum length of a value in bytes.
const MAX_VALUE: usize = 512;

/// The parameters of the query and the form, without those of OAuth.
#[derive(Default)]
pub(crate) struct Params(Vec<(String, String)>);

impl Params {
    pub(crate) fn read(query: &str, form: &[u8]) -> Self {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for pair in query.as_bytes().split(|&b| b == b'&').chain(form.split(|&b| b == b'&')) {
            let mut halves = pair.splitn(2, |&b| b == b'=');
            let mut half = || text(halves.next().unwrap_or_default());
            let (name, value) = (half(), half());
            // Some clients send each parameter both in the query and in the form.
            if !name.is_empty() && !name.starts_with("oauth_") && !pairs.iter().any(|(n, v)| *n == name && *v == value)
            {
                pairs.push((name, value));
            }
        }
        Self(pairs)
    }

    /// The value under any of these names. An empty value counts as missing. Two different values are an error, since
    /// parsers could disagree about which one is valid.
    pub(crate) fn get(&self, names: &[&str]) -> Result<Option<&str>, ApiError> {
        let mut found = None;
        for (name, value) in &self.0 {
            if value.is_empty() || !names.contains(&name.as_str()) || found == Some(value.as_str()) {
                continue;
            }
            // PostgreSQL accepts no NUL in text.
            if value.contains('\0') {
                return Err(ApiError::bad_request("A parameter contains a NUL character."));
            }
            if value.len() > MAX_VALUE {
                return Err(ApiError::bad_request("A parameter is longer than 512 bytes."));
            }
            if found.replace(value.as_str()).is_some() {
                return Err(ApiError::bad_request("A parameter has two values."));
            }
        }
        Ok(found)
    }

    pub(crate) fn require(&self, names: &[&str]) -> Result<&str, ApiError> {
        self.get(names)?.ok_or(ApiError::bad_request("A required parameter is missing."))
    }

    /// `true`, `True`, `1`, and their opposites.
    pub(crate) fn flag(&self, names: &[&str]) -> Result<Option<bool>, ApiError> {
        match self.get(names)? {
            None => Ok(None),
            Some(text) if text == "1" || text.eq_ignore_ascii_case("true") => Ok(Some(true)),
            Some(text) if text == "0" || text.eq_ignore_ascii_case("false") => Ok(Some(false)),
            Some(_) => Err(ApiError::bad_request("A boolean parameter is neither true nor false.")),
        }
    }
}

/// Decodes UTF-8. Text that is not UTF-8 is decoded as Latin-1, which some clients send.
fn text(encoded: &[u8]) -> String {
    let spaced: Vec<u8> = encoded.iter().map(|&b| if b == b'+' { b' ' } else { b }).collect();
    let bytes: Cow<'_, [u8]> = percent_decode(&spaced).into();
    match std::str::from_utf8(&bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().map(|&b| char::from(b)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_in_all_encodings() {
        let params = Params::read(
            "a=1&flag=True&twice=x&oauth_nonce=n&none",
            b"b=two+w%6Frds&latin=caf%E9&utf8=caf%C3%A9&empty=&twice=x&off=0&syn1=&syn2=v&odd=yes&c=1&c=2",
        );
        let get = |name| params.get(&[name]).ok().flatten();
        assert_eq!(get("a"), Some("1"));
        assert_eq!(get("b"), Some("two words"));
        assert_eq!((get("latin"), get("utf8")), (Some("caf\u{e9}"), Some("caf\u{e9}")));
        assert_eq!((get("empty"), get("none"), get("oauth_nonce"), get("missing")), (None, None, None, None));
        assert_eq!(get("twice"), Some("x"));
        assert_eq!(params.get(&["syn1", "syn2"]).unwrap(), Some("v"));
        assert!(params.get(&["c"]).is_err() && params.get(&["a", "b"]).is_err() && params.require(&["empty"]).is_err());
        assert_eq!(params.flag(&["flag"]).unwrap(), Some(true));
        assert_eq!(params.flag(&["off"]).unwrap(), Some(false));
        assert_eq!(params.flag(&["empty"]).unwrap(), None);
        assert!(params.flag(&["odd"]).is_err());
        assert!(Params::read("a=%00", b"").get(&["a"]).is_err());
        assert!(Params::read(&format!("a={}", "x".repeat(513)), b"").get(&["a"]).is_err());
    }
}
