//! The API's own pages, shown in a frame: signed addresses, and what comes back.
//!
//! The application shows an [`Iframe`]'s address in a frame. When the user is done the frame gives the result to the
//! page around it, and that posts it back to the application, which checks it. It has been through the user's browser,
//! so nothing of it is believed before its signature, not even that it is an error.
//!
//! ```
//! use std::time::{Duration, UNIX_EPOCH};
//!
//! use tower_toopher::oauth1::Credentials;
//! use tower_toopher::toopher::iframe::{Iframe, Page, Postback, PostbackError};
//!
//! let iframe = Iframe::new("https://mfa.example.com/v1".parse()?, Credentials::new("key", "hijklmnop")?)
//!     .clock(|| UNIX_EPOCH + Duration::from_secs(1001));
//!
//! // A token for this session, kept there, and taken out of it when something is posted back.
//! let token = Iframe::session_token()?;
//! let url = iframe.url(&Page::authenticate("jdoe", &token).action("pay 10 to bob"))?;
//! assert!(url.starts_with("https://mfa.example.com/v1/web/authenticate?v=2&username=jdoe&"));
//!
//! // A postback that is signed, and not with our secret.
//! let posted = "id=1&resource_type=pairing&session_token=s9s7vsb&timestamp=1000&toopher_sig=bm90IGEgc2lnbmF0dXJl";
//! assert_eq!(iframe.check_form(posted.as_bytes(), "s9s7vsb"), Err(PostbackError::WrongSignature));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod page;
mod postback;
mod result;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub use self::page::Page;
pub use self::postback::PostbackError;
pub use self::result::{Postback, PostbackAuthentication, PostbackFailure, PostbackPairing, PostbackUser};
use super::{BaseUrl, ClientError};
use crate::oauth1::{Credentials, sign};

/// Signs the addresses of pages and checks what they post back: see the [module docs](crate::toopher::iframe).
#[derive(Clone)]
#[must_use]
pub struct Iframe {
    base: BaseUrl,
    credentials: Credentials,
    clock: Arc<dyn Fn() -> SystemTime + Send + Sync>,
    lifetime: Duration,
    max_age: Duration,
}

impl Iframe {
    /// A helper with all defaults. The base URL is the one that the user's browser reaches.
    pub fn new(base: BaseUrl, credentials: Credentials) -> Self {
        Self {
            base,
            credentials,
            clock: Arc::new(SystemTime::now),
            lifetime: Duration::from_secs(300),
            max_age: Duration::from_secs(300),
        }
    }

    /// Sets how long an address can be opened. The user may take longer to answer. Default: 5 minutes.
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime;
        self
    }

    /// Sets how old a postback may be. Default: 5 minutes.
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.max_age = max_age;
        self
    }

    /// Sets the clock. Default: `SystemTime::now`.
    pub fn clock(mut self, now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.clock = Arc::new(now);
        self
    }

    /// A session token: 128 random bits, as text.
    ///
    /// The application keeps it in the user's session, and takes it out *before* it checks a postback, so that there
    /// is one try for each token and a postback passes once.
    ///
    /// # Errors
    ///
    /// [`ClientError::is_randomness`] when the operating system has no random numbers to give.
    pub fn session_token() -> Result<String, ClientError> {
        sign::nonce().map_err(ClientError::randomness)
    }

    /// The address of a page, signed anew each time.
    ///
    /// It holds the session token and what the page says about the user, so it does not belong into logs.
    ///
    /// # Errors
    ///
    /// [`ClientError::is_randomness`], [`ClientError::is_clock`], or [`ClientError::is_invalid_call`] when a parameter
    /// has a name of the signature.
    pub fn url(&self, page: &Page) -> Result<String, ClientError> {
        self.url_with_nonce(page, &sign::nonce().map_err(ClientError::randomness)?)
    }

    fn url_with_nonce(&self, page: &Page, nonce: &str) -> Result<String, ClientError> {
        let now = self.now().ok_or_else(ClientError::clock)?;
        let address = self.base.join(page.path()).map_err(|_| ClientError::call("no address can be made of it"))?;
        let expires = now.saturating_add(self.lifetime.as_secs()).to_string();
        let parameters: Vec<_> = page.parameters().chain([("expires", expires.as_str())]).collect();
        if parameters.iter().any(|(name, _)| name.starts_with("oauth_")) {
            return Err(ClientError::call("a parameter has a name of the signature"));
        }
        Ok(sign::query(&self.credentials, &address, &parameters, nonce, now))
    }

    /// Checks a form that was posted back. It has the fields themselves or, of later pages, all of them in one field
    /// `toopher_iframe_data`. Fields of your own beside the fields themselves break the signature: take them out, and
    /// [`check`](Self::check) the rest.
    ///
    /// # Errors
    ///
    /// [`PostbackError`] unless it is signed, new, of this session, and understood.
    pub fn check_form(&self, form: &[u8], session_token: &str) -> Result<Postback, PostbackError> {
        let fields: Vec<_> = form_urlencoded::parse(form).collect();
        let mut whole = fields.iter().filter(|(name, _)| name == "toopher_iframe_data");
        match (whole.next(), whole.next()) {
            (None, _) => self.check(fields.iter().map(|(name, value)| (&**name, &**value)), session_token),
            (Some((_, data)), None) => {
                let fields: Vec<_> = form_urlencoded::parse(data.as_bytes()).collect();
                self.check(fields.iter().map(|(name, value)| (&**name, &**value)), session_token)
            }
            _ => Err(PostbackError::Repeated),
        }
    }

    /// Checks the fields that were posted back, in this order: the signature over all of them, the time, the session.
    /// Only then is it looked at what they say.
    ///
    /// # Errors
    ///
    /// [`PostbackError`] unless they are signed, new, of this session, and understood.
    pub fn check<'a>(
        &self,
        fields: impl IntoIterator<Item = (&'a str, &'a str)>,
        session_token: &str,
    ) -> Result<Postback, PostbackError> {
        let now = self.now().ok_or(PostbackError::Clock)?;
        postback::check(fields, self.credentials.secret(), session_token, now, self.max_age)
    }

    fn now(&self) -> Option<u64> {
        (self.clock)().duration_since(UNIX_EPOCH).ok().map(|now| now.as_secs())
    }
}

impl fmt::Debug for Iframe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Iframe")
            .field("base_url", &self.base)
            .field("credentials", &self.credentials)
            .field("lifetime", &self.lifetime)
            .field("max_age", &self.max_age)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
