//! A transport over `hyper-util`.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs;
use tower_service::Service;

use super::error::TransportError;
use crate::verify::BoxError;

/// A transport that uses `hyper-util`'s client: HTTP/1.1, TLS with the system's trusted certificates, and no proxies.
/// Clones share the connections.
#[derive(Clone)]
pub struct HyperTransport(Client<HttpsConnector<HttpConnector>, Full<Bytes>>);

impl HyperTransport {
    /// Creates a transport with all defaults.
    ///
    /// # Errors
    ///
    /// [`TransportError`] when TLS cannot be set up.
    pub fn new() -> Result<Self, TransportError> {
        // The provider is explicit because rustls has no default provider if two are compiled in.
        let builder = HttpsConnectorBuilder::new()
            .with_provider_and_platform_verifier(Arc::new(aws_lc_rs::default_provider()))
            .map_err(TransportError::new)?;
        Ok(Self::from_connector(builder.https_or_http().enable_http1().build()))
    }

    /// Creates a transport with this TLS configuration. Its list of protocols (ALPN) must be empty.
    #[must_use]
    pub fn with_tls(config: ClientConfig) -> Self {
        Self::from_connector(
            HttpsConnectorBuilder::new().with_tls_config(config).https_or_http().enable_http1().build(),
        )
    }

    fn from_connector(connector: HttpsConnector<HttpConnector>) -> Self {
        // This client repeats a request only if the connection closed before it wrote any byte of the request.
        Self(Client::builder(TokioExecutor::new()).build(connector))
    }
}

impl Service<Request<Bytes>> for HyperTransport {
    type Response = Response<Incoming>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Incoming>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let response = self.0.request(request.map(Full::new));
        Box::pin(async move { response.await.map_err(Into::into) })
    }
}

impl fmt::Debug for HyperTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HyperTransport").finish_non_exhaustive()
    }
}
