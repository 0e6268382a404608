//! The bytes of records.

use std::time::Duration;

use crate::time::UnixTime;

/// Appends the time as seconds and nanoseconds, so that it is exact.
pub(super) fn push_time(bytes: &mut Vec<u8>, time: UnixTime) {
    bytes.extend_from_slice(&time.as_secs().to_be_bytes());
    bytes.extend_from_slice(&time.since_epoch().subsec_nanos().to_be_bytes());
}

/// Reads values from the front of a record.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn flag(&mut self) -> Option<bool> {
        match self.u8()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    pub(super) fn time(&mut self) -> Option<UnixTime> {
        let (seconds, nanos) = (self.array().map(u64::from_be_bytes)?, self.u32()?);
        (nanos < 1_000_000_000).then(|| UnixTime::from_duration(Duration::new(seconds, nanos)))
    }

    /// The rest of the record.
    pub(super) fn rest(self) -> &'a [u8] {
        self.0
    }
}
