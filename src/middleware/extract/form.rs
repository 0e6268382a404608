use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Method};
use http_body::Body;

use super::content_type;
use super::credentials::Credentials;
use super::error::ExtractError;
use super::extractor::Extract;
use super::fields::FieldNames;
use super::form_future::ExtractForm;
use super::header::Header;
use super::rebuild::{InPlace, Rebuild, Wrapped};
use crate::verify::BoxError;

const DEFAULT_LIMIT: usize = 64 * 1024;

/// Reads the OTP from a header or from a field of a form, `otp` by default.
///
/// A body is read only when its media type is `application/x-www-form-urlencoded`, in any letter case and with any
/// parameters. Other bodies are forwarded unread. At most [`limit`](Self::limit) bytes are read, whatever
/// `Content-Length` says, and the inner service receives the same bytes, including the OTP field.
///
/// The layer and the handler must agree on what a form is, or a handler would read a code that the layer has not
/// compared with the header. So the layer rejects with 400 what some handlers read as a form and others do not: a
/// content type that contains the name of that media type and is not exactly it (see
/// [`is_form`](crate::middleware::is_form)), and a `GET` or `HEAD` whose query contains one of the fields, because
/// axum's `Form` reads the query of these methods. A handler must not read the fields from a body of another content
/// type, or of none: the layer reads neither multipart bodies nor JSON.
///
/// A header and a field that are equal count as one OTP. The layer rejects with 400, and never tries one after the
/// other: several fields, a field and a header that differ, and a field whose name differs from the real one only in
/// letter case or by brackets (`OTP`, `otp[]`), because form readers disagree on whether it is the same field.
///
/// This type keeps the body type of the request, which must be `From<Bytes>` (axum's `Body` and `Full<Bytes>` are).
/// Such a body cannot carry trailers, so a form with trailers is rejected with 400. [`wrapping`](Self::wrapping)
/// removes both restrictions.
///
/// A form may also contain the token of a pending approval, in the field `toopher_approval`, so that a page without
/// scripts can send it. The same rules apply to this field.
///
/// A slow client is not limited here: add a timeout outside, such as tower-http's `RequestBodyTimeoutLayer` or
/// `TimeoutLayer`.
///
/// ```
/// use tower_toopher::HeaderOrForm;
///
/// let extractor = HeaderOrForm::default().field("code").limit(16 * 1024);
/// ```
///
/// # A form for two layers
///
/// The inner service receives the form with all fields. If it contains a second layer that requires a factor of its
/// own, for another action, that layer would find the code that the outer one has used, and would reject it. So give
/// each layer a field and a header of its own. The user enters two codes, the older one for the outer layer, because a
/// code is not accepted after a later one. A layer whose action is among
/// [`also_accept`](crate::ToopherLayer::also_accept) of the other needs no second code.
///
/// ```
/// use std::convert::Infallible;
///
/// use bytes::Bytes;
/// use http::{HeaderName, Request, Response, StatusCode};
/// use http_body_util::Full;
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
/// use tower_toopher::{Attempt, DenyReason, Factor, Header, HeaderOrForm, ToopherLayer, UserId, Verdict};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let verifier = service_fn(|attempt: Attempt| async move {
/// #     Ok::<_, Infallible>(match (attempt.action().as_str(), attempt.otp().map(|otp| otp.as_str())) {
/// #         ("log in", Some("081804")) | ("pay", Some("050471")) => Verdict::Granted(Factor::Totp),
/// #         _ => Verdict::Denied(DenyReason::ReplayedOtp),
/// #     })
/// # });
/// # let app = service_fn(|_: Request<Full<Bytes>>| async {
/// #     Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
/// # });
/// let own = |field: &'static str, header| {
///     HeaderOrForm::default().field(field).header(Header::new(HeaderName::from_static(header)))
/// };
/// let service = ServiceBuilder::new()
///     .layer(ToopherLayer::new(verifier.clone()).action("log in").extractor(own("login_otp", "login-otp")))
///     .layer(ToopherLayer::new(verifier).action("pay").extractor(own("pay_otp", "pay-otp")))
///     .service(app);
///
/// let form = "to=bob&login_otp=081804&pay_otp=050471";
/// let request = Request::post("/pay")
///     .extension(UserId::new("alice")?)
///     .header("content-type", "application/x-www-form-urlencoded")
///     .body(Full::from(form))?;
/// assert_eq!(service.oneshot(request).await?.status(), StatusCode::OK);
/// # Ok(())
/// # }
/// ```
#[must_use]
pub struct HeaderOrForm<R = InPlace> {
    header: Header,
    fields: Arc<FieldNames>,
    limit: usize,
    buffer_all_bodies: bool,
    rebuild: PhantomData<fn() -> R>,
}

impl<R> HeaderOrForm<R> {
    /// Sets the header. Default: `Toopher-OTP`.
    pub fn header(mut self, header: Header) -> Self {
        self.header = header;
        self
    }

    /// Sets the decoded name of the form field. Default: `otp`.
    pub fn field(mut self, name: impl Into<Arc<str>>) -> Self {
        Arc::make_mut(&mut self.fields).otp = name.into();
        self
    }

    /// Sets the decoded name of the form field that contains the approval token. Default: `toopher_approval`.
    pub fn approval_field(mut self, name: impl Into<Arc<str>>) -> Self {
        Arc::make_mut(&mut self.fields).approval_token = name.into();
        self
    }

    /// Reads bodies of every type, not only forms, unless the OTP is in the header. Default: only forms are read.
    ///
    /// An approval is bound to the whole request, so without this no approval is requested for a JSON body, for
    /// example. The memory bound of [`limit`](Self::limit) then applies to every body.
    pub fn buffer_all_bodies(mut self) -> Self {
        self.buffer_all_bodies = true;
        self
    }

    /// Sets the maximum number of bytes of a form. Default: 65,536.
    ///
    /// Each request can use this much memory before its OTP is verified, so a high limit enables few clients to exhaust
    /// the memory. A form over the limit is rejected with 413.
    pub fn limit(mut self, bytes: usize) -> Self {
        self.limit = bytes;
        self
    }
}

impl<R> HeaderOrForm<R> {
    /// Whether the query of a `GET` or a `HEAD`, which some handlers read as a form, contains one of the fields.
    fn is_in_query(&self, parts: &Parts) -> bool {
        let Some(query) = parts.uri.query() else { return false };
        matches!(parts.method, Method::GET | Method::HEAD) && !self.fields.are_absent(query.as_bytes())
    }
}

impl HeaderOrForm {
    /// Wraps the body of the inner service's request in a [`ReplayBody`](crate::middleware::ReplayBody). The body may
    /// then be any body with `Bytes` as data, such as hyper's `Incoming`, which cannot be built from bytes.
    pub fn wrapping(self) -> HeaderOrForm<Wrapped> {
        let Self { header, fields, limit, buffer_all_bodies, .. } = self;
        HeaderOrForm { header, fields, limit, buffer_all_bodies, rebuild: PhantomData }
    }
}

impl Default for HeaderOrForm {
    fn default() -> Self {
        Self {
            header: Header::default(),
            fields: Arc::default(),
            limit: DEFAULT_LIMIT,
            buffer_all_bodies: false,
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
            buffer_all_bodies: self.buffer_all_bodies,
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
            .field("buffer_all_bodies", &self.buffer_all_bodies)
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
        if self.is_in_query(parts) {
            // Removed by now, so that no hook logs it.
            self.header.take(&mut parts.headers).ok();
            return ExtractForm::ready(Err(ExtractError::Ambiguous));
        }
        // A malformed header is an error: a field must not replace it silently.
        let from_header = self.header.take(&mut parts.headers);
        match (content_type::is_form(&parts.headers), from_header) {
            (Ok(_), Err(error)) => ExtractForm::ready(Err(error)),
            (Err(error), _) => ExtractForm::ready(Err(ExtractError::UnreadableBody(error.into()))),
            (Ok(true), Ok(from_header)) => {
                ExtractForm::read(body, self.limit, from_header, Some(Arc::clone(&self.fields)))
            }
            (Ok(false), Ok(None)) if self.buffer_all_bodies && !body.is_end_stream() => {
                ExtractForm::read(body, self.limit, None, None)
            }
            (Ok(false), Ok(otp)) => {
                let bytes = body.is_end_stream().then(Bytes::new);
                ExtractForm::ready(Ok(Credentials::new(otp, R::untouched(body)).with_body_bytes(bytes)))
            }
        }
    }

    fn vary(&self) -> HeaderValue {
        self.header.name()
    }

    fn pass(&self, body: B) -> R::Body {
        R::untouched(body)
    }
}
