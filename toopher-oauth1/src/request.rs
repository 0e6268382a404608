//! Verification of a request, whose OAuth parameters may be in the header, the query or the form.

use std::fmt;

use percent_encoding::percent_decode_str;

use crate::base::{BaseUri, Signable};
use crate::check_error::CheckError;
use crate::header;
use crate::pairs::{Pairs, Parameter};
use crate::protocol::Protocol;

/// The maximum length of a nonce in bytes.
const MAX_NONCE: usize = 256;
/// The maximum number of parameters of a request. They are sorted before the signature is verified, so an attacker
/// could otherwise cause much work.
const MAX_PARAMETERS: usize = 256;
/// Twelve digits of seconds are enough for thirty thousand years.
const MAX_TIMESTAMP_DIGITS: usize = 12;

/// A parsed request with a signature, which is only verified by [`signed_parameters`](Self::signed_parameters).
pub struct OauthRequest {
    method: String,
    base: BaseUri,
    header: Pairs,
    query: Pairs,
    form: Pairs,
    /// See [`query_repeats_form`].
    query_repeats_form: bool,
    /// The query, in which each plus is a plus, if the request has no form.
    query_with_pluses: Option<Pairs>,
    timestamp: u64,
}

impl OauthRequest {
    /// Parses a request: its `Authorization` headers, its query, and its body if that is a form.
    ///
    /// The OAuth parameters must be in exactly one of the three (RFC 5849 section 3.5), each of them once. Query and
    /// form are decoded as UTF-8 with replacement of invalid sequences, as some clients sign them: see
    /// [`Parameter::is_utf8`].
    ///
    /// # Errors
    ///
    /// [`CheckError`] when the request is not signed, or its signature cannot be verified.
    pub fn parse<'h>(
        method: &str,
        base: BaseUri,
        authorization: impl IntoIterator<Item = &'h [u8]>,
        query: Option<&str>,
        form: Option<&[u8]>,
    ) -> Result<Self, CheckError> {
        let mut headers = authorization.into_iter().filter_map(header::parse);
        let header = headers.next().transpose().map_err(|_| CheckError::MalformedHeader)?.unwrap_or_default();
        if headers.next().is_some() {
            return Err(CheckError::MalformedHeader);
        }
        let pairs = |encoded: &[u8]| encoded.iter().filter(|&&b| b == b'&').count();
        let count = header.len() + pairs(query.unwrap_or_default().as_bytes()) + pairs(form.unwrap_or_default());
        if count > MAX_PARAMETERS {
            return Err(CheckError::TooMany);
        }
        let (query, form) = (query.unwrap_or_default(), form.unwrap_or_default());
        let mut request = Self {
            method: method.to_owned(),
            base,
            header,
            query: Pairs::from_form(query.as_bytes()),
            form: Pairs::from_form(form),
            query_repeats_form: false,
            query_with_pluses: None,
            timestamp: 0,
        };
        request.timestamp = request.check()?;
        // The OAuth parameters are in the header.
        if request.header.iter().any(|pair| pair.name == "oauth_signature") {
            request.query_repeats_form = query_repeats_form(query, &request.query, &request.form);
            request.query_with_pluses = (request.form.is_empty() && query.contains('+'))
                .then(|| Pairs::from_query_with_pluses(query.as_bytes()));
        }
        Ok(request)
    }

    fn check(&self) -> Result<u64, CheckError> {
        let found = Protocol::find([&self.header, &self.query, &self.form]);
        match found.signed_sources {
            0 => return Err(CheckError::Unsigned),
            1 => {}
            _ => return Err(CheckError::Repeated),
        }
        for (count, _) in found.required {
            match count {
                0 => return Err(CheckError::Unsigned),
                1 => {}
                _ => return Err(CheckError::Repeated),
            }
        }
        let [_, (_, nonce), _, (_, method), (_, digits)] = found.required;
        if method != "HMAC-SHA1" || found.versions > 1 || found.has_other_version || found.has_token {
            return Err(CheckError::Unsupported);
        }
        if !(1..=MAX_NONCE).contains(&nonce.len()) {
            return Err(CheckError::BadNonce);
        }
        if found.sources > 1 {
            return Err(CheckError::Scattered);
        }
        // The base string would contain them, and no caller would read them: an intermediary could move a parameter
        // from the form into the header, where it has no effect.
        if self.header.iter().any(|pair| !pair.is_protocol()) {
            return Err(CheckError::MalformedHeader);
        }
        if digits.len() > MAX_TIMESTAMP_DIGITS || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(CheckError::BadTimestamp);
        }
        digits.parse().map_err(|_| CheckError::BadTimestamp)
    }

    /// The parameters that the valid signature covers, without those of OAuth. `None` if the signature is not valid for
    /// this consumer secret.
    ///
    /// A server must use these parameters, and must not parse the query or the form again. Some original clients do not
    /// sign what they send, so up to four base strings are compared. Each of them consists of the method, the URL, the
    /// OAuth parameters, and exactly the parameters that are returned:
    ///
    /// 1. the parameters of the query and the form (RFC 5849);
    /// 2. those of the form alone, if the query repeats them. .NET signs each parameter once and sends it twice:
    ///    encoded in the form, and without encoding in the query. There a plus is not a space, `&` splits a value, and
    ///    `#` ends the query;
    /// 3. those of the query with each plus as a plus, if there is no form: .NET's queries of calls without a form;
    /// 4. the same as 1, and each name of `unsent` with an empty value, if the request has none of these parameters.
    ///    PHP 2.0 signs them without sending them. The server names them, since they depend on the call.
    ///
    /// The cases 2 and 3 need all OAuth parameters in the header.
    #[must_use]
    pub fn signed_parameters<'a>(&'a self, secret: &str, unsent: &[&'a str]) -> Option<Vec<Parameter<'a>>> {
        let signature = self.one("oauth_signature");
        let verified = |parameters: Vec<Parameter<'a>>| {
            let header = self.header.iter();
            let signed = header.chain(parameters.iter().copied()).filter(|pair| pair.name != "oauth_signature");
            let signable = Signable::new(&self.method, &self.base, signed.map(|pair| (pair.name, pair.value)));
            signable.is_signature(secret, signature).then_some(parameters)
        };
        let all = || self.query.iter().chain(self.form.iter()).collect::<Vec<_>>();
        let mut parameters = verified(all());
        if parameters.is_none() && self.query_repeats_form {
            parameters = verified(self.form.iter().collect());
        }
        if parameters.is_none()
            && let Some(query) = &self.query_with_pluses
        {
            parameters = verified(query.iter().collect());
        }
        if parameters.is_none() && !unsent.is_empty() && !unsent.iter().any(|name| self.all(name).next().is_some()) {
            let empty = unsent.iter().map(|name| Parameter { name, value: "", is_utf8: true });
            parameters = verified(all().into_iter().chain(empty).collect());
        }
        let mut parameters = parameters?;
        parameters.retain(|pair| !pair.is_protocol());
        Some(parameters)
    }

    /// The consumer key, which the sender claims to have.
    #[must_use]
    pub fn consumer_key(&self) -> &str {
        self.one("oauth_consumer_key")
    }

    /// The nonce, which must be unique for each key and timestamp: text of up to 256 bytes.
    #[must_use]
    pub fn nonce(&self) -> &str {
        self.one("oauth_nonce")
    }

    /// The time of the signature, in seconds since the Unix epoch.
    #[must_use]
    pub fn timestamp(&self) -> u64 {
        self.timestamp
    }

    fn pairs(&self) -> impl Iterator<Item = Parameter<'_>> {
        self.header.iter().chain(self.query.iter()).chain(self.form.iter())
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.pairs().filter(move |pair| pair.name == name).map(|pair| pair.value)
    }

    fn one(&self, name: &str) -> &str {
        self.all(name).next().unwrap_or_default()
    }
}

impl fmt::Debug for OauthRequest {
    /// Omits the parameters, which may contain an OTP.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OauthRequest")
            .field("method", &self.method)
            .field("base", &self.base)
            .field("consumer_key", &self.consumer_key())
            .field("timestamp", &self.timestamp)
            .finish_non_exhaustive()
    }
}

/// Whether the query has the parameters of the form and no others, so that it can be left out.
///
/// Either each of its parameters is in the form as well, or the query is the text of the form's parameters without
/// their encoding: .NET's `WebClient` joins names and values, and then `Uri` encodes the characters that no URL
/// contains, and ends the query at the first `#`.
fn query_repeats_form(text: &str, query: &Pairs, form: &Pairs) -> bool {
    if query.is_empty() || form.is_empty() {
        return false;
    }
    let is_in_form = |pair: Parameter<'_>| form.iter().any(|other| other == pair);
    if query.iter().all(is_in_form) {
        return true;
    }
    let pairs: Vec<_> = form.iter().map(|pair| format!("{}={}", pair.name, pair.value)).collect();
    let plain = pairs.join("&");
    let is_sent = |plain: &str| percent_decode_str(text).eq(percent_decode_str(plain));
    is_sent(&plain) || plain.split_once('#').is_some_and(|(before, _)| is_sent(before))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use form_urlencoded::Serializer;
    use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
    use proptest::prelude::*;

    use super::*;
    use crate::{Credentials, sign};

    const PATH: &str = "/v1/pairings/create";
    /// The characters that .NET's `Uri` encodes in a query.
    const NOT_IN_A_URL: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'\\').add(b'^').add(b'`');
    const UNSENT: [&str; 2] = ["security_question", "security_answer"];

    /// A call as it is sent.
    #[derive(Clone, Debug)]
    struct Call {
        method: &'static str,
        path: &'static str,
        header: String,
        query: Vec<u8>,
        form: Vec<u8>,
    }

    /// How a client signs and sends the parameters.
    #[derive(Clone, Copy, Debug)]
    enum Style {
        Query,
        Form,
        Both,
        DotNetPost,
        DotNetGet,
        Unsent,
    }

    const STYLES: [Style; 6] =
        [Style::Query, Style::Form, Style::Both, Style::DotNetPost, Style::DotNetGet, Style::Unsent];

    fn base(path: &str) -> BaseUri {
        BaseUri::new("https", "mfa.example.test", path).unwrap()
    }

    fn encode(pairs: &[(&str, &str)]) -> Vec<u8> {
        Serializer::new(String::new()).extend_pairs(pairs).finish().into_bytes()
    }

    /// The query of .NET: joined without encoding, and then made a URL.
    fn plain(pairs: &[(&str, &str)]) -> Vec<u8> {
        let text = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&");
        let text = text.split('#').next().unwrap_or_default();
        utf8_percent_encode(text, NOT_IN_A_URL).to_string().into_bytes()
    }

    fn call(style: Style, pairs: &[(&str, &str)]) -> Call {
        let credentials = Credentials::new("key", "secret").unwrap();
        let (first, second) = pairs.split_at(pairs.len() / 2);
        let with_pluses = || {
            let text = String::from_utf8(encode(pairs)).unwrap();
            text.replace('+', "%20").replace("%2B", "+").into_bytes()
        };
        let (method, query, form) = match style {
            Style::Query => ("GET", encode(pairs), Vec::new()),
            Style::Form | Style::Unsent => ("POST", Vec::new(), encode(pairs)),
            Style::Both => ("POST", encode(first), encode(second)),
            Style::DotNetPost => ("POST", plain(pairs), encode(pairs)),
            Style::DotNetGet => ("GET", with_pluses(), Vec::new()),
        };
        let mut signed = pairs.to_vec();
        if let Style::Unsent = style {
            signed.extend(UNSENT.map(|name| (name, "")));
        }
        let header = sign::authorization(&credentials, method, &base(PATH), &signed, "nonce", 1);
        Call { method, path: PATH, header: header.to_str().unwrap().to_owned(), query, form }
    }

    /// The parameters that the call means, if its signature is valid.
    fn verified(call: &Call) -> Option<BTreeSet<(String, String)>> {
        let query = str::from_utf8(&call.query).ok()?;
        let header = call.header.as_bytes();
        let parsed = OauthRequest::parse(call.method, base(call.path), [header], Some(query), Some(&call.form)).ok()?;
        let signed = parsed.signed_parameters("secret", &UNSENT)?;
        assert_eq!((parsed.consumer_key(), parsed.nonce(), parsed.timestamp()), ("key", "nonce", 1));
        Some(signed.iter().map(|pair| (pair.name.to_owned(), pair.value.to_owned())).collect())
    }

    fn meaning(style: Style, pairs: &[(&str, &str)]) -> BTreeSet<(String, String)> {
        let unsent = UNSENT.map(|name| (name, ""));
        let unsent = if let Style::Unsent = style { &unsent[..] } else { &[] };
        pairs.iter().chain(unsent).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    /// One change of a call in transit.
    #[derive(Clone, Debug)]
    enum Change {
        Method,
        Path,
        Byte { in_form: bool, at: usize, byte: u8 },
        Insert { in_form: bool, at: usize, byte: u8 },
        Delete { in_form: bool, at: usize },
        Add { in_form: bool, pair: &'static str },
        Remove { in_form: bool, at: usize },
        Repeat { from_form: bool, to_form: bool, at: usize },
        Move { from_form: bool, at: usize },
        Header { pair: &'static str },
    }

    impl Change {
        fn apply(&self, call: &mut Call) {
            let part =
                |call: &mut Call, in_form| std::mem::take(if in_form { &mut call.form } else { &mut call.query });
            let put =
                |call: &mut Call, in_form, bytes| *(if in_form { &mut call.form } else { &mut call.query }) = bytes;
            let split = |bytes: &[u8]| bytes.split(|&b| b == b'&').map(<[u8]>::to_vec).collect::<Vec<_>>();
            match *self {
                Self::Method => call.method = if call.method == "GET" { "POST" } else { "GET" },
                Self::Path => call.path = "/v1/pairings/create/qr",
                Self::Byte { in_form, at, byte } => {
                    let mut bytes = part(call, in_form);
                    if let Some(len) = bytes.len().checked_sub(1) {
                        bytes[at % (len + 1)] = byte;
                    }
                    put(call, in_form, bytes);
                }
                Self::Insert { in_form, at, byte } => {
                    let mut bytes = part(call, in_form);
                    bytes.insert(at % (bytes.len() + 1), byte);
                    put(call, in_form, bytes);
                }
                Self::Delete { in_form, at } => {
                    let mut bytes = part(call, in_form);
                    if !bytes.is_empty() {
                        bytes.remove(at % bytes.len());
                    }
                    put(call, in_form, bytes);
                }
                Self::Add { in_form, pair } => {
                    let mut pairs = split(&part(call, in_form));
                    pairs.push(pair.into());
                    put(call, in_form, pairs.join(&b'&'));
                }
                Self::Remove { in_form, at } => {
                    let mut pairs = split(&part(call, in_form));
                    pairs.remove(at % pairs.len());
                    put(call, in_form, pairs.join(&b'&'));
                }
                Self::Repeat { from_form, to_form, at } => {
                    let from = split(if from_form { &call.form } else { &call.query });
                    let mut to = split(&part(call, to_form));
                    to.push(from[at % from.len()].clone());
                    put(call, to_form, to.join(&b'&'));
                }
                Self::Move { from_form, at } => {
                    let mut from = split(&part(call, from_form));
                    let moved = from.remove(at % from.len());
                    put(call, from_form, from.join(&b'&'));
                    let mut to = split(&part(call, !from_form));
                    to.push(moved);
                    put(call, !from_form, to.join(&b'&'));
                }
                Self::Header { pair } => call.header.push_str(pair),
            }
        }
    }

    /// Texts of the characters that encoders and parsers disagree about.
    fn text() -> impl Strategy<Value = String> {
        proptest::string::string_regex("[a-c01 +&=#%~*'/.\u{e9}\u{fffd}\u{2028}]{0,5}").unwrap()
    }

    fn pairs() -> impl Strategy<Value = Vec<(String, String)>> {
        let name = prop_oneof![Just("user_name".to_owned()), Just("otp".into()), Just("phone_number".into()), text()];
        prop::collection::vec((name, text()), 0..5)
    }

    fn change() -> impl Strategy<Value = Change> {
        let added =
            ["otp=1", "user_name=eve", "security_question=", "security_answer=x", "oauth_nonce=other", "=", "%E9"];
        let byte = prop_oneof![prop::sample::select(&b"&=+%#1a\xe9"[..]), any::<u8>()];
        prop_oneof![
            Just(Change::Method),
            Just(Change::Path),
            (any::<bool>(), any::<usize>(), byte.clone()).prop_map(|(in_form, at, byte)| Change::Byte {
                in_form,
                at,
                byte
            }),
            (any::<bool>(), any::<usize>(), byte).prop_map(|(in_form, at, byte)| Change::Insert { in_form, at, byte }),
            (any::<bool>(), any::<usize>()).prop_map(|(in_form, at)| Change::Delete { in_form, at }),
            (any::<bool>(), prop::sample::select(added.to_vec()))
                .prop_map(|(in_form, pair)| Change::Add { in_form, pair }),
            (any::<bool>(), any::<usize>()).prop_map(|(in_form, at)| Change::Remove { in_form, at }),
            (any::<bool>(), any::<bool>(), any::<usize>()).prop_map(|(from_form, to_form, at)| Change::Repeat {
                from_form,
                to_form,
                at
            }),
            (any::<bool>(), any::<usize>()).prop_map(|(from_form, at)| Change::Move { from_form, at }),
            prop::sample::select(vec![", otp=\"1\"", ", oauth_nonce=\"other\"", ", oauth_token=\"t\""])
                .prop_map(|pair| Change::Header { pair }),
        ]
    }

    /// An intermediary must not move a parameter from the form to the header, where no caller reads it.
    #[test]
    fn parameters_in_the_header_are_rejected() {
        let credentials = Credentials::new("key", "secret").unwrap();
        let form = [("otp", "000000"), ("user_name", "jdoe")];
        let header = sign::authorization(&credentials, "POST", &base(PATH), &form, "n", 1_700_000_000);
        let header = header.to_str().unwrap();
        let parse = |header: &str, form: &[u8]| {
            OauthRequest::parse("POST", base(PATH), [header.as_bytes()], None, Some(form)).map(drop)
        };
        assert!(parse(header, b"otp=000000&user_name=jdoe").is_ok());
        for (moved, left) in [("otp=\"000000\"", "user_name=jdoe"), ("user_name=\"jdoe\"", "otp=000000")] {
            let error = parse(&format!("{header}, {moved}"), left.as_bytes()).unwrap_err();
            assert_eq!(error, CheckError::MalformedHeader);
        }
        // The realm is not part of the base string (RFC 5849 section 3.4.1.3.1).
        assert!(parse(&format!("{header}, realm=\"x\""), b"otp=000000&user_name=jdoe").is_ok());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1024))]

        /// Every style is accepted with what it has signed, and a changed call is rejected, or has the same meaning.
        #[test]
        fn a_changed_call_is_rejected_or_has_the_same_meaning(
            style in prop::sample::select(&STYLES[..]),
            pairs in pairs(),
            changes in prop::collection::vec(change(), 1..4),
        ) {
            let pairs: Vec<_> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let mut call = call(style, &pairs);
            let meaning = meaning(style, &pairs);
            prop_assert_eq!(verified(&call), Some(meaning.clone()));
            let sent = call.clone();
            for change in changes {
                change.apply(&mut call);
                if let Some(verified) = verified(&call) {
                    prop_assert_eq!(&verified, &meaning, "{:?}", call);
                    prop_assert_eq!((call.method, call.path), (sent.method, sent.path));
                }
            }
        }
    }

    #[test]
    fn dot_net_repeats_the_form_without_encoding() {
        let pairs = |value: &'static str| [("user_name", value), ("phone_number", "+15555555555")];
        for value in ["u", "a&b", "a#b", "a=b&c=d#e", "50%", "a%20b", "%2525", "zo\u{eb} + co", "a b", "\"<^\\"] {
            let pairs = pairs(value);
            let sent = call(Style::DotNetPost, &pairs);
            assert_eq!(verified(&sent), Some(meaning(Style::DotNetPost, &pairs)), "{value}");
            // The query of another call.
            for query in ["user_name=eve", "user_name=u&phone_number=+15555555556", "x"] {
                let other = Call { query: query.into(), ..sent.clone() };
                assert_eq!(verified(&other), None, "{value} {query}");
            }
            assert_eq!(verified(&Call { form: b"user_name=eve".to_vec(), ..sent }), None);
        }
        let sent = call(Style::DotNetPost, &pairs("u"));
        assert_eq!(sent.query, b"user_name=u&phone_number=+15555555555");
        assert_eq!(sent.form, b"user_name=u&phone_number=%2B15555555555");
    }

    #[test]
    fn parameters_that_are_signed_and_not_sent() {
        let sent = call(Style::Unsent, &[]);
        assert_eq!(verified(&sent), Some(meaning(Style::Unsent, &[])));
        for form in ["security_question=", "security_answer=a", "security_question=q&security_answer=a", "otp=1"] {
            assert_eq!(verified(&Call { form: form.into(), ..sent.clone() }), None, "{form}");
        }
        // Only where the server names them.
        let parsed = OauthRequest::parse("POST", base(PATH), [sent.header.as_bytes()], None, None).unwrap();
        assert!(parsed.signed_parameters("secret", &[]).is_none());
        assert!(parsed.signed_parameters("secret", &["security_question"]).is_none());
    }
}
