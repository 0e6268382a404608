//! Any bytes as an `Authorization` header, with any query and form: taken apart or refused, and never signed with a
//! secret that nobody has used.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tower_toopher::oauth1::{BaseUri, OauthRequest};

fuzz_target!(|input: (&[u8], &str, &[u8])| {
    let (header, query, form) = input;
    let base = BaseUri::new("https", "mfa.example.test", "/v1/users").unwrap();
    for prefix in ["", "OAuth "] {
        let header = [prefix.as_bytes(), header].concat();
        if let Ok(request) = OauthRequest::parse("POST", base.clone(), [header.as_slice()], Some(query), Some(form)) {
            assert!((1..=256).contains(&request.nonce().len()));
            assert!(!request.is_signed_with("a secret that nobody has used"));
            assert!(!format!("{request:?}").contains("oauth_signature"));
        }
    }
});
