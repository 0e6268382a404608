//! Limits on attempts within a period: on guesses of what is short enough to be guessed, and on the creation of rows.
//!
//! One-time passwords have a limit of their own, the throttle. Random and authenticated tokens need none.

use std::time::Duration;

use toopher_sql::{Query, query};

use crate::api_error::ApiError;
use crate::state::Server;

/// How many attempts a subject has within a period that begins with the first one.
pub(crate) struct Limit {
    subject: String,
    max: i64,
    /// In seconds.
    period: i64,
}

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;

impl Limit {
    /// Pairing phrases (24 bits) that no phone shows. Those of a user are fewer than those of the requester, so one
    /// user cannot lock the others out.
    pub(crate) fn on_phrases(requester: &str, user: &str) -> [Self; 2] {
        [
            Self { subject: format!("phrases of requester {requester}"), max: 1000, period: 10 * MINUTE },
            Self { subject: format!("phrases of user {user}"), max: 20, period: 10 * MINUTE },
        ]
    }

    /// New pairings of a user.
    pub(crate) fn on_pairings(user: &str) -> [Self; 1] {
        [Self { subject: format!("pairings of user {user}"), max: 50, period: HOUR }]
    }

    /// Wrong numbers for requests with number matching.
    pub(crate) fn on_numbers(pairing: &str) -> [Self; 1] {
        [Self { subject: format!("numbers of pairing {pairing}"), max: 10, period: HOUR }]
    }

    /// Mails with a reset link that a user requests on a page.
    pub(crate) fn on_reset_mails(user: &str) -> [Self; 1] {
        [Self { subject: format!("reset mails of user {user}"), max: 5, period: HOUR }]
    }

    /// Answers to the security question of a reset link, in addition to the limit of each link: a user can request
    /// further links.
    pub(crate) fn on_answers(pairing: &str) -> [Self; 1] {
        [Self { subject: format!("answers for pairing {pairing}"), max: 10, period: 24 * HOUR }]
    }
}

impl Limit {
    /// Selects when the period ends, if the limit is reached.
    fn reached(&self, now: i64) -> Query {
        // A period in the future was stored under a wrong clock.
        query("SELECT expires FROM attempts WHERE subject = $1 AND count >= $2 AND expires > $3 AND expires <= $4")
            .bind(&self.subject)
            .bind(self.max)
            .bind(now)
            .bind(now.saturating_add(self.period))
    }

    fn count(&self, now: i64) -> Query {
        query(
            "INSERT INTO attempts (subject, count, expires) VALUES ($1, 1, $2)
             ON CONFLICT (subject) DO UPDATE SET
                count = CASE WHEN attempts.expires > $3 AND attempts.expires <= $2
                    THEN attempts.count + 1 ELSE 1 END,
                expires = CASE WHEN attempts.expires > $3 AND attempts.expires <= $2
                    THEN attempts.expires ELSE $2 END",
        )
        .bind(&self.subject)
        .bind(now.saturating_add(self.period))
        .bind(now)
    }
}

impl Server {
    /// Counts an attempt before it is made, in one transaction, if all limits permit it.
    ///
    /// A refused attempt is not counted. The first limit is the one that the subjects of the others share.
    ///
    /// # Errors
    ///
    /// 429 when a limit is reached, and when the database fails.
    pub(crate) async fn count_attempt(&self, limits: &[Limit]) -> Result<(), ApiError> {
        let Some(shared) = limits.first() else { return Ok(()) };
        let now = self.now_i64()?;
        let reached: Vec<Query> = limits.iter().map(|limit| limit.reached(now)).collect();
        let count: Vec<Query> = limits.iter().map(|limit| limit.count(now)).collect();
        let counted = self.database.transaction(format!("attempts: {}", shared.subject), move |connection| {
            Box::pin(async move {
                for reached in reached {
                    if let Some(expires) = reached.scalar::<i64>(&mut *connection).await? {
                        let wait = Duration::from_secs(expires.saturating_sub(now).unsigned_abs());
                        return Err(ApiError::too_many(Some(wait)).with_reason("too_many_attempts"));
                    }
                }
                for count in count {
                    count.execute(&mut *connection).await?;
                }
                Ok(())
            })
        });
        counted.await
    }

    /// Releases an attempt that was right: the limits are on wrong ones. It releases no other attempt, so an attacker
    /// gets no further guesses by attempts with a phrase of their own. If the database fails, the attempt stays
    /// counted.
    pub(crate) async fn release_attempt(&self, limits: &[Limit]) {
        for limit in limits {
            let release = query("UPDATE attempts SET count = count - 1 WHERE subject = $1 AND count > 0");
            if let Err(error) = release.bind(&limit.subject).execute(&self.database).await {
                tracing::warn!(%error, "an attempt that was right stays counted");
            }
        }
    }
}
