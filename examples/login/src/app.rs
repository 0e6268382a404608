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
use tower_toopher::store::MemoryStore;
use tower_toopher::verify::ApprovalToken;
use tower_toopher::{Attempt, BoxError, TotpVerifier, UserId, Verdict};

use super::phrase_limit::PhraseLimit;
use super::users::Users;
use super::visit::Visit;

/// The name of this site on the phone and in the authenticator app.
pub(crate) const SITE: &str = "Example Site";
/// The action that the phone shows.
pub(crate) const ACTION: &str = "log in";

pub(crate) type Verifier = BoxCloneSyncService<Attempt, Verdict, BoxError>;
pub(crate) type StatusService = BoxCloneSyncService<Request<()>, Response<StatusBody>, Infallible>;
pub(crate) type Api = ToopherClient<ReqwestTransport>;

/// The state of the handlers. Clones share it.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) users: Users,
    pub(crate) totp: TotpVerifier<Users, MemoryStore>,
    /// All second factors. The form with name, password and code calls it.
    pub(crate) verifier: Verifier,
    /// The Toopher API. `None` disables approvals.
    pub(crate) api: Option<Api>,
    pub(crate) status: StatusService,
    pub(crate) time_limit: Duration,
    /// Held during an enrollment, so that a user cannot complete two at the same time. With several processes, use a
    /// lock of the database instead.
    pub(crate) enrollment: Arc<Mutex<()>>,
    pub(crate) phrases: PhraseLimit,
}

/// The response of the status service for an approval.
#[derive(Debug, Deserialize)]
pub(crate) struct ApprovalStatus {
    pub(crate) status: String,
    pub(crate) number: Option<String>,
}

/// The second factors that a user has set up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Factors {
    pub(crate) authenticator: bool,
    pub(crate) phone: bool,
}

impl App {
    /// Calls the status service, as the page's script does. `None` if it fails.
    pub(crate) async fn approval_status(&self, visit: &Visit, token: &ApprovalToken) -> Option<ApprovalStatus> {
        let (login, user) = visit.pending_login()?;
        let mut request = Request::get(format!("/{}", token.as_str())).body(()).ok()?;
        request.extensions_mut().insert(user);
        request.extensions_mut().insert(login.session_id()?);
        let response = self.status.clone().oneshot(request).await.ok()?;
        serde_json::from_slice(&response.into_body().collect().await.ok()?.to_bytes()).ok()
    }

    pub(crate) async fn factors(&self, user: &UserId) -> Result<Factors, ClientError> {
        let authenticator = self.users.has_authenticator(user);
        let phone = self.pairings(user).await?.iter().any(|pairing| pairing.is_active());
        Ok(Factors { authenticator, phone })
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
}
