//! What stands for grants where the feature `grants` is off: there are none.

use std::time::{Duration, SystemTime};

use http::request::Parts;
use http::{Extensions, HeaderMap};

use crate::{Action, SecondFactor, UserId};

#[derive(Clone, Debug)]
pub(super) enum Grants {}

pub(super) enum Issuing {}

pub(super) enum Issued {}

impl Grants {
    pub(super) fn now(&self) -> SystemTime {
        match *self {}
    }

    pub(super) fn max_age(&self) -> Duration {
        match *self {}
    }

    pub(super) fn find<'a>(
        &self,
        _: &Parts,
        _: &UserId,
        _: impl Iterator<Item = &'a Action>,
        _: Duration,
        _: Duration,
    ) -> Option<SecondFactor> {
        match *self {}
    }

    pub(super) fn issuing(&self, _: &Parts, _: &UserId) -> Option<Issuing> {
        match *self {}
    }

    pub(super) fn issue_here(&self, _: Issuing, _: &SecondFactor, _: &mut Extensions) -> Option<Issued> {
        match *self {}
    }
}

impl Issued {
    pub(super) fn write(self, _: &mut HeaderMap) {
        match self {}
    }
}
