//! Any bytes as an `Authorization` header, with any query and any form: parsing returns an error or a request, and the
//! signature of the request does not match a secret that was never used.
#![no_main]

use libfuzzer_sys::fuzz_target;
use toopher_oauth1::{BaseUri, OauthRequest};

fuzz_target!(|input: (&[u8], &str, &[u8])| {
    let (header, query, form) = input;
    let base = BaseUri::new("https", "mfa.example.test", "/v1/users").unwrap();
    for prefix in ["", "OAuth "] {
        let header = [prefix.as_bytes(), header].concat();
        if let Ok(request) = OauthRequest::parse("POST", base.clone(), [header.as_slice()], Some(query), Some(form)) {
            assert!((1..=256).contains(&request.nonce().len()));
            assert!(request.signed_parameters("a secret that was never used", &[]).is_none());
            assert!(!format!("{request:?}").contains("oauth_signature"));
        }
    }
});
