//! The cookie of a remembered browser.

use tower_cookies::cookie::SameSite;
use tower_cookies::cookie::time::Duration;
use tower_cookies::{Cookie, Cookies};

pub(crate) const BROWSER: &str = "browser";

/// The id of a remembered browser outlives the session. The grant of the second factor is bound to it.
pub(crate) fn remember_browser(cookies: &Cookies, remember: bool) {
    if remember {
        let known = cookies.get(BROWSER).map(|cookie| cookie.value().to_owned());
        let id = known.unwrap_or_else(|| tower_sessions::session::Id::default().to_string());
        // Behind TLS: with `secure(true)`, and a name with the prefix `__Host-`.
        let cookie = Cookie::build((BROWSER, id)).path("/").http_only(true);
        cookies.add(cookie.same_site(SameSite::Strict).max_age(Duration::days(30)).into());
    } else {
        cookies.remove(Cookie::build(BROWSER).path("/").into());
    }
}
