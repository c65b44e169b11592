//! What the cache tells about itself: what other policies and sizes would do (CACHE WHATIF), how it serves the keys of each prefix
//! (CACHE STATS), why a key is not there (CACHE WHY). All of it is off when `cache-insight` is.
//!
//! Threads that serve requests only note samples; what takes time is done in the background here, and takes at most half a hundredth of one
//! core: where that is not enough, fewer keys are looked at. Where they would be too few, samples are taken for a while, and then none until
//! those are worked off; what is taken at a stretch is many uses of each key. The same where a thread's buffer is full: were samples left
//! out here and there, what is estimated would be about a traffic that nobody had.

mod history;
pub(crate) mod population;
pub(crate) mod prefixes;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use larder_storage::evict::samples::{Listener, Reads, Sample, Slice};
use larder_storage::evict::whatif::{Answer, Census, Present, WhatIf};
use larder_storage::heap;
use parking_lot::Mutex;
use smallvec::SmallVec;

pub(crate) use history::{Cause, Departure, History, UNIT_MS};

use crate::engine::Engine;
use crate::error::OUT_OF_MEMORY;
use crate::evict;
use crate::upkeep::Budget;

/// Samples that wait at most.
const WAITING: usize = 2048;
/// Samples that are looked at together.
const BATCH: usize = 8;
/// The part of the time that may be spent, as a divisor, and the one below which more keys may be looked at.
const SHARE: u32 = 200;
const LITTLE: u32 = 1000;
/// However little time has passed, it counts as this much.
const AT_LEAST: Duration = Duration::from_millis(100);
/// How often it looks at options and at the size of the cache, in milliseconds.
const LOOKS_EVERY: u64 = 100;
/// Looks in a row with little work after which they are.
const CALM: u32 = 300;
/// What is left after each look of how much of the time was listened to before.
const LISTENED_FADE: f64 = 0.995;
/// What was counted is worth half after so many seconds.
const HALF_LIFE: f64 = 150.0;
/// Of the random choices of the simulated policies.
const SEED: u64 = 1;

/// See the module's page.
#[derive(Default)]
pub(crate) struct Insight {
    state: Mutex<State>,
    /// Held for a moment only, as others are: nothing is locked while one of them is.
    waiting: Mutex<Waiting>,
    listens: AtomicBool,
    /// Whether a thread had no room for samples, so that none are noted until those that wait have been looked at.
    is_paused: AtomicBool,
    /// When it looked last, in milliseconds since 1970.
    looked_ms: AtomicU64,
    /// When it was switched on, in milliseconds since 1970; 0 if it always was.
    since_ms: AtomicU64,
    /// Bytes of the simulation and of what waits for it, as of the last look.
    bytes: AtomicU64,
    /// Departures that each shard remembers; 0 before the first look.
    departures: AtomicUsize,
}

/// Samples that nobody has looked at yet, with when they came.
#[derive(Default)]
struct Waiting {
    samples: VecDeque<(Sample, u64)>,
    /// Reads that came with samples which are not for this.
    reads: Reads,
    /// Whether nothing is taken until all have been looked at.
    is_closed: bool,
}

impl Waiting {
    fn forget(&mut self) {
        *self = Self::default();
    }

    /// Forgets samples that are of no more use, but not the reads that came with them.
    fn retain(&mut self, stays: impl Fn(&Sample) -> bool) {
        let mut reads = Reads::default();
        self.samples.retain_mut(|(sample, _)| {
            let all = reads.plus(sample.reads);
            let stays = stays(sample);
            (reads, sample.reads) = if stays { (Reads::default(), all) } else { (all, sample.reads) };
            stays
        });
        self.reads = reads.plus(self.reads);
    }
}

#[derive(Default)]
struct State {
    what_if: Option<Box<WhatIf>>,
    /// Hits and misses of the server when they were told last, and when that was, in milliseconds since 1970.
    told: (u64, u64),
    told_ms: u64,
    pace: Pace,
    /// The part of the time that was listened to.
    listened: f64,
}

/// How much time is spent.
#[derive(Default)]
struct Pace {
    since: Option<Instant>,
    spent: Duration,
    /// What was spent too much before that look, and is to be saved.
    owed: Duration,
    /// Looks in a row at which little had been spent.
    calm: u32,
    /// Whether the slice was made smaller for what still waits.
    has_slowed: bool,
}

impl Pace {
    /// Whether the time since the last look is used up.
    fn is_spent(&self, just_now: Duration) -> bool {
        let spent = self.owed + self.spent + just_now;
        self.since.is_some_and(|since| spent * SHARE > since.elapsed().max(AT_LEAST))
    }
}

impl Insight {
    /// Whether samples are wanted.
    pub(crate) fn listens(&self) -> bool {
        self.listens.load(Relaxed)
    }

    /// Has no more noted until all have been looked at that were, as one found no room. May be called while shards are held.
    #[cold]
    pub(crate) fn pause(&self, slice: &Slice) {
        self.is_paused.store(true, Relaxed);
        WhatIf::ignore(slice);
    }

    /// Takes samples that are on their way to the eviction policy.
    pub(crate) fn offer(&self, engine: &Engine, samples: &[Sample]) {
        if !self.listens() {
            return;
        }
        let (slice, now, mut waiting) = (engine.keyspace().slice(), engine.clock().now_ms(), self.waiting.lock());
        if waiting.is_closed {
            return;
        }
        for sample in samples {
            let reads = waiting.reads.plus(sample.reads);
            if !sample.for_what_if {
                waiting.reads = reads;
            } else if waiting.samples.len() < WAITING {
                waiting.reads = Reads::default();
                heap::fixed(|| waiting.samples.push_back((Sample { reads, ..*sample }, now)));
            } else {
                waiting.is_closed = true;
                return WhatIf::ignore(slice);
            }
        }
    }

    /// Learns from samples as far as `budget` goes. No shard may be held.
    pub(crate) fn work(&self, engine: &Engine, budget: &Budget) {
        if engine.clock().now_ms().abs_diff(self.looked_ms.load(Relaxed)) >= LOOKS_EVERY {
            self.look(engine);
        }
        if !self.listens() {
            return;
        }
        let mut state = self.state.lock();
        let State { what_if: Some(what_if), pace, .. } = &mut *state else { return };
        let started = Instant::now();
        let may_go_on = || !budget.is_spent() && (engine.clock().is_manual() || !pace.is_spent(started.elapsed()));
        let mut batch = SmallVec::<[(Sample, u64); BATCH]>::new();
        while may_go_on() {
            {
                let samples = &mut self.waiting.lock().samples;
                let count = BATCH.min(samples.len());
                batch.extend(samples.drain(..count));
            }
            if batch.is_empty() {
                break;
            }
            heap::fixed(|| what_if.feed(&batch));
            batch.clear();
        }
        pace.spent += started.elapsed();
        let is_paused = self.is_paused.load(Relaxed);
        let may_resume = is_paused && !engine.stats().holds_samples_for_what_if();
        let mut waiting = self.waiting.lock();
        if (waiting.is_closed || may_resume) && waiting.samples.is_empty() {
            waiting.forget();
            self.is_paused.store(false, Relaxed);
            pace.has_slowed = false;
            what_if.resume(engine.keyspace().slice());
        }
    }

    /// Follows options and the size of the cache. No shard may be held.
    pub(crate) fn look(&self, engine: &Engine) {
        self.looked_ms.store(engine.clock().now_ms(), Relaxed);
        let (shards, limit) = (engine.keyspace().shards(), engine.settings().maxmemory.get());
        let memory = if limit > 0 { limit } else { engine.keyspace().used_memory() as u64 };
        self.departures.store(History::capacity(shards, memory), Relaxed);
        let (evicted, refused) = (engine.stats().totals().evicted, engine.stats().errors_with(OUT_OF_MEMORY.code()));
        let census = Census::of(engine.keyspace()).map(|census| Census { evicted, refused, ..census });
        let mut state = self.state.lock();
        let mut waiting = self.waiting.lock();
        if engine.insight_is_off() {
            state.what_if = None;
            waiting.forget();
            WhatIf::ignore(engine.keyspace().slice());
        } else if let Some(census) = census {
            let is_paused = self.is_paused.load(Relaxed);
            heap::fixed(|| state.follow(engine, census, &mut waiting, is_paused));
        }
        if engine.insight_is_off() {
            self.since_ms.store(engine.clock().now_ms(), Relaxed);
        }
        self.listens.store(!engine.insight_is_off(), Relaxed);
        let simulated = state.what_if.as_ref().map_or(0, |what_if| what_if.memory());
        self.bytes.store((simulated + waiting.samples.capacity() * size_of::<(Sample, u64)>()) as u64, Relaxed);
    }

    /// Forgets all, as it was switched off, so that nothing is left of it when it is switched on again.
    pub(crate) fn forget(&self, engine: &Engine) {
        let mut state = self.state.lock();
        state.what_if = None;
        self.waiting.lock().forget();
        self.is_paused.store(false, Relaxed);
        WhatIf::ignore(engine.keyspace().slice());
        self.listens.store(false, Relaxed);
        self.since_ms.store(engine.clock().now_ms(), Relaxed);
        engine.stats().forget_prefixes();
    }

    /// The answer of CACHE WHATIF, and the part of the time that it is about.
    pub(crate) fn answer(&self, engine: &Engine) -> (Answer, f64) {
        let mut state = self.state.lock();
        if state.what_if.is_none() && !engine.insight_is_off() {
            state.begin(engine);
        }
        state.tell_reads(engine);
        if let Some(what_if) = &mut state.what_if {
            what_if.adopt(present(engine), engine.keyspace().used_memory(), engine.clock().now_ms());
        }
        (state.what_if.as_ref().map(|what_if| what_if.answer()).unwrap_or_default(), state.listened)
    }

    /// Bytes of the simulation. May be asked while shards are held.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// Departures that each shard remembers.
    #[inline]
    pub(crate) fn departures(&self, engine: &Engine) -> usize {
        match self.departures.load(Relaxed) {
            0 => History::capacity(engine.keyspace().shards(), 0),
            departures => departures,
        }
    }

    /// Since when departures are known, in milliseconds since 1970.
    pub(crate) fn since_ms(&self, engine: &Engine) -> u64 {
        self.since_ms.load(Relaxed).max(engine.identity.started_ms)
    }
}

impl State {
    fn follow(&mut self, engine: &Engine, census: Census, waiting: &mut Waiting, is_paused: bool) {
        if self.what_if.is_none() {
            self.begin(engine);
        }
        self.tell_reads(engine);
        let Some(what_if) = &mut self.what_if else { return };
        let slice = engine.keyspace().slice();
        let before = what_if.part();
        what_if.measure(slice, census, present(engine), engine.clock().now_ms());
        if what_if.part() < before {
            // What waits was chosen for a larger slice, and says nothing of how long the present one takes.
            waiting.retain(|sample| slice.takes_for(Listener::WhatIf, sample.hash));
        }
        let is_closed = is_paused || waiting.is_closed;
        if !engine.clock().is_manual() {
            self.pace.judge(what_if, waiting, is_closed);
        }
        self.listened = self.listened * LISTENED_FADE + f64::from(!is_closed) * (1.0 - LISTENED_FADE);
        if is_closed {
            WhatIf::ignore(slice);
        }
    }

    /// Begins to learn, of nothing that was before.
    fn begin(&mut self, engine: &Engine) {
        let totals = engine.stats().totals();
        (self.told, self.told_ms) = ((totals.hits, totals.misses), engine.clock().now_ms());
        (self.pace, self.listened) = (Pace::default(), 1.0);
        self.what_if = Some(Box::new(WhatIf::new(SEED, present(engine))));
    }

    /// Tells of the reads since they were told last.
    fn tell_reads(&mut self, engine: &Engine) {
        let Some(what_if) = &mut self.what_if else { return };
        let (totals, now) = (engine.stats().totals(), engine.clock().now_ms());
        // CONFIG RESETSTAT sets them back.
        let since = |now: u64, before: u64| now.checked_sub(before).unwrap_or(now);
        let (hits, misses) = (since(totals.hits, self.told.0), since(totals.misses, self.told.1));
        let seconds = now.saturating_sub(self.told_ms) as f64 / 1000.0;
        what_if.note_reads(hits, misses, 0.5f64.powf(seconds / HALF_LIFE));
        (self.told, self.told_ms) = ((totals.hits, totals.misses), now);
    }
}

impl Pace {
    /// Looks how much was spent since the last time.
    fn judge(&mut self, what_if: &mut WhatIf, waiting: &Waiting, is_closed: bool) {
        let now = Instant::now();
        let elapsed = self.since.map_or(Duration::MAX / LITTLE, |since| now.saturating_duration_since(since));
        let spent = std::mem::take(&mut self.spent);
        self.since = Some(now);
        self.owed = (self.owed + spent).saturating_sub(elapsed / SHARE);
        // Once for what waits: it is as much until it has been looked at.
        self.has_slowed &= is_closed || !waiting.samples.is_empty();
        if is_closed || waiting.samples.len() > WAITING / 2 {
            self.calm = 0;
            self.has_slowed = self.has_slowed || what_if.slow_down();
        } else if spent * LITTLE < elapsed {
            self.calm += 1;
            if self.calm >= CALM {
                self.calm = 0;
                what_if.speed_up();
            }
        } else {
            self.calm = 0;
        }
    }
}

/// What the cache goes by.
fn present(engine: &Engine) -> Present {
    Present {
        selection: evict::selection(engine),
        limit: engine.settings().maxmemory.get(),
        size_weight: evict::size_weight(engine),
    }
}

impl Engine {
    /// Whether `cache-insight` is off.
    #[inline]
    pub(crate) fn insight_is_off(&self) -> bool {
        !self.settings().cache_insight.get()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use larder_storage::evict::whatif::{Present, WhatIf};

    use super::{Pace, SHARE, Waiting};
    use crate::Server;

    #[test]
    fn what_was_spent_too_much_is_saved_later() {
        let mut what_if = WhatIf::new(1, Present { selection: None, limit: 0, size_weight: 0 });
        let second = Duration::from_secs(1);
        let mut look = |pace: &mut Pace, spent| {
            (pace.since, pace.spent) = (Instant::now().checked_sub(second), spent);
            pace.judge(&mut what_if, &Waiting::default(), false);
        };
        let mut pace = Pace::default();
        look(&mut pace, second / SHARE / 2);
        assert!(pace.owed.is_zero() && !pace.is_spent(Duration::ZERO));
        // Three seconds' worth in one.
        look(&mut pace, second / SHARE * 3);
        assert!(pace.is_spent(Duration::ZERO), "{:?}", pace.owed);
        look(&mut pace, Duration::ZERO);
        assert!(pace.is_spent(Duration::ZERO), "{:?}", pace.owed);
        look(&mut pace, Duration::ZERO);
        assert!(!pace.is_spent(Duration::ZERO), "{:?}", pace.owed);
    }

    #[test]
    fn where_a_buffer_is_full_none_are_noted_until_those_that_wait_were_looked_at() {
        let server = Server::builder().seed(1).manual_clock(1_700_000_000_000).build().unwrap();
        let (engine, mut connection) = (server.engine(), server.connect());
        let names: Vec<String> = (0..1000).map(|key| format!("key:{key}")).collect();
        let pairs = names.iter().flat_map(|name| [name.as_str(), "1"]);
        connection.execute(["MSET"].into_iter().chain(pairs));
        server.advance(Duration::from_secs(1));
        let listens = || engine.keyspace().slice().takes(1 << 40);
        let mut read = |times: usize| {
            let keys = (0..times).flat_map(|_| names.iter().map(String::as_str));
            connection.execute(["MGET"].into_iter().chain(keys));
        };
        read(4);
        assert!(listens() && !engine.insight.is_paused.load(super::Relaxed), "there was room");
        server.advance(Duration::from_secs(1));
        assert_eq!(engine.insight.answer(engine).1, 1.0);
        read(5);
        assert!(!listens(), "the last 904 found no room");
        engine.insight.look(engine);
        assert!(!listens() && engine.insight.answer(engine).1 < 1.0);
        server.advance(Duration::from_secs(1));
        assert!(listens() && !engine.stats().holds_samples_for_what_if());
        read(4);
        assert!(listens(), "it goes on as before");
        let reads = engine.insight.answer(engine).0.reads;
        assert!((12_500.0..=13_000.0).contains(&reads), "all are counted, if less the older they are: {reads}");
    }
}
