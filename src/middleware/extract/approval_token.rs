//! The header that carries the approval token, in both directions.

use http::{HeaderMap, HeaderName};

use super::error::ExtractError;
use super::line::take_line;
use crate::verify::ApprovalToken;

/// The name of the header.
pub(in crate::middleware) const APPROVAL_HEADER: HeaderName = HeaderName::from_static("toopher-approval");

/// Removes the approval token from `headers`.
pub(super) fn take_approval_token(headers: &mut HeaderMap) -> Result<Option<ApprovalToken>, ExtractError> {
    Ok(take_line(headers, &APPROVAL_HEADER)?.map(|line| ApprovalToken::from_client(line.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::middleware::extract::line::merge_sources;

    #[test]
    fn one_token_or_none() {
        let take = |lines: &[&str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(APPROVAL_HEADER, line.parse().unwrap());
            }
            (take_approval_token(&mut headers), headers.is_empty())
        };
        assert!(matches!(take(&[]), (Ok(None), true)));
        assert!(matches!(take(&["abc"]), (Ok(Some(token)), true) if token.as_str() == "abc"));
        assert!(matches!(take(&[""]), (Ok(Some(token)), true) if token.as_str().is_empty()));
        for two in [&["abc", "abc"][..], &["abc, def"], &["", "abc"]] {
            assert!(matches!(take(two), (Err(ExtractError::Ambiguous), true)), "{two:?}");
        }
        let token = |text: &str| ApprovalToken::new(text).ok();
        assert!(merge_sources(token("a"), token("b")).is_err());
        assert_eq!(merge_sources(token("a"), token("a")).unwrap(), token("a"));
        assert_eq!(merge_sources(None, token("a")).unwrap(), token("a"));
    }
}
