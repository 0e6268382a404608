//! The layer's rejections of a second factor: JSON for the script, and a page for browsers.

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Redirect, Response};
use tower_toopher::Rejection;
use tower_toopher::verify::ApprovalToken;

use super::app::Factors;
use super::pages::{self, Phone, SecondPage};
use super::step::Step;
use super::visit::{Typed, Visit};

pub(crate) fn rejected(step: Step, rejection: &Rejection, request: &Parts) -> Response {
    let Some(visit) = request.extensions.get::<Visit>() else { return rejection.response(Body::empty()) };
    let pending = rejection.pending();
    let token = pending.and_then(|pending| pending.token());
    if accepts_json(&request.headers) {
        let body = serde_json::json!({
            "code": rejection.code(),
            "message": explain(rejection, visit.typed),
            "approval_token": token.map(ApprovalToken::as_str),
            "status_url": pending.and_then(|pending| pending.status_url()),
            "number": pending.and_then(|pending| pending.number()).map(|number| format!("{number:02}")),
        });
        let mut response = rejection.response(Body::from(body.to_string()));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        return response;
    }
    // A page of its own: reloading it sends no second request to the phone.
    if let Some(token) = token {
        return Redirect::to(&format!("{}/wait/{}", step.path(), token.as_str())).into_response();
    }
    let factors = request.extensions.get::<Factors>().copied().unwrap_or(Factors::UNKNOWN);
    let (phone, problem) = match rejection.code() {
        "enrollment_required" => return Redirect::to("/enroll").into_response(),
        "approval_invalid" => return keep_head(rejection, pages::late(visit, step, factors)),
        "denied" => (Phone::Denied, String::new()),
        "otp_required" => (Phone::Unavailable, explain(rejection, visit.typed)),
        _ => {
            let phone = match visit.approval_token.clone() {
                Some(token) => Phone::Pending { token, number: None },
                None if factors.phone => Phone::NotRequested { automatic: false },
                None => Phone::Unavailable,
            };
            (phone, explain(rejection, visit.typed))
        }
    };
    let page = SecondPage { visit, step, factors, phone: &phone, time_limit: None, problem: &problem };
    keep_head(rejection, page.render())
}

fn accepts_json(headers: &HeaderMap) -> bool {
    headers.get(header::ACCEPT).is_some_and(|accept| accept == "application/json")
}

/// A page with the status and the headers of a rejection: `Retry-After`, `WWW-Authenticate`.
fn keep_head(rejection: &Rejection, page: Response) -> Response {
    let (head, body) = page.into_parts();
    let mut response = rejection.response(body);
    response.headers_mut().extend(head.headers);
    response
}

/// The reason, and what to do next. It uses the public code: `kind()` would show whether a code was wrong or used.
fn explain(rejection: &Rejection, typed: Option<Typed>) -> String {
    let wait = rejection.retry_after().map(pages::format_duration);
    match (rejection.code(), wait) {
        ("pending", _) => "We sent a request to your phone.".into(),
        ("otp_required", Some(wait)) => {
            format!("Another login of yours is waiting for your phone. Type a code, or try again in {wait}.")
        }
        ("otp_required", None) => "We cannot send a request to your phone now. Type a code instead.".into(),
        ("otp_invalid", _) => match typed {
            Some(Typed::RecoveryCode) => {
                "This recovery code was not accepted. Each of them works once: take another one.".into()
            }
            Some(Typed::Code) | None => {
                "This code was not accepted. Each code works once: wait for the next one, and type that.".into()
            }
            Some(Typed::Malformed) => pages::MALFORMED.into(),
        },
        ("denied", _) => pages::DENIED.into(),
        ("too_many_failures", _) => pages::too_many_failures(rejection.retry_after()),
        ("unavailable", _) => {
            "We cannot check the second factor at the moment. Try again in a while, with a new code.".into()
        }
        _ => format!("{}.", rejection.title()),
    }
}
