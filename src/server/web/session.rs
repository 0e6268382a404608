//! One page of one user, from its opening to its end.

use sqlx::FromRow;

use crate::server::Server;
use crate::server::ask::Ask;
use crate::server::audit::{Audit, Outcome};
use crate::server::error::ApiError;
use crate::server::guard::OtpCheck;
use crate::server::objects::PairingRow;
use crate::server::pairings::{digest, token};
use crate::server::params::Params;
use crate::store::query;

/// How long a page can be used.
const LIFETIME: i64 = 600;
const WRONG: &str = "That code was not accepted. Wait for the next one.";

/// What a signed address says, and the browser that brought it.
pub(super) struct Opening<'a> {
    pub(super) requester: &'a str,
    pub(super) params: &'a Params,
    pub(super) terminal_name: Option<&'a str>,
    pub(super) discriminator: &'a str,
    pub(super) origin: Option<&'a str>,
    pub(super) kind: &'static str,
    pub(super) first_protocol: bool,
}

#[derive(FromRow)]
pub(super) struct Session {
    #[sqlx(skip)]
    pub(super) token: String,
    pub(super) requester_id: String,
    pub(super) requester_name: String,
    consumer_key: String,
    pub(super) user_name: String,
    pub(super) user_id: String,
    pub(super) kind: String,
    pub(super) first_protocol: bool,
    pub(super) inline_pairing: bool,
    pub(super) session_token: String,
    pub(super) requester_metadata: Option<String>,
    action_name: String,
    automation_allowed: bool,
    pub(super) challenge_required: bool,
    number_matching: bool,
    terminal_name: String,
    discriminator: String,
    pub(super) origin: Option<String>,
    pub(super) pairing_id: Option<String>,
    pub(super) request_id: Option<String>,
}

impl Session {
    /// Opens a page, and returns the token for it.
    pub(super) async fn open(server: &Server, opening: &Opening<'_>) -> Result<String, ApiError> {
        let Opening { requester, params, terminal_name, discriminator, origin, kind, first_protocol } = *opening;
        let user = server.user_named(requester, params.require(&["username"])?).await?;
        let token = token()?;
        query(
            "INSERT INTO web_sessions (token_digest, user_id, kind, first_protocol, inline_pairing, session_token,
                requester_metadata, action_name, automation_allowed, challenge_required, terminal_name, discriminator,
                origin, expires, number_matching) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
        )
        .bind(digest(&token))
        .bind(&user.user_id)
        .bind(kind)
        .bind(first_protocol)
        .bind(!first_protocol && params.flag(&["allow_inline_pairing"])?.unwrap_or(true))
        .bind(params.get(&["session_token"])?.unwrap_or_default())
        .bind(params.get(&["requester_metadata"])?)
        .bind(params.get(&["action_name"])?.unwrap_or("Log In"))
        .bind(params.flag(&["automation_allowed"])?.unwrap_or(true))
        .bind(params.flag(&["challenge_required"])?.unwrap_or(false))
        .bind(terminal_name.unwrap_or("web browser"))
        .bind(discriminator)
        .bind(origin)
        .bind(server.now_i64()?.saturating_add(LIFETIME))
        .bind(params.flag(&["number_matching"])?.unwrap_or(true))
        .execute(&server.database)
        .await?;
        Ok(token)
    }

    pub(super) async fn find(server: &Server, token: &str) -> Result<Option<Self>, ApiError> {
        let session: Option<Self> = query(
            "SELECT w.*, r.id AS requester_id, r.name AS requester_name, r.consumer_key, u.name AS user_name FROM web_sessions w
             JOIN users u ON u.id = w.user_id JOIN requesters r ON r.id = u.requester_id
             WHERE w.token_digest = $1 AND w.expires > $2 AND NOT r.revoked",
        )
        .bind(digest(token))
        .bind(server.now_i64()?)
        .one(&server.database)
        .await?;
        Ok(session.map(|session| Self { token: token.to_owned(), ..session }))
    }

    /// The user's newest pairing that is not over.
    pub(super) async fn pairing(&self, server: &Server) -> Result<Option<PairingRow>, ApiError> {
        let id: Option<String> = query(
            "SELECT id FROM pairings WHERE user_id = $1 AND (state = 'enabled' OR id = $2)
             ORDER BY state = 'enabled' DESC, created DESC, id LIMIT 1",
        )
        .bind(&self.user_id)
        .bind(&self.pairing_id)
        .scalar(&server.database)
        .await?;
        match id {
            None => Ok(None),
            Some(id) => server.pairing(&self.requester_id, &id).await,
        }
    }

    fn audit(&self, audit: Audit) -> Audit {
        audit.requester(&self.consumer_key).user(&self.user_name)
    }

    /// Asks the phone, once for each page.
    pub(super) async fn ask(&self, server: &Server, pairing: &PairingRow) -> Result<String, ApiError> {
        if let Some(id) = &self.request_id {
            return Ok(id.clone());
        }
        let ask = Ask {
            requester: &self.requester_id,
            user: &self.user_id,
            pairing: pairing.id(),
            device: pairing.device_id.as_deref(),
            terminal_name: &self.terminal_name,
            discriminator: &self.discriminator,
            action: &self.action_name,
            automation_allowed: self.automation_allowed,
            challenge_required: self.challenge_required,
            number_matching: self.number_matching,
        };
        let mut audit = self.audit(Audit::of_request());
        let id = server.ask(&ask, &mut audit).await;
        let id = audit.close(id)?;
        // Of two that load the page at once, one's request is the page's; the other's is taken back.
        let mine = query("UPDATE web_sessions SET request_id = $1 WHERE token_digest = $2 AND request_id IS NULL")
            .bind(&id)
            .bind(digest(&self.token))
            .execute(&server.database)
            .await?;
        if mine > 0 {
            return Ok(id);
        }
        if server.decide(&id, "cancelled", false, "").await? {
            let mut audit = self.audit(Audit::of_request().by("site"));
            audit.approval = Some(id);
            audit.pairing = Some(pairing.id().to_owned());
            audit.settle(Outcome::Cancelled);
        }
        let first = query("SELECT request_id FROM web_sessions WHERE token_digest = $1").bind(digest(&self.token));
        first.scalar(&server.database).await?.ok_or(ApiError::OVER)
    }

    /// Does what a form asks for. A sentence says why it did not.
    pub(super) async fn act(&self, server: &Server, form: &Params) -> Result<Option<&'static str>, ApiError> {
        let field = |name: &'static str| form.get(&[name]).map(Option::unwrap_or_default);
        match field("act")? {
            "pair" if self.kind == "pair" || (self.kind == "authenticate" && self.inline_pairing) => {
                self.pair(server, field("phrase")?).await
            }
            "otp" if self.kind == "authenticate" => {
                let otp = field("otp")?;
                let mut audit = self.audit(Audit::of_request().by("otp"));
                let answered = self.answer(server, otp, &mut audit).await;
                audit.close(answered)
            }
            // Who has only the first factor must not be able to take the second one away.
            "remove" if matches!(self.kind.as_str(), "manage" | "unpair") => {
                let (pairing, otp) = (field("pairing")?, field("otp")?);
                let mut audit = self.audit(Audit::of_pairing().by("otp"));
                let removed = self.remove(server, pairing, otp, &mut audit).await;
                audit.close(removed)
            }
            _ => Ok(Some("This page cannot do that.")),
        }
    }

    /// Answers the request that waits, by a code.
    async fn answer(&self, server: &Server, otp: &str, audit: &mut Audit) -> Result<Option<&'static str>, ApiError> {
        let request = match &self.request_id {
            None => None,
            Some(id) => server.request(&self.requester_id, id).await?,
        };
        // What is decided, or too old, spends no code.
        let Some(request) = request.filter(|request| request.request_state == "pending") else {
            audit.settle(Outcome::Nothing);
            return Ok(Some("Nothing waits for a code."));
        };
        request.note(audit);
        Ok(match server.answer_by_otp(&request, otp, audit).await? {
            OtpCheck::Right(_) => None,
            OtpCheck::Wrong(_) => Some(WRONG),
        })
    }

    async fn remove(
        &self,
        server: &Server,
        id: &str,
        otp: &str,
        audit: &mut Audit,
    ) -> Result<Option<&'static str>, ApiError> {
        let known = server.pairing(&self.requester_id, id).await?;
        let removable =
            |pairing: &PairingRow| pairing.user.user_id == self.user_id && pairing.pairing_state == "enabled";
        let Some(pairing) = known.filter(removable) else {
            audit.settle(Outcome::Denied("unknown_pairing"));
            return Ok(Some("There is no such phone."));
        };
        audit.pairing = Some(id.to_owned());
        match server.check_otp(&self.user_id, Some(id), otp, audit).await? {
            OtpCheck::Wrong(_) => Ok(Some(WRONG)),
            OtpCheck::Right(_) => {
                server.unpair(id, pairing.device_id.as_deref(), audit).await?;
                Ok(None)
            }
        }
    }

    /// When the outcome of this page was signed first, which is now if it never was.
    pub(super) async fn signed_at(&self, server: &Server) -> Result<i64, ApiError> {
        let signed =
            query("UPDATE web_sessions SET signed = coalesce(signed, $1) WHERE token_digest = $2 RETURNING signed")
                .bind(server.now_i64()?)
                .bind(digest(&self.token))
                .scalar(&server.database)
                .await?;
        signed.ok_or(ApiError::NOT_FOUND)
    }

    /// Pairs with the phone that shows the phrase, unless the user has one: the page knows only the first factor.
    async fn pair(&self, server: &Server, phrase: &str) -> Result<Option<&'static str>, ApiError> {
        let pairing = self.pairing(server).await?;
        if pairing.is_some_and(|pairing| matches!(pairing.pairing_state.as_str(), "enabled" | "pending")) {
            return Ok(None);
        }
        // Counted before it is looked at: phrases of strangers can be guessed.
        let counted = query(
            "UPDATE web_sessions SET phrases_left = phrases_left - 1 WHERE token_digest = $1 AND phrases_left > 0",
        );
        if counted.bind(digest(&self.token)).execute(&server.database).await? == 0 {
            return Ok(Some("Too many attempts. Go back, and start again."));
        }
        let Some(id) = server.pair_by_phrase(&self.user_id, phrase, true).await? else {
            return Ok(Some("No phone shows these words. They change every few minutes."));
        };
        query("UPDATE web_sessions SET pairing_id = $1 WHERE token_digest = $2")
            .bind(id)
            .bind(digest(&self.token))
            .execute(&server.database)
            .await?;
        Ok(None)
    }
}
