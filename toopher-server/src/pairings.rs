//! Calls about pairings, which bind a user of a site to a phone.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use data_encoding::HEXLOWER_PERMISSIVE;
use http::header;
use serde_json::Value;
use toopher_sql::query;
use tower_toopher::totp::Secret;

use crate::aad;
use crate::api_error::ApiError;
use crate::audit::{Audit, Outcome};
use crate::authenticate::AuthenticatedCall;
use crate::crypto::{digest, token};
use crate::id::{Id, new_id};
use crate::message::Message;
use crate::models::{PAIRING_COLUMNS, PairingRow, USER_COLUMNS};
use crate::pairing_phrase::normalize;
use crate::state::Server;

/// How long the claim of a QR code or a text message can be used, in seconds.
const CLAIM_LIFETIME: i64 = 600;

impl Server {
    pub(crate) async fn pairing(&self, requester: &str, id: &str) -> Result<Option<PairingRow>, ApiError> {
        let text = format!(
            "SELECT {PAIRING_COLUMNS}, {USER_COLUMNS} FROM pairings p JOIN users u ON u.id = p.user_id
             WHERE u.requester_id = $1 AND p.id = $2"
        );
        Ok(query(text).bind(requester).bind(id).one(&self.database).await?)
    }

    /// Uses up a phrase, and creates a pairing with the phone that shows it. Returns `None` if no phone shows it.
    pub(crate) async fn pair_by_phrase(
        &self,
        user: &str,
        phrase: &str,
        from_page: bool,
    ) -> Result<Option<String>, ApiError> {
        let device: Option<String> =
            query("UPDATE phrases SET expires = $1 WHERE phrase = $2 AND expires > $1 RETURNING device_id")
                .bind(self.now_i64()?)
                .bind(normalize(phrase))
                .scalar(&self.database)
                .await?;
        match device {
            None => Ok(None),
            Some(device) => self.new_pairing(user, Some(&device), None, from_page).await.map(Some),
        }
    }

    /// Deactivates a pairing, and notifies its device, if it has one.
    pub(crate) async fn unpair(&self, id: &str, device: Option<&str>, audit: &mut Audit) -> Result<(), ApiError> {
        let ended =
            query("UPDATE pairings SET state = 'deactivated', modified = $1 WHERE id = $2 AND state <> 'deactivated'");
        let ended = ended.bind(self.now_i64()?).bind(id).execute(&self.database).await?;
        audit.settle((ended > 0).then_some(Outcome::Unpaired));
        self.notify(device).await;
        Ok(())
    }

    async fn pairing_response(&self, requester: &str, id: &str) -> Result<Json<Value>, ApiError> {
        Ok(Json(self.pairing(requester, id).await?.ok_or(ApiError::NO_PAIRING)?.json()))
    }

    /// Creates a pending pairing with this device, or with the device that will send the claim.
    async fn new_pairing(
        &self,
        user: &str,
        device: Option<&str>,
        claim: Option<&str>,
        from_page: bool,
    ) -> Result<String, ApiError> {
        let (id, now) = (new_id(), self.now_i64()?);
        let secret = Secret::generate().map_err(|error| ApiError::internal(&error))?;
        let sealed_claim =
            claim.map(|claim| self.sealing_key().encrypt(&aad::claim(&id), claim.as_bytes())).transpose()?;
        query(
            "INSERT INTO pairings (id, user_id, device_id, claim_digest, claim_expires, sealed_claim, state,
                sealed_secret, created, modified, from_page)
             VALUES ($1, $2, $3, $4, $5, $6, 'pending', $7, $8, $8, $9)",
        )
        .bind(&id)
        .bind(user)
        .bind(device)
        .bind(claim.map(digest))
        .bind(claim.map(|_| now.saturating_add(CLAIM_LIFETIME)))
        .bind(sealed_claim)
        .bind(self.sealing_key().encrypt(&aad::pairing_secret(&id), secret.as_bytes())?)
        .bind(now)
        .bind(from_page)
        .execute(&self.database)
        .await?;
        self.notify(device).await;
        Ok(id)
    }
}

/// Pairs with the phone that shows the phrase. The phrase is used up, and the user still has to allow the pairing on
/// the phone.
pub(crate) async fn create(State(server): State<Server>, call: AuthenticatedCall) -> Result<Json<Value>, ApiError> {
    let phrase = call.params.require(&["pairing_phrase", "pairing_token"])?;
    let user = server.named_user(&call).await?;
    let id = server.pair_by_phrase(&user.user_id, phrase, false).await?.ok_or(ApiError::NO_PHRASE)?;
    server.pairing_response(&call.requester_id, &id).await
}

/// Pairs with the phone that scans the QR code, which [`qr`] returns.
pub(crate) async fn create_qr(State(server): State<Server>, call: AuthenticatedCall) -> Result<Json<Value>, ApiError> {
    let user = server.user_named(&call.requester_id, call.params.require(&["user_name"])?).await?;
    let id = server.new_pairing(&user.user_id, None, Some(&token()?), false).await?;
    server.pairing_response(&call.requester_id, &id).await
}

/// Pairs with the phone that opens the link in a text message.
pub(crate) async fn create_sms(State(server): State<Server>, call: AuthenticatedCall) -> Result<Json<Value>, ApiError> {
    let number = call.params.require(&["phone_number"])?.to_owned();
    if !number.bytes().all(|b| b.is_ascii_digit() || b"+ ()-.".contains(&b)) || number.starts_with('-') {
        return Err(ApiError::bad_request("A phone number consists of digits, and may begin with +."));
    }
    let name = call.params.require(&["user_name"])?;
    server.require_messenger()?;
    let user = server.user_named(&call.requester_id, name).await?;
    let claim = token()?;
    let id = server.new_pairing(&user.user_id, None, Some(&claim), false).await?;
    let name: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
    let text = format!("To use this phone to log in as {name}, open {}/phone#claim={claim}", server.shared.public_url);
    server.send(Message::Sms { number, text }).await?;
    server.pairing_response(&call.requester_id, &id).await
}

/// Creates a pairing with an authenticator that the user has already, from its secret in hexadecimal digits or base32.
/// No phone confirms it: the pairing only verifies codes, and the site is responsible for it.
pub(crate) async fn upgrade(State(server): State<Server>, call: AuthenticatedCall) -> Result<Json<Value>, ApiError> {
    let text = call.params.require(&["secret"])?;
    let secret = match HEXLOWER_PERMISSIVE.decode(text.as_bytes()) {
        Ok(bytes) => Secret::from_bytes(bytes),
        Err(_) => Secret::from_base32(text),
    };
    let secret = secret
        .map_err(|_| ApiError::bad_request("The secret must be hexadecimal or base32, and have at least 128 bits."))?;
    let mut audit = call.audit(Audit::for_pairing().decided_by("site"));
    let paired = async {
        let user = server.named_user(&call).await?;
        audit.user = Some(user.name().to_owned());
        let (id, now) = (new_id(), server.now_i64()?);
        query(
            "INSERT INTO pairings (id, user_id, state, sealed_secret, created, modified)
             VALUES ($1, $2, 'enabled', $3, $4, $4)",
        )
        .bind(&id)
        .bind(&user.user_id)
        .bind(server.sealing_key().encrypt(&aad::pairing_secret(&id), secret.as_bytes())?)
        .bind(now)
        .execute(&server.database)
        .await?;
        audit.pairing = Some(id.clone());
        audit.settle(Outcome::Paired);
        server.pairing_response(&call.requester_id, &id).await
    };
    let paired = paired.await;
    audit.close(paired)
}

/// The QR code of a pairing: the URL of the phone's page with the claim in its fragment, which is in no server log.
pub(crate) async fn qr(
    State(server): State<Server>,
    Id(id): Id,
    call: AuthenticatedCall,
) -> Result<Response, ApiError> {
    server.pairing(&call.requester_id, &id).await?.ok_or(ApiError::NO_PAIRING)?;
    let sealed: Option<Vec<u8>> =
        query("SELECT sealed_claim FROM pairings WHERE id = $1 AND state = 'pending' AND device_id IS NULL")
            .bind(&id)
            .scalar(&server.database)
            .await?
            .flatten();
    let claim = server.sealing_key().decrypt(&aad::claim(&id), &sealed.ok_or(ApiError::DECIDED)?)?;
    let claim = std::str::from_utf8(&claim).map_err(|error| ApiError::internal(&error))?;
    let url = format!("{}/phone#claim={claim}", server.shared.public_url);
    let code = qrcode::QrCode::new(url).map_err(|error| ApiError::internal(&error))?;
    let image = code.render::<qrcode::render::svg::Color<'_>>().min_dimensions(200, 200).build();
    Ok(([(header::CONTENT_TYPE, "image/svg+xml"), (header::CACHE_CONTROL, "no-store")], image).into_response())
}

pub(crate) async fn status(
    State(server): State<Server>,
    Id(id): Id,
    call: AuthenticatedCall,
) -> Result<Json<Value>, ApiError> {
    server.pairing_response(&call.requester_id, &id).await
}

/// Deactivates a pairing. No other change is possible.
pub(crate) async fn update(
    State(server): State<Server>,
    Id(id): Id,
    call: AuthenticatedCall,
) -> Result<Json<Value>, ApiError> {
    let pairing = server.pairing(&call.requester_id, &id).await?.ok_or(ApiError::NO_PAIRING)?;
    if call.params.flag(&["deactivated"])? == Some(true) {
        let mut audit = call.audit(pairing.audit().decided_by("site"));
        let unpaired = server.unpair(&id, pairing.device_id.as_deref(), &mut audit).await;
        audit.close(unpaired)?;
    }
    server.pairing_response(&call.requester_id, &id).await
}

pub(crate) async fn list(
    State(server): State<Server>,
    Id(user): Id,
    call: AuthenticatedCall,
) -> Result<Json<Value>, ApiError> {
    let user = server.user(&call.requester_id, &user).await?.ok_or(ApiError::NO_USER)?;
    let deactivated = call.params.flag(&["deactivated"])?;
    let text = format!(
        "SELECT {PAIRING_COLUMNS}, {USER_COLUMNS} FROM pairings p JOIN users u ON u.id = p.user_id
         WHERE p.user_id = $1 AND ($2 IS NULL OR (p.state = 'deactivated') = $2) ORDER BY p.created, p.id LIMIT 1000"
    );
    let pairings: Vec<PairingRow> = query(text).bind(&user.user_id).bind(deactivated).all(&server.database).await?;
    Ok(Json(pairings.iter().map(PairingRow::json).collect()))
}
