//! The kind of response that a call expects, and the id that the response must have.

use super::authentication_status::AuthenticationStatus;
use super::error::ClientError;
use super::json::{InvalidField, Json, Object};
use super::pairing_status::PairingStatus;
use super::response::{ApiResponse, ResetLink};
use super::user::{User, UserTerminal};

/// The shape of the response to a call. An id is the one in the path of the call, and the response must have the same.
#[derive(Clone)]
pub(super) enum ResponseShape {
    Authentication(Option<String>),
    Pairing(Option<String>),
    Pairings,
    User(Option<String>),
    Users,
    NewTerminal,
    Terminal(String),
    ResetLink,
    Image,
    Empty,
}

impl ResponseShape {
    /// Reads the body of a successful response.
    pub(super) fn read(&self, body: &Json) -> Result<ApiResponse, ClientError> {
        let fields = match body {
            Json::Object(fields) => Some(fields),
            _ => None,
        };
        if fields.is_some_and(|fields| fields.has("error_code")) {
            return Err(ClientError::invalid_response("success with an error code"));
        }
        self.read_fields(body, fields.unwrap_or(&Object::default()))
            .map_err(|InvalidField| ClientError::invalid_response("missing or invalid field, or another id"))
    }

    fn read_fields(&self, body: &Json, fields: &Object) -> Result<ApiResponse, InvalidField> {
        let is = |expected: &Option<String>, id: &str| expected.as_ref().is_none_or(|expected| expected == id);
        match self {
            Self::Authentication(id) => {
                let status = AuthenticationStatus::read(fields)?;
                is(id, status.id()).then_some(ApiResponse::Authentication(status)).ok_or(InvalidField)
            }
            Self::Pairing(id) => {
                let pairing = PairingStatus::read(fields)?;
                is(id, pairing.id()).then_some(ApiResponse::Pairing(pairing)).ok_or(InvalidField)
            }
            Self::User(id) => {
                let user = User::read(fields)?;
                // Older APIs respond to a change with the name and without the id.
                let same = user.name().is_some() && user.id().is_none_or(|found| is(id, found));
                same.then_some(ApiResponse::User(user)).ok_or(InvalidField)
            }
            Self::Terminal(id) => {
                let terminal = UserTerminal::read(fields)?;
                let same = terminal.name().is_some() && terminal.id() == Some(id);
                same.then_some(ApiResponse::Terminal(terminal)).ok_or(InvalidField)
            }
            // Older APIs respond with an empty object.
            Self::NewTerminal if matches!(body, Json::Object(_)) => {
                Ok(ApiResponse::Terminal(UserTerminal::read(fields)?))
            }
            Self::ResetLink => Ok(ApiResponse::ResetLink(ResetLink::read(fields)?)),
            Self::Pairings => Ok(ApiResponse::Pairings(body.read_list(PairingStatus::read)?)),
            Self::Users => Ok(ApiResponse::Users(body.read_list(User::read)?)),
            Self::Empty if matches!(body, Json::Object(_) | Json::Array(_)) => Ok(ApiResponse::Done),
            Self::NewTerminal | Self::Empty | Self::Image => Err(InvalidField),
        }
    }
}
