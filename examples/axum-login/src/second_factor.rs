//! The second factor: what the layer reads, the user table that the verifier reads, and the routes.

use std::convert::Infallible;
use std::error::Error;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum_login::AuthSession;
use tower_cookies::Cookies;
use tower_toopher::crypto::SealingKey;
use tower_toopher::middleware::NotEnrolledPolicy;
use tower_toopher::middleware::grants::{Epoch, Grants};
use tower_toopher::totp::{Lookup, Pairings, RecoveryCodeDigest};
use tower_toopher::verify::SessionId;
use tower_toopher::{HeaderOrForm, Rejection, SecondFactor, ToopherLayer, TotpVerifier, UserId};

use super::browser::BROWSER;
use super::users::Backend;
use super::{enroll, pages};

const TEN_MINUTES: Duration = Duration::from_secs(10 * 60);
const MONTH: Duration = Duration::from_secs(30 * 24 * 60 * 60);

impl Pairings for Backend {
    type Error = Infallible;

    async fn find(&self, user: &UserId) -> Result<Lookup, Infallible> {
        Ok(match self.find(user.as_str()) {
            None => Lookup::UnknownUser,
            Some(user) => user.pairing.map_or(Lookup::NotEnrolled, Lookup::Enrolled),
        })
    }

    async fn redeem_recovery_code(&self, user: &UserId, code: &RecoveryCodeDigest) -> Result<bool, Infallible> {
        let redeemed = self.update(user.as_str(), |user| {
            let before = user.recovery_codes.len();
            user.recovery_codes.retain(|unused| unused != code);
            user.recovery_codes.len() < before
        });
        Ok(redeemed.unwrap_or(false))
    }
}

/// Inserts the user of axum-login, and what grants are bound to.
async fn first_factor(auth: AuthSession<Backend>, cookies: Cookies, mut request: Request, next: Next) -> Response {
    let Some(user) = auth.user else { return Redirect::to("/login").into_response() };
    let browser = cookies.get(BROWSER).map(|cookie| cookie.value().to_owned()).filter(|id| !id.is_empty());
    let session = browser.or(auth.session.id().map(|id| id.to_string())).unwrap_or_default();
    let (Ok(name), Ok(session)) = (UserId::new(user.name), SessionId::new(session)) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let extensions = request.extensions_mut();
    extensions.insert(name);
    extensions.insert(session);
    extensions.insert(Epoch::from(user.epoch));
    next.run(request).await
}

pub(crate) fn routes(backend: Backend) -> Result<Router, Box<dyn Error>> {
    let verifier = TotpVerifier::new(backend)?;
    // A real site reads the key from its secret store. With a generated one, grants end with the process.
    let grants = Grants::new(SealingKey::generate()?).lifetime(MONTH);
    let second_factor = ToopherLayer::new(verifier.clone())
        .extractor(HeaderOrForm::default())
        .not_enrolled(NotEnrolledPolicy::RequireEnrollment)
        .grants(grants);

    // Every page: a factor of this session, or of this browser if it is remembered.
    let recent = second_factor.clone().action("log in").max_age(MONTH).reject_with(to_code_page);
    // The page that verifies a code, and issues the grant.
    let code = second_factor.clone().action("log in").reject_with(pages::wrong_code);
    // Step-up: each transfer requires a code of its own.
    let transfer = second_factor.clone().action("transfer money").reject_with(pages::wrong_transfer);
    // Changes require a factor that was shown a moment ago, unless the user has none.
    let change = second_factor
        .action("change the second factor")
        .also_accept(["log in"])
        .max_age(TEN_MINUTES)
        .not_enrolled(NotEnrolledPolicy::InsecureAllow)
        .reject_with(to_code_page);

    Ok(Router::new()
        .route("/account", get(account).layer(recent.clone()))
        .route("/transfer", post(transferred).layer(transfer).merge(get(pages::transfer).layer(recent)))
        .route("/code", post(|| async { Redirect::to("/account") }).layer(code).get(pages::code))
        .route("/enroll", get(enroll::show).post(enroll::confirm).layer(change))
        .route_layer(from_fn(first_factor))
        .layer(axum::Extension(verifier)))
}

/// Leads a browser to the page that it needs. Every other rejection keeps its status.
fn to_code_page(rejection: &Rejection, _: &Parts) -> Response {
    match rejection.code() {
        "otp_required" | "otp_invalid" => Redirect::to("/code").into_response(),
        "enrollment_required" => Redirect::to("/enroll").into_response(),
        _ => rejection.response(Body::from(rejection.title())),
    }
}

async fn account(factor: SecondFactor) -> Response {
    pages::account(factor.user().as_str())
}

async fn transferred(factor: SecondFactor) -> Response {
    pages::transferred(factor.user().as_str())
}
