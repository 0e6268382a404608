//! The methods of the client: one for each call, with the type of its response.

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::authentication_request::AuthenticationRequest;
use super::authentication_status::AuthenticationStatus;
use super::call::ApiCall;
use super::error::ClientError;
use super::pairing_status::PairingStatus;
use super::response::{ApiResponse, ResetLink};
use super::toopher_client::ToopherClient;
use super::user::{User, UserTerminal};
use crate::verify::{BoxError, Otp, Terminal};

/// Sends a call and returns the content of its response. `send` returns no other kind of response than the call's.
macro_rules! send {
    ($client:expr, $call:expr, $variant:ident) => {
        match $client.send($call).await? {
            ApiResponse::$variant(content) => Ok(content),
            _ => Err(ClientError::unexpected_response()),
        }
    };
}

/// Each method sends one call. To add parameters, use [`send`](Self::send) with an [`ApiCall`] and
/// [`ApiCall::with_parameter`].
impl<T, B> ToopherClient<T>
where
    T: Service<Request<Bytes>, Response = Response<B>> + Clone,
    T::Error: Into<BoxError>,
    B: Body,
    B::Error: Into<BoxError>,
{
    /// Pairs a user with the phone that displays this phrase. The user must confirm it on the phone.
    ///
    /// # Errors
    ///
    /// As for [`send`](Self::send).
    pub async fn pair(&self, phrase: &str, user_name: &str) -> Result<PairingStatus, ClientError> {
        send!(self, ApiCall::pair(phrase, user_name), Pairing)
    }

    /// Pairs a user with a phone by text message. An international number begins with `+` and the country code.
    ///
    /// # Errors
    ///
    /// As for [`send`](Self::send).
    pub async fn pair_with_sms(&self, phone_number: &str, user_name: &str) -> Result<PairingStatus, ClientError> {
        send!(self, ApiCall::pair_with_sms(phone_number, user_name), Pairing)
    }

    /// Begins a pairing by QR code. [`qr_image`](Self::qr_image) returns the code.
    ///
    /// # Errors
    ///
    /// As for [`send`](Self::send).
    pub async fn pair_with_qr(&self, user_name: &str) -> Result<PairingStatus, ClientError> {
        send!(self, ApiCall::pair_with_qr(user_name), Pairing)
    }

    /// Returns the QR code of a pairing: the bytes of an image.
    ///
    /// # Errors
    ///
    /// As for [`send`](Self::send).
    pub async fn qr_image(&self, pairing_id: &str) -> Result<Bytes, ClientError> {
        send!(self, ApiCall::qr_image(pairing_id), Image)
    }

    /// Returns the state of a pairing.
    ///
    /// # Errors
    ///
    /// As for [`send`](Self::send).
    pub async fn pairing_status(&self, pairing_id: &str) -> Result<PairingStatus, ClientError> {
        send!(self, ApiCall::pairing_status(pairing_id), Pairing)
    }

    /// Removes a pairing.
    ///
    /// # Errors
    ///
    /// As for [`send`](Self::send).
    pub async fn deactivate_pairing(&self, pairing_id: &str) -> Result<PairingStatus, ClientError> {
        send!(self, ApiCall::deactivate_pairing(pairing_id), Pairing)
    }

    /// Returns a URL at which the user can reset a pairing.
    ///
    /// # Errors
    ///
    /// As for [`send`](Self::send).
    pub async fn generate_reset_link(&self, pairing_id: &str) -> Result<ResetLink, ClientError> {
        send!(self, ApiCall::generate_reset_link(pairing_id), ResetLink)
    }

    /// Sends such a URL to the user by e-mail.
    ///
    /// # Errors
    ///
    /// As for [`send`](Self::send).
    pub async fn send_reset_link(&self, pairing_id: &str, email: &str) -> Result<(), ClientError> {
        self.send(ApiCall::send_reset_link(pairing_id, email)).await.map(drop)
    }

    /// Begins an authentication request.
    ///
    /// # Errors
    ///
    /// As for [`send`](Self::send).
    pub async fn authenticate(&self, request: AuthenticationRequest) -> Result<AuthenticationStatus, ClientError> {
        send!(self, ApiCall::authenticate(request), Authentication)
    }

    /// Returns the state of an authentication request.
    ///
    /// # Errors
    ///
    /// As for [`send`](Self::send).
    pub async fn authentication_status(&self, id: &str) -> Result<AuthenticationStatus, ClientError> {
        send!(self, ApiCall::authentication_status(id), Authentication)
    }

    /// Decides an authentication request with an OTP.
    ///
    /// # Errors
    ///
    /// As for [`send`](Self::send).
    pub async fn otp_auth(&self, id: &str, otp: &Otp) -> Result<AuthenticationStatus, ClientError> {
        send!(self, ApiCall::otp_auth(id, otp), Authentication)
    }

    /// Cancels an authentication request.
    ///
    /// # Errors
    ///
    /// As for [`send`](Self::send).
    pub async fn cancel_authentication(&self, id: &str) -> Result<(), ClientError> {
        self.send(ApiCall::cancel_authentication(id)).await.map(drop)
    }

    /// Creates a user.
    ///
    /// # Errors
    ///
    /// As for [`send`](Self::send).
    pub async fn create_user(&self, name: &str) -> Result<User, ClientError> {
        send!(self, ApiCall::create_user(name), User)
    }

    /// Returns the user with this name, or `None` if there is none.
    ///
    /// # Errors
    ///
    /// As for [`send`](Self::send), and when the API returns several users, or a user with another name.
    pub async fn find_user(&self, name: &str) -> Result<Option<User>, ClientError> {
        let mut users: Vec<User> = send!(self, ApiCall::find_users(name), Users)?;
        match (users.pop(), users.is_empty()) {
            (None, _) => Ok(None),
            (Some(user), true) if user.name() == Some(name) => Ok(Some(user)),
            _ => Err(ClientError::invalid_response("several users, or a user with another name")),
        }
    }

    /// Returns a user.
    ///
    /// # Errors
    ///
    /// As for [`send`](Self::send).
    pub async fn user(&self, id: &str) -> Result<User, ClientError> {
        send!(self, ApiCall::user(id), User)
    }

    /// Enables the second factor of a user. The returned user says whether it is enabled.
    ///
    /// # Errors
    ///
    /// As for [`send`](Self::send).
    pub async fn enable_user(&self, id: &str) -> Result<User, ClientError> {
        send!(self, ApiCall::enable_user(id), User)
    }

    /// Disables the second factor of a user. The returned user says whether it is disabled.
    ///
    /// # Errors
    ///
    /// As for [`send`](Self::send).
    pub async fn disable_user(&self, id: &str) -> Result<User, ClientError> {
        send!(self, ApiCall::disable_user(id), User)
    }

    /// Removes all pairings of a user. The user must pair again.
    ///
    /// # Errors
    ///
    /// As for [`send`](Self::send).
    pub async fn reset_user(&self, name: &str) -> Result<(), ClientError> {
        self.send(ApiCall::reset_user(name)).await.map(drop)
    }

    /// Returns all pairings of a user, including removed ones.
    ///
    /// # Errors
    ///
    /// As for [`send`](Self::send).
    pub async fn pairings_of_user(&self, id: &str) -> Result<Vec<PairingStatus>, ClientError> {
        send!(self, ApiCall::pairings_of_user(id), Pairings)
    }

    /// Creates a terminal of a user.
    ///
    /// # Errors
    ///
    /// As for [`send`](Self::send).
    pub async fn create_terminal(&self, user_name: &str, terminal: &Terminal) -> Result<UserTerminal, ClientError> {
        send!(self, ApiCall::create_terminal(user_name, terminal), Terminal)
    }

    /// Returns a terminal.
    ///
    /// # Errors
    ///
    /// As for [`send`](Self::send).
    pub async fn terminal(&self, id: &str) -> Result<UserTerminal, ClientError> {
        send!(self, ApiCall::terminal(id), Terminal)
    }
}
