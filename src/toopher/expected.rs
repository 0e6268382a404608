//! What a call is answered with, and the id that the answer must have.

use super::json::{Json, Object, WrongField};
use super::reply::list;
use super::{ApiReply, AuthenticationStatus, ClientError, PairingStatus, ResetLink, User, UserTerminal};

/// What answers the call. The id is the one that was asked for, and must be the one that is answered.
#[derive(Clone)]
pub(super) enum Expected {
    Authentication(Option<String>),
    Pairing(Option<String>),
    Pairings,
    User(Option<String>),
    Users,
    NewTerminal,
    Terminal(String),
    ResetLink,
    Image,
    Nothing,
}

impl Expected {
    /// Reads the body of a success.
    pub(super) fn read(&self, body: &Json) -> Result<ApiReply, ClientError> {
        let fields = match body {
            Json::Object(fields) => Some(fields),
            _ => None,
        };
        if fields.is_some_and(|fields| fields.has("error_code")) {
            return Err(ClientError::answer("a success with an error code"));
        }
        self.read_fields(body, fields.unwrap_or(&Object::default()))
            .map_err(|WrongField| ClientError::answer("a field is missing or of another type, or the id another one"))
    }

    fn read_fields(&self, body: &Json, fields: &Object) -> Result<ApiReply, WrongField> {
        let is = |expected: &Option<String>, id: &str| expected.as_ref().is_none_or(|expected| expected == id);
        match self {
            Expected::Authentication(id) => {
                let status = AuthenticationStatus::read(fields)?;
                is(id, status.id()).then_some(ApiReply::Authentication(status)).ok_or(WrongField)
            }
            Expected::Pairing(id) => {
                let pairing = PairingStatus::read(fields)?;
                is(id, pairing.id()).then_some(ApiReply::Pairing(pairing)).ok_or(WrongField)
            }
            Expected::User(id) => {
                let user = User::read(fields)?;
                // An older server answers a change with the name alone.
                let same = user.name().is_some() && user.id().is_none_or(|found| is(id, found));
                same.then_some(ApiReply::User(user)).ok_or(WrongField)
            }
            Expected::Terminal(id) => {
                let terminal = UserTerminal::read(fields)?;
                let same = terminal.name().is_some() && terminal.id() == Some(id);
                same.then_some(ApiReply::Terminal(terminal)).ok_or(WrongField)
            }
            // An older server answers with an empty object.
            Expected::NewTerminal if matches!(body, Json::Object(_)) => {
                Ok(ApiReply::Terminal(UserTerminal::read(fields)?))
            }
            Expected::ResetLink => Ok(ApiReply::ResetLink(ResetLink::read(fields)?)),
            Expected::Pairings => Ok(ApiReply::Pairings(list(body, PairingStatus::read)?)),
            Expected::Users => Ok(ApiReply::Users(list(body, User::read)?)),
            Expected::Nothing if matches!(body, Json::Object(_) | Json::Array(_)) => Ok(ApiReply::Done),
            Expected::NewTerminal | Expected::Nothing | Expected::Image => Err(WrongField),
        }
    }
}
