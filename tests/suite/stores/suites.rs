//! The conformance suites of stores: each fault of a store fails the test for that fault, and a store without faults
//! passes that test.
use std::collections::HashMap;
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tower_toopher::UserId;
use tower_toopher::store::{
    Admission, ApprovalKey, ApprovalRef, ApprovalStore, BeginOutcome, EndReason, Failures, FindOutcome, MemoryStore,
    NewApproval, Records, StepOutcome, Store, StoreFull, Throttle, UsedStep,
};
use tower_toopher::test_util::{approvals, conformance};
use tower_toopher::time::UnixTime;
use tower_toopher::verify::ApprovalId;

/// The fault of a store.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Wrong {
    Nothing,
    /// The release of an attempt leaves the lock-out that the attempt caused.
    LockOutStays,
    /// A release reads and writes in two steps.
    ReleaseRaces,
    /// A count reads and writes in two steps.
    CountRaces,
    /// Recording a step reads and writes in two steps.
    SpendRaces,
    /// Times are cut to whole seconds.
    Seconds,
    /// Few failures are kept for as long as many.
    KeepsFew,
    /// A success deletes recent failures too.
    SuccessDeletesAll,
}

/// A store in two maps, each read and written under one lock, or under two.
#[derive(Clone)]
struct Maps {
    wrong: Wrong,
    failures: Arc<Mutex<HashMap<String, Counted>>>,
    steps: Arc<Mutex<Steps>>,
}

/// The failures of a user, and their number since the last success.
type Counted = (Failures, u32);

/// The last step of each device, and the time until which its record is kept.
type Steps = HashMap<(String, String), (u64, UnixTime)>;

/// A test of a suite.
type Test<S> = fn(&S);

impl Maps {
    fn new(wrong: Wrong) -> Self {
        Self { wrong, failures: Arc::default(), steps: Arc::default() }
    }

    fn cut(&self, time: UnixTime) -> UnixTime {
        if self.wrong == Wrong::Seconds { UnixTime::from_secs(time.as_secs()) } else { time }
    }

    fn succeed(&self, user: &UserId) {
        let mut all = self.failures.lock().unwrap();
        match all.get_mut(user.as_str()) {
            Some((failures, count)) if self.wrong != Wrong::SuccessDeletesAll => {
                failures.succeed();
                *count = 0;
            }
            _ => drop(all.remove(user.as_str())),
        }
    }

    fn change<T>(&self, user: &UserId, races: Wrong, change: impl FnOnce(&mut Counted) -> T) -> T {
        let key = user.as_str().to_owned();
        let mut all = self.failures.lock().unwrap();
        let mut counted = all.get(&key).copied().unwrap_or_default();
        if self.wrong == races {
            drop(all);
            // This waits for nothing, but another thread may run.
            std::thread::yield_now();
            all = self.failures.lock().unwrap();
        }
        let result = change(&mut counted);
        all.insert(key, counted);
        result
    }
}

impl Store for Maps {
    type Error = Infallible;

    async fn count_attempt(&self, user: &UserId, throttle: &Throttle, now: UnixTime) -> Result<Admission, Infallible> {
        Ok(self.change(user, Wrong::CountRaces, |(failures, count)| {
            if self.wrong == Wrong::KeepsFew && failures.is_expired(now) {
                *failures = Failures::default();
                for _ in 0..*count {
                    let _ = failures.try_record(throttle, now.saturating_sub(Duration::from_secs(1)));
                }
            }
            let admission = failures.try_record(throttle, self.cut(now));
            *count += u32::from(admission == Admission::Admitted);
            admission
        }))
    }

    async fn release_attempt(&self, user: &UserId, throttle: &Throttle) -> Result<(), Infallible> {
        self.change(user, Wrong::ReleaseRaces, |(failures, count)| {
            // No delay lasts until then.
            let locked_out = failures.is_blocked(UnixTime::from_secs(u64::MAX));
            if !locked_out || self.wrong != Wrong::LockOutStays {
                failures.release(throttle);
                *count = count.saturating_sub(1);
            }
        });
        Ok(())
    }

    async fn record_step(&self, user: &UserId, used: &UsedStep, now: UnixTime) -> Result<StepOutcome, Infallible> {
        let key = (user.as_str().to_owned(), used.device().to_owned());
        let mut all = self.steps.lock().unwrap();
        let kept = all.get(&key).copied();
        if self.wrong == Wrong::SpendRaces {
            drop(all);
            std::thread::yield_now();
            all = self.steps.lock().unwrap();
        }
        if kept.is_some_and(|(step, until)| until > now && step >= used.step()) {
            return Ok(StepOutcome::Replayed);
        }
        let keep_until = used.keep_until().max(kept.map_or(UnixTime::EPOCH, |(_, until)| until));
        all.insert(key, (used.step(), self.cut(keep_until)));
        self.succeed(user);
        Ok(StepOutcome::Fresh)
    }

    async fn clear(&self, user: &UserId, records: Records) -> Result<(), Infallible> {
        match records {
            Records::FailuresAndApprovals => self.succeed(user),
            Records::Failures => drop(self.failures.lock().unwrap().remove(user.as_str())),
            _ => {}
        }
        Ok(())
    }
}

/// Whether a test of a suite fails.
fn fails(test: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(test)).is_err()
}

#[test]
fn each_faulty_store_fails_the_test_for_its_fault() {
    let tests: [(Wrong, Test<Maps>); 7] = [
        (Wrong::LockOutStays, conformance::a_lock_out_is_released_with_its_attempt),
        (Wrong::ReleaseRaces, conformance::concurrent_releases_are_all_applied),
        (Wrong::CountRaces, conformance::concurrent_attempts_are_all_counted),
        (Wrong::SpendRaces, conformance::concurrent_steps_are_fresh_once),
        (Wrong::Seconds, conformance::times_are_finer_than_seconds),
        (Wrong::KeepsFew, conformance::small_counts_expire_after_a_month_and_not_before),
        (Wrong::SuccessDeletesAll, conformance::recent_failures_outlast_successes),
    ];
    for (wrong, test) in tests {
        assert!(fails(|| test(&Maps::new(wrong))), "{wrong:?} passes");
        assert!(!fails(|| test(&Maps::new(Wrong::Nothing))), "a store that is right fails the test for {wrong:?}");
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum WrongApprovals {
    /// Every request joins.
    JoinsAlways,
    /// An approval that began while the clock was ahead keeps its late end.
    KeepsTheEnd,
    /// A fresh step clears no approvals.
    StayAtAFreshStep,
    /// A replay clears approvals.
    GoAtAReplay,
    /// A fresh step clears approvals in a second operation.
    GoLater,
    /// Clearing failures clears approvals.
    GoWithFailures,
    /// Clearing both clears failures alone.
    StayWithBoth,
}

/// A memory store with faulty approvals, and another one.
#[derive(Clone)]
struct FaultyApprovals(WrongApprovals, MemoryStore, MemoryStore);

impl FaultyApprovals {
    fn new(wrong: WrongApprovals) -> Self {
        Self(wrong, MemoryStore::new(), MemoryStore::new())
    }
}

impl Store for FaultyApprovals {
    type Error = StoreFull;

    async fn count_attempt(&self, user: &UserId, throttle: &Throttle, now: UnixTime) -> Result<Admission, StoreFull> {
        self.1.count_attempt(user, throttle, now).await
    }

    async fn release_attempt(&self, user: &UserId, throttle: &Throttle) -> Result<(), StoreFull> {
        self.1.release_attempt(user, throttle).await
    }

    async fn record_step(&self, user: &UserId, used: &UsedStep, now: UnixTime) -> Result<StepOutcome, StoreFull> {
        let elsewhere = matches!(self.0, WrongApprovals::StayAtAFreshStep | WrongApprovals::GoLater);
        let store = if elsewhere { &self.2 } else { &self.1 };
        let outcome = store.record_step(user, used, now).await?;
        match (self.0, outcome) {
            (WrongApprovals::GoLater, StepOutcome::Fresh) => {
                // This waits for nothing, but another thread may run.
                std::thread::yield_now();
                self.1.clear(user, Records::Approvals).await?;
            }
            (WrongApprovals::GoAtAReplay, StepOutcome::Replayed) => self.1.clear(user, Records::Approvals).await?,
            _ => {}
        }
        Ok(outcome)
    }

    async fn clear(&self, user: &UserId, records: Records) -> Result<(), StoreFull> {
        let records = match (self.0, records) {
            (WrongApprovals::GoWithFailures, Records::Failures) => Records::FailuresAndApprovals,
            (WrongApprovals::StayWithBoth, Records::FailuresAndApprovals) => Records::Failures,
            _ => records,
        };
        self.1.clear(user, records).await
    }
}

impl ApprovalStore for FaultyApprovals {
    async fn begin_approval(
        &self,
        user: &UserId,
        approval: &NewApproval,
        throttle: &Throttle,
        now: UnixTime,
    ) -> Result<BeginOutcome, StoreFull> {
        let approval = match self.0 {
            WrongApprovals::JoinsAlways => approval.clone().with_joining(true),
            WrongApprovals::KeepsTheEnd => approval.clone().with_lifetime(Duration::MAX),
            _ => approval.clone(),
        };
        self.1.begin_approval(user, &approval, throttle, now).await
    }

    async fn set_approval_id(
        &self,
        user: &UserId,
        key: ApprovalKey,
        id: &ApprovalId,
        until: UnixTime,
    ) -> Result<bool, StoreFull> {
        self.1.set_approval_id(user, key, id, until).await
    }

    async fn find_approval(
        &self,
        user: &UserId,
        approval: &ApprovalRef,
        throttle: &Throttle,
        now: UnixTime,
    ) -> Result<FindOutcome, StoreFull> {
        self.1.find_approval(user, approval, throttle, now).await
    }

    async fn redeem_approval(
        &self,
        user: &UserId,
        approval: &ApprovalRef,
        throttle: &Throttle,
        now: UnixTime,
    ) -> Result<FindOutcome, StoreFull> {
        self.1.redeem_approval(user, approval, throttle, now).await
    }

    async fn end_approval(&self, user: &UserId, key: ApprovalKey, reason: EndReason) -> Result<(), StoreFull> {
        self.1.end_approval(user, key, reason).await
    }
}

#[test]
fn each_store_with_faulty_approvals_fails_the_test_for_its_fault() {
    macro_rules! tests {
        ($($wrong:ident: $test:ident),* $(,)?) => {
            [$((
                WrongApprovals::$wrong,
                approvals::$test as Test<FaultyApprovals>,
                approvals::$test as Test<MemoryStore>,
            )),*]
        };
    }
    let tests = tests![
        JoinsAlways: one_approval_is_pending_at_a_time,
        KeepsTheEnd: a_clock_that_jumped_does_not_keep_an_approval_pending_forever,
        StayAtAFreshStep: a_fresh_step_clears_approvals_and_a_replay_does_not,
        GoAtAReplay: a_fresh_step_clears_approvals_and_a_replay_does_not,
        GoLater: a_concurrent_step_clears_all_approvals,
        GoWithFailures: each_kind_of_records_is_cleared_alone,
        StayWithBoth: a_success_clears_failures_and_approvals,
    ];
    for (wrong, test, of_a_right_one) in tests {
        assert!(fails(|| test(&FaultyApprovals::new(wrong))), "{wrong:?} passes");
        assert!(!fails(|| of_a_right_one(&MemoryStore::new())), "a store that is right fails the test for {wrong:?}");
    }
}
