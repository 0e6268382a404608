//! What remembers failures and spent codes: any store, chosen when the server is opened.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::store::{Admission, Database, Spend, SqlStore, Sqlite, Store, Throttle};
use crate::{BoxError, UserId};

type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send + 'a>>;

/// A [`Store`] as an object, which can also be looked into.
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
    fn peek<'a>(&'a self, user: &'a UserId, throttle: &'a Throttle, now: Duration) -> Answer<'a, Admission>;
}

/// The one that a server has. Clones share it.
#[derive(Clone)]
pub(super) struct GuardState(Arc<dyn Guard>);

impl GuardState {
    /// That of a server which keeps it with all else.
    pub(super) fn in_database(database: Database) -> Self {
        // Of which kind it is matters only to who opens one.
        Self(Arc::new(SqlStore::<Sqlite>::on(database)))
    }

    /// What an attempt would be told now. Nothing is counted.
    pub(super) async fn peek(&self, user: &UserId, throttle: &Throttle, now: Duration) -> Result<Admission, BoxError> {
        self.0.peek(user, throttle, now).await
    }
}

impl<D: 'static> Guard for SqlStore<D> {
    fn count<'a>(&'a self, user: &'a UserId, throttle: &'a Throttle, now: Duration) -> Answer<'a, Admission> {
        Box::pin(async move { Ok(self.count_attempt(user, throttle, now).await?) })
    }

    fn take_back<'a>(&'a self, user: &'a UserId, throttle: &'a Throttle) -> Answer<'a, ()> {
        Box::pin(async move { Ok(self.take_back_attempt(user, throttle).await?) })
    }

    fn spend<'a>(
        &'a self,
        user: &'a UserId,
        device: &'a str,
        step: u64,
        keep_until: Duration,
        now: Duration,
    ) -> Answer<'a, Spend> {
        Box::pin(async move { Ok(self.spend_step(user, device, step, keep_until, now).await?) })
    }

    fn clear<'a>(&'a self, user: &'a UserId) -> Answer<'a, ()> {
        Box::pin(async move { Ok(self.clear_failures(user).await?) })
    }

    fn peek<'a>(&'a self, user: &'a UserId, throttle: &'a Throttle, now: Duration) -> Answer<'a, Admission> {
        Box::pin(async move { Ok(SqlStore::peek(self, user, throttle, now).await?) })
    }
}

impl Store for GuardState {
    type Error = BoxError;

    async fn count_attempt(&self, user: &UserId, throttle: &Throttle, now: Duration) -> Result<Admission, BoxError> {
        self.0.count(user, throttle, now).await
    }

    async fn take_back_attempt(&self, user: &UserId, throttle: &Throttle) -> Result<(), BoxError> {
        self.0.take_back(user, throttle).await
    }

    async fn spend_step(
        &self,
        user: &UserId,
        device: &str,
        step: u64,
        keep_until: Duration,
        now: Duration,
    ) -> Result<Spend, BoxError> {
        self.0.spend(user, device, step, keep_until, now).await
    }

    async fn clear_failures(&self, user: &UserId) -> Result<(), BoxError> {
        self.0.clear(user).await
    }
}
