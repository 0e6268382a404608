use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::Body;
use pin_project_lite::pin_project;

use super::body::Collect;
use super::credentials::Credentials;
use super::error::ExtractError;
use super::fields::FieldNames;
use super::line::merge_sources;
use super::rebuild::Rebuild;
use crate::verify::{BoxError, Otp};

pin_project! {
    /// The future of [`HeaderOrForm`](crate::HeaderOrForm).
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
            result: Option<Result<Credentials<Out>, ExtractError>>,
        },
        Reading {
            #[pin]
            collect: Collect<B>,
            from_header: Option<Otp>,
            // `None` for a body that is not a form.
            fields: Option<Arc<FieldNames>>,
        },
    }
}

impl<B, R: Rebuild<B>> ExtractForm<B, R> {
    /// Resolves at once.
    pub(super) fn ready(result: Result<Credentials<R::Body>, ExtractError>) -> Self {
        Self { state: State::Ready { result: Some(result) } }
    }

    /// Reads at most `limit` bytes. `fields` are the fields to find, or `None` for a body that is not a form.
    pub(super) fn read(body: B, limit: usize, from_header: Option<Otp>, fields: Option<Arc<FieldNames>>) -> Self {
        Self { state: State::Reading { collect: Collect::new(body, limit), from_header, fields } }
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
    type Output = Result<Credentials<R::Body>, ExtractError>;

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
) -> Result<Credentials<R::Body>, ExtractError> {
    let Some(names) = fields else {
        // An approval cannot be bound to trailers.
        let body_bytes = trailers.is_none().then(|| bytes.clone());
        return Ok(Credentials::new(None, R::replay(bytes, trailers)?).with_body_bytes(body_bytes));
    };
    let found = names.find(&bytes)?;
    let (otp, token) = (merge_sources(from_header, found.otp)?, found.approval_token);
    // Needed only for an attempt that requests or polls an approval.
    let bindable = trailers.is_none() && (otp.is_none() || token.is_some());
    let body_bytes = bindable.then(|| names.strip_credentials(&bytes, otp.is_some() || token.is_some()));
    let body = R::replay(bytes, trailers)?;
    Ok(Credentials::new(otp, body).with_approval_token(token).with_body_bytes(body_bytes))
}
