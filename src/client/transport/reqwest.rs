//! A transport over `reqwest`.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use tower_service::Service;

use super::error::TransportError;
use crate::verify::BoxError;

/// A transport that uses `reqwest`: HTTP/1.1, TLS with the system's trusted certificates, and the proxies of the
/// environment (`HTTPS_PROXY` and similar variables). Clones share the connections.
#[derive(Clone)]
pub struct ReqwestTransport(reqwest::Client);

impl ReqwestTransport {
    /// Creates a transport with all defaults.
    ///
    /// # Errors
    ///
    /// [`TransportError`] when TLS cannot be set up.
    pub fn new() -> Result<Self, TransportError> {
        Self::from_builder(reqwest::Client::builder())
    }

    /// Creates a transport with the proxies, certificates and other settings of the builder. It disables redirects and
    /// retries: a redirect would send the signature to another server, and a retry would send it twice.
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

/// Removes the URL from an error, because errors are logged and a query can contain the name of a user.
fn without_url(error: reqwest::Error) -> BoxError {
    error.without_url().into()
}

impl fmt::Debug for ReqwestTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReqwestTransport").finish_non_exhaustive()
    }
}

/// The response body of a [`ReqwestTransport`].
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
