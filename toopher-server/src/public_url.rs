//! The URL that clients use and sign, and the path of a call under it.

use std::fmt;

use axum::extract::Request;
use http::request::Parts;
use toopher_oauth1::{BaseUri, ServiceUrl};

/// The URL under which clients reach the server, without `/v1`. They sign it.
pub(crate) struct PublicUrl(ServiceUrl);

/// The path of a call within this API, recorded before nested routers strip parts of it.
#[derive(Clone)]
struct ApiPath(String);

pub(crate) async fn record_path(mut request: Request) -> Request {
    let path = ApiPath(request.uri().path().to_owned());
    request.extensions_mut().insert(path);
    request
}

impl PublicUrl {
    /// The error is the reason.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let url: ServiceUrl = text.parse().map_err(|error| format!("the public URL is invalid: {error}"))?;
        if url.path().rsplit('/').next().is_some_and(|last| last.eq_ignore_ascii_case("v1")) {
            return Err("the public URL must not end in /v1, which clients append to it".into());
        }
        Ok(Self(url))
    }

    /// The path that the API is mounted under, without a trailing slash: empty for the root.
    pub(crate) fn path(&self) -> &str {
        self.0.path()
    }

    /// The URL that the client of this call has signed, or `None` if no client can sign it.
    pub(crate) fn base_uri(&self, parts: &Parts) -> Option<BaseUri> {
        let ApiPath(path) = parts.extensions.get()?;
        self.0.join(path).ok()
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_of_an_invalid_url() {
        for (text, reason) in [
            ("https://h/v1", "/v1"),
            ("https://h/v1/", "/v1"),
            ("https://h/mfa/V1//", "/v1"),
            ("https://h?x", "query"),
            ("https://h/#", "fragment"),
            ("https://user:secret@h", "password"),
            ("ftp://h", "http://"),
            ("https://h:0", "port 0"),
            ("https://h/..;/mfa", "`..`"),
        ] {
            let error = PublicUrl::parse(text).map(drop).unwrap_err();
            assert!(error.contains(reason) && !error.contains("secret"), "{text}: {error}");
        }
        for (text, expected) in [("HTTPS://H:443/Mfa/", "https://h/Mfa"), ("https://h/v1x", "https://h/v1x")] {
            assert_eq!(PublicUrl::parse(text).unwrap().to_string(), expected);
        }
    }
}
