//! The columns of the user table that concern second factors.

use std::collections::HashMap;

use tower_toopher::totp::{Pairing, RecoveryCodeDigest};

use super::visit::now;

/// The maximum number of authenticator apps of a user, and of phones.
pub(crate) const MAX_FACTORS: usize = 5;
/// The maximum number of remembered browsers of a user.
const MAX_BROWSERS: usize = 10;
/// How long a browser is remembered, in seconds.
pub(crate) const BROWSER_LIFETIME: u64 = 30 * 24 * 60 * 60;
/// The maximum length of the name of a factor, in characters.
pub(crate) const MAX_NAME: usize = 40;

#[derive(Default)]
pub(crate) struct SecondFactors {
    /// Changes with every change of the factors. Sessions and remembered browsers of another epoch are invalid.
    epoch: u64,
    authenticators: Vec<Authenticator>,
    /// How many authenticators the user has had.
    enrolled: u64,
    /// The names of phones, by the ids of their pairings. The Toopher API has the pairings.
    phones: HashMap<String, String>,
    recovery_codes: Vec<RecoveryCodeDigest>,
    browsers: Vec<Browser>,
    /// How many browsers were remembered.
    remembered: u64,
}

#[derive(Clone)]
pub(crate) struct Authenticator {
    /// Never reused, so that a stale page cannot remove another one.
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) since: u64,
    pairing: Pairing,
}

/// A browser on which the password alone is enough for a login.
#[derive(Clone)]
pub(crate) struct Browser {
    /// A secret of the browser. No page shows it.
    pub(crate) id: String,
    /// Identifies the browser in forms.
    pub(crate) number: u64,
    pub(crate) name: String,
    pub(crate) since: u64,
}

impl SecondFactors {
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Ends all sessions, and forgets all browsers. Returns the new epoch.
    pub(crate) fn revoke(&mut self) -> u64 {
        self.browsers.clear();
        self.epoch += 1;
        self.epoch
    }

    pub(crate) fn authenticators(&self) -> &[Authenticator] {
        &self.authenticators
    }

    pub(crate) fn pairings(&self) -> Vec<Pairing> {
        self.authenticators.iter().map(|authenticator| authenticator.pairing.clone()).collect()
    }

    pub(crate) fn add_authenticator(&mut self, typed: &str, pairing: Pairing) {
        self.enrolled += 1;
        let name = display_name(typed, "Authenticator app");
        self.authenticators.push(Authenticator { id: self.enrolled, name, since: now(), pairing });
    }

    /// Returns whether there was such an authenticator.
    pub(crate) fn remove_authenticator(&mut self, id: &str) -> bool {
        let before = self.authenticators.len();
        self.authenticators.retain(|authenticator| authenticator.id.to_string() != id);
        self.authenticators.len() < before
    }

    pub(crate) fn phone_name(&self, pairing: &str) -> &str {
        self.phones.get(pairing).map_or("Phone", String::as_str)
    }

    /// Names a phone. The names of phones that are no longer `paired` are removed.
    pub(crate) fn name_phone(&mut self, pairing: &str, typed: &str, paired: &[String]) {
        self.phones.retain(|id, _| paired.contains(id));
        self.phones.insert(pairing.to_owned(), display_name(typed, "Phone"));
    }

    /// How many recovery codes are unused.
    pub(crate) fn recovery_codes(&self) -> usize {
        self.recovery_codes.len()
    }

    pub(crate) fn set_recovery_codes(&mut self, codes: Vec<RecoveryCodeDigest>) {
        self.recovery_codes = codes;
    }

    /// Uses up a recovery code. Returns whether it was one of the unused ones.
    pub(crate) fn redeem_recovery_code(&mut self, code: &RecoveryCodeDigest) -> bool {
        let before = self.recovery_codes.len();
        self.recovery_codes.retain(|digest| digest != code);
        self.recovery_codes.len() < before
    }

    /// The browsers that are remembered now.
    pub(crate) fn browsers(&mut self) -> &[Browser] {
        self.browsers.retain(|browser| browser.since.saturating_add(BROWSER_LIFETIME) > now());
        &self.browsers
    }

    /// Remembers a browser, in place of the oldest one if there are too many.
    pub(crate) fn add_browser(&mut self, id: String, name: String) {
        if self.browsers.len() == MAX_BROWSERS {
            self.browsers.remove(0);
        }
        self.remembered += 1;
        self.browsers.push(Browser { id, number: self.remembered, name, since: now() });
    }

    pub(crate) fn forget_browser(&mut self, number: u64) {
        self.browsers.retain(|browser| browser.number != number);
    }
}

/// A name for display, on one line and of limited length.
fn display_name(typed: &str, default: &str) -> String {
    let visible: String = typed.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_NAME).collect();
    let name = visible.trim();
    if name.is_empty() { default.to_owned() } else { name.to_owned() }
}
