//! Grants: which requests one is accepted for, what invalidates it, when one is issued, and what an attacker cannot do
//! with it.
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use crate::support::*;
use bytes::Bytes;
use cookie::{Cookie, SameSite as ReadSameSite};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, header};
use proptest::prelude::*;
use tower::util::MapRequestLayer;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_toopher::crypto::SealingKey;
use tower_toopher::middleware::grants::{Epoch, Grant, Grants, SameSite};
use tower_toopher::middleware::{NotEnrolledPolicy, ReplayBody, StepUp};
use tower_toopher::time::UnixTime;
use tower_toopher::verify::SessionId;
use tower_toopher::{
    Action, Approvals, ConfigErrorKind, DenyReason, Factor, Header, HeaderOrForm, RejectionKind as Kind, SecondFactor,
    ToopherLayer, ToopherService, UserId, Verdict,
};

const NAME: &str = "__Host-second-factor";
const MINUTES: u64 = 60;
const OTP_REQUIRED: Kind = Kind::Denied(DenyReason::OtpRequired);
const WRONG_OTP: Kind = Kind::Denied(DenyReason::WrongOtp);

/// What the first factor inserts besides the user.
#[derive(Clone, Debug)]
struct Login {
    session: Option<&'static str>,
    epoch: Option<u64>,
}

const LOGIN: Login = Login { session: Some("s1"), epoch: Some(7) };

impl Login {
    fn insert<B>(&self, request: &mut Request<B>) {
        if let Some(session) = self.session.and_then(|session| SessionId::new(session).ok()) {
            request.extensions_mut().insert(session);
        }
        if let Some(epoch) = self.epoch {
            request.extensions_mut().insert(Epoch::from(epoch));
        }
    }
}

fn key() -> SealingKey {
    SealingKey::parse(&"5e".repeat(32)).unwrap()
}

fn grants_with(key: SealingKey, clock: &Clock) -> Grants {
    Grants::new(key).clock(clock)
}

fn grants(clock: &Clock) -> Grants {
    grants_with(key(), clock)
}

/// Returns the factor that it finds in a response header, and sets a cookie of its own.
fn app(request: Request<Body>) -> std::future::Ready<Result<Response<Body>, Infallible>> {
    let mut response =
        Response::builder().header("Set-Cookie", "theme=dark").header("Cache-Control", "public, max-age=60");
    if let Some(found) = request.extensions().get::<SecondFactor>() {
        let at = found.auth_time().map_or("now".into(), |at| at.as_secs().to_string());
        let (user, factor, action) = (found.user(), found.factor(), found.action().as_str());
        response = response.header("factor", format!("{user} {factor:?} {action} {at}"));
    }
    std::future::ready(Ok(response.body(Body::default()).unwrap()))
}

type App = tower::util::ServiceFn<fn(Request<Body>) -> std::future::Ready<Result<Response<Body>, Infallible>>>;

fn inner() -> App {
    service_fn(app)
}

/// Grants the right code, denies others, and requires one.
fn verifier() -> ScriptedVerifier {
    ScriptedVerifier::new(|attempt| {
        Ok(match attempt.otp() {
            None => Verdict::Denied(DenyReason::OtpRequired),
            Some(otp) if otp.as_str() == CODE => Verdict::Granted(Factor::Totp),
            Some(_) => Verdict::Denied(DenyReason::WrongOtp),
        })
    })
}

type TestService = ToopherService<App, ScriptedVerifier>;

fn service(grants: Grants, action: &'static str, max_age: u64) -> TestService {
    ToopherLayer::new(verifier()).grants(grants).action(action).max_age(Duration::from_secs(max_age)).layer(inner())
}

struct Sent {
    user: &'static str,
    login: Login,
    otp: Option<&'static str>,
    cookie: Option<String>,
}

impl Default for Sent {
    fn default() -> Self {
        Self { user: "alice", login: LOGIN, otp: None, cookie: None }
    }
}

fn with_code() -> Sent {
    Sent { otp: Some(CODE), ..Sent::default() }
}

fn with_grant(grant: &str) -> Sent {
    Sent { cookie: Some(format!("{NAME}={grant}")), ..Sent::default() }
}

impl Sent {
    fn request(self) -> Request<Body> {
        let mut request = request_of(user(self.user), self.otp);
        self.login.insert(&mut request);
        if let Some(cookie) = self.cookie {
            request.headers_mut().insert(header::COOKIE, cookie.parse().unwrap());
        }
        request
    }
}

async fn send(service: &TestService, sent: Sent) -> Response<Body> {
    service.clone().oneshot(sent.request()).await.unwrap()
}

/// Whether the layer forwards the request.
async fn is_forwarded(service: &TestService, sent: Sent) -> bool {
    let response = send(service, sent).await;
    match response.status() {
        StatusCode::OK => {
            assert!(response.headers()["factor"].to_str().unwrap().starts_with("alice "));
            true
        }
        status => {
            // The same as without a grant.
            assert_eq!((status.as_u16(), kind(&response)), (401, Some(OTP_REQUIRED)));
            false
        }
    }
}

fn set_cookies(response: &Response<Body>) -> Vec<Cookie<'static>> {
    let lines = response.headers().get_all(header::SET_COOKIE).iter();
    lines.map(|line| Cookie::parse(line.to_str().unwrap().to_owned()).unwrap()).collect()
}

/// The grant in a response, which has at most one.
fn grant_in(response: &Response<Body>) -> Option<String> {
    let mut grants: Vec<_> = set_cookies(response).into_iter().filter(|cookie| cookie.name() == NAME).collect();
    assert!(grants.len() <= 1, "{grants:?}");
    grants.pop().map(|cookie| cookie.value().to_owned())
}

async fn obtain(service: &TestService) -> String {
    let response = send(service, with_code()).await;
    assert_eq!(response.status(), 200);
    grant_in(&response).unwrap()
}

#[tokio::test]
async fn a_grant_is_issued_after_a_factor_was_verified_and_accepted_with_the_next_request() {
    let clock = Clock::from_secs(T);
    let service = service(grants(&clock), "pay", 5 * MINUTES);
    let response = send(&service, with_code()).await;
    assert_eq!(response.headers()["factor"], "alice Totp pay now");
    assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
    assert_eq!(response.headers().get_all(header::CACHE_CONTROL).iter().count(), 1);

    // The cookie of the inner service is unchanged, and another parser reads both.
    let cookies = set_cookies(&response);
    assert_eq!((cookies.len(), cookies[0].name_value()), (2, ("theme", "dark")));
    let cookie = &cookies[1];
    assert_eq!((cookie.name(), cookie.path(), cookie.domain()), (NAME, Some("/"), None));
    assert_eq!((cookie.secure(), cookie.http_only()), (Some(true), Some(true)));
    assert_eq!(cookie.same_site(), Some(ReadSameSite::Strict));
    assert_eq!(cookie.max_age(), Some(cookie::time::Duration::minutes(15)));
    assert!(cookie.value().bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
    assert!(response.headers().get_all(header::SET_COOKIE).iter().all(|line| line.len() < 4096));

    clock.advance(60);
    let response = send(&service, with_grant(cookie.value())).await;
    assert_eq!((response.status().as_u16(), kind(&response)), (200, None));
    assert_eq!(response.headers()["factor"], format!("alice Totp pay {T}"));
    // A grant does not renew itself, and the response is unchanged.
    assert_eq!(
        (grant_in(&response), &response.headers()[header::CACHE_CONTROL]),
        (None, &"public, max-age=60".parse().unwrap())
    );
}

#[tokio::test]
async fn the_route_sets_the_maximum_age_and_zero_accepts_no_grant() {
    let clock = Clock::from_secs(T);
    let five = service(grants(&clock), "pay", 5 * MINUTES);
    let grant = obtain(&five).await;
    let none = service(grants(&clock), "pay", 0);
    assert!(is_forwarded(&none, with_code()).await && !is_forwarded(&none, with_grant(&grant)).await);
    for (age, expected) in [(0, true), (1, true), (299, true), (300, true), (301, false), (900, false)] {
        clock.set(T + age);
        assert_eq!(is_forwarded(&five, with_grant(&grant)).await, expected, "{age}");
        assert!(!is_forwarded(&none, with_grant(&grant)).await);
    }
    // The clocks of two machines may differ by 30 seconds.
    for (early, expected) in [(1, true), (30, true), (31, false), (3600, false), (T, false)] {
        clock.set(T - early);
        assert_eq!(is_forwarded(&five, with_grant(&grant)).await, expected, "{early}");
    }
}

#[tokio::test]
async fn the_lifetime_limits_every_route() {
    let clock = Clock::from_secs(T);
    let lenient = service(grants(&clock), "pay", 1_000_000);
    let grant = obtain(&lenient).await;
    clock.set(T + 15 * MINUTES);
    assert!(is_forwarded(&lenient, with_grant(&grant)).await);
    clock.advance(1);
    assert!(!is_forwarded(&lenient, with_grant(&grant)).await);
    // The lifetime at the time of use counts, not the one at the time of issue.
    let longer = service(grants(&clock).lifetime(Duration::from_secs(3600)), "pay", 1_000_000);
    assert!(is_forwarded(&longer, with_grant(&grant)).await);
    clock.set(T + 3601);
    assert!(!is_forwarded(&longer, with_grant(&grant)).await);

    let cookie =
        set_cookies(&send(&service(grants(&clock).lifetime(Duration::from_millis(1500)), "pay", 1), with_code()).await);
    assert_eq!(cookie[1].max_age(), Some(cookie::time::Duration::seconds(2)));
}

#[tokio::test]
async fn a_grant_is_not_accepted_for_another_user_session_or_epoch() {
    let clock = Clock::from_secs(T);
    let service = service(grants(&clock), "pay", 5 * MINUTES);
    let grant = obtain(&service).await;
    assert!(is_forwarded(&service, with_grant(&grant)).await);
    let login = |session, epoch| Sent { login: Login { session, epoch }, ..with_grant(&grant) };
    for (what, sent) in [
        ("user", Sent { user: "bob", ..with_grant(&grant) }),
        ("session", login(Some("s2"), Some(7))),
        ("no session", login(None, Some(7))),
        ("empty session", login(Some(""), Some(7))),
        ("later epoch", login(Some("s1"), Some(8))),
        ("earlier epoch", login(Some("s1"), Some(6))),
        ("no epoch", login(Some("s1"), None)),
    ] {
        assert!(!is_forwarded(&service, sent).await, "{what}");
    }
    // Without a session or an epoch no grant is issued, and the request is forwarded.
    for login in
        [Login { session: None, ..LOGIN }, Login { session: Some(""), ..LOGIN }, Login { epoch: None, ..LOGIN }]
    {
        let response = send(&service, Sent { login, ..with_code() }).await;
        assert_eq!((response.status().as_u16(), grant_in(&response)), (200, None));
        assert_eq!(response.headers()[header::CACHE_CONTROL], "public, max-age=60");
    }
    // No user is logged in.
    let mut unauthenticated = with_grant(&grant).request();
    unauthenticated.extensions_mut().remove::<UserId>();
    assert_eq!(kind(&service.clone().oneshot(unauthenticated).await.unwrap()), Some(Kind::Unidentified));
}

/// The grant is bound to the epoch that was read before the factor was verified.
#[tokio::test]
async fn an_epoch_that_changes_during_verification_invalidates_the_grant() {
    let (clock, epoch) = (Clock::from_secs(T), Arc::new(AtomicU64::new(1)));
    let (changed, read) = (epoch.clone(), epoch.clone());
    // The first factor loads the epoch with the user, for each request.
    let first_factor = MapRequestLayer::new(move |mut request: Request<Body>| {
        request.extensions_mut().insert(Epoch::from(read.load(Ordering::SeqCst)));
        request
    });
    let changes = ScriptedVerifier::new(move |_| {
        changed.fetch_add(1, Ordering::SeqCst);
        Ok(Verdict::Granted(Factor::Totp))
    });
    let layer = ToopherLayer::new(changes).grants(grants(&clock));
    let issuing = first_factor.layer(layer.layer(inner()));
    let response = issuing.oneshot(with_code().request()).await.unwrap();
    let (grant, current) = (grant_in(&response).unwrap(), epoch.load(Ordering::SeqCst));
    assert_eq!(current, 2);
    let login = |epoch| Sent { login: Login { epoch: Some(epoch), ..LOGIN }, ..with_grant(&grant) };
    let route = ToopherLayer::new(verifier()).grants(grants(&clock)).max_age(Duration::from_secs(60)).layer(inner());
    let reading = first_factor.layer(route.clone());
    assert_eq!(reading.oneshot(with_grant(&grant).request()).await.unwrap().status(), 401);
    assert!(!is_forwarded(&route, login(current)).await);
    assert!(is_forwarded(&route, login(current - 1)).await);
}

/// One key may encrypt both, with different associated data.
#[tokio::test]
async fn with_one_key_an_approval_token_is_no_grant_and_a_grant_no_approval_token() {
    let (clock, phones) = (Clock::from_secs(T), phones::Phones::default());
    let approvals = Approvals::new(phones.clone()).unwrap().key(key()).clock(&clock);
    let asking = ToopherLayer::new(approvals).approvals().grants(grants(&clock)).action("pay");
    let asking = asking.max_age(Duration::from_secs(300)).layer(inner());
    let route = service(grants(&clock), "pay", 5 * MINUTES);
    let send_token = async |token: &str| {
        let mut request = Sent::default().request();
        request.headers_mut().insert("toopher-approval", token.parse().unwrap());
        asking.clone().oneshot(request).await.unwrap()
    };
    let pending = asking.clone().oneshot(Sent::default().request()).await.unwrap();
    assert_eq!(pending.status(), 202);
    let token = pending.headers()["toopher-approval"].to_str().unwrap().to_owned();
    phones.decide(phones::Decision::Allowed);
    let grant = obtain(&route).await;

    assert!(!is_forwarded(&route, with_grant(&token)).await);
    let rejected = send_token(&grant).await;
    assert_eq!((rejected.status().as_u16(), grant_in(&rejected)), (401, None));
    // Each is valid in its own place.
    assert!(is_forwarded(&route, with_grant(&grant)).await);
    let forwarded = send_token(&token).await;
    assert_eq!(forwarded.status(), 200);
    assert!(is_forwarded(&route, with_grant(&grant_in(&forwarded).unwrap())).await);
}

#[tokio::test]
async fn a_factor_for_another_action_is_accepted_only_if_the_route_accepts_it() {
    let clock = Clock::from_secs(T);
    let pay = service(grants(&clock), "pay", 5 * MINUTES);
    let grant = obtain(&pay).await;
    let route = |action: &'static str, also: &[&'static str]| {
        let layer = ToopherLayer::new(verifier()).grants(grants(&clock)).action(action);
        layer.max_age(Duration::from_secs(300)).also_accept(also.iter().copied()).layer(inner())
    };
    for (action, also, expected) in [
        ("pay", &[][..], true),
        ("read", &["pay"], true),
        ("read", &["administer", "pay"], true),
        ("read", &[], false),
        ("read", &["Pay", "pay ", ""], false),
        ("Pay", &["read"], false),
    ] {
        assert_eq!(is_forwarded(&route(action, also), with_grant(&grant)).await, expected, "{action} {also:?}");
    }
    // The handler finds the action that the factor was verified for.
    clock.advance(9);
    let response = send(&route("read", &["pay"]), with_grant(&grant)).await;
    assert_eq!(response.headers()["factor"], format!("alice Totp pay {T}"));
    // The action is chosen for each request.
    let chosen = ToopherLayer::new(verifier()).grants(grants(&clock)).max_age(Duration::from_secs(300));
    let chosen = chosen.action_for(|parts| Action::from(parts.uri.path().trim_start_matches('/'))).layer(inner());
    for (path, status) in [("/pay", 200), ("/account", 401)] {
        let mut request = with_grant(&grant).request();
        *request.uri_mut() = path.parse().unwrap();
        assert_eq!(chosen.clone().oneshot(request).await.unwrap().status(), status, "{path}");
    }
}

#[tokio::test]
async fn a_grant_contains_the_latest_factor_of_each_action_with_its_time() {
    let clock = Clock::from_secs(T);
    let (read, pay) = (service(grants(&clock), "read", 10 * MINUTES), service(grants(&clock), "pay", 5 * MINUTES));
    let first = obtain(&read).await;
    clock.advance(8 * MINUTES);
    let both = grant_in(&send(&pay, Sent { otp: Some(CODE), ..with_grant(&first) }).await).unwrap();
    assert!(is_forwarded(&pay, with_grant(&both)).await && is_forwarded(&read, with_grant(&both)).await);
    clock.advance(2 * MINUTES);
    assert!(is_forwarded(&read, with_grant(&both)).await);
    clock.advance(1);
    assert!(is_forwarded(&pay, with_grant(&both)).await && !is_forwarded(&read, with_grant(&both)).await);
    // The factors of another session's grant are not copied.
    let stolen = Sent { otp: Some(CODE), login: Login { session: Some("s2"), ..LOGIN }, ..with_grant(&both) };
    let theirs = grant_in(&send(&read, stolen).await).unwrap();
    let as_thief = |grant| Sent { login: Login { session: Some("s2"), ..LOGIN }, ..with_grant(grant) };
    assert!(is_forwarded(&read, as_thief(&theirs)).await && !is_forwarded(&pay, as_thief(&theirs)).await);

    // Only the latest factor of each action is kept, so that it does not replace those of other actions.
    let mut grant = obtain(&read).await;
    let confirm = service(grants(&clock), "pay", 0);
    for _ in 0..9 {
        clock.advance(1);
        grant = grant_in(&send(&confirm, Sent { otp: Some(CODE), ..with_grant(&grant) }).await).unwrap();
    }
    assert!(is_forwarded(&pay, with_grant(&grant)).await && is_forwarded(&read, with_grant(&grant)).await);

    // Of more than eight factors the oldest ones are removed.
    let actions = ["a", "b", "c", "d", "e", "f", "g", "h", "i"];
    let mut grant = String::new();
    for action in actions {
        clock.advance(1);
        let service = service(grants(&clock), action, 60);
        grant = grant_in(&send(&service, Sent { otp: Some(CODE), ..with_grant(&grant) }).await).unwrap();
        assert!(grant.len() <= 1024);
    }
    for action in actions {
        assert_eq!(
            is_forwarded(&service(grants(&clock), action, 60), with_grant(&grant)).await,
            action != "a",
            "{action}"
        );
    }
}

#[tokio::test]
async fn keys_rotate() {
    let clock = Clock::from_secs(T);
    let [first, second, third] = ["01", "02", "03"].map(|byte| SealingKey::parse(&byte.repeat(32)).unwrap());
    let with_keys = |current: &SealingKey, previous: Option<&SealingKey>| {
        let grants = grants_with(current.clone(), &clock);
        let grants = previous.map_or(grants.clone(), |previous| grants.previous_key(previous.clone()));
        service(grants, "pay", 5 * MINUTES)
    };
    let grant = obtain(&with_keys(&first, None)).await;
    assert!(is_forwarded(&with_keys(&first, None), with_grant(&grant)).await);
    assert!(is_forwarded(&with_keys(&first, Some(&second)), with_grant(&grant)).await);
    assert!(is_forwarded(&with_keys(&second, Some(&first)), with_grant(&grant)).await);
    assert!(!is_forwarded(&with_keys(&second, None), with_grant(&grant)).await);
    assert!(!is_forwarded(&with_keys(&third, Some(&second)), with_grant(&grant)).await);
    // The current key encrypts.
    let newer = obtain(&with_keys(&second, Some(&first))).await;
    assert!(
        is_forwarded(&with_keys(&second, None), with_grant(&newer)).await
            && !is_forwarded(&with_keys(&first, None), with_grant(&newer)).await
    );
}

#[tokio::test]
async fn an_altered_grant_is_not_accepted() {
    let clock = Clock::from_secs(T);
    let service = service(grants(&clock), "pay", 5 * MINUTES);
    let grant = obtain(&service).await;
    for at in 0..grant.len() {
        let mut altered = grant.clone().into_bytes();
        altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
        assert!(!is_forwarded(&service, with_grant(std::str::from_utf8(&altered).unwrap())).await, "{at}");
        assert!(!is_forwarded(&service, with_grant(&grant[..at])).await, "{at}");
        assert!(!is_forwarded(&service, with_grant(&grant[at + 1..])).await, "{at}");
    }
    for other in [format!("{grant}A"), format!("{grant}="), format!("\"{grant}\""), format!("{grant}.{grant}")] {
        assert!(!is_forwarded(&service, with_grant(&other)).await, "{other}");
    }
}

#[tokio::test]
async fn of_two_cookies_neither_is_used_and_only_256_cookies_are_read() {
    let clock = Clock::from_secs(T);
    let service = service(grants(&clock), "pay", 5 * MINUTES);
    let grant = obtain(&service).await;
    let good = format!("{NAME}={grant}");
    let lines = |lines: &[String]| {
        let mut request = Sent::default().request();
        for line in lines {
            request.headers_mut().append(header::COOKIE, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        let service = service.clone();
        async move { service.oneshot(request).await.unwrap().status() == 200 }
    };
    let others = |count: usize| "a=1; ".repeat(count);
    for (what, cookies, expected) in [
        ("among other cookies", vec![format!("theme=dark;{good};x={NAME}=1; y")], true),
        ("blanks", vec![format!(" theme=dark ;  {NAME} = {grant} ")], true),
        ("after a foreign cookie that is not ASCII", vec![format!("name=Zo\u{eb}; {good}")], true),
        ("before one", vec![format!("{good}; \u{ff}=\u{ff}")], true),
        ("one line each, as HTTP/2 clients may send them", vec!["theme=dark".into(), good.clone(), "x=1".into()], true),
        ("twice", vec![format!("{good}; {good}")], false),
        ("twice, in two lines", vec![good.clone(), good.clone()], false),
        ("after an invalid one", vec![format!("{NAME}=bad; {good}")], false),
        ("before an invalid one", vec![format!("{good}; {NAME}=bad")], false),
        ("before an empty one", vec![format!("{good}; {NAME}=")], false),
        ("a name in lower case", vec![good.to_lowercase().replace(&grant.to_lowercase(), &grant)], false),
        ("another name", vec![good.replace("__Host-", "")], false),
        ("a longer name", vec![format!("x{good}")], false),
        ("commas", vec![format!("a=1, {good}")], false),
        ("many cookies", vec![format!("{}{good}", others(255))], true),
        ("too many cookies", vec![format!("{}{good}", others(256))], false),
        ("too many cookies after it", vec![format!("{good}; {}", others(256))], false),
        ("many lines", vec!["a=1".into(); 300].into_iter().chain([good.clone()]).collect(), false),
        ("a large cookie", vec![format!("a={}; {good}", "x".repeat(8_000))], true),
        ("a huge cookie", vec![format!("a={}; {good}", "x".repeat(16_384))], false),
        (
            "two large cookies",
            vec!["x=".to_owned() + &"y".repeat(9_000), "x=".to_owned() + &"y".repeat(9_000), good.clone()],
            false,
        ),
        ("a huge grant", vec![format!("{good}{}", "A".repeat(2_000))], false),
    ] {
        assert_eq!(lines(&cookies).await, expected, "{what}");
    }
}

proptest! {
    #[test]
    fn no_other_bytes_are_accepted_and_none_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        named in any::<bool>(),
        cut in 0..200_usize,
        at in 0..200_usize,
        byte in any::<u8>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let service = service(grants(&Clock::from_secs(T)), "pay", 5 * MINUTES);
            let grant = obtain(&service).await;
            let mut spliced = grant.clone().into_bytes();
            let (cut, at) = (cut.min(spliced.len()), at.min(spliced.len() - 1));
            spliced.splice(cut..cut, bytes.iter().copied().take(3));
            spliced[at] = byte;
            for value in [bytes.clone(), spliced] {
                let line = if named { [NAME.as_bytes(), b"=", &value].concat() } else { value.clone() };
                let Ok(line) = HeaderValue::from_bytes(&line) else { continue };
                let mut request = Sent::default().request();
                request.headers_mut().insert(header::COOKIE, line.clone());
                let accepted = service.clone().oneshot(request).await.unwrap().status() == 200;
                // Only the unchanged grant is accepted, with other cookies after it.
                let own = named && value.split(|&b| b == b';').next().unwrap().trim_ascii() == grant.as_bytes();
                assert!(!accepted || own, "{line:?}");
            }
        });
    }
}

#[tokio::test]
async fn a_grant_is_issued_only_for_a_factor_that_was_verified_for_this_request() {
    let clock = Clock::from_secs(T);
    let layer = |verdict: Verdict| {
        ToopherLayer::new(ScriptedVerifier::always(verdict)).grants(grants(&clock)).max_age(Duration::from_secs(300))
    };
    let granted = || Verdict::Granted(Factor::Totp);
    let no_grant = |response: &Response<Body>| {
        assert_eq!(
            response
                .headers()
                .get_all(header::SET_COOKIE)
                .iter()
                .filter(|line| line.as_bytes().starts_with(b"__Host"))
                .count(),
            0
        );
    };
    // Forwarded without a factor.
    let unenrolled = layer(Verdict::Denied(DenyReason::NotEnrolled)).not_enrolled(NotEnrolledPolicy::InsecureAllow);
    let response = send(&unenrolled.layer(inner()), with_code()).await;
    assert_eq!(response.status(), 200);
    no_grant(&response);
    // Skipped.
    let response = send(&layer(granted()).insecure_skip(|_| true).layer(inner()), with_code()).await;
    assert_eq!(response.status(), 200);
    no_grant(&response);
    // Inserted by code outside, or verified by an outer layer.
    let mut request = with_code().request();
    request.extensions_mut().insert(SecondFactor::new(alice(), "log in", Factor::Totp));
    let response = layer(granted()).layer(inner()).oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200);
    no_grant(&response);
    // Rejected.
    for verdict in
        [Verdict::Denied(DenyReason::WrongOtp), Verdict::pending(None), Verdict::Denied(DenyReason::LockedOut)]
    {
        no_grant(&send(&layer(verdict).layer(inner()), with_code()).await);
    }
    // Verified, with the code in a form.
    let form = Request::post("/login").header("Content-Type", "application/x-www-form-urlencoded").extension(alice());
    let mut form = form.body(Body::from("otp=081804")).unwrap();
    LOGIN.insert(&mut form);
    let by_form = layer(granted()).extractor(HeaderOrForm::default()).layer(inner());
    let response = by_form.oneshot(form).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["factor"], "alice Totp log in now");
    assert!(grant_in(&response).is_some());
}

#[tokio::test]
async fn an_otp_beside_a_valid_grant_is_left_for_an_inner_layer() {
    let clock = Clock::from_secs(T);
    let (verifier, app_calls) = (verifier(), Calls::default());
    let layer = |action: &'static str, max_age| {
        let layer = ToopherLayer::new(verifier.clone()).grants(grants(&clock)).action(action);
        layer.max_age(Duration::from_secs(max_age))
    };
    // The factor is valid for an hour on the site, and for five minutes on one route of it.
    let site = || layer("read", 3600).also_accept(["pay"]);
    let pay = site().layer(layer("pay", 300).layer(inner()));
    let grant = grant_in(&site().layer(inner()).oneshot(with_code().request()).await.unwrap()).unwrap();
    clock.advance(100);
    let attempt = |otp| {
        let (pay, request) = (pay.clone(), Sent { otp, ..with_grant(&grant) }.request());
        async move { pay.oneshot(request).await.unwrap() }
    };
    assert_eq!(kind(&attempt(None).await), Some(OTP_REQUIRED));
    assert_eq!(kind(&attempt(Some("000000")).await), Some(WRONG_OTP));
    let paid = attempt(Some(CODE)).await;
    assert_eq!(
        (paid.status().as_u16(), &paid.headers()["factor"]),
        (200, &HeaderValue::from_static("alice Totp pay now"))
    );
    let both = grant_in(&paid).unwrap();
    assert_eq!(pay.clone().oneshot(with_grant(&both).request()).await.unwrap().status(), 200);
    // The outer layer does not use it, and the inner service receives it unchanged.
    let receives = service_fn(|request: Request<Body>| {
        app_calls.add();
        assert_eq!(request.headers()["Toopher-OTP"], "0000 00");
        std::future::ready(Ok::<_, Infallible>(Response::new(Body::default())))
    });
    let verified = verifier.calls();
    let sent = || Sent { otp: Some("0000 00"), ..with_grant(&grant) };
    assert_eq!(site().layer(receives).oneshot(sent().request()).await.unwrap().status(), 200);
    assert_eq!((verifier.calls(), app_calls.count()), (verified, 1));
    // A route with `max_age` zero verifies each code, whatever grant is beside it.
    let confirms = service(grants(&clock), "read", 0);
    assert_eq!(kind(&send(&confirms, Sent { otp: Some("000000"), ..with_grant(&grant) }).await), Some(WRONG_OTP));
    let renewed = grant_in(&send(&confirms, Sent { otp: Some(CODE), ..with_grant(&grant) }).await).unwrap();
    clock.advance(3_600 - 100 + 1);
    let site = ToopherLayer::new(verifier.clone()).grants(grants(&clock).lifetime(Duration::from_secs(3600)));
    let site = site.action("read").max_age(Duration::from_secs(3600)).layer(inner());
    assert!(is_forwarded(&site, with_grant(&renewed)).await && !is_forwarded(&site, with_grant(&grant)).await);
}

/// A body that must not be read.
#[derive(Clone, Copy, Debug, Default)]
struct Untouchable;

impl http_body::Body for Untouchable {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        panic!("the body was read")
    }
}

#[tokio::test]
async fn no_body_is_read_if_a_grant_is_accepted() {
    let clock = Clock::from_secs(T);
    let layer = ToopherLayer::new(verifier()).grants(grants(&clock)).max_age(Duration::from_secs(300));
    let grant = obtain(&layer.clone().layer(inner())).await;
    let app =
        service_fn(|_: Request<ReplayBody<Untouchable>>| async { Ok::<_, Infallible>(Response::new(Body::default())) });
    let service = layer.extractor(HeaderOrForm::default().wrapping()).layer(app);
    let (mut parts, _) = with_grant(&grant).request().into_parts();
    parts.headers.insert("content-type", "application/x-www-form-urlencoded".parse().unwrap());
    assert_eq!(service.oneshot(Request::from_parts(parts, Untouchable)).await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_grant_preserves_every_kind_of_factor() {
    let clock = Clock::from_secs(T);
    let long = "n".repeat(32);
    for (factor, debug) in [
        (Factor::Totp, "Totp".to_owned()),
        (Factor::RecoveryCode, "RecoveryCode".to_owned()),
        (Factor::Push, "Push".to_owned()),
        (Factor::other("webauthn").unwrap(), "Other(\"webauthn\")".to_owned()),
        (Factor::other(&long).unwrap(), format!("Other({long:?})")),
    ] {
        let service =
            ToopherLayer::new(ScriptedVerifier::always(Verdict::Granted(factor))).grants(grants(&clock)).layer(inner());
        let response = send(&service, Sent::default()).await;
        assert_eq!(response.status(), 200);
        let route = service_for("log in", &clock);
        let response = send(&route, with_grant(&grant_in(&response).unwrap())).await;
        assert_eq!(response.headers()["factor"], format!("alice {debug} log in {T}"));
    }
    // There is no factor with a name that does not fit.
    assert_eq!(Factor::other(&"n".repeat(33)).unwrap_err().kind(), ConfigErrorKind::FactorName);
}

fn service_for(action: &'static str, clock: &Clock) -> TestService {
    service(grants(clock), action, 5 * MINUTES)
}

#[tokio::test]
async fn every_response_carries_the_grant_unless_it_sets_the_same_cookie() {
    let clock = Clock::from_secs(T);
    let layer = ToopherLayer::new(verifier()).grants(grants(&clock));
    let respond = |status: u16, cookie: Option<String>| {
        let app = service_fn(move |_: Request<Body>| {
            let mut response = Response::builder().status(status);
            if let Some(cookie) = &cookie {
                response = response.header("Set-Cookie", cookie);
            }
            std::future::ready(Ok::<_, Infallible>(response.body(Body::default()).unwrap()))
        });
        layer.clone().layer(app).oneshot(with_code().request())
    };
    for status in [200, 303, 404, 500] {
        let response = respond(status, None).await.unwrap();
        assert!(response.status() == status && grant_in(&response).is_some());
        assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
    }
    // No cache of any kind stores the response.
    let caching = ["cdn-cache-control", "surrogate-control", "x-accel-expires", "expires"];
    let app = service_fn(|_: Request<Body>| {
        let response = Response::builder().header("cache-control", "public, s-maxage=60");
        let response = caching.iter().fold(response, |response, name| response.header(*name, "60"));
        std::future::ready(Ok::<_, Infallible>(response.body(Body::default()).unwrap()))
    });
    let response = layer.clone().layer(app).oneshot(with_code().request()).await.unwrap();
    assert!(grant_in(&response).is_some() && caching.iter().all(|name| !response.headers().contains_key(*name)));
    assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
    // A logout behind the layer deletes the cookie.
    let clear = grants(&clock).clear_cookie().unwrap();
    let response = respond(200, Some(clear.to_str().unwrap().to_owned())).await.unwrap();
    let cookies = set_cookies(&response);
    assert_eq!((cookies.len(), cookies[0].name_value()), (1, (NAME, "")));
    assert_eq!(cookies[0].max_age(), Some(cookie::time::Duration::ZERO));
    assert_eq!((cookies[0].secure(), cookies[0].path(), cookies[0].domain()), (Some(true), Some("/"), None));
    // A cookie whose name only begins with the same text is another one.
    let response = respond(200, Some(format!("{NAME}-2=x"))).await.unwrap();
    assert!(grant_in(&response).is_some());

    let fails = service_fn(|_: Request<Body>| async { Err::<Response<Body>, _>("down") });
    assert_eq!(layer.layer(fails).oneshot(with_code().request()).await.unwrap_err(), "down");
}

#[tokio::test]
async fn grants_in_a_header() {
    let clock = Clock::from_secs(T);
    let name = HeaderName::from_static("toopher-grant");
    let service = service(grants(&clock).header(name.clone()), "pay", 5 * MINUTES);
    let response = send(&service, with_code()).await;
    assert_eq!(
        (set_cookies(&response).len(), &response.headers()[header::CACHE_CONTROL]),
        (1, &HeaderValue::from_static("no-store"))
    );
    let grant = &response.headers()[&name];
    let lines = |lines: &[&HeaderValue]| {
        let mut request = Sent::default().request();
        for line in lines {
            request.headers_mut().append(&name, (*line).clone());
        }
        let service = service.clone();
        async move { service.oneshot(request).await.unwrap().status().as_u16() }
    };
    let bad = HeaderValue::from_static("bad");
    let joined = HeaderValue::from_str(&format!("{0}, {0}", grant.to_str().unwrap())).unwrap();
    assert_eq!((lines(&[grant]).await, lines(&[&bad]).await, lines(&[&joined]).await), (200, 401, 401));
    assert_eq!((lines(&[grant, grant]).await, lines(&[grant, &bad]).await), (401, 401));
    // A grant in a cookie is not accepted here.
    assert!(!is_forwarded(&service, with_grant(grant.to_str().unwrap())).await);
    assert!(grants(&clock).header(name).clear_cookie().is_none());
}

#[tokio::test]
async fn grants_in_the_session_of_the_application() {
    let clock = Clock::from_secs(T);
    let grants = grants(&clock).in_extensions();
    let app = service_fn(|request: Request<Body>| async move {
        let grant = request.extensions().get::<Grant>().map(|grant| grant.as_str().to_owned());
        Ok::<_, Infallible>(
            Response::builder().header("stored", grant.unwrap_or_default()).body(Body::default()).unwrap(),
        )
    });
    let service = ToopherLayer::new(verifier()).grants(grants.clone()).max_age(Duration::from_secs(300)).layer(app);
    let response = service.clone().oneshot(with_code().request()).await.unwrap();
    assert!(!response.headers().contains_key(header::SET_COOKIE));
    assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
    let stored = response.headers()["stored"].to_str().unwrap();
    assert!(!stored.is_empty());

    let attempt = |grant: &str, login: Login| {
        let mut request = Sent { login, ..with_grant(grant) }.request();
        request.extensions_mut().insert(Grant::new(grant).unwrap());
        let service = service.clone();
        async move { service.oneshot(request).await.unwrap().status().as_u16() }
    };
    assert_eq!(attempt(stored, LOGIN).await, 200);
    // It is encrypted and bound there too.
    assert_eq!(attempt(stored, Login { epoch: Some(8), ..LOGIN }).await, 401);
    assert_eq!(attempt(stored, Login { session: Some("s2"), ..LOGIN }).await, 401);
    assert_eq!(attempt(&format!("{stored}A"), LOGIN).await, 401);
    assert_eq!(attempt(&"A".repeat(1024), LOGIN).await, 401);
    assert_eq!(Grant::new(&"A".repeat(100_000)).unwrap_err().kind(), ConfigErrorKind::Grant);
    // A grant that the client sends is not accepted.
    assert_eq!(service.clone().oneshot(with_grant(stored).request()).await.unwrap().status(), 401);
}

#[tokio::test]
async fn a_handler_can_issue_a_grant_for_a_session_that_it_starts() {
    let clock = Clock::from_secs(T);
    let grants = grants(&clock);
    let pay = service_for("pay", &clock);
    let new = SessionId::new("new").unwrap();
    let in_new = |grant: &Grant| Sent { login: Login { session: Some("new"), ..LOGIN }, ..with_grant(grant.as_str()) };
    let factor = SecondFactor::new(alice(), "pay", Factor::Totp);
    let grant = grants.issue(&factor, &new, 7_u64).unwrap();
    assert!(is_forwarded(&pay, in_new(&grant)).await && !is_forwarded(&pay, with_grant(grant.as_str())).await);
    assert!(!is_forwarded(&pay, in_new(&grants.issue(&factor, &new, 8_u64).unwrap())).await);
    let cookie = Cookie::parse(grants.set_cookie(&grant).unwrap().to_str().unwrap().to_owned()).unwrap();
    assert_eq!((cookie.name_value(), cookie.http_only()), ((NAME, grant.as_str()), Some(true)));
    // A factor that was verified earlier keeps its time.
    let earlier = factor.with_auth_time(UnixTime::from_secs(T - 299));
    let grant = grants.issue(&earlier, &new, 7_u64).unwrap();
    clock.advance(1);
    assert!(is_forwarded(&pay, in_new(&grant)).await);
    clock.advance(1);
    assert!(!is_forwarded(&pay, in_new(&grant)).await);
    assert_ne!(Epoch::from(7_u64), Epoch::from_bytes(7_u64.to_be_bytes()));
}

#[tokio::test]
async fn each_of_two_nested_layers_applies_its_own_rules() {
    let clock = Clock::from_secs(T);
    let layer = |action: &'static str, max_age| {
        ToopherLayer::new(verifier()).grants(grants(&clock)).action(action).max_age(Duration::from_secs(max_age))
    };
    let grant = obtain(&service_for("pay", &clock)).await;
    clock.advance(100);
    // The outer layer accepts a grant that may be too old for the inner one.
    for (inner_age, expected) in [(0, 401), (99, 401), (100, 200)] {
        let stack = layer("pay", 300).layer(layer("pay", inner_age).layer(inner()));
        assert_eq!(stack.oneshot(with_grant(&grant).request()).await.unwrap().status(), expected, "{inner_age}");
    }
    // A layer without grants accepts none.
    let stack = layer("pay", 300).layer(ToopherLayer::new(verifier()).action("pay").layer(inner()));
    assert_eq!(stack.oneshot(with_grant(&grant).request()).await.unwrap().status(), 401);
    // The same factor is required once, and the response has one grant.
    let stack = layer("pay", 300).layer(layer("pay", 0).layer(inner()));
    assert!(grant_in(&stack.oneshot(with_code().request()).await.unwrap()).is_some());
    // If both layers issue a grant, the one of the inner layer is kept.
    let x_otp = Header::new(HeaderName::from_static("x-otp"));
    let stack = layer("log in", 300).layer(layer("pay", 0).extractor(x_otp).layer(inner()));
    let mut request = with_code().request();
    request.headers_mut().insert("x-otp", CODE.parse().unwrap());
    let kept = grant_in(&stack.oneshot(request).await.unwrap()).unwrap();
    assert!(
        is_forwarded(&service_for("pay", &clock), with_grant(&kept)).await
            && !is_forwarded(&service_for("log in", &clock), with_grant(&kept)).await
    );
}

#[tokio::test]
async fn a_factor_that_code_outside_inserts_is_accepted_by_its_age() {
    let clock = Clock::from_secs(T);
    let service = service_for("pay", &clock);
    let attempt = |factor: SecondFactor| {
        let mut request = Sent::default().request();
        request.extensions_mut().insert(factor);
        let service = service.clone();
        async move { service.oneshot(request).await.unwrap().status().as_u16() }
    };
    let factor = |id: &str, action: &'static str, at: u64| {
        SecondFactor::new(user(id), action, Factor::other("acr").unwrap()).with_auth_time(UnixTime::from_secs(at))
    };
    assert_eq!((attempt(factor("alice", "pay", T)).await, attempt(factor("alice", "pay", T - 300)).await), (200, 200));
    assert_eq!(
        (attempt(factor("alice", "pay", T - 301)).await, attempt(factor("alice", "pay", T + 31)).await),
        (401, 401)
    );
    assert_eq!((attempt(factor("bob", "pay", T)).await, attempt(factor("alice", "read", T)).await), (401, 401));
    assert_eq!(attempt(factor("alice", "pay", 0)).await, 401);
    assert_eq!(attempt(factor("alice", "pay", u64::MAX)).await, 401);
    // The lifetime of grants limits its age, and the challenge contains no more than that.
    let longer = ToopherLayer::new(verifier()).grants(grants(&clock)).action("pay").max_age(Duration::from_secs(3600));
    let longer = longer.step_up(StepUp::new()).layer(inner());
    for (age, status) in [(900, 200), (901, 401)] {
        let mut request = Sent::default().request();
        request.extensions_mut().insert(factor("alice", "pay", T - age));
        let response = longer.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), status, "{age}");
        let challenges = response.headers().get_all(header::WWW_AUTHENTICATE).iter();
        let has_lifetime = |line: &HeaderValue| line.to_str().unwrap().ends_with(", max_age=\"900\"");
        assert_eq!(challenges.filter(|line| has_lifetime(line)).count(), usize::from(status == 401));
    }
    // `covers` returns true only for a factor that was verified for this request.
    assert!(!factor("alice", "pay", T).covers(&alice(), &"pay".into()));
}

#[tokio::test]
async fn the_settings_of_the_cookie() {
    let clock = Clock::from_secs(T);
    let lax = grants(&clock).same_site(SameSite::Lax).cookie("sid2").unwrap();
    let service = service(lax, "pay", 5 * MINUTES);
    let cookies = set_cookies(&send(&service, with_code()).await);
    let cookie = &cookies[1];
    assert_eq!((cookie.name(), cookie.same_site(), cookie.secure()), ("sid2", Some(ReadSameSite::Lax), Some(true)));
    let sent = Sent { cookie: Some(format!("sid2={}", cookie.value())), ..Sent::default() };
    assert!(is_forwarded(&service, sent).await && !is_forwarded(&service, with_grant(cookie.value())).await);
    for bad in ["", "a b", "a;b", "a=b", "a\r\nb", "caf\u{e9}", &"a".repeat(65)] {
        assert_eq!(grants(&clock).cookie(bad).unwrap_err().kind(), ConfigErrorKind::CookieName, "{bad:?}");
    }
}

#[tokio::test]
async fn the_challenge_of_rfc_9470_is_only_in_a_401_that_requires_a_factor() {
    let layer = || ToopherLayer::new(verifier()).action("pay").max_age(Duration::from_secs(300));
    let step_up = || StepUp::new().acr_values(["urn:example:mfa"]).unwrap();
    let challenges = |layer: ToopherLayer<ScriptedVerifier>, request: Request<Body>| async move {
        let response = layer.layer(inner()).oneshot(request).await.unwrap();
        let lines = response.headers().get_all(header::WWW_AUTHENTICATE).iter();
        (response.status().as_u16(), lines.map(|line| line.to_str().unwrap().to_owned()).collect::<Vec<_>>())
    };
    let (status, lines) = challenges(layer().step_up(step_up()), request(None)).await;
    assert_eq!((status, lines.len()), (401, 2));
    assert!(lines[0].starts_with("Toopher "));
    assert!(lines[1].starts_with("Bearer error=\"insufficient_user_authentication\", "), "{lines:?}");
    assert!(lines[1].ends_with(", acr_values=\"urn:example:mfa\", max_age=\"300\""), "{lines:?}");
    // The order of the settings does not matter.
    let (_, turned) =
        challenges(ToopherLayer::new(verifier()).step_up(step_up()).max_age(Duration::from_secs(300)), request(None))
            .await;
    assert_eq!(turned[1], lines[1]);
    // If no age is accepted, a new token would not help the client.
    let (status, lines) = challenges(layer().max_age(Duration::ZERO).step_up(step_up()), request(None)).await;
    assert_eq!((status, lines.len()), (401, 1), "{lines:?}");
    // Neither for a wrong code, nor for an unauthenticated client, nor by default.
    assert_eq!(challenges(layer().step_up(step_up()), request(Some("000000"))).await.1.len(), 1);
    let mut unauthenticated = request(None);
    unauthenticated.extensions_mut().clear();
    assert_eq!(challenges(layer().step_up(step_up()), unauthenticated).await.1.len(), 1);
    assert_eq!(challenges(layer(), request(None)).await.1.len(), 1);
}

#[tokio::test]
async fn an_approval_on_the_phone_leads_to_a_grant_too() {
    use tower_toopher::verify::{ApprovalId, ApprovalMode, PendingApproval};

    let clock = Clock::from_secs(T);
    let phone = ScriptedVerifier::new(|attempt| {
        Ok(match attempt.approval_mode() {
            ApprovalMode::Request => PendingApproval::new().with_id(ApprovalId::new("1").unwrap()).into(),
            ApprovalMode::Poll(_) => Verdict::Granted(Factor::Push),
            _ => Verdict::Denied(DenyReason::OtpRequired),
        })
    });
    let layer = ToopherLayer::new(Approvals::new(phone.clone()).unwrap()).action("pay").grants(grants(&clock));
    let mut service = layer.approvals().max_age(Duration::from_secs(300)).layer(inner());
    let response = service.call(Sent::default().request()).await.unwrap();
    assert_eq!((response.status().as_u16(), grant_in(&response)), (202, None));
    let mut again = Sent::default().request();
    again.headers_mut().insert("toopher-approval", response.headers()["toopher-approval"].clone());
    let grant = grant_in(&service.call(again).await.unwrap()).unwrap();
    // A request with the grant sends no push.
    let calls = phone.calls();
    assert_eq!(
        service.call(with_grant(&grant).request()).await.unwrap().headers()["factor"],
        format!("alice Push pay {T}")
    );
    assert_eq!(phone.calls(), calls);
}

#[tokio::test]
async fn debug_output_contains_no_grant_and_no_key() {
    let clock = Clock::from_secs(T);
    let service = service_for("pay", &clock);
    let text = obtain(&service).await;
    let (grant, grants) = (Grant::new(&text).unwrap(), grants(&clock));
    let mut service = service;
    let response = send(&service, with_code()).await;
    let in_header = self::service(grants.clone().header(HeaderName::from_static("toopher-grant")), "pay", 0);
    let in_header = send(&in_header, with_code()).await;
    assert!(!format!("{response:?}").contains("second-factor="));
    assert!(format!("{in_header:?}").contains("\"toopher-grant\": Sensitive"));
    let future = service.call(with_grant(&text).request());
    for shown in
        [format!("{grant:?} {grants:?} {service:?} {future:?} {:?}", Epoch::from(7_u64)), format!("{grants:#?}")]
    {
        assert!(!shown.contains(&text[..8]) && !shown.contains("5e5e") && !shown.contains("94, 94"), "{shown}");
    }
}

/// A handler finds the factor that the innermost layer accepted, whatever other factors were verified.
#[tokio::test]
async fn handlers_find_the_factor_that_their_layer_accepted() {
    let finds = |action: &'static str, earlier: bool| {
        service_fn(move |request: Request<Body>| {
            let found = request.extensions().get::<SecondFactor>().unwrap();
            assert_eq!((found.action().as_str(), found.auth_time().is_some()), (action, earlier));
            std::future::ready(Ok::<_, Infallible>(Response::new(Body::default())))
        })
    };
    let granted = || ToopherLayer::new(ScriptedVerifier::always(Verdict::Granted(Factor::Totp)));
    let never = || ToopherLayer::new(ScriptedVerifier::new(|_| panic!("the factor was verified already")));
    let mut with_factor = request(Some(CODE));
    let at = UnixTime::try_from(SystemTime::now() - Duration::from_secs(1000)).unwrap();
    with_factor.extensions_mut().insert(SecondFactor::new(alice(), "pay", Factor::Push).with_auth_time(at));
    let pay = never().action("pay").max_age(Duration::from_secs(3600)).layer(finds("pay", true));
    assert_eq!(granted().action("log in").layer(pay).oneshot(with_factor).await.unwrap().status(), 200);

    // And the first of two that were verified for this request.
    let mut with_factor = request(Some(CODE));
    with_factor.extensions_mut().insert(SecondFactor::new(alice(), "pay", Factor::Push));
    let pay = never().action("pay").layer(finds("pay", false));
    assert_eq!(granted().action("log in").layer(pay).oneshot(with_factor).await.unwrap().status(), 200);
}

/// Every method, including HEAD and unknown ones, requires a factor without a grant, and none with one.
#[tokio::test]
async fn every_method_requires_a_factor() {
    let clock = Clock::from_secs(T);
    let service = service(grants(&clock), "log in", 60);
    let grant = grant_in(&send(&service, with_code()).await).unwrap();
    for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "FOO"] {
        for (sent, status) in [(Sent::default(), 401), (with_grant(&grant), 200), (with_grant("bm9uc2Vuc2U"), 401)] {
            let mut request = sent.request();
            *request.method_mut() = method.parse().unwrap();
            let response = service.clone().oneshot(request).await.unwrap();
            assert_eq!(response.status(), status, "{method}");
            // A grant leads to no other grant.
            assert_eq!(grant_in(&response), None, "{method}");
        }
    }
}
