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

use super::fields::FieldNames;
use super::{Extract, ExtractError, Extracted, Header, one_of};
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
/// A form may also hold the challenge of an approval that is waited for, in the field `toopher_challenge`, so that a page
/// without scripts can send it; and the name of the user ([`user_field`](Self::user_field)). The same rules hold for
/// these fields.
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
    fields: Arc<FieldNames>,
    limit: usize,
    any_body: bool,
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
        Arc::make_mut(&mut self.fields).otp = name.into();
        self
    }

    /// Sets the name of the form field that holds the challenge. Default: `toopher_challenge`.
    pub fn challenge_field(mut self, name: impl Into<Arc<str>>) -> Self {
        Arc::make_mut(&mut self.fields).challenge = name.into();
        self
    }

    /// Sets the name of the form field that names the user. Default: none is read. It is of use only with
    /// [`ToopherLayer::identify_by_form`](crate::ToopherLayer::identify_by_form), which says what it opens.
    pub fn user_field(mut self, name: impl Into<Arc<str>>) -> Self {
        Arc::make_mut(&mut self.fields).user = Some(name.into());
        self
    }

    /// Reads bodies of every type, and not only forms, unless the OTP is in the header. Default: only forms are read.
    ///
    /// An approval is bound to the whole request, so without this no approval is asked for with a JSON body, say. What
    /// [`limit`](Self::limit) says of memory then holds for every body.
    pub fn any_body(mut self) -> Self {
        self.any_body = true;
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
        let Self { header, fields, limit, any_body, .. } = self;
        HeaderOrForm { header, fields, limit, any_body, rebuild: PhantomData }
    }
}

impl Default for HeaderOrForm {
    fn default() -> Self {
        Self {
            header: Header::default(),
            fields: Arc::default(),
            limit: DEFAULT_LIMIT,
            any_body: false,
            rebuild: PhantomData,
        }
    }
}

impl<R> Clone for HeaderOrForm<R> {
    fn clone(&self) -> Self {
        Self {
            header: self.header.clone(),
            fields: Arc::clone(&self.fields),
            limit: self.limit,
            any_body: self.any_body,
            rebuild: PhantomData,
        }
    }
}

impl<R> fmt::Debug for HeaderOrForm<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeaderOrForm")
            .field("header", &self.header)
            .field("fields", &self.fields)
            .field("limit", &self.limit)
            .field("any_body", &self.any_body)
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
            (Ok(true), Ok(from_header)) => State::Reading {
                collect: Collect::new(body, self.limit),
                from_header,
                fields: Some(Arc::clone(&self.fields)),
            },
            (Ok(false), Ok(None)) if self.any_body && !body.is_end_stream() => {
                State::Reading { collect: Collect::new(body, self.limit), from_header: None, fields: None }
            }
            (Ok(false), Ok(otp)) => {
                let whole = body.is_end_stream().then(Bytes::new);
                State::Ready { result: Some(Ok(Extracted::new(otp, R::untouched(body)).with_whole_body(whole))) }
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
            result: Option<Result<Extracted<Out>, ExtractError>>,
        },
        Reading {
            #[pin]
            collect: Collect<B>,
            from_header: Option<Otp>,
            // None for a body that is no form.
            fields: Option<Arc<FieldNames>>,
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
    type Output = Result<Extracted<R::Body>, ExtractError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProj::Ready { result } => {
                Poll::Ready(result.take().unwrap_or_else(|| Err(ExtractError::UnreadableBody("polled twice".into()))))
            }
            StateProj::Reading { collect, from_header, fields } => {
                let (bytes, trailers) = ready!(collect.poll(cx))?;
                Poll::Ready(read::<B, R>(bytes, trailers, from_header.take(), fields.as_deref()))
            }
        }
    }
}

fn read<B, R: Rebuild<B>>(
    bytes: Bytes,
    trailers: Option<HeaderMap>,
    from_header: Option<Otp>,
    fields: Option<&FieldNames>,
) -> Result<Extracted<R::Body>, ExtractError> {
    let Some(names) = fields else {
        // Trailers are no part of what an approval can be bound to.
        let whole = trailers.is_none().then(|| bytes.clone());
        return Ok(Extracted::new(None, R::replay(bytes, trailers)?).with_whole_body(whole));
    };
    let found = names.find(&bytes)?;
    let (otp, challenge) = (one_of(from_header, found.otp)?, found.challenge);
    // Needed only where an approval is: asked for, or fetched.
    let bindable = trailers.is_none() && (otp.is_none() || challenge.is_some());
    let whole = bindable.then(|| names.without_own(&bytes, otp.is_some() || challenge.is_some()));
    let body = R::replay(bytes, trailers)?;
    Ok(Extracted::new(otp, body).with_challenge(challenge).with_user(found.user).with_whole_body(whole))
}

fn unreadable(error: UnreadableForm) -> ExtractError {
    ExtractError::UnreadableBody(error.into())
}
