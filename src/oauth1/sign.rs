//! Signing, where the parameters travel in a header or in a query.

use http::HeaderValue;

use super::base::push_encoded;
use super::{BaseUri, Credentials, Signable};
pub use crate::random::NoRandomness;

/// The parameters of the protocol but the signature. There is no token.
fn protocol<'a>(credentials: &'a Credentials, nonce: &'a str, timestamp: &'a str) -> [(&'static str, &'a str); 5] {
    [
        ("oauth_consumer_key", credentials.key()),
        ("oauth_nonce", nonce),
        ("oauth_signature_method", "HMAC-SHA1"),
        ("oauth_timestamp", timestamp),
        ("oauth_version", "1.0"),
    ]
}

/// A nonce of 128 bits from the operating system's random numbers.
///
/// # Errors
///
/// [`NoRandomness`] when the system has none to give.
pub fn nonce() -> Result<String, NoRandomness> {
    let mut bytes = [0; 16];
    crate::random::fill(&mut bytes)?;
    Ok(data_encoding::HEXLOWER.encode(&bytes))
}

/// The `Authorization` header for a request with these parameters in its query and its form, marked sensitive.
///
/// `nonce` and `timestamp` (seconds since 1970) are used once: each try of a request takes new ones.
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
    // Percent-encoded text is visible ASCII, which every header value may hold; were it not, an empty one is refused.
    let mut header = HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""));
    header.set_sensitive(true);
    header
}

/// The address with these parameters and the signed protocol parameters in its query, as a browser is sent to it.
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
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(all).finish();
    format!("{}?{query}", base.as_str())
}
