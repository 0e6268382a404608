//! Where the OTP of a request is found.

mod fields;
mod form;
mod header;

use std::fmt;
use std::future::Future;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue};

pub use self::form::{ExtractForm, HeaderOrForm, InPlace, Rebuild, Wrapped};
pub use self::header::Header;
use crate::{BoxError, Challenge, Otp, ParseOtpError};

/// Finds the OTP of a request whose body is a `B`.
///
/// [`Header`] and [`HeaderOrForm`] cover the usual places. One's own may look anywhere, as long as it keeps the rules
/// that the gate relies on: it reads a bounded amount, takes nothing away that the inner service needs, answers
/// `Ok(None)` only when the request has *no* OTP at all, and never picks one of several.
///
/// ```
/// use std::future::{Ready, ready};
/// use http::request::Parts;
/// use tower_toopher::{Extract, ExtractError, Extracted, Otp};
///
/// /// Takes the password of `Authorization: OTP <code>`.
/// #[derive(Clone)]
/// struct OtpScheme;
///
/// impl<B> Extract<B> for OtpScheme {
///     type Body = B;
///     type Future = Ready<Result<Extracted<B>, ExtractError>>;
///
///     fn extract(&self, parts: &mut Parts, body: B) -> Self::Future {
///         let mut lines = parts.headers.get_all("authorization").iter();
///         let found = match (lines.next(), lines.next()) {
///             (_, Some(_)) => Err(ExtractError::Ambiguous),
///             (Some(one), None) => match one.as_bytes().strip_prefix(b"OTP ") {
///                 Some(code) => Otp::parse(code).map(Some).map_err(ExtractError::Malformed),
///                 None => Ok(None),
///             },
///             (None, None) => Ok(None),
///         };
///         ready(found.map(|otp| Extracted::new(otp, body)))
///     }
///
///     fn pass(&self, body: B) -> B {
///         body
///     }
/// }
/// ```
pub trait Extract<B> {
    /// The body that the inner service gets.
    type Body;
    /// Resolves to what was found, and the body for the inner service.
    type Future: Future<Output = Result<Extracted<Self::Body>, ExtractError>>;

    /// Looks for the OTP. `parts` go on to the inner service as they are left here.
    fn extract(&self, parts: &mut Parts, body: B) -> Self::Future;

    /// Converts the body of a request that is let through unasked. Nothing of it may be read.
    fn pass(&self, body: B) -> Self::Body;
}

/// What an [`Extract`] has found in a request.
#[derive(Debug)]
#[must_use]
pub struct Extracted<B> {
    pub(in crate::gate) otp: Option<Otp>,
    pub(in crate::gate) challenge: Option<Challenge>,
    pub(in crate::gate) user: Option<Box<str>>,
    pub(in crate::gate) whole: Option<Bytes>,
    pub(in crate::gate) body: B,
}

impl<B> Extracted<B> {
    /// The OTP, if the request has one, and the body for the inner service.
    pub fn new(otp: Option<Otp>, body: B) -> Self {
        Self { otp, challenge: None, user: None, whole: None, body }
    }

    /// Sets the challenge that stood beside the OTP, in a form say. Default: none. The gate itself looks into the
    /// header `Toopher-Challenge`.
    pub fn with_challenge(mut self, challenge: Option<Challenge>) -> Self {
        self.challenge = challenge;
        self
    }

    /// Sets the name that somebody has typed into a form. Default: none. It proves nothing: see
    /// [`ToopherLayer::identify_by_form`](crate::ToopherLayer::identify_by_form).
    pub fn with_user(mut self, typed: Option<Box<str>>) -> Self {
        self.user = typed;
        self
    }

    /// Sets the whole body of the request, without the fields of the OTP and of the challenge. Default: none, for one
    /// that was not read; no approval is asked for with such a request, since it could not be bound to it.
    pub fn with_whole_body(mut self, body: Option<Bytes>) -> Self {
        self.whole = body;
        self
    }
}

/// Takes the one line called `name` out of `headers`: of two, or of two joined on the way (RFC 9110 section 5.3), none is
/// picked. Taken out first, so that nothing behind the gate, and no hook that answers a refused request, logs it.
pub(super) fn take_line(headers: &mut HeaderMap, name: &HeaderName) -> Result<Option<HeaderValue>, ExtractError> {
    let before = headers.len();
    let Some(line) = headers.remove(name) else { return Ok(None) };
    // All lines of the name are gone, and the first of them is told.
    let lines = before - headers.len();
    if lines > 1 || line.as_bytes().contains(&b',') { Err(ExtractError::Ambiguous) } else { Ok(Some(line)) }
}

/// What stands in a header and in a form, which must agree.
pub(super) fn one_of<T: PartialEq>(header: Option<T>, form: Option<T>) -> Result<Option<T>, ExtractError> {
    match (header, form) {
        (Some(header), Some(form)) if header != form => Err(ExtractError::Ambiguous),
        (header, form) => Ok(header.or(form)),
    }
}

/// Why no OTP could be had from a request, although one may be in it.
///
/// The gate refuses such a request without asking the verifier, so it costs the user no attempt: nothing was guessed.
#[derive(Debug)]
#[non_exhaustive]
pub enum ExtractError {
    /// There is one, and it is empty or not spelt like an OTP: 401.
    Malformed(ParseOtpError),
    /// There are several, or one in a place that readers could take differently: 400.
    Ambiguous,
    /// The body broke off, or cannot be read as what it says it is: 400.
    UnreadableBody(BoxError),
    /// The body is larger than the extractor reads: 413.
    BodyTooLarge,
}

impl fmt::Display for ExtractError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed(_) => "the one-time password is malformed",
            Self::Ambiguous => "the request has more than one one-time password",
            Self::UnreadableBody(_) => "the request body cannot be read",
            Self::BodyTooLarge => "the request body is too large",
        })
    }
}

impl std::error::Error for ExtractError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Malformed(error) => Some(error),
            Self::UnreadableBody(error) => Some(&**error),
            Self::Ambiguous | Self::BodyTooLarge => None,
        }
    }
}
