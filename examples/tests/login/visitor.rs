//! A client that sends any request, without a browser.

use serde_json::json;
use toopher_server_test_support::site::Phone;

use super::{Site, WithServer};

/// A session with the site.
pub(super) struct Visitor {
    pub(super) http: reqwest::Client,
    pub(super) url: String,
    pub(super) cookies: Vec<(String, String)>,
    pub(super) csrf: String,
}

/// A response of the site.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) location: String,
    pub(super) headers: String,
    pub(super) body: String,
}

impl Visitor {
    pub(super) async fn new(site: &Site) -> Self {
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let mut visitor = Self { http, url: site.0.url.clone(), cookies: Vec::new(), csrf: String::new() };
        visitor.get("/login").await;
        visitor
    }

    /// A session whose password was verified.
    pub(super) async fn pending(site: &Site, user: &str, password: &str) -> Self {
        let mut visitor = Self::new(site).await;
        let form = visitor.form(&[("username", user), ("password", password)]);
        assert_eq!(visitor.post("/login", &form, &[]).await.location, "/second");
        visitor.get("/second/late").await;
        visitor
    }

    pub(super) fn form(&self, fields: &[(&str, &str)]) -> String {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("csrf", &self.csrf).extend_pairs(fields).finish()
    }

    pub(super) async fn get(&mut self, path: &str) -> Answer {
        let answer = self.send(self.http.get(format!("{}{path}", self.url))).await;
        if let Some((_, after)) = answer.body.split_once("name=\"csrf\" value=\"") {
            self.csrf = after.split('"').next().unwrap().to_owned();
        }
        answer
    }

    pub(super) async fn post(&mut self, path: &str, form: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = self.http.post(format!("{}{path}", self.url)).body(form.to_owned());
        request = request.header("content-type", "application/x-www-form-urlencoded");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request).await
    }

    async fn send(&mut self, request: reqwest::RequestBuilder) -> Answer {
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let response = request.header("cookie", cookies.join("; ")).send().await.unwrap();
        let mut headers: Vec<_> = response.headers().iter().map(|(name, value)| format!("{name}: {value:?}")).collect();
        for line in response.headers().get_all("set-cookie") {
            let line = line.to_str().unwrap();
            let set = line.contains("HttpOnly") && (line.contains("SameSite=Lax") || line.contains("SameSite=Strict"));
            assert!(set || line.contains("Max-Age=0"), "{line}");
            let (name, value) = line.split(';').next().unwrap().split_once('=').unwrap();
            self.cookies.retain(|(known, _)| known != name);
            self.cookies.push((name.to_owned(), value.to_owned()));
        }
        headers.retain(|header| !header.starts_with("date") && !header.starts_with("set-cookie"));
        let location = response.headers().get("location").map_or("", |path| path.to_str().unwrap()).to_owned();
        let status = response.status().as_u16();
        Answer { status, location, headers: headers.join("\n"), body: response.text().await.unwrap() }
    }

    pub(super) fn session(&self) -> String {
        self.cookies.iter().find(|(name, _)| name == "session").unwrap().1.clone()
    }
}

pub(super) const JSON: &[(&str, &str)] = &[("accept", "application/json")];

/// Approves the pending request, with the number in the site's response, if any.
pub(super) async fn allow(phone: &Phone, response: &Answer) {
    let response: serde_json::Value = serde_json::from_str(&response.body).unwrap();
    let pending = phone.get("requests").await;
    let number = response["number"].as_str().map_or(json!({}), |number| json!({ "number": number }));
    let id = pending[0]["id"].as_str().unwrap();
    assert_eq!(phone.post(&format!("requests/{id}/allow"), number).await.0, 200);
}

/// A site and the phone of alice.
pub(super) async fn with_phone() -> (WithServer, Phone) {
    let with = WithServer::start("60").await;
    let mut phone = Phone::register(&with.app).await;
    let (_, phrase) = phone.post("phrases", json!({})).await;
    let mut alice = Visitor::pending(&with.site, "alice", "wonderland").await;
    let form = alice.form(&[("phrase", phrase["phrase"].as_str().unwrap())]);
    assert_eq!(alice.post("/enroll/phone", &form, &[]).await.location, "/enroll/phone/wait");
    let pending = phone.get("pairings").await;
    let allow = format!("pairings/{}/allow", pending[0]["id"].as_str().unwrap());
    phone.secret = phone.post(&allow, json!({})).await.1["secret"].as_str().map(str::to_owned);
    assert_eq!(alice.get("/enroll/phone/wait").await.location, "/codes");
    (with, phone)
}
