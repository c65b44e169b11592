//! The script that runs, as others see it: since when, whether it has written, and whether somebody wants it to end.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use larder_protocol::{Args, OwnedArgs};
use parking_lot::Mutex;

/// See the module's page.
#[derive(Default)]
pub(crate) struct Control {
    running: Mutex<Option<Running>>,
    has_written: AtomicBool,
    has_acted: AtomicBool,
    killed: AtomicBool,
}

/// What runs.
struct Running {
    since: Instant,
    /// The name of the function and its call, if it is no script.
    call: Option<(Vec<u8>, OwnedArgs)>,
}

/// What may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Script,
    Function,
}

/// Why a script cannot be killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unkillable {
    NoneRuns,
    HasWritten,
    /// What runs is of the other kind.
    Other(Kind),
}

impl Control {
    /// A script begins, or has done so at this time.
    pub(super) fn begin(&self, at: Instant) {
        self.begin_to_run(at, None);
    }

    /// A function begins that is called so.
    pub(super) fn begin_function(&self, name: &[u8], args: Args<'_>) {
        self.begin_to_run(Instant::now(), Some((name.to_vec(), args.to_owned())));
    }

    fn begin_to_run(&self, since: Instant, call: Option<(Vec<u8>, OwnedArgs)>) {
        let mut running = self.running.lock();
        *running = Some(Running { since, call });
        self.has_written.store(false, SeqCst);
        self.has_acted.store(false, SeqCst);
        self.killed.store(false, SeqCst);
    }

    /// It has ended, and with it the wish that it should: whether there was one. Whoever wishes so afterwards is told that
    /// nothing runs.
    pub(super) fn end(&self) -> bool {
        let mut running = self.running.lock();
        *running = None;
        self.killed.swap(false, SeqCst)
    }

    /// What runs, if anything does.
    pub(crate) fn kind(&self) -> Option<Kind> {
        let is_function = self.running.lock().as_ref()?.call.is_some();
        Some(if is_function { Kind::Function } else { Kind::Script })
    }

    /// Shows the name and the call of the function that runs, and for how long it has been running.
    pub(crate) fn show_function<R>(&self, show: impl FnOnce(Option<(&[u8], Args<'_>, Duration)>) -> R) -> R {
        let running = self.running.lock();
        show(running.as_ref().and_then(|running| {
            let (name, call) = running.call.as_ref()?;
            Some((name.as_slice(), call.as_args(), running.since.elapsed()))
        }))
    }

    /// Notes that the script is about to change data; false if it shall end instead.
    pub(super) fn may_write(&self) -> bool {
        if self.has_written.load(SeqCst) {
            return true;
        }
        let _running = self.running.lock();
        self.has_written.store(!self.killed.load(SeqCst), SeqCst);
        self.has_written.load(SeqCst)
    }

    /// Notes that the script does what others notice though it changes no data, as PUBLISH does: it may be killed, but not
    /// be run once more.
    pub(super) fn acts(&self) {
        self.has_acted.store(true, SeqCst);
    }

    /// Whether nobody has noticed anything of it yet.
    pub(super) fn may_begin_anew(&self) -> bool {
        !self.has_acted.load(SeqCst) && !self.has_written()
    }

    /// Whether it has changed data.
    pub(super) fn has_written(&self) -> bool {
        self.has_written.load(SeqCst)
    }

    /// Whether it shall end.
    pub(super) fn must_end(&self) -> bool {
        self.killed.load(SeqCst)
    }

    /// SCRIPT KILL and FUNCTION KILL: ends what runs unless it has changed data.
    pub(crate) fn kill(&self, kind: Kind) -> Result<(), Unkillable> {
        let running = self.running.lock();
        let Some(running) = running.as_ref() else { return Err(Unkillable::NoneRuns) };
        if self.has_written.load(SeqCst) {
            return Err(Unkillable::HasWritten);
        }
        let other = if running.call.is_some() { Kind::Function } else { Kind::Script };
        if other != kind {
            return Err(Unkillable::Other(other));
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
        self.running.lock().as_ref().map(|running| running.since.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_written_is_not_killed_and_what_is_killed_does_not_write() {
        let control = Control::default();
        assert_eq!(control.kill(Kind::Script), Err(Unkillable::NoneRuns));
        control.begin(Instant::now());
        assert!(control.may_write());
        assert_eq!(control.kill(Kind::Script), Err(Unkillable::HasWritten));
        control.end();
        control.begin(Instant::now());
        assert_eq!(control.kill(Kind::Script), Ok(()));
        assert!(!control.may_write());
        assert!(control.must_end());
        assert!(control.end());
        assert!(!control.must_end());
        assert_eq!(control.kill(Kind::Script), Err(Unkillable::NoneRuns));
        assert!(!control.end());
        control.begin(Instant::now());
        assert!(control.may_begin_anew());
        control.acts();
        assert!(!control.may_begin_anew() && !control.has_written());
        assert_eq!(control.kill(Kind::Script), Ok(()));
        control.stop();
        control.begin(Instant::now());
        assert!(!control.must_end());
        control.begin_function(b"f", OwnedArgs::from_slices(&[b"FCALL", b"f", b"0"]).as_args());
        assert_eq!(control.kill(Kind::Script), Err(Unkillable::Other(Kind::Function)));
        assert_eq!(control.kind(), Some(Kind::Function));
        assert_eq!(control.show_function(|call| call.map(|(name, ..)| name.to_vec())).as_deref(), Some(&b"f"[..]));
        assert_eq!(control.kill(Kind::Function), Ok(()));
    }
}
