//! All shards behind their locks. [`Keyspace::lock`] is the only place that locks a shard.
//!
//! A key's shard is chosen by the low bits of its hash; tag and directory use other bits. Shards are locked in
//! ascending order, each request's all at once, so that no two requests can wait for each other. After the
//! shards come, in this order, the effects log, the channel table and the outboxes, all of the server.
//!
//! A script may hold shards for long, and may come to need further ones while it holds some. So it [claims](Keyspace::claim)
//! them, one script at a time: only a claim grows, out of order, and nobody else waits for a claimed shard while it
//! holds another, nor longer than a moment while it holds none. [`Keyspace::try_lock`] answers `None` instead.
//!
//! Each shard's mutex also guards an `X` of the server's: what must change together with the keys, such as watched
//! keys and waiting clients.

use std::ops::{BitOr, BitOrAssign};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};

use crate::cpu::prefetch_to_write;
use crate::evict::samples::Slice;
use crate::hasher::Hasher;
use crate::heap;
use crate::region::Regions;
use crate::rng::Rng;
use crate::shard::Shard;

/// How long a thread waits for a shard between two looks at who has claimed it: most scripts end within that.
const PATIENCE: Duration = Duration::from_micros(200);

/// The most shards there can be: a set of them is a `u64`.
pub const MAX_SHARDS: usize = 64;

/// A set of shards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShardSet(u64);

impl ShardSet {
    /// No shard.
    pub const NONE: Self = Self(0);

    /// Just this shard.
    #[inline]
    pub fn one(shard: usize) -> Self {
        Self(1 << shard)
    }

    /// Whether no shard is in it.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether all shards of `other` are in it.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// How many shards are in it.
    pub fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    #[inline]
    fn has(self, shard: usize) -> bool {
        self.0 >> shard & 1 == 1
    }

    /// How many shards below this one are in it.
    fn rank(self, shard: usize) -> usize {
        (self.0 & ((1 << shard) - 1)).count_ones() as usize
    }

    /// The shard, if it is just one.
    #[inline]
    fn only(self) -> Option<usize> {
        self.0.is_power_of_two().then(|| self.0.trailing_zeros() as usize)
    }

    fn iter(self) -> impl Iterator<Item = usize> {
        let mut left = self.0;
        std::iter::from_fn(move || {
            let shard = left.trailing_zeros() as usize;
            left &= left.wrapping_sub(1);
            (shard < MAX_SHARDS).then_some(shard)
        })
    }
}

impl BitOr for ShardSet {
    type Output = Self;
    #[inline]
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for ShardSet {
    #[inline]
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// What one mutex guards.
pub struct Guarded<X> {
    /// The keys.
    pub shard: Shard,
    /// What the server keeps beside them.
    pub extra: X,
}

/// A mutex on cache lines of its own, the lock first, and when something in it expires next.
#[repr(C, align(128))]
struct Lane<X> {
    guarded: Mutex<Guarded<X>>,
    /// A lower bound of the earliest expiry, readable without the lock; `u64::MAX` for none.
    next_due: AtomicU64,
}

/// How a keyspace is made.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Shards: a power of two, at most [`MAX_SHARDS`].
    pub shards: usize,
    /// Databases.
    pub databases: usize,
    /// Seed of the hash and of every random choice.
    pub seed: u64,
}

/// What all threads write, on cache lines of its own, away from what they only read.
#[repr(align(128))]
struct Totals {
    /// Live bytes of all shards, as of their last unlocking.
    used: AtomicI64,
    /// Counts inserts, 256 per turnover of the cache: the unit of an entry's age.
    tick: AtomicU32,
}

/// See the module's page.
pub struct Keyspace<X> {
    lanes: Box<[Lane<X>]>,
    databases: usize,
    hasher: Hasher,
    regions: Arc<Regions>,
    slice: Slice,
    totals: Totals,
    /// The shards that a script has claimed.
    claimed: AtomicU64,
    #[cfg(debug_assertions)]
    number: u64,
}

impl<X> Keyspace<X> {
    /// An empty keyspace.
    pub fn new(options: Options) -> Self
    where
        X: Default,
    {
        let shards = options.shards.clamp(1, MAX_SHARDS).next_power_of_two();
        let lane = |number: usize| Lane {
            guarded: Mutex::new(Guarded {
                shard: Shard::new(options.databases, shards, Rng::seeded(options.seed ^ (number as u64 + 1))),
                extra: X::default(),
            }),
            next_due: AtomicU64::new(u64::MAX),
        };
        let lanes: Box<[Lane<X>]> = (0..shards).map(lane).collect();
        let fixed = size_of_val(&*lanes) + shards * Shard::fixed_bytes(options.databases);
        Self {
            lanes,
            databases: options.databases,
            hasher: Hasher::seeded(options.seed),
            regions: Regions::with_huge_pages(),
            slice: Slice::default(),
            totals: Totals { used: AtomicI64::new(fixed as i64), tick: AtomicU32::new(0) },
            claimed: AtomicU64::new(0),
            #[cfg(debug_assertions)]
            number: {
                static COUNT: AtomicU64 = AtomicU64::new(0);
                COUNT.fetch_add(1, Ordering::Relaxed)
            },
        }
    }

    /// The hash of a key; every other method that wants a hash wants this one.
    #[inline]
    pub fn hash(&self, key: &[u8]) -> u64 {
        self.hasher.hash(key)
    }

    /// The hasher itself.
    pub fn hasher(&self) -> Hasher {
        self.hasher
    }

    /// Where pages come from.
    pub fn regions(&self) -> &Arc<Regions> {
        &self.regions
    }

    /// Gives memory that nobody uses back to the system, of pages and of the heap: all that may be, or of the heap only the
    /// maps that were not needed for a while.
    pub fn purge(&self, all: bool) {
        self.regions.purge();
        heap::purge(all);
    }

    /// The keys whose use the eviction policy wants to hear of.
    #[inline]
    pub fn slice(&self) -> &Slice {
        &self.slice
    }

    /// How many shards there are.
    pub fn shards(&self) -> usize {
        self.lanes.len()
    }

    /// How many databases there are.
    pub fn databases(&self) -> usize {
        self.databases
    }

    /// The number of the shard that a hash falls into.
    #[inline]
    pub fn shard_of(&self, hash: u64) -> usize {
        hash as usize & (self.lanes.len() - 1)
    }

    /// The set of the one shard that a hash falls into.
    #[inline]
    pub fn set_of(&self, hash: u64) -> ShardSet {
        ShardSet::one(self.shard_of(hash))
    }

    /// All shards.
    pub fn all(&self) -> ShardSet {
        ShardSet(u64::MAX >> (MAX_SHARDS - self.lanes.len()))
    }

    /// Live bytes: entries rounded to their class, segments, directories and what values own, and the shards themselves,
    /// so that it is never nothing: a limit of one byte refuses every write. While shards are locked, their changes
    /// are not in it yet.
    #[inline]
    pub fn used_memory(&self) -> usize {
        self.totals.used.load(Ordering::Relaxed).max(0) as usize
    }

    /// The present tick.
    #[inline]
    pub fn tick(&self) -> u32 {
        self.totals.tick.load(Ordering::Relaxed)
    }

    /// Moves the tick on, as time does at least once a second.
    pub fn advance_tick(&self) {
        self.totals.tick.fetch_add(1, Ordering::Relaxed);
    }

    /// A lower bound of a shard's earliest expiry, without locking it.
    #[inline]
    pub fn next_due(&self, shard: usize) -> u64 {
        self.lanes[shard].next_due.load(Ordering::Relaxed)
    }

    /// Locks these shards, in ascending order, until the result is dropped. Nothing may lock while it lives. Waits for
    /// as long as a script has claimed one of them.
    #[inline]
    pub fn lock(&self, set: ShardSet) -> Locked<'_, X> {
        loop {
            if let Some(locked) = self.try_lock(set) {
                return locked;
            }
        }
    }

    /// As [`Keyspace::lock`]; `None` when a script has claimed one of the shards and does not let it go soon.
    #[inline]
    pub fn try_lock(&self, set: ShardSet) -> Option<Locked<'_, X>> {
        let guards = match set.only() {
            Some(shard) => Guards::One(self.wait_for(shard)?),
            None => Guards::Many(set.iter().map(|shard| self.wait_for(shard)).collect::<Option<_>>()?),
        };
        #[cfg(debug_assertions)]
        nesting::enter(self.number);
        Some(Locked { keyspace: self, set, guards, claims: false })
    }

    #[inline]
    fn wait_for(&self, shard: usize) -> Option<MutexGuard<'_, Guarded<X>>> {
        let lane = &self.lanes[shard].guarded;
        lane.try_lock().or_else(|| self.wait_long(shard))
    }

    /// Waits for a shard that is held, unless that is claimed.
    #[cold]
    fn wait_long(&self, shard: usize) -> Option<MutexGuard<'_, Guarded<X>>> {
        #[cfg(debug_assertions)]
        nesting::check(self.number);
        loop {
            let guard = self.lanes[shard].guarded.try_lock_for(PATIENCE);
            if guard.is_some() || self.claimed().has(shard) {
                return guard;
            }
        }
    }

    /// The shards that a script has claimed.
    #[inline]
    pub fn claimed(&self) -> ShardSet {
        ShardSet(self.claimed.load(Ordering::SeqCst))
    }

    /// Locks these shards for a script, which may [take further ones](Locked::extend). There must be one claim at a
    /// time at most.
    pub fn claim(&self, set: ShardSet) -> Locked<'_, X> {
        #[cfg(debug_assertions)]
        nesting::enter(self.number);
        let mut locked = Locked { keyspace: self, set: ShardSet::NONE, guards: Guards::Many(Vec::new()), claims: true };
        locked.extend(set);
        locked
    }

    /// Makes what has changed in a shard visible to all.
    #[inline]
    fn publish(&self, number: usize, shard: &mut Shard) {
        let change = shard.take_change();
        if change.bytes != 0 {
            self.totals.used.fetch_add(change.bytes, Ordering::Relaxed);
        }
        if change.ticks != 0 {
            self.totals.tick.fetch_add(change.ticks, Ordering::Relaxed);
        }
        if let Some(at) = change.next_due {
            self.lanes[number].next_due.store(at, Ordering::Relaxed);
        }
    }

    /// Asks for the lock of a key's shard, before a batch of look-ups takes several.
    #[inline]
    pub fn prefetch_lock(&self, hash: u64) {
        prefetch_to_write(&raw const self.lanes[self.shard_of(hash)]);
    }

    /// Locks one shard for a step of a batched look-up, unless somebody holds it: what is only asked for ahead is not
    /// worth waiting for.
    #[inline]
    pub fn peek<R>(&self, hash: u64, step: impl FnOnce(&Shard) -> R) -> Option<R> {
        self.lanes[self.shard_of(hash)].guarded.try_lock().map(|guarded| step(&guarded.shard))
    }
}

/// Finds a thread that locks while it holds shards, which could wait for ever.
#[cfg(debug_assertions)]
mod nesting {
    use std::cell::RefCell;

    thread_local!(static HELD: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) });

    pub(super) fn enter(number: u64) {
        check(number);
        HELD.with_borrow_mut(|held| held.push(number));
    }

    pub(super) fn check(number: u64) {
        HELD.with_borrow(|held| assert!(!held.contains(&number), "a keyspace is locked while it is held"));
    }

    pub(super) fn leave(number: u64) {
        HELD.with_borrow_mut(|held| held.retain(|other| *other != number));
    }
}

/// Some shards, held until it is dropped.
pub struct Locked<'k, X> {
    keyspace: &'k Keyspace<X>,
    set: ShardSet,
    guards: Guards<'k, X>,
    /// Whether these shards are a script's.
    claims: bool,
}

/// Most commands have one key, hence one shard, and need no list.
enum Guards<'k, X> {
    One(MutexGuard<'k, Guarded<X>>),
    /// None, or several in ascending order.
    Many(Vec<MutexGuard<'k, Guarded<X>>>),
}

impl<'k, X> Guards<'k, X> {
    #[inline]
    fn all(&self) -> &[MutexGuard<'k, Guarded<X>>] {
        match self {
            Self::One(guard) => std::slice::from_ref(guard),
            Self::Many(guards) => guards,
        }
    }

    #[inline]
    fn all_mut(&mut self) -> &mut [MutexGuard<'k, Guarded<X>>] {
        match self {
            Self::One(guard) => std::slice::from_mut(guard),
            Self::Many(guards) => guards,
        }
    }
}

impl<'k, X> Locked<'k, X> {
    /// The keyspace.
    #[inline]
    pub fn keyspace(&self) -> &'k Keyspace<X> {
        self.keyspace
    }

    /// The shards that are held.
    #[inline]
    pub fn set(&self) -> ShardSet {
        self.set
    }

    /// Locks further shards, of a claim: whoever holds one of them lets it go before it waits for one of these.
    pub fn extend(&mut self, set: ShardSet) {
        debug_assert!(self.claims, "only a claim grows");
        let more = ShardSet(set.0 & !self.set.0);
        if more.is_empty() {
            return;
        }
        self.keyspace.claimed.store((self.set | more).0, Ordering::SeqCst);
        if self.set.is_empty()
            && let Some(shard) = more.only()
        {
            // One shard, as most scripts need, takes no list.
            self.guards = Guards::One(self.keyspace.lanes[shard].guarded.lock());
            self.set = more;
            return;
        }
        let mut all = match std::mem::replace(&mut self.guards, Guards::Many(Vec::new())) {
            Guards::One(guard) => vec![guard],
            Guards::Many(guards) => guards,
        };
        for shard in more.iter() {
            let guard = self.keyspace.lanes[shard].guarded.lock();
            all.insert(self.set.rank(shard), guard);
            self.set |= ShardSet::one(shard);
        }
        self.guards = Guards::Many(all);
    }

    /// The shard (and what the server keeps beside it) that a hash falls into. It must be one of those held.
    #[inline]
    pub fn of(&mut self, hash: u64) -> &mut Guarded<X> {
        let shard = self.keyspace.shard_of(hash);
        assert!(self.set.has(shard), "the shard is held");
        match &mut self.guards {
            Guards::One(guard) => guard,
            Guards::Many(guards) => &mut guards[self.set.rank(shard)],
        }
    }

    /// As [`Locked::of`], for reading.
    pub fn of_ref(&self, hash: u64) -> &Guarded<X> {
        let shard = self.keyspace.shard_of(hash);
        assert!(self.set.has(shard), "the shard is held");
        &self.guards.all()[self.set.rank(shard)]
    }

    /// The shard that is held, if it is just one.
    pub fn only(&mut self) -> Option<&mut Guarded<X>> {
        match &mut self.guards {
            Guards::One(guard) => Some(guard),
            Guards::Many(_) => None,
        }
    }

    /// The shards that are held, ascending, with their numbers.
    pub fn each(&mut self) -> impl Iterator<Item = (usize, &mut Guarded<X>)> {
        self.set.iter().zip(self.guards.all_mut().iter_mut().map(|guard| &mut **guard))
    }

    /// As [`Locked::each`], for reading.
    pub fn each_ref(&self) -> impl Iterator<Item = (usize, &Guarded<X>)> {
        self.set.iter().zip(self.guards.all().iter().map(|guard| &**guard))
    }

    /// Makes the changes so far visible in [`Keyspace::used_memory`] and [`Keyspace::next_due`].
    #[inline]
    pub fn publish(&mut self) {
        match &mut self.guards {
            Guards::One(guard) => {
                if guard.shard.has_changed() {
                    self.keyspace.publish(self.set.0.trailing_zeros() as usize, &mut guard.shard);
                }
            }
            Guards::Many(guards) => {
                for (number, guard) in self.set.iter().zip(guards) {
                    if guard.shard.has_changed() {
                        self.keyspace.publish(number, &mut guard.shard);
                    }
                }
            }
        }
    }
}

impl<X> Drop for Locked<'_, X> {
    #[inline]
    fn drop(&mut self) {
        self.publish();
        if self.claims {
            // First the guards, so that a shard that looks unclaimed is free.
            self.guards = Guards::Many(Vec::new());
            self.keyspace.claimed.store(0, Ordering::SeqCst);
        }
        #[cfg(debug_assertions)]
        nesting::leave(self.keyspace.number);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::thread;

    use super::*;

    fn keyspace() -> Keyspace<()> {
        Keyspace::new(Options { shards: 8, databases: 1, seed: 1 })
    }

    fn set(shards: &[usize]) -> ShardSet {
        shards.iter().fold(ShardSet::NONE, |set, shard| set | ShardSet::one(*shard))
    }

    #[test]
    fn nobody_waits_for_what_is_claimed() {
        let keyspace = keyspace();
        let claim = keyspace.claim(set(&[2, 5]));
        thread::scope(|scope| {
            scope.spawn(|| {
                assert!(keyspace.try_lock(set(&[5])).is_none());
                assert!(keyspace.try_lock(set(&[0, 1, 2])).is_none());
                // What was locked before the claimed one is free again.
                assert!(keyspace.try_lock(set(&[0, 1, 3])).is_some());
            });
        });
        drop(claim);
        assert!(keyspace.claimed().is_empty());
        assert!(keyspace.try_lock(keyspace.all()).is_some());
    }

    #[test]
    fn a_claim_grows_in_any_order_among_others() {
        let (keyspace, is_over) = (keyspace(), AtomicBool::new(false));
        thread::scope(|scope| {
            for first in 0..3 {
                let (keyspace, is_over) = (&keyspace, &is_over);
                scope.spawn(move || {
                    while !is_over.load(Ordering::Relaxed) {
                        drop(keyspace.try_lock(set(&[first, 4, 7 - first])));
                    }
                });
            }
            for round in 0..300_usize {
                let mut claim = keyspace.claim(set(&[7 - round % 3]));
                for step in 0..8 {
                    claim.extend(set(&[(round * 3 + step * 5) % 8]));
                }
                assert_eq!(claim.set(), keyspace.all());
                assert!(claim.each().map(|(number, _)| number).eq(0..8));
            }
            is_over.store(true, Ordering::Relaxed);
        });
    }
}
