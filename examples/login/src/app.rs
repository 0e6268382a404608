//! The state of the handlers: the user table, the verifiers, and the Toopher API.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::http::Request;
use axum::response::Response;
use http_body_util::BodyExt;
use serde::Deserialize;
use tokio::sync::Mutex;
use tower::ServiceExt;
use tower::util::BoxCloneSyncService;
use tower_toopher::approvals::StatusBody;
use tower_toopher::client::{ClientError, PairingStatus, ReqwestTransport, ToopherClient};
use tower_toopher::middleware::grants::Grants;
use tower_toopher::store::MemoryStore;
use tower_toopher::totp::{Digits, RecoveryCode};
use tower_toopher::verify::ApprovalToken;
use tower_toopher::{Approvals, Attempt, BoxError, TotpVerifier, UserId, Verdict};

use super::phrase_limit::PhraseLimit;
use super::step::Step;
use super::users::Users;
use super::visit::Visit;

/// The name of this site on the phone and in the authenticator app.
pub(crate) const SITE: &str = "Example Site";
/// How long after a second factor the user may change the second factors.
pub(crate) const FRESH: Duration = Duration::from_secs(10 * 60);

pub(crate) type Verifier = BoxCloneSyncService<Attempt, Verdict, BoxError>;
pub(crate) type StatusService = BoxCloneSyncService<Request<()>, Response<StatusBody>, Infallible>;
pub(crate) type Api = ToopherClient<ReqwestTransport>;

/// The state of the handlers. Clones share it.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) users: Users,
    pub(crate) totp: TotpVerifier<Users, MemoryStore>,
    /// The number of digits of the codes of new authenticator apps.
    pub(crate) digits: Digits,
    /// The approvals that are pending.
    pub(crate) approvals: Approvals<Verifier, MemoryStore>,
    /// All second factors, with approvals. The form with name, password and code calls it.
    pub(crate) verifier: Verifier,
    pub(crate) status: StatusService,
    /// Those of remembered browsers.
    pub(crate) grants: Grants,
    /// The Toopher API. `None` disables approvals.
    pub(crate) api: Option<Api>,
    /// The address of the page that makes a device a phone of that API.
    pub(crate) phone_page: Option<String>,
    pub(crate) time_limit: Duration,
    /// The time from the password to a first second factor: an app must be installed, perhaps.
    pub(crate) enrollment_lifetime: Duration,
    /// Held while second factors change, so that a user cannot complete two enrollments at the same time. With several
    /// processes, use a lock of the database instead.
    pub(crate) changes: Arc<Mutex<()>>,
    pub(crate) phrases: PhraseLimit,
}

/// The response of the status service for an approval.
#[derive(Debug, Deserialize)]
pub(crate) struct ApprovalStatus {
    pub(crate) status: String,
    pub(crate) number: Option<String>,
    pub(crate) expires_in: Option<u64>,
}

/// The second factors that a user has set up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Factors {
    pub(crate) authenticator: bool,
    pub(crate) phone: bool,
    /// How many recovery codes are unused.
    pub(crate) recovery_codes: usize,
}

impl Factors {
    /// After an error of the API a page offers all, and the layer decides.
    pub(crate) const UNKNOWN: Self = Self { authenticator: true, phone: true, recovery_codes: 1 };

    pub(crate) fn is_none(self) -> bool {
        !self.authenticator && !self.phone
    }
}

impl App {
    /// Calls the status service, as the page's script does. `None` if it fails.
    pub(crate) async fn approval_status(
        &self,
        visit: &Visit,
        step: Step,
        token: &ApprovalToken,
    ) -> Option<ApprovalStatus> {
        let mut request = Request::get(format!("/{}", token.as_str())).body(()).ok()?;
        request.extensions_mut().insert(visit.user(step)?);
        request.extensions_mut().insert(visit.session_id()?);
        let response = self.status.clone().oneshot(request).await.ok()?;
        serde_json::from_slice(&response.into_body().collect().await.ok()?.to_bytes()).ok()
    }

    /// Withdraws the request of this session from the phone, so that the user is not asked for what the site no longer
    /// waits for. If this fails, the request expires without an effect.
    pub(crate) async fn withdraw(&self, visit: &Visit, step: Step, token: &ApprovalToken) {
        let (Some(user), Some(session), Some(api)) = (visit.user(step), visit.session_id(), &self.api) else { return };
        if let Ok(Some(id)) = self.approvals.withdraw(&user, &session, token).await {
            let _ = api.cancel_authentication(id.as_str()).await;
        }
    }

    /// If the API fails, it is not known whether the user has a phone.
    pub(crate) async fn factors(&self, user: &UserId) -> Result<Factors, ClientError> {
        let phone = self.pairings(user).await?.iter().any(PairingStatus::is_active);
        let own = |factors: &mut super::table::SecondFactors| {
            let authenticator = !factors.authenticators().is_empty();
            Factors { authenticator, phone, recovery_codes: factors.recovery_codes() }
        };
        Ok(self.users.factors(user, own).unwrap_or(Factors { authenticator: false, phone, recovery_codes: 0 }))
    }

    /// All pairings of a user with phones.
    pub(crate) async fn pairings(&self, user: &UserId) -> Result<Vec<PairingStatus>, ClientError> {
        let Some(api) = &self.api else { return Ok(Vec::new()) };
        let found = api.find_user(user.as_str()).await?;
        match found.as_ref().and_then(|user| user.id()) {
            None => Ok(Vec::new()),
            Some(id) => api.pairings_of_user(id).await,
        }
    }

    pub(crate) async fn end_pairings(
        &self,
        user: &UserId,
        filter: impl Fn(&PairingStatus) -> bool,
    ) -> Result<(), ClientError> {
        let Some(api) = &self.api else { return Ok(()) };
        for pairing in self.pairings(user).await?.iter().filter(|pairing| !pairing.is_deactivated() && filter(pairing))
        {
            api.deactivate_pairing(pairing.id()).await?;
        }
        Ok(())
    }

    /// Generates recovery codes in place of the user's own ones, and stores their digests.
    pub(crate) fn new_recovery_codes(&self, user: &UserId) -> Result<Vec<String>, BoxError> {
        let codes = RecoveryCode::generate()?;
        let digests = codes.iter().map(|code| code.digest(user)).collect();
        self.users.factors(user, |factors| factors.set_recovery_codes(digests));
        Ok(codes.iter().map(ToString::to_string).collect())
    }
}
