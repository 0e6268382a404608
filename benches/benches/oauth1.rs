//! The cost of signing and of checking a call of the Toopher API.
//!
//! Run with `cargo bench -p tower-toopher-benches --features full --bench oauth1`. The call has six parameters. A
//! signed call is its `Authorization` header and its form. Nonce and timestamp are constants, because they cost the
//! same with every implementation.

use std::fmt::Display;
use std::num::NonZeroU64;

use http::HeaderValue;
use oauth1_request as oauth;
use toopher_oauth1::{BaseUri, Credentials, OauthRequest, sign};
use tower_toopher_benches::{Contender, compare};

const BATCH_SIZE: usize = 200;
const URL: (&str, &str, &str) = ("https", "mfa.example.test", "/v1/authentication_requests/initiate");
const KEY: &str = "4f1c93d0a8b24c6e9d7a51b0c2e8f364";
const SECRET: &str = "b7d1e0c95a4f42c8a6d3f1907c5be284";
const NONCE: &str = "0123456789abcdef0123456789abcdef";
const NOW: u64 = 1_700_000_000;
const PARAMETERS: [(&str, &str); 6] = [
    ("action_name", "transfer 1,250.00 CHF"),
    ("automation_allowed", "false"),
    ("otp", "081804"),
    ("terminal_name", "Zo\u{eb}'s laptop"),
    ("terminal_name_extra", "f0b1c2d3e4a59687"),
    ("user_name", "zoe+alerts@example.test"),
];

fn main() {
    let batch = || vec![(); BATCH_SIZE];
    let (header, body) = sign_call();
    let base = base_uri();
    let parse = move |header: &HeaderValue, body: &str| {
        OauthRequest::parse("POST", base.clone(), [header.as_bytes()], None, Some(body.as_bytes())).unwrap()
    };
    let check = {
        let (parse, header, body) = (parse.clone(), header.clone(), body.clone());
        move |()| assert!(parse(&header, &body).signed_parameters(SECRET, &[]).is_some())
    };
    let check_wrong = move |()| assert!(parse(&header, &body).signed_parameters("another", &[]).is_none());
    compare(
        "OAuth 1.0a, six parameters",
        vec![
            Contender::new("oauth1-request, signing", batch, |()| sign_with_oauth1_request()),
            Contender::new("signing", batch, |()| sign_call()).relative_to("oauth1-request, signing", 0.65),
            Contender::new("checking, right", batch, check).relative_to("signing", 1.20),
            Contender::new("checking, wrong", batch, check_wrong).relative_to("signing", 1.20),
        ],
    );
}

fn base_uri() -> BaseUri {
    BaseUri::new(URL.0, URL.1, URL.2).unwrap()
}

fn sign_call() -> (HeaderValue, String) {
    thread_local!(static SIGNER: (Credentials, BaseUri) = (Credentials::new(KEY, SECRET).unwrap(), base_uri()));
    let header =
        SIGNER.with(|(credentials, base)| sign::authorization(credentials, "POST", base, &PARAMETERS, NONCE, NOW));
    (header, sign::form(&PARAMETERS))
}

fn sign_with_oauth1_request() -> (HeaderValue, String) {
    thread_local!(static URI: String = format!("{}://{}{}", URL.0, URL.1, URL.2));
    // `oauth1-request` requires sorted parameters.
    let request =
        oauth::request::AssertSorted::new(PARAMETERS.iter().map(|(name, value)| (*name, value as &dyn Display)));
    let mut builder = oauth::Builder::<_, _>::new(oauth::Credentials::new(KEY, SECRET), oauth::HMAC_SHA1);
    builder.nonce(NONCE).timestamp(NonZeroU64::new(NOW)).version(true);
    let header = URI.with(|uri| builder.post(uri, &request));
    (HeaderValue::try_from(header).unwrap(), oauth::to_form(&request))
}
