//! Creates the session of a page.

use toopher_sql::query;

use super::session::{SESSION_LIFETIME, Session};
use crate::api_error::ApiError;
use crate::crypto::{digest, token};
use crate::message::is_mail_address;
use crate::params::Params;
use crate::state::Server;

/// The values of a new session, from the signed URL and the browser.
pub(super) struct NewSession<'a> {
    pub(super) requester: &'a str,
    pub(super) params: &'a Params,
    pub(super) terminal_name: Option<&'a str>,
    pub(super) discriminator: &'a str,
    pub(super) origin: Option<&'a str>,
    pub(super) kind: &'static str,
    pub(super) first_protocol: bool,
    /// Whether the page offers pairing if the URL does not say so.
    pub(super) inline_pairing: bool,
}

impl Session {
    /// Creates a session, and returns its token.
    pub(super) async fn create(server: &Server, new: &NewSession<'_>) -> Result<String, ApiError> {
        let NewSession {
            requester,
            params,
            terminal_name,
            discriminator,
            origin,
            kind,
            first_protocol,
            inline_pairing,
        } = *new;
        let user = server.user_named(requester, params.require(&["username"])?).await?;
        let action = params.get_even_empty(&["action_name"])?;
        let inline = params.flag_or_if_empty(&["allow_inline_pairing"], Some(false))?;
        let token = token()?;
        query(
            "INSERT INTO web_sessions (token_digest, user_id, kind, first_protocol, inline_pairing, session_token,
                requester_metadata, action_name, automation_allowed, challenge_required, terminal_name, discriminator,
                origin, expires, number_matching, reset_email, theme)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)",
        )
        .bind(digest(&token))
        .bind(&user.user_id)
        .bind(kind)
        .bind(first_protocol)
        .bind(!first_protocol && inline.unwrap_or(inline_pairing))
        .bind(params.get(&["session_token"])?.unwrap_or_default())
        .bind(params.get(&["requester_metadata"])?)
        .bind(action.filter(|action| !action.is_empty()).unwrap_or("Log In"))
        .bind(params.narrowing_flag(&["automation_allowed"], false)? && action != Some(""))
        .bind(params.narrowing_flag(&["challenge_required"], true)?)
        .bind(terminal_name.unwrap_or("web browser"))
        .bind(discriminator)
        .bind(origin)
        .bind(server.now_i64()?.saturating_add(SESSION_LIFETIME))
        .bind(params.flag_or_if_empty(&["number_matching"], Some(true))?.unwrap_or(true))
        // Original clients sign the text `None` for no address.
        .bind(params.get(&["reset_email"])?.filter(|address| is_mail_address(address)))
        .bind(params.get(&["theme"])?.filter(|theme| matches!(*theme, "light" | "dark")))
        .execute(&server.database)
        .await?;
        Ok(token)
    }
}
