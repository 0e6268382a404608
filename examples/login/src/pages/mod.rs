//! The pages: plain HTML that works without scripts.

mod first;
mod layout;
mod messages;
mod second;

pub(crate) use self::first::{account, password, single_form};
pub(crate) use self::layout::{
    CONTENT_SECURITY_POLICY, alert, code_input, csrf, format_duration, page, svg, too_many_failures,
};
pub(crate) use self::messages::{message, not_found, out_of_date, unreadable_form};
pub(crate) use self::second::{Phone, late, second, wait_frame};
