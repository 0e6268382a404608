//! A layer that distinguishes browsers by a random cookie, so that an approval or a rule for one browser does not apply
//! to another.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{HeaderMap, HeaderValue, Request, Response, header};
use pin_project_lite::pin_project;
use toopher_oauth1::sign;
use tower_layer::Layer;
use tower_service::Service;

use crate::headers::cookie;
use crate::middleware::prevent_caching;
use crate::verify::Terminal;

/// The length of a cookie's value: 128 bits in hexadecimal digits.
const LENGTH: usize = 32;
/// Ten years, in seconds.
const MAX_AGE: u32 = 10 * 365 * 24 * 60 * 60;

/// A layer that gives each browser a random cookie, and inserts a [`Terminal`] with it into the request's extensions.
///
/// The cookie identifies the browser, not the user: users of the same browser share it. It is `HttpOnly`, `Secure` and
/// `SameSite=Lax`, and it lasts for ten years. Its name begins with `__Host-`, so no other host of the domain can set
/// it. A response that sets it is never cacheable.
///
/// Place this layer outside the [`ToopherLayer`](crate::ToopherLayer). If an outer layer has already inserted a
/// `Terminal`, this layer keeps its name and sets its discriminator.
///
/// ```
/// use std::convert::Infallible;
///
/// use bytes::Bytes;
/// use http::{Request, Response};
/// use http_body_util::Full;
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
/// use tower_toopher::client::TerminalCookie;
/// use tower_toopher::{Attempt, Factor, ToopherLayer, UserId, Verdict};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let verifier = service_fn(|attempt: Attempt| async move {
///     assert!(attempt.terminal().is_some_and(|terminal| terminal.discriminator().is_some()));
///     Ok::<_, Infallible>(Verdict::Granted(Factor::Push))
/// });
/// let app = service_fn(|_: Request<Full<Bytes>>| async {
///     Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
/// });
/// let service = ServiceBuilder::new()
///     .layer(TerminalCookie::new("a web browser"))
///     .layer(ToopherLayer::new(verifier))
///     .service(app);
///
/// let request = Request::builder().extension(UserId::new("alice")?).body(Full::default())?;
/// let response = service.oneshot(request).await?;
/// assert!(response.headers()["set-cookie"].to_str()?.starts_with("__Host-terminal="));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct TerminalCookie {
    terminal_name: Arc<str>,
    cookie_name: &'static str,
    secure: bool,
}

impl TerminalCookie {
    /// Creates the layer. The phone displays `terminal_name` as the name of each terminal.
    pub fn new(terminal_name: impl Into<Arc<str>>) -> Self {
        Self { terminal_name: terminal_name.into(), cookie_name: "__Host-terminal", secure: true }
    }

    /// Omits `Secure` and the prefix `__Host-`, for tests without TLS. Default: the cookie has both.
    ///
    /// It enables an attack: **an attacker on the network can read or set the cookie, and then use rules of the user
    /// for this terminal.**
    pub fn insecure_without_tls(self) -> Self {
        Self { cookie_name: "terminal", secure: false, ..self }
    }

    /// The value of the request's cookie, if the request has exactly one and this layer can have generated it.
    fn read(&self, headers: &HeaderMap) -> Option<String> {
        let value = cookie(headers, self.cookie_name)?;
        let valid = value.len() == LENGTH && value.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if valid { std::str::from_utf8(value).ok().map(str::to_owned) } else { None }
    }

    fn set_cookie(&self, value: &str) -> Option<HeaderValue> {
        let (name, secure) = (self.cookie_name, if self.secure { "; Secure" } else { "" });
        let cookie = format!("{name}={value}; Path=/; Max-Age={MAX_AGE}; HttpOnly; SameSite=Lax{secure}");
        HeaderValue::try_from(cookie).ok()
    }
}

impl<S> Layer<S> for TerminalCookie {
    type Service = TerminalCookieService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        TerminalCookieService { inner, cookie: self.clone() }
    }
}

/// The service of a [`TerminalCookie`].
#[derive(Clone, Debug)]
#[must_use]
pub struct TerminalCookieService<S> {
    inner: S,
    cookie: TerminalCookie,
}

impl<S, B, ResBody> Service<Request<B>> for TerminalCookieService<S>
where
    S: Service<Request<B>, Response = Response<ResBody>>,
{
    type Response = Response<ResBody>;
    type Error = S::Error;
    type Future = TerminalCookieFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let known = self.cookie.read(request.headers());
        let generated = if known.is_none() { sign::nonce().ok() } else { None };
        let set_cookie = generated.as_deref().and_then(|value| self.cookie.set_cookie(value));
        // If the system returns no random bytes, the request has no discriminator, and no rule of the user applies to
        // it.
        if let Some(value) = known.or(generated) {
            let outer = request.extensions().get::<Terminal>();
            let terminal = outer.cloned().unwrap_or_else(|| Terminal::new(Arc::clone(&self.cookie.terminal_name)));
            request.extensions_mut().insert(terminal.with_discriminator(value));
        }
        TerminalCookieFuture { response: self.inner.call(request), set_cookie }
    }
}

pin_project! {
    /// The future of [`TerminalCookieService`].
    pub struct TerminalCookieFuture<F> {
        #[pin]
        response: F,
        set_cookie: Option<HeaderValue>,
    }
}

impl<F, B, E> Future for TerminalCookieFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.response.poll(cx))?;
        if let Some(cookie) = this.set_cookie.take() {
            response.headers_mut().append(header::SET_COOKIE, cookie);
            // A cache would give the cookie of this browser to others.
            prevent_caching(response.headers_mut());
        }
        Poll::Ready(Ok(response))
    }
}

impl<F> fmt::Debug for TerminalCookieFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TerminalCookieFuture").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_single_valid_value_is_read() {
        let value = "0123456789abcdef0123456789abcdef";
        let read = |lines: &[String]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(header::COOKIE, HeaderValue::from_bytes(line.as_bytes()).unwrap());
            }
            TerminalCookie::new("a browser").read(&headers)
        };
        let valid = format!("__Host-terminal={value}");
        assert_eq!(read(&[format!("a=b; {valid};c=d")]).as_deref(), Some(value));
        assert_eq!(read(&["a=b".into(), valid.clone()]).as_deref(), Some(value));
        assert_eq!(read(&[format!("name=Zo\u{eb}; {valid}")]).as_deref(), Some(value));
        for invalid in [
            vec![],
            vec![format!("terminal={value}")],
            vec![format!("{valid}0")],
            vec![valid.to_uppercase()],
            vec![format!("{valid}; {valid}")],
            vec![format!("__Host-terminal=x; {valid}")],
            vec!["__Host-terminal".into()],
        ] {
            assert_eq!(read(&invalid), None, "{invalid:?}");
        }
    }

    #[tokio::test]
    async fn the_terminal_is_an_extension() {
        use std::convert::Infallible;
        use tower::{ServiceExt, service_fn};

        let inner = service_fn(|request: Request<()>| async move {
            Ok::<_, Infallible>(Response::new(request.extensions().get::<Terminal>().cloned()))
        });
        let service = TerminalCookie::new("a browser").layer(inner);
        let response = service.clone().oneshot(Request::new(())).await.unwrap();
        let cookie = response.headers()[header::SET_COOKIE].to_str().unwrap().to_owned();
        let (pair, attributes) = cookie.split_once("; ").unwrap();
        assert_eq!(attributes, "Path=/; Max-Age=315360000; HttpOnly; SameSite=Lax; Secure");
        assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
        let terminal = response.into_body().unwrap();
        let expected = Terminal::new("a browser").with_discriminator(pair.strip_prefix("__Host-terminal=").unwrap());
        assert_eq!(terminal, expected);

        // The cookie determines the discriminator, and an outer layer can set the name.
        let request = Request::builder().header(header::COOKIE, pair);
        let request = request.extension(Terminal::new("a phone").with_discriminator("another")).body(()).unwrap();
        let response = service.oneshot(request).await.unwrap();
        assert!(!response.headers().contains_key(header::SET_COOKIE));
        let terminal = response.into_body().unwrap();
        assert_eq!((terminal.name(), terminal.discriminator()), ("a phone", expected.discriminator()));
    }
}
