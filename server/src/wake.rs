//! A place for one task's waker, which other threads call.

use std::task::Waker;

use parking_lot::Mutex;

/// Wakes the one task that has registered.
#[derive(Default)]
pub(crate) struct Wake(Mutex<Option<Waker>>);

impl Wake {
    /// Registers the task that polls; to be called before it looks at what it waits for.
    #[inline]
    pub(crate) fn register(&self, waker: &Waker) {
        let mut registered = self.0.lock();
        if !registered.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *registered = Some(waker.clone());
        }
    }

    /// Wakes the task, if there is one.
    pub(crate) fn wake(&self) {
        if let Some(waker) = &*self.0.lock() {
            waker.wake_by_ref();
        }
    }
}
