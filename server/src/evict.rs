//! Eviction under `maxmemory`: whoever needs room makes it, in small steps, before its value is stored.
//!
//! The search for victims is storage's ([`larder_storage::evict`]); here victims are removed through [`Locked`], so
//! that the change has its effects, and the policy follows the option. One thread evicts at a time; the lock is taken
//! before shards and never while one is held.

use std::time::{Duration, Instant};

use larder_storage::evict::{Choice, Chooser, Rebase, Rule, SAMPLE, Selection};
use larder_storage::keyspace::ShardSet;
use parking_lot::Mutex;

use crate::config::MaxmemoryPolicy;
use crate::engine::Engine;
use crate::locked::Locked;
use crate::stats::WorkerStats;

/// Searches between two looks at the time.
const SEARCHES: usize = 16;
/// `maxmemory-samples` at which a sample has as many entries as the policies were measured with.
const USUAL_SAMPLES: usize = 5;
/// Segments whose histories one step brings up to date.
const REBASED: u32 = 64;

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

/// See the module's page.
pub(crate) struct Evictor {
    chooser: Mutex<Chooser>,
    rebase: Mutex<Rebase>,
}

impl Evictor {
    pub(crate) fn new(seed: u64) -> Self {
        Self { chooser: Mutex::new(Chooser::new(seed)), rebase: Mutex::new(Rebase::new(0)) }
    }

    /// Evicts until `limit` bytes are used, or for as long as a step may take. Must not be called while shards are held.
    pub(crate) fn step(&self, engine: &Engine, stats: &WorkerStats, limit: u64) -> Room {
        let settings = engine.settings();
        let mut chooser = self.chooser.lock();
        chooser.select(engine.keyspace(), selection(engine));
        chooser.set_sample(SAMPLE * settings.maxmemory_samples.as_usize() / USUAL_SAMPLES);
        let started = Instant::now();
        for search in 1.. {
            if engine.keyspace().used_memory() as u64 <= limit {
                return Room::Enough;
            }
            if search % SEARCHES == 0
                && step_time(settings.maxmemory_eviction_tenacity.get()).is_some_and(|most| started.elapsed() > most)
            {
                return Room::More;
            }
            match chooser.next(engine.keyspace()) {
                Choice::Victim(victim) => {
                    let set = ShardSet::one(victim.shard);
                    let now = engine.clock().now_ms();
                    let Some(mut locked) = Locked::try_new(engine, set, now, stats) else { return Room::More };
                    locked.select(victim.database);
                    let stands = locked.shards().only().and_then(|guarded| victim.stands(&guarded.shard));
                    if let Some(hash) = stands {
                        locked.evict(hash, victim.pos);
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

    /// Makes room in the background when the limit was lowered; whether more is to be done.
    pub(crate) fn relieve(&self, engine: &Engine, stats: &WorkerStats) -> bool {
        let limit = engine.settings().maxmemory.get();
        limit > 0
            && engine.keyspace().used_memory() as u64 > limit
            && selection(engine).is_some()
            && self.step(engine, stats, limit) == Room::More
    }

    /// A step of the pass that keeps old histories old though ticks wrap; whether the pass goes on.
    pub(crate) fn rebase_step(&self, engine: &Engine) -> bool {
        self.rebase.lock().step(engine.keyspace(), REBASED)
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

fn selection(engine: &Engine) -> Option<Selection> {
    let (rule, volatile) = match engine.settings().maxmemory_policy.get() {
        MaxmemoryPolicy::Noeviction => return None,
        MaxmemoryPolicy::AllkeysLru => (Rule::Lru, false),
        MaxmemoryPolicy::VolatileLru => (Rule::Lru, true),
        MaxmemoryPolicy::AllkeysLfu => (Rule::Lfu, false),
        MaxmemoryPolicy::VolatileLfu => (Rule::Lfu, true),
        MaxmemoryPolicy::AllkeysRandom => (Rule::Random, false),
        MaxmemoryPolicy::VolatileRandom => (Rule::Random, true),
        MaxmemoryPolicy::VolatileTtl => (Rule::Ttl, true),
    };
    Some(Selection { rule, volatile })
}

#[cfg(test)]
mod tests {
    use super::step_time;
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
        for policy in ["allkeys-lru", "allkeys-lfu", "allkeys-random"] {
            fill(policy, false);
        }
        for policy in ["volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl"] {
            fill(policy, true);
        }
    }

    #[test]
    fn keys_without_an_expiry_are_spared() {
        let limit = LIMIT.to_string();
        for policy in ["volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl"] {
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
}
