//! The states of an approval, as a page receives them.

const PENDING: &str = "pending";

/// A state, and its JSON.
pub(super) struct StatusResponse {
    pub(super) status: &'static str,
    pub(super) json: String,
}

impl StatusResponse {
    pub(super) const EXPIRED: &str = "expired";
    pub(super) const GRANTED: &str = "granted";
    pub(super) const DENIED: &str = "denied";

    /// Every state but `pending`.
    pub(super) fn new(status: &'static str) -> Self {
        Self { status, json: format!("{{\"status\":\"{status}\"}}") }
    }

    pub(super) fn pending(expires_in: u64, number: Option<u8>) -> Self {
        let number = number.map_or_else(String::new, |number| format!(",\"number\":\"{number:02}\""));
        Self { status: PENDING, json: format!("{{\"status\":\"{PENDING}\",\"expires_in\":{expires_in}{number}}}") }
    }

    /// Whether the state can change.
    pub(super) fn is_pending(&self) -> bool {
        self.status == PENDING
    }
}
