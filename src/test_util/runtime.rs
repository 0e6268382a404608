use std::future::Future;
use std::sync::LazyLock;

use tokio::runtime::{Builder, Runtime};

use crate::store::Store;

/// One runtime for all tests of a process, so that the background tasks of a store outlive the test that created it.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Builder::new_multi_thread().enable_all().build().unwrap());

/// Runs a future to completion, in a Tokio runtime that lasts as long as the process.
///
/// # Panics
///
/// When it is called within another runtime, or when the system provides no threads.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    RUNTIME.block_on(future)
}

/// Calls `make` within the runtime of [`block_on`].
pub fn make_store<M: IntoStore>(make: impl FnOnce() -> M) -> Option<M::Store> {
    let _entered = RUNTIME.enter();
    make().into_store()
}

/// A store, or `None` if it is not available.
pub trait IntoStore {
    /// The store.
    type Store;

    /// Converts the value.
    fn into_store(self) -> Option<Self::Store>;
}

impl<S: Store> IntoStore for S {
    type Store = S;

    fn into_store(self) -> Option<S> {
        Some(self)
    }
}

impl<S: Store> IntoStore for Option<S> {
    type Store = S;

    fn into_store(self) -> Self {
        self
    }
}
