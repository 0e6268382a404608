//! Enrollment of an authenticator app, and the recovery codes that come with it.

use axum::extract::{Extension, Form};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum_login::AuthSession;
use serde::Deserialize;
use tower_toopher::totp::{Confirmation, Enrollment, RecoveryCode, Secret, Totp};
use tower_toopher::{BoxError, Otp, TotpVerifier, UserId};

use super::pages;
use super::users::Backend;

/// The secret of an enrollment, in the session until the first code confirms it.
const SECRET: &str = "secret";

pub(crate) async fn show(auth: AuthSession<Backend>, Extension(user): Extension<UserId>) -> Response {
    let page = async {
        // A reload keeps the secret, which the user may have scanned.
        let secret = match auth.session.get::<String>(SECRET).await? {
            Some(secret) => secret,
            None => Secret::generate()?.to_base32().to_string(),
        };
        auth.session.insert(SECRET, &secret).await?;
        let totp = Totp::new(Secret::from_base32(&secret)?);
        Ok::<_, BoxError>(pages::enroll(&Enrollment::with_totp("Example Site", user.as_str(), totp)?, ""))
    };
    page.await.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}

#[derive(Deserialize)]
pub(crate) struct FirstCode {
    code: String,
}

pub(crate) async fn confirm(
    mut auth: AuthSession<Backend>,
    Extension(user): Extension<UserId>,
    Extension(verifier): Extension<TotpVerifier<Backend>>,
    Form(form): Form<FirstCode>,
) -> Response {
    let page = async {
        let secret: String = auth.session.get(SECRET).await?.ok_or("there is no enrollment")?;
        let totp = Totp::new(Secret::from_base32(&secret)?);
        let enrollment = Enrollment::with_totp("Example Site", user.as_str(), totp)?;
        let wrong = || Ok::<_, BoxError>(pages::enroll(&enrollment, "This code was not right. Try the next one."));
        let Ok(otp) = form.code.parse::<Otp>() else { return wrong() };
        let Confirmation::Confirmed(pairing) = verifier.confirm(&user, &enrollment.pairing(), &otp).await? else {
            return wrong();
        };
        let codes = RecoveryCode::generate()?;
        auth.backend.update(user.as_str(), |stored| {
            stored.pairing = Some(pairing);
            stored.recovery_codes = codes.iter().map(|code| code.digest(&user)).collect();
            // Ends the user's other sessions, and all grants.
            stored.revoke();
        });
        auth.session.remove::<String>(SECRET).await?;
        // This session continues.
        let changed = auth.backend.find(user.as_str()).ok_or("the user is gone")?;
        auth.login(&changed).await.map_err(|error| error.to_string())?;
        Ok(pages::recovery_codes(&codes))
    };
    page.await.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}
