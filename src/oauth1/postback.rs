//! The signature of what the API's web pages post back to a site. It is not OAuth's, but it is made with the same secret.

use data_encoding::BASE64;
use hmac::{Hmac, Mac};
use sha1::Sha1;

use super::base::hmac_sha1;

/// The signature over `fields`, in any order: HMAC-SHA1 in base64, under the consumer secret as it is, over the fields
/// in the order of their names and encoded as a form.
#[must_use]
pub fn signature(secret: &str, fields: &[(&str, &str)]) -> String {
    BASE64.encode(&mac(secret, fields).finalize().into_bytes())
}

/// Whether `signature` is the one over `fields`, in a time that does not depend on where they differ.
#[must_use]
pub fn is_signature(secret: &str, fields: &[(&str, &str)], signature: &str) -> bool {
    BASE64.decode(signature.as_bytes()).is_ok_and(|given| mac(secret, fields).verify_slice(&given).is_ok())
}

fn mac(secret: &str, fields: &[(&str, &str)]) -> Hmac<Sha1> {
    let mut fields = fields.to_vec();
    fields.sort_unstable();
    let text = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    hmac_sha1(secret.as_bytes(), &text)
}
