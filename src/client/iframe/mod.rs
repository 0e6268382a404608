//! The web pages of the API in an iframe: signed URLs, and the postbacks of the pages.
//!
//! The application displays the URL of an [`Iframe`] in a frame. When the user is done, the frame passes the result to
//! the page around it, and that page posts the result to the application (the postback). The postback passes through
//! the user's browser, so the application must check its signature before it uses any field, including an error.
//!
//! ```
//! use tower_toopher::client::Credentials;
//! use tower_toopher::client::iframe::{Iframe, Page, PostbackError};
//! use tower_toopher::time::UnixTime;
//!
//! let iframe = Iframe::new("https://mfa.example.com/v1".parse()?, Credentials::new("key", "hijklmnop")?)
//!     .clock(|| UnixTime::from_secs(1001));
//!
//! // Store a token in the user's session, and remove it from there when a postback arrives.
//! let token = Iframe::session_token()?;
//! let url = iframe.url(&Page::authenticate("jdoe", &token).action("pay 10 to bob"))?;
//! assert!(url.starts_with("https://mfa.example.com/v1/web/authenticate?v=2&username=jdoe&"));
//!
//! // A postback that is signed with another secret.
//! let posted = "id=1&resource_type=pairing&session_token=s9s7vsb&timestamp=1000&toopher_sig=bm90IGEgc2lnbmF0dXJl";
//! assert_eq!(iframe.check_form(posted.as_bytes(), "s9s7vsb"), Err(PostbackError::WrongSignature));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod check;
mod page;
mod postback;
mod signer;
#[cfg(test)]
mod tests;

pub use self::check::PostbackError;
pub use self::page::Page;
pub use self::postback::{Postback, PostbackAuthentication, PostbackFailure, PostbackPairing, PostbackUser};
pub use self::signer::Iframe;
