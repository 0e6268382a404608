use std::fmt;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use tower_service::Service;

use crate::verify::{Attempt, BoxError, Verdict};

type Respond = dyn Fn(&Attempt) -> Result<Verdict, BoxError> + Send + Sync;

/// A verifier that responds as a test prescribes, and counts its calls.
///
/// ```
/// use tower_toopher::test_util::ScriptedVerifier;
/// use tower_toopher::{DenyReason, Factor, Verdict};
///
/// let verifier = ScriptedVerifier::new(|attempt| match attempt.otp() {
///     Some(otp) if otp.as_str() == "123456" => Ok(Verdict::Granted(Factor::Totp)),
///     Some(otp) if otp.as_str() == "000000" => Err("the backend is down".into()),
///     _ => Ok(Verdict::Denied(DenyReason::OtpRequired)),
/// });
/// assert_eq!(verifier.calls(), 0);
/// ```
#[must_use]
pub struct ScriptedVerifier {
    respond: Arc<Respond>,
    calls: Arc<AtomicUsize>,
    ready: bool,
}

impl ScriptedVerifier {
    /// A verifier that responds to each attempt with the result of `respond`. Clones share the count of calls.
    pub fn new(respond: impl Fn(&Attempt) -> Result<Verdict, BoxError> + Send + Sync + 'static) -> Self {
        Self { respond: Arc::new(respond), calls: Arc::default(), ready: false }
    }

    /// A verifier that responds to every attempt with `verdict`.
    pub fn always(verdict: Verdict) -> Self {
        Self::new(move |_| Ok(verdict.clone()))
    }

    /// The number of calls.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

/// A clone is never ready.
impl Clone for ScriptedVerifier {
    fn clone(&self) -> Self {
        Self { respond: Arc::clone(&self.respond), calls: Arc::clone(&self.calls), ready: false }
    }
}

impl Service<Attempt> for ScriptedVerifier {
    type Response = Verdict;
    type Error = BoxError;
    type Future = Ready<Result<Verdict, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    /// # Panics
    ///
    /// When this instance was not driven to readiness since its last call.
    fn call(&mut self, attempt: Attempt) -> Self::Future {
        assert!(std::mem::take(&mut self.ready), "called without readiness");
        self.calls.fetch_add(1, Ordering::SeqCst);
        ready((self.respond)(&attempt))
    }
}

impl fmt::Debug for ScriptedVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScriptedVerifier").field("calls", &self.calls()).finish_non_exhaustive()
    }
}
