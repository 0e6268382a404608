//! The signed result of a page: flat text fields, which the window around the frame posts to the site.

use toopher_oauth1::postback;

use super::session::Session;
use crate::api_error::ApiError;
use crate::models::{PairingRow, RequestRow, User};
use crate::state::Server;

/// The fields of a result, without those of every result and the signature.
pub(super) struct Payload(Vec<(&'static str, String)>);

impl Payload {
    pub(super) fn from_request(session: &Session, request: &RequestRow) -> Self {
        let json = request.json();
        let text = |path: &str| match json.pointer(path) {
            Some(serde_json::Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => String::new(),
        };
        let mut fields = vec![
            ("id", text("/id")),
            ("pending", text("/pending")),
            ("granted", text("/granted")),
            ("automated", text("/automated")),
            ("reason", text("/reason")),
            ("reason_code", text("/reason_code")),
            ("terminal_id", text("/terminal/id")),
            ("terminal_name", text("/terminal/name")),
            ("terminal_requester_specified_id", text("/terminal/requester_specified_id")),
            ("pairing_user_id", text("/user/id")),
            ("user_name", text("/user/name")),
            ("user_toopher_authentication_enabled", text("/user/toopher_authentication_enabled")),
            ("action_id", text("/action/id")),
            ("action_name", text("/action/name")),
            ("resource_type", "authentication_request".into()),
        ];
        if session.first_protocol {
            fields.push(("challenge_required", session.challenge_required.to_string()));
            fields.push(("enabled", "true".into()));
            fields.push(("user_id", text("/user/id")));
        }
        Self(fields)
    }

    pub(super) fn from_pairing(pairing: &PairingRow) -> Self {
        Self(vec![
            ("id", pairing.id().to_owned()),
            ("enabled", (pairing.pairing_state == "enabled").to_string()),
            ("pending", (pairing.pairing_state == "pending").to_string()),
            ("pairing_user_id", pairing.user.user_id.clone()),
            ("user_name", pairing.user.name().to_owned()),
            ("user_toopher_authentication_enabled", pairing.user.user_enabled.to_string()),
            ("resource_type", "pairing".into()),
        ])
    }

    pub(super) fn from_user(user: &User) -> Self {
        Self(vec![
            ("id", user.user_id.clone()),
            ("name", user.name().to_owned()),
            ("toopher_authentication_enabled", user.user_enabled.to_string()),
            ("resource_type", "requester_user".into()),
        ])
    }

    pub(super) fn from_error(error: &ApiError) -> Self {
        Self(vec![("error_code", error.code().to_string()), ("error_message", error.message().to_owned())])
    }

    /// The message for the window around the frame, as JSON that can be embedded in HTML.
    ///
    /// `is_posted` is false if the user has to do something before.
    pub(super) async fn message(
        mut self,
        server: &Server,
        session: &Session,
        is_posted: bool,
    ) -> Result<String, ApiError> {
        self.0.push(("session_token", session.session_token.clone()));
        self.0.push(("timestamp", session.signed_at(server, is_posted).await?.to_string()));
        if let Some(metadata) = &session.requester_metadata {
            self.0.push(("requester_metadata", metadata.clone()));
        }
        let secret = server.consumer_secret(&session.requester_id).await?;
        let fields: Vec<(&str, &str)> = self.0.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let signature = postback::signature(&secret, &fields);
        self.0.push(("toopher_sig", signature));
        let payload: serde_json::Map<_, _> =
            self.0.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
        let message = serde_json::json!({ "status": "toopher-api-complete", "payload": payload });
        // Only `<` could end the script element.
        Ok(message.to_string().replace('<', "\\u003c"))
    }
}
