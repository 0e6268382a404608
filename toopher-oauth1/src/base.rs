//! The signature base string, and its signature (RFC 5849 sections 3.4 and 3.6).

use std::cmp::Ordering;
use std::fmt;

use data_encoding::BASE64;
use hmac::{Hmac, KeyInit, Mac};
use http::uri::{Authority, PathAndQuery};
use percent_encoding::percent_encode_byte;
use sha1::Sha1;
use zeroize::Zeroizing;

/// The unreserved characters (section 3.6). The sets of form and URL encoders differ from it.
const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// The same by byte.
const UNRESERVED: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = is_unreserved(byte as u8);
        byte += 1;
    }
    table
};

/// Appends `text` percent-encoded. `percent` is `%`, or `%25` to encode the text twice.
pub(crate) fn push_encoded(encoded: &mut String, text: &str, percent: &str) {
    push_with(encoded, text, |byte| !UNRESERVED[usize::from(byte)], |encoded, byte| push_byte(encoded, byte, percent));
}

/// Appends `text` encoded as a value of a form, as the WHATWG serializer does.
pub(crate) fn push_form_encoded(encoded: &mut String, text: &str) {
    // It encodes `~`, and neither the asterisk nor the space.
    let is_special = |byte| byte == b'~' || (byte != b'*' && !UNRESERVED[usize::from(byte)]);
    push_with(encoded, text, is_special, |encoded, byte| match byte {
        b' ' => encoded.push('+'),
        byte => push_byte(encoded, byte, "%"),
    });
}

fn push_byte(encoded: &mut String, byte: u8, percent: &str) {
    encoded.push_str(percent);
    // Without its percent sign.
    encoded.push_str(&percent_encode_byte(byte)[1..]);
}

/// Appends `text`, with `push` for each special byte. The bytes between them are copied together. All bytes that are
/// not ASCII are special, so no copied text begins or ends within a character.
#[inline]
fn push_with(encoded: &mut String, text: &str, is_special: impl Fn(u8) -> bool, push: impl Fn(&mut String, u8)) {
    let mut copied = 0;
    for (at, &byte) in text.as_bytes().iter().enumerate() {
        if is_special(byte) {
            if copied < at {
                encoded.push_str(&text[copied..at]);
            }
            push(encoded, byte);
            copied = at + 1;
        }
    }
    if copied < text.len() {
        encoded.push_str(&text[copied..]);
    }
}

/// The order of two texts after their encoding. Encoded bytes begin with `%`, which precedes all unreserved characters.
fn in_encoded_order(a: &str, b: &str) -> Ordering {
    let rank = |byte: u8| (UNRESERVED[usize::from(byte)], byte);
    match a.bytes().zip(b.bytes()).find(|(a, b)| a != b) {
        Some((a, b)) => rank(a).cmp(&rank(b)),
        None => a.len().cmp(&b.len()),
    }
}

/// The signed URL (section 3.4.1.2): scheme and host in lower case, without the default port, with the path unchanged,
/// and without a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUri {
    text: String,
    /// As it is in a base string.
    encoded: String,
}

impl BaseUri {
    /// Builds the URL. An empty path becomes `/`.
    ///
    /// A server must read the scheme and the authority from its configuration, since clients choose the headers of a
    /// request.
    ///
    /// # Errors
    ///
    /// [`InvalidBaseUri`] unless the scheme is `http` or `https`, the authority is a host with an optional port, and
    /// the path is absolute and has no query.
    pub fn new(scheme: &str, authority: &str, path: &str) -> Result<Self, InvalidBaseUri> {
        let scheme = scheme.to_ascii_lowercase();
        let default_port = match scheme.as_str() {
            "http" => 80,
            "https" => 443,
            _ => return Err(InvalidBaseUri),
        };
        let authority: Authority = authority.parse().map_err(|_| InvalidBaseUri)?;
        let host = authority.host().to_ascii_lowercase();
        // `Authority` accepts `host:` and `host:99999` as hosts without a port, and accepts a user and a password.
        let after_host = authority.as_str().rsplit_once(authority.host()).map_or("", |(_, after)| after);
        if host.is_empty()
            || authority.as_str().contains('@')
            || (!after_host.is_empty() && authority.port_u16().is_none())
        {
            return Err(InvalidBaseUri);
        }
        let port = match authority.port_u16() {
            Some(port) if port != default_port => format!(":{port}"),
            _ => String::new(),
        };
        let path = if path.is_empty() { "/" } else { path };
        let parsed: PathAndQuery = path.parse().map_err(|_| InvalidBaseUri)?;
        if !path.starts_with('/') || parsed.query().is_some() || parsed.path().len() != path.len() {
            return Err(InvalidBaseUri);
        }
        let text = format!("{scheme}://{host}{port}{path}");
        let mut encoded = String::with_capacity(text.len() + 32);
        push_encoded(&mut encoded, &text, "%");
        Ok(Self { text, encoded })
    }

    /// The URL as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// The error of [`BaseUri::new`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InvalidBaseUri;

impl fmt::Display for InvalidBaseUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an http or https URL with a host, an optional port, and a path")
    }
}

impl std::error::Error for InvalidBaseUri {}

/// The signed parts of a request: the method, the URL, and the decoded parameters of query, form and header, except
/// `realm` and `oauth_signature`.
pub struct Signable<'a> {
    method: &'a str,
    base: &'a BaseUri,
    pairs: Vec<(&'a str, &'a str)>,
}

impl<'a> Signable<'a> {
    /// Collects the parameters, in any order. Repeated parameters are signed repeatedly.
    pub fn new(method: &'a str, base: &'a BaseUri, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut sorted = Vec::with_capacity(16);
        sorted.extend(pairs);
        // By the bytes of the encoded name, then of the encoded value (section 3.4.1.3.2).
        sorted.sort_unstable_by(|a: &(&str, &str), b| {
            in_encoded_order(a.0, b.0).then_with(|| in_encoded_order(a.1, b.1))
        });
        Self { method, base, pairs: sorted }
    }

    /// The signature base string (section 3.4.1.1).
    #[must_use]
    pub fn base_string(&self) -> String {
        let parameters =
            self.pairs.iter().map(|(name, value)| name.len() + value.len() + "%26%3D".len()).sum::<usize>();
        // Encoding makes the text longer.
        let mut text = String::with_capacity(self.method.len() + 2 + self.base.encoded.len() + parameters * 3 / 2);
        if self.method.bytes().all(|byte| byte.is_ascii_uppercase()) {
            text.push_str(self.method);
        } else {
            push_encoded(&mut text, &self.method.to_ascii_uppercase(), "%");
        }
        text.push('&');
        text.push_str(&self.base.encoded);
        text.push('&');
        for (i, (name, value)) in self.pairs.iter().enumerate() {
            if i > 0 {
                text.push_str("%26");
            }
            push_encoded(&mut text, name, "%25");
            text.push_str("%3D");
            push_encoded(&mut text, value, "%25");
        }
        text
    }

    /// The HMAC-SHA1 signature in base64 (section 3.4.2).
    #[must_use]
    pub fn signature(&self, secret: &str) -> String {
        BASE64.encode(&self.mac(secret).finalize().into_bytes())
    }

    /// Whether `signature` is valid. The comparison takes constant time.
    pub(crate) fn is_signature(&self, secret: &str, signature: &str) -> bool {
        let Ok(signature) = BASE64.decode(signature.as_bytes()) else { return false };
        self.mac(secret).verify_slice(&signature).is_ok()
    }

    fn mac(&self, secret: &str) -> Hmac<Sha1> {
        // With enough capacity, so that it is not reallocated, which would leave a copy of the secret in memory.
        let mut key = Zeroizing::new(String::with_capacity(3 * secret.len() + 1));
        push_encoded(&mut key, secret, "%");
        // The `&` is required even without a token secret.
        key.push('&');
        hmac_sha1(key.as_bytes(), &self.base_string())
    }
}

impl fmt::Debug for Signable<'_> {
    /// Omits the parameters, which may contain an OTP.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signable").field("method", &self.method).field("base", &self.base).finish_non_exhaustive()
    }
}

pub(crate) fn hmac_sha1(key: &[u8], text: &str) -> Hmac<Sha1> {
    #[allow(clippy::expect_used, reason = "an HMAC takes a key of any length (RFC 2104 section 2)")]
    let mac = Hmac::<Sha1>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.chain_update(text)
}

#[cfg(test)]
mod tests {
    use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

    use super::*;

    const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

    #[test]
    fn base_uris() {
        for (scheme, authority, path, expected) in [
            ("HTTPS", "MFA.Example.TEST:443", "/v1/x", "https://mfa.example.test/v1/x"),
            ("http", "h:80", "/", "http://h/"),
            ("https", "h:8443", "/", "https://h:8443/"),
            ("http", "h:443", "/", "http://h:443/"),
            ("https", "h:80", "/", "https://h:80/"),
            ("https", "h", "", "https://h/"),
            ("https", "[::1]:8443", "/", "https://[::1]:8443/"),
            ("https", "[2001:DB8::1]:443", "/A%2fb/~c", "https://[2001:db8::1]/A%2fb/~c"),
        ] {
            assert_eq!(BaseUri::new(scheme, authority, path).unwrap().as_str(), expected);
        }
        for (scheme, authority, path) in [
            ("ftp", "h", "/"),
            ("", "h", "/"),
            ("https", "", "/"),
            ("https", "h:", "/"),
            ("https", "h:99999", "/"),
            ("https", "h:x", "/"),
            ("https", "user:pw@h", "/"),
            ("https", "h/x", "/"),
            ("https", "h", "x"),
            ("https", "h", "/x?y"),
            ("https", "h", "/x#y"),
            ("https", "h h", "/"),
            ("https", "h", "/a b"),
        ] {
            assert_eq!(BaseUri::new(scheme, authority, path), Err(InvalidBaseUri), "{scheme} {authority} {path}");
        }
    }

    /// The example of RFC 5849 section 3.4.1.1.
    #[test]
    fn base_string_of_the_rfc() {
        let base = BaseUri::new("http", "EXAMPLE.COM:80", "/request").unwrap();
        let pairs = [
            ("b5", "=%3D"),
            ("a3", "a"),
            ("c@", ""),
            ("a2", "r b"),
            ("oauth_consumer_key", "9djdj82h48djs9d2"),
            ("oauth_token", "kkk9d7dh3k39sjv7"),
            ("oauth_signature_method", "HMAC-SHA1"),
            ("oauth_timestamp", "137131201"),
            ("oauth_nonce", "7d8f3e4a"),
            ("c2", ""),
            ("a3", "2 q"),
        ];
        assert_eq!(
            Signable::new("post", &base, pairs).base_string(),
            "POST&http%3A%2F%2Fexample.com%2Frequest&a2%3Dr%2520b%26a3%3D2%2520q%26a3%3Da%26b5%3D%253D%25253D\
             %26c%2540%3D%26c2%3D%26oauth_consumer_key%3D9djdj82h48djs9d2%26oauth_nonce%3D7d8f3e4a\
             %26oauth_signature_method%3DHMAC-SHA1%26oauth_timestamp%3D137131201%26oauth_token%3Dkkk9d7dh3k39sjv7"
        );
    }

    #[test]
    fn encoding_of_every_byte() {
        let base = BaseUri::new("https", "h", "/").unwrap();
        assert_eq!(Signable::new("GET", &base, []).base_string(), "GET&https%3A%2F%2Fh%2F&");
        let encoded = |text: &str| {
            let mut encoded = String::new();
            push_encoded(&mut encoded, text, "%");
            encoded
        };
        let ascii: String = (0..128_u8).map(char::from).collect();
        for text in [ascii.as_str(), "Zo\u{eb} \u{20ac}\u{1f600}", ""] {
            assert_eq!(encoded(text), utf8_percent_encode(text, ENCODED).to_string());
            let mut twice = String::new();
            push_encoded(&mut twice, text, "%25");
            assert_eq!(twice, encoded(&encoded(text)));
            let mut form = String::new();
            push_form_encoded(&mut form, text);
            assert_eq!(form, form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>());
        }
        let texts: Vec<_> =
            ascii.chars().flat_map(|c| [c.to_string(), format!("a{c}"), format!("{c}\u{eb}")]).collect();
        for a in &texts {
            for b in &texts {
                assert_eq!(in_encoded_order(a, b), encoded(a).cmp(&encoded(b)), "{a:?} {b:?}");
            }
        }
    }

    /// Signatures of another implementation.
    #[test]
    fn special_characters() {
        let base = BaseUri::new("https", "mfa.example.test", "/v1/authentication_requests/initiate").unwrap();
        let sign = |secret: &str, extra: &[(&'static str, &'static str)]| {
            let fixed = [
                ("oauth_consumer_key", "ck"),
                ("oauth_nonce", "n1"),
                ("oauth_signature_method", "HMAC-SHA1"),
                ("oauth_timestamp", "1700000000"),
                ("oauth_version", "1.0"),
            ];
            let signable = Signable::new("POST", &base, fixed.into_iter().chain(extra.iter().copied()));
            (signable.signature(secret), signable.base_string())
        };
        let otp = ("otp", "081804");
        assert_eq!(sign("cs", &[otp, ("user_name", "alice")]).0, "0GWRCCI4bw4yKBmu/+drA/Ga25A=");
        let (signature, base_string) = sign("cs", &[otp, ("user_name", "a~b*c+d e")]);
        assert_eq!(signature, "HO8tleFMe5C9y/RtJkpFnug8VNg=");
        assert!(base_string.ends_with("user_name%3Da~b%252Ac%252Bd%2520e"));
        assert_eq!(sign("cs", &[otp, ("user_name", "Zo\u{eb}")]).0, "KPACxMs7UM20+Ign2KhWeHX1adw=");
        assert_eq!(sign("cs", &[("user_name", "a%20b")]).0, "lCohbsLC7Vqy9FUMZDVwgXzF6y8=");
        assert_eq!(sign("a&b%c", &[otp]).0, "H7VyH+EFan6b/UZupPEnYso5L9M=");
        assert_eq!(sign("cs", &[otp, ("oauth_token", "")]).0, "xrwWTrxM5pPpND3pbz7nVFa/Y10=");
    }
}
