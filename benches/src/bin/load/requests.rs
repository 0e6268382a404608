//! The requests for the load generator.

use std::fmt::Write;

use http_body_util::BodyExt;
use toopher_server_test_support::site::Site;

use crate::input::{BoxError, Load};

/// Ends with the field of the code.
const FORM: &str = "to=CH9300762011623852957&name=Bob+Miller&street=Long+Lane+7&city=Zurich&amount=1250.00&currency=CHF\
                    &reference=invoice+2026-0815&memo=with+%26+without&date=2026-11-30&csrf=3a7bd3e2360a3d29ee&otp=";

/// Requests in the format that `wrk.lua` reads.
#[derive(Default)]
pub(crate) struct Requests(String);

impl Requests {
    fn push(&mut self, request: &str) {
        let _ = writeln!(self.0, "{}\n{request}", request.len());
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0.into_bytes()
    }
}

impl Load {
    /// Returns requests with the code in the header.
    pub(crate) fn header_requests(&self, reach: i64) -> Requests {
        let mut requests = Requests::default();
        for (user, code) in self.codes(reach) {
            let (host, code) = (self.address, code.as_str());
            requests.push(&format!("GET / HTTP/1.1\r\nhost: {host}\r\nx-user: {user}\r\ntoopher-otp: {code}\r\n\r\n"));
        }
        requests
    }

    /// Returns requests with the code in a form.
    pub(crate) fn form_requests(&self, reach: i64) -> Requests {
        let mut requests = Requests::default();
        for (user, code) in self.codes(reach) {
            let (host, form) = (self.address, format!("{FORM}{}", code.as_str()));
            requests.push(&format!(
                "POST / HTTP/1.1\r\nhost: {host}\r\nx-user: {user}\r\n\
                 content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{form}",
                form.len()
            ));
        }
        requests
    }

    /// Returns signed calls of the API.
    pub(crate) async fn signed_calls(&self, site: &Site, reach: i64) -> Result<Requests, BoxError> {
        let mut requests = Requests::default();
        for (user, code) in self.codes(reach) {
            let parameters = [("user_name", user), ("otp", code.as_str())];
            let (head, body) = site.signed("POST", "authentication_requests/initiate", &parameters).into_parts();
            let body = body.collect().await?.to_bytes();
            let mut text = format!("POST {} HTTP/1.1\r\nhost: {}\r\n", head.uri, self.address);
            for (name, value) in &head.headers {
                let _ = write!(text, "{name}: {}\r\n", value.to_str()?);
            }
            let _ = write!(text, "content-length: {}\r\n\r\n{}", body.len(), str::from_utf8(&body)?);
            requests.push(&text);
        }
        Ok(requests)
    }
}
