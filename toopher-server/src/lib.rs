//! A self-hosted server of the Toopher API, as an axum router.
//!
//! A *requester* is a relying party: a site with a consumer key and a secret. It pairs its users with their phones, and
//! makes authentication requests: with an `otp`, which the server verifies at once, or without one, which the user
//! answers on the phone. Phones use an HTTP API of their own under `/phone/v1`; the page at `/phone` uses it in a
//! browser.
//!
//! ```
//! use toopher_server::Server;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = Server::in_memory("http://127.0.0.1:8080").await?;
//! let credentials = server.create_requester("my site").await?;
//! let app: axum::Router = server.router(); // serve it, or nest it into another router
//! # let _ = (credentials, app);
//! # Ok(())
//! # }
//! ```
//!
//! The router limits the size and the time of request bodies, and the number of event streams. A program that serves it
//! must limit connections, the time of request heads, and responses that a client does not read, as the program
//! `toopher-server` does. Call [`Server::shutdown`] before a graceful shutdown.
//!
//! The guarantees of every response:
//!
//! - A call is signed (OAuth 1.0a), its timestamp is close to the server's time, and its nonce is new. The response is
//!   401 otherwise, or 400 when the call cannot be parsed.
//! - Requesters never see the users, pairings, terminals or requests of another requester: the response is that of an
//!   id that does not exist, 404 or 409.
//! - One-time passwords are verified by [`TotpVerifier`](tower_toopher::TotpVerifier): each is accepted once, and an
//!   attempt is counted before it is verified.
//! - One database statement decides a request, and only if it is still pending: the first decision is final.
//! - Each decision emits one `tracing` event with the target `tower_toopher::audit`, without secrets. The page
//!   `docs/auditing.md` lists the fields, whose names are stable.
//! - Consumer secrets and the secrets of pairings are encrypted with a [`SealingKey`] in the database.

mod aad;
mod admin;
mod api_error;
mod attempts;
mod audit;
mod authenticate;
mod body;
mod cleanup;
mod client_address;
mod clock;
mod clock_check;
mod crypto;
mod devices;
mod error;
mod failure_store;
mod failure_store_location;
mod future_times;
mod html;
mod id;
mod initiate;
mod listeners;
mod message;
mod models;
mod names;
mod new_request;
mod notify;
mod otp;
mod pairing_phrase;
mod pairings;
mod params;
mod phone;
mod phrases;
mod public_url;
mod push_request;
mod qr;
mod ready;
mod recovery_codes;
mod requests;
mod reset;
mod root;
mod state;
mod subject;
mod terminals;
mod test_write;
mod transactions;
mod unpair;
mod upgrade;
mod users;
mod web;

use axum::Router;
use axum::middleware::{from_fn, map_request, map_response};
use axum::response::Response;
use axum::routing::{get, post};
use http::{HeaderValue, header};

use self::api_error::ApiError;
use self::public_url::record_path;

pub use self::admin::{Requester, UserSummary};
pub use self::client_address::ClientAddress;
pub use self::devices::{Phone, PhonePairing};
pub use self::error::ServerError;
pub use self::future_times::ClockRepair;
pub use self::message::Message;
pub use self::names::escape_name;
pub use self::state::Server;
pub use tower_toopher::crypto::SealingKey;

impl Server {
    /// The API under `/v1`, the API of phones under `/phone/v1`, and the page of a phone at `/phone`.
    ///
    /// Other paths get an error in the format of the API. Browsers get a page at the root that links to the page of a
    /// phone.
    pub fn router(&self) -> Router {
        let v1 = Router::new()
            .route("/pairings/create", post(pairings::create))
            .route("/pairings/create/qr", post(pairings::create_qr))
            .route("/pairings/create/sms", post(pairings::create_sms))
            .route("/pairings/upgrade", post(upgrade::upgrade))
            .route("/qr/pairings/{id}", get(pairings::qr))
            .route("/pairings/{id}", get(pairings::status).post(pairings::update))
            .route("/pairings/{id}/generate_reset_link", post(reset::generate_link))
            .route("/pairings/{id}/send_reset_link", post(reset::send_link))
            .route("/pairings/{id}/reset", get(reset::show).post(reset::submit))
            .route("/authentication_requests/initiate", post(initiate::initiate))
            .route("/authentication_requests/{id}", get(requests::status))
            .route("/authentication_requests/{id}/otp_auth", post(requests::otp_auth))
            .route("/authentication_requests/{id}/cancel", post(requests::cancel))
            .route("/users/create", post(users::create))
            .route("/users", get(users::find))
            .route("/users/reset", post(users::reset))
            .route("/users/activate_next_otp_list", post(users::activate_next_otp_list))
            .route("/users/{id}", get(users::status).post(users::update))
            .route("/users/{id}/pairings", get(pairings::list))
            .route("/user_terminals/create", post(terminals::create))
            .route("/user_terminals/{id}", get(terminals::status).post(terminals::update));
        Router::new()
            // Some clients request the pages under /v1, others at the root.
            .nest("/v1", v1.nest("/web", web::router()))
            .nest("/web", web::router())
            .nest("/phone/v1", phone::router())
            .merge(phone::page())
            .fallback(root::fallback)
            .method_not_allowed_fallback(async || ApiError::NOT_ALLOWED)
            .layer(from_fn(client_address::scope))
            .layer(map_request(record_path))
            .layer(map_response(name_charset))
            .with_state(self.clone())
    }
}

/// Names the character encoding of JSON. It is always UTF-8 (RFC 8259 section 8.1), but Java 1.x and .NET decode a
/// response without this parameter as Latin-1.
async fn name_charset(mut response: Response) -> Response {
    if let Some(media_type) = response.headers_mut().get_mut(header::CONTENT_TYPE)
        && media_type == "application/json"
    {
        *media_type = HeaderValue::from_static("application/json; charset=utf-8");
    }
    response
}
