//! New authentication requests. Each is one transaction: a request over the limits stores nothing.

use std::time::Duration;

use toopher_sql::{Connection, query};

use crate::api_error::ApiError;
use crate::id::new_id;
use crate::models::RequestRow;
use crate::requests::select_request;
use crate::state::Server;
use crate::terminals::{rename_terminal, terminal_of};

/// How long a request can be answered, in seconds.
const REQUEST_LIFETIME: u64 = 120;
/// The maximum number of pending requests of one user. A person who logs in needs no more.
const MAX_PENDING: i64 = 5;
/// The maximum number of requests for one user within ten minutes, whatever their outcome: users approve requests they
/// did not cause if there are enough of them (push fatigue).
const MAX_RECENT: i64 = 30;
const RECENT: i64 = 600;

/// A request that is not stored yet.
pub(crate) struct NewRequest {
    pub(crate) requester: String,
    pub(crate) user: String,
    /// `None` for a user without one, who can answer with a recovery code.
    pub(crate) pairing: Option<String>,
    /// The id of a terminal that gets the name.
    pub(crate) renamed_terminal: Option<String>,
    pub(crate) terminal_name: String,
    pub(crate) discriminator: String,
    pub(crate) action: String,
    /// Whether a rule of the phone may answer it.
    pub(crate) automation_allowed: bool,
    pub(crate) challenge_required: bool,
    pub(crate) state: NewState,
}

/// How a new request begins.
pub(crate) enum NewState {
    /// Granted by a code.
    Granted,
    /// Pending, unless a rule answers it.
    Pending {
        /// The number that the user must type on the phone to allow the request.
        number: Option<String>,
    },
}

impl Server {
    /// Stores a request with its terminal and action, which are created if they do not exist. Transactions of one user
    /// are serialized, so that concurrent calls cannot exceed the limits.
    pub(crate) async fn store_request(&self, new: NewRequest) -> Result<RequestRow, ApiError> {
        let now = self.now_i64()?;
        let user = new.user.clone();
        self.transaction_for_user(&user, move |connection| Box::pin(async move { new.store(connection, now).await }))
            .await
    }
}

impl NewRequest {
    async fn store(self, connection: &mut Connection, now: i64) -> Result<RequestRow, ApiError> {
        if let Some(id) = &self.renamed_terminal {
            rename_terminal(connection, &self.user, id, &self.terminal_name, now).await?;
        }
        let terminal = terminal_of(connection, &self.user, &self.terminal_name, &self.discriminator, now).await?;
        let action = self.action(connection, now).await?;
        let (state, automated, totp_valid, number) = match &self.state {
            NewState::Granted => ("granted", false, true, None),
            NewState::Pending { number } => match self.automation(connection, &terminal, &action).await? {
                None => ("pending", false, false, number.as_deref()),
                Some(true) => ("granted", true, false, None),
                Some(false) => ("denied", true, false, None),
            },
        };
        let id = new_id();
        let inserted = query(
            "INSERT INTO requests (id, user_id, pairing_id, terminal_id, action_id, state, automated, totp_valid,
                automation_allowed, challenge_required, expires, created, modified, discriminator, number)
             SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $12, $13, $14
             WHERE $6 <> 'pending' OR (
                (SELECT count(*) FROM requests WHERE user_id = $2 AND state = 'pending' AND expires > $12) < $15
                AND (SELECT count(*) FROM requests WHERE user_id = $2 AND created > $16) < $17)",
        )
        .bind(&id)
        .bind(&self.user)
        .bind(&self.pairing)
        .bind(terminal)
        .bind(action)
        .bind(state)
        .bind(automated)
        .bind(totp_valid)
        .bind(self.automation_allowed)
        .bind(self.challenge_required)
        .bind(now.saturating_add(REQUEST_LIFETIME.cast_signed()))
        .bind(now)
        .bind(&self.discriminator)
        .bind(number)
        .bind(MAX_PENDING)
        .bind(now.saturating_sub(RECENT))
        .bind(MAX_RECENT)
        .execute(&mut *connection)
        .await?;
        if inserted == 0 {
            let too_many = ApiError::too_many(Some(Duration::from_secs(REQUEST_LIFETIME)));
            return Err(too_many.with_reason("too_many_requests"));
        }
        select_request(connection, now, &self.requester, &id).await?.ok_or(ApiError::NOT_FOUND)
    }

    /// The id of the requester's action, which is created if there is none.
    async fn action(&self, connection: &mut Connection, now: i64) -> Result<String, ApiError> {
        // The action nearly always exists. All requests share the row, so a write would block the others.
        if let Some(id) = find_action(connection, &self.requester, &self.action).await? {
            return Ok(id);
        }
        let id = query(
            "INSERT INTO actions (id, requester_id, name, created) VALUES ($1, $2, $3, $4)
             ON CONFLICT (requester_id, name) DO UPDATE SET name = excluded.name RETURNING id",
        );
        let id = id.bind(new_id()).bind(&self.requester).bind(&self.action).bind(now);
        id.scalar(connection).await?.ok_or(ApiError::NOT_FOUND)
    }

    /// The answer of a rule of the user's phone, if there is one for this terminal and action.
    async fn automation(
        &self,
        connection: &mut Connection,
        terminal: &str,
        action: &str,
    ) -> Result<Option<bool>, ApiError> {
        if !self.automation_allowed || self.challenge_required || self.pairing.is_none() {
            return Ok(None);
        }
        let rule = query(
            "SELECT m.allow FROM automations m JOIN terminals t ON t.id = m.terminal_id
             WHERE m.pairing_id = $1 AND m.terminal_id = $2 AND m.action_id = $3 AND t.discriminator <> ''
                AND m.terminal_name = t.name",
        );
        Ok(rule.bind(&self.pairing).bind(terminal).bind(action).scalar(connection).await?)
    }
}

/// The id of the requester's action with this name, if there is one.
pub(crate) async fn find_action(
    connection: &mut Connection,
    requester: &str,
    name: &str,
) -> Result<Option<String>, ApiError> {
    let known = query("SELECT id FROM actions WHERE requester_id = $1 AND name = $2").bind(requester).bind(name);
    Ok(known.scalar(connection).await?)
}
