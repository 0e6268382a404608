use bytes::Bytes;

use crate::verify::{ApprovalToken, Otp};

/// What a client supplies, and the body for the inner service.
#[derive(Debug)]
#[must_use]
pub struct Credentials<B> {
    pub(in crate::middleware) otp: Option<Otp>,
    pub(in crate::middleware) approval_token: Option<ApprovalToken>,
    pub(in crate::middleware) body_bytes: Option<Bytes>,
    pub(in crate::middleware) body: B,
}

impl<B> Credentials<B> {
    /// The OTP, if the request contains one, and the body for the inner service.
    pub fn new(otp: impl Into<Option<Otp>>, body: B) -> Self {
        Self { otp: otp.into(), approval_token: None, body_bytes: None, body }
    }

    /// Sets the approval token that was found beside the OTP, in a form for example. Default: none. The layer itself
    /// reads the header `Toopher-Approval`.
    pub fn with_approval_token(mut self, token: impl Into<Option<ApprovalToken>>) -> Self {
        self.approval_token = token.into();
        self
    }

    /// Sets the complete body of the request, without the fields of the OTP and the approval token. Default: none, for
    /// a body that was not read. No approval is requested for such a request, because it cannot be bound to the body.
    pub fn with_body_bytes(mut self, bytes: impl Into<Option<Bytes>>) -> Self {
        self.body_bytes = bytes.into();
        self
    }
}
