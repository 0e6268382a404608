//! Any bytes, in any cut, as a form: one OTP is found where the reference parser finds one field, and the bytes are
//! handed on as they came.
#![no_main]

use std::convert::Infallible;

use bytes::Bytes;
use futures::executor::block_on;
use futures::stream;
use http::Request;
use http_body_util::{BodyExt, StreamBody};
use libfuzzer_sys::fuzz_target;
use tower_toopher::{Extract, ExtractError, HeaderOrForm, Otp};

fuzz_target!(|input: (&[u8], u8)| {
    let (form, cut) = input;
    let frames: Vec<_> = form
        .chunks(usize::from(cut).max(1))
        .map(|chunk| Ok::<_, Infallible>(http_body::Frame::data(Bytes::copy_from_slice(chunk))))
        .collect();
    let body = StreamBody::new(stream::iter(frames));
    let request = Request::post("/").header("content-type", "application/x-www-form-urlencoded").body(body);
    let (mut parts, body) = request.unwrap().into_parts();

    let extracted = block_on(HeaderOrForm::default().wrapping().extract(&mut parts, body));
    let named: Vec<_> = form_urlencoded::parse(form).filter(|(name, _)| name == "otp").collect();
    match extracted {
        Ok((otp, body)) => {
            assert_eq!(block_on(body.collect()).unwrap().to_bytes(), form);
            assert_eq!(otp.is_some(), named.len() == 1);
            if let Some(otp) = otp {
                assert!(Otp::parse(named[0].1.as_bytes()).is_ok_and(|reference| reference == otp));
            }
        }
        Err(ExtractError::Malformed(_)) => assert_eq!(named.len(), 1),
        Err(ExtractError::Ambiguous) => {
            let lookalike = |name: &str| {
                let stem = name.split('[').next().unwrap_or_default();
                name != "otp" && stem.trim().eq_ignore_ascii_case("otp")
            };
            assert!(named.len() > 1 || form_urlencoded::parse(form).any(|(name, _)| lookalike(&name)));
        }
        Err(error) => panic!("{error}"),
    }
});
