//! The request that an approval is bound to.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Method, header};

use super::extensions::{ExtraBinding, SessionId};

/// The parts of a request that an approval is bound to.
///
/// The layer builds it from requests without an OTP, or with an approval token. An approval is valid only for a request
/// with equal method, host, path, query, content type, body, session and
/// [`ExtraBinding`](crate::verify::ExtraBinding).
#[derive(Clone)]
pub struct RequestBinding {
    method: Method,
    host: Box<[u8]>,
    target: http::Uri,
    content: [Box<[u8]>; 2],
    session: Option<SessionId>,
    extra: Option<ExtraBinding>,
    body: Option<Bytes>,
    wait: Option<Duration>,
}

impl RequestBinding {
    /// Reads the head of a request. `body` is the complete body without the fields of the credentials, or `None` if it
    /// was not read.
    #[must_use]
    pub fn new(request: &Parts, session: impl Into<Option<SessionId>>, body: Option<Bytes>) -> Self {
        let lines = |name| {
            let lines: Vec<_> = request.headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
            lines.join(&b'\n')
        };
        // The URI and a header may both name the host. If they differ, the application may use either of them.
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
            session: session.into(),
            extra: None,
            body,
            wait: None,
        }
    }

    /// Sets an additional value that must be equal. Default: none.
    #[must_use]
    pub fn with_extra(mut self, extra: impl Into<Option<ExtraBinding>>) -> Self {
        self.extra = extra.into();
        self
    }

    /// Sets how long the client prefers to wait for the decision. Default: no wait.
    #[must_use]
    pub fn with_wait(mut self, wait: impl Into<Option<Duration>>) -> Self {
        self.wait = wait.into();
        self
    }

    /// How long the client prefers to wait for the decision (`Prefer: wait=N`, RFC 7240 section 4.3).
    #[must_use]
    pub fn wait(&self) -> Option<Duration> {
        self.wait
    }

    /// The session of the user.
    #[must_use]
    pub fn session(&self) -> Option<&SessionId> {
        self.session.as_ref()
    }

    /// Whether the body is known. No approval can be bound to a request with an unknown body.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.body.is_some()
    }

    /// All parts except the session, always in the same number and order. Two requests are equal if all parts are. Code
    /// that hashes them must separate them, by their lengths for example.
    pub fn parts(&self) -> impl Iterator<Item = &[u8]> {
        [
            self.method.as_str().as_bytes(),
            &self.host,
            self.target.path_and_query().map_or(&b"/"[..], |target| target.as_str().as_bytes()),
            &self.content[0],
            &self.content[1],
            self.extra.as_ref().map_or("", ExtraBinding::as_str).as_bytes(),
            self.body.as_deref().unwrap_or_default(),
        ]
        .into_iter()
    }
}

impl fmt::Debug for RequestBinding {
    /// Omits query, session and body, which may contain secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBinding")
            .field("method", &self.method)
            .field("path", &self.target.path())
            .field("whole", &self.is_whole())
            .finish_non_exhaustive()
    }
}
