//! What a client supplies: the OTP and the approval token, read from a header or a form.

mod approval_token;
mod body;
mod content_type;
mod credentials;
mod error;
mod extractor;
mod fields;
mod form;
mod form_future;
mod header;
mod line;
mod prefer;
mod read;
mod rebuild;

pub(super) use self::approval_token::APPROVAL_HEADER;
pub use self::body::ReplayBody;
pub use self::content_type::{UnreadableForm, is_form};
pub use self::credentials::Credentials;
pub use self::error::ExtractError;
pub use self::extractor::Extract;
pub use self::form::HeaderOrForm;
pub use self::form_future::ExtractForm;
pub use self::header::Header;
pub(super) use self::prefer::preferred_wait;
pub(super) use self::read::{ReadCredentials, read_credentials};
pub use self::rebuild::{InPlace, Rebuild, Wrapped};
