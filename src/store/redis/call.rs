//! One call of the script: what it is given, and what its answer means.

use std::sync::LazyLock;
use std::time::Duration;

use data_encoding::HEXLOWER;
use redis::{Cmd, Value, cmd};
use sha1::{Digest, Sha1};

use crate::store::{Admission, MAX_IN_A_ROW, Throttle};

const SCRIPT: &str = include_str!("store.lua");
/// What the server knows it by.
static NAME: LazyLock<String> = LazyLock::new(|| HEXLOWER.encode(&Sha1::digest(SCRIPT)));

/// The last moment that there is: far enough that no sum of times leaves the numbers which Lua has exactly.
const LAST_MILLI: u64 = 1 << 52;

/// A verb and its arguments.
#[derive(Clone)]
pub(super) struct Call {
    keys: Vec<String>,
    /// The verb first.
    arguments: Vec<Vec<u8>>,
}

impl Call {
    /// A verb on the failures and the pushes of a user.
    pub(super) fn new(verb: &'static str, failures: String, pushes: String) -> Self {
        Self { keys: vec![failures, pushes], arguments: vec![verb.into()] }
    }

    /// The key of the user's failures.
    pub(super) fn failures(&self) -> &str {
        &self.keys[0]
    }

    /// What else of that user it is about.
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

    /// The time that it is now, or at which something began. Rounded down, so that nothing is over early.
    pub(super) fn now(self, time: Duration) -> Self {
        self.number(u64::try_from(time.as_millis()).map_or(LAST_MILLI, |millis| millis.min(LAST_MILLI)))
    }

    /// The time at which something ends, or how long it lasts. Rounded up.
    pub(super) fn until(self, time: Duration) -> Self {
        let millis = time.as_nanos().div_ceil(1_000_000);
        self.number(u64::try_from(millis).map_or(LAST_MILLI, |millis| millis.min(LAST_MILLI)))
    }

    /// All that a throttle says, its waits as a table, so that only [`Throttle`] knows how they grow.
    pub(super) fn throttle(self, throttle: &Throttle) -> Self {
        let mut delays: Vec<_> = (0..=MAX_IN_A_ROW).map(|count| throttle.delay_after(count)).collect();
        // The last one stands for all that follow.
        while let [.., before, last] = &*delays
            && before == last
        {
            delays.pop();
        }
        let call = self
            .until(Throttle::FORGET_AFTER)
            .number(Throttle::FEW)
            .until(Throttle::FORGET_FEW_AFTER)
            .until(throttle.max_delay())
            .number(throttle.lock_after())
            .number(delays.len() as u64);
        delays.into_iter().fold(call, Self::until)
    }

    /// The command that runs the script by its name; `number` is what its answer repeats.
    pub(super) fn by_name(&self, number: &str) -> Cmd {
        self.command("EVALSHA", &NAME, number)
    }

    /// The command that brings the script along, which the server keeps.
    pub(super) fn by_text(&self, number: &str) -> Cmd {
        self.command("EVAL", SCRIPT, number)
    }

    fn command(&self, name: &str, script: &str, number: &str) -> Cmd {
        let mut command = cmd(name);
        command.arg(script).arg(self.keys.len()).arg(&self.keys);
        if let Some((verb, arguments)) = self.arguments.split_first() {
            command.arg(verb).arg(number).arg(arguments);
        }
        command
    }
}

/// What a verb answers with: a word, and what belongs to it.
pub(super) type Read<T> = fn(&str, &[Value]) -> Option<T>;

/// Reads an answer to the call of this number; nothing if it is none.
///
/// The number is there so that an answer to another call is never taken for it, whatever mixed them up on the way.
pub(super) fn read<T>(value: &Value, number: &str, read: Read<T>) -> Option<T> {
    let Value::Array(items) = value else { return None };
    match &**items {
        [repeated, word, rest @ ..] if text(repeated)? == number => read(text(word)?, rest),
        _ => None,
    }
}

pub(super) fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        _ => None,
    }
}

pub(super) fn millis(value: &Value) -> Option<Duration> {
    match value {
        Value::Int(millis) => u64::try_from(*millis).ok().map(Duration::from_millis),
        _ => None,
    }
}

pub(super) fn admission(word: &str, rest: &[Value]) -> Option<Admission> {
    match (word, rest) {
        ("admitted", []) => Some(Admission::Admitted),
        ("throttled", [wait]) => Some(Admission::Throttled { retry_after: millis(wait)? }),
        ("locked_out", []) => Some(Admission::LockedOut),
        _ => None,
    }
}

/// Reads a verb whose only answer is that it has been done.
pub(super) fn only(expected: &'static str, word: &str, rest: &[Value]) -> Option<()> {
    (word == expected && rest.is_empty()).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(call: &Call) -> Vec<String> {
        call.arguments.iter().map(|argument| String::from_utf8(argument.clone()).unwrap()).collect()
    }

    fn call() -> Call {
        Call::new("count", "f".into(), "p".into())
    }

    #[test]
    fn waits_go_along_as_a_table() {
        let default = arguments(&call().throttle(&Throttle::default()));
        let expected = "count 31536000000 5 2592000000 3600000 100 13 0 0 0 0 0 30000 60000 120000 240000 480000 960000 1920000 3600000";
        assert_eq!(default.join(" "), expected);
        let one = Throttle::new(1, Duration::from_millis(1001), Duration::from_millis(1001), 3).unwrap();
        assert_eq!(arguments(&call().throttle(&one)).join(" "), "count 31536000000 5 2592000000 1001 3 2 0 1001");
    }

    #[test]
    fn times_are_exact_in_lua_and_rounded_to_the_safe_side() {
        let odd = Duration::new(1, 500_000);
        assert_eq!(arguments(&call().now(odd).until(odd))[1..], ["1000", "1001"]);
        let last = LAST_MILLI.to_string();
        assert_eq!(arguments(&call().now(Duration::MAX).until(Duration::MAX))[1..], [last.clone(), last]);
    }

    #[test]
    fn only_an_answer_to_this_very_call_is_one() {
        let bulk = |text: &str| Value::BulkString(text.into());
        let answer = |items: &[Value]| read(&Value::Array(items.to_vec()), "7", admission);
        assert_eq!(answer(&[bulk("7"), bulk("admitted")]), Some(Admission::Admitted));
        let wait = Admission::Throttled { retry_after: Duration::from_millis(1500) };
        assert_eq!(answer(&[bulk("7"), bulk("throttled"), Value::Int(1500)]), Some(wait));
        for odd in [
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
            assert_eq!(answer(odd), None, "{odd:?}");
        }
        for value in [Value::Nil, Value::Okay, Value::Int(1), Value::Boolean(true), bulk("admitted")] {
            assert_eq!(read(&value, "7", admission), None);
        }
    }
}
