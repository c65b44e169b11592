//! Eviction under `maxmemory`: whoever needs room makes it, in small steps, before its value is stored, and lets others
//! go on between them. What these store meanwhile they make room for themselves, so that they take nothing of what is
//! being made.
//!
//! The search for victims is storage's ([`larder_storage::evict`]); here victims are removed through [`Locked`], so
//! that the change has its effects, and the policy follows the option. One thread evicts at a time; the lock is taken
//! before shards and never while one is held.
//!
//! What the policy, and CACHE WHATIF, shall learn of the use of keys waits in buffers of the threads; it is taken out here, by who evicts
//! and in the background.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use larder_protocol::{Args, Reply};
use larder_storage::evict::samples::Sample;
use larder_storage::evict::{Choice, Chooser, Rebase, Rule, SAMPLE, Selection, WHOLE_SIZE};
use larder_storage::heap;
use larder_storage::keyspace::ShardSet;
use parking_lot::Mutex;

use crate::admit;
use crate::config::MaxmemoryPolicy;
use crate::engine::Engine;
use crate::locked::Locked;
use crate::observe;
use crate::session::Session;
use crate::stats::WorkerStats;
use crate::upkeep::Budget;

/// Searches between two looks at the time.
const SEARCHES: usize = 16;
/// Keys that one step evicts at most.
const VICTIMS: usize = 64;
/// `maxmemory-samples` at which a sample has as many entries as the policies were measured with.
const USUAL_SAMPLES: usize = 5;
/// Steps in which what was evicted is freed.
const GARBAGE_STEPS: u32 = 64;
/// Samples of the use of keys that one step takes from each thread's buffer.
const SAMPLES_PER_STEP: usize = 64;
/// The policy learns in one of so many steps; most evict one key, and few keys are sampled.
const LEARNS_EVERY: u32 = 4;
/// Segments whose histories one step brings up to date.
const REBASED: u32 = 64;
/// What a command evicts at least while there is more data than the limit allows.
const RELIEF: u64 = 4096;
/// The part of that which a script evicts before it begins, as a divisor: what scripts write beyond the limit is bounded so.
const SCRIPT_RELIEF: u64 = 4;

/// Whether a command may add data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// There is room.
    Enough,
    /// Some was made, more is needed.
    More,
    /// Nothing can be evicted.
    None,
}

/// How long the data has been above its limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Excess {
    /// Of times that are over.
    pub(crate) total: Duration,
    /// Of the time that lasts.
    pub(crate) current: Duration,
    /// When that began, counted from the engine's start.
    since: Option<Duration>,
}

/// See the module's page.
pub(crate) struct Evictor {
    searching: Mutex<Searching>,
    rebase: Mutex<Rebase>,
    excess: Mutex<Excess>,
    /// Sessions that wait for room.
    awaited: Arc<AtomicU32>,
    /// Bytes of what the policy has learnt, as of when it last did.
    learnt_bytes: AtomicU64,
    /// Bytes in use without any key.
    floor: u64,
    /// The limit as of the last look, and how many bytes may be in use though that is more, as the limit was lowered or a script has written:
    /// nobody has to wait until they are gone.
    limit: AtomicU64,
    tolerated: AtomicU64,
}

/// Held by a session while its next command waits for room.
pub(crate) struct RoomClaim {
    awaited: Arc<AtomicU32>,
    /// Bytes that may be used when it goes on.
    wanted: u64,
}

impl Drop for RoomClaim {
    fn drop(&mut self) {
        self.awaited.fetch_sub(1, Relaxed);
    }
}

/// What one thread at a time works with.
struct Searching {
    chooser: Chooser,
    /// Samples on their way to the chooser.
    samples: Vec<Sample>,
    steps: u32,
}

impl Searching {
    /// Follows the options.
    fn follow(&mut self, engine: &Engine) {
        let settings = engine.settings();
        self.chooser.set_size_weight(size_weight(engine));
        self.chooser.select(engine.keyspace(), selection(engine));
        self.chooser.set_sample(SAMPLE * settings.maxmemory_samples.as_usize() / USUAL_SAMPLES);
    }

    /// Takes what there is to learn in one step, if somebody wants to; whether there may be more.
    fn learn(&mut self, engine: &Engine, listens: bool) -> bool {
        if !self.chooser.learns() && !listens {
            return false;
        }
        engine.stats().take_samples(SAMPLES_PER_STEP, &mut self.samples);
        heap::fixed(|| self.chooser.learn(engine.keyspace(), &self.samples));
        engine.insight.offer(engine, &self.samples);
        let more = self.samples.len() >= SAMPLES_PER_STEP;
        self.samples.clear();
        more
    }
}

impl Evictor {
    /// One for a keyspace that takes `floor` bytes without any key, and may take as many as `limit`.
    pub(crate) fn new(seed: u64, floor: usize, limit: u64) -> Self {
        let searching = Searching { chooser: Chooser::new(seed), samples: Vec::new(), steps: 0 };
        Self {
            searching: Mutex::new(searching),
            rebase: Mutex::new(Rebase::new(0)),
            excess: Mutex::default(),
            awaited: Arc::default(),
            learnt_bytes: AtomicU64::new(0),
            floor: floor as u64,
            limit: AtomicU64::new(limit),
            tolerated: AtomicU64::new(0),
        }
    }

    /// Whether a session waits for room.
    #[inline]
    pub(crate) fn is_awaited(&self) -> bool {
        self.awaited.load(Relaxed) > 0
    }

    /// Makes room for a command whose arguments take so many bytes; while it needs more the session holds a claim. Must not be called while
    /// shards are held.
    ///
    /// Of what is tolerated above the limit it makes less, by as much as it adds and more, and does not wait for all of it to go.
    pub(crate) fn make_room(&self, engine: &Engine, session: &mut Session, bytes: usize) -> Room {
        let limit = engine.settings().maxmemory.get();
        let (used, bytes) = (engine.keyspace().used_memory() as u64, bytes as u64);
        let allowed = limit.saturating_sub(bytes);
        let claimed = session.room_claim.as_ref().map(|claim| claim.wanted);
        if used <= allowed && claimed.is_none() {
            // There is room, which somebody else waits for.
            self.step(engine, &session.stats, used.saturating_sub(bytes));
            return Room::Enough;
        }
        if self.floor > allowed {
            // All others would go for it, and it would not fit even so.
            return Room::None;
        }
        let tolerated = self.follow_excess(limit, used);
        let relief = if tolerated > limit { tolerated.saturating_sub(2 * bytes + RELIEF) } else { 0 };
        let wanted = claimed.unwrap_or(relief).max(allowed);
        let room = self.step(engine, &session.stats, wanted);
        if room == Room::More {
            session.room_claim.get_or_insert_with(|| self.claim(wanted));
        }
        room
    }

    /// Follows the limit and what is in use; tells how much of it is tolerated, which becomes less as that does.
    fn follow_excess(&self, limit: u64, used: u64) -> u64 {
        if self.limit.swap(limit, Relaxed) != limit {
            self.tolerated.store(used, Relaxed);
        }
        self.tolerated.fetch_min(used, Relaxed).min(used)
    }

    /// Tolerates what is in use beyond the limit: a script has written, or others while one ran.
    pub(crate) fn tolerate_excess(&self, engine: &Engine) {
        if engine.exceeds_memory() {
            self.tolerated.store(engine.keyspace().used_memory() as u64, Relaxed);
        }
    }

    /// Notes that a session waits until so many bytes are used, as long as the result lives.
    fn claim(&self, wanted: u64) -> RoomClaim {
        self.awaited.fetch_add(1, Relaxed);
        RoomClaim { awaited: self.awaited.clone(), wanted }
    }

    /// Evicts until `limit` bytes are used, or as much as a step may. Must not be called while shards are held.
    pub(crate) fn step(&self, engine: &Engine, stats: &WorkerStats, limit: u64) -> Room {
        let started = observe::event_started(engine);
        let room = self.search(engine, stats, limit);
        // Who evicts frees, too, or large collections would be evicted faster than they are freed.
        engine.free_garbage(&Budget::steps(GARBAGE_STEPS));
        observe::note_event(engine, "eviction-cycle", started);
        self.note_excess(engine, engine.exceeds_memory());
        room
    }

    fn search(&self, engine: &Engine, stats: &WorkerStats, limit: u64) -> Room {
        let settings = engine.settings();
        let mut searching = self.searching.lock();
        searching.follow(engine);
        searching.steps = searching.steps.wrapping_add(1);
        if searching.steps.is_multiple_of(LEARNS_EVERY) {
            searching.learn(engine, false);
        }
        let chooser = &mut searching.chooser;
        // Most steps are over before they have to look at the time.
        let (now, mut started, mut victims) = (engine.clock().now_ms(), None, 0);
        for search in 1.. {
            if engine.keyspace().used_memory() as u64 <= limit {
                return Room::Enough;
            }
            let tenacity = settings.maxmemory_eviction_tenacity.get();
            if victims == VICTIMS
                || search % SEARCHES == 0
                    && step_time(tenacity).is_some_and(|most| started.get_or_insert_with(Instant::now).elapsed() > most)
            {
                return Room::More;
            }
            match chooser.next(engine.keyspace()) {
                Choice::Victim(victim) => {
                    let set = ShardSet::one(victim.shard);
                    let Some(mut locked) = Locked::try_new(engine, set, now, stats) else { return Room::More };
                    locked.select(victim.database);
                    let stands = locked.shards().only().and_then(|guarded| victim.stands(&guarded.shard));
                    if let Some(hash) = stands {
                        locked.evict(hash, victim.pos);
                        victims += 1;
                    }
                }
                // What a script holds may be evicted once it has ended.
                Choice::Later if !engine.keyspace().claimed().is_empty() => return Room::More,
                Choice::Later => {}
                Choice::Nothing => return Room::None,
            }
        }
        Room::More
    }

    /// Lets the policy, and who else wants to, learn from the use of keys; whether there may be more to learn.
    pub(crate) fn learn(&self, engine: &Engine) -> bool {
        let mut searching = self.searching.lock();
        searching.follow(engine);
        let more = searching.learn(engine, engine.insight.listens());
        self.learnt_bytes.store(searching.chooser.memory() as u64, Relaxed);
        more
    }

    /// Bytes of what the policy has learnt, but for what shards remember, which is data. May be asked while shards are held.
    pub(crate) fn learnt_bytes(&self) -> u64 {
        self.learnt_bytes.load(Relaxed)
    }

    /// Makes room in the background when the limit was lowered; whether more is to be done.
    pub(crate) fn relieve(&self, engine: &Engine, stats: &WorkerStats) -> bool {
        let exceeds = engine.exceeds_memory();
        self.note_excess(engine, exceeds);
        if !exceeds {
            return false;
        }
        let limit = engine.settings().maxmemory.get();
        self.follow_excess(limit, engine.keyspace().used_memory() as u64);
        selection(engine).is_some() && self.step(engine, stats, limit) == Room::More
    }

    /// Notes whether the data is above its limit now.
    fn note_excess(&self, engine: &Engine, exceeds: bool) {
        let mut excess = self.excess.lock();
        if exceeds == excess.since.is_some() {
            return;
        }
        let now = engine.identity.started.elapsed();
        match excess.since.take() {
            Some(since) => excess.total += now.saturating_sub(since),
            None => excess.since = Some(now),
        }
    }

    /// How long the data has been above its limit.
    pub(crate) fn excess(&self, engine: &Engine) -> Excess {
        let excess = *self.excess.lock();
        let current = excess.since.map(|since| engine.identity.started.elapsed().saturating_sub(since));
        Excess { current: current.unwrap_or_default(), ..excess }
    }

    /// CONFIG RESETSTAT.
    pub(crate) fn forget_excess(&self) {
        *self.excess.lock() = Excess::default();
    }

    /// A step of the pass that keeps old histories old though ticks wrap; whether the pass goes on.
    pub(crate) fn rebase_step(&self, engine: &Engine) -> bool {
        let mut rebase = self.rebase.lock();
        let (before, goes_on) = (rebase.passes(), rebase.step(engine.keyspace(), REBASED));
        if rebase.passes() > before {
            engine.ticks.rebase(engine.keyspace().tick());
        }
        goes_on
    }
}

impl Engine {
    /// Whether the data is above `maxmemory`.
    #[inline]
    pub(crate) fn exceeds_memory(&self) -> bool {
        let limit = self.settings().maxmemory.get();
        limit > 0 && self.keyspace().used_memory() as u64 > limit
    }

    /// Evicts a little before commands run, whatever they are, while the data is above its limit, as Redis does. What that
    /// tells the client comes before their replies.
    #[inline]
    pub(crate) fn relieve_first(&self, session: &Session, now: u64, reply: &mut Reply) {
        if self.exceeds_memory() && !self.pause.is_on(now) {
            self.evictor().relieve(self, &session.stats);
            session.tell_messages(reply);
        }
    }

    /// Frees memory for a call that adds data, as far as `maxmemory` asks for it.
    pub(crate) fn make_room(&self, session: &mut Session, row: u16, args: Args<'_>) -> Room {
        let bytes = admit::bytes_to_add(session, row, args);
        if self.has_room(bytes) || !admit::adds_data(self, session, row, args) {
            return Room::Enough;
        }
        self.evictor().make_room(self, session, bytes)
    }

    /// Whether there is no room for data, nor any to be made: what a script is told before it begins.
    pub(crate) fn is_short_of_memory(&self, stats: &WorkerStats) -> bool {
        if !self.exceeds_memory() {
            return false;
        }
        let (used, limit) = (self.keyspace().used_memory() as u64, self.settings().maxmemory.get());
        let wanted = limit + used.saturating_sub(limit) / SCRIPT_RELIEF * (SCRIPT_RELIEF - 1);
        loop {
            match self.evictor().step(self, stats, wanted) {
                Room::Enough => return false,
                Room::More => std::thread::yield_now(),
                Room::None => return true,
            }
        }
    }
}

/// How long a step may take at this `maxmemory-eviction-tenacity`, with Redis's formula; `None` is until it is done.
fn step_time(tenacity: u64) -> Option<Duration> {
    /// Where time begins to grow exponentially, and what a point is worth below that.
    const USUAL: u64 = 10;
    const POINT_US: u64 = 50;
    match tenacity {
        0..=USUAL => Some(Duration::from_micros(POINT_US * tenacity)),
        100.. => None,
        more => Some(Duration::from_micros(((POINT_US * USUAL) as f64 * 1.15f64.powi((more - USUAL) as i32)) as u64)),
    }
}

/// What a power of two of size weighs to the adaptive policies, in 256ths of one of age.
pub(crate) fn size_weight(engine: &Engine) -> u32 {
    engine.settings().maxmemory_size_weight.get() as u32 * WHOLE_SIZE / 100
}

/// The policy that the options name; `None` where nothing is evicted.
pub(crate) fn selection(engine: &Engine) -> Option<Selection> {
    if engine.settings().maxmemory.get() == 0 {
        return None;
    }
    let (rule, volatile) = match engine.settings().maxmemory_policy.get() {
        MaxmemoryPolicy::Noeviction => return None,
        MaxmemoryPolicy::AllkeysLru => (Rule::Lru, false),
        MaxmemoryPolicy::VolatileLru => (Rule::Lru, true),
        MaxmemoryPolicy::AllkeysLfu => (Rule::Lfu, false),
        MaxmemoryPolicy::VolatileLfu => (Rule::Lfu, true),
        MaxmemoryPolicy::AllkeysAdaptive => (Rule::Adaptive, false),
        MaxmemoryPolicy::VolatileAdaptive => (Rule::Adaptive, true),
        MaxmemoryPolicy::AllkeysRandom => (Rule::Random, false),
        MaxmemoryPolicy::VolatileRandom => (Rule::Random, true),
        MaxmemoryPolicy::VolatileTtl => (Rule::Ttl, true),
    };
    Some(Selection { rule, volatile })
}

#[cfg(test)]
mod tests {
    use super::{Room, VICTIMS, step_time};
    use crate::{Connection, Server, Value};

    const LIMIT: usize = 6 << 20;

    fn fill(policy: &str, expiring: bool) -> (Server, Connection) {
        let limit = LIMIT.to_string();
        let server =
            Server::builder().seed(7).option("maxmemory", &limit).option("maxmemory-policy", policy).build().unwrap();
        let mut connection = server.connect();
        for number in 0..40_000usize {
            let (key, value) = (format!("key:{number}"), vec![b'v'; number * 7919 % 700]);
            let mut command = vec![b"SET".to_vec(), key.into_bytes(), value];
            if expiring {
                command.extend([b"EX".to_vec(), (1000 + number * 31 % 5000).to_string().into_bytes()]);
            }
            let reply = connection.execute(command);
            assert!(matches!(reply, Value::Simple(_)), "{policy}: {reply}");
            let used = server.engine().keyspace().used_memory();
            assert!(used <= LIMIT + 2048 + 4096, "{policy}: {used} bytes are used after {number}");
        }
        server.engine().validate();
        (server, connection)
    }

    #[test]
    fn memory_stays_within_its_limit_under_every_policy() {
        for policy in ["allkeys-lru", "allkeys-lfu", "allkeys-random", "allkeys-adaptive"] {
            fill(policy, false);
        }
        for policy in ["volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl", "volatile-adaptive"] {
            fill(policy, true);
        }
    }

    #[test]
    fn what_a_script_writes_beyond_the_limit_goes_after_it() {
        const WRITES: &str = "for i = 1, 6000 do redis.call('set', 'k' .. i, string.rep('v', 10000)) end";
        let limit = LIMIT.to_string();
        for policy in ["allkeys-lru", "noeviction"] {
            let server = Server::builder().option("maxmemory", &limit).option("maxmemory-policy", policy);
            let server = server.manual_clock(1_700_000_000_000).build().unwrap();
            let (mut connection, used) = (server.connect(), || server.engine().keyspace().used_memory());
            assert_eq!(connection.execute(["EVAL", WRITES, "0"]), Value::Null, "{policy}");
            if policy == "noeviction" {
                assert!(used() > 9 * LIMIT, "{}", used());
                for words in [&["SET", "k", "v"][..], &["EVAL", WRITES, "0"]] {
                    assert!(connection.execute(words).to_string().contains("OOM"), "{policy}");
                }
            } else {
                // The next one does not wait for all of it, but each makes it less.
                let (before, evicted) = (used(), || server.engine().stats().totals().evicted);
                assert_eq!(connection.execute(["SET", "k", "v"]).to_string(), "OK");
                assert!(used() < before && evicted() <= 3 * VICTIMS as u64, "{} of {before}, {}", used(), evicted());
                assert_eq!(connection.execute(["EVAL", "return 1", "0"]).to_string(), "(integer) 1");
                let most = LIMIT + (before - LIMIT) * 3 / 4;
                assert!((LIMIT..=most).contains(&used()), "a quarter goes before a script: {}", used());
                let stats = &server.engine().stats().worker();
                while server.engine().evictor().relieve(server.engine(), stats) {}
                assert!(used() <= LIMIT, "{}", used());
            }
            server.engine().validate();
        }
    }

    #[test]
    fn keys_without_an_expiry_are_spared() {
        let limit = LIMIT.to_string();
        for policy in ["volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl", "volatile-adaptive"] {
            let server =
                Server::builder().option("maxmemory", &limit).option("maxmemory-policy", policy).build().unwrap();
            let mut connection = server.connect();
            for number in 0..2000 {
                connection.execute(["SET", &format!("kept:{number}"), "value"]);
            }
            for number in 0..60_000 {
                connection.execute(["SET", &format!("expiring:{number}"), &"v".repeat(100), "EX", "1000"]);
            }
            for number in 0..2000 {
                assert_eq!(
                    connection.execute(["EXISTS", &format!("kept:{number}")]).to_string(),
                    "(integer) 1",
                    "{policy}"
                );
            }
        }
    }

    #[test]
    fn what_is_remembered_takes_no_room_from_few_keys_with_an_expiry() {
        /// How many of 30,000 keys with an expiry have room beside many without.
        fn left(policy: &str) -> u64 {
            let options = [("maxmemory", "6mb"), ("maxmemory-policy", policy)];
            let builder =
                options.into_iter().fold(Server::builder().seed(7), |it, (name, value)| it.option(name, value));
            let server = builder.build().unwrap();
            let mut connection = server.connect();
            let mut kept = 0;
            while server.engine().keyspace().used_memory() < LIMIT - 200_000 {
                connection.execute(["SET", &format!("kept:{kept}"), "v"]);
                kept += 1;
            }
            for number in 0..30_000 {
                let reply = connection.execute(["SET", &format!("key:{number}"), "v", "EX", "1000"]);
                assert_eq!(reply.to_string(), "OK", "{policy}: {number}");
            }
            assert_eq!(connection.execute(["EXISTS", "kept:0"]).to_string(), "(integer) 1");
            30_000 - server.engine().stats().totals().evicted
        }
        let lru = left("volatile-lru");
        for policy in ["volatile-lfu", "volatile-adaptive"] {
            let left = left(policy);
            assert!(left * 3 > lru * 2, "{policy}: {left}, {lru} with volatile-lru");
        }
    }

    #[test]
    fn time_grows_with_tenacity() {
        let step = |tenacity| step_time(tenacity).unwrap().as_micros();
        assert_eq!((step(0), step(5), step(10)), (0, 250, 500));
        assert_eq!(step(11), 575);
        assert!((120_000_000..130_000_000).contains(&step(99)), "two minutes: {}", step(99));
        assert_eq!(step_time(100), None);
    }

    #[test]
    fn more_samples_find_better_victims() {
        /// How many keys are left that exact LRU would have evicted.
        fn old_keys_left(samples: &str) -> usize {
            let options = [("maxmemory", "1mb"), ("maxmemory-policy", "allkeys-lru"), ("maxmemory-samples", samples)];
            let builder =
                options.into_iter().fold(Server::builder().seed(3), |it, (name, value)| it.option(name, value));
            let server = builder.build().unwrap();
            let mut connection = server.connect();
            for number in 0..12_000 {
                connection.execute(["SET", &format!("key:{number}"), &"v".repeat(100)]);
            }
            let here: Vec<usize> = (0..12_000)
                .filter(|number| connection.execute(["GET", &format!("key:{number}")]) != Value::Null)
                .collect();
            // Exact LRU would have kept the last ones and no other.
            here.iter().filter(|number| **number < 12_000 - here.len()).count()
        }
        let (few, many) = (old_keys_left("1"), old_keys_left("64"));
        assert!(few > 2 * many, "{few} old keys are left with 1, {many} with 64");
    }

    #[test]
    fn without_victims_the_answer_is_out_of_memory() {
        for policy in ["noeviction", "volatile-lru"] {
            let server =
                Server::builder().option("maxmemory", "1mb").option("maxmemory-policy", policy).build().unwrap();
            let mut connection = server.connect();
            let full = (0..20_000).any(|number| {
                let reply = connection.execute(["SET", &format!("key:{number}"), &"v".repeat(200)]).to_string();
                reply == "(error) OOM command not allowed when used memory > 'maxmemory'."
            });
            assert!(full, "{policy}");
            assert_eq!(connection.execute(["GET", "key:0"]).to_string().len(), 202, "{policy}: reads go on");
            assert_eq!(connection.execute(["DEL", "key:0"]).to_string(), "(integer) 1", "{policy}: deletes go on");
        }
    }

    #[test]
    fn recently_used_keys_stay() {
        let limit = LIMIT.to_string();
        let server =
            Server::builder().option("maxmemory", &limit).option("maxmemory-policy", "allkeys-lru").build().unwrap();
        let mut connection = server.connect();
        for number in 0..100_000 {
            connection.execute(["SET", &format!("key:{number}"), &"v".repeat(100)]);
            if number % 50 == 0 {
                for hot in 0..100 {
                    connection.execute(["GET", &format!("key:{hot}")]);
                }
            }
        }
        let kept = (0..100).filter(|hot| connection.execute(["GET", &format!("key:{hot}")]) != Value::Null).count();
        assert!(kept >= 99, "{kept} of 100 hot keys stayed");
    }

    #[test]
    fn the_adaptive_policy_learns_what_to_keep() {
        /// How many of the keys of a loop larger than the cache are found, after some rounds.
        fn found(policy: &str) -> usize {
            let options = [("maxmemory", "350kb"), ("maxmemory-policy", policy), ("shards", "8")];
            let builder =
                options.into_iter().fold(Server::builder().seed(5), |it, (name, value)| it.option(name, value));
            let server = builder.manual_clock(1_700_000_000_000).build().unwrap();
            let mut connection = server.connect();
            let value = "v".repeat(100);
            let mut found = 0;
            for request in 0..180_000 {
                let key = format!("key:{}", request % 3_000);
                if connection.execute(["GET", &key]) == Value::Null {
                    connection.execute(["SET", &key, &value]);
                } else if request >= 120_000 {
                    found += 1;
                }
            }
            server.engine().validate();
            found
        }
        let (lru, adaptive) = (found("allkeys-lru"), found("allkeys-adaptive"));
        assert!(lru < 5_000, "{lru} of 60,000 found with LRU");
        assert!(adaptive > 2 * lru, "{adaptive} of 60,000 found with the adaptive policy, {lru} with LRU");
    }

    #[test]
    fn large_values_go_sooner_as_the_size_weight_says() {
        /// How many small and how many large values are there after both were stored in turn.
        fn kept(weight: &str) -> [usize; 2] {
            let options =
                [("maxmemory", "3mb"), ("maxmemory-policy", "allkeys-adaptive"), ("maxmemory-size-weight", weight)];
            let builder =
                options.into_iter().fold(Server::builder().seed(5), |it, (name, value)| it.option(name, value));
            let server = builder.manual_clock(1_700_000_000_000).build().unwrap();
            let mut connection = server.connect();
            for number in 0..20_000 {
                connection.execute(["SET", &format!("small:{number}"), &"v".repeat(50)]);
                connection.execute(["SET", &format!("large:{number}"), &"v".repeat(1500)]);
            }
            ["small", "large"].map(|kind| {
                let there = |number: &usize| connection.execute(["GET", &format!("{kind}:{number}")]) != Value::Null;
                (0..20_000).filter(there).count()
            })
        }
        let [small, large] = kept("0");
        assert!(small.abs_diff(large) < small / 4, "{small} small and {large} large ones without a weight");
        let [small, large] = kept("1");
        assert!(small > 4 * large, "{small} small and {large} large ones with the full weight");
    }

    /// A server that is nearly full, and a connection to it.
    fn nearly_full(policy: &str) -> (Server, Connection) {
        let options = [("maxmemory", "6mb"), ("maxmemory-policy", policy)];
        let builder = options.into_iter().fold(Server::builder().seed(7), |it, (name, value)| it.option(name, value));
        let server = builder.manual_clock(1_700_000_000_000).build().unwrap();
        let mut connection = server.connect();
        let mut number = 0;
        while server.engine().keyspace().used_memory() < LIMIT - 4096 {
            connection.execute(["SET", &format!("key:{number}"), &"v".repeat(64)]);
            number += 1;
        }
        (server, connection)
    }

    #[test]
    fn room_is_made_before_a_value_is_stored() {
        for policy in ["allkeys-lru", "allkeys-adaptive"] {
            let (server, mut connection) = nearly_full(policy);
            let keys = server.engine().stats().totals().evicted;
            assert_eq!(keys, 0);
            // Thousands of keys make room for one.
            let reply = connection.execute(["SET", "large", &"v".repeat(3 << 20)]);
            assert_eq!(reply.to_string(), "OK", "{policy}");
            let used = server.engine().keyspace().used_memory();
            assert!(used <= LIMIT + 4096, "{policy}: {used}");
            assert!(server.engine().stats().totals().evicted > 10_000);
            assert!(!server.engine().evictor().is_awaited());
            assert_eq!(connection.execute(["STRLEN", "large"]).to_string(), format!("(integer) {}", 3 << 20));
            // One that never fits takes nothing with it: what the keyspace takes without a key is not free.
            for length in [7 << 20, LIMIT - 4096] {
                let left = connection.execute(["DBSIZE"]);
                let refusal = connection.execute(["SET", "huge", &"v".repeat(length)]).to_string();
                assert!(refusal.contains("OOM command not allowed"), "{refusal}");
                assert_eq!(connection.execute(["DBSIZE"]), left);
            }
            assert_eq!(connection.execute(["SET", "small", "v"]).to_string(), "OK");
            assert!(server.engine().keyspace().used_memory() <= LIMIT);
            server.engine().validate();
        }
    }

    #[test]
    fn under_a_lower_limit_commands_wait_for_a_little_of_the_excess_and_never_add_to_it() {
        let (server, mut connection) = nearly_full("allkeys-lru");
        let used = || server.engine().keyspace().used_memory();
        assert_eq!(connection.execute(["CONFIG", "SET", "maxmemory", "2mb"]).to_string(), "OK");
        let mut before = used();
        for number in 0..50 {
            let length = if number % 10 == 9 { 20_000 } else { 100 };
            assert_eq!(connection.execute(["SET", &format!("new:{number}"), &"v".repeat(length)]).to_string(), "OK");
            assert!(used() < before && before - used() < 50_000, "{number}: from {before} to {}", used());
            before = used();
        }
        assert!(used() > 3 << 20, "{}: most of it goes in the background", used());
    }

    #[test]
    fn what_a_command_added_beyond_its_arguments_is_waited_for() {
        let (server, mut connection) = nearly_full("allkeys-lru");
        for number in 0..20 {
            connection.execute(["SETRANGE", &format!("far:{number}"), "2000000", "x"]);
            let used = server.engine().keyspace().used_memory();
            assert!(used < LIMIT + 2_000_000 + (1 << 20) + 8192, "{number}: {used}");
        }
        // What a script added is not.
        let (server, mut connection) = nearly_full("allkeys-lru");
        connection.execute(["EVAL", "for i = 1, 20000 do redis.call('SET', 'script:' .. i, 'value') end", "0"]);
        let used = server.engine().keyspace().used_memory();
        assert!(used > LIMIT + 500_000, "{used}");
        connection.execute(["SET", "small", "v"]);
        assert!(server.engine().keyspace().used_memory() > used - 100_000);
    }

    #[test]
    fn what_is_queued_needs_room_when_it_runs_and_only_then() {
        let (server, mut connection) = nearly_full("allkeys-lru");
        let evicted = || server.engine().stats().totals().evicted;
        let mut other = server.connect();
        let large = "v".repeat(3 << 20);
        for watches in [false, true] {
            if watches {
                connection.execute(["WATCH", "watched"]);
            }
            connection.execute(["MULTI"]);
            assert_eq!(connection.execute(["SET", "large", &large]).to_string(), "QUEUED");
            other.execute(["SET", "watched", "1"]);
            let is_over = if watches { "EXEC" } else { "DISCARD" };
            assert_ne!(connection.execute([is_over]).to_string(), "QUEUED");
            assert!(evicted() < 100, "{}", evicted());
        }
        connection.execute(["MULTI"]);
        connection.execute(["SET", "large", &large]);
        assert_eq!(connection.execute(["EXEC"]).to_string(), "1) OK");
        assert!(evicted() > 10_000 && server.engine().keyspace().used_memory() <= LIMIT + 4096);
    }

    #[test]
    fn where_nothing_may_go_what_is_sent_counts() {
        for policy in ["noeviction", "volatile-lru"] {
            let (server, mut connection) = nearly_full(policy);
            let (used, kept) = (server.engine().keyspace().used_memory(), connection.execute(["DBSIZE"]));
            for words in [&["SET", "large", &"v".repeat(1 << 20)][..], &["MSET", "a", &"v".repeat(7 << 20), "b", "1"]] {
                let refusal = connection.execute(words).to_string();
                assert!(refusal.contains("OOM command not allowed"), "{policy}: {refusal}");
            }
            assert_eq!((server.engine().keyspace().used_memory(), connection.execute(["DBSIZE"])), (used, kept));
        }
    }

    #[test]
    fn a_step_evicts_at_most_64_keys() {
        let (server, _) = nearly_full("allkeys-lru");
        let engine = server.engine();
        let stats = &engine.stats().worker();
        let evicted = || engine.stats().totals().evicted;
        for step in 1..=20 {
            assert_eq!(engine.evictor().step(engine, stats, 0), Room::More);
            assert!(evicted() <= step * VICTIMS as u64);
        }
        assert!(evicted() > 20 * 8);
    }

    #[test]
    fn whoever_finds_room_that_others_wait_for_makes_its_own() {
        let (server, mut connection) = nearly_full("allkeys-lru");
        let engine = server.engine();
        let claim = engine.evictor().claim(0);
        connection.execute(["CONFIG", "SET", "maxmemory", "12mb"]);
        let before = engine.keyspace().used_memory();
        for number in 0..500 {
            connection.execute(["SET", &format!("other:{number}"), &"v".repeat(64)]);
        }
        assert!(engine.keyspace().used_memory() <= before + 4096, "nothing was taken of what is free");
        drop(claim);
        let before = engine.keyspace().used_memory();
        assert!(!engine.evictor().is_awaited());
        for number in 500..1000 {
            connection.execute(["SET", &format!("other:{number}"), &"v".repeat(64)]);
        }
        assert!(engine.keyspace().used_memory() > before + 400 * 64);
    }

    #[test]
    fn what_waits_to_be_sent_or_run_evicts_nothing() {
        let (server, mut connection) = nearly_full("allkeys-lru");
        connection.execute(["SET", "value", &"v".repeat(2000)]);
        connection.execute(["SUBSCRIBE", "news"]);
        let (mut publisher, used) = (server.connect(), server.engine().keyspace().used_memory());
        for _ in 0..20 {
            publisher.execute(["PUBLISH", "news", &"m".repeat(1 << 20)]);
        }
        let get = b"*2\r\n$3\r\nGET\r\n$5\r\nvalue\r\n".repeat(5000);
        let replies = publisher.run(&get);
        assert!(replies.len() > 5000 * 2000);
        assert_eq!(server.engine().stats().totals().evicted, 0);
        assert_eq!(server.engine().keyspace().used_memory(), used);
    }
}
