//! The parameters of a call, under every name that clients use.
//!
//! Original clients send some parameters with an empty value, which then means that they are missing. That must never
//! give a call more rights than it would have with a value:
//!
//! | parameter | empty |
//! |---|---|
//! | `otp` | a malformed OTP: denied. No push is sent, and no rule answers |
//! | `pairing_id` | missing: the user is named by `user_name`, which is required then |
//! | `user_name`, `name`, `user_id`, `terminal_id`, `site_origin` | an error (400) |
//! | `action_name` | the default action, which no rule answers |
//! | `automation_allowed`, `allow_inline_pairing`, `create_user_if_needed` | false |
//! | `challenge_required`, `number_matching` | true |
//! | other flags | an error (400) |
//! | `terminal_name`, and the discriminator of a terminal | missing: no rule answers a request without discriminator |
//! | `security_question` and `security_answer` | missing, if both are |
//! | `session_token`, `requester_metadata` | missing: the result of a page has no value for the site to compare |
//! | required parameters | missing: an error (400) |

use crate::api_error::ApiError;

/// The maximum length of a value in bytes.
const MAX_VALUE: usize = 512;

/// The parameters of the query and the form, without those of OAuth.
#[derive(Default)]
pub(crate) struct Params(Vec<(String, String)>);

impl Params {
    /// The parameters of a form of this server's own pages, which is not signed.
    pub(crate) fn read(form: &[u8]) -> Self {
        let pairs: Vec<_> = form_urlencoded::parse(form).collect();
        Self::from_pairs(pairs.iter().map(|(name, value)| (name.as_ref(), value.as_ref())))
    }

    /// The parameters of a call that its signature covers.
    pub(crate) fn from_pairs<'a>(parameters: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for (name, value) in parameters {
            // Some clients send each parameter both in the query and in the form.
            if !name.is_empty() && !name.starts_with("oauth_") && !pairs.iter().any(|(n, v)| n == name && v == value) {
                pairs.push((name.to_owned(), value.to_owned()));
            }
        }
        Self(pairs)
    }

    /// The value under any of these names. An empty value counts as missing. Two different values are an error, since
    /// parsers could disagree about which one is valid.
    pub(crate) fn get(&self, names: &[&str]) -> Result<Option<&str>, ApiError> {
        self.find(names, true)
    }

    /// The value under any of these names, which may be empty. A value and an empty one are two different values.
    pub(crate) fn get_even_empty(&self, names: &[&str]) -> Result<Option<&str>, ApiError> {
        self.find(names, false)
    }

    /// The value under any of these names. An empty value is an error.
    pub(crate) fn get_not_empty(&self, names: &[&str]) -> Result<Option<&str>, ApiError> {
        match self.find(names, false)? {
            Some("") => Err(ApiError::bad_request("A parameter is empty.")),
            value => Ok(value),
        }
    }

    fn find(&self, names: &[&str], skip_empty: bool) -> Result<Option<&str>, ApiError> {
        let mut found = None;
        for (name, value) in &self.0 {
            let skipped = skip_empty && value.is_empty();
            if skipped || !names.contains(&name.as_str()) || found == Some(value.as_str()) {
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
        self.get(names)?.ok_or(ApiError::MISSING_PARAMETER)
    }

    /// `true`, `True`, `1`, and their opposites. An empty value is an error.
    pub(crate) fn flag(&self, names: &[&str]) -> Result<Option<bool>, ApiError> {
        self.flag_or_if_empty(names, None)
    }

    /// A flag that narrows a call if it is `strict`, which an empty value is, too. The default is the opposite.
    pub(crate) fn narrowing_flag(&self, names: &[&str], strict: bool) -> Result<bool, ApiError> {
        Ok(self.flag_or_if_empty(names, Some(strict))?.unwrap_or(!strict))
    }

    /// A flag, whose value may be empty if `empty` says what that means.
    pub(crate) fn flag_or_if_empty(&self, names: &[&str], empty: Option<bool>) -> Result<Option<bool>, ApiError> {
        match self.get_even_empty(names)? {
            None => Ok(None),
            Some("") if empty.is_some() => Ok(empty),
            Some(text) if text == "1" || text.eq_ignore_ascii_case("true") => Ok(Some(true)),
            Some(text) if text == "0" || text.eq_ignore_ascii_case("false") => Ok(Some(false)),
            Some(_) => Err(ApiError::bad_request("A boolean parameter is neither true nor false.")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_in_all_encodings() {
        let params = Params::read(
            b"a=1&flag=True&twice=x&oauth_nonce=n&none&\
              b=two+w%6Frds&utf8=caf%C3%A9&empty=&twice=x&off=0&syn1=&syn2=v&odd=yes&c=1&c=2",
        );
        let get = |name| params.get(&[name]).ok().flatten();
        assert_eq!(get("a"), Some("1"));
        assert_eq!(get("b"), Some("two words"));
        assert_eq!(get("utf8"), Some("caf\u{e9}"));
        assert_eq!((get("empty"), get("none"), get("oauth_nonce"), get("missing")), (None, None, None, None));
        assert_eq!(get("twice"), Some("x"));
        assert_eq!(params.get(&["syn1", "syn2"]).unwrap(), Some("v"));
        assert!(params.get(&["c"]).is_err() && params.get(&["a", "b"]).is_err() && params.require(&["empty"]).is_err());
        assert_eq!(params.flag(&["flag"]).unwrap(), Some(true));
        assert_eq!(params.flag(&["off"]).unwrap(), Some(false));
        assert!(params.flag(&["odd"]).is_err() && params.flag(&["empty"]).is_err());
        assert_eq!(params.flag(&["missing"]).unwrap(), None);
        for strict in [true, false] {
            let flag = |name| params.narrowing_flag(&[name], strict).ok();
            assert_eq!([flag("empty"), flag("none"), flag("missing")], [Some(strict), Some(strict), Some(!strict)]);
            assert_eq!([flag("flag"), flag("off"), flag("odd")], [Some(true), Some(false), None]);
        }
        for (name, value) in [("a", Some("1")), ("empty", Some("")), ("none", Some("")), ("missing", None)] {
            assert_eq!(params.get_even_empty(&[name]).unwrap(), value);
            assert_eq!(params.get_not_empty(&[name]).ok(), (value != Some("")).then_some(value));
        }
        assert!(params.get_even_empty(&["syn1", "syn2"]).is_err() && params.get_not_empty(&["syn1", "syn2"]).is_err());
        assert!(Params::read(b"a=%00").get(&["a"]).is_err());
        assert!(Params::read(format!("a={}", "x".repeat(513)).as_bytes()).get(&["a"]).is_err());
    }
}
