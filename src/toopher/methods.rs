//! The calls as methods, each with the answer that is its own.

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::{
    ApiCall, ApiReply, AuthenticationStatus, ClientError, Initiate, PairingStatus, ResetLink, ToopherClient, User,
    UserTerminal,
};
use crate::{BoxError, Otp, Terminal};

/// What a call of [`ApiCall`] answers with, taken out of the reply. Another reply than the call's own cannot come.
macro_rules! answer {
    ($client:expr, $call:expr, $variant:ident) => {
        match $client.send($call).await? {
            ApiReply::$variant(answer) => Ok(answer),
            _ => Err(ClientError::answer("it belongs to another call")),
        }
    };
}

/// Every method makes one call. Those with more parameters than the methods take are made with [`send`](Self::send), of
/// an [`ApiCall`] to which they were added.
impl<T, B> ToopherClient<T>
where
    T: Service<Request<Bytes>, Response = Response<B>> + Clone,
    T::Error: Into<BoxError>,
    B: Body,
    B::Error: Into<BoxError>,
{
    /// Pairs a user with the phone that shows this phrase. The phone must confirm it.
    ///
    /// # Errors
    ///
    /// Those of [`send`](Self::send).
    pub async fn pair(&self, phrase: &str, user_name: &str) -> Result<PairingStatus, ClientError> {
        answer!(self, ApiCall::pair(phrase, user_name), Pairing)
    }

    /// Pairs a user with a phone by text message. A number abroad begins with `+` and the country's code.
    ///
    /// # Errors
    ///
    /// Those of [`send`](Self::send).
    pub async fn pair_with_sms(&self, phone_number: &str, user_name: &str) -> Result<PairingStatus, ClientError> {
        answer!(self, ApiCall::pair_with_sms(phone_number, user_name), Pairing)
    }

    /// Begins a pairing whose QR code ([`qr_image`](Self::qr_image)) the phone is to read.
    ///
    /// # Errors
    ///
    /// Those of [`send`](Self::send).
    pub async fn pair_with_qr(&self, user_name: &str) -> Result<PairingStatus, ClientError> {
        answer!(self, ApiCall::pair_with_qr(user_name), Pairing)
    }

    /// The QR code of a pairing: the bytes of an image.
    ///
    /// # Errors
    ///
    /// Those of [`send`](Self::send).
    pub async fn qr_image(&self, pairing_id: &str) -> Result<Bytes, ClientError> {
        answer!(self, ApiCall::qr_image(pairing_id), Image)
    }

    /// How a pairing stands.
    ///
    /// # Errors
    ///
    /// Those of [`send`](Self::send).
    pub async fn pairing_status(&self, pairing_id: &str) -> Result<PairingStatus, ClientError> {
        answer!(self, ApiCall::pairing_status(pairing_id), Pairing)
    }

    /// Removes a pairing.
    ///
    /// # Errors
    ///
    /// Those of [`send`](Self::send).
    pub async fn deactivate_pairing(&self, pairing_id: &str) -> Result<PairingStatus, ClientError> {
        answer!(self, ApiCall::deactivate_pairing(pairing_id), Pairing)
    }

    /// An address at which the user can reset a pairing.
    ///
    /// # Errors
    ///
    /// Those of [`send`](Self::send).
    pub async fn generate_reset_link(&self, pairing_id: &str) -> Result<ResetLink, ClientError> {
        answer!(self, ApiCall::generate_reset_link(pairing_id), ResetLink)
    }

    /// Has such an address sent by e-mail.
    ///
    /// # Errors
    ///
    /// Those of [`send`](Self::send).
    pub async fn send_reset_link(&self, pairing_id: &str, email: &str) -> Result<(), ClientError> {
        self.send(ApiCall::send_reset_link(pairing_id, email)).await.map(drop)
    }

    /// Begins an authentication request, of a pairing or of a user by name.
    ///
    /// # Errors
    ///
    /// Those of [`send`](Self::send).
    pub async fn authenticate(&self, initiate: Initiate) -> Result<AuthenticationStatus, ClientError> {
        answer!(self, ApiCall::authenticate(initiate), Authentication)
    }

    /// How an authentication request stands.
    ///
    /// # Errors
    ///
    /// Those of [`send`](Self::send).
    pub async fn authentication_status(&self, id: &str) -> Result<AuthenticationStatus, ClientError> {
        answer!(self, ApiCall::authentication_status(id), Authentication)
    }

    /// Decides an authentication request by an OTP.
    ///
    /// # Errors
    ///
    /// Those of [`send`](Self::send).
    pub async fn otp_auth(&self, id: &str, otp: &Otp) -> Result<AuthenticationStatus, ClientError> {
        answer!(self, ApiCall::otp_auth(id, otp), Authentication)
    }

    /// Takes an authentication request back.
    ///
    /// # Errors
    ///
    /// Those of [`send`](Self::send).
    pub async fn cancel_authentication(&self, id: &str) -> Result<(), ClientError> {
        self.send(ApiCall::cancel_authentication(id)).await.map(drop)
    }

    /// Creates a user.
    ///
    /// # Errors
    ///
    /// Those of [`send`](Self::send).
    pub async fn create_user(&self, name: &str) -> Result<User, ClientError> {
        answer!(self, ApiCall::create_user(name), User)
    }

    /// The user of this name: none where there is none.
    ///
    /// # Errors
    ///
    /// Those of [`send`](Self::send); also when there are two, or when the one that was found has another name.
    pub async fn find_user(&self, name: &str) -> Result<Option<User>, ClientError> {
        let mut users: Vec<User> = answer!(self, ApiCall::find_users(name), Users)?;
        match (users.pop(), users.is_empty()) {
            (None, _) => Ok(None),
            (Some(user), true) if user.name() == Some(name) => Ok(Some(user)),
            _ => Err(ClientError::answer("it has several users, or one of another name")),
        }
    }

    /// A user.
    ///
    /// # Errors
    ///
    /// Those of [`send`](Self::send).
    pub async fn user(&self, id: &str) -> Result<User, ClientError> {
        answer!(self, ApiCall::user(id), User)
    }

    /// Switches the second factor of a user on. Whether it is on, the answer says.
    ///
    /// # Errors
    ///
    /// Those of [`send`](Self::send).
    pub async fn enable_user(&self, id: &str) -> Result<User, ClientError> {
        answer!(self, ApiCall::enable_user(id), User)
    }

    /// Switches the second factor of a user off. Whether it is off, the answer says.
    ///
    /// # Errors
    ///
    /// Those of [`send`](Self::send).
    pub async fn disable_user(&self, id: &str) -> Result<User, ClientError> {
        answer!(self, ApiCall::disable_user(id), User)
    }

    /// Removes all pairings of a user, who must pair again.
    ///
    /// # Errors
    ///
    /// Those of [`send`](Self::send).
    pub async fn reset_user(&self, name: &str) -> Result<(), ClientError> {
        self.send(ApiCall::reset_user(name)).await.map(drop)
    }

    /// All pairings of a user, those that were removed among them.
    ///
    /// # Errors
    ///
    /// Those of [`send`](Self::send).
    pub async fn pairings_of_user(&self, id: &str) -> Result<Vec<PairingStatus>, ClientError> {
        answer!(self, ApiCall::pairings_of_user(id), Pairings)
    }

    /// Names a terminal of a user.
    ///
    /// # Errors
    ///
    /// Those of [`send`](Self::send).
    pub async fn create_terminal(&self, user_name: &str, terminal: &Terminal) -> Result<UserTerminal, ClientError> {
        answer!(self, ApiCall::create_terminal(user_name, terminal), Terminal)
    }

    /// A terminal.
    ///
    /// # Errors
    ///
    /// Those of [`send`](Self::send).
    pub async fn terminal(&self, id: &str) -> Result<UserTerminal, ClientError> {
        answer!(self, ApiCall::terminal(id), Terminal)
    }
}
