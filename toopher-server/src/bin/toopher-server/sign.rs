//! Signs a call for curl.

use std::time::{SystemTime, UNIX_EPOCH};

use toopher_oauth1::{Credentials, ServiceUrl, sign};

use crate::error::Error;
use crate::options::Sign;

/// Returns a call in the format of `curl -K`.
pub(crate) fn sign_call(call: &Sign) -> Result<String, Error> {
    // Only from the environment: other users of the machine can read the command line.
    let variable = |name: &str| std::env::var(name).map_err(|_| format!("{name} is not set"));
    let url: ServiceUrl =
        variable("TOOPHER_BASE_URL")?.parse().map_err(|error| format!("TOOPHER_BASE_URL: {error}"))?;
    let base = url.join(&format!("/{}", call.path))?;
    let split = |parameter: &'_ String| -> Result<(String, String), Error> {
        let (name, value) = parameter.split_once('=').ok_or("a parameter has the form name=value")?;
        Ok((name.to_owned(), value.to_owned()))
    };
    let parameters: Vec<(String, String)> = call.parameters.iter().map(split).collect::<Result<_, _>>()?;
    let parameters: Vec<(&str, &str)> = parameters.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    let credentials = Credentials::new(variable("TOOPHER_CONSUMER_KEY")?, variable("TOOPHER_CONSUMER_SECRET")?)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let method = call.method.to_ascii_uppercase();
    let header = sign::authorization(&credentials, &method, &base, &parameters, &sign::nonce()?, now);
    let encoded = form_urlencoded::Serializer::new(String::new()).extend_pairs(&parameters).finish();
    let (query, form) = match method.as_str() {
        "GET" if encoded.is_empty() => (String::new(), String::new()),
        "GET" => (format!("?{encoded}"), String::new()),
        _ => (String::new(), format!("data = \"{encoded}\"\n")),
    };
    // In curl's format, only the header needs escaping: the rest is percent-encoded or checked by `BaseUri`.
    let (base, header) = (base.as_str(), header.to_str()?.replace('"', "\\\""));
    Ok(format!("url = \"{base}{query}\"\nrequest = \"{method}\"\nheader = \"Authorization: {header}\"\n{form}"))
}
