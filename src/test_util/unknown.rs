//! The suite "unknown is like wrong": whether responses tell an attacker which users exist.

use std::time::{Duration, Instant};

use http::{HeaderMap, StatusCode, header};

use crate::verify::{Otp, UserId};

/// A response, as a client sees it. The value of `Retry-After` is left out, since it depends on the clock.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    status: StatusCode,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

impl Seen {
    fn new(response: http::Response<Vec<u8>>) -> Self {
        let (parts, body) = response.into_parts();
        Self { status: parts.status, headers: sorted(&parts.headers), body }
    }
}

fn sorted(headers: &HeaderMap) -> Vec<(String, Vec<u8>)> {
    let value = |name: &header::HeaderName, value: &header::HeaderValue| {
        if name == header::RETRY_AFTER { Vec::new() } else { value.as_bytes().to_vec() }
    };
    let mut sorted: Vec<_> = headers.iter().map(|(name, v)| (name.as_str().to_owned(), value(name, v))).collect();
    sorted.sort();
    sorted
}

/// What a sequence of wrong OTPs of one user caused.
#[derive(Debug, PartialEq, Eq)]
struct Sequence {
    responses: Vec<Seen>,
    /// The operations of each attempt, on stores and networks.
    operations: Vec<u64>,
    /// The new rows of the whole sequence.
    rows: i64,
}

/// Sends `attempts` wrong OTPs of each user through a whole service, and panics unless each of the `unlike` users gets
/// what the `known` user gets, who has a factor: the same statuses, headers (except for the value of `Retry-After`) and
/// bodies in the same order, after as many operations, and with as many new rows.
///
/// Users who do not exist, have not enrolled, have removed their authenticator, or are disabled must be among `unlike`.
/// Choose `attempts` so that the service throttles the last ones. Every second OTP is digits, and every other one a
/// recovery code, neither of which may be right.
///
/// - `send` sends a request of a user with an OTP, and returns the whole response.
/// - `operations` returns how many operations of stores, databases and networks were performed so far. It replaces the
///   time, which no test can compare. The time of each sequence is printed.
/// - `rows` returns how many rows are stored. An implementation whose rows cannot be counted returns 0.
///
/// ```
/// use http::{Request, Response};
/// use tower::{Layer, ServiceExt};
/// use tower_toopher::test_util::{assert_unknown_is_like_wrong, block_on};
/// use tower_toopher::totp::{MemoryPairings, Pairing, Secret, Totp};
/// use tower_toopher::{ToopherLayer, TotpVerifier, UserId};
///
/// let (alice, bob, unknown) = (UserId::new("alice")?, UserId::new("bob")?, UserId::new("unknown")?);
/// let users = MemoryPairings::new();
/// users.insert(alice.clone(), Pairing::confirmed(Totp::new(Secret::generate()?)));
/// users.insert_user(bob.clone());
/// let inner = tower::service_fn(async |_: Request<String>| Ok::<_, String>(Response::new(bytes::Bytes::new())));
/// let service = ToopherLayer::new(TotpVerifier::new(users)?).layer(inner);
///
/// block_on(assert_unknown_is_like_wrong(
///     &alice,
///     &[bob, unknown],
///     8,
///     async |user, otp| {
///         let request = Request::builder().extension(user).header("Toopher-OTP", otp.as_str());
///         let response = service.clone().oneshot(request.body(String::new()).unwrap()).await.unwrap();
///         response.map(|body| body.to_vec())
///     },
///     || 0,
///     async || 0,
/// ));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Panics
///
/// When a response, an operation or a row shows that a user has no factor.
pub async fn assert_unknown_is_like_wrong(
    known: &UserId,
    unlike: &[UserId],
    attempts: usize,
    mut send: impl AsyncFnMut(UserId, Otp) -> http::Response<Vec<u8>>,
    mut operations: impl FnMut() -> u64,
    mut rows: impl AsyncFnMut() -> i64,
) {
    let wrong = ["000000", "0000-0000-0000-0000"].map(|otp| otp.parse::<Otp>().unwrap());
    let mut sequence = async |user: &UserId| {
        let (before, mut time) = (rows().await, Duration::ZERO);
        let (mut responses, mut counted) = (Vec::new(), Vec::new());
        for otp in wrong.iter().cycle().take(attempts) {
            let (count, start) = (operations(), Instant::now());
            let response = send(user.clone(), otp.clone()).await;
            time += start.elapsed();
            counted.push(operations() - count);
            assert!(!response.status().is_success(), "{user} was let in with a wrong OTP");
            responses.push(Seen::new(response));
        }
        println!("{user}: {attempts} wrong OTPs in {time:?}");
        Sequence { responses, operations: counted, rows: rows().await - before }
    };
    let expected = sequence(known).await;
    for user in unlike {
        assert_eq!(sequence(user).await, expected, "{user} differs from {known} with wrong OTPs");
    }
}
