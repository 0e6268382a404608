//! Rejections as gRPC statuses.

use http::request::Parts;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};

use super::reject::Reject;
use super::rejection::Rejection;

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
/// Milliseconds until the client library may retry a call; a negative number means never (gRFC A6).
const RETRY_PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");
const TOOPHER_ERROR: HeaderName = HeaderName::from_static("toopher-error");

/// Responds to gRPC calls as gRPC requires: HTTP status 200, a `grpc-status`, and no body ("trailers-only"). See the
/// example `tonic`.
///
/// | HTTP status of the rejection | `grpc-status` |
/// |---|---|
/// | 401, and 202 for a pending approval | 16 `UNAUTHENTICATED` |
/// | 403 | 7 `PERMISSION_DENIED` |
/// | 400 | 3 `INVALID_ARGUMENT` |
/// | 413, 429 | 8 `RESOURCE_EXHAUSTED` |
/// | 503 | 14 `UNAVAILABLE` |
///
/// The headers of a rejection arrive as metadata: `retry-after`, `toopher-approval`, and `toopher-error` with the
/// [code](Rejection::code), such as `otp_required`. `grpc-message` is the [title](Rejection::title).
///
/// Status 14 includes `grpc-retry-pushback-ms: -1`, so that client libraries do not retry a call: its one-time password
/// may have been used.
///
/// A request whose single `Content-Type` is not gRPC's receives the HTTP status of the rejection and no body, because
/// 200 means success to other clients. This applies to gRPC-Web too, whose clients understand 401; put `tonic-web`,
/// which converts it to gRPC, outside the layer.
///
/// The inner service's response body must be `Default`, as tonic's and axum's `Body` are. The one-time password is in
/// the call's metadata, under the name of [`Header`](crate::Header).
#[derive(Clone, Copy, Debug, Default)]
#[allow(clippy::exhaustive_structs, reason = "a hook can fall back to it by name")]
pub struct GrpcStatus;

impl<B: Default> Reject<B> for GrpcStatus {
    fn reject(&self, rejection: &Rejection, request: &Parts) -> Response<B> {
        let mut response = rejection.response(B::default());
        let headers = response.headers_mut();
        headers.insert(TOOPHER_ERROR, HeaderValue::from_static(rejection.code()));
        if is_grpc(request) {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            let code = code(rejection.status());
            headers.insert(GRPC_STATUS, HeaderValue::from_static(code));
            if code == UNAVAILABLE {
                headers.insert(RETRY_PUSHBACK, HeaderValue::from_static("-1"));
            }
            // Titles are printable ASCII without `%`, so they need no encoding.
            headers.insert(GRPC_MESSAGE, HeaderValue::from_static(rejection.title()));
            *response.status_mut() = StatusCode::OK;
        }
        response
    }
}

const UNAVAILABLE: &str = "14";

fn code(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::ACCEPTED => "16",
        StatusCode::FORBIDDEN => "7",
        StatusCode::BAD_REQUEST => "3",
        StatusCode::PAYLOAD_TOO_LARGE | StatusCode::TOO_MANY_REQUESTS => "8",
        StatusCode::SERVICE_UNAVAILABLE => UNAVAILABLE,
        // UNKNOWN. Never 0, which means success.
        _ => "2",
    }
}

/// Whether the request is a gRPC call: `application/grpc`, optionally with a suffix such as `+proto` and parameters.
fn is_grpc(request: &Parts) -> bool {
    let mut lines = request.headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else { return false };
    let essence = line.as_bytes().split(|&b| b == b';').next().unwrap_or_default().trim_ascii();
    let Some((name, format)) = essence.split_at_checked(b"application/grpc".len()) else { return false };
    name.eq_ignore_ascii_case(b"application/grpc") && (format.is_empty() || format.starts_with(b"+"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::middleware::response::problem;

    #[test]
    fn only_grpc_calls_receive_200() {
        let grpc = |lines: &[&str]| {
            let mut request = http::Request::builder();
            for line in lines {
                request = request.header(header::CONTENT_TYPE, *line);
            }
            is_grpc(&request.body(()).unwrap().into_parts().0)
        };
        for content_type in
            ["application/grpc", "application/grpc+proto", "Application/GRPC+json; x=1", "application/grpc ;q"]
        {
            assert!(grpc(&[content_type]), "{content_type}");
        }
        for other in [
            &[][..],
            &[""],
            &["application/grp"],
            &["application/grpc-web"],
            &["application/grpc-web+proto"],
            &["application/grpcx"],
            &["text/html"],
            &["text/html; application/grpc"],
            &["application/grpc", "text/html"],
        ] {
            assert!(!grpc(other), "{other:?}");
        }
    }

    #[test]
    fn every_rejection_has_a_code_and_a_message_that_needs_no_encoding() {
        for problem in problem::ALL {
            assert!(!["0", "2"].contains(&code(problem.status)), "{}", problem.code);
            assert!(problem.title.bytes().all(|b| matches!(b, b' '..=b'~') && b != b'%'), "{}", problem.title);
        }
    }
}
