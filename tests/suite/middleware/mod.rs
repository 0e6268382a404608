#[cfg(feature = "axum")]
mod axum_stack;
mod bodies;
mod bypassed;
mod caching;
mod cancellation;
mod config_errors;
mod extensions;
mod fail_open;
mod fallback;
mod hyper_http;
mod outcomes;
mod public_api;
mod readiness;
mod secrets;
#[cfg(feature = "axum")]
mod sources;
