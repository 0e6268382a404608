//! The signature of the result that the API's pages post to a site. It is not an OAuth signature, but uses the same
//! consumer secret.

use data_encoding::BASE64;
use hmac::{Hmac, Mac};
use sha1::Sha1;

use crate::base::hmac_sha1;
use crate::sign::form;

/// The signature of `fields`, which may have any order: HMAC-SHA1 with the consumer secret, of the fields sorted by
/// name and encoded as a form, in base64.
///
/// The encoding is that of HTML forms, in which `*` remains and `~` becomes `%7E`. The original clients in Java and
/// Ruby have the same one. Those in Python and PHP encode `*`, and Python from 3.7 does not encode `~`, so they reject
/// the signature of a field with this character.
#[must_use]
pub fn signature(secret: &str, fields: &[(&str, &str)]) -> String {
    BASE64.encode(&mac(secret, fields).finalize().into_bytes())
}

/// Whether `signature` is the signature of `fields`. The comparison takes constant time.
#[must_use]
pub fn is_signature(secret: &str, fields: &[(&str, &str)], signature: &str) -> bool {
    BASE64.decode(signature.as_bytes()).is_ok_and(|given| mac(secret, fields).verify_slice(&given).is_ok())
}

fn mac(secret: &str, fields: &[(&str, &str)]) -> Hmac<Sha1> {
    let mut fields = fields.to_vec();
    fields.sort_unstable();
    hmac_sha1(secret.as_bytes(), &form(&fields))
}
