//! Authentication of devices: the extractor of the calls of phones, and their tokens.
//!
//! A token contains the device, encrypted and authenticated. So a registration, for which a client needs no account,
//! stores nothing.

use axum::extract::FromRequestParts;
use data_encoding::BASE64URL_NOPAD;
use http::header;
use http::request::Parts;
use uuid::Uuid;

use crate::aad;
use crate::api_error::ApiError;
use crate::audit::Audit;
use crate::models::Device;
use crate::state::Server;

/// The maximum length of a device's name in bytes.
pub(super) const MAX_NAME: usize = 200;
/// The maximum length of a token. Longer ones are not decrypted.
const MAX_TOKEN: usize = 400;

impl FromRequestParts<Server> for Device {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, server: &Server) -> Result<Self, ApiError> {
        let device = find(parts, server).await;
        Audit::for_call().close(device)
    }
}

async fn find(parts: &Parts, server: &Server) -> Result<Device, ApiError> {
    let mut headers = parts.headers.get_all(header::AUTHORIZATION).iter();
    let (Some(header), None) = (headers.next(), headers.next()) else { return Err(ApiError::NO_DEVICE) };
    let token = header.to_str().ok().and_then(|text| text.split_once(' '));
    let Some((scheme, token)) = token else { return Err(ApiError::NO_DEVICE) };
    if !scheme.eq_ignore_ascii_case("Bearer") {
        return Err(ApiError::NO_DEVICE);
    }
    let device = server.device_of_token(token.trim()).ok_or(ApiError::NO_DEVICE)?;
    if server.knows_device(&device).await? { Ok(device) } else { Err(ApiError::NO_DEVICE) }
}

impl Server {
    pub(super) fn device_token(&self, device: &Device) -> Result<String, ApiError> {
        let id = Uuid::parse_str(&device.id).map_err(|error| ApiError::internal(&error))?;
        let content = [&id.as_bytes()[..], &device.created.to_be_bytes(), device.name.as_bytes()].concat();
        Ok(BASE64URL_NOPAD.encode(&self.sealing_key().encrypt(aad::DEVICE_TOKEN, &content)?))
    }

    /// The device of a token that this server, or another one with the same key, has created.
    fn device_of_token(&self, token: &str) -> Option<Device> {
        if token.len() > MAX_TOKEN {
            return None;
        }
        let encrypted = BASE64URL_NOPAD.decode(token.as_bytes()).ok()?;
        let content = self.sealing_key().decrypt(aad::DEVICE_TOKEN, &encrypted).ok()?;
        let (id, rest) = content.split_first_chunk()?;
        let (created, name) = rest.split_first_chunk()?;
        Some(Device {
            id: Uuid::from_bytes(*id).to_string(),
            name: std::str::from_utf8(name).ok()?.to_owned(),
            created: i64::from_be_bytes(*created),
        })
    }
}
