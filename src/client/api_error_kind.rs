//! The error codes of the API.

/// The meaning of an error of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ApiErrorKind {
    /// The API rejects the client's key, secret, nonce or clock (401). The operator must fix it, not the user.
    Credentials,
    /// The user, or an administrator, disabled the second factor (704).
    UserOptedOut,
    /// The API does not know the user, or the user was never paired (705).
    UserUnknown,
    /// The API does not know the discriminator of the terminal (706).
    TerminalUnknown,
    /// The pairing was removed or was never completed (707; older APIs send 601 with one of two messages).
    PairingDeactivated,
    /// The API does not know the pairing (601 with a message of its own): for example, the user never completed it, and
    /// the API has deleted it.
    PairingUnknown,
    /// The user can be authenticated only with an OTP (708).
    OtpRequired,
    /// Any other error.
    Other,
}

impl ApiErrorKind {
    pub(super) fn from_code(code: i64, message: &str) -> Self {
        match code {
            401 => Self::Credentials,
            601 => {
                let message = message.to_ascii_lowercase();
                let gone = ["pairing has been deactivated", "pairing has not been authorized"];
                if gone.iter().any(|phrase| message.contains(phrase)) {
                    Self::PairingDeactivated
                } else if message.contains("no matching pairing") {
                    Self::PairingUnknown
                } else {
                    Self::Other
                }
            }
            704 => Self::UserOptedOut,
            705 => Self::UserUnknown,
            706 => Self::TerminalUnknown,
            707 => Self::PairingDeactivated,
            708 => Self::OtpRequired,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds() {
        use ApiErrorKind::*;
        for (code, message, kind) in [
            (401, "", Credentials),
            (704, "", UserOptedOut),
            (705, "disabled user", UserUnknown),
            (706, "", TerminalUnknown),
            (707, "", PairingDeactivated),
            (708, "", OtpRequired),
            (601, "This Pairing has been DEACTIVATED.", PairingDeactivated),
            (601, "Pairing has not been authorized to authenticate", PairingDeactivated),
            (601, "No matching pairing exists.", PairingUnknown),
            (601, "No pending pairing requests with specified pairing_phrase", Other),
            (601, "what", Other),
            (42, "This pairing has been deactivated.", Other),
        ] {
            assert_eq!(ApiErrorKind::from_code(code, message), kind, "{code} {message}");
        }
    }
}
