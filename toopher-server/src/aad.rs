//! The associated data of encrypted columns: a secret only decrypts for the row that it was encrypted for.

pub(crate) fn consumer_secret(requester: &str) -> String {
    format!("consumer secret of {requester}")
}

pub(crate) fn pairing_secret(pairing: &str) -> String {
    format!("secret of pairing {pairing}")
}

/// The token of a phone contains the id that it is for.
pub(crate) const DEVICE_TOKEN: &str = "token of a phone";

/// The recovery codes that a page shows until the user has saved them.
pub(crate) fn recovery_codes(user: &str) -> String {
    format!("recovery codes of {user}")
}

pub(crate) fn claim(pairing: &str) -> String {
    format!("claim of pairing {pairing}")
}
