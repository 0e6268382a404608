//! The responses of the layer: rejections, their mapping from verdicts and errors, and their formats.

mod caching;
mod grpc;
mod mapping;
mod pending;
mod problem;
mod reject;
mod rejection;
mod rejection_headers;
mod step_up;
mod www_authenticate;

#[cfg(any(feature = "client", feature = "client-hyper", feature = "grants"))]
pub(crate) use self::caching::prevent_caching;
pub(super) use self::caching::{OTHER_VARY, USUAL_VARY, mark_dependent};
pub use self::grpc::GrpcStatus;
pub(super) use self::mapping::{denied, extract_error, pending, response, unavailable, unidentified};
pub use self::reject::{ProblemJson, Reject};
pub use self::rejection::{Rejection, RejectionKind};
pub(super) use self::rejection_headers::RejectionHeaders;
pub use self::step_up::StepUp;
pub use self::www_authenticate::Realm;
