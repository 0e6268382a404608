//! Signs the URLs of pages, and checks postbacks.

use std::fmt;
use std::time::Duration;

use toopher_oauth1::{Credentials, sign};

use super::check::{PostbackError, check_fields};
use super::page::Page;
use super::postback::Postback;
use crate::client::base_url::BaseUrl;
use crate::client::error::ClientError;
use crate::time::Clock;

/// Signs the URLs of the API's pages and checks their postbacks: see the [module docs](crate::client::iframe).
#[derive(Clone)]
#[must_use]
pub struct Iframe {
    base: BaseUrl,
    credentials: Credentials,
    clock: Clock,
    lifetime: Duration,
    max_age: Duration,
}

impl Iframe {
    /// Creates the signer with all defaults. The base URL is the one that the user's browser reaches.
    pub fn new(base: BaseUrl, credentials: Credentials) -> Self {
        Self {
            base,
            credentials,
            clock: Clock::default(),
            lifetime: Duration::from_secs(300),
            max_age: Duration::from_secs(300),
        }
    }

    /// Sets how long a browser can open a URL. The user may take longer to decide. Default: 5 minutes.
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime;
        self
    }

    /// Sets the maximum age of a postback. Default: 5 minutes.
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.max_age = max_age;
        self
    }

    /// Sets the clock. Default: the system clock.
    pub fn clock(mut self, clock: impl Into<Clock>) -> Self {
        self.clock = clock.into();
        self
    }

    /// Generates a session token: 128 random bits, as text.
    ///
    /// The application stores it in the user's session, and removes it *before* it checks a postback. So each token
    /// allows one check, and a postback cannot be replayed.
    ///
    /// # Errors
    ///
    /// [`ClientErrorKind::Randomness`](crate::client::ClientErrorKind::Randomness) when the operating system returns no
    /// random bytes.
    pub fn session_token() -> Result<String, ClientError> {
        sign::nonce().map_err(ClientError::randomness)
    }

    /// Signs the URL of a page, each time with a new nonce.
    ///
    /// The URL contains the session token and data about the user, so do not log it.
    ///
    /// # Errors
    ///
    /// [`ClientError`] when there are no random bytes, when the clock is before the Unix epoch, or when a name of a
    /// parameter begins with `oauth_`.
    pub fn url(&self, page: &Page) -> Result<String, ClientError> {
        self.url_with_nonce(page, &sign::nonce().map_err(ClientError::randomness)?)
    }

    pub(super) fn url_with_nonce(&self, page: &Page, nonce: &str) -> Result<String, ClientError> {
        let now = self.clock.now().map_err(ClientError::clock)?;
        let address = self.base.join(page.path()).map_err(|_| ClientError::invalid_call("invalid path"))?;
        let expires = (now + self.lifetime).as_secs().to_string();
        let parameters: Vec<_> = page.parameters().chain([("expires", expires.as_str())]).collect();
        if parameters.iter().any(|(name, _)| name.starts_with("oauth_")) {
            return Err(ClientError::invalid_call("parameter names that begin with oauth_ are reserved"));
        }
        Ok(sign::query(&self.credentials, &address, &parameters, nonce, now.as_secs()))
    }

    /// Checks the form of a postback. It contains the fields or, from later versions of the pages, one field
    /// `toopher_iframe_data` that contains all fields. Other fields beside the fields invalidate the signature: remove
    /// them and call [`check`](Self::check).
    ///
    /// # Errors
    ///
    /// As for [`check`](Self::check).
    pub fn check_form(&self, form: &[u8], session_token: &str) -> Result<Postback, PostbackError> {
        let fields: Vec<_> = form_urlencoded::parse(form).collect();
        let mut data = fields.iter().filter(|(name, _)| name == "toopher_iframe_data");
        match (data.next(), data.next()) {
            (None, _) => self.check(fields.iter().map(|(name, value)| (&**name, &**value)), session_token),
            (Some((_, data)), None) => {
                let fields: Vec<_> = form_urlencoded::parse(data.as_bytes()).collect();
                self.check(fields.iter().map(|(name, value)| (&**name, &**value)), session_token)
            }
            _ => Err(PostbackError::DuplicateField),
        }
    }

    /// Checks the fields of a postback, in this order: the signature of all fields, the time, the session. Then it
    /// reads the result.
    ///
    /// # Errors
    ///
    /// [`PostbackError`] unless the fields are correctly signed, recent, of this session, and well-formed.
    pub fn check<'a>(
        &self,
        fields: impl IntoIterator<Item = (&'a str, &'a str)>,
        session_token: &str,
    ) -> Result<Postback, PostbackError> {
        let now = self.clock.now().map_err(|_| PostbackError::Clock)?;
        check_fields(fields, self.credentials.secret(), session_token, now, self.max_age)
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
