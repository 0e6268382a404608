use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::exchange;
use super::{ApiCall, ApiReply, BaseUrl, ClientError};
use crate::BoxError;
use crate::oauth1::Credentials;

/// The client of a Toopher API, and a `tower::Service` of its calls: see the [module docs](crate::toopher).
///
/// `T` carries the requests. Clones share it, the credentials, and the settings.
#[derive(Clone)]
#[must_use]
pub struct ToopherClient<T> {
    transport: T,
    config: Arc<Config>,
}

#[derive(Clone)]
pub(super) struct Config {
    pub(super) base: BaseUrl,
    pub(super) credentials: Credentials,
    pub(super) clock: Arc<dyn Fn() -> SystemTime + Send + Sync>,
    pub(super) timeout: Duration,
    pub(super) limit: usize,
    pub(super) image_limit: usize,
    pub(super) retry_status: bool,
}

#[cfg(feature = "client")]
impl ToopherClient<super::ReqwestTransport> {
    /// A client over `reqwest`, with all defaults.
    ///
    /// # Errors
    ///
    /// [`TransportError`](super::TransportError) when TLS cannot be set up.
    pub fn new(base: BaseUrl, credentials: Credentials) -> Result<Self, super::TransportError> {
        Ok(Self::with_transport(base, credentials, super::ReqwestTransport::new()?))
    }
}

impl<T> ToopherClient<T> {
    /// A client over a transport of your own: any `tower::Service` of HTTP requests.
    ///
    /// It must not follow redirects, for it would take the signature, and what was signed, to wherever the answer
    /// points; and it must not make a request twice once it may have arrived.
    pub fn with_transport(base: BaseUrl, credentials: Credentials, transport: T) -> Self {
        let config = Config {
            base,
            credentials,
            clock: Arc::new(SystemTime::now),
            timeout: Duration::from_secs(10),
            limit: 64 * 1024,
            image_limit: 1024 * 1024,
            retry_status: true,
        };
        Self { transport, config: Arc::new(config) }
    }

    /// Sets how long a call may take, from the first wait for the transport to the last byte of the answer, a second
    /// try included. Default: 10 seconds. It needs tokio's timer.
    pub fn timeout(self, timeout: Duration) -> Self {
        self.change(|config| config.timeout = timeout)
    }

    /// Sets how many bytes an answer may have. Default: 64 KiB.
    pub fn answer_limit(self, bytes: usize) -> Self {
        self.change(|config| config.limit = bytes)
    }

    /// Sets how many bytes the image of a QR code may have. Default: 1 MiB.
    pub fn image_limit(self, bytes: usize) -> Self {
        self.change(|config| config.image_limit = bytes)
    }

    /// Sets whether a call that only looks ([`ApiCall::is_status`]) is made a second time, signed anew, when its
    /// connection fails. Default: yes. Other calls are made once: one that was lost may have pushed, or spent an OTP.
    pub fn retry_status(self, retry: bool) -> Self {
        self.change(|config| config.retry_status = retry)
    }

    /// Sets the clock that requests are signed by. Default: `SystemTime::now`.
    pub fn clock(self, now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.change(|config| config.clock = Arc::new(now))
    }

    /// Where the API is.
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
    /// Makes a call.
    ///
    /// # Errors
    ///
    /// [`ClientError`] unless the answer is a success and what the call answers with.
    pub async fn send(&self, call: ApiCall) -> Result<ApiReply, ClientError> {
        exchange::run(self.transport.clone(), &self.config, &call).await
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
    type Response = ApiReply;
    type Error = ClientError;
    type Future = Pin<Box<dyn Future<Output = Result<ApiReply, ClientError>> + Send>>;

    /// Always ready. The transport is made ready on a clone, within the call's time, and before each try is signed.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ClientError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: ApiCall) -> Self::Future {
        let (transport, config) = (self.transport.clone(), Arc::clone(&self.config));
        Box::pin(async move { exchange::run(transport, &config, &call).await })
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
