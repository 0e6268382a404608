//! Reading one value from the lines of a header, or from a header and a form.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::error::ExtractError;

/// Removes the header `name` and returns its line. Several lines, or lines that a proxy has joined (RFC 9110
/// section 5.3), are ambiguous. The header is removed in every case, so that neither the inner service nor a hook that
/// builds a response logs it.
pub(super) fn take_line(headers: &mut HeaderMap, name: &HeaderName) -> Result<Option<HeaderValue>, ExtractError> {
    let before = headers.len();
    let Some(line) = headers.remove(name) else { return Ok(None) };
    let lines = before - headers.len();
    if lines > 1 || line.as_bytes().contains(&b',') { Err(ExtractError::Ambiguous) } else { Ok(Some(line)) }
}

/// Merges a value from a header with one from a form. If both exist, they must be equal.
pub(super) fn merge_sources<T: PartialEq>(header: Option<T>, form: Option<T>) -> Result<Option<T>, ExtractError> {
    match (header, form) {
        (Some(header), Some(form)) if header != form => Err(ExtractError::Ambiguous),
        (header, form) => Ok(header.or(form)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_and_a_form_agree_or_are_ambiguous() {
        for (header, form, merged) in
            [(None, None, None), (Some(1), None, Some(1)), (None, Some(1), Some(1)), (Some(1), Some(1), Some(1))]
        {
            assert_eq!(merge_sources(header, form).unwrap(), merged);
        }
        assert!(matches!(merge_sources(Some(1), Some(2)), Err(ExtractError::Ambiguous)));
    }
}
