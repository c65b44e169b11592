//! What looks at calls while they run: MONITOR, the slow log, the latency monitor.
//!
//! Calls of commands that may take long are timed one by one. For quick ones that would cost more than many of them
//! take: of these some are timed, for the statistics, and the others only looked at by the system's coarse clock,
//! which is read in a few nanoseconds. A call that lasts as long as a step of that clock is always seen in it. So
//! nothing slow is missed while the limits are no shorter than a step; when they are, every call is timed.

use std::cell::Cell;
use std::time::{Duration, Instant};

use larder_protocol::Args;
use larder_storage::clock::Clock;

use crate::client::Client;
use crate::commands::command::{Command, FAST, SKIP_SLOWLOG};
use crate::config::Settings;
use crate::engine::Engine;
use crate::latency::Latency;
use crate::monitor::Monitors;
use crate::slowlog::SlowLog;

/// The coarse clock's step is not longer on any system.
const COARSE_STEP: Duration = Duration::from_millis(10);
/// Of the calls of a quick command that many between two that are timed, once there have been so many.
const SAMPLE_EVERY: u64 = 128;

/// What an engine has of them.
#[derive(Default)]
pub(crate) struct Observers {
    pub(crate) monitors: Monitors,
    pub(crate) slowlog: SlowLog,
    pub(crate) latency: Latency,
}

/// Whether call number `calls` of a quick command is timed: the first ones at growing distances, then one of many.
#[inline]
pub(crate) fn is_sample(calls: u64) -> bool {
    calls & calls.wrapping_sub(1) == 0 || calls.is_multiple_of(SAMPLE_EVERY)
}

/// For how many calls one that is timed stands at most: itself and those before it that were not.
pub(crate) const MOST_PER_SAMPLE: u64 = SAMPLE_EVERY;

/// The time of the calls of one batch.
pub(crate) struct Timing {
    /// Calls that take so long are somebody's concern.
    limit: Duration,
    /// When the calls that were not timed yet began, on the server's clock.
    since_us: Cell<u64>,
    /// As much of the time since then is known already.
    known: Cell<Duration>,
    /// What the coarse clock showed last, in nanoseconds.
    tick: Cell<u64>,
    /// When the batch began, once somebody has asked.
    started: Cell<Option<Instant>>,
}

impl Timing {
    /// Timing of calls that begin now.
    #[inline]
    pub(crate) fn start(settings: &Settings, now_us: u64) -> Self {
        let limit = limit(settings);
        let tick = Cell::new(coarse());
        Self { limit, since_us: Cell::new(now_us), known: Cell::default(), tick, started: Cell::default() }
    }

    /// About when the calls began, as the first that asks sees it.
    pub(crate) fn started(&self) -> Instant {
        let started = self.started.get().unwrap_or_else(Instant::now);
        self.started.set(Some(started));
        started
    }

    /// Whether each call is timed.
    #[inline]
    pub(crate) fn is_exact(&self) -> bool {
        self.limit < COARSE_STEP
    }

    /// Whether so long a call is to be noted.
    #[inline]
    pub(crate) fn is_long(&self, time: Duration) -> bool {
        time >= self.limit
    }

    /// Takes the time of a call that was timed out of the account of those that were not.
    #[inline]
    pub(crate) fn leave_out(&self, time: Duration) {
        self.known.set(self.known.get() + time);
    }

    /// The time of the call that has just ended and was not timed, if it was long.
    #[inline]
    pub(crate) fn long_call(&self, clock: &Clock) -> Option<Duration> {
        if coarse() == self.tick.get() { None } else { self.look_closely(clock) }
    }

    #[cold]
    fn look_closely(&self, clock: &Clock) -> Option<Duration> {
        let (tick, now_us) = (coarse(), clock.now_us());
        let coarsely = Duration::from_nanos(tick.saturating_sub(self.tick.replace(tick)));
        let time = if clock.is_manual() {
            coarsely
        } else {
            // The server's clock may have been set meanwhile; the coarse one never is.
            Duration::from_micros(now_us.saturating_sub(self.since_us.replace(now_us))).min(coarsely + COARSE_STEP)
        };
        Some(time.saturating_sub(self.known.take())).filter(|time| self.is_long(*time))
    }
}

/// Whether each call is timed.
pub(crate) fn times_each(settings: &Settings) -> bool {
    limit(settings) < COARSE_STEP
}

/// From which time on a call is somebody's concern.
#[inline]
pub(crate) fn limit(settings: &Settings) -> Duration {
    // A negative number, which is none, is a very large one here.
    let slow = Duration::from_micros(settings.slowlog_log_slower_than.get());
    match settings.latency_monitor_threshold.get() {
        0 => slow,
        milliseconds => slow.min(Duration::from_millis(milliseconds)),
    }
}

/// Nanoseconds by the system's clock that runs in steps and is cheap to read; where there is none, by the usual one.
#[inline]
fn coarse() -> u64 {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::MonotonicCoarse);
        now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    {
        use std::sync::LazyLock;
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        START.elapsed().as_nanos() as u64
    }
}

/// Notes a call that was long.
#[cold]
pub(crate) fn note_long(engine: &Engine, client: &Client, command: &Command, args: Args<'_>, time: Duration) {
    let (settings, observers) = (engine.settings(), &engine.observers);
    let slower_than = settings.slowlog_log_slower_than.get() as i64;
    let is_slow = slower_than >= 0 && time.as_micros() >= slower_than as u128;
    let now = engine.clock().now_ms() / 1000;
    if is_slow && !command.has(SKIP_SLOWLOG) {
        let args = shown(command, args);
        observers.slowlog.add(client, &args, time, now, settings.slowlog_max_len.as_usize());
    }
    let event = if command.has(FAST) { "fast-command" } else { "command" };
    observers.latency.note(event, time, settings.latency_monitor_threshold.get(), now);
}

/// When an event of the latency monitor begins, if that is on.
#[inline]
pub(crate) fn event_started(engine: &Engine) -> Option<Instant> {
    (engine.settings().latency_monitor_threshold.get() > 0).then(Instant::now)
}

/// Tells the latency monitor that an event is over.
#[inline]
pub(crate) fn note_event(engine: &Engine, event: &'static str, started: Option<Instant>) {
    if let Some(started) = started {
        let threshold = engine.settings().latency_monitor_threshold.get();
        engine.observers.latency.note(event, started.elapsed(), threshold, engine.clock().now_ms() / 1000);
    }
}

/// A call's arguments as others may see them: without passwords.
pub(crate) fn shown<'a>(command: &Command, args: Args<'a>) -> Vec<&'a [u8]> {
    const REDACTED: &[u8] = b"(redacted)";
    let mut shown: Vec<&[u8]> = args.iter().collect();
    match command.name {
        "AUTH" if shown.len() <= 3 => shown[1..].fill(REDACTED),
        "HELLO" => {
            let mut at = 2;
            while let Some(word) = shown.get(at) {
                at += if word.eq_ignore_ascii_case(b"AUTH") && at + 2 < shown.len() {
                    shown[at + 1..at + 3].fill(REDACTED);
                    3
                } else if word.eq_ignore_ascii_case(b"SETNAME") {
                    2
                } else {
                    // Refused here.
                    break;
                };
            }
        }
        "CONFIG|SET" => {
            for pair in shown[2..].chunks_exact_mut(2) {
                if crate::config::is_secret(pair[0]) {
                    pair[1] = REDACTED;
                }
            }
        }
        "ACL|SETUSER" => shown[2..].fill(REDACTED),
        _ => {}
    }
    shown
}

#[cfg(test)]
mod tests {
    use larder_protocol::OwnedArgs;

    use super::*;
    use crate::commands::table::TABLE;

    fn shown_text(line: &str) -> String {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let args = OwnedArgs::from_slices(&words);
        let row = TABLE.row(TABLE.find(args.as_args()).unwrap());
        let shown: Vec<_> = shown(row, args.as_args()).into_iter().map(String::from_utf8_lossy).collect();
        shown.join(" ")
    }

    #[test]
    fn passwords_are_not_shown() {
        for (line, expected) in [
            ("AUTH secret", "AUTH (redacted)"),
            ("auth user secret", "auth (redacted) (redacted)"),
            ("HELLO 3 AUTH user secret SETNAME n", "HELLO 3 AUTH (redacted) (redacted) SETNAME n"),
            ("HELLO 3 SETNAME AUTH auth a b", "HELLO 3 SETNAME AUTH auth (redacted) (redacted)"),
            ("HELLO", "HELLO"),
            // Redis shows the password of such a call.
            ("HELLO three AUTH user secret", "HELLO three AUTH (redacted) (redacted)"),
            ("config set timeout 1 REQUIREPASS secret", "config set timeout 1 REQUIREPASS (redacted)"),
            ("SET secret secret", "SET secret secret"),
        ] {
            assert_eq!(shown_text(line), expected);
        }
    }

    #[test]
    fn samples_grow_rarer() {
        let samples: Vec<u64> = (0..400).filter(|calls| is_sample(*calls)).collect();
        assert_eq!(samples, [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 384]);
    }

    #[test]
    fn a_long_call_shows_in_the_coarse_clock() {
        let settings = Settings::new();
        for clock in [Clock::System, Clock::manual(1)] {
            let timing = Timing::start(&settings, clock.now_us());
            assert!(!timing.is_exact());
            assert_eq!(timing.long_call(&clock), None);
            std::thread::sleep(Duration::from_millis(30));
            let time = timing.long_call(&clock).unwrap();
            assert!((20..20_000).contains(&time.as_millis()), "{time:?}");
            // It counts once.
            assert_eq!(timing.long_call(&clock), None);
        }
    }

    #[test]
    fn what_was_timed_is_not_counted_twice() {
        let (settings, clock) = (Settings::new(), Clock::System);
        let timing = Timing::start(&settings, clock.now_us());
        let started = std::time::Instant::now();
        std::thread::sleep(Duration::from_millis(30));
        timing.leave_out(started.elapsed());
        assert_eq!(timing.long_call(&clock), None);
    }
}
