//! A cookie that tells browsers apart, so that what is approved or automated for one is not for another.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request, Response, header};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::Terminal;
use crate::oauth1::sign;

/// The length of a value: 128 bits in hexadecimal digits.
const LENGTH: usize = 32;
const YEARS: u32 = 10 * 365 * 24 * 60 * 60;

/// Gives each browser a random cookie, by which [`terminal`](Self::terminal) tells it from others.
///
/// The cookie is of the browser and says nothing of the user: two who share a browser share it. It is `HttpOnly`,
/// `Secure` and `SameSite=Lax`, lasts for ten years, and its name begins with `__Host-`, so that no other host of the
/// domain can plant it. Put the layer outside the gate.
///
/// ```
/// use std::convert::Infallible;
///
/// use bytes::Bytes;
/// use http::{Request, Response};
/// use http_body_util::Full;
/// use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};
/// use tower_toopher::toopher::TerminalCookie;
/// use tower_toopher::{Attempt, Factor, ToopherLayer, UserId, Verdict};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let verifier = service_fn(|attempt: Attempt| async move {
///     assert!(attempt.terminal().is_some_and(|terminal| terminal.discriminator().is_some()));
///     Ok::<_, Infallible>(Verdict::Granted(Factor::Push))
/// });
/// let app = service_fn(|_: Request<Full<Bytes>>| async { Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())) });
/// let service = ServiceBuilder::new()
///     .layer(TerminalCookie::default())
///     .layer(ToopherLayer::new(verifier).terminal(|parts| TerminalCookie::terminal(parts, "a browser")))
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
    name: &'static str,
    secure: bool,
}

impl TerminalCookie {
    /// Leaves `Secure` and the `__Host-` of the name away, for trying things out without TLS.
    ///
    /// Whoever can read or write the traffic can then take or plant the cookie, and be this terminal.
    pub fn insecure_without_tls() -> Self {
        Self { name: "terminal", secure: false }
    }

    /// The terminal of a request that has come through this layer, under the name that people read on their phone.
    #[must_use]
    pub fn terminal(parts: &Parts, name: &str) -> Option<Terminal> {
        let TerminalId(id) = parts.extensions.get()?;
        Some(Terminal::new(name).with_discriminator(id.as_str()))
    }

    /// The value that the browser sent, if it is one of ours, and the only one.
    fn read(&self, headers: &HeaderMap) -> Option<String> {
        let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
        let mut values = lines
            .flat_map(|line| line.split(';'))
            .filter_map(|pair| pair.trim().strip_prefix(self.name)?.strip_prefix('='));
        let value = values.next()?;
        let ours = value.len() == LENGTH && value.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        (ours && values.next().is_none()).then(|| value.to_owned())
    }
}

impl Default for TerminalCookie {
    fn default() -> Self {
        Self { name: "__Host-terminal", secure: true }
    }
}

#[derive(Clone)]
struct TerminalId(String);

impl<S> Layer<S> for TerminalCookie {
    type Service = TerminalCookieService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        TerminalCookieService { inner, cookie: self.clone() }
    }
}

/// A service behind a [`TerminalCookie`].
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
        let mut set = None;
        // Without random numbers there is no terminal, and nothing is automated.
        if let Some(id) = known.clone().or_else(|| sign::nonce().ok()) {
            if known.is_none() {
                let secure = if self.cookie.secure { "; Secure" } else { "" };
                let cookie =
                    format!("{}={id}; Path=/; Max-Age={YEARS}; HttpOnly; SameSite=Lax{secure}", self.cookie.name);
                set = HeaderValue::try_from(cookie).ok();
            }
            request.extensions_mut().insert(TerminalId(id));
        }
        TerminalCookieFuture { response: self.inner.call(request), set }
    }
}

pin_project! {
    /// The future of [`TerminalCookieService`].
    pub struct TerminalCookieFuture<F> {
        #[pin]
        response: F,
        set: Option<HeaderValue>,
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
        if let Some(set) = this.set.take() {
            response.headers_mut().append(header::SET_COOKIE, set);
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
    fn only_our_own_value_counts_and_only_one() {
        let ours = "0123456789abcdef0123456789abcdef";
        let read = |lines: &[String]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(header::COOKIE, line.parse().unwrap());
            }
            TerminalCookie::default().read(&headers)
        };
        let own = format!("__Host-terminal={ours}");
        assert_eq!(read(&[format!("a=b; {own};c=d")]).as_deref(), Some(ours));
        assert_eq!(read(&["a=b".into(), own.clone()]).as_deref(), Some(ours));
        for odd in [
            vec![],
            vec![format!("terminal={ours}")],
            vec![format!("{own}0")],
            vec![own.to_uppercase()],
            vec![format!("{own}; {own}")],
            vec![format!("__Host-terminal=x; {own}")],
            vec!["__Host-terminal".into()],
        ] {
            assert_eq!(read(&odd), None, "{odd:?}");
        }
    }
}
