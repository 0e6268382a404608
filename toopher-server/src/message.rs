//! Text messages and mails, which the application sends.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use tower_toopher::BoxError;

pub(crate) type Messenger = dyn Fn(Message) -> Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>> + Send + Sync;

/// A message to a person.
#[derive(Clone)]
#[non_exhaustive]
pub enum Message {
    /// A text message.
    Sms {
        /// The number, as the requester sent it.
        number: String,
        /// The text.
        text: String,
    },
    /// A mail.
    Mail {
        /// The address, as the requester sent it.
        address: String,
        /// The text.
        text: String,
    },
}

impl fmt::Debug for Message {
    /// Omits the text, which contains a secret link.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sms { number, .. } => f.debug_struct("Sms").field("number", number).finish_non_exhaustive(),
            Self::Mail { address, .. } => f.debug_struct("Mail").field("address", address).finish_non_exhaustive(),
        }
    }
}
