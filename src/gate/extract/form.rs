use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http::request::Parts;
use http_body::Body;
use pin_project_lite::pin_project;

use super::{Extract, ExtractError, Header};
use crate::gate::body::{Collect, ReplayBody};
use crate::media::{self, UnreadableForm};
use crate::{BoxError, Otp};

const DEFAULT_LIMIT: usize = 64 * 1024;

/// Takes the OTP from a header or from a field of a form, `otp` by default.
///
/// A body is read only when its media type is `application/x-www-form-urlencoded`, in any spelling; any other body
/// goes on unread. At most [`limit`](Self::limit) bytes are read, whatever `Content-Length` says, and the inner
/// service gets the same bytes again, the OTP field among them.
///
/// A header and a field that agree are one OTP. Refused with 400, and never tried one by one: several fields, a
/// field and a header that differ, and a field whose name differs from the real one only in letter case or by
/// brackets (`OTP`, `otp[]`), because form readers disagree on whether it is the same field.
///
/// This type gives the inner service the body type that came in, which must be `From<Bytes>` (axum's `Body` and
/// `Full<Bytes>` are). Such a body cannot carry trailers, so a form with trailers is refused with 400.
/// [`wrapping`](Self::wrapping) lifts both.
///
/// How long a slow client may take is not decided here: put a time limit outside, such as tower-http's
/// `RequestBodyTimeoutLayer` or `TimeoutLayer`.
///
/// ```
/// use tower_toopher::HeaderOrForm;
///
/// let extractor = HeaderOrForm::default().field("code").limit(16 * 1024);
/// ```
#[must_use]
pub struct HeaderOrForm<R = InPlace> {
    header: Header,
    field: Arc<str>,
    limit: usize,
    rebuild: PhantomData<fn() -> R>,
}

impl<R> HeaderOrForm<R> {
    /// Sets the header. Default: `Toopher-OTP`.
    pub fn header(mut self, header: Header) -> Self {
        self.header = header;
        self
    }

    /// Sets the name of the form field, as it is once decoded. Default: `otp`.
    pub fn field(mut self, name: impl Into<Arc<str>>) -> Self {
        self.field = name.into();
        self
    }

    /// Sets how many bytes of a form are read at the most. Default: 65,536.
    ///
    /// This much memory can be held by each request that is under way, before its OTP has been looked at: a high
    /// limit lets few clients fill the memory. A form over the limit is refused with 413.
    pub fn limit(mut self, bytes: usize) -> Self {
        self.limit = bytes;
        self
    }
}

impl HeaderOrForm {
    /// Gives the inner service a [`ReplayBody`] around the body type that came in, which may then be any body with
    /// `Bytes` for data: hyper's `Incoming`, say, which nobody can build.
    pub fn wrapping(self) -> HeaderOrForm<Wrapped> {
        HeaderOrForm { header: self.header, field: self.field, limit: self.limit, rebuild: PhantomData }
    }
}

impl Default for HeaderOrForm {
    fn default() -> Self {
        Self { header: Header::default(), field: "otp".into(), limit: DEFAULT_LIMIT, rebuild: PhantomData }
    }
}

impl<R> Clone for HeaderOrForm<R> {
    fn clone(&self) -> Self {
        Self { header: self.header.clone(), field: self.field.clone(), limit: self.limit, rebuild: PhantomData }
    }
}

impl<R> fmt::Debug for HeaderOrForm<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeaderOrForm")
            .field("header", &self.header)
            .field("field", &self.field)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

impl<B, R> Extract<B> for HeaderOrForm<R>
where
    B: Body,
    B::Error: Into<BoxError>,
    R: Rebuild<B>,
{
    type Body = R::Body;
    type Future = ExtractForm<B, R>;

    fn extract(&self, parts: &mut Parts, body: B) -> Self::Future {
        // A header that is there and malformed ends it: no field may win over it unseen.
        let from_header = self.header.take(&mut parts.headers);
        let state = match (media::is_form(&parts.headers).map_err(unreadable), from_header) {
            (Ok(_), Err(error)) | (Err(error), _) => State::Ready { result: Some(Err(error)) },
            (Ok(false), Ok(otp)) => State::Ready { result: Some(Ok((otp, R::untouched(body)))) },
            (Ok(true), Ok(from_header)) => {
                State::Reading { collect: Collect::new(body, self.limit), from_header, field: Arc::clone(&self.field) }
            }
        };
        ExtractForm { state }
    }

    fn pass(&self, body: B) -> R::Body {
        R::untouched(body)
    }
}

/// How the inner service's body is made: [`InPlace`] or [`Wrapped`].
pub trait Rebuild<B>: sealed::Sealed {
    /// The body that the inner service gets.
    type Body;

    #[doc(hidden)]
    fn untouched(body: B) -> Self::Body;

    #[doc(hidden)]
    fn replay(bytes: Bytes, trailers: Option<HeaderMap>) -> Result<Self::Body, ExtractError>;
}

/// The inner service gets the body type that came in.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct InPlace;

/// The inner service gets a [`ReplayBody`].
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Wrapped;

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::InPlace {}
    impl Sealed for super::Wrapped {}
}

impl<B: From<Bytes>> Rebuild<B> for InPlace {
    type Body = B;

    fn untouched(body: B) -> B {
        body
    }

    fn replay(bytes: Bytes, trailers: Option<HeaderMap>) -> Result<B, ExtractError> {
        match trailers {
            None => Ok(bytes.into()),
            Some(_) => Err(ExtractError::UnreadableBody(
                "this body type cannot keep trailers: use HeaderOrForm::wrapping".into(),
            )),
        }
    }
}

impl<B> Rebuild<B> for Wrapped {
    type Body = ReplayBody<B>;

    fn untouched(body: B) -> ReplayBody<B> {
        ReplayBody::untouched(body)
    }

    fn replay(bytes: Bytes, trailers: Option<HeaderMap>) -> Result<ReplayBody<B>, ExtractError> {
        Ok(ReplayBody::replay(bytes, trailers))
    }
}

pin_project! {
    /// The future of [`HeaderOrForm`].
    pub struct ExtractForm<B, R>
    where
        R: Rebuild<B>,
    {
        #[pin]
        state: State<B, R::Body>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<B, Out> {
        Ready {
            result: Option<Result<(Option<Otp>, Out), ExtractError>>,
        },
        Reading {
            #[pin]
            collect: Collect<B>,
            from_header: Option<Otp>,
            field: Arc<str>,
        },
    }
}

impl<B, R: Rebuild<B>> fmt::Debug for ExtractForm<B, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExtractForm").finish_non_exhaustive()
    }
}

impl<B, R> Future for ExtractForm<B, R>
where
    B: Body,
    B::Error: Into<BoxError>,
    R: Rebuild<B>,
{
    type Output = Result<(Option<Otp>, R::Body), ExtractError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProj::Ready { result } => {
                Poll::Ready(result.take().unwrap_or_else(|| Err(ExtractError::UnreadableBody("polled twice".into()))))
            }
            StateProj::Reading { collect, from_header, field } => {
                let (bytes, trailers) = ready!(collect.poll(cx))?;
                let otp = match (from_header.take(), find_field(&bytes, field)?) {
                    (Some(header), Some(form)) if header != form => return Poll::Ready(Err(ExtractError::Ambiguous)),
                    (header, form) => header.or(form),
                };
                Poll::Ready(R::replay(bytes, trailers).map(|body| (otp, body)))
            }
        }
    }
}

fn unreadable(error: UnreadableForm) -> ExtractError {
    ExtractError::UnreadableBody(error.into())
}

/// Finds the one field called `field`. Pairs are split as the WHATWG parser does, and only those that may be it are
/// decoded.
fn find_field(form: &[u8], field: &str) -> Result<Option<Otp>, ExtractError> {
    let mut found = None;
    for pair in form.split(|&b| b == b'&') {
        let raw_name = pair.split(|&b| b == b'=').next().unwrap_or_default();
        let encoded = raw_name.iter().any(|b| matches!(b, b'%' | b'+'));
        if !encoded && !looks_like(raw_name, field) {
            continue;
        }
        let Some((name, value)) = form_urlencoded::parse(pair).next() else { continue };
        if name != field {
            if looks_like(name.as_bytes(), field) {
                return Err(ExtractError::Ambiguous);
            }
        } else if found.replace(value).is_some() {
            return Err(ExtractError::Ambiguous);
        }
    }
    found.map(|value| Otp::parse(value.as_bytes())).transpose().map_err(ExtractError::Malformed)
}

/// Whether some form reader would take a field called `name` for `field`.
fn looks_like(name: &[u8], field: &str) -> bool {
    let stem = name.split(|&b| b == b'[').next().unwrap_or_default();
    name == field.as_bytes() || stem.trim_ascii().eq_ignore_ascii_case(field.as_bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fields() {
        let find = |form: &str| find_field(form.as_bytes(), "otp");
        for one in [
            "otp=081804",
            "a=b&otp=081804",
            "&&otp=081804&",
            "otp=081+804",
            "otp=081%20804",
            "%6ftp=081804",
            "o%74p=%30%381804",
            "x=%zz&otp=081804&y=%",
            "notp=1&otp=081804&otpx=2&xotp=3",
            "otp=%20081804%0A",
        ] {
            assert_eq!(find(one).unwrap().unwrap().as_str(), "081804", "{one}");
        }
        for none in ["", "a=b", "otpx=081804", "o=t&p=081804", "x=otp=081804", "=081804", "&&&", "otp.x=1"] {
            assert!(find(none).unwrap().is_none(), "{none}");
        }
        for malformed in
            ["otp", "otp=", "otp=%20", "otp=None", "otp=%2B81804", "otp=%zz", "otp=%FF81804", "otp=1&x=081804"]
        {
            assert!(matches!(find(malformed), Err(ExtractError::Malformed(_))), "{malformed}");
        }
        for ambiguous in [
            "otp=000000&otp=081804",
            "otp=081804&otp=081804",
            "otp=&otp=081804",
            "otp=081804&%6Ftp=081804",
            "otp=081804&OTP=000000",
            "otp[]=081804",
            "otp=081804&otp[0]=1",
            "OTP=081804",
            "otp=081804&+otp=000000",
            "otp=081804&otp%5B%5D=000000",
        ] {
            assert!(matches!(find(ambiguous), Err(ExtractError::Ambiguous)), "{ambiguous}");
        }
    }

    proptest! {
        /// The reader never decodes more than it must, and still sees what the whole-form parser sees.
        #[test]
        fn agrees_with_the_reference_parser(form in "([otpOTPx=&%+\\[\\]0-9]|%6f|%74|otp=|081804){0,40}") {
            let named: Vec<_> = form_urlencoded::parse(form.as_bytes()).filter(|(name, _)| name == "otp").collect();
            match find_field(form.as_bytes(), "otp") {
                Ok(None) => prop_assert!(named.is_empty()),
                Ok(Some(otp)) => {
                    prop_assert_eq!(named.len(), 1);
                    prop_assert_eq!(Otp::parse(named[0].1.as_bytes()), Ok(otp));
                }
                Err(ExtractError::Malformed(_)) => prop_assert_eq!(named.len(), 1),
                Err(_) => prop_assert!(
                    named.len() > 1
                        || form_urlencoded::parse(form.as_bytes())
                            .any(|(name, _)| name != "otp" && looks_like(name.as_bytes(), "otp"))
                ),
            }
        }

        #[test]
        fn any_bytes_are_read_without_panic(form in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = find_field(&form, "otp");
        }
    }
}
