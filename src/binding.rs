//! What a pending approval is bound to.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Method, header};

/// The request that an attempt is for, as far as an approval of it is bound to it.
///
/// The gate makes it from requests that come without an OTP, or with the challenge of an earlier one. An approval that
/// was asked for with one request counts only for a request that is the same in all of this: method, host, path and
/// query, content type, body, session, and whatever else the application names.
#[derive(Clone)]
pub struct RequestBinding {
    method: Method,
    host: Box<[u8]>,
    target: http::Uri,
    content: [Box<[u8]>; 2],
    session: Option<Arc<str>>,
    also: Option<Arc<str>>,
    body: Option<Bytes>,
    wait: Option<Duration>,
}

impl RequestBinding {
    /// Takes what is in the head of a request. `session` is what tells the user's sessions apart, and `body` the whole
    /// body, without the fields that are the gate's own; none if it has not been read.
    #[must_use]
    pub fn new(request: &Parts, session: Option<Arc<str>>, body: Option<Bytes>) -> Self {
        let lines = |name| {
            let lines: Vec<_> = request.headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
            lines.join(&b'\n')
        };
        // An address may name the host, and so may a header. Where they differ, the application may go by either.
        let (mut host, named) = (lines(header::HOST).to_ascii_lowercase(), request.uri.authority());
        if let Some(named) = named.map(|named| named.as_str().to_ascii_lowercase().into_bytes())
            && named != host
        {
            host = if host.is_empty() { named } else { [named, host].join(&b'\n') };
        }
        Self {
            method: request.method.clone(),
            host: host.into(),
            target: request.uri.clone(),
            content: [lines(header::CONTENT_TYPE).into(), lines(header::CONTENT_ENCODING).into()],
            session,
            also: None,
            body,
            wait: None,
        }
    }

    /// Sets what else must be the same. Default: nothing.
    #[must_use]
    pub fn with_also(mut self, also: Option<Arc<str>>) -> Self {
        self.also = also;
        self
    }

    /// Sets how long the client would like the answer to be waited for. Default: not at all.
    #[must_use]
    pub fn with_wait(mut self, wait: Option<Duration>) -> Self {
        self.wait = wait;
        self
    }

    /// How long the client would like the answer to be waited for (`Prefer: wait=N`, RFC 7240 section 4.3).
    #[must_use]
    pub fn wait(&self) -> Option<Duration> {
        self.wait
    }

    /// What tells the user's sessions apart.
    #[must_use]
    pub fn session(&self) -> Option<&str> {
        self.session.as_deref()
    }

    /// Whether the whole request is known, its body too. No approval can be bound to one that is not.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.body.is_some()
    }

    /// Every part but the session, always as many and in the same order: two requests are the same if all of them are.
    /// Whoever makes one text of them must keep them apart, by their lengths say.
    pub fn parts(&self) -> impl Iterator<Item = &[u8]> {
        [
            self.method.as_str().as_bytes(),
            &self.host,
            self.target.path_and_query().map_or(&b"/"[..], |target| target.as_str().as_bytes()),
            &self.content[0],
            &self.content[1],
            self.also.as_deref().unwrap_or_default().as_bytes(),
            self.body.as_deref().unwrap_or_default(),
        ]
        .into_iter()
    }
}

impl fmt::Debug for RequestBinding {
    /// Leaves out the query, the session and the body, which hold what is nobody's business.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBinding")
            .field("method", &self.method)
            .field("path", &self.target.path())
            .field("whole", &self.is_whole())
            .finish_non_exhaustive()
    }
}
