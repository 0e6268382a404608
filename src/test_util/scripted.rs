use std::fmt;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use tower_service::Service;

use crate::{Attempt, BoxError, Verdict};

type Says = dyn Fn(&Attempt) -> Result<Verdict, BoxError> + Send + Sync;

/// A verifier that says what it is told to, and counts how often it was asked.
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
    says: Arc<Says>,
    calls: Arc<AtomicUsize>,
    ready: bool,
}

impl ScriptedVerifier {
    /// One that answers each attempt so. Clones count together.
    pub fn new(says: impl Fn(&Attempt) -> Result<Verdict, BoxError> + Send + Sync + 'static) -> Self {
        Self { says: Arc::new(says), calls: Arc::default(), ready: false }
    }

    /// One that says the same to everybody.
    pub fn always(verdict: Verdict) -> Self {
        Self::new(move |_| Ok(verdict.clone()))
    }

    /// How often it was asked.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

/// A clone is never ready.
impl Clone for ScriptedVerifier {
    fn clone(&self) -> Self {
        Self { says: Arc::clone(&self.says), calls: Arc::clone(&self.calls), ready: false }
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
    /// When this very instance was not made ready since the last call.
    fn call(&mut self, attempt: Attempt) -> Self::Future {
        assert!(std::mem::take(&mut self.ready), "called without having been made ready");
        self.calls.fetch_add(1, Ordering::SeqCst);
        ready((self.says)(&attempt))
    }
}

impl fmt::Debug for ScriptedVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScriptedVerifier").field("calls", &self.calls()).finish_non_exhaustive()
    }
}
