//! The challenge of an OAuth resource server to whom the authentication behind a token is not enough (RFC 9470).

use std::fmt;
use std::time::Duration;

use http::HeaderValue;

/// Sends the client to its authorization server for a stronger or fresher authentication (RFC 9470): see
/// [`ToopherLayer::step_up`](crate::ToopherLayer::step_up).
///
/// Beside the gate's own challenge, a 401 `otp_required` then says
/// `Bearer error="insufficient_user_authentication"`, with the layer's [`max_age`](crate::ToopherLayer::max_age) in seconds.
/// A wrong code is answered as ever. Where no factor of earlier is taken (`max_age` is zero, as it is unless it is set, or a
/// [form may name the user](crate::ToopherLayer::identify_by_form)), nobody is sent away for one.
///
/// The client comes back with another access token. What checks that token, outside the gate, tells the gate by a
/// [`SecondFactor`](crate::SecondFactor) in the request's extensions, with the token's `auth_time`; the gate compares that
/// with `max_age`. Only a token whose `acr` is one of those that were asked for may lead to one.
///
/// ```
/// use std::convert::Infallible;
/// use std::time::{Duration, UNIX_EPOCH};
///
/// use bytes::Bytes;
/// use http::{Request, Response, StatusCode};
/// use http_body_util::Full;
/// use tower::{Layer, ServiceExt, service_fn};
/// use tower_toopher::{Attempt, DenyReason, Factor, SecondFactor, StepUp, ToopherLayer, UserId, Verdict};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let verifier = service_fn(|_: Attempt| async { Ok::<_, Infallible>(Verdict::Denied(DenyReason::OtpRequired)) });
/// let app = service_fn(|_: Request<Full<Bytes>>| async {
///     Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("paid")))
/// });
/// let guarded = ToopherLayer::new(verifier)
///     .action("pay")
///     .max_age(Duration::from_secs(300))
///     .step_up(StepUp::new().acr_values(["urn:example:mfa"])?)
///     .layer(app);
///
/// let alice = UserId::new("alice")?;
/// let request = || Request::post("/pay").extension(alice.clone());
/// let response = guarded.clone().oneshot(request().body(Full::default())?).await?;
/// assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
/// let challenges: Vec<_> = response.headers().get_all("www-authenticate").iter().collect();
/// assert_eq!(
///     challenges[1],
///     "Bearer error=\"insufficient_user_authentication\", \
///      error_description=\"A second factor is required\", \
///      acr_values=\"urn:example:mfa\", max_age=\"300\""
/// );
///
/// // What checks the new token has found `acr` and `auth_time` in it.
/// let auth_time = std::time::SystemTime::now() - Duration::from_secs(20);
/// let factor = SecondFactor::new(alice.clone(), "pay", Factor::Other("acr")).with_shown_at(auth_time);
/// let response = guarded.clone().oneshot(request().extension(factor).body(Full::default())?).await?;
/// assert_eq!(response.status(), StatusCode::OK);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct StepUp {
    acr_values: String,
}

impl StepUp {
    /// A challenge that asks for a fresh authentication of whatever kind.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the authentication context classes one of which the token must have, best first. Default: any will do.
    ///
    /// # Errors
    ///
    /// [`InvalidAcrValue`] when one of them is empty, or has a blank, a quote, a backslash or anything but printable ASCII
    /// in it.
    pub fn acr_values<A: AsRef<str>>(mut self, values: impl IntoIterator<Item = A>) -> Result<Self, InvalidAcrValue> {
        self.acr_values.clear();
        for value in values {
            let value = value.as_ref();
            if value.is_empty() || !value.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\')) {
                return Err(InvalidAcrValue);
            }
            if !self.acr_values.is_empty() {
                self.acr_values.push(' ');
            }
            self.acr_values.push_str(value);
        }
        Ok(self)
    }

    /// `WWW-Authenticate` (RFC 9470 section 3). None where no age is low enough: the client would be sent round for ever.
    pub(super) fn challenge(&self, max_age: Duration) -> Option<HeaderValue> {
        if max_age.is_zero() {
            return None;
        }
        let mut text = String::from(
            "Bearer error=\"insufficient_user_authentication\", error_description=\"A second factor is required\"",
        );
        if !self.acr_values.is_empty() {
            text += &format!(", acr_values=\"{}\"", self.acr_values);
        }
        text += &format!(", max_age=\"{}\"", max_age.as_secs());
        HeaderValue::try_from(text).ok()
    }
}

/// A text that cannot be an authentication context class reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InvalidAcrValue;

impl fmt::Display for InvalidAcrValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an acr value is printable ASCII without blanks, quotes and backslashes")
    }
}

impl std::error::Error for InvalidAcrValue {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_challenge_says() {
        let say = |step_up: StepUp, seconds| step_up.challenge(Duration::from_secs(seconds)).unwrap();
        let start =
            "Bearer error=\"insufficient_user_authentication\", error_description=\"A second factor is required\"";
        assert_eq!(StepUp::new().challenge(Duration::ZERO), None);
        assert_eq!(say(StepUp::new(), 5), format!("{start}, max_age=\"5\""));
        let both = StepUp::new().acr_values(["urn:a", "b"]).unwrap();
        assert_eq!(say(both.clone(), 5), format!("{start}, acr_values=\"urn:a b\", max_age=\"5\""));
        assert_eq!(say(both.acr_values(["c"]).unwrap(), 1), format!("{start}, acr_values=\"c\", max_age=\"1\""));
        for bad in ["", "a b", "a\"b", "a\\b", "a\r\nb", "caf\u{e9}"] {
            assert_eq!(StepUp::new().acr_values([bad]).unwrap_err(), InvalidAcrValue, "{bad:?}");
        }
    }
}
