//! The address of the client of a call, for audit events.

use std::net::IpAddr;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;

tokio::task_local! {
    static CLIENT: IpAddr;
}

/// The address of the client of a call. An application that serves the router inserts it into the extensions of each
/// request; audit events then contain it as `client`. Default: none, and no such field.
///
/// Behind a proxy it is the address that the proxy reports. Only accept it from a proxy that the application knows:
/// clients can send the same header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "it is one address")]
pub struct ClientAddress(pub IpAddr);

/// Handles a call while [`current`] is its client.
pub(crate) async fn scope(request: Request, next: Next) -> Response {
    match request.extensions().get() {
        Some(&ClientAddress(client)) => CLIENT.scope(client, next.run(request)).await,
        None => next.run(request).await,
    }
}

/// The client of the call that is handled now.
pub(crate) fn current() -> Option<IpAddr> {
    CLIENT.try_with(|client| *client).ok()
}
