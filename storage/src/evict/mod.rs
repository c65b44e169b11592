//! Which entry goes when memory is short.
//!
//! No list of entries is kept, and nothing is written on the way of a request but an entry's own history. To find a
//! victim, a [`Chooser`] looks at whole segments of a random shard (and of the next ones, until it has seen
//! a number of entries), and those that rank above the worst of a small pool that spans all shards go there. The pool's best is the
//! victim, if it is then still as it was seen; the caller removes it. One shard is locked at a time.
//!
//! What a large cache holds is in no processor's cache. There a look takes several samples of one shard, having asked for
//! all their segments, and finds several victims, whose entries are asked for before their turn comes: the misses overlap.
//!
//! A [`Policy`] tells which of two entries goes first; there is one per file. To add one, write its file, give it a
//! [`Rule`], and name it in [`Chooser::next`].
//!
//! Sampling with a pool that carries good candidates over is Redis's idea ("Random notes on improving the Redis LRU
//! algorithm", 2016). As histories stand side by side in a segment, a sample costs one stretch of memory, not a cache
//! miss per entry.

mod adaptive;
mod competition;
pub mod ghost;
mod ghosts;
mod lfu;
mod lru;
mod miniature;
mod pool;
mod random;
mod rebase;
pub mod samples;
mod ttl;
mod weights;
pub mod whatif;

pub use pool::Candidate;
pub use rebase::{OLDEST, Rebase, rebased};
pub use weights::WHOLE_SIZE;

use crate::cpu::prefetch;
use crate::index::Pos;
use crate::keyspace::{Keyspace, ShardSet};
use crate::rng::Rng;
use crate::shard::Shard;
use crate::table::Table;
use crate::word::Word;
use adaptive::Adaptive;
use ghost::Welcome;
use pool::Pool;
use samples::Listener;
use smallvec::SmallVec;
use std::collections::VecDeque;

/// Entries seen per sample, unless another number is set: about half a segment.
pub const SAMPLE: usize = 28;
/// In a table of so many keys a look takes so many samples, and so many victims. In a smaller one they would find the same entries.
const ROOMY: usize = 2048;
const BATCH: usize = 8;
const VICTIMS_OF_BATCH: usize = 16;
/// Segments that one look into a shard may visit, and those of a whole sample: where only few entries have an expiry
/// there is no end of segments that hold hardly one.
const SEGMENTS_PER_SHARD: usize = 16;
const SEGMENTS: usize = 64;

/// What is seen of an entry in a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its word in the index.
    pub word: Word,
    /// What [`Policy::note`] gave.
    pub note: u64,
}

/// Which of two entries goes first.
pub trait Policy {
    /// Whether to look at the segment of a table's next expiry, rather than at random ones.
    const SOONEST: bool = false;

    /// What of an entry decides that its word does not tell.
    #[inline]
    fn note(&self, table: &Table, pos: Pos, rng: &mut Rng) -> u64 {
        let _ = (table, pos, rng);
        0
    }

    /// What no entry's note adds to the rank of its word, of those that own no memory in this table.
    #[inline]
    fn most_by_note(&self, table: &Table) -> u64 {
        let _ = table;
        u64::MAX
    }

    /// Entries younger than this many ticks, of those that own no memory, do not rank above `bar`: one comparison tells that most
    /// of a sample need no further look.
    #[inline]
    fn youngest(&self, bar: u64, most: u64) -> u32 {
        let _ = (bar, most);
        0
    }

    /// A rank that the entry of this word does not pass, whatever its note, which is then not asked for if others rank higher;
    /// `most` is [`Policy::most_by_note`].
    #[inline]
    fn bound(&self, word: Word, tick: u32, most: u64) -> u64 {
        let _ = (word, tick, most);
        u64::MAX
    }

    /// How early an entry goes that was seen so, at this tick: the highest rank goes first.
    fn rank(&self, seen: Seen, tick: u32) -> u64;
}

/// A policy by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The least recently used goes first.
    Lru,
    /// The least frequently used goes first, age considered.
    Lfu,
    /// Age and frequency are weighed as suits the requests of late.
    Adaptive,
    /// Any.
    Random,
    /// The one that expires soonest goes first. Only for keys with an expiry.
    Ttl,
}

/// A policy and the keys that it may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Selection {
    /// The policy.
    pub rule: Rule,
    /// Whether it spares keys without an expiry.
    pub volatile: bool,
}

/// What a [`Chooser`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// This one.
    Victim(Candidate),
    /// Nothing yet, within the bound of one search: ask again.
    Later,
    /// There is nothing that the policy may take.
    Nothing,
}

/// Finds victims for one keyspace. The same calls with the same seed find the same ones.
pub struct Chooser {
    selection: Option<Selection>,
    /// Entries seen per sample.
    sample: usize,
    /// What a power of two of size weighs to the adaptive policy, in 256ths of one of age.
    size_weight: u32,
    /// What the adaptive policy has learnt, while it is selected.
    adaptive: Option<Box<Adaptive>>,
    /// How evicted keys begin when they return, if they are remembered, and whether all of them have an expiry.
    welcome: (Option<Welcome>, bool),
    pool: Pool,
    /// Victims found ahead, the next one first.
    ready: VecDeque<Candidate>,
    rng: Rng,
}

impl Chooser {
    /// One that evicts nothing yet.
    pub fn new(seed: u64) -> Self {
        Self {
            selection: None,
            sample: SAMPLE,
            size_weight: 0,
            adaptive: None,
            welcome: (None, false),
            pool: Pool::default(),
            ready: VecDeque::new(),
            rng: Rng::seeded(seed),
        }
    }

    /// Follows the policy from now on; `None` for no eviction. Locks every shard, one after the other, when evicted
    /// keys shall be remembered that were not before, or the other way.
    pub fn select<X: Default>(&mut self, keyspace: &Keyspace<X>, selection: Option<Selection>) {
        if selection == self.selection {
            return self.follow(keyspace);
        }
        self.selection = selection;
        self.forget_candidates();
        self.adaptive = selection
            .filter(|selection| selection.rule == Rule::Adaptive)
            .map(|selection| Box::new(Adaptive::new(self.rng.next_u64(), selection.volatile, self.size_weight)));
        keyspace.slice().set(Listener::Policy, if self.adaptive.is_some() { 1.0 } else { 0.0 });
        self.follow(keyspace);
    }

    /// Tells all shards how keys begin, if that has changed.
    fn follow<X: Default>(&mut self, keyspace: &Keyspace<X>) {
        let welcome = match (&self.adaptive, self.selection.map(|selection| selection.rule)) {
            (Some(adaptive), _) => Some(adaptive.welcome()),
            (None, Some(Rule::Lfu)) => Some(lfu::WEIGHTS.welcome),
            _ => None,
        };
        let volatile = self.selection.is_some_and(|selection| selection.volatile);
        if (welcome, volatile) == self.welcome {
            return;
        }
        for shard in 0..keyspace.shards() {
            // A script holds it: the next look tells it.
            let Some(mut locked) = keyspace.try_lock(ShardSet::one(shard)) else { return };
            if let Some(guarded) = locked.only() {
                guarded.shard.remember(welcome, volatile);
            }
        }
        self.welcome = (welcome, volatile);
    }

    fn forget_candidates(&mut self) {
        self.pool.clear();
        self.ready.clear();
    }

    /// Whether the policy wants to hear of the use of keys.
    pub fn learns(&self) -> bool {
        self.adaptive.is_some()
    }

    /// Lets the policy learn from what became of keys. No shard may be held.
    pub fn learn<X: Default>(&mut self, keyspace: &Keyspace<X>, samples: &[samples::Sample]) {
        if let Some(adaptive) = &mut self.adaptive
            && adaptive.learn(keyspace, samples)
        {
            self.forget_candidates();
            self.follow(keyspace);
        }
    }

    /// Sets what a power of two of size weighs to the adaptive policy, in 256ths of one of age.
    pub fn set_size_weight(&mut self, weight: u32) {
        if weight != self.size_weight {
            self.size_weight = weight;
            self.forget_candidates();
            if let Some(adaptive) = &mut self.adaptive {
                adaptive.set_size_weight(weight);
            }
        }
    }

    /// Bytes of what the policy has learnt, beside what its shards remember.
    pub fn memory(&self) -> usize {
        self.adaptive.as_ref().map_or(0, |adaptive| adaptive.memory())
    }

    /// Sets how many entries a sample has, at least; segments are looked at whole. More finds better victims, slower.
    pub fn set_sample(&mut self, entries: usize) {
        self.sample = entries.max(1);
    }

    /// Finds a victim. It locks one shard after the other and holds none when it returns, so the caller has to lock
    /// the victim's shard and see whether it [still stands](Candidate::stands) there.
    pub fn next<X: Default>(&mut self, keyspace: &Keyspace<X>) -> Choice {
        match self.selection {
            None => Choice::Nothing,
            Some(Selection { rule: Rule::Lru, volatile }) => self.choose(&lru::Lru, keyspace, volatile),
            Some(Selection { rule: Rule::Lfu, volatile }) => self.choose(&lfu::Lfu, keyspace, volatile),
            Some(Selection { rule: Rule::Adaptive, volatile }) => {
                let Some(adaptive) = &mut self.adaptive else { return Choice::Nothing };
                if adaptive.is_filling() {
                    adaptive.begin_to_evict(keyspace);
                }
                let policy = adaptive.policy();
                self.choose(&policy, keyspace, volatile)
            }
            Some(Selection { rule: Rule::Random, volatile }) => self.choose(&random::Random, keyspace, volatile),
            Some(Selection { rule: Rule::Ttl, .. }) => self.choose(&ttl::Ttl, keyspace, true),
        }
    }

    fn choose<P: Policy, X: Default>(&mut self, policy: &P, keyspace: &Keyspace<X>, volatile: bool) -> Choice {
        // The last one stays while its entry is on its way, which takes as long as a look at others.
        if self.ready.len() > 1
            && let Some(victim) = self.ready.pop_front()
        {
            return Choice::Victim(victim);
        }
        let (tick, wanted) = (keyspace.tick(), self.sample);
        self.pool.at_tick(policy, tick);
        let pool = &mut self.pool;
        let mut sample =
            Sample { policy, volatile, tick, rng: &mut self.rng, wanted, seen: 0, segments: 0, pool, victims: 1 };
        let mut any = false;
        let shards = keyspace.shards();
        let first = sample.rng.index(shards);
        let order = if P::SOONEST { Sample::<P>::by_expiry(keyspace) } else { SmallVec::new() };
        for nth in 0..shards {
            let (soonest, shard) = if P::SOONEST { order[nth] } else { (0, (first + nth) % shards) };
            if sample.knows_better(soonest) {
                break;
            }
            let mut locked = keyspace.try_lock(ShardSet::one(shard));
            // A script's keys may be evicted once it has ended.
            any |= locked.is_none();
            if let Some(guarded) = locked.as_mut().and_then(|locked| locked.only()) {
                any |= sample.look_into(&mut guarded.shard, shard);
            }
            if sample.is_complete() {
                break;
            }
        }
        for victim in (0..sample.victims).map_while(|_| self.pool.pop()) {
            prefetch(victim.address as *const u8);
            self.ready.push_back(victim);
        }
        match self.ready.pop_front() {
            Some(victim) => Choice::Victim(victim),
            None if any => Choice::Later,
            None => Choice::Nothing,
        }
    }
}

/// Samples in the making.
struct Sample<'a, P> {
    policy: &'a P,
    volatile: bool,
    tick: u32,
    rng: &'a mut Rng,
    /// Entries to be seen that may go; those seen so far, and segments visited.
    wanted: usize,
    seen: usize,
    segments: usize,
    pool: &'a mut Pool,
    /// How many of the pool's best shall go.
    victims: usize,
}

impl<P: Policy> Sample<'_, P> {
    /// The shards by when something expires there at the soonest, as far as that is known, which stands before each.
    fn by_expiry<X: Default>(keyspace: &Keyspace<X>) -> SmallVec<[(u64, usize); 64]> {
        let mut order: SmallVec<_> = (0..keyspace.shards()).map(|shard| (keyspace.next_due(shard), shard)).collect();
        order.sort_unstable();
        order
    }

    /// Whether what goes first is known already, as nothing in the shards that are left expires before this time.
    fn knows_better(&self, soonest: u64) -> bool {
        P::SOONEST && self.pool.best().map_or(u64::MAX, |rank| !rank) <= soonest
    }

    /// Looks into one database of a shard; whether the shard holds anything that may go.
    fn look_into(&mut self, shard: &mut Shard, number: usize) -> bool {
        if P::SOONEST {
            return self.look_for_soonest(shard, number);
        }
        let Some(database) = self.choose_database(shard) else { return false };
        if let Some(table) = shard.table_quiet(database) {
            let place = (number, database);
            match self.volatile {
                true => self.segments_with_expiry(table, place),
                false => self.any_segments(table, place),
            }
        }
        true
    }

    /// The same in the database where something expires first. When the next thing does may become known better.
    fn look_for_soonest(&mut self, shard: &mut Shard, number: usize) -> bool {
        let there = shard.databases().filter(|(_, table)| table.expires() > 0);
        let Some((database, _)) = there.min_by_key(|(_, table)| table.soonest()) else { return false };
        if let Some(table) = shard.table_mut(database) {
            self.soonest_segments(table, (number, database));
        }
        true
    }

    /// A database, as likely as it has many keys that may go.
    fn choose_database(&mut self, shard: &Shard) -> Option<usize> {
        let volatile = self.volatile;
        let keys = |table: &Table| if volatile { table.expires() } else { table.len() };
        let total: usize = shard.databases().map(|(_, table)| keys(table)).sum();
        let mut drawn = self.rng.index(total);
        let chosen = shard.databases().find(|(_, table)| {
            let here = drawn < keys(table);
            drawn = drawn.wrapping_sub(keys(table));
            here
        });
        chosen.map(|(database, _)| database)
    }

    /// Whether enough was seen, where that does not go by what is known of the rest.
    fn is_complete(&self) -> bool {
        !P::SOONEST && self.seen >= self.wanted || self.segments >= SEGMENTS
    }

    /// How many samples to take of a table of so many keys that may go.
    fn batch(&self, keys: usize) -> usize {
        if keys >= ROOMY && self.segments == 0 { BATCH } else { 1 }
    }

    /// Begins another sample of a batch.
    fn begin(&mut self) {
        self.seen = 0;
        self.victims = VICTIMS_OF_BATCH;
    }

    fn any_segments(&mut self, table: &Table, place: (usize, usize)) {
        let segments = table.segments() as u32;
        let firsts: SmallVec<[u32; BATCH]> =
            (0..self.batch(table.len())).map(|_| self.rng.index(segments as usize) as u32).collect();
        firsts.iter().for_each(|segment| table.prefetch_words(*segment));
        for (nth, &first) in firsts.iter().enumerate() {
            if nth > 0 {
                self.begin();
            }
            for segment in (first..segments).chain(0..first) {
                self.look_at(table, segment, place);
                if self.seen >= self.wanted {
                    break;
                }
            }
        }
    }

    fn segments_with_expiry(&mut self, table: &mut Table, place: (usize, usize)) {
        // As many segments as hold enough if all hold alike, and no more samples than segments may be visited.
        let missing = self.wanted.saturating_sub(self.seen);
        let needed = (missing * table.segments_with_expiry()).div_ceil(table.expires().max(1)) + 1;
        let needed = needed.min(SEGMENTS_PER_SHARD);
        let batch = self.batch(table.expires()).min(SEGMENTS_PER_SHARD / needed).max(1);
        let drawn: SmallVec<[SmallVec<[u32; 4]>; BATCH]> =
            (0..batch).map(|_| self.draw_with_expiry(table, needed)).collect();
        for (nth, segments) in drawn.into_iter().enumerate() {
            if nth > 0 {
                self.begin();
            }
            for segment in segments {
                if self.look_at(table, segment, place) == 0 {
                    table.refresh_deadline(segment);
                }
                if self.seen >= self.wanted {
                    break;
                }
            }
        }
    }

    /// Draws segments that may hold keys with an expiry, one next to the other, and asks for them.
    fn draw_with_expiry(&mut self, table: &Table, needed: usize) -> SmallVec<[u32; 4]> {
        let segments = table.segments_with_expiry();
        let first = self.rng.index(segments);
        let nths = (first..segments).chain(0..first).take(needed);
        let drawn: SmallVec<[u32; 4]> = nths.filter_map(|nth| table.nth_segment_with_expiry(nth)).collect();
        drawn.iter().for_each(|segment| table.prefetch_words(*segment));
        drawn
    }

    fn soonest_segments(&mut self, table: &mut Table, place: (usize, usize)) {
        let mut found = 0;
        for _ in 0..SEGMENTS_PER_SHARD {
            let Some((_, segment)) = table.soonest() else { break };
            table.words(segment).for_each(|(_, word)| prefetch(table.address(word)));
            found += self.look_at(table, segment, place);
            // If the bound was too low, the next expiry may be elsewhere.
            if !table.refresh_deadline(segment) {
                break;
            }
        }
        if found == 0 {
            // What expires soonest are fields of hashes that stay.
            self.segments_with_expiry(table, place);
        }
    }

    /// Looks at one segment; how many of its entries may go.
    #[inline]
    fn look_at(&mut self, table: &Table, segment: u32, (shard, database): (usize, usize)) -> usize {
        let before = self.seen;
        let most = self.policy.most_by_note(table);
        let youngest = |pool: &Pool| pool.bar().map_or(0, |bar| self.policy.youngest(bar, most));
        let mut too_young = youngest(self.pool);
        for (pos, word) in table.words(segment) {
            if self.volatile && !word.expires() {
                continue;
            }
            self.seen += 1;
            if word.age(self.tick) < too_young && !word.owns()
                || !self.pool.admits(self.policy.bound(word, self.tick, most))
            {
                continue;
            }
            let seen = Seen { word, note: self.policy.note(table, pos, self.rng) };
            let rank = self.policy.rank(seen, self.tick);
            if self.pool.admits(rank) {
                let address = table.address(word).addr();
                self.pool.offer(Candidate { shard, database, pos, seen, address }, rank);
                too_young = youngest(self.pool);
            }
        }
        self.segments += 1;
        self.seen - before
    }
}
