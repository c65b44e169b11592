//! The script that runs, as others see it: since when, whether it has written, and whether somebody wants it to end.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// See the module's page.
#[derive(Default)]
pub(crate) struct Control {
    since: Mutex<Option<Instant>>,
    has_written: AtomicBool,
    killed: AtomicBool,
}

/// Why a script cannot be killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unkillable {
    NoneRuns,
    HasWritten,
}

impl Control {
    /// A script begins, or has done so at this time.
    pub(super) fn begin(&self, at: Instant) {
        let mut since = self.since.lock();
        *since = Some(at);
        self.has_written.store(false, SeqCst);
        self.killed.store(false, SeqCst);
    }

    /// It has ended, and with it the wish that it should.
    pub(super) fn end(&self) {
        let mut since = self.since.lock();
        *since = None;
        self.killed.store(false, SeqCst);
    }

    /// Notes that the script is about to change data; false if it shall end instead.
    pub(super) fn may_write(&self) -> bool {
        if self.has_written.load(SeqCst) {
            return true;
        }
        let _since = self.since.lock();
        self.has_written.store(!self.killed.load(SeqCst), SeqCst);
        self.has_written.load(SeqCst)
    }

    /// Whether it has changed data.
    pub(super) fn has_written(&self) -> bool {
        self.has_written.load(SeqCst)
    }

    /// Whether it shall end.
    pub(super) fn must_end(&self) -> bool {
        self.killed.load(SeqCst)
    }

    /// SCRIPT KILL: ends the script unless it has changed data.
    pub(crate) fn kill(&self) -> Result<(), Unkillable> {
        let since = self.since.lock();
        if since.is_none() {
            return Err(Unkillable::NoneRuns);
        }
        if self.has_written.load(SeqCst) {
            return Err(Unkillable::HasWritten);
        }
        self.killed.store(true, SeqCst);
        Ok(())
    }

    /// The server ends, and so does the script, whatever it has done.
    pub(crate) fn stop(&self) {
        self.killed.store(true, SeqCst);
    }

    /// For how long it has been running.
    pub(super) fn running_for(&self) -> Option<Duration> {
        self.since.lock().map(|since| since.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_written_is_not_killed_and_what_is_killed_does_not_write() {
        let control = Control::default();
        assert_eq!(control.kill(), Err(Unkillable::NoneRuns));
        control.begin(Instant::now());
        assert!(control.may_write());
        assert_eq!(control.kill(), Err(Unkillable::HasWritten));
        control.end();
        control.begin(Instant::now());
        assert_eq!(control.kill(), Ok(()));
        assert!(!control.may_write());
        assert!(control.must_end());
        control.end();
        assert!(!control.must_end());
        control.stop();
        control.begin(Instant::now());
        assert!(!control.must_end());
    }
}
