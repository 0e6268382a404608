//! The headers of rejections that do not depend on the request.

use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::problem::{self, Problem};
use super::www_authenticate::Realm;

/// The headers of each problem, built once per layer. A response clones a map, which costs two allocations; building
/// it again would cost a hash and an insertion for each header.
pub(in crate::middleware) struct RejectionHeaders(Vec<ProblemHeaders>);

/// The headers of one problem.
struct ProblemHeaders {
    problem: &'static Problem,
    /// For the body of a hook.
    plain: HeaderMap,
    /// For the problem document.
    document: HeaderMap,
}

impl RejectionHeaders {
    /// Builds the headers with the layer's `Vary`. `step_up` is the challenge of RFC 9470 beside the layer's own one.
    pub(in crate::middleware) fn new(realm: &Realm, step_up: Option<&HeaderValue>, vary: &HeaderValue) -> Self {
        let build = |problem: &&'static Problem| {
            let mut plain = HeaderMap::with_capacity(6);
            plain.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            plain.insert(header::VARY, vary.clone());
            if problem.status == StatusCode::UNAUTHORIZED {
                plain.extend(realm.challenge(problem.code).map(|challenge| (header::WWW_AUTHENTICATE, challenge)));
            }
            // A client with a wrong code, or without a first factor, is not sent to the authorization server.
            if let Some(step_up) = step_up.filter(|_| std::ptr::eq(*problem, &problem::OTP_REQUIRED)) {
                plain.append(header::WWW_AUTHENTICATE, step_up.clone());
            }
            let mut document = plain.clone();
            document.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
            // Set here, because a server that sees the empty body of a response to HEAD would set 0.
            document.insert(header::CONTENT_LENGTH, HeaderValue::from(problem.json.len()));
            ProblemHeaders { problem, plain, document }
        };
        Self(problem::ALL.iter().map(build).collect())
    }

    /// The headers of a response with the body of a hook.
    pub(super) fn plain(&self, problem: &Problem) -> HeaderMap {
        self.get(problem).map(|headers| headers.plain.clone()).unwrap_or_default()
    }

    /// The headers of a response with the problem document.
    pub(super) fn document(&self, problem: &Problem) -> HeaderMap {
        self.get(problem).map(|headers| headers.document.clone()).unwrap_or_default()
    }

    /// The layer's challenge in a 401.
    pub(super) fn challenge(&self, problem: &Problem) -> Option<&HeaderValue> {
        self.get(problem)?.plain.get(header::WWW_AUTHENTICATE)
    }

    /// Finds the headers. All problems have some, because `ALL` has all problems.
    fn get(&self, problem: &Problem) -> Option<&ProblemHeaders> {
        self.0.iter().find(|headers| std::ptr::eq(headers.problem, problem))
    }
}
