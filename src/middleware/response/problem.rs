//! The problem documents (RFC 9457), one for each thing that a client can do next.

use http::StatusCode;

/// The response as clients see it. Several reasons share one.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) title: &'static str,
    pub(super) json: &'static str,
}

macro_rules! problems {
    ($($name:ident = $status:ident $number:literal $code:literal, $title:literal, $detail:literal;)*) => {$(
        pub(super) static $name: Problem = Problem {
            status: StatusCode::$status,
            code: $code,
            title: $title,
            json: concat!(
                "{\"type\":\"urn:tower-toopher:", $code, "\",\"title\":\"", $title, "\",\"status\":", $number,
                ",\"detail\":\"", $detail, "\"}",
            ),
        };
    )*

        pub(super) const ALL: &[&Problem] = &[$(&$name),*];
    };
}

problems! {
    UNIDENTIFIED = UNAUTHORIZED 401 "unidentified",
        "The first factor is missing", "Log in first.";
    OTP_REQUIRED = UNAUTHORIZED 401 "otp_required",
        "A one-time password is required", "Send the request again with the current code of your authenticator.";
    OTP_INVALID = UNAUTHORIZED 401 "otp_invalid",
        "The one-time password was not accepted", "Wait for the next code of your authenticator and send that.";
    DENIED = UNAUTHORIZED 401 "denied",
        "The request was denied", "It was denied on the user's device.";
    APPROVAL_INVALID = UNAUTHORIZED 401 "approval_invalid",
        "The approval is not valid",
        "It expired or belongs to another request. Send the request without an approval token, or with a password.";
    OTP_AMBIGUOUS = BAD_REQUEST 400 "otp_ambiguous",
        "The request has more than one one-time password or approval token", "Send at most one of each.";
    BODY_UNREADABLE = BAD_REQUEST 400 "body_unreadable",
        "The request body cannot be read", "Send a complete form in UTF-8 with one content type.";
    BODY_TOO_LARGE = PAYLOAD_TOO_LARGE 413 "body_too_large",
        "The form is too large", "Send a smaller form, or the code in the header.";
    ENROLLMENT_REQUIRED = FORBIDDEN 403 "enrollment_required",
        "A second factor must be set up first", "Set up an authenticator for this account.";
    TOO_MANY_FAILURES = TOO_MANY_REQUESTS 429 "too_many_failures",
        "Too many attempts failed",
        "Wait for the time in Retry-After. Without that header, ask an administrator to unlock the account.";
    PENDING = ACCEPTED 202 "pending",
        "Waiting for an approval", "Approve the request on your device, then send it again.";
    PENDING_NOT_GRANTED = UNAUTHORIZED 401 "pending",
        "Waiting for an approval", "Approve the request on your device, then send it again.";
    UNAVAILABLE = SERVICE_UNAVAILABLE 503 "unavailable",
        "The second factor cannot be verified now", "Try again later, with a new code.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_document_is_json_that_agrees_with_its_status() {
        for problem in ALL {
            let document: serde_json::Value = serde_json::from_str(problem.json).unwrap();
            assert_eq!(document["status"], problem.status.as_u16());
            assert_eq!(document["title"], problem.title);
            assert_eq!(document["type"], format!("urn:tower-toopher:{}", problem.code));
            assert!(document["detail"].as_str().unwrap().ends_with('.'));
        }
    }
}
