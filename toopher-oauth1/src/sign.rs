//! Signing of requests, with the OAuth parameters in the header or in the query.

use http::HeaderValue;

pub use getrandom::Error as RandomError;

use crate::base::{BaseUri, Signable, push_encoded, push_form_encoded};
use crate::credentials::Credentials;

/// The OAuth parameters except the signature. There is no token.
fn protocol<'a>(credentials: &'a Credentials, nonce: &'a str, timestamp: &'a str) -> [(&'static str, &'a str); 5] {
    [
        ("oauth_consumer_key", credentials.key()),
        ("oauth_nonce", nonce),
        ("oauth_signature_method", "HMAC-SHA1"),
        ("oauth_timestamp", timestamp),
        ("oauth_version", "1.0"),
    ]
}

/// Generates a random nonce of 128 bits.
///
/// # Errors
///
/// [`RandomError`] when the operating system provides no random numbers.
pub fn nonce() -> Result<String, RandomError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(data_encoding::HEXLOWER.encode(&bytes))
}

/// Returns the `Authorization` header of a request with these parameters in its query and form. It is marked sensitive.
///
/// `timestamp` is in seconds since the Unix epoch. Each attempt of a request needs a new `nonce`.
#[must_use]
pub fn authorization(
    credentials: &Credentials,
    method: &str,
    base: &BaseUri,
    parameters: &[(&str, &str)],
    nonce: &str,
    timestamp: u64,
) -> HeaderValue {
    let timestamp = timestamp.to_string();
    let protocol = protocol(credentials, nonce, &timestamp);
    let signable = Signable::new(method, base, protocol.into_iter().chain(parameters.iter().copied()));
    let signature = signable.signature(credentials.secret());
    let mut text = String::with_capacity(320);
    text.push_str("OAuth ");
    for (name, value) in protocol.into_iter().chain([("oauth_signature", signature.as_str())]) {
        text.push_str(name);
        text.push_str("=\"");
        push_encoded(&mut text, value, "%");
        text.push_str("\", ");
    }
    text.truncate(text.len() - 2);
    // Percent-encoded text is visible ASCII, which is valid in a header. The server would reject an empty header.
    let mut header = HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""));
    header.set_sensitive(true);
    header
}

/// Returns the URL with these parameters and the OAuth parameters in its query, for a browser.
#[must_use]
pub fn query(
    credentials: &Credentials,
    base: &BaseUri,
    parameters: &[(&str, &str)],
    nonce: &str,
    timestamp: u64,
) -> String {
    let timestamp = timestamp.to_string();
    let protocol = protocol(credentials, nonce, &timestamp);
    let signable = Signable::new("GET", base, protocol.into_iter().chain(parameters.iter().copied()));
    let signature = signable.signature(credentials.secret());
    let all = parameters.iter().copied().chain(protocol).chain([("oauth_signature", signature.as_str())]);
    let mut url = String::with_capacity(512);
    url.push_str(base.as_str());
    url.push('?');
    push_form(&mut url, all);
    url
}

/// Returns these parameters as `application/x-www-form-urlencoded`.
#[must_use]
pub fn form(parameters: &[(&str, &str)]) -> String {
    // Encoding makes the text longer. It may contain an OTP, of which reallocation would leave a copy in memory.
    let length = parameters.iter().map(|(name, value)| 3 * (name.len() + value.len()) + 2).sum();
    let mut form = String::with_capacity(length);
    push_form(&mut form, parameters.iter().copied());
    form
}

fn push_form<'a>(text: &mut String, parameters: impl IntoIterator<Item = (&'a str, &'a str)>) {
    for (i, (name, value)) in parameters.into_iter().enumerate() {
        if i > 0 {
            text.push('&');
        }
        push_form_encoded(text, name);
        text.push('=');
        push_form_encoded(text, value);
    }
}
