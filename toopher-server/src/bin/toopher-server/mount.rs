//! The path of the public URL.

use axum::Router;
use axum::extract::Request;
use http::Uri;
use http::uri::PathAndQuery;
use tower::ServiceExt;

/// Serves `router` under `prefix`, which begins with a slash or is empty. Other paths are served unchanged, for proxies
/// that remove the prefix. It is no route, because the prefix may be equal to one of the router's paths.
pub(crate) fn mount(prefix: &str, router: Router) -> Router {
    if prefix.is_empty() {
        return router;
    }
    let prefix = prefix.to_owned();
    Router::new().fallback(move |mut request: Request| {
        if let Some(uri) = without_prefix(request.uri(), &prefix) {
            *request.uri_mut() = uri;
        }
        router.clone().oneshot(request)
    })
}

/// `None` if the path is not under the prefix.
fn without_prefix(uri: &Uri, prefix: &str) -> Option<Uri> {
    // The prefix alone is the public URL, which people open.
    let target = match uri.path_and_query()?.as_str().strip_prefix(prefix)? {
        "" => "/",
        target => target,
    };
    if !target.starts_with('/') {
        return None;
    }
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(target).ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_under_the_prefix() {
        for (uri, expected) in [
            ("/mfa/v1/users?a=/mfa/b", Some("/v1/users?a=/mfa/b")),
            ("/mfa/", Some("/")),
            ("/mfa/mfa/x", Some("/mfa/x")),
            ("https://h/mfa/x", Some("https://h/x")),
            ("/mfa/%2e%2e/x", Some("/%2e%2e/x")),
            ("/mfa", Some("/")),
            ("/mfax/v1", None),
            ("/v1/users", None),
            ("/MFA/v1", None),
            ("*", None),
        ] {
            let stripped = without_prefix(&uri.parse().unwrap(), "/mfa");
            assert_eq!(stripped.map(|uri| uri.to_string()).as_deref(), expected, "{uri}");
        }
    }
}
