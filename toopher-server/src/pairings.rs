//! Calls about pairings, which bind a user of a site to a phone.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header;
use serde_json::Value;
use toopher_sql::{Executor, SqlError, query};
use tower_toopher::totp::Secret;

use crate::aad;
use crate::api_error::ApiError;
use crate::attempts::Limit;
use crate::authenticate::AuthenticatedCall;
use crate::crypto::{digest, token};
use crate::id::{Id, new_id};
use crate::message::{Message, is_phone_number};
use crate::models::{Device, PAIRING_COLUMNS, PairingRow, USER_COLUMNS};
use crate::names::visible_name;
use crate::state::Server;
use crate::users::find_user;

/// How long the claim of a QR code or a text message can be used, in seconds.
pub(crate) const CLAIM_LIFETIME: i64 = 600;

/// The pairing of this requester with this id, if there is one.
pub(crate) async fn find_pairing<'a>(
    on: impl Into<Executor<'a>>,
    requester: &str,
    id: &str,
) -> Result<Option<PairingRow>, SqlError> {
    let text = format!(
        "SELECT {PAIRING_COLUMNS}, {USER_COLUMNS} FROM pairings p JOIN users u ON u.id = p.user_id
         WHERE u.requester_id = $1 AND p.id = $2"
    );
    query(text).bind(requester).bind(id).one(on).await
}

impl Server {
    pub(crate) async fn pairing(&self, requester: &str, id: &str) -> Result<Option<PairingRow>, ApiError> {
        Ok(find_pairing(&self.database, requester, id).await?)
    }

    /// Uses up a phrase, and returns the phone that shows it, if there is one. `limits` are on phrases that no phone
    /// shows.
    pub(crate) async fn take_phrase(&self, limits: &[Limit], phrase: &str) -> Result<Option<Device>, ApiError> {
        // Counted before the phrase is compared, so that concurrent guesses are limited as well.
        self.count_attempt(limits).await?;
        let device = self.phrases.take(phrase, self.now_i64()?).await?;
        if device.is_some() {
            self.release_attempt(limits).await;
        }
        Ok(device)
    }

    pub(crate) async fn pairing_response(&self, requester: &str, id: &str) -> Result<Json<Value>, ApiError> {
        Ok(Json(self.pairing(requester, id).await?.ok_or(ApiError::NO_PAIRING)?.json()))
    }

    /// Creates a pending pairing with this device, or with the device that will send the claim.
    pub(crate) async fn new_pairing(
        &self,
        user: &str,
        device: Option<&Device>,
        claim: Option<&str>,
        from_page: bool,
    ) -> Result<String, ApiError> {
        self.count_attempt(&Limit::on_pairings(user)).await?;
        let (id, now) = (new_id(), self.now_i64()?);
        let secret = Secret::generate().map_err(|error| ApiError::internal(&error))?;
        let sealed_claim =
            claim.map(|claim| self.sealing_key().encrypt(&aad::claim(&id), claim.as_bytes())).transpose()?;
        let insert_device = device.map(|device| self.insert_device(device)).transpose()?;
        let insert = query(
            "INSERT INTO pairings (id, user_id, device_id, claim_digest, claim_expires, sealed_claim, state,
                sealed_secret, created, modified, from_page)
             VALUES ($1, $2, $3, $4, $5, $6, 'pending', $7, $8, $8, $9)",
        )
        .bind(&id)
        .bind(user)
        .bind(device.map(|device| device.id.as_str()))
        .bind(claim.map(digest))
        .bind(claim.map(|_| now.saturating_add(CLAIM_LIFETIME)))
        .bind(sealed_claim)
        .bind(self.sealing_key().encrypt(&aad::pairing_secret(&id), secret.as_bytes())?)
        .bind(now)
        .bind(from_page);
        let inserted = self.transaction_for_user(user, |connection| {
            Box::pin(async {
                if let Some(device) = insert_device
                    && device.scalar(&mut *connection).await? != Some(false)
                {
                    return Err(ApiError::NO_PHRASE);
                }
                Ok(insert.execute(connection).await?)
            })
        });
        inserted.await?;
        self.notify(device.map(|device| device.id.as_str())).await;
        Ok(id)
    }
}

/// Pairs with the phone that shows the phrase. The phrase is used up, and the user still has to allow the pairing on
/// the phone.
pub(crate) async fn create(State(server): State<Server>, call: AuthenticatedCall) -> Result<Json<Value>, ApiError> {
    let phrase = call.params.require(&["pairing_phrase", "pairing_token"])?;
    // A user is only created with a phrase that a phone shows: the names may be those of clients without an account.
    let user = server.subject_of_phrase(&call).await?;
    let limits = Limit::on_phrases(&call.requester_id, &user);
    let device = server.take_phrase(&limits, phrase).await?.ok_or(ApiError::NO_PHRASE)?;
    let user = server.named_user(&call).await?;
    let id = server.new_pairing(&user.user_id, Some(&device), None, false).await?;
    server.pairing_response(&call.requester_id, &id).await
}

impl Server {
    /// The user whose phrases are counted: the id, or a digest of the name if there is no such user yet.
    async fn subject_of_phrase(&self, call: &AuthenticatedCall) -> Result<String, ApiError> {
        if let Some(id) = call.params.get_not_empty(&["user_id"])? {
            // Also rejects a name that is invalid, before the phrase is used up.
            call.params.get_not_empty(&["user_name"])?;
            return Ok(self.user(&call.requester_id, id).await?.ok_or(ApiError::NO_USER)?.user_id);
        }
        let name = call.params.require(&["user_name"])?;
        match find_user(&self.database, &call.requester_id, name).await? {
            Some(user) => Ok(user.user_id),
            None => self.key_of_none("user", &call.requester_id, name),
        }
    }
}

/// Pairs with the phone that scans the QR code, which [`qr`] returns, or opens the same link.
pub(crate) async fn create_qr(State(server): State<Server>, call: AuthenticatedCall) -> Result<Json<Value>, ApiError> {
    let user = server.user_named(&call.requester_id, call.params.require(&["user_name"])?).await?;
    let claim = token()?;
    let id = server.new_pairing(&user.user_id, None, Some(&claim), false).await?;
    let mut response = server.pairing_response(&call.requester_id, &id).await?;
    // For the device that displays the QR code.
    response["link"] = server.claim_link(&claim).into();
    Ok(response)
}

/// Pairs with the phone that opens the link in a text message.
pub(crate) async fn create_sms(State(server): State<Server>, call: AuthenticatedCall) -> Result<Json<Value>, ApiError> {
    let number = call.params.require(&["phone_number"])?.to_owned();
    if !is_phone_number(&number) {
        return Err(ApiError::bad_request("A phone number consists of digits, and may begin with +."));
    }
    let name = call.params.require(&["user_name"])?;
    server.require_messenger()?;
    let user = server.user_named(&call.requester_id, name).await?;
    let claim = token()?;
    let id = server.new_pairing(&user.user_id, None, Some(&claim), false).await?;
    let name: String = visible_name(name).chars().take(64).collect();
    let text = format!("To use this phone to log in as {name}, open {}", server.claim_link(&claim));
    server.send(Message::Sms { number, text }).await?;
    server.pairing_response(&call.requester_id, &id).await
}

impl Server {
    /// The URL of the phone's page with the claim in its fragment, which is in no server log.
    fn claim_link(&self, claim: &str) -> String {
        format!("{}/phone#claim={claim}", self.shared.public_url)
    }
}

/// The QR code of a pairing, which contains the link.
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
    let code = qrcode::QrCode::new(server.claim_link(claim)).map_err(|error| ApiError::internal(&error))?;
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
        let (ended, device) = ((pairing.user.user_id.as_str(), id.as_str()), pairing.device_id.as_deref());
        let unpaired = server.unpair(ended, device, false, &mut audit).await;
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
