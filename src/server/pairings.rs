//! Calls about pairings: the bond between a user of a site and a phone.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use data_encoding::{BASE64URL_NOPAD, HEXLOWER_PERMISSIVE};
use http::header;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::audit::{Audit, Outcome};
use super::error::ApiError;
use super::id::Id;
use super::message::Message;
use super::objects::{PAIRING_COLUMNS, PairingRow, USER_COLUMNS};
use super::signed::Signed;
use super::{Server, new_id, place};
use crate::random;
use crate::store::query;
use crate::totp::Secret;

/// How long a QR code can be scanned.
const CLAIM_LIFETIME: i64 = 600;

/// One digest for all tokens: they have 128 bits and more, so nothing is gained by a salt.
pub(super) fn digest(token: &str) -> Vec<u8> {
    Sha256::digest(token.as_bytes()).to_vec()
}

/// A token that nobody can guess.
pub(super) fn token() -> Result<String, random::NoRandomness> {
    let mut bytes = [0; 32];
    random::fill(&mut bytes)?;
    Ok(BASE64URL_NOPAD.encode(&bytes))
}

impl Server {
    pub(super) async fn pairing(&self, requester: &str, id: &str) -> Result<Option<PairingRow>, ApiError> {
        let text = format!(
            "SELECT {PAIRING_COLUMNS}, {USER_COLUMNS} FROM pairings p JOIN users u ON u.id = p.user_id
             WHERE u.requester_id = $1 AND p.id = $2"
        );
        Ok(query(text).bind(requester).bind(id).one(&self.database).await?)
    }

    /// Uses a phrase up, and makes a pairing with the phone that shows it, if one does.
    pub(super) async fn pair_by_phrase(
        &self,
        user: &str,
        phrase: &str,
        from_page: bool,
    ) -> Result<Option<String>, ApiError> {
        let device: Option<String> =
            query("UPDATE phrases SET expires = $1 WHERE phrase = $2 AND expires > $1 RETURNING device_id")
                .bind(self.now_i64()?)
                .bind(super::phrases::normal(phrase))
                .scalar(&self.database)
                .await?;
        match device {
            None => Ok(None),
            Some(device) => self.new_pairing(user, Some(&device), None, from_page).await.map(Some),
        }
    }

    /// Ends a pairing, and has its device look, if it has one.
    pub(super) async fn unpair(&self, id: &str, device: Option<&str>, audit: &mut Audit) -> Result<(), ApiError> {
        let ended =
            query("UPDATE pairings SET state = 'deactivated', modified = $1 WHERE id = $2 AND state <> 'deactivated'");
        let ended = ended.bind(self.now_i64()?).bind(id).execute(&self.database).await?;
        audit.settle(if ended > 0 { Outcome::Unpaired } else { Outcome::Nothing });
        self.notify(device).await;
        Ok(())
    }

    async fn answer_pairing(&self, requester: &str, id: &str) -> Result<Json<Value>, ApiError> {
        Ok(Json(self.pairing(requester, id).await?.ok_or(ApiError::NO_PAIRING)?.json()))
    }

    /// Makes a pairing that waits for a phone: for this one, or for the one that shows the claim.
    async fn new_pairing(
        &self,
        user: &str,
        device: Option<&str>,
        claim: Option<&str>,
        from_page: bool,
    ) -> Result<String, ApiError> {
        let (id, now) = (new_id(), self.now_i64()?);
        let secret = Secret::generate().map_err(|error| ApiError::internal(&error))?;
        let sealed_claim = claim.map(|claim| self.seal().seal(&place::claim(&id), claim.as_bytes())).transpose()?;
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
        .bind(self.seal().seal(&place::pairing_secret(&id), secret.as_bytes())?)
        .bind(now)
        .bind(from_page)
        .execute(&self.database)
        .await?;
        self.notify(device).await;
        Ok(id)
    }
}

/// Pairs with the phone that shows the phrase. The phrase is used up, and the phone still has to allow it.
pub(super) async fn create(State(server): State<Server>, call: Signed) -> Result<Json<Value>, ApiError> {
    let phrase = call.params.require(&["pairing_phrase", "pairing_token"])?;
    let user = server.named_user(&call).await?;
    let id = server.pair_by_phrase(&user.user_id, phrase, false).await?.ok_or(ApiError::NO_PHRASE)?;
    server.answer_pairing(&call.requester_id, &id).await
}

/// Pairs with the phone that scans the QR code, which is fetched by [`qr`].
pub(super) async fn create_qr(State(server): State<Server>, call: Signed) -> Result<Json<Value>, ApiError> {
    let user = server.user_named(&call.requester_id, call.params.require(&["user_name"])?).await?;
    let id = server.new_pairing(&user.user_id, None, Some(&token()?), false).await?;
    server.answer_pairing(&call.requester_id, &id).await
}

/// Pairs with the phone that opens the link in a text message.
pub(super) async fn create_sms(State(server): State<Server>, call: Signed) -> Result<Json<Value>, ApiError> {
    let number = call.params.require(&["phone_number"])?.to_owned();
    if !number.bytes().all(|b| b.is_ascii_digit() || b"+ ()-.".contains(&b)) || number.starts_with('-') {
        return Err(ApiError::bad_request("A phone number is digits, and may begin with +."));
    }
    let name = call.params.require(&["user_name"])?;
    server.can_send()?;
    let user = server.user_named(&call.requester_id, name).await?;
    let claim = token()?;
    let id = server.new_pairing(&user.user_id, None, Some(&claim), false).await?;
    let name: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
    let text = format!("To use this phone to log in as {name}, open {}/phone#claim={claim}", server.shared.public);
    server.send(Message::Sms { number, text }).await?;
    server.answer_pairing(&call.requester_id, &id).await
}

/// Makes a pairing of an authenticator that the user has already, from its secret, in hexadecimal digits or base32. There
/// is no phone to ask: it verifies codes, and the site answers for it.
pub(super) async fn upgrade(State(server): State<Server>, call: Signed) -> Result<Json<Value>, ApiError> {
    let text = call.params.require(&["secret"])?;
    let secret = match HEXLOWER_PERMISSIVE.decode(text.as_bytes()) {
        Ok(bytes) => Secret::from_bytes(bytes),
        Err(_) => Secret::from_base32(text),
    };
    let secret = secret.map_err(|_| ApiError::bad_request("The secret is not 128 bits or more in hex or base32."))?;
    let mut audit = call.audit(Audit::of_pairing().by("site"));
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
        .bind(server.seal().seal(&place::pairing_secret(&id), secret.as_bytes())?)
        .bind(now)
        .execute(&server.database)
        .await?;
        audit.pairing = Some(id.clone());
        audit.settle(Outcome::Paired);
        server.answer_pairing(&call.requester_id, &id).await
    };
    let paired = paired.await;
    audit.close(paired)
}

/// The QR code: the address of the phone's page, with the claim in its fragment, which no server's log sees.
pub(super) async fn qr(State(server): State<Server>, Id(id): Id, call: Signed) -> Result<Response, ApiError> {
    server.pairing(&call.requester_id, &id).await?.ok_or(ApiError::NO_PAIRING)?;
    let sealed: Option<Vec<u8>> =
        query("SELECT sealed_claim FROM pairings WHERE id = $1 AND state = 'pending' AND device_id IS NULL")
            .bind(&id)
            .scalar(&server.database)
            .await?
            .flatten();
    let claim = server.seal().open(&place::claim(&id), &sealed.ok_or(ApiError::DECIDED)?)?;
    let claim = std::str::from_utf8(&claim).map_err(|error| ApiError::internal(&error))?;
    let url = format!("{}/phone#claim={claim}", server.shared.public);
    let code = qrcode::QrCode::new(url).map_err(|error| ApiError::internal(&error))?;
    let image = code.render::<qrcode::render::svg::Color<'_>>().min_dimensions(200, 200).build();
    Ok(([(header::CONTENT_TYPE, "image/svg+xml"), (header::CACHE_CONTROL, "no-store")], image).into_response())
}

pub(super) async fn status(State(server): State<Server>, Id(id): Id, call: Signed) -> Result<Json<Value>, ApiError> {
    server.answer_pairing(&call.requester_id, &id).await
}

/// The only thing that can be said of a pairing is that it is over.
pub(super) async fn update(State(server): State<Server>, Id(id): Id, call: Signed) -> Result<Json<Value>, ApiError> {
    let pairing = server.pairing(&call.requester_id, &id).await?.ok_or(ApiError::NO_PAIRING)?;
    if call.params.flag(&["deactivated"])? == Some(true) {
        let mut audit = call.audit(pairing.audit().by("site"));
        let unpaired = server.unpair(&id, pairing.device_id.as_deref(), &mut audit).await;
        audit.close(unpaired)?;
    }
    server.answer_pairing(&call.requester_id, &id).await
}

pub(super) async fn of_user(State(server): State<Server>, Id(user): Id, call: Signed) -> Result<Json<Value>, ApiError> {
    let user = server.user(&call.requester_id, &user).await?.ok_or(ApiError::NO_USER)?;
    let deactivated = call.params.flag(&["deactivated"])?;
    let text = format!(
        "SELECT {PAIRING_COLUMNS}, {USER_COLUMNS} FROM pairings p JOIN users u ON u.id = p.user_id
         WHERE p.user_id = $1 AND ($2 IS NULL OR (p.state = 'deactivated') = $2) ORDER BY p.created, p.id LIMIT 1000"
    );
    let pairings: Vec<PairingRow> = query(text).bind(&user.user_id).bind(deactivated).all(&server.database).await?;
    Ok(Json(pairings.iter().map(PairingRow::json).collect()))
}
