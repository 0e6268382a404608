//! The parameters of OAuth in a request, found in one pass.

use crate::pairs::{Pairs, Parameter};

#[derive(Default)]
pub(crate) struct Protocol<'a> {
    /// How often each of [`REQUIRED`] occurs, and its first value.
    pub(crate) required: [(usize, &'a str); REQUIRED.len()],
    pub(crate) versions: usize,
    pub(crate) has_other_version: bool,
    pub(crate) has_token: bool,
    /// The number of sources with such parameters, and of those with a signature.
    pub(crate) sources: usize,
    pub(crate) signed_sources: usize,
}

const REQUIRED: [&str; 5] =
    ["oauth_consumer_key", "oauth_nonce", "oauth_signature", "oauth_signature_method", "oauth_timestamp"];

impl<'a> Protocol<'a> {
    pub(crate) fn find(sources: [&'a Pairs; 3]) -> Self {
        let mut found = Self::default();
        for source in sources {
            let (mut is_source, mut is_signed) = (false, false);
            for Parameter { name, value, .. } in source.iter().filter(Parameter::is_protocol) {
                is_source = true;
                is_signed |= name == "oauth_signature";
                match name {
                    "oauth_version" => {
                        found.versions += 1;
                        found.has_other_version |= value != "1.0";
                    }
                    "oauth_token" => found.has_token |= !value.is_empty(),
                    _ => {
                        if let Some(at) = REQUIRED.iter().position(|required| *required == name) {
                            let (count, first) = &mut found.required[at];
                            *first = if *count == 0 { value } else { *first };
                            *count += 1;
                        }
                    }
                }
            }
            found.sources += usize::from(is_source);
            found.signed_sources += usize::from(is_signed);
        }
        found
    }
}
