//! A call of the script: its arguments, and the meaning of its reply.

use std::sync::LazyLock;
use std::time::Duration;

use data_encoding::HEXLOWER;
use redis::{Cmd, Value, cmd};
use sha1::{Digest, Sha1};

use crate::store::failures::Admission;
use crate::store::throttle::{MAX_FAILURES, Throttle};
use crate::time::UnixTime;

const SCRIPT: &str = include_str!("store.lua");
/// The name of the script at the server.
static HASH: LazyLock<String> = LazyLock::new(|| HEXLOWER.encode(&Sha1::digest(SCRIPT)));

/// The latest time and the longest duration: sums of these are numbers that Lua represents exactly.
const MAX_MILLIS: u64 = 1 << 52;

/// An operation and its arguments.
#[derive(Clone)]
pub(super) struct Call {
    keys: Vec<String>,
    /// The operation, then its arguments.
    arguments: Vec<Vec<u8>>,
}

impl Call {
    /// An operation on the failures and the approvals of a user.
    pub(super) fn new(operation: &'static str, failures: String, approvals: String) -> Self {
        Self { keys: vec![failures, approvals], arguments: vec![operation.into()] }
    }

    /// The key of the user's failures.
    pub(super) fn failures_key(&self) -> &str {
        &self.keys[0]
    }

    /// Adds another key of that user.
    pub(super) fn key(mut self, key: String) -> Self {
        self.keys.push(key);
        self
    }

    pub(super) fn text(mut self, text: impl Into<Vec<u8>>) -> Self {
        self.arguments.push(text.into());
        self
    }

    pub(super) fn number(self, number: impl Into<u64>) -> Self {
        self.text(number.into().to_string())
    }

    pub(super) fn flag(self, flag: bool) -> Self {
        self.text(if flag { "1" } else { "0" })
    }

    /// Adds the current time, or the time at which something began. Rounded down, so that nothing ends early.
    pub(super) fn time(self, time: UnixTime) -> Self {
        self.millis(time.since_epoch().as_millis())
    }

    /// Adds the time at which something ends. Rounded up.
    pub(super) fn until(self, time: UnixTime) -> Self {
        self.duration(time.since_epoch())
    }

    /// Adds a duration. Rounded up.
    pub(super) fn duration(self, duration: Duration) -> Self {
        self.millis(duration.as_nanos().div_ceil(1_000_000))
    }

    fn millis(self, millis: u128) -> Self {
        self.number(u64::try_from(millis).map_or(MAX_MILLIS, |millis| millis.min(MAX_MILLIS)))
    }

    /// Adds the limits of a throttle. The delays are a table, so that only [`Throttle`] computes how they grow.
    pub(super) fn throttle(self, throttle: &Throttle) -> Self {
        let mut delays: Vec<_> = (0..=MAX_FAILURES).map(|count| throttle.delay_after(count)).collect();
        // The last delay applies to all further failures.
        while let [.., before, last] = &*delays
            && before == last
        {
            delays.pop();
        }
        let call = self
            .duration(Throttle::COUNT_TTL)
            .number(Throttle::SMALL_COUNT)
            .duration(Throttle::SMALL_COUNT_TTL)
            .number(throttle.lock_after())
            .number(throttle.max_recent())
            .duration(throttle.recent_interval())
            .number(delays.len() as u64);
        delays.into_iter().fold(call, Self::duration)
    }

    /// The command that calls the script by its hash. The reply repeats `number`.
    pub(super) fn eval_sha(&self, number: &str) -> Cmd {
        self.command("EVALSHA", &HASH, number)
    }

    /// The command that contains the script. The server keeps the script.
    pub(super) fn eval(&self, number: &str) -> Cmd {
        self.command("EVAL", SCRIPT, number)
    }

    fn command(&self, name: &str, script: &str, number: &str) -> Cmd {
        let mut command = cmd(name);
        command.arg(script).arg(self.keys.len()).arg(&self.keys);
        if let Some((operation, arguments)) = self.arguments.split_first() {
            command.arg(operation).arg(number).arg(arguments);
        }
        command
    }
}

/// Parses the first word of a reply and the values after it.
pub(super) type Parse<T> = fn(&str, &[Value]) -> Option<T>;

/// Parses the reply to the call with this number. Returns `None` for every other value.
///
/// A reply to another call is never accepted, whatever mixed up the replies on the network.
pub(super) fn parse<T>(value: &Value, number: &str, parse: Parse<T>) -> Option<T> {
    let Value::Array(items) = value else { return None };
    match &**items {
        [repeated, word, rest @ ..] if parse_text(repeated)? == number => parse(parse_text(word)?, rest),
        _ => None,
    }
}

pub(super) fn parse_text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        _ => None,
    }
}

pub(super) fn parse_duration(value: &Value) -> Option<Duration> {
    match value {
        Value::Int(millis) => u64::try_from(*millis).ok().map(Duration::from_millis),
        _ => None,
    }
}

pub(super) fn parse_time(value: &Value) -> Option<UnixTime> {
    parse_duration(value).map(UnixTime::from_duration)
}

pub(super) fn parse_admission(word: &str, rest: &[Value]) -> Option<Admission> {
    match (word, rest) {
        ("admitted", []) => Some(Admission::Admitted),
        ("throttled", [wait]) => Some(Admission::Throttled { retry_after: parse_duration(wait)? }),
        ("locked_out", []) => Some(Admission::LockedOut),
        _ => None,
    }
}

/// Parses the reply of an operation that has only one.
pub(super) fn parse_only(expected: &'static str, word: &str, rest: &[Value]) -> Option<()> {
    (word == expected && rest.is_empty()).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(call: &Call) -> Vec<String> {
        call.arguments.iter().map(|argument| String::from_utf8(argument.clone()).unwrap()).collect()
    }

    fn call() -> Call {
        Call::new("count_attempt", "f".into(), "a".into())
    }

    #[test]
    fn delays_are_sent_as_a_table() {
        let default = arguments(&call().throttle(&Throttle::default()));
        let expected = "count_attempt 31536000000 5 2592000000 100 100 17280000 13 \
            0 0 0 0 0 30000 60000 120000 240000 480000 960000 1920000 3600000";
        assert_eq!(default.join(" "), expected);
        let one = Throttle::new(1, Duration::from_millis(1001), Duration::from_millis(1001), 3).unwrap();
        let expected = "count_attempt 31536000000 5 2592000000 3 100 17280000 2 0 1001";
        assert_eq!(arguments(&call().throttle(&one)).join(" "), expected);
    }

    #[test]
    fn times_are_exact_in_lua_and_rounded_to_the_safe_side() {
        let odd = UnixTime::from_duration(Duration::new(1, 500_000));
        assert_eq!(arguments(&call().time(odd).until(odd))[1..], ["1000", "1001"]);
        let (last, end_of_time) = (MAX_MILLIS.to_string(), UnixTime::from_duration(Duration::MAX));
        assert_eq!(arguments(&call().time(end_of_time).until(end_of_time))[1..], [last.clone(), last]);
    }

    #[test]
    fn only_a_valid_reply_to_this_call_is_accepted() {
        let bulk = |text: &str| Value::BulkString(text.into());
        let reply = |items: &[Value]| parse(&Value::Array(items.to_vec()), "7", parse_admission);
        assert_eq!(reply(&[bulk("7"), bulk("admitted")]), Some(Admission::Admitted));
        let wait = Admission::Throttled { retry_after: Duration::from_millis(1500) };
        assert_eq!(reply(&[bulk("7"), bulk("throttled"), Value::Int(1500)]), Some(wait));
        for invalid in [
            &[][..],
            &[bulk("7")],
            &[bulk("8"), bulk("admitted")],
            &[Value::Int(7), bulk("admitted")],
            &[bulk("7"), Value::SimpleString("admitted".into())],
            &[bulk("7"), bulk("Admitted")],
            &[bulk("7"), bulk("admitted"), Value::Nil],
            &[bulk("7"), bulk("throttled")],
            &[bulk("7"), bulk("throttled"), Value::Int(-1)],
            &[bulk("7"), bulk("throttled"), bulk("1500")],
            &[bulk("7"), Value::Nil],
            &[bulk("7"), Value::BulkString(vec![0xff])],
        ] {
            assert_eq!(reply(invalid), None, "{invalid:?}");
        }
        for value in [Value::Nil, Value::Okay, Value::Int(1), Value::Boolean(true), bulk("admitted")] {
            assert_eq!(parse(&value, "7", parse_admission), None);
        }
    }
}
