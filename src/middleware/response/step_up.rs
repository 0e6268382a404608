//! The challenge of an OAuth resource server that requires a stronger or fresher authentication (RFC 9470).

use std::time::Duration;

use http::HeaderValue;

use crate::error::{ConfigError, ConfigErrorKind};

/// Sends the client to its authorization server for a stronger or fresher authentication (RFC 9470): see
/// [`ToopherLayer::step_up`](crate::ToopherLayer::step_up).
///
/// A 401 `otp_required` then contains `Bearer error="insufficient_user_authentication"` besides the layer's own
/// challenge, with the layer's [`max_age`](crate::ToopherLayer::max_age) in seconds. The response to a wrong code does
/// not change. If no earlier factor is accepted (`max_age` is zero, the default), the client is not sent away, because
/// a new token would not help.
///
/// The client returns with another access token. The code that verifies that token, outside the layer, inserts a
/// [`SecondFactor`](crate::SecondFactor) into the request's extensions, with the token's `auth_time`, and the layer
/// compares that with `max_age`. It must do so only for a token whose `acr` is one of those requested.
///
/// ```
/// use std::convert::Infallible;
/// use std::time::Duration;
///
/// use bytes::Bytes;
/// use http::{Request, Response, StatusCode};
/// use http_body_util::Full;
/// use tower::{Layer, ServiceExt, service_fn};
/// use tower_toopher::middleware::StepUp;
/// use tower_toopher::time::UnixTime;
/// use tower_toopher::{Attempt, DenyReason, Factor, SecondFactor, ToopherLayer, UserId, Verdict};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let verifier = service_fn(|_: Attempt| async { Ok::<_, Infallible>(Verdict::Denied(DenyReason::OtpRequired)) });
/// let app = service_fn(|_: Request<Full<Bytes>>| async {
///     Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("paid")))
/// });
/// let service = ToopherLayer::new(verifier)
///     .action("pay")
///     .max_age(Duration::from_secs(300))
///     .step_up(StepUp::new().acr_values(["urn:example:mfa"])?)
///     .layer(app);
///
/// let alice = UserId::new("alice")?;
/// let request = || Request::post("/pay").extension(alice.clone());
/// let response = service.clone().oneshot(request().body(Full::default())?).await?;
/// assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
/// let challenges: Vec<_> = response.headers().get_all("www-authenticate").iter().collect();
/// assert_eq!(
///     challenges[1],
///     "Bearer error=\"insufficient_user_authentication\", \
///      error_description=\"A second factor is required\", \
///      acr_values=\"urn:example:mfa\", max_age=\"300\""
/// );
///
/// // The code that verifies the new token has found `acr` and `auth_time` in it.
/// let auth_time = UnixTime::try_from(std::time::SystemTime::now() - Duration::from_secs(20))?;
/// let factor = SecondFactor::new(alice.clone(), "pay", Factor::other("acr")?).with_auth_time(auth_time);
/// let response = service.clone().oneshot(request().extension(factor).body(Full::default())?).await?;
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
    /// A challenge for a fresh authentication of any kind.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the accepted authentication context classes, preferred first. Default: all are accepted.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when one of them is empty, or contains a blank, a quote, a backslash or anything but printable
    /// ASCII.
    pub fn acr_values<A: AsRef<str>>(mut self, values: impl IntoIterator<Item = A>) -> Result<Self, ConfigError> {
        self.acr_values.clear();
        for value in values {
            let value = value.as_ref();
            if value.is_empty() || !value.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\')) {
                return Err(ConfigError::new(ConfigErrorKind::AcrValue));
            }
            if !self.acr_values.is_empty() {
                self.acr_values.push(' ');
            }
            self.acr_values.push_str(value);
        }
        Ok(self)
    }

    /// The challenge (RFC 9470 section 3). `None` if no age is accepted, because the client would be redirected
    /// endlessly.
    pub(in crate::middleware) fn challenge(&self, max_age: Duration) -> Option<HeaderValue> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges() {
        let challenge = |step_up: StepUp, seconds| step_up.challenge(Duration::from_secs(seconds)).unwrap();
        let start =
            "Bearer error=\"insufficient_user_authentication\", error_description=\"A second factor is required\"";
        assert_eq!(StepUp::new().challenge(Duration::ZERO), None);
        assert_eq!(challenge(StepUp::new(), 5), format!("{start}, max_age=\"5\""));
        let both = StepUp::new().acr_values(["urn:a", "b"]).unwrap();
        assert_eq!(challenge(both.clone(), 5), format!("{start}, acr_values=\"urn:a b\", max_age=\"5\""));
        assert_eq!(challenge(both.acr_values(["c"]).unwrap(), 1), format!("{start}, acr_values=\"c\", max_age=\"1\""));
        for bad in ["", "a b", "a\"b", "a\\b", "a\r\nb", "caf\u{e9}"] {
            assert_eq!(StepUp::new().acr_values([bad]).unwrap_err().kind(), ConfigErrorKind::AcrValue, "{bad:?}");
        }
    }
}
