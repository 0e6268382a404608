use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::request::Parts;
use pin_project_lite::pin_project;

use super::approval_token::take_approval_token;
use super::credentials::Credentials;
use super::error::ExtractError;
use super::extractor::Extract;
use super::line::merge_sources;
use crate::verify::ApprovalToken;

/// Starts to read all credentials of a request: the approval token from the header, the rest with `extractor`.
///
/// The token stays in the header if the layer does not use approvals, because an inner layer may need it.
pub(in crate::middleware) fn read_credentials<X: Extract<B>, B>(
    extractor: &X,
    approvals: bool,
    parts: &mut Parts,
    body: B,
) -> Result<ReadCredentials<X::Future>, ExtractError> {
    let from_header = if approvals { take_approval_token(&mut parts.headers)? } else { None };
    Ok(ReadCredentials { future: extractor.extract(parts, body), from_header })
}

pin_project! {
    /// The future of [`read_credentials`]: merges the approval tokens of the header and the form.
    pub(in crate::middleware) struct ReadCredentials<F> {
        #[pin]
        future: F,
        from_header: Option<ApprovalToken>,
    }
}

impl<F, B> Future for ReadCredentials<F>
where
    F: Future<Output = Result<Credentials<B>, ExtractError>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let mut result = ready!(this.future.poll(cx));
        if let (Some(token), Ok(credentials)) = (this.from_header.take(), &mut result) {
            match merge_sources(Some(token), credentials.approval_token.take()) {
                Ok(merged) => credentials.approval_token = merged,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(result)
    }
}
