//! Values of records as values of columns.

use toopher_sql::{Row, SqlError};

use crate::time::UnixTime;

/// Milliseconds since the epoch, rounded up, so that no delay ends early.
pub(super) fn millis(time: UnixTime) -> i64 {
    i64::try_from(time.since_epoch().as_nanos().div_ceil(1_000_000)).unwrap_or(i64::MAX)
}

/// Milliseconds since the epoch, rounded down, so that no record is deleted early.
pub(super) fn millis_floor(time: UnixTime) -> i64 {
    i64::try_from(time.since_epoch().as_millis()).unwrap_or(i64::MAX)
}

pub(super) fn from_millis(millis: i64) -> UnixTime {
    UnixTime::from_millis(u64::try_from(millis).unwrap_or(0))
}

/// A signed integer that is ordered as the unsigned one.
pub(super) fn order_preserving(step: u64) -> i64 {
    (step ^ (1 << 63)).cast_signed()
}

pub(super) fn count(row: &Row, column: &str) -> Result<u32, SqlError> {
    row.get::<i64>(column)?.try_into().map_err(|_| row.invalid("a count in the database is invalid"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_keep_their_order() {
        let steps = [0, 1, 37_037_036, i64::MAX as u64, 1 << 63, u64::MAX];
        assert!(steps.windows(2).all(|pair| order_preserving(pair[0]) < order_preserving(pair[1])));
    }
}
