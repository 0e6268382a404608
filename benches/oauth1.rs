//! What signing and checking a call of the Toopher API costs.
//!
//! Run with `cargo bench --bench oauth1`. A call with six parameters: its `Authorization` header and its form. Nonce and
//! timestamp are given, since they cost the same everywhere.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::fmt::Display;
use std::num::NonZeroU64;

use form_urlencoded::Serializer;
use http::HeaderValue;
use oauth1_request as oauth;
use support::{Contender, compare};
use tower_toopher::oauth1::{BaseUri, Credentials, OauthRequest, sign};

const BATCH: usize = 200;
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
    let times = || vec![(); BATCH];
    let (header, body) = signed();
    let base = base();
    let parse = move |header: &HeaderValue, body: &str| {
        OauthRequest::parse("POST", base.clone(), [header.as_bytes()], None, Some(body.as_bytes())).unwrap()
    };
    let check = {
        let (parse, header, body) = (parse.clone(), header.clone(), body.clone());
        move |()| assert!(parse(&header, &body).is_signed_with(SECRET))
    };
    let refuse = move |()| assert!(!parse(&header, &body).is_signed_with("another"));
    compare(
        "OAuth 1.0a, six parameters",
        vec![
            Contender::each("oauth1-request, signing", times, |()| by_oauth1_request()),
            Contender::each("signing", times, |()| signed()).against("oauth1-request, signing", 0.65),
            Contender::each("checking, right", times, check).against("signing", 1.50),
            Contender::each("checking, wrong", times, refuse).against("signing", 1.50),
        ],
    );
}

fn base() -> BaseUri {
    BaseUri::new(URL.0, URL.1, URL.2).unwrap()
}

fn signed() -> (HeaderValue, String) {
    thread_local!(static BY: (Credentials, BaseUri) = (Credentials::new(KEY, SECRET).unwrap(), base()));
    let header = BY.with(|(by, base)| sign::authorization(by, "POST", base, &PARAMETERS, NONCE, NOW));
    (header, Serializer::new(String::new()).extend_pairs(PARAMETERS).finish())
}

fn by_oauth1_request() -> (HeaderValue, String) {
    thread_local!(static URI: String = format!("{}://{}{}", URL.0, URL.1, URL.2));
    // Its parameters must be sorted, as these are.
    let request =
        oauth::request::AssertSorted::new(PARAMETERS.iter().map(|(name, value)| (*name, value as &dyn Display)));
    let mut builder = oauth::Builder::<_, _>::new(oauth::Credentials::new(KEY, SECRET), oauth::HMAC_SHA1);
    builder.nonce(NONCE).timestamp(NonZeroU64::new(NOW)).version(true);
    let header = URI.with(|uri| builder.post(uri, &request));
    (HeaderValue::try_from(header).unwrap(), oauth::to_form(&request))
}
