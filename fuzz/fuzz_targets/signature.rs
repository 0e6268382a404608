//! A signed call with any parameters, signed and sent as each kind of client does, and then changed in any bytes: the
//! signature is rejected, or it covers the same parameters.
#![no_main]

use std::collections::BTreeSet;

use form_urlencoded::Serializer;
use libfuzzer_sys::fuzz_target;
use toopher_oauth1::{BaseUri, Credentials, OauthRequest, sign};

const UNSENT: [&str; 2] = ["security_question", "security_answer"];

type Pairs<'a> = Vec<(&'a str, &'a str)>;

fuzz_target!(|input: (Pairs<'_>, u8, Vec<(bool, u16, u8, u8)>)| {
    let (pairs, style, edits) = input;
    // The OAuth parameters are in the header.
    if pairs.iter().any(|(name, _)| name.starts_with("oauth_")) {
        return;
    }
    let encoded = Serializer::new(String::new()).extend_pairs(&pairs).finish();
    let plain = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&");
    let (method, query, form, unsent): (_, String, String, &[&str]) = match style % 5 {
        0 => ("GET", encoded, String::new(), &[]),
        1 => ("POST", String::new(), encoded, &[]),
        2 => ("POST", plain, encoded, &[]),
        3 => ("GET", encoded.replace('+', "%20").replace("%2B", "+"), String::new(), &[]),
        _ => ("POST", String::new(), encoded, &UNSENT),
    };
    let signed: Pairs<'_> = pairs.iter().copied().chain(unsent.iter().map(|name| (*name, ""))).collect();
    let credentials = Credentials::new("key", "secret").unwrap();
    let base = BaseUri::new("https", "mfa.example.test", "/v1/users").unwrap();
    let header = sign::authorization(&credentials, method, &base, &signed, "nonce", 1);

    let (mut query, mut form) = (query.into_bytes(), form.into_bytes());
    for (in_form, at, kind, byte) in edits {
        let part = if in_form { &mut form } else { &mut query };
        let at = usize::from(at) % (part.len() + 1);
        match kind % 3 {
            0 => part.insert(at, byte),
            1 if at < part.len() => part[at] = byte,
            _ if at < part.len() => drop(part.remove(at)),
            _ => {}
        }
    }
    let Ok(query) = std::str::from_utf8(&query) else { return };
    let Ok(request) = OauthRequest::parse(method, base, [header.as_bytes()], Some(query), Some(&form)) else { return };
    if let Some(verified) = request.signed_parameters("secret", &UNSENT) {
        let verified: BTreeSet<_> = verified.iter().map(|pair| (pair.name, pair.value)).collect();
        assert_eq!(verified, signed.into_iter().collect());
        assert_eq!((request.nonce(), request.timestamp()), ("nonce", 1));
    }
});
