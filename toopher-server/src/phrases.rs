//! The phrases that phones show now. A client without an account can register phones and request phrases, so their
//! number is limited. No client can delete the phrase of another phone before it expires; a client that fills the queue
//! of requests makes other phones wait, and then try again.

use std::collections::HashSet;
use std::sync::{self, Arc, PoisonError};
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{Instant, sleep_until, timeout};
use toopher_sql::{Database, SqlError, query};

use crate::api_error::ApiError;
use crate::models::Device;
use crate::pairing_phrase::{generate, normalize};

/// The maximum number of stored phrases. The oldest ones are deleted. It is more than [`INTERVAL`] permits within
/// [`PHRASE_LIFETIME`], so of one server, no phrase is deleted before it expires. It is small next to the 16.7 million
/// phrases, so that a mistyped phrase is rarely that of another phone.
const CAPACITY: i64 = 1 << 16;
/// How long a phrase can be used, in seconds.
const PHRASE_LIFETIME: i64 = 300;
/// The time between two new phrases, if more are requested. Requests wait in the order in which they arrive.
const INTERVAL: Duration = Duration::from_millis(5);
/// How much of this time is saved up while no phrase is requested: a burst of 200 phrases.
const BURST: Duration = Duration::from_secs(1);
/// How long a request waits for its turn.
const MAX_WAIT: Duration = Duration::from_secs(10);
/// The maximum number of requests that wait for their turn, each of another device. A request that waits occupies a
/// connection, and clients without an account can register devices.
const MAX_WAITING: usize = 100;
/// How long used and expired phrases are stored, in seconds, unless the phone shows another one, so that no other phone
/// gets one that a person remembers.
const KEEP: i64 = 24 * 60 * 60;

/// The phrases of a server. Clones share them.
#[derive(Clone)]
pub(crate) struct Phrases {
    database: Database,
    capacity: i64,
    /// When the next phrase is due. The lock is held while a phrase is stored, so a server uses one connection for it.
    next: Arc<Mutex<Instant>>,
    /// The devices whose requests wait, or are answered now.
    waiting: Arc<sync::Mutex<HashSet<String>>>,
}

/// A request in the queue. Dropping it removes it.
struct Waiting<'a> {
    queue: &'a sync::Mutex<HashSet<String>>,
    device: &'a str,
}

impl<'a> Waiting<'a> {
    /// Returns `None` if another request of the device waits, or too many requests wait.
    fn enter(queue: &'a sync::Mutex<HashSet<String>>, device: &'a str) -> Option<Self> {
        let mut devices = queue.lock().unwrap_or_else(PoisonError::into_inner);
        let entered = devices.len() < MAX_WAITING && devices.insert(device.to_owned());
        drop(devices);
        // Not `then_some`, whose value would be dropped, which removes the other request.
        entered.then(|| Self { queue, device })
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).remove(self.device);
    }
}

impl Phrases {
    /// In a shared database, and otherwise in memory: SQLite has one writer, and requests of unknown phones must not
    /// delay signed calls. Phrases in memory end with the process, and phones show new ones.
    pub(crate) async fn new(database: &Database) -> Result<Self, SqlError> {
        let database = if database.is_shared() { database.clone() } else { Database::in_memory().await? };
        Ok(Self { database, capacity: CAPACITY, next: Arc::new(Mutex::new(Instant::now())), waiting: Arc::default() })
    }

    /// Generates a phrase, which replaces the previous one of the device. Returns it and the time of its expiry.
    ///
    /// # Errors
    ///
    /// When the database fails, too many phones request phrases, or another request of the device waits.
    pub(crate) async fn show(&self, device: &Device, now: i64) -> Result<(String, i64), ApiError> {
        let _waiting = Waiting::enter(&self.waiting, &device.id).ok_or_else(too_many_phrases)?;
        let _turn = self.wait_for_turn().await.ok_or_else(too_many_phrases)?;
        let expires = now.saturating_add(PHRASE_LIFETIME);
        let (shown_on, capacity) = (device.clone(), self.capacity);
        let phrase = self.database.transaction(format!("phrases of {}", device.id), move |connection| {
            Box::pin(async move {
                let delete = query("DELETE FROM phrases WHERE device_id = $1").bind(&shown_on.id);
                delete.execute(&mut *connection).await?;
                for _ in 0..20 {
                    let phrase = generate()?;
                    // A phrase that another phone has shown last, within a day, is not used: a person may still
                    // remember it.
                    let number: Option<i64> = query(
                        "INSERT INTO phrases (phrase, device_id, device_name, device_created, expires)
                         VALUES ($1, $2, $3, $4, $5) ON CONFLICT (phrase) DO NOTHING RETURNING number",
                    )
                    .bind(&phrase)
                    .bind(&shown_on.id)
                    .bind(&shown_on.name)
                    .bind(shown_on.created)
                    .bind(expires)
                    .scalar(&mut *connection)
                    .await?;
                    if let Some(number) = number {
                        let oldest = query("DELETE FROM phrases WHERE number <= $1");
                        oldest.bind(number.saturating_sub(capacity)).execute(connection).await?;
                        return Ok(phrase);
                    }
                }
                Err(too_many_phrases())
            })
        });
        Ok((phrase.await?, expires))
    }

    /// Waits until the next phrase is due. Returns `None` if that takes too long.
    async fn wait_for_turn(&self) -> Option<MutexGuard<'_, Instant>> {
        let mut next = timeout(MAX_WAIT, self.next.lock()).await.ok()?;
        let due = Instant::now().checked_sub(BURST).map_or(*next, |earliest| earliest.max(*next));
        *next = due + INTERVAL;
        sleep_until(due).await;
        Some(next)
    }

    /// Uses up a phrase, and returns the device that shows it.
    pub(crate) async fn take(&self, phrase: &str, now: i64) -> Result<Option<Device>, SqlError> {
        let device = query(
            // A later expiry was stored while the clock was ahead.
            "UPDATE phrases SET expires = $1 WHERE phrase = $2 AND expires > $1 AND expires <= $3
             RETURNING device_id AS id, device_name AS name, device_created AS created",
        );
        device.bind(now).bind(normalize(phrase)).bind(now.saturating_add(PHRASE_LIFETIME)).one(&self.database).await
    }

    /// When the phrase that the device shows expires.
    pub(crate) async fn expiry(&self, device: &str, now: i64) -> Result<Option<i64>, SqlError> {
        let shown = query("SELECT expires FROM phrases WHERE device_id = $1 AND expires > $2 AND expires <= $3");
        shown.bind(device).bind(now).bind(now.saturating_add(PHRASE_LIFETIME)).scalar(&self.database).await
    }

    pub(crate) async fn delete_expired(&self, now: i64) -> Result<(), SqlError> {
        // A later expiry was stored while the clock was ahead.
        let expired = query("DELETE FROM phrases WHERE expires < $1 OR expires > $2");
        let expired = expired.bind(now.saturating_sub(KEEP)).bind(now.saturating_add(KEEP));
        expired.execute(&self.database).await.map(drop)
    }
}

fn too_many_phrases() -> ApiError {
    ApiError::too_many(Some(MAX_WAIT)).with_reason("too_many_phrases")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(number: u32) -> Device {
        Device { id: number.to_string(), name: "a phone".into(), created: 0 }
    }

    async fn phrases(capacity: i64) -> Phrases {
        Phrases { capacity, ..Phrases::new(&Database::in_memory().await.unwrap()).await.unwrap() }
    }

    async fn count(phrases: &Phrases) -> i64 {
        query("SELECT count(*) FROM phrases").scalar(&phrases.database).await.unwrap().unwrap()
    }

    #[tokio::test]
    async fn the_oldest_phrases_are_deleted_and_every_phone_gets_one() {
        let phrases = phrases(8).await;
        let mut shown = Vec::new();
        for number in 0..50 {
            shown.push(phrases.show(&device(number), 0).await.unwrap().0);
            assert!(count(&phrases).await <= 8);
        }
        for (number, phrase) in (0..).zip(&shown) {
            let taken = phrases.take(phrase, 1).await.unwrap();
            assert_eq!(taken.map(|device| device.id), (number >= 42).then(|| number.to_string()), "{number}");
        }
    }

    #[tokio::test]
    async fn a_phone_has_one_phrase_and_deletes_no_others() {
        let phrases = phrases(8).await;
        let (first, _) = phrases.show(&device(1), 0).await.unwrap();
        let mut of_other = String::new();
        for _ in 0..7 {
            of_other = phrases.show(&device(2), 0).await.unwrap().0;
        }
        assert_eq!(count(&phrases).await, 2);
        assert_eq!(phrases.expiry("1", 299).await.unwrap(), Some(300));
        assert_eq!(phrases.expiry("1", 300).await.unwrap(), None);
        assert_eq!(phrases.take(&first, 300).await.unwrap().map(|device| device.id), None);
        let spelled = format!(" {} ", first.to_uppercase().replace(' ', "  "));
        assert_eq!(phrases.take(&spelled, 299).await.unwrap().map(|device| device.id).as_deref(), Some("1"));
        assert_eq!(phrases.take(&first, 299).await.unwrap().map(|device| device.id), None);
        phrases.delete_expired(299 + KEEP).await.unwrap();
        assert_eq!(count(&phrases).await, 2);
        phrases.delete_expired(300 + KEEP).await.unwrap();
        assert_eq!(count(&phrases).await, 1);
        assert_eq!(phrases.take(&of_other, 1).await.unwrap().map(|device| device.id).as_deref(), Some("2"));
    }

    /// Within the lifetime of a phrase, others cannot delete it, however many they request.
    #[test]
    fn a_phrase_lives_longer_than_the_others_need_to_replace_it() {
        let lifetime = Duration::from_secs(PHRASE_LIFETIME.unsigned_abs());
        let admitted = (lifetime + BURST).as_millis() / INTERVAL.as_millis();
        assert!(admitted < CAPACITY.unsigned_abs().into());
    }

    #[tokio::test]
    async fn few_requests_wait_and_one_of_each_device() {
        use futures_util::FutureExt;
        let phrases = phrases(CAPACITY).await;
        let turn = phrases.next.lock().await;
        let devices: Vec<_> = (0..200).map(device).collect();
        let mut shown: Vec<_> = devices.iter().map(|device| Box::pin(phrases.show(device, 0))).collect();
        let answers: Vec<_> = shown.iter_mut().map(FutureExt::now_or_never).collect();
        let wait = answers.iter().take_while(|answer| answer.is_none()).count();
        assert_eq!(wait, MAX_WAITING);
        assert!(answers[wait..].iter().all(|answer| matches!(answer, Some(Err(_)))));
        // A dropped request waits no longer. A second one of a device is rejected.
        shown.truncate(10);
        for _ in 0..3 {
            assert!(phrases.show(&devices[9], 0).now_or_never().unwrap().is_err());
        }
        assert!(phrases.show(&devices[10], 0).now_or_never().is_none());
        drop(turn);
        assert!(futures_util::future::join_all(shown).await.iter().all(Result::is_ok));
        assert!(phrases.show(&devices[9], 0).await.is_ok());
        assert!(phrases.waiting.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn requests_wait_for_their_turn_and_not_longer_than_the_limit() {
        let phrases = phrases(CAPACITY).await;
        tokio::time::pause();
        let start = Instant::now();
        let turns = (0..5000).map(|_| async { phrases.wait_for_turn().await.is_some() });
        let admitted = futures_util::future::join_all(turns).await;
        let count = admitted.iter().filter(|admitted| **admitted).count();
        assert!((2000..2400).contains(&count), "{count}");
        assert!(start.elapsed() < MAX_WAIT + BURST);
    }
}
