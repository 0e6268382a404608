/// What the API's error means, for those whose meaning is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ApiErrorKind {
    /// Our key, secret, nonce or clock is not accepted (401).
    Credentials,
    /// The user, or an administrator, has switched the second factor off (704).
    UserOptedOut,
    /// The user has never been seen, or never been paired (705).
    UserUnknown,
    /// The terminal's discriminator is not known yet (706).
    TerminalUnknown,
    /// The pairing was removed, or never came about (707; before that, 601 with one of two phrases).
    PairingDeactivated,
    /// The user can be asked for an OTP only (708).
    OtpRequired,
    /// Anything else.
    Other,
}

impl ApiErrorKind {
    pub(super) fn of(code: i64, message: &str) -> Self {
        match code {
            401 => Self::Credentials,
            601 => {
                let message = message.to_ascii_lowercase();
                let gone = ["pairing has been deactivated", "pairing has not been authorized"];
                if gone.iter().any(|phrase| message.contains(phrase)) { Self::PairingDeactivated } else { Self::Other }
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
            (601, "what", Other),
            (42, "This pairing has been deactivated.", Other),
        ] {
            assert_eq!(ApiErrorKind::of(code, message), kind, "{code} {message}");
        }
    }
}
