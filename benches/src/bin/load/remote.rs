//! The layer with the verifier that calls a Toopher API, and handlers that make one unsigned call instead.

use std::net::SocketAddr;

use axum::Router;
use axum::response::IntoResponse;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use toopher_oauth1::Credentials;
use tower::Service;
use tower_toopher::ToopherLayer;
use tower_toopher::client::{ApiCall, ApiResponse, HyperTransport, ReqwestTransport, ToopherClient, ToopherVerifier};

use crate::input::{BoxError, Load, inner_service, user_of};

const FORM_TYPE: &str = "application/x-www-form-urlencoded";
/// The API's response to a right one-time password.
const GRANTED: &str = r#"{"id":"1","pending":false,"granted":true,"automated":false,"reason":"","reason_code":0}"#;
/// The parameters of the verifier's call.
const CALL: &str = "user_name=user-000000&action_name=log+in&otp=081804";

/// Returns an API that grants every call at once.
pub(crate) fn granting_api() -> Router {
    Router::new().fallback(async || ([("content-type", "application/json")], GRANTED).into_response())
}

/// Returns the application of a mode, which calls the API at `api`.
pub(crate) fn app(load: &Load, mode: &str, api: SocketAddr, credentials: Credentials) -> Result<Router, BoxError> {
    let url = format!("http://{api}/v1/authentication_requests/initiate");
    let base = format!("http://{api}/v1/").parse()?;
    Ok(match mode {
        "bare-reqwest" => {
            let client = reqwest::Client::builder().build()?;
            Router::new().fallback(async move || {
                let call = client.post(&url).header("content-type", FORM_TYPE).body(CALL);
                let response = call.send().await.unwrap().bytes().await.unwrap();
                assert_eq!(response, GRANTED);
                "in"
            })
        }
        "bare-hyper" => {
            let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
            Router::new().fallback(async move || {
                let call = http::Request::post(&url).header("content-type", FORM_TYPE);
                let response = client.request(call.body(CALL.into()).unwrap()).await.unwrap();
                assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), GRANTED);
                "in"
            })
        }
        "layer-reqwest" => with_layer(load, ToopherClient::with_transport(base, credentials, ReqwestTransport::new()?)),
        _ => with_layer(load, ToopherClient::with_transport(base, credentials, HyperTransport::new()?)),
    })
}

fn with_layer<T>(load: &Load, client: ToopherClient<T>) -> Router
where
    ToopherClient<T>: Service<ApiCall, Response = ApiResponse, Error: Into<tower_toopher::BoxError>, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static,
{
    let verifier = ToopherVerifier::new(client.clock(load.clock()));
    inner_service().layer(ToopherLayer::new(verifier).identify(|parts| user_of(&parts.headers)))
}
