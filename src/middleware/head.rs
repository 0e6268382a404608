//! The decisions that need only the head of a request.

use http::request::Parts;
use http::{Method, header};

use super::audit::Outcome;
use super::config::{ActionConfig, Config};
use crate::verify::{Subject, Terminal, UserId};

/// What the layer does with a request after it has checked the head.
pub(super) enum PreCheck {
    /// Forward without verification.
    Forward(Outcome, Option<Subject>),
    /// Verify.
    Verify(Subject),
    /// Reject, because no user was identified.
    Unidentified,
}

/// Checks the head. A factor that a grant proves is inserted into `parts`.
pub(super) fn check_head(config: &Config, parts: &mut Parts) -> PreCheck {
    if config.skip.as_ref().is_some_and(|skip| skip(parts)) || (config.allow_preflight && is_preflight(parts)) {
        return PreCheck::Forward(Outcome::Skipped, None);
    }
    let user = match &config.identify {
        None => parts.extensions.get::<UserId>().cloned(),
        Some(identify) => identify(parts),
    };
    let Some(user) = user else { return PreCheck::Unidentified };
    let action = match &config.action {
        ActionConfig::Fixed(action) => action.clone(),
        ActionConfig::PerRequest(choose) => choose(parts),
    };
    if let Some(outcome) = config.reuse.insert_reusable(parts, &user, &action) {
        return PreCheck::Forward(outcome, Some(Subject { user, action, terminal: None }));
    }
    let terminal = parts.extensions.get::<Terminal>().cloned();
    PreCheck::Verify(Subject { user, action, terminal })
}

/// Whether the request is a CORS preflight as the Fetch standard defines it: not every `OPTIONS`, and not every
/// `OPTIONS` with an `Origin`.
fn is_preflight(parts: &Parts) -> bool {
    parts.method == Method::OPTIONS
        && parts.headers.contains_key(header::ORIGIN)
        && parts.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}
