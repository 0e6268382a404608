use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tower::util::Oneshot;
use tower_layer::Layer;
use tower_service::Service;

use super::layer::FailOpenLayer;
use crate::verify::{Attempt, BoxError, BypassReason, DenyReason, ErrorClass, UserId, Verdict, VerifierError};

/// A verifier that fails open: see [`FailOpenLayer`].
#[derive(Clone, Debug)]
#[must_use]
pub struct FailOpen<V> {
    inner: V,
    layer: FailOpenLayer,
}

impl<V> Layer<V> for FailOpenLayer {
    type Service = FailOpen<V>;

    fn layer(&self, inner: V) -> FailOpen<V> {
        FailOpen { inner, layer: self.clone() }
    }
}

impl<V> Service<Attempt> for FailOpen<V>
where
    V: Service<Attempt, Response = Verdict> + Clone,
    V::Error: Into<BoxError>,
{
    type Response = Verdict;
    type Error = BoxError;
    type Future = FailOpenFuture<V>;

    /// Always ready. A clone of the verifier is driven to readiness in the future, so that its errors are handled too.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, attempt: Attempt) -> FailOpenFuture<V> {
        let (user, otp_only) = (attempt.user().clone(), attempt.is_otp_only());
        let allows_unenrolled = attempt.allows_unenrolled();
        let verdict = Oneshot::new(self.inner.clone(), attempt);
        FailOpenFuture { verdict, user, otp_only, allows_unenrolled, done: false, layer: self.layer.clone() }
    }
}

pin_project! {
    /// The future of [`FailOpen`].
    pub struct FailOpenFuture<V>
    where
        V: Service<Attempt>,
    {
        #[pin]
        verdict: Oneshot<V, Attempt>,
        user: UserId,
        otp_only: bool,
        allows_unenrolled: bool,
        done: bool,
        layer: FailOpenLayer,
    }

    impl<V> PinnedDrop for FailOpenFuture<V>
    where
        V: Service<Attempt>,
    {
        /// A request that was dropped during verification is treated like a denial, because its result is unknown.
        fn drop(this: Pin<&mut Self>) {
            if !this.done {
                this.layer.record_denial(&this.user);
            }
        }
    }
}

impl<V> Future for FailOpenFuture<V>
where
    V: Service<Attempt, Response = Verdict>,
    V::Error: Into<BoxError>,
{
    type Output = Result<Verdict, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = ready!(this.verdict.poll(cx)).map_err(Into::into);
        *this.done = true;
        match &result {
            Ok(Verdict::Granted(_)) => this.layer.record_granted(this.user),
            // Not a failed attempt: the client has not sent an OTP yet.
            Ok(Verdict::Denied(DenyReason::OtpRequired) | Verdict::Bypassed(_)) => {}
            // The layer forwards the request, so the user is not denied.
            Ok(Verdict::Denied(DenyReason::NotEnrolled)) if *this.allows_unenrolled => {}
            // The user may have denied a pending approval that this layer has not polled.
            Ok(Verdict::Denied(_) | Verdict::Pending(_)) => this.layer.record_denial(this.user),
            Err(error) => {
                let custom = this.layer.custom_class(&**error);
                let Some(class) = custom.or_else(|| ErrorClass::from_error(&**error)) else {
                    return Poll::Ready(result);
                };
                if *this.otp_only && this.layer.try_forward(this.user, class) {
                    return Poll::Ready(Ok(Verdict::Bypassed(BypassReason::FailOpen(class))));
                }
                if custom.is_some() {
                    // So that the layer finds the class too.
                    return Poll::Ready(result.map_err(|error| VerifierError::new(error).with_class(class).into()));
                }
            }
        }
        Poll::Ready(result)
    }
}

impl<V: Service<Attempt>> fmt::Debug for FailOpenFuture<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FailOpenFuture").field("user", &self.user).finish_non_exhaustive()
    }
}
