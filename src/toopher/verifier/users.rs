use std::future::{Future, ready};
use std::sync::Arc;

use super::error::ToopherError;
use crate::toopher::Initiate;
use crate::{BoxError, UserId};

/// The application's table of pairings, for verifiers that ask by pairing id.
///
/// ```
/// use std::convert::Infallible;
///
/// use tower_toopher::UserId;
/// use tower_toopher::toopher::PairingIds;
///
/// struct Users { /* a connection pool */ }
///
/// impl PairingIds for Users {
///     type Error = Infallible; // the database's
///
///     async fn find(&self, user: &UserId) -> Result<Option<String>, Infallible> {
///         // SELECT pairing_id FROM pairings WHERE user_id = $1
///         Ok((user.as_str() == "alice").then(|| "12345678-1234-4123-8123-1234567890ab".into()))
///     }
/// }
/// ```
pub trait PairingIds: Send + Sync + 'static {
    /// The error. It closes the gate: 503.
    type Error: Into<BoxError>;

    /// The id of the pairing of `user`: none where the user has none or is unknown.
    ///
    /// # Errors
    ///
    /// When it is not certain.
    fn find(&self, user: &UserId) -> impl Future<Output = Result<Option<String>, Self::Error>> + Send;
}

impl<T: PairingIds> PairingIds for Arc<T> {
    type Error = T::Error;

    fn find(&self, user: &UserId) -> impl Future<Output = Result<Option<String>, T::Error>> + Send {
        T::find(self, user)
    }
}

/// Asks the API by the user's id as the name: nothing of the API needs to be stored.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct ByUserName;

/// Asks the API by the id of the user's pairing, which `P` knows.
#[derive(Clone, Debug)]
pub struct ByPairingId<P>(pub(super) P);

/// How a user is named to the API.
pub trait Address: sealed::Sealed + Send + Sync + 'static {
    /// The beginning of the call: none when the user cannot be asked.
    #[doc(hidden)]
    fn address(&self, user: &UserId) -> impl Future<Output = Result<Option<Initiate>, ToopherError>> + Send;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::ByUserName {}
    impl<P> Sealed for super::ByPairingId<P> {}
}

impl Address for ByUserName {
    fn address(&self, user: &UserId) -> impl Future<Output = Result<Option<Initiate>, ToopherError>> + Send {
        ready(Ok(Some(Initiate::by_user_name(user.as_str()))))
    }
}

impl<P: PairingIds> Address for ByPairingId<P> {
    async fn address(&self, user: &UserId) -> Result<Option<Initiate>, ToopherError> {
        let id = self.0.find(user).await.map_err(ToopherError::pairing_ids)?;
        // To the API an empty id is no id.
        Ok(id.filter(|id| !id.is_empty()).map(|id| Initiate::by_pairing_id(&id)))
    }
}
