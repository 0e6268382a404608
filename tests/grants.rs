//! Grants: what one opens, what ends it, when one is issued, and what nobody can make of it.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use common::*;
use cookie::{Cookie, SameSite as ReadSameSite};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, header};
use proptest::prelude::*;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_toopher::gate::grants::{Epoch, SameSite, SealingKey};
use tower_toopher::{
    Action, Approvals, DenyReason, Factor, Grant, Grants, HeaderOrForm, NotEnrolledPolicy, RejectionKind as Kind,
    SecondFactor, ToopherLayer, ToopherService, Verdict,
};

const NAME: &str = "__Host-second-factor";
const MINUTES: u64 = 60;

/// What the first factor has loaded.
#[derive(Clone, Debug)]
struct Login {
    session: Option<&'static str>,
    epoch: Option<u64>,
}

const LOGIN: Login = Login { session: Some("s1"), epoch: Some(7) };

fn key() -> SealingKey {
    SealingKey::parse(&"5e".repeat(32)).unwrap()
}

fn grants_with(key: SealingKey, clock: &Clock) -> Grants {
    let reading = clock.clone();
    Grants::new(
        key,
        |parts| parts.extensions.get::<Login>()?.session.map(Arc::from),
        |parts, _| parts.extensions.get::<Login>()?.epoch,
    )
    .clock(move || UNIX_EPOCH + reading.now())
}

fn grants(clock: &Clock) -> Grants {
    grants_with(key(), clock)
}

/// Says in the head of its response what it was told of the factor, and sets a cookie of its own.
fn app(request: Request<Body>) -> std::future::Ready<Result<Response<Body>, Infallible>> {
    let mut response =
        Response::builder().header("Set-Cookie", "theme=dark").header("Cache-Control", "public, max-age=60");
    if let Some(shown) = request.extensions().get::<SecondFactor>() {
        let at =
            shown.shown_at().map_or("now".into(), |at| at.duration_since(UNIX_EPOCH).unwrap().as_secs().to_string());
        response =
            response.header("shown", format!("{} {:?} {} {at}", shown.user(), shown.factor(), shown.action().as_str()));
    }
    std::future::ready(Ok(response.body(Body::default()).unwrap()))
}

type App = tower::util::ServiceFn<fn(Request<Body>) -> std::future::Ready<Result<Response<Body>, Infallible>>>;

fn inner() -> App {
    service_fn(app)
}

/// The right code passes, another one does not, and none is asked for.
fn verifier() -> Says {
    Says::new(|attempt| {
        Ok(match attempt.otp() {
            None => Verdict::Denied(DenyReason::OtpRequired),
            Some(otp) if otp.as_str() == CODE => Verdict::Granted(Factor::Totp),
            Some(_) => Verdict::Denied(DenyReason::WrongOtp),
        })
    })
}

type Gate = ToopherService<App, Says>;

fn gate(grants: Grants, action: &'static str, max_age: u64) -> Gate {
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

fn with(grant: &str) -> Sent {
    Sent { cookie: Some(format!("{NAME}={grant}")), ..Sent::default() }
}

impl Sent {
    fn request(self) -> Request<Body> {
        let mut request = request_of(user(self.user), self.otp);
        request.extensions_mut().insert(self.login);
        if let Some(cookie) = self.cookie {
            request.headers_mut().insert(header::COOKIE, cookie.parse().unwrap());
        }
        request
    }
}

async fn send(gate: &Gate, sent: Sent) -> Response<Body> {
    gate.clone().oneshot(sent.request()).await.unwrap()
}

async fn passes(gate: &Gate, sent: Sent) -> bool {
    let response = send(gate, sent).await;
    match response.status() {
        StatusCode::OK => {
            assert!(response.headers()["shown"].to_str().unwrap().starts_with("alice "));
            true
        }
        status => {
            // As if it had had none.
            assert_eq!((status.as_u16(), kind(&response)), (401, Some(Kind::OtpRequired)));
            false
        }
    }
}

fn set_cookies(response: &Response<Body>) -> Vec<Cookie<'static>> {
    let lines = response.headers().get_all(header::SET_COOKIE).iter();
    lines.map(|line| Cookie::parse(line.to_str().unwrap().to_owned()).unwrap()).collect()
}

/// The grant in a response; two of them would be a fault.
fn grant_in(response: &Response<Body>) -> Option<String> {
    let mut grants: Vec<_> = set_cookies(response).into_iter().filter(|cookie| cookie.name() == NAME).collect();
    assert!(grants.len() <= 1, "{grants:?}");
    grants.pop().map(|cookie| cookie.value().to_owned())
}

async fn obtain(gate: &Gate) -> String {
    let response = send(gate, with_code()).await;
    assert_eq!(response.status(), 200);
    grant_in(&response).unwrap()
}

#[tokio::test]
async fn it_is_issued_once_a_factor_was_shown_and_passes_the_next_request() {
    let clock = Clock::at(T);
    let gate = gate(grants(&clock), "pay", 5 * MINUTES);
    let response = send(&gate, with_code()).await;
    assert_eq!(response.headers()["shown"], "alice Totp pay now");
    assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
    assert_eq!(response.headers().get_all(header::CACHE_CONTROL).iter().count(), 1);

    // Beside the cookie of the inner service, and as another parser reads it.
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
    let response = send(&gate, with(cookie.value())).await;
    assert_eq!((response.status().as_u16(), kind(&response)), (200, None));
    assert_eq!(response.headers()["shown"], format!("alice Totp pay {T}"));
    // It is not renewed by itself, and the response stays as it was.
    assert_eq!(
        (grant_in(&response), &response.headers()[header::CACHE_CONTROL]),
        (None, &"public, max-age=60".parse().unwrap())
    );
}

#[tokio::test]
async fn the_route_says_how_fresh_and_zero_is_this_request_only() {
    let clock = Clock::at(T);
    let five = gate(grants(&clock), "pay", 5 * MINUTES);
    let grant = obtain(&five).await;
    let none = gate(grants(&clock), "pay", 0);
    assert!(passes(&none, with_code()).await && !passes(&none, with(&grant)).await);
    for (age, expected) in [(0, true), (1, true), (299, true), (300, true), (301, false), (900, false)] {
        clock.set(T + age);
        assert_eq!(passes(&five, with(&grant)).await, expected, "{age}");
        assert!(!passes(&none, with(&grant)).await);
    }
    // Clocks of two machines differ, but not by much. One before 1970 is none.
    for (early, expected) in [(1, true), (30, true), (31, false), (3600, false), (T, false)] {
        clock.set(T - early);
        assert_eq!(passes(&five, with(&grant)).await, expected, "{early}");
    }
}

#[tokio::test]
async fn the_lifetime_is_above_every_route() {
    let clock = Clock::at(T);
    let lenient = gate(grants(&clock), "pay", 1_000_000);
    let grant = obtain(&lenient).await;
    clock.set(T + 15 * MINUTES);
    assert!(passes(&lenient, with(&grant)).await);
    clock.advance(1);
    assert!(!passes(&lenient, with(&grant)).await);
    // As it is set now, not when it was issued.
    let longer = gate(grants(&clock).lifetime(Duration::from_secs(3600)), "pay", 1_000_000);
    assert!(passes(&longer, with(&grant)).await);
    clock.set(T + 3601);
    assert!(!passes(&longer, with(&grant)).await);

    let cookie =
        set_cookies(&send(&gate(grants(&clock).lifetime(Duration::from_millis(1500)), "pay", 1), with_code()).await);
    assert_eq!(cookie[1].max_age(), Some(cookie::time::Duration::seconds(2)));
}

#[tokio::test]
async fn another_user_session_or_epoch_opens_none_of_it() {
    let clock = Clock::at(T);
    let gate = gate(grants(&clock), "pay", 5 * MINUTES);
    let grant = obtain(&gate).await;
    assert!(passes(&gate, with(&grant)).await);
    let login = |session, epoch| Sent { login: Login { session, epoch }, ..with(&grant) };
    for (what, sent) in [
        ("user", Sent { user: "bob", ..with(&grant) }),
        ("session", login(Some("s2"), Some(7))),
        ("no session", login(None, Some(7))),
        ("empty session", login(Some(""), Some(7))),
        ("epoch after", login(Some("s1"), Some(8))),
        ("epoch before", login(Some("s1"), Some(6))),
        ("no epoch", login(Some("s1"), None)),
    ] {
        assert!(!passes(&gate, sent).await, "{what}");
    }
    // Without a name for either none is issued, and the request goes on.
    for login in
        [Login { session: None, ..LOGIN }, Login { session: Some(""), ..LOGIN }, Login { epoch: None, ..LOGIN }]
    {
        let response = send(&gate, Sent { login, ..with_code() }).await;
        assert_eq!((response.status().as_u16(), grant_in(&response)), (200, None));
        assert_eq!(response.headers()[header::CACHE_CONTROL], "public, max-age=60");
    }
    // Nobody is logged in.
    let mut nobody = with(&grant).request();
    nobody.extensions_mut().remove::<tower_toopher::UserId>();
    assert_eq!(kind(&gate.clone().oneshot(nobody).await.unwrap()), Some(Kind::Unidentified));
}

#[tokio::test]
async fn an_epoch_that_moves_while_the_factor_is_looked_at_ends_the_grant() {
    let (clock, epoch) = (Clock::at(T), Clock::at(1));
    let (moved, read) = (epoch.clone(), epoch.clone());
    let reading = clock.clone();
    let by_clock = Grants::new(key(), |_| Some("s1".into()), move |_, _| Some(read.now().as_secs()))
        .clock(move || UNIX_EPOCH + reading.now());
    let changes = Says::new(move |_| {
        moved.advance(1);
        Ok(Verdict::Granted(Factor::Totp))
    });
    let gate = ToopherLayer::new(changes).grants(by_clock.clone()).layer(inner());
    let grant = grant_in(&send(&gate, with_code()).await).unwrap();
    let route = ToopherLayer::new(verifier()).grants(by_clock).max_age(Duration::from_secs(60)).layer(inner());
    assert!(!passes(&route, with(&grant)).await);
}

/// One key may seal both, and what each of them says is in another place.
#[tokio::test]
async fn under_one_key_a_challenge_is_no_grant_and_a_grant_no_challenge() {
    let (clock, phones) = (Clock::at(T), phones::Phones::default());
    let approvals = Approvals::new(phones.clone()).unwrap().key(key()).clock(clock.reading());
    let asks = ToopherLayer::new(approvals).approvals(|_| Some("s1".into())).grants(grants(&clock)).action("pay");
    let asks = asks.max_age(Duration::from_secs(300)).layer(inner());
    let route = gate(grants(&clock), "pay", 5 * MINUTES);
    let answer = async |challenge: &str| {
        let mut request = Sent::default().request();
        request.headers_mut().insert("toopher-challenge", challenge.parse().unwrap());
        asks.clone().oneshot(request).await.unwrap()
    };
    let asked = asks.clone().oneshot(Sent::default().request()).await.unwrap();
    assert_eq!(asked.status(), 202);
    let challenge = asked.headers()["toopher-challenge"].to_str().unwrap().to_owned();
    phones.answer(phones::Says::Yes);
    let grant = obtain(&route).await;

    assert!(!passes(&route, with(&challenge)).await);
    let refused = answer(&grant).await;
    assert_eq!((refused.status().as_u16(), grant_in(&refused)), (401, None));
    // Each is good for what it is.
    assert!(passes(&route, with(&grant)).await);
    let passed = answer(&challenge).await;
    assert_eq!(passed.status(), 200);
    assert!(passes(&route, with(&grant_in(&passed).unwrap())).await);
}

#[tokio::test]
async fn one_for_another_action_counts_only_where_the_route_says_so() {
    let clock = Clock::at(T);
    let pay = gate(grants(&clock), "pay", 5 * MINUTES);
    let grant = obtain(&pay).await;
    let route = |action: &'static str, covered: &[&'static str]| {
        let layer = ToopherLayer::new(verifier()).grants(grants(&clock)).action(action);
        layer.max_age(Duration::from_secs(300)).covered_by(covered.iter().copied()).layer(inner())
    };
    for (action, covered, expected) in [
        ("pay", &[][..], true),
        ("read", &["pay"], true),
        ("read", &["administer", "pay"], true),
        ("read", &[], false),
        ("read", &["Pay", "pay ", ""], false),
        ("Pay", &["read"], false),
    ] {
        assert_eq!(passes(&route(action, covered), with(&grant)).await, expected, "{action} {covered:?}");
    }
    // The factor is what it is: the handler is not told that it was shown for reading.
    clock.advance(9);
    let response = send(&route("read", &["pay"]), with(&grant)).await;
    assert_eq!(response.headers()["shown"], format!("alice Totp pay {T}"));
    // Which action is asked for is decided anew for each request.
    let chosen = ToopherLayer::new(verifier()).grants(grants(&clock)).max_age(Duration::from_secs(300));
    let chosen = chosen.action_for(|parts| Action::from(parts.uri.path().trim_start_matches('/'))).layer(inner());
    for (path, status) in [("/pay", 200), ("/account", 401)] {
        let mut request = with(&grant).request();
        *request.uri_mut() = path.parse().unwrap();
        assert_eq!(chosen.clone().oneshot(request).await.unwrap().status(), status, "{path}");
    }
}

#[tokio::test]
async fn a_grant_remembers_the_factor_of_each_action_and_makes_none_younger() {
    let clock = Clock::at(T);
    let (read, pay) = (gate(grants(&clock), "read", 10 * MINUTES), gate(grants(&clock), "pay", 5 * MINUTES));
    let first = obtain(&read).await;
    clock.advance(8 * MINUTES);
    let both = grant_in(&send(&pay, Sent { otp: Some(CODE), ..with(&first) }).await).unwrap();
    assert!(passes(&pay, with(&both)).await && passes(&read, with(&both)).await);
    clock.advance(2 * MINUTES);
    assert!(passes(&read, with(&both)).await);
    clock.advance(1);
    assert!(passes(&pay, with(&both)).await && !passes(&read, with(&both)).await);
    // The factors of somebody else's grant are not taken over.
    let stolen = Sent { otp: Some(CODE), login: Login { session: Some("s2"), ..LOGIN }, ..with(&both) };
    let theirs = grant_in(&send(&read, stolen).await).unwrap();
    let as_thief = |grant| Sent { login: Login { session: Some("s2"), ..LOGIN }, ..with(grant) };
    assert!(passes(&read, as_thief(&theirs)).await && !passes(&pay, as_thief(&theirs)).await);

    // Of each action only the latest is kept, so that no other one is crowded out.
    let mut grant = obtain(&read).await;
    let confirm = gate(grants(&clock), "pay", 0);
    for _ in 0..9 {
        clock.advance(1);
        grant = grant_in(&send(&confirm, Sent { otp: Some(CODE), ..with(&grant) }).await).unwrap();
    }
    assert!(passes(&pay, with(&grant)).await && passes(&read, with(&grant)).await);

    // Of more than eight the oldest are forgotten.
    let actions = ["a", "b", "c", "d", "e", "f", "g", "h", "i"];
    let mut grant = String::new();
    for action in actions {
        clock.advance(1);
        let gate = gate(grants(&clock), action, 60);
        grant = grant_in(&send(&gate, Sent { otp: Some(CODE), ..with(&grant) }).await).unwrap();
        assert!(grant.len() <= 1024);
    }
    for action in actions {
        assert_eq!(passes(&gate(grants(&clock), action, 60), with(&grant)).await, action != "a", "{action}");
    }
}

#[tokio::test]
async fn keys_rotate() {
    let clock = Clock::at(T);
    let [first, second, third] = ["01", "02", "03"].map(|byte| SealingKey::parse(&byte.repeat(32)).unwrap());
    let with_keys = |seals: &SealingKey, opens: Option<&SealingKey>| {
        let grants = grants_with(seals.clone(), &clock);
        gate(opens.map_or(grants.clone(), |opens| grants.previous_key(opens.clone())), "pay", 5 * MINUTES)
    };
    let grant = obtain(&with_keys(&first, None)).await;
    assert!(passes(&with_keys(&first, None), with(&grant)).await);
    assert!(passes(&with_keys(&first, Some(&second)), with(&grant)).await);
    assert!(passes(&with_keys(&second, Some(&first)), with(&grant)).await);
    assert!(!passes(&with_keys(&second, None), with(&grant)).await);
    assert!(!passes(&with_keys(&third, Some(&second)), with(&grant)).await);
    // The newest one seals.
    let newer = obtain(&with_keys(&second, Some(&first))).await;
    assert!(
        passes(&with_keys(&second, None), with(&newer)).await && !passes(&with_keys(&first, None), with(&newer)).await
    );
}

#[tokio::test]
async fn nothing_of_it_can_be_altered() {
    let clock = Clock::at(T);
    let gate = gate(grants(&clock), "pay", 5 * MINUTES);
    let grant = obtain(&gate).await;
    for at in 0..grant.len() {
        let mut altered = grant.clone().into_bytes();
        altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
        assert!(!passes(&gate, with(std::str::from_utf8(&altered).unwrap())).await, "{at}");
        assert!(!passes(&gate, with(&grant[..at])).await, "{at}");
        assert!(!passes(&gate, with(&grant[at + 1..])).await, "{at}");
    }
    for other in [format!("{grant}A"), format!("{grant}="), format!("\"{grant}\""), format!("{grant}.{grant}")] {
        assert!(!passes(&gate, with(&other)).await, "{other}");
    }
}

#[tokio::test]
async fn of_two_cookies_none_counts_and_only_so_many_are_looked_at() {
    let clock = Clock::at(T);
    let gate = gate(grants(&clock), "pay", 5 * MINUTES);
    let grant = obtain(&gate).await;
    let good = format!("{NAME}={grant}");
    let lines = |lines: &[String]| {
        let mut request = Sent::default().request();
        for line in lines {
            request.headers_mut().append(header::COOKIE, HeaderValue::from_str(line).unwrap());
        }
        let gate = gate.clone();
        async move { gate.oneshot(request).await.unwrap().status() == 200 }
    };
    let others = |count: usize| "a=1; ".repeat(count);
    for (what, cookies, expected) in [
        ("among others", vec![format!("theme=dark;{good};x={NAME}=1; y")], true),
        ("blanks", vec![format!(" theme=dark ;  {NAME} = {grant} ")], true),
        ("a line each, as HTTP/2 may send them", vec!["theme=dark".into(), good.clone(), "x=1".into()], true),
        ("twice", vec![format!("{good}; {good}")], false),
        ("twice, in two lines", vec![good.clone(), good.clone()], false),
        ("beside a bad one", vec![format!("{NAME}=bad; {good}")], false),
        ("beside a bad one behind it", vec![format!("{good}; {NAME}=bad")], false),
        ("beside an empty one", vec![format!("{good}; {NAME}=")], false),
        ("another spelling of the name", vec![good.to_lowercase().replace(&grant.to_lowercase(), &grant)], false),
        ("another name", vec![good.replace("__Host-", "")], false),
        ("a name with something before it", vec![format!("x{good}")], false),
        ("commas", vec![format!("a=1, {good}")], false),
        ("many cookies", vec![format!("{}{good}", others(255))], true),
        ("too many cookies", vec![format!("{}{good}", others(256))], false),
        ("too many before it matters", vec![format!("{good}; {}", others(256))], false),
        ("many lines", vec!["a=1".into(); 300].into_iter().chain([good.clone()]).collect(), false),
        ("a large one", vec![format!("a={}; {good}", "x".repeat(8_000))], true),
        ("a huge one", vec![format!("a={}; {good}", "x".repeat(16_384))], false),
        (
            "two of them",
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
    fn no_bytes_pass_and_none_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        named in any::<bool>(),
        cut in 0..200_usize,
        at in 0..200_usize,
        byte in any::<u8>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let gate = gate(grants(&Clock::at(T)), "pay", 5 * MINUTES);
            let grant = obtain(&gate).await;
            let mut spliced = grant.clone().into_bytes();
            let (cut, at) = (cut.min(spliced.len()), at.min(spliced.len() - 1));
            spliced.splice(cut..cut, bytes.iter().copied().take(3));
            spliced[at] = byte;
            for value in [bytes.clone(), spliced] {
                let line = if named { [NAME.as_bytes(), b"=", &value].concat() } else { value.clone() };
                let Ok(line) = HeaderValue::from_bytes(&line) else { continue };
                let mut request = Sent::default().request();
                request.headers_mut().insert(header::COOKIE, line.clone());
                let passed = gate.clone().oneshot(request).await.unwrap().status() == 200;
                // Only the very grant does, with what belongs to other cookies behind it.
                let own = named && value.split(|&b| b == b';').next().unwrap().trim_ascii() == grant.as_bytes();
                assert!(!passed || own, "{line:?}");
            }
        });
    }
}

#[tokio::test]
async fn it_is_issued_for_nothing_but_a_factor_verified_here() {
    let clock = Clock::at(T);
    let layer = |verdict: Verdict| {
        ToopherLayer::new(Says::always(verdict)).grants(grants(&clock)).max_age(Duration::from_secs(300))
    };
    let granted = || Verdict::Granted(Factor::Totp);
    let none = |response: &Response<Body>| {
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
    // Let pass without a factor.
    let unenrolled = layer(Verdict::Denied(DenyReason::NotEnrolled)).not_enrolled(NotEnrolledPolicy::PassUnprotected);
    let response = send(&unenrolled.layer(inner()), with_code()).await;
    assert_eq!(response.status(), 200);
    none(&response);
    // Skipped.
    let response = send(&layer(granted()).insecure_skip(|_| true).layer(inner()), with_code()).await;
    assert_eq!(response.status(), 200);
    none(&response);
    // Vouched for by code outside, or shown to an outer gate.
    let mut request = with_code().request();
    request.extensions_mut().insert(SecondFactor::new(alice(), "log in", Factor::Totp));
    let response = layer(granted()).layer(inner()).oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200);
    none(&response);
    // Refused.
    for verdict in
        [Verdict::Denied(DenyReason::WrongOtp), Verdict::pending(None), Verdict::Denied(DenyReason::LockedOut)]
    {
        none(&send(&layer(verdict).layer(inner()), with_code()).await);
    }
    // Who is only named in a form has not shown a password yet.
    let by_form = layer(granted()).extractor(HeaderOrForm::default().user_field("user"));
    let by_form = by_form.identify_by_form(|name| Some(user(name))).layer(inner());
    let form = |body: &'static str, id: Option<&'static str>| {
        let mut request =
            Request::post("/login").extension(LOGIN).header("Content-Type", "application/x-www-form-urlencoded");
        if let Some(id) = id {
            request = request.extension(user(id));
        }
        request.body(Body::from(body)).unwrap()
    };
    let response = by_form.clone().oneshot(form("user=alice&otp=081804", None)).await.unwrap();
    assert_eq!(
        (response.status().as_u16(), response.headers()["shown"].to_str().unwrap()),
        (200, "alice Totp log in now")
    );
    none(&response);
    // Who is logged in gets one.
    let response = by_form.oneshot(form("user=alice&otp=081804", Some("alice"))).await.unwrap();
    assert!(grant_in(&response).is_some());
}

#[tokio::test]
async fn where_a_form_may_name_somebody_else_it_is_read_whatever_the_grant_says() {
    let clock = Clock::at(T);
    let layer = ToopherLayer::new(verifier()).grants(grants(&clock)).max_age(Duration::from_secs(300));
    let grant = obtain(&layer.clone().layer(inner())).await;
    let form = || {
        let form =
            Request::post("/login").extension(LOGIN).extension(alice()).header("Cookie", format!("{NAME}={grant}"));
        form.header("Content-Type", "application/x-www-form-urlencoded").body(Body::from("user=bob")).unwrap()
    };
    let by_form = layer.clone().extractor(HeaderOrForm::default().user_field("user"));
    let by_form = by_form.identify_by_form(|name| Some(user(name))).layer(inner());
    assert_eq!(by_form.oneshot(form()).await.unwrap().status(), 400);
    assert_eq!(layer.extractor(HeaderOrForm::default()).layer(inner()).oneshot(form()).await.unwrap().status(), 200);
}

#[tokio::test]
async fn an_otp_beside_a_good_grant_is_left_for_a_gate_further_in() {
    let clock = Clock::at(T);
    let (verifier, app_calls) = (verifier(), Calls::default());
    let layer = |action: &'static str, max_age| {
        let layer = ToopherLayer::new(verifier.clone()).grants(grants(&clock)).action(action);
        layer.max_age(Duration::from_secs(max_age))
    };
    // The whole site for an hour, and step-up on one route of it.
    let site = || layer("read", 3600).covered_by(["pay"]);
    let pay = site().layer(layer("pay", 300).layer(inner()));
    let grant = grant_in(&site().layer(inner()).oneshot(with_code().request()).await.unwrap()).unwrap();
    clock.advance(100);
    let come = |otp| {
        let (pay, request) = (pay.clone(), Sent { otp, ..with(&grant) }.request());
        async move { pay.oneshot(request).await.unwrap() }
    };
    assert_eq!(kind(&come(None).await), Some(Kind::OtpRequired));
    assert_eq!(kind(&come(Some("000000")).await), Some(Kind::WrongOtp));
    let paid = come(Some(CODE)).await;
    assert_eq!(
        (paid.status().as_u16(), &paid.headers()["shown"]),
        (200, &HeaderValue::from_static("alice Totp pay now"))
    );
    let both = grant_in(&paid).unwrap();
    assert_eq!(pay.clone().oneshot(with(&both).request()).await.unwrap().status(), 200);
    // It is not spent by the outer one, and what is behind gets it as it came.
    let sees = service_fn(|request: Request<Body>| {
        app_calls.add();
        assert_eq!(request.headers()["Toopher-OTP"], "0000 00");
        std::future::ready(Ok::<_, Infallible>(Response::new(Body::default())))
    });
    let asked = verifier.calls();
    let sent = || Sent { otp: Some("0000 00"), ..with(&grant) };
    assert_eq!(site().layer(sees).oneshot(sent().request()).await.unwrap().status(), 200);
    assert_eq!((verifier.calls(), app_calls.count()), (asked, 1));
    // Where a code must count, it does, whatever else there is.
    let confirms = gate(grants(&clock), "read", 0);
    assert_eq!(kind(&send(&confirms, Sent { otp: Some("000000"), ..with(&grant) }).await), Some(Kind::WrongOtp));
    let renewed = grant_in(&send(&confirms, Sent { otp: Some(CODE), ..with(&grant) }).await).unwrap();
    clock.advance(3_600 - 100 + 1);
    let site = ToopherLayer::new(verifier.clone()).grants(grants(&clock).lifetime(Duration::from_secs(3600)));
    let site = site.action("read").max_age(Duration::from_secs(3600)).layer(inner());
    assert!(passes(&site, with(&renewed)).await && !passes(&site, with(&grant)).await);
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
async fn no_body_is_read_where_a_grant_will_do() {
    let clock = Clock::at(T);
    let layer = ToopherLayer::new(verifier()).grants(grants(&clock)).max_age(Duration::from_secs(300));
    let grant = obtain(&layer.clone().layer(inner())).await;
    let app = service_fn(|_: Request<tower_toopher::ReplayBody<Untouchable>>| async {
        Ok::<_, Infallible>(Response::new(Body::default()))
    });
    let gate = layer.extractor(HeaderOrForm::default().wrapping()).layer(app);
    let (mut parts, _) = with(&grant).request().into_parts();
    parts.headers.insert("content-type", "application/x-www-form-urlencoded".parse().unwrap());
    assert_eq!(gate.oneshot(Request::from_parts(parts, Untouchable)).await.unwrap().status(), 200);
}

#[tokio::test]
async fn every_factor_is_told_as_it_was() {
    let clock = Clock::at(T);
    let long = "the name of a factor with more than 32 characters";
    for (factor, told) in [
        (Factor::Totp, Some("Totp")),
        (Factor::BackupCode, Some("BackupCode")),
        (Factor::Push, Some("Push")),
        (Factor::Other("webauthn"), Some("Other(\"webauthn\")")),
        (Factor::Other(long), None),
    ] {
        let gate = ToopherLayer::new(Says::always(Verdict::Granted(factor))).grants(grants(&clock)).layer(inner());
        let response = send(&gate, Sent::default()).await;
        assert_eq!((response.status().as_u16(), grant_in(&response).is_some()), (200, told.is_some()));
        if let (Some(told), Some(grant)) = (told, grant_in(&response)) {
            let route = gate_for("log in", &clock);
            assert_eq!(send(&route, with(&grant)).await.headers()["shown"], format!("alice {told} log in {T}"));
        }
    }
}

fn gate_for(action: &'static str, clock: &Clock) -> Gate {
    gate(grants(clock), action, 5 * MINUTES)
}

#[tokio::test]
async fn whatever_the_inner_service_answers_carries_it_unless_it_sets_the_same() {
    let clock = Clock::at(T);
    let layer = ToopherLayer::new(verifier()).grants(grants(&clock));
    let answers = |status: u16, cookie: Option<String>| {
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
        let response = answers(status, None).await.unwrap();
        assert!(response.status() == status && grant_in(&response).is_some());
        assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
    }
    // A log-out that the gate guards stays one.
    let clears = grants(&clock).clear_cookie().unwrap();
    let response = answers(200, Some(clears.to_str().unwrap().to_owned())).await.unwrap();
    let cookies = set_cookies(&response);
    assert_eq!((cookies.len(), cookies[0].name_value()), (1, (NAME, "")));
    assert_eq!(cookies[0].max_age(), Some(cookie::time::Duration::ZERO));
    assert_eq!((cookies[0].secure(), cookies[0].path(), cookies[0].domain()), (Some(true), Some("/"), None));
    // A name that only begins so is another one.
    let response = answers(200, Some(format!("{NAME}-2=x"))).await.unwrap();
    assert!(grant_in(&response).is_some());

    let fails = service_fn(|_: Request<Body>| async { Err::<Response<Body>, _>("down") });
    assert_eq!(layer.layer(fails).oneshot(with_code().request()).await.unwrap_err(), "down");
}

#[tokio::test]
async fn in_a_header() {
    let clock = Clock::at(T);
    let name = HeaderName::from_static("toopher-grant");
    let gate = gate(grants(&clock).header(name.clone()), "pay", 5 * MINUTES);
    let response = send(&gate, with_code()).await;
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
        let gate = gate.clone();
        async move { gate.oneshot(request).await.unwrap().status().as_u16() }
    };
    let bad = HeaderValue::from_static("bad");
    let joined = HeaderValue::from_str(&format!("{0}, {0}", grant.to_str().unwrap())).unwrap();
    assert_eq!((lines(&[grant]).await, lines(&[&bad]).await, lines(&[&joined]).await), (200, 401, 401));
    assert_eq!((lines(&[grant, grant]).await, lines(&[grant, &bad]).await), (401, 401));
    // A cookie is none here.
    assert!(!passes(&gate, with(grant.to_str().unwrap())).await);
    assert!(grants(&clock).header(name).clear_cookie().is_none());
}

#[tokio::test]
async fn in_the_session_of_the_application() {
    let clock = Clock::at(T);
    let grants = grants(&clock).in_extensions();
    let app = service_fn(|request: Request<Body>| async move {
        let grant = request.extensions().get::<Grant>().map(|grant| grant.as_str().to_owned());
        Ok::<_, Infallible>(
            Response::builder().header("stored", grant.unwrap_or_default()).body(Body::default()).unwrap(),
        )
    });
    let gate = ToopherLayer::new(verifier()).grants(grants.clone()).max_age(Duration::from_secs(300)).layer(app);
    let response = gate.clone().oneshot(with_code().request()).await.unwrap();
    assert!(
        !response.headers().contains_key(header::SET_COOKIE) && !response.headers().contains_key(header::CACHE_CONTROL)
    );
    let stored = response.headers()["stored"].to_str().unwrap();
    assert!(!stored.is_empty());

    let come = |grant: &str, login: Login| {
        let mut request = Sent { login, ..with(grant) }.request();
        request.extensions_mut().insert(Grant::new(grant));
        let gate = gate.clone();
        async move { gate.oneshot(request).await.unwrap().status().as_u16() }
    };
    assert_eq!(come(stored, LOGIN).await, 200);
    // It is sealed and bound there, too.
    assert_eq!(come(stored, Login { epoch: Some(8), ..LOGIN }).await, 401);
    assert_eq!(come(stored, Login { session: Some("s2"), ..LOGIN }).await, 401);
    assert_eq!(come(&format!("{stored}A"), LOGIN).await, 401);
    assert_eq!(come(&"A".repeat(100_000), LOGIN).await, 401);
    // What the client sends is none.
    assert_eq!(gate.clone().oneshot(with(stored).request()).await.unwrap().status(), 401);
}

#[tokio::test]
async fn a_handler_can_make_one_for_the_session_that_it_begins() {
    let clock = Clock::at(T);
    let grants = grants(&clock);
    let pay = gate_for("pay", &clock);
    let in_new = |grant: &Grant| Sent { login: Login { session: Some("new"), ..LOGIN }, ..with(grant.as_str()) };
    let shown = SecondFactor::new(alice(), "pay", Factor::Totp);
    let grant = grants.issue(&shown, "new", 7_u64).unwrap();
    assert!(passes(&pay, in_new(&grant)).await && !passes(&pay, with(grant.as_str())).await);
    assert!(!passes(&pay, in_new(&grants.issue(&shown, "new", 8_u64).unwrap())).await);
    let cookie = Cookie::parse(grants.set_cookie(&grant).unwrap().to_str().unwrap().to_owned()).unwrap();
    assert_eq!((cookie.name_value(), cookie.http_only()), ((NAME, grant.as_str()), Some(true)));
    // One that was shown earlier is as old as it is.
    let earlier = shown.with_shown_at(UNIX_EPOCH + Duration::from_secs(T - 299));
    let grant = grants.issue(&earlier, "new", 7_u64).unwrap();
    clock.advance(1);
    assert!(passes(&pay, in_new(&grant)).await);
    clock.advance(1);
    assert!(!passes(&pay, in_new(&grant)).await);
    assert_ne!(Epoch::from(7_u64), Epoch::of(7_u64.to_be_bytes()));
}

#[tokio::test]
async fn a_clock_before_1970_issues_none_and_takes_none() {
    let grants = grants(&Clock::at(T));
    let grant = obtain(&gate(grants.clone(), "pay", 300)).await;
    let broken = gate(grants.clock(|| UNIX_EPOCH - Duration::from_secs(1)), "pay", 300);
    let response = send(&broken, with_code()).await;
    assert_eq!((response.status().as_u16(), grant_in(&response)), (200, None));
    assert!(!passes(&broken, with(&grant)).await);
}

#[tokio::test]
async fn one_gate_in_another_goes_by_its_own_rules() {
    let clock = Clock::at(T);
    let layer = |action: &'static str, max_age| {
        ToopherLayer::new(verifier()).grants(grants(&clock)).action(action).max_age(Duration::from_secs(max_age))
    };
    let grant = obtain(&gate_for("pay", &clock)).await;
    clock.advance(100);
    // The outer one has let it pass by a grant that is too old for the inner one.
    for (inner_age, expected) in [(0, 401), (99, 401), (100, 200)] {
        let stack = layer("pay", 300).layer(layer("pay", inner_age).layer(inner()));
        assert_eq!(stack.oneshot(with(&grant).request()).await.unwrap().status(), expected, "{inner_age}");
    }
    // One without grants knows none.
    let stack = layer("pay", 300).layer(ToopherLayer::new(verifier()).action("pay").layer(inner()));
    assert_eq!(stack.oneshot(with(&grant).request()).await.unwrap().status(), 401);
    // One and the same factor is asked for once, and there is one grant.
    let stack = layer("pay", 300).layer(layer("pay", 0).layer(inner()));
    assert!(grant_in(&stack.oneshot(with_code().request()).await.unwrap()).is_some());
    // Of two factors, the inner one's is kept.
    let by_x = tower_toopher::Header::named(HeaderName::from_static("x-otp"));
    let stack = layer("log in", 300).layer(layer("pay", 0).extractor(by_x).layer(inner()));
    let mut request = with_code().request();
    request.headers_mut().insert("x-otp", CODE.parse().unwrap());
    let kept = grant_in(&stack.oneshot(request).await.unwrap()).unwrap();
    assert!(
        passes(&gate_for("pay", &clock), with(&kept)).await && !passes(&gate_for("log in", &clock), with(&kept)).await
    );
}

#[tokio::test]
async fn what_code_outside_knows_of_is_taken_by_its_age_too() {
    let clock = Clock::at(T);
    let gate = gate_for("pay", &clock);
    let come = |shown: SecondFactor| {
        let mut request = Sent::default().request();
        request.extensions_mut().insert(shown);
        let gate = gate.clone();
        async move { gate.oneshot(request).await.unwrap().status().as_u16() }
    };
    let shown = |id: &str, action: &'static str, at: u64| {
        SecondFactor::new(user(id), action, Factor::Other("acr")).with_shown_at(UNIX_EPOCH + Duration::from_secs(at))
    };
    assert_eq!((come(shown("alice", "pay", T)).await, come(shown("alice", "pay", T - 300)).await), (200, 200));
    assert_eq!((come(shown("alice", "pay", T - 301)).await, come(shown("alice", "pay", T + 31)).await), (401, 401));
    assert_eq!((come(shown("bob", "pay", T)).await, come(shown("alice", "read", T)).await), (401, 401));
    let before_1970 =
        SecondFactor::new(alice(), "pay", Factor::Totp).with_shown_at(UNIX_EPOCH - Duration::from_secs(1));
    assert_eq!(come(before_1970).await, 401);
    // The lifetime of grants is above it, and the challenge does not promise more.
    let longer = ToopherLayer::new(verifier()).grants(grants(&clock)).action("pay").max_age(Duration::from_secs(3600));
    let longer = longer.step_up(tower_toopher::StepUp::new()).layer(inner());
    for (age, status) in [(900, 200), (901, 401)] {
        let mut request = Sent::default().request();
        request.extensions_mut().insert(shown("alice", "pay", T - age));
        let response = longer.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), status, "{age}");
        let challenges = response.headers().get_all(header::WWW_AUTHENTICATE).iter();
        let says = |line: &HeaderValue| line.to_str().unwrap().ends_with(", max_age=\"900\"");
        assert_eq!(challenges.filter(|line| says(line)).count(), usize::from(status == 401));
    }
    // Only one for this very request is what `covers` speaks of.
    assert!(!shown("alice", "pay", T).covers(&alice(), &"pay".into()));
}

#[tokio::test]
async fn the_settings_of_the_cookie() {
    let clock = Clock::at(T);
    let lax = grants(&clock).same_site(SameSite::Lax).cookie("sid2");
    let gate = gate(lax, "pay", 5 * MINUTES);
    let cookies = set_cookies(&send(&gate, with_code()).await);
    let cookie = &cookies[1];
    assert_eq!((cookie.name(), cookie.same_site(), cookie.secure()), ("sid2", Some(ReadSameSite::Lax), Some(true)));
    let sent = Sent { cookie: Some(format!("sid2={}", cookie.value())), ..Sent::default() };
    assert!(passes(&gate, sent).await && !passes(&gate, with(cookie.value())).await);
    for bad in ["", "a b", "a;b", "a=b", "a\r\nb", "caf\u{e9}", &"a".repeat(65)] {
        let grants = grants(&clock);
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| grants.cookie(bad))).is_err(), "{bad:?}");
    }
}

#[tokio::test]
async fn the_challenge_of_rfc_9470_is_for_who_lacks_a_factor() {
    let layer = || ToopherLayer::new(verifier()).action("pay").max_age(Duration::from_secs(300));
    let step_up = || tower_toopher::StepUp::new().acr_values(["urn:example:mfa"]).unwrap();
    let challenges = |layer: ToopherLayer<Says>, request: Request<Body>| async move {
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
    // Nobody is sent round for ever: where each request is to be confirmed no age is low enough, and where a form may
    // name the user none is looked at.
    let by_form = layer().step_up(step_up()).identify_by_form(|typed| tower_toopher::UserId::new(typed).ok());
    for hopeless in [layer().max_age(Duration::ZERO).step_up(step_up()), by_form] {
        let (status, lines) = challenges(hopeless, request(None)).await;
        assert_eq!((status, lines.len()), (401, 1), "{lines:?}");
    }
    // Not for who is wrong, nor for who has not logged in, nor by itself.
    assert_eq!(challenges(layer().step_up(step_up()), request(Some("000000"))).await.1.len(), 1);
    let mut nobody = request(None);
    nobody.extensions_mut().clear();
    assert_eq!(challenges(layer().step_up(step_up()), nobody).await.1.len(), 1);
    assert_eq!(challenges(layer(), request(None)).await.1.len(), 1);
}

#[tokio::test]
async fn an_approval_on_the_phone_leads_to_one_too() {
    use tower_toopher::{Approval, ApprovalId, Approvals, Pending};

    let clock = Clock::at(T);
    let phone = Says::new(|attempt| {
        Ok(match attempt.approval() {
            Approval::Wanted => Pending::new().with_id(ApprovalId::new("1").unwrap()).into(),
            Approval::Asked(_) => Verdict::Granted(Factor::Push),
            _ => Verdict::Denied(DenyReason::OtpRequired),
        })
    });
    let layer = ToopherLayer::new(Approvals::new(phone.clone()).unwrap()).action("pay").grants(grants(&clock));
    let mut gate = layer.approvals(|_| Some("s1".into())).max_age(Duration::from_secs(300)).layer(inner());
    let response = gate.call(Sent::default().request()).await.unwrap();
    assert_eq!((response.status().as_u16(), grant_in(&response)), (202, None));
    let mut again = Sent::default().request();
    again.headers_mut().insert("toopher-challenge", response.headers()["toopher-challenge"].clone());
    let grant = grant_in(&gate.call(again).await.unwrap()).unwrap();
    // No phone rings for who has it.
    let asked = phone.calls();
    assert_eq!(gate.call(with(&grant).request()).await.unwrap().headers()["shown"], format!("alice Push pay {T}"));
    assert_eq!(phone.calls(), asked);
}

#[tokio::test]
async fn debug_shows_no_grant_and_no_key() {
    let clock = Clock::at(T);
    let gate = gate_for("pay", &clock);
    let text = obtain(&gate).await;
    let (grant, grants) = (Grant::new(&text), grants(&clock));
    let mut gate = gate;
    let response = send(&gate, with_code()).await;
    let in_header = self::gate(grants.clone().header(HeaderName::from_static("toopher-grant")), "pay", 0);
    let in_header = send(&in_header, with_code()).await;
    assert!(!format!("{response:?}").contains("second-factor="));
    assert!(format!("{in_header:?}").contains("\"toopher-grant\": Sensitive"));
    let future = gate.call(with(&text).request());
    for shown in [format!("{grant:?} {grants:?} {gate:?} {future:?} {:?}", Epoch::from(7_u64)), format!("{grants:#?}")]
    {
        assert!(!shown.contains(&text[..8]) && !shown.contains("5e5e") && !shown.contains("94, 94"), "{shown}");
    }
}

/// Whatever else was shown, a handler sees the factor that its own gate goes by, and how old it is.
#[tokio::test]
async fn handlers_see_the_factor_that_their_gate_goes_by() {
    let sees = |action: &'static str, earlier: bool| {
        service_fn(move |request: Request<Body>| {
            let shown = request.extensions().get::<SecondFactor>().unwrap();
            assert_eq!((shown.action().as_str(), shown.shown_at().is_some()), (action, earlier));
            std::future::ready(Ok::<_, Infallible>(Response::new(Body::default())))
        })
    };
    let granted = || ToopherLayer::new(Says::always(Verdict::Granted(Factor::Totp)));
    let never = || ToopherLayer::new(Says::new(|_| panic!("it was shown already")));
    let mut knows = request(Some(CODE));
    let at = SystemTime::now() - Duration::from_secs(1000);
    knows.extensions_mut().insert(SecondFactor::new(alice(), "pay", Factor::Push).with_shown_at(at));
    let pay = never().action("pay").max_age(Duration::from_secs(3600)).layer(sees("pay", true));
    assert_eq!(granted().action("log in").layer(pay).oneshot(knows).await.unwrap().status(), 200);

    // And the first of two that were shown just now.
    let mut knows = request(Some(CODE));
    knows.extensions_mut().insert(SecondFactor::new(alice(), "pay", Factor::Push));
    let pay = never().action("pay").layer(sees("pay", false));
    assert_eq!(granted().action("log in").layer(pay).oneshot(knows).await.unwrap().status(), 200);
}

/// Whatever the method, HEAD and those that nobody has heard of among them: guarded without a grant, and with one not.
#[tokio::test]
async fn every_method_is_guarded_alike() {
    let clock = Clock::at(T);
    let gate = gate(grants(&clock), "log in", 60);
    let grant = grant_in(&send(&gate, with_code()).await).unwrap();
    for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "FOO"] {
        for (sent, status) in [(Sent::default(), 401), (with(&grant), 200), (with("bm9uc2Vuc2U"), 401)] {
            let mut request = sent.request();
            *request.method_mut() = method.parse().unwrap();
            let response = gate.clone().oneshot(request).await.unwrap();
            assert_eq!(response.status(), status, "{method}");
            // A grant leads to no other one.
            assert_eq!(grant_in(&response), None, "{method}");
        }
    }
}
