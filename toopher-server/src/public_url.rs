//! The URL that clients use and sign, and the path of a call under it.

use std::fmt;

use axum::extract::Request;
use http::Uri;
use http::request::Parts;
use toopher_oauth1::BaseUri;

/// The URL under which clients reach the server. They sign it.
pub(crate) struct PublicUrl {
    scheme: String,
    authority: String,
    prefix: String,
}

/// The path of a call within this API, recorded before nested routers strip parts of it.
#[derive(Clone)]
struct ApiPath(String);

pub(crate) async fn record_path(mut request: Request) -> Request {
    let path = ApiPath(request.uri().path().to_owned());
    request.extensions_mut().insert(path);
    request
}

impl PublicUrl {
    pub(crate) fn parse(url: &str) -> Option<Self> {
        let uri: Uri = url.trim_end_matches('/').parse().ok()?;
        let (scheme, authority) = (uri.scheme_str()?, uri.authority()?.as_str());
        BaseUri::new(scheme, authority, uri.path()).ok()?;
        let prefix = if uri.path() == "/" { "" } else { uri.path() };
        (uri.query().is_none()).then(|| Self {
            scheme: scheme.into(),
            authority: authority.into(),
            prefix: prefix.into(),
        })
    }

    /// The URL that the client of this call has signed, or `None` if no client can sign it.
    pub(crate) fn base_uri(&self, parts: &Parts) -> Option<BaseUri> {
        let ApiPath(path) = parts.extensions.get()?;
        BaseUri::new(&self.scheme, &self.authority, &format!("{}{path}", self.prefix)).ok()
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme, self.authority, self.prefix)
    }
}
