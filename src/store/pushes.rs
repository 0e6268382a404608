use std::time::Duration;

use super::{AskedPush, BeginPush, NewPush, PushBudget, PushEnd, Ticket};
use crate::ApprovalId;

/// So many of which nobody knows whether the phone was asked count for one.
const UNCERTAIN_FOR_ONE: u32 = 4;

/// The questions to the phone of one user, and the rules by which they are counted.
///
/// Every [`PushStore`](super::PushStore) keeps one of these for each user who has any, and changes it by these methods;
/// how it keeps the fields, and makes reading, changing and writing one atomic step, is its own. Times are since
/// 1970-01-01 00:00 UTC.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pushes {
    /// How many there were since the last success.
    pub count: u32,
    /// How many there were of which nobody knows whether the phone was asked.
    pub uncertain: u32,
    /// When the last one began.
    pub last: Duration,
    /// The one that is waited for.
    pub open: Option<OpenPush>,
}

/// A question to the phone that is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpenPush {
    /// Its own name.
    pub ticket: Ticket,
    /// What it is about, and from where: only an attempt that is the same in all of it may join.
    pub about: [u8; 32],
    /// The verifier's name of it; none while the call that asks is under way.
    pub id: Option<ApprovalId>,
    /// When it is over.
    pub until: Duration,
}

impl OpenPush {
    /// One that is kept by a store.
    #[must_use]
    pub fn new(ticket: Ticket, about: [u8; 32], id: Option<ApprovalId>, until: Duration) -> Self {
        Self { ticket, about, id, until }
    }
}

impl Pushes {
    /// Those that are kept by a store.
    #[must_use]
    pub fn new(count: u32, uncertain: u32, last: Duration, open: Option<OpenPush>) -> Self {
        Self { count, uncertain, last, open }
    }

    /// Takes the place for a new one, unless one is open or the budget is spent.
    pub fn begin(&mut self, new: &NewPush, now: Duration) -> BeginPush {
        self.open.take_if(|open| open.until <= now);
        // A clock that was set back must not make a wait longer than any wait is.
        self.last = self.last.min(now);
        let longest = now.saturating_add(new.lifetime);
        if let Some(open) = &mut self.open {
            open.until = open.until.min(longest);
            return match &open.id {
                Some(id) if new.joins && open.about == new.about => {
                    BeginPush::Join { ticket: open.ticket, id: id.clone(), until: open.until }
                }
                _ => BeginPush::AlreadyPending { retry_after: open.until.saturating_sub(now) },
            };
        }
        if now.saturating_sub(self.last) > new.budget.forget_after() {
            (self.count, self.uncertain) = (0, 0);
        }
        if self.count.saturating_add(self.uncertain / UNCERTAIN_FOR_ONE) >= new.budget.pushes() {
            return BeginPush::BudgetSpent;
        }
        self.count += 1;
        self.last = now;
        let until = now.saturating_add(new.starting_for.min(new.lifetime));
        self.open = Some(OpenPush { ticket: new.ticket, about: new.about, id: None, until });
        BeginPush::Begun
    }

    /// Remembers under which id the phone was asked; says whether the place is still that one's.
    #[must_use]
    pub fn asked(&mut self, ticket: Ticket, id: &ApprovalId, until: Duration) -> bool {
        match &mut self.open {
            Some(open) if open.ticket == ticket => {
                open.id = Some(id.clone());
                open.until = until;
                true
            }
            _ => false,
        }
    }

    /// Whether this one is waited for, under this name and for this request.
    #[must_use]
    pub fn is_open(&self, push: &AskedPush, now: Duration) -> bool {
        let AskedPush { ticket, about, id } = push;
        self.open.as_ref().is_some_and(|open| {
            open.ticket == *ticket && open.about == *about && open.id.as_ref() == Some(id) && open.until > now
        })
    }

    /// Ends this one, if it is waited for.
    pub fn end(&mut self, ticket: Ticket, end: PushEnd) {
        if !self.open.as_ref().is_some_and(|open| open.ticket == ticket) {
            return;
        }
        if end != PushEnd::Asked {
            self.count = self.count.saturating_sub(1);
        }
        if end == PushEnd::Uncertain {
            self.uncertain = self.uncertain.saturating_add(1);
        } else {
            self.open = None;
        }
    }

    /// Whether nothing of it matters any more.
    #[must_use]
    pub fn is_over(&self, now: Duration) -> bool {
        let closed = self.open.as_ref().is_none_or(|open| open.until <= now);
        closed && (self.count == 0 && self.uncertain == 0 || now.saturating_sub(self.last) > PushBudget::LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1_111_111_109);
    const SECOND: Duration = Duration::from_secs(1);

    fn new(ticket: u8) -> NewPush {
        NewPush::new(Ticket::from_bytes([ticket; 16]), [7; 32])
    }

    fn id(text: &str) -> ApprovalId {
        ApprovalId::new(text).unwrap()
    }

    #[test]
    fn one_is_open_at_a_time() {
        let mut pushes = Pushes::default();
        let (first, second) = (new(1), new(2));
        assert_eq!(pushes.begin(&first, NOW), BeginPush::Begun);
        // While the call is under way nobody can join: there is no id yet.
        let busy = BeginPush::AlreadyPending { retry_after: first.starting_for };
        assert_eq!(pushes.begin(&second, NOW), busy);
        let asked = |push: &NewPush, name| AskedPush::new(push.ticket, push.about, id(name));
        assert!(!pushes.is_open(&asked(&first, "a"), NOW));
        assert!(!pushes.asked(second.ticket, &id("x"), NOW + first.lifetime));
        assert!(pushes.asked(first.ticket, &id("a"), NOW + first.lifetime));
        assert!(pushes.is_open(&asked(&first, "a"), NOW) && !pushes.is_open(&asked(&second, "a"), NOW));
        // Not under another name, and not for another request: a challenge that somebody has made opens nothing.
        assert!(!pushes.is_open(&asked(&first, "b"), NOW));
        assert!(!pushes.is_open(&asked(&NewPush { about: [8; 32], ..new(1) }, "a"), NOW));
        let until = NOW + first.lifetime;
        assert_eq!(pushes.begin(&second, NOW), BeginPush::Join { ticket: first.ticket, id: id("a"), until });
        for other in [NewPush { about: [8; 32], ..new(2) }, NewPush { joins: false, ..new(2) }] {
            assert_eq!(pushes.begin(&other, NOW), BeginPush::AlreadyPending { retry_after: first.lifetime });
        }
        assert!(!pushes.is_open(&asked(&first, "a"), until));
        assert_eq!(pushes.begin(&second, until), BeginPush::Begun);
        pushes.end(first.ticket, PushEnd::Asked);
        assert!(pushes.open.is_some(), "it is no longer the first one's to end");
    }

    #[test]
    fn a_budget_is_for_the_time_since_the_last_success() {
        let mut pushes = Pushes::default();
        let budget = PushBudget::new(2, Duration::from_secs(3600)).unwrap();
        let new = |ticket| NewPush { budget, ..new(ticket) };
        for ticket in 0..2 {
            assert_eq!(pushes.begin(&new(ticket), NOW), BeginPush::Begun);
            pushes.end(Ticket::from_bytes([ticket; 16]), PushEnd::Asked);
        }
        assert_eq!(pushes.begin(&new(2), NOW), BeginPush::BudgetSpent);
        let hour = Duration::from_secs(3600);
        assert_eq!(pushes.begin(&new(2), NOW + hour), BeginPush::BudgetSpent);
        // Not from the last refusal on, but from the last push.
        assert_eq!(pushes.begin(&new(2), NOW + hour + SECOND), BeginPush::Begun);
        assert_eq!(pushes.count, 1);
        pushes.end(new(2).ticket, PushEnd::NotAsked);
        assert_eq!((pushes.count, &pushes.open), (0, &None));
        // Whether the phone rang is not known: it costs the user nothing, and nobody can have it ring again at once.
        assert_eq!(pushes.begin(&new(3), NOW + hour + SECOND), BeginPush::Begun);
        pushes.end(new(3).ticket, PushEnd::Uncertain);
        assert!(pushes.count == 0 && pushes.open.is_some());
        assert!(!pushes.is_over(NOW + hour + SECOND));
        let later = NOW + hour + SECOND + new(3).starting_for;
        assert_eq!(pushes.begin(&new(4), later), BeginPush::Begun);
        pushes.end(new(4).ticket, PushEnd::NotAsked);
        // But not without end.
        for ticket in 5..12 {
            let now = later + Duration::from_secs(30 * u64::from(ticket));
            assert_eq!(pushes.begin(&new(ticket), now), BeginPush::Begun, "{ticket}");
            pushes.end(new(ticket).ticket, PushEnd::Uncertain);
        }
        let now = later + Duration::from_secs(30 * 12);
        assert_eq!(pushes.begin(&new(12), now), BeginPush::BudgetSpent);
        assert!(!pushes.is_over(now) && pushes.is_over(now + PushBudget::LONGEST));
        assert_eq!(pushes.begin(&new(12), now + hour), BeginPush::Begun);
    }

    #[test]
    fn clocks_that_jump_neither_panic_nor_lock() {
        let mut pushes = Pushes::default();
        assert_eq!(pushes.begin(&new(1), Duration::MAX), BeginPush::Begun);
        assert_eq!(pushes.begin(&new(2), Duration::ZERO), BeginPush::AlreadyPending { retry_after: new(2).lifetime });
        assert_eq!(pushes.begin(&new(2), new(2).lifetime), BeginPush::Begun);
        assert!(pushes.is_over(Duration::MAX));
        // A budget that was spent while the clock stood ahead is not spent for as long.
        let mut pushes = Pushes::new(100, 0, Duration::MAX, None);
        assert_eq!(pushes.begin(&new(1), NOW), BeginPush::BudgetSpent);
        let day = Duration::from_secs(24 * 3600);
        assert_eq!(pushes.begin(&new(1), NOW + day + SECOND), BeginPush::Begun);
    }
}
