//! How the verifier identifies a user to the API.

use std::future::{Future, ready};
use std::sync::Arc;

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use super::error::lookup_failed;
use crate::client::authentication_request::AuthenticationRequest;
use crate::verify::{BoxError, UserId, VerifierError};

/// The application's table of pairings, for [`ToopherVerifier::with_pairing_ids`].
///
/// ```
/// use std::convert::Infallible;
///
/// use tower_toopher::UserId;
/// use tower_toopher::client::PairingIds;
///
/// struct Pairings { /* a connection pool */ }
///
/// impl PairingIds for Pairings {
///     type Error = Infallible; // the database's error
///
///     async fn find(&self, user: &UserId) -> Result<Option<String>, Infallible> {
///         // SELECT pairing_id FROM pairings WHERE user_id = $1
///         Ok((user.as_str() == "alice").then(|| "12345678-1234-4123-8123-1234567890ab".into()))
///     }
/// }
/// ```
///
/// [`ToopherVerifier::with_pairing_ids`]: super::ToopherVerifier::with_pairing_ids
pub trait PairingIds: Send + Sync + 'static {
    /// The error of a lookup. The verifier fails with it, and the layer responds with 503.
    type Error: Into<BoxError>;

    /// Returns the id of the pairing of `user`, or `None` if the user is unknown or has no pairing.
    ///
    /// # Errors
    ///
    /// When the lookup fails.
    fn find(&self, user: &UserId) -> impl Future<Output = Result<Option<String>, Self::Error>> + Send;
}

impl<T: PairingIds> PairingIds for Arc<T> {
    type Error = T::Error;

    fn find(&self, user: &UserId) -> impl Future<Output = Result<Option<String>, T::Error>> + Send {
        T::find(self, user)
    }
}

/// Identifies a user to the API by the [`UserId`], as the user's name. The application needs to store no id of the API.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct ByUserName;

/// Identifies a user to the API by the id of the user's pairing, which `P` looks up.
#[derive(Clone, Debug)]
pub struct ByPairingId<P>(pub(super) P);

/// How a [`ToopherVerifier`](super::ToopherVerifier) identifies a user to the API: [`ByUserName`] or [`ByPairingId`].
pub trait UserLookup: sealed::Sealed + Send + Sync + 'static {
    /// Begins the authentication request. `None` if the user has no pairing.
    #[doc(hidden)]
    fn begin_request(
        &self,
        user: &UserId,
    ) -> impl Future<Output = Result<Option<AuthenticationRequest>, VerifierError>> + Send;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::ByUserName {}
    impl<P> Sealed for super::ByPairingId<P> {}
}

impl UserLookup for ByUserName {
    fn begin_request(
        &self,
        user: &UserId,
    ) -> impl Future<Output = Result<Option<AuthenticationRequest>, VerifierError>> + Send {
        ready(Ok(Some(AuthenticationRequest::from_user_name(user.as_str()))))
    }
}

impl<P: PairingIds> UserLookup for ByPairingId<P> {
    async fn begin_request(&self, user: &UserId) -> Result<Option<AuthenticationRequest>, VerifierError> {
        let id = self.0.find(user).await.map_err(lookup_failed)?;
        // The API treats an empty id like a missing one.
        Ok(id.filter(|id| !id.is_empty()).map(|id| AuthenticationRequest::from_pairing_id(&id)))
    }
}

/// The id of no pairing, always the same for a user, so that the API can count the attempts. It has the form of a
/// random UUID, so a pairing has this id with a probability of 2^-122.
pub(super) fn decoy_pairing_id(user: &UserId) -> String {
    const DOMAIN: &[u8] = b"tower-toopher no pairing 1\0";
    let mut digest: [u8; 32] = Sha256::new().chain_update(DOMAIN).chain_update(user.as_str()).finalize().into();
    digest[6] = 0x40 | digest[6] & 0x0f;
    digest[8] = 0x80 | digest[8] & 0x3f;
    let hex = HEXLOWER.encode(&digest[..16]);
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}
