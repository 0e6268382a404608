//! Choices that a layer is given.

/// Who the gate answers: the client itself, or a proxy that asks on the client's behalf.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Profile {
    /// The client itself. A pending approval is answered with 202.
    #[default]
    Api,
    /// A proxy such as nginx's `auth_request`, to which any 2xx means "let it in". A pending approval is answered with
    /// 401, and whatever a [`Reject`](crate::Reject) hook returns with a 2xx becomes 401.
    ForwardAuth,
}

/// What happens to a user whose verifier says that there is no second factor to check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotEnrolledPolicy {
    /// They are refused, and it looks like a wrong or missing OTP.
    #[default]
    Refuse,
    /// They are refused with 403 `enrolment_required`. It tells whoever has the first factor of an account that the
    /// account has no second one, that is, which stolen passwords are worth an enrolment of the thief's own.
    RequireEnrolment,
    /// They pass, marked with [`WithoutSecondFactor`](crate::WithoutSecondFactor). **A stolen password is then all
    /// that it takes**, for every account that has not enrolled.
    PassUnprotected,
}
