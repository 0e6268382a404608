//! The pages: plain HTML that works without scripts.

mod account;
mod codes;
mod enroll;
mod first;
mod frames;
mod layout;
mod messages;
mod second;

pub(crate) use self::account::{AccountPage, Item, remove_factor};
pub(crate) use self::codes::{new_recovery_codes, recovery_codes};
pub(crate) use self::enroll::{app, choose_factor, pairing, phone, too_many_factors};
pub(crate) use self::first::{LoginForm, password, single_form};
pub(crate) use self::frames::{limit_frame, wait_frame};
pub(crate) use self::layout::{CONTENT_SECURITY_POLICY, MALFORMED, format_duration, page, too_many_failures};
pub(crate) use self::messages::{foreign_form, message, no_session, not_found, out_of_date, unreadable_form};
pub(crate) use self::second::{DENIED, Phone, SecondPage, late};
