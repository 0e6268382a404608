use std::future::Future;

use http::HeaderValue;
use http::request::Parts;

use super::credentials::Credentials;
use super::error::ExtractError;

/// Finds the OTP of a request whose body is a `B`.
///
/// [`Header`](crate::Header) and [`HeaderOrForm`](crate::HeaderOrForm) cover the usual locations. Your own
/// implementation may read the OTP from anywhere if it follows the rules that the layer relies on: it reads a bounded
/// amount, removes nothing that the inner service needs, returns no OTP only when the request contains *none*, and
/// never selects one of several. The same applies to an approval token: an invalid one is an [`ExtractError`], not an
/// absent one.
///
/// ```
/// use std::future::{Ready, ready};
/// use http::request::Parts;
/// use tower_toopher::Otp;
/// use tower_toopher::middleware::{Credentials, Extract, ExtractError};
///
/// /// Reads the password of `Authorization: OTP <code>`.
/// #[derive(Clone)]
/// struct OtpScheme;
///
/// impl<B> Extract<B> for OtpScheme {
///     type Body = B;
///     type Future = Ready<Result<Credentials<B>, ExtractError>>;
///
///     fn extract(&self, parts: &mut Parts, body: B) -> Self::Future {
///         let mut lines = parts.headers.get_all("authorization").iter();
///         let otp = match (lines.next(), lines.next()) {
///             (_, Some(_)) => Err(ExtractError::Ambiguous),
///             (Some(line), None) => match line.as_bytes().strip_prefix(b"OTP ") {
///                 Some(code) => Otp::parse(code).map(Some).map_err(ExtractError::Malformed),
///                 None => Ok(None),
///             },
///             (None, None) => Ok(None),
///         };
///         ready(otp.map(|otp| Credentials::new(otp, body)))
///     }
///
///     fn pass(&self, body: B) -> B {
///         body
///     }
/// }
/// ```
pub trait Extract<B> {
    /// The body type of the inner service's request.
    type Body;
    /// Resolves to the credentials, with the body for the inner service.
    type Future: Future<Output = Result<Credentials<Self::Body>, ExtractError>>;

    /// Reads the credentials. The inner service receives `parts` as this function leaves them.
    fn extract(&self, parts: &mut Parts, body: B) -> Self::Future;

    /// The names of the request headers that contain the OTP, for `Vary`. Default: `*`, so that no cache uses a stored
    /// response for another request.
    fn vary(&self) -> HeaderValue {
        HeaderValue::from_static("*")
    }

    /// Converts the body of a request that is forwarded without verification. It must not read the body.
    fn pass(&self, body: B) -> Self::Body;
}
