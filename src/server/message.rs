//! Text messages and mails, which somebody else sends.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use super::Server;
use super::error::ApiError;
use crate::BoxError;

pub(super) type Messenger = dyn Fn(Message) -> Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>> + Send + Sync;

/// Something to tell a person.
#[derive(Clone)]
#[non_exhaustive]
pub enum Message {
    /// A text message.
    Sms {
        /// The number, as the site gave it.
        number: String,
        /// What to say.
        text: String,
    },
    /// A mail.
    Mail {
        /// The address, as the site gave it.
        address: String,
        /// What to say.
        text: String,
    },
}

impl fmt::Debug for Message {
    /// Leaves the text out: a link that works is in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sms { number, .. } => f.debug_struct("Sms").field("number", number).finish_non_exhaustive(),
            Self::Mail { address, .. } => f.debug_struct("Mail").field("address", address).finish_non_exhaustive(),
        }
    }
}

impl Server {
    /// Refuses a call that needs a messenger where there is none.
    pub(super) fn can_send(&self) -> Result<(), ApiError> {
        if self.messenger.is_some() { Ok(()) } else { Err(ApiError::NO_MESSAGES) }
    }

    pub(super) async fn send(&self, message: Message) -> Result<(), ApiError> {
        let messenger = self.messenger.as_ref().ok_or(ApiError::NO_MESSAGES)?;
        messenger(message).await.map_err(|error| ApiError::internal(&error))
    }
}
