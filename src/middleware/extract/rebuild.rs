use bytes::Bytes;
use http::HeaderMap;

use super::body::ReplayBody;
use super::error::ExtractError;

/// How the inner service's body is built: [`InPlace`] or [`Wrapped`].
pub trait Rebuild<B>: sealed::Sealed {
    /// The body type of the inner service's request.
    type Body;

    #[doc(hidden)]
    fn untouched(body: B) -> Self::Body;

    #[doc(hidden)]
    fn replay(bytes: Bytes, trailers: Option<HeaderMap>) -> Result<Self::Body, ExtractError>;
}

/// The inner service receives the original body type.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct InPlace;

/// The inner service receives a [`ReplayBody`].
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
