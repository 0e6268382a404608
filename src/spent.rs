//! Which store a code was spent in, so that nobody forgets by another call what that store has forgotten.

use std::sync::{Arc, OnceLock};

/// Which store a value is: the same in its clones, and in no other store.
///
/// A store makes one when it is made, and keeps it in a field. It says nothing of what is outside the process: two that
/// lead to one database are two.
#[derive(Clone, Debug, Default)]
pub struct StoreId(Arc<()>);

impl StoreId {
    /// One that no other store has.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl PartialEq for StoreId {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for StoreId {}

/// What goes down with an attempt, so that the store in which its OTP is spent can be noted. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct SpentIn(Arc<OnceLock<StoreId>>);

impl SpentIn {
    /// Notes the store, unless another one is noted: that one has been spent in as well.
    #[cfg(feature = "totp")]
    pub(crate) fn note(&self, store: &StoreId) {
        self.0.get_or_init(|| store.clone());
    }

    #[cfg(feature = "approvals")]
    pub(crate) fn is(&self, store: &StoreId) -> bool {
        self.0.get() == Some(store)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_is_the_same_store_and_nothing_else_is() {
        let store = StoreId::new();
        assert_eq!(store, store.clone());
        assert_ne!(store, StoreId::new());
    }

    #[cfg(all(feature = "approvals", feature = "totp"))]
    #[test]
    fn what_is_noted_stays() {
        let (spent, one, other) = (SpentIn::default(), StoreId::new(), StoreId::new());
        assert!(!spent.is(&one));
        spent.clone().note(&one);
        spent.note(&other);
        assert!(spent.is(&one) && !spent.is(&other));
    }
}
