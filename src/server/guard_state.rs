//! What remembers failures and spent codes: any store, chosen when the server is opened.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "redis")]
use crate::store::RedisStore;
use crate::store::{Admission, Database, Spend, SqlStore, Sqlite, Store, Throttle};
use crate::{BoxError, UserId};

type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send + 'a>>;

/// A [`Store`] that can also be looked into.
trait Open: Store {
    /// What an attempt would be told now. Nothing is counted.
    fn peek(
        &self,
        user: &UserId,
        throttle: &Throttle,
        now: Duration,
    ) -> impl Future<Output = Result<Admission, Self::Error>> + Send;

    /// Whether it is there and forgets nothing, if that is not known from the database.
    fn check(&self) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

impl<D: 'static> Open for SqlStore<D> {
    async fn peek(&self, user: &UserId, throttle: &Throttle, now: Duration) -> Result<Admission, Self::Error> {
        self.peek(user, throttle, now).await
    }

    async fn check(&self) -> Result<(), Self::Error> {
        Ok(())
    }
}

#[cfg(feature = "redis")]
impl Open for RedisStore {
    async fn peek(&self, user: &UserId, throttle: &Throttle, now: Duration) -> Result<Admission, Self::Error> {
        self.peek(user, throttle, now).await
    }

    async fn check(&self) -> Result<(), Self::Error> {
        self.check().await
    }
}

/// The same as an object.
trait Guard: Send + Sync {
    fn count<'a>(&'a self, user: &'a UserId, throttle: &'a Throttle, now: Duration) -> Answer<'a, Admission>;
    fn take_back<'a>(&'a self, user: &'a UserId, throttle: &'a Throttle) -> Answer<'a, ()>;
    fn spend<'a>(
        &'a self,
        user: &'a UserId,
        device: &'a str,
        step: u64,
        keep_until: Duration,
        now: Duration,
    ) -> Answer<'a, Spend>;
    fn clear<'a>(&'a self, user: &'a UserId) -> Answer<'a, ()>;
    fn peeked<'a>(&'a self, user: &'a UserId, throttle: &'a Throttle, now: Duration) -> Answer<'a, Admission>;
    fn checked(&self) -> Answer<'_, ()>;
}

impl<S: Open> Guard for S {
    fn count<'a>(&'a self, user: &'a UserId, throttle: &'a Throttle, now: Duration) -> Answer<'a, Admission> {
        Box::pin(async move { self.count_attempt(user, throttle, now).await.map_err(Into::into) })
    }

    fn take_back<'a>(&'a self, user: &'a UserId, throttle: &'a Throttle) -> Answer<'a, ()> {
        Box::pin(async move { self.take_back_attempt(user, throttle).await.map_err(Into::into) })
    }

    fn spend<'a>(
        &'a self,
        user: &'a UserId,
        device: &'a str,
        step: u64,
        keep_until: Duration,
        now: Duration,
    ) -> Answer<'a, Spend> {
        Box::pin(async move { self.spend_step(user, device, step, keep_until, now).await.map_err(Into::into) })
    }

    fn clear<'a>(&'a self, user: &'a UserId) -> Answer<'a, ()> {
        Box::pin(async move { self.clear_failures(user).await.map_err(Into::into) })
    }

    fn peeked<'a>(&'a self, user: &'a UserId, throttle: &'a Throttle, now: Duration) -> Answer<'a, Admission> {
        Box::pin(async move { Open::peek(self, user, throttle, now).await.map_err(Into::into) })
    }

    fn checked(&self) -> Answer<'_, ()> {
        Box::pin(async move { Open::check(self).await.map_err(Into::into) })
    }
}

/// The one that a server has. Clones share it.
#[derive(Clone)]
pub(super) struct GuardState {
    guard: Arc<dyn Guard>,
    place: Arc<str>,
}

impl GuardState {
    /// That of a server which keeps it with all else.
    pub(super) fn in_database(database: Database) -> Self {
        // Of which kind it is matters only to who opens one.
        Self { guard: Arc::new(SqlStore::<Sqlite>::on(database)), place: "the database".into() }
    }

    #[cfg(feature = "redis")]
    pub(super) fn in_redis(store: RedisStore) -> Self {
        Self { place: store.place().into(), guard: Arc::new(store) }
    }

    /// What tells it from that of a server which would count and spend elsewhere.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// What an attempt would be told now. Nothing is counted.
    pub(super) async fn peek(&self, user: &UserId, throttle: &Throttle, now: Duration) -> Result<Admission, BoxError> {
        self.guard.peeked(user, throttle, now).await
    }

    pub(super) async fn check(&self) -> Result<(), BoxError> {
        self.guard.checked().await
    }
}

impl Store for GuardState {
    type Error = BoxError;

    async fn count_attempt(&self, user: &UserId, throttle: &Throttle, now: Duration) -> Result<Admission, BoxError> {
        self.guard.count(user, throttle, now).await
    }

    async fn take_back_attempt(&self, user: &UserId, throttle: &Throttle) -> Result<(), BoxError> {
        self.guard.take_back(user, throttle).await
    }

    async fn spend_step(
        &self,
        user: &UserId,
        device: &str,
        step: u64,
        keep_until: Duration,
        now: Duration,
    ) -> Result<Spend, BoxError> {
        self.guard.spend(user, device, step, keep_until, now).await
    }

    async fn clear_failures(&self, user: &UserId) -> Result<(), BoxError> {
        self.guard.clear(user).await
    }
}
