//! CLIENT PAUSE: until when no command of a client runs, or none that writes.
//!
//! Connections wait, threads do not: each looks at the pause when its next command is about to run. Meanwhile keys
//! neither expire nor are evicted, so that the data stands still: an expired key is hidden from those who read. Clients
//! without a socket are not held, as their commands run on threads of the program around the server.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;

/// See the module's page.
#[derive(Default)]
pub(crate) struct Pause {
    /// When it ends, in milliseconds since 1970; 0 if there is none.
    until_ms: AtomicU64,
    /// Whether it is for every command.
    all: AtomicBool,
    changing: Mutex<()>,
}

impl Pause {
    /// Begins a pause, or makes the one there is longer and stricter; `begun` runs before it may end.
    pub(crate) fn begin(&self, now_ms: u64, until_ms: u64, all: bool, begun: impl FnOnce()) {
        let _changing = self.changing.lock();
        let goes_on = self.is_on(now_ms);
        self.all.store(all || goes_on && self.all.load(Relaxed), Relaxed);
        self.until_ms.store(if goes_on { until_ms.max(self.until_ms.load(Relaxed)) } else { until_ms }, Relaxed);
        begun();
    }

    /// Ends it if it is over at `now_ms`; `ended` runs before another may begin.
    pub(crate) fn end(&self, now_ms: u64, ended: impl FnOnce()) {
        let _changing = self.changing.lock();
        if !self.is_on(now_ms) {
            self.until_ms.store(0, Relaxed);
            ended();
        }
    }

    /// Whether there is one.
    #[inline]
    pub(crate) fn is_on(&self, now_ms: u64) -> bool {
        let until_ms = self.until_ms.load(Relaxed);
        until_ms != 0 && now_ms < until_ms
    }

    /// How long it goes on.
    pub(crate) fn rest(&self, now_ms: u64) -> Duration {
        Duration::from_millis(self.until_ms.load(Relaxed).saturating_sub(now_ms))
    }

    /// Whether a command is to wait that writes or does not.
    pub(crate) fn holds(&self, now_ms: u64, writes: bool) -> bool {
        self.is_on(now_ms) && (writes || self.all.load(Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::Pause;

    #[test]
    fn the_longest_and_strictest_holds() {
        let pause = Pause::default();
        assert!(!pause.holds(0, true));
        pause.begin(10, 20, false, || ());
        assert_eq!([pause.holds(19, true), pause.holds(19, false), pause.holds(20, true)], [true, false, false]);
        pause.begin(11, 15, true, || ());
        assert_eq!([pause.holds(19, true), pause.holds(19, false)], [true, true]);
        assert_eq!(pause.rest(15).as_millis(), 5);
        // A new one does not take over from one that has ended.
        pause.begin(30, 40, false, || ());
        assert_eq!([pause.holds(35, true), pause.holds(35, false)], [true, false]);
        let mut ended = 0;
        pause.end(35, || ended += 1);
        assert_eq!((pause.is_on(35), ended), (true, 0));
        pause.end(u64::MAX, || ended += 1);
        assert_eq!((pause.is_on(35), ended), (false, 1));
    }
}
