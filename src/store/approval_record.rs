use super::approval_limit::ApprovalLimit;
use super::approvals::{ApprovalKey, ApprovalRef, BeginOutcome, EndReason, NewApproval};
use super::encoding::{Reader, push_time};
use crate::time::UnixTime;
use crate::verify::ApprovalId;

/// The number of approvals with [`EndReason::Uncertain`] that count as one.
const UNCERTAIN_PER_ONE: u32 = 4;
/// The version of the bytes of [`ApprovalRecord`].
const VERSION: u8 = 1;

/// The approvals of one user, and the rules by which they are counted.
///
/// Every [`ApprovalStore`](super::ApprovalStore) keeps one record for each user with approvals, and changes it with
/// these methods. A store decides only how it keeps the record, and how it makes reading, changing and writing one
/// atomic step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApprovalRecord {
    /// How many approvals were requested since the last success.
    pub(super) count: u32,
    /// How many approvals ended with [`EndReason::Uncertain`].
    pub(super) uncertain: u32,
    /// When the last one began.
    pub(super) last: UnixTime,
    pub(super) open: Option<OpenApproval>,
}

/// The pending approval of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OpenApproval {
    pub(super) key: ApprovalKey,
    /// Only a request with the same hash may join.
    pub(super) binding_hash: [u8; 32],
    /// The verifier's id. `None` while the verifier requests the approval.
    pub(super) id: Option<ApprovalId>,
    /// When the approval expires.
    pub(super) until: UnixTime,
}

impl ApprovalRecord {
    /// Begins an approval, unless one is pending or the limit is reached.
    pub fn begin(&mut self, new: &NewApproval, now: UnixTime) -> BeginOutcome {
        self.open.take_if(|open| open.until <= now);
        // If the clock was set back, no approval is pending longer than its lifetime.
        self.last = self.last.min(now);
        let latest = now + new.lifetime;
        if let Some(open) = &mut self.open {
            open.until = open.until.min(latest);
            return match &open.id {
                Some(id) if new.joins && open.binding_hash == new.binding_hash => {
                    BeginOutcome::Join { key: open.key, id: id.clone(), until: open.until }
                }
                _ => BeginOutcome::AlreadyPending { retry_after: open.until.saturating_duration_since(now) },
            };
        }
        if now.saturating_duration_since(self.last) > new.limit.reset_after() {
            (self.count, self.uncertain) = (0, 0);
        }
        if self.count.saturating_add(self.uncertain / UNCERTAIN_PER_ONE) >= new.limit.max() {
            return BeginOutcome::LimitReached;
        }
        self.count += 1;
        self.last = now;
        let until = now + new.request_timeout.min(new.lifetime);
        self.open = Some(OpenApproval { key: new.key, binding_hash: new.binding_hash, id: None, until });
        BeginOutcome::Begun
    }

    /// Sets the verifier's id and the end of the pending approval. Returns whether it is the one with this key.
    #[must_use]
    pub fn set_id(&mut self, key: ApprovalKey, id: &ApprovalId, until: UnixTime) -> bool {
        match &mut self.open {
            Some(open) if open.key == key => {
                open.id = Some(id.clone());
                open.until = until;
                true
            }
            _ => false,
        }
    }

    /// Whether this approval is pending: with this key, hash and id.
    #[must_use]
    pub fn is_pending(&self, approval: &ApprovalRef, now: UnixTime) -> bool {
        let ApprovalRef { key, binding_hash, id } = approval;
        self.open.as_ref().is_some_and(|open| {
            open.key == *key && open.binding_hash == *binding_hash && open.id.as_ref() == Some(id) && open.until > now
        })
    }

    /// Ends the approval with this key, if it is the pending one.
    pub fn end(&mut self, key: ApprovalKey, reason: EndReason) {
        if !self.open.as_ref().is_some_and(|open| open.key == key) {
            return;
        }
        if reason != EndReason::Sent {
            self.count = self.count.saturating_sub(1);
        }
        if reason == EndReason::Uncertain {
            self.uncertain = self.uncertain.saturating_add(1);
        } else {
            self.open = None;
        }
    }

    /// Whether the record can be deleted.
    #[must_use]
    pub fn is_expired(&self, now: UnixTime) -> bool {
        let closed = self.open.as_ref().is_none_or(|open| open.until <= now);
        let uncounted = self.count == 0 && self.uncertain == 0;
        closed && (uncounted || now.saturating_duration_since(self.last) > ApprovalLimit::MAX_RESET_AFTER)
    }

    /// The record as bytes, for a store that keeps it as one value.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&self.count.to_be_bytes());
        bytes.extend_from_slice(&self.uncertain.to_be_bytes());
        push_time(&mut bytes, self.last);
        bytes.push(self.open.is_some().into());
        if let Some(open) = &self.open {
            bytes.extend_from_slice(open.key.as_bytes());
            bytes.extend_from_slice(&open.binding_hash);
            push_time(&mut bytes, open.until);
            // An id is never empty, so no text stands for none.
            bytes.extend_from_slice(open.id.as_ref().map_or("", ApprovalId::as_str).as_bytes());
        }
        bytes
    }

    /// Reads the bytes that [`to_bytes`](Self::to_bytes) returned. Returns `None` for other bytes, which a store must
    /// report as an error, and never treat as an empty record.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        if reader.u8()? != VERSION {
            return None;
        }
        let (count, uncertain, last) = (reader.u32()?, reader.u32()?, reader.time()?);
        if !reader.flag()? {
            return reader.rest().is_empty().then_some(Self { count, uncertain, last, open: None });
        }
        let (key, binding_hash, until) = (ApprovalKey::from_bytes(reader.array()?), reader.array()?, reader.time()?);
        let id = match std::str::from_utf8(reader.rest()).ok()? {
            "" => None,
            id => Some(ApprovalId::new(id).ok()?),
        };
        Some(Self { count, uncertain, last, open: Some(OpenApproval { key, binding_hash, id, until }) })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: UnixTime = UnixTime::from_secs(1_111_111_109);
    const SECOND: Duration = Duration::from_secs(1);
    const HOUR: Duration = Duration::from_secs(3600);

    fn key(number: u8) -> ApprovalKey {
        ApprovalKey::from_bytes([number; 16])
    }

    fn new(number: u8) -> NewApproval {
        NewApproval::new(key(number), [7; 32])
    }

    fn other_request(number: u8) -> NewApproval {
        NewApproval::new(key(number), [8; 32])
    }

    fn id(text: &str) -> ApprovalId {
        ApprovalId::new(text).unwrap()
    }

    #[test]
    fn one_approval_is_pending_at_a_time() {
        let mut record = ApprovalRecord::default();
        let (first, second) = (new(1), new(2));
        assert_eq!(record.begin(&first, NOW), BeginOutcome::Begun);
        // While the verifier requests the approval, no request can join: there is no id yet.
        let busy = BeginOutcome::AlreadyPending { retry_after: first.request_timeout };
        assert_eq!(record.begin(&second, NOW), busy);
        let with_id = |new: &NewApproval, text| ApprovalRef::new(new.key, new.binding_hash, id(text));
        assert!(!record.is_pending(&with_id(&first, "a"), NOW));
        assert!(!record.set_id(second.key, &id("x"), NOW + first.lifetime));
        assert!(record.set_id(first.key, &id("a"), NOW + first.lifetime));
        assert!(record.is_pending(&with_id(&first, "a"), NOW) && !record.is_pending(&with_id(&second, "a"), NOW));
        // Neither with another id nor for another request: an invented token redeems nothing.
        assert!(!record.is_pending(&with_id(&first, "b"), NOW));
        assert!(!record.is_pending(&with_id(&other_request(1), "a"), NOW));
        let until = NOW + first.lifetime;
        assert_eq!(record.begin(&second, NOW), BeginOutcome::Join { key: first.key, id: id("a"), until });
        for other in [other_request(2), new(2).with_joining(false)] {
            assert_eq!(record.begin(&other, NOW), BeginOutcome::AlreadyPending { retry_after: first.lifetime });
        }
        assert!(!record.is_pending(&with_id(&first, "a"), until));
        assert_eq!(record.begin(&second, until), BeginOutcome::Begun);
        record.end(first.key, EndReason::Sent);
        assert!(record.open.is_some(), "the first approval ended the second one");
    }

    #[test]
    fn the_limit_applies_to_the_time_since_the_last_success() {
        let mut record = ApprovalRecord::default();
        let limit = ApprovalLimit::new(2, HOUR).unwrap();
        let new = |number| new(number).with_limit(limit);
        for number in 0..2 {
            assert_eq!(record.begin(&new(number), NOW), BeginOutcome::Begun);
            record.end(key(number), EndReason::Sent);
        }
        assert_eq!(record.begin(&new(2), NOW), BeginOutcome::LimitReached);
        assert_eq!(record.begin(&new(2), NOW + HOUR), BeginOutcome::LimitReached);
        // Since the last approval, not since the last refusal.
        assert_eq!(record.begin(&new(2), NOW + HOUR + SECOND), BeginOutcome::Begun);
        assert_eq!(record.count, 1);
        record.end(key(2), EndReason::NotSent);
        assert_eq!((record.count, &record.open), (0, &None));
        // Unknown whether a push was sent: the user loses no approval, and no client can send another push at once.
        assert_eq!(record.begin(&new(3), NOW + HOUR + SECOND), BeginOutcome::Begun);
        record.end(key(3), EndReason::Uncertain);
        assert!(record.count == 0 && record.open.is_some());
        assert!(!record.is_expired(NOW + HOUR + SECOND));
        let later = NOW + HOUR + SECOND + new(3).request_timeout;
        assert_eq!(record.begin(&new(4), later), BeginOutcome::Begun);
        record.end(key(4), EndReason::NotSent);
        // This is limited too.
        for number in 5..12 {
            let now = later + Duration::from_secs(30 * u64::from(number));
            assert_eq!(record.begin(&new(number), now), BeginOutcome::Begun, "{number}");
            record.end(key(number), EndReason::Uncertain);
        }
        let now = later + Duration::from_secs(30 * 12);
        assert_eq!(record.begin(&new(12), now), BeginOutcome::LimitReached);
        assert!(!record.is_expired(now) && record.is_expired(now + ApprovalLimit::MAX_RESET_AFTER));
        assert_eq!(record.begin(&new(12), now + HOUR), BeginOutcome::Begun);
    }

    #[test]
    fn clocks_that_jump_neither_panic_nor_lock() {
        let end_of_time = UnixTime::from_duration(Duration::MAX);
        let mut record = ApprovalRecord::default();
        assert_eq!(record.begin(&new(1), end_of_time), BeginOutcome::Begun);
        let lifetime = new(2).lifetime;
        let pending = BeginOutcome::AlreadyPending { retry_after: lifetime };
        assert_eq!(record.begin(&new(2), UnixTime::EPOCH), pending);
        assert_eq!(record.begin(&new(2), UnixTime::EPOCH + lifetime), BeginOutcome::Begun);
        assert!(record.is_expired(end_of_time));
        // A limit that was reached while the clock was ahead is not reached for longer than any other.
        let mut record = ApprovalRecord { count: 100, last: end_of_time, ..ApprovalRecord::default() };
        assert_eq!(record.begin(&new(1), NOW), BeginOutcome::LimitReached);
        assert_eq!(record.begin(&new(1), NOW + 24 * HOUR + SECOND), BeginOutcome::Begun);
    }

    #[test]
    fn bytes_are_exact_and_nothing_else_is_a_record() {
        let mut record = ApprovalRecord::default();
        let mut records = vec![record.clone()];
        let _ = record.begin(&new(1), UnixTime::from_millis(1_111_111_109_123));
        records.push(record.clone());
        assert!(record.set_id(key(1), &id(&"\u{20ac}".repeat(85)), NOW));
        records.push(record.clone());
        record.end(key(1), EndReason::Uncertain);
        records.push(record);
        for record in records {
            let bytes = record.to_bytes();
            assert_eq!(ApprovalRecord::from_bytes(&bytes).as_ref(), Some(&record));
            let end_of_times = if record.open.is_some() { bytes.len().min(82) } else { bytes.len() };
            for length in 0..end_of_times {
                assert_eq!(ApprovalRecord::from_bytes(&bytes[..length]), None, "{length}");
            }
            assert_eq!(ApprovalRecord::from_bytes(&[&[2], &bytes[1..]].concat()), None);
        }
        assert_eq!(ApprovalRecord::from_bytes(&[&ApprovalRecord::default().to_bytes()[..], b"x"].concat()), None);
    }
}
