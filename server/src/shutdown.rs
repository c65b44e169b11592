//! The wish to end: said once, heard by every task and by whoever waits for the server.

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;

/// See the module's page.
#[derive(Default)]
pub(crate) struct Shutdown {
    wanted: AtomicBool,
    asked: Mutex<bool>,
    told: Condvar,
    notify: Notify,
}

impl Shutdown {
    /// Asks everybody to end.
    pub(crate) fn ask(&self) {
        self.wanted.store(true, Ordering::Release);
        *self.asked.lock() = true;
        self.told.notify_all();
        self.notify.notify_waiters();
    }

    /// Whether the end is wanted.
    pub(crate) fn is_asked(&self) -> bool {
        self.wanted.load(Ordering::Acquire)
    }

    /// Waits until the end is wanted, in a task.
    pub(crate) async fn asked(&self) {
        let notified = self.notify.notified();
        tokio::pin!(notified);
        notified.as_mut().enable();
        if !self.is_asked() {
            notified.await;
        }
    }

    /// Waits until the end is wanted, on a thread.
    pub(crate) fn wait(&self) {
        let mut asked = self.asked.lock();
        while !*asked {
            self.told.wait(&mut asked);
        }
    }
}
