//! The suites for stores of one's own: each way of being wrong makes the test fail that is there for it, and a store that
//! is right passes that test.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tower_toopher::store::{
    Admission, AskedPush, BeginPush, Failures, FoundPush, MemoryStore, NewPush, PushEnd, PushStore, Spend, Store,
    StoreFull, StoreId, Throttle, Ticket,
};
use tower_toopher::test_util::{conformance, pushes};
use tower_toopher::{ApprovalId, UserId};

/// What is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Wrong {
    Nothing,
    /// An attempt that is taken back leaves the lock-out that it brought.
    LockStays,
    /// What is taken back is read, and then written.
    TakeBackRaces,
    /// What is counted is read, and then written.
    CountRaces,
    /// What is spent is read, and then written.
    SpendRaces,
    /// Times are cut to whole seconds.
    Seconds,
    /// Few failures are kept for as long as many.
    KeepsFew,
}

/// A store in two maps, each read and written under one lock, or under two.
#[derive(Clone)]
struct Maps {
    wrong: Wrong,
    failures: Arc<Mutex<HashMap<String, Failures>>>,
    steps: Arc<Mutex<Steps>>,
}

/// The last one of each device, and until when it is kept.
type Steps = HashMap<(String, String), (u64, Duration)>;

/// A test of a suite.
type Test<S> = fn(&S);

impl Maps {
    fn new(wrong: Wrong) -> Self {
        Self { wrong, failures: Arc::default(), steps: Arc::default() }
    }

    fn cut(&self, time: Duration) -> Duration {
        if self.wrong == Wrong::Seconds { Duration::from_secs(time.as_secs()) } else { time }
    }

    fn change<T>(&self, user: &UserId, races: Wrong, change: impl FnOnce(&mut Failures) -> T) -> T {
        let key = user.as_str().to_owned();
        let mut all = self.failures.lock().unwrap();
        let mut failures = all.get(&key).copied().unwrap_or_default();
        if self.wrong == races {
            drop(all);
            // No wait, but the processor may go to another.
            std::thread::yield_now();
            all = self.failures.lock().unwrap();
        }
        let said = change(&mut failures);
        failures.until = self.cut(failures.until);
        all.insert(key, failures);
        said
    }
}

impl Store for Maps {
    type Error = Infallible;

    async fn count_attempt(&self, user: &UserId, throttle: &Throttle, now: Duration) -> Result<Admission, Infallible> {
        Ok(self.change(user, Wrong::CountRaces, |failures| {
            if self.wrong == Wrong::KeepsFew && failures.count > 0 && failures.until.is_zero() {
                failures.last = failures.last.max(now - Duration::from_secs(1));
            }
            failures.attempt(throttle, self.cut(now))
        }))
    }

    async fn take_back_attempt(&self, user: &UserId, throttle: &Throttle) -> Result<(), Infallible> {
        self.change(user, Wrong::TakeBackRaces, |failures| {
            let locked_out = failures.locked_out && self.wrong == Wrong::LockStays;
            failures.take_back(throttle);
            failures.locked_out |= locked_out;
        });
        Ok(())
    }

    async fn spend_step(
        &self,
        user: &UserId,
        device: &str,
        step: u64,
        keep_until: Duration,
        now: Duration,
    ) -> Result<Spend, Infallible> {
        let key = (user.as_str().to_owned(), device.to_owned());
        let mut all = self.steps.lock().unwrap();
        let kept = all.get(&key).copied();
        if self.wrong == Wrong::SpendRaces {
            drop(all);
            std::thread::yield_now();
            all = self.steps.lock().unwrap();
        }
        if kept.is_some_and(|(spent, until)| until > now && spent >= step) {
            return Ok(Spend::Replayed);
        }
        let keep_until = keep_until.max(kept.map_or(Duration::ZERO, |(_, until)| until));
        all.insert(key, (step, self.cut(keep_until)));
        self.failures.lock().unwrap().remove(user.as_str());
        Ok(Spend::Fresh)
    }

    async fn clear_failures(&self, user: &UserId) -> Result<(), Infallible> {
        self.failures.lock().unwrap().remove(user.as_str());
        Ok(())
    }
}

/// Whether a test of a suite fails.
fn fails(test: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(test)).is_err()
}

#[test]
fn each_way_of_being_wrong_fails_the_test_that_is_there_for_it() {
    let tests: [(Wrong, Test<Maps>); 6] = [
        (Wrong::LockStays, conformance::a_lock_out_is_taken_back_with_its_attempt),
        (Wrong::TakeBackRaces, conformance::of_what_is_taken_back_at_once_none_is_lost),
        (Wrong::CountRaces, conformance::of_counts_at_once_none_is_lost),
        (Wrong::SpendRaces, conformance::of_spends_at_once_none_is_fresh_twice),
        (Wrong::Seconds, conformance::times_are_finer_than_seconds),
        (Wrong::KeepsFew, conformance::few_failures_are_forgotten_after_a_month_and_not_before),
    ];
    for (wrong, test) in tests {
        assert!(fails(|| test(&Maps::new(wrong))), "{wrong:?} passes");
        assert!(!fails(|| test(&Maps::new(Wrong::Nothing))), "a store that is right fails the test for {wrong:?}");
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum WrongPushes {
    /// Whoever comes joins.
    JoinsAlways,
    /// An open one is waited for as long as it was meant to be when the clock stood ahead.
    KeepsThePlace,
    /// They stay when a step is spent.
    StayAtASpend,
    /// They are forgotten by a replay.
    GoAtAReplay,
    /// They are forgotten a moment after the step was spent.
    GoLater,
    /// They are forgotten with failures.
    GoWithFailures,
    /// What it spends in is another store than it says.
    SaysAnother,
}

/// A memory store whose pushes are wrong, and another one.
#[derive(Clone)]
struct Pushing(WrongPushes, MemoryStore, MemoryStore);

impl Pushing {
    fn new(wrong: WrongPushes) -> Self {
        Self(wrong, MemoryStore::new(), MemoryStore::new())
    }
}

impl Store for Pushing {
    type Error = StoreFull;

    fn count_attempt(
        &self,
        user: &UserId,
        throttle: &Throttle,
        now: Duration,
    ) -> impl Future<Output = Result<Admission, StoreFull>> + Send {
        self.1.count_attempt(user, throttle, now)
    }

    fn take_back_attempt(
        &self,
        user: &UserId,
        throttle: &Throttle,
    ) -> impl Future<Output = Result<(), StoreFull>> + Send {
        self.1.take_back_attempt(user, throttle)
    }

    async fn spend_step(
        &self,
        user: &UserId,
        device: &str,
        step: u64,
        keep_until: Duration,
        now: Duration,
    ) -> Result<Spend, StoreFull> {
        let elsewhere = matches!(self.0, WrongPushes::StayAtASpend | WrongPushes::GoLater);
        let store = if elsewhere { &self.2 } else { &self.1 };
        let spend = store.spend_step(user, device, step, keep_until, now).await?;
        match (self.0, spend) {
            (WrongPushes::GoLater, Spend::Fresh) => {
                // No wait, but the processor may go to another.
                std::thread::yield_now();
                self.1.clear_pushes(user).await?;
            }
            (WrongPushes::GoAtAReplay, Spend::Replayed) => self.1.clear_pushes(user).await?,
            _ => {}
        }
        Ok(spend)
    }

    async fn clear_failures(&self, user: &UserId) -> Result<(), StoreFull> {
        if self.0 == WrongPushes::GoWithFailures {
            self.1.clear_pushes(user).await?;
        }
        self.1.clear_failures(user).await
    }

    fn spends_in(&self) -> Option<&StoreId> {
        if self.0 == WrongPushes::SaysAnother { self.2.spends_in() } else { self.1.spends_in() }
    }
}

impl PushStore for Pushing {
    type Error = StoreFull;

    async fn begin_push(
        &self,
        user: &UserId,
        push: &NewPush,
        throttle: &Throttle,
        now: Duration,
    ) -> Result<BeginPush, StoreFull> {
        let mut push = push.clone();
        match self.0 {
            WrongPushes::JoinsAlways => push.joins = true,
            WrongPushes::KeepsThePlace => push.lifetime = Duration::MAX,
            _ => {}
        }
        self.1.begin_push(user, &push, throttle, now).await
    }

    fn keep_push(
        &self,
        user: &UserId,
        ticket: Ticket,
        id: &ApprovalId,
        until: Duration,
    ) -> impl Future<Output = Result<bool, StoreFull>> + Send {
        self.1.keep_push(user, ticket, id, until)
    }

    fn find_push(
        &self,
        user: &UserId,
        push: &AskedPush,
        throttle: &Throttle,
        now: Duration,
    ) -> impl Future<Output = Result<FoundPush, StoreFull>> + Send {
        self.1.find_push(user, push, throttle, now)
    }

    fn redeem_push(
        &self,
        user: &UserId,
        push: &AskedPush,
        throttle: &Throttle,
        now: Duration,
    ) -> impl Future<Output = Result<FoundPush, StoreFull>> + Send {
        self.1.redeem_push(user, push, throttle, now)
    }

    fn end_push(
        &self,
        user: &UserId,
        ticket: Ticket,
        end: PushEnd,
    ) -> impl Future<Output = Result<(), StoreFull>> + Send {
        self.1.end_push(user, ticket, end)
    }

    fn clear_pushes(&self, user: &UserId) -> impl Future<Output = Result<(), StoreFull>> + Send {
        self.1.clear_pushes(user)
    }

    fn keeps_in(&self) -> Option<&StoreId> {
        self.1.keeps_in()
    }
}

#[test]
fn each_way_of_being_wrong_about_pushes_fails_the_test_that_is_there_for_it() {
    macro_rules! tests {
        ($($wrong:ident: $test:ident),* $(,)?) => {
            [$((WrongPushes::$wrong, pushes::$test as Test<Pushing>, pushes::$test as Test<MemoryStore>)),*]
        };
    }
    let tests = tests![
        JoinsAlways: one_is_open_at_a_time,
        KeepsThePlace: a_clock_that_jumped_keeps_no_place_for_ever,
        StayAtASpend: a_fresh_step_forgets_pushes_and_a_replay_does_not,
        GoAtAReplay: a_fresh_step_forgets_pushes_and_a_replay_does_not,
        GoLater: of_pushes_that_are_kept_while_a_step_is_spent_none_is_left,
        GoWithFailures: clearing_failures_spares_pushes,
        SaysAnother: both_halves_and_all_clones_are_one_store,
    ];
    for (wrong, test, of_a_right_one) in tests {
        assert!(fails(|| test(&Pushing::new(wrong))), "{wrong:?} passes");
        assert!(!fails(|| of_a_right_one(&MemoryStore::new())), "a store that is right fails the test for {wrong:?}");
    }
}
