//! The client: a `tower::Service` of API calls.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use toopher_oauth1::Credentials;
use tower_service::Service;

use super::base_url::BaseUrl;
use super::call::ApiCall;
use super::config::Config;
use super::error::ClientError;
use super::response::ApiResponse;
use super::send::send_call;
#[cfg(feature = "client")]
use super::transport::{ReqwestTransport, TransportError};
use crate::time::Clock;
use crate::verify::BoxError;

/// The client of a Toopher API, and a `tower::Service` of its calls: see the [module docs](crate::client).
///
/// `T` is the transport. Clones share the credentials and the settings; each has a clone of the transport.
#[derive(Clone)]
#[must_use]
pub struct ToopherClient<T> {
    transport: T,
    config: Arc<Config>,
}

#[cfg(feature = "client")]
impl ToopherClient<ReqwestTransport> {
    /// Creates a client with `reqwest` as its transport and with all defaults.
    ///
    /// # Errors
    ///
    /// [`TransportError`] when TLS cannot be set up.
    pub fn new(base: BaseUrl, credentials: Credentials) -> Result<Self, TransportError> {
        Ok(Self::with_transport(base, credentials, ReqwestTransport::new()?))
    }
}

impl<T> ToopherClient<T> {
    /// Creates a client with any `tower::Service` of HTTP requests as its transport.
    ///
    /// The transport must not follow redirects, because that would send the signature and the signed parameters to
    /// another server. It must not repeat a request that may have reached the server.
    pub fn with_transport(base: BaseUrl, credentials: Credentials, transport: T) -> Self {
        Self { transport, config: Arc::new(Config::new(base, credentials)) }
    }

    /// Sets the time limit of a call: from waiting for the transport to the last byte of the response, including a
    /// retry. Default: 10 seconds. The limit needs tokio's timer.
    pub fn timeout(self, timeout: Duration) -> Self {
        self.change(|config| config.timeout = timeout)
    }

    /// Sets the maximum size of a response body in bytes. Default: 64 KiB.
    pub fn response_limit(self, bytes: usize) -> Self {
        self.change(|config| config.response_limit = bytes)
    }

    /// Sets the maximum size of a QR code's image in bytes. Default: 1 MiB.
    pub fn image_limit(self, bytes: usize) -> Self {
        self.change(|config| config.image_limit = bytes)
    }

    /// Sets whether the client repeats a safe call ([`ApiCall::is_safe`]) once, with a new signature, when its
    /// connection fails. Default: yes. The client never repeats another call: the first one may have sent a push or
    /// used an OTP.
    pub fn retry_safe(self, retry: bool) -> Self {
        self.change(|config| config.retry_safe = retry)
    }

    /// Sets the clock for the timestamps of signatures. Default: the system clock.
    pub fn clock(self, clock: impl Into<Clock>) -> Self {
        self.change(|config| config.clock = clock.into())
    }

    /// The URL of the API.
    #[must_use]
    pub fn base_url(&self) -> &BaseUrl {
        &self.config.base
    }

    fn change(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(Arc::make_mut(&mut self.config));
        self
    }
}

impl<T, B> ToopherClient<T>
where
    T: Service<Request<Bytes>, Response = Response<B>> + Clone,
    T::Error: Into<BoxError>,
    B: Body,
    B::Error: Into<BoxError>,
{
    /// Sends a call.
    ///
    /// # Errors
    ///
    /// [`ClientError`] unless the API responds with success and with the kind of response that belongs to the call.
    pub async fn send(&self, call: ApiCall) -> Result<ApiResponse, ClientError> {
        send_call(self.transport.clone(), &self.config, &call).await
    }
}

impl<T, B> Service<ApiCall> for ToopherClient<T>
where
    T: Service<Request<Bytes>, Response = Response<B>> + Clone + Send + 'static,
    T::Error: Into<BoxError>,
    T::Future: Send,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    type Response = ApiResponse;
    type Error = ClientError;
    type Future = Pin<Box<dyn Future<Output = Result<ApiResponse, ClientError>> + Send>>;

    /// Always ready. Each call drives a clone of the transport to readiness, within the call's time limit and before it
    /// signs the request.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ClientError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: ApiCall) -> Self::Future {
        let (transport, config) = (self.transport.clone(), Arc::clone(&self.config));
        Box::pin(async move { send_call(transport, &config, &call).await })
    }
}

impl<T> fmt::Debug for ToopherClient<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToopherClient")
            .field("base_url", &self.config.base)
            .field("credentials", &self.config.credentials)
            .field("timeout", &self.config.timeout)
            .finish_non_exhaustive()
    }
}
