//! Where clients think the server is, and what of its path a call has.

use std::fmt;

use http::request::Parts;

use crate::oauth1::BaseUri;

/// Where clients think the server is, which is what they sign.
pub(super) struct PublicUrl {
    scheme: String,
    authority: String,
    prefix: String,
}

/// The path within this API, whatever it is mounted under, and before its own routers take parts of it away.
#[derive(Clone)]
struct ApiPath(String);

pub(super) async fn record_path(mut request: axum::extract::Request) -> axum::extract::Request {
    let path = ApiPath(request.uri().path().to_owned());
    request.extensions_mut().insert(path);
    request
}

impl PublicUrl {
    pub(super) fn parse(url: &str) -> Option<Self> {
        let uri: http::Uri = url.trim_end_matches('/').parse().ok()?;
        let (scheme, authority) = (uri.scheme_str()?, uri.authority()?.as_str());
        BaseUri::new(scheme, authority, uri.path()).ok()?;
        let prefix = if uri.path() == "/" { "" } else { uri.path() };
        (uri.query().is_none()).then(|| Self {
            scheme: scheme.into(),
            authority: authority.into(),
            prefix: prefix.into(),
        })
    }

    /// The address that the client has signed, if it can be one.
    pub(super) fn base_uri(&self, parts: &Parts) -> Option<BaseUri> {
        let ApiPath(path) = parts.extensions.get()?;
        BaseUri::new(&self.scheme, &self.authority, &format!("{}{path}", self.prefix)).ok()
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme, self.authority, self.prefix)
    }
}
