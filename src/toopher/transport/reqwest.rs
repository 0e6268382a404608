use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use tower_service::Service;

use super::TransportError;
use crate::BoxError;

/// Carries requests with `reqwest`: HTTP/1.1, TLS with the certificates that the system trusts, and the proxies that
/// the environment names (`HTTPS_PROXY` and its kin). Clones share the connections.
#[derive(Clone)]
pub struct ReqwestTransport(reqwest::Client);

impl ReqwestTransport {
    /// A transport with all defaults.
    ///
    /// # Errors
    ///
    /// [`TransportError`] when TLS cannot be set up.
    pub fn new() -> Result<Self, TransportError> {
        Self::from_builder(reqwest::Client::builder())
    }

    /// A transport with proxies, certificates and the like of your own. Redirects and retries are switched off
    /// whatever the builder says: a redirect would carry the signature away, a retry repeat it.
    ///
    /// # Errors
    ///
    /// [`TransportError`] when the builder fails.
    pub fn from_builder(builder: reqwest::ClientBuilder) -> Result<Self, TransportError> {
        let builder = builder.redirect(reqwest::redirect::Policy::none()).retry(reqwest::retry::never());
        builder.build().map(Self).map_err(TransportError::new)
    }
}

impl Service<Request<Bytes>> for ReqwestTransport {
    type Response = Response<ReqwestBody>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<ReqwestBody>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let client = self.0.clone();
        Box::pin(async move {
            let request = request.try_into().map_err(without_url)?;
            let response: Response<reqwest::Body> = client.execute(request).await.map_err(without_url)?.into();
            Ok(response.map(ReqwestBody))
        })
    }
}

/// A query may name a user, and errors are logged.
fn without_url(error: reqwest::Error) -> BoxError {
    error.without_url().into()
}

impl fmt::Debug for ReqwestTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReqwestTransport").finish_non_exhaustive()
    }
}

/// The body of an answer that came by a [`ReqwestTransport`].
pub struct ReqwestBody(reqwest::Body);

impl Body for ReqwestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.0).poll_frame(cx).map_err(without_url)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

impl fmt::Debug for ReqwestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReqwestBody").finish_non_exhaustive()
    }
}
