//! Pages of memory for the slabs, cut from large anonymous maps and given back to the system when free.
//!
//! A **region** is 4 MiB of pages in one map. A free page is *clean* (the system backs it by nothing) or *dirty* (it
//! still holds memory). Pages are handed out dirty first, since those cost no page fault, then from the oldest region,
//! so that the younger ones can drain. At most `RESERVE` pages and a batch stay dirty: what is beyond goes back with
//! one `madvise` per run of adjacent pages. A region whose pages are all free is unmapped, but for one. Pages are also
//! handed out in parts; see [`blocks`], and for huge pages [`huge`].
//!
//! The mutex inside is a leaf lock: nothing else is locked while it is held. No page is given back to the system and no
//! region unmapped under it; pages on their way out belong to nobody meanwhile.
//!
//! Invariants: a region's dirty pages are a subset of its free ones; `open` and `soiled` name exactly the regions that
//! have a free and a dirty page; which page comes next depends on the order of calls, never on an address.

#![expect(unsafe_code, reason = "hands out raw pages of a map and advises the system about them")]

mod blocks;
mod huge;

pub use blocks::BLOCK_UNIT;
use blocks::Blocks;
use huge::advise_huge;
use memmap2::{MmapMut, MmapRaw};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Bytes of a page, and its alignment.
pub const PAGE: usize = 16 * 1024;

const PAGES_PER_REGION: usize = 256;
const REGION: usize = PAGE * PAGES_PER_REGION;

/// Free pages that stay backed by memory (512 KiB), so that a page that comes and goes costs no system call.
const RESERVE: usize = 32;

/// Pages that may be dirty above the reserve before they are given back; also the most given back under one lock, but for
/// those of a region that had huge pages.
const BATCH: usize = 32;

/// Where `madvise` is missing, only unmapping a region returns memory.
const RETURNS_PAGES: bool = cfg!(unix);

/// The source of pages, shared by the slabs of all threads.
#[derive(Debug)]
pub struct Regions {
    inner: Mutex<Inner>,
    huge_pages: bool,
    /// See [`Regions::loose_bytes`].
    loose: AtomicUsize,
    /// Bytes of all blocks that were ever given back.
    given: AtomicUsize,
}

impl Regions {
    /// An empty source. The system's own setting decides whether huge pages back it.
    pub fn new() -> Arc<Regions> {
        Arc::new(Regions::with(false))
    }

    /// An empty source that asks the system to back it by huge pages (Linux, `MADV_HUGEPAGE`; elsewhere the same as
    /// [`Regions::new`]). Fewer TLB misses, but a page given back may split a huge page, whose memory the system
    /// reclaims later. The first region is not backed so from the start, as a barely used one would occupy 2 MiB.
    pub fn with_huge_pages() -> Arc<Regions> {
        Arc::new(Regions::with(true))
    }

    fn with(huge_pages: bool) -> Regions {
        Regions {
            inner: Mutex::new(Inner::default()),
            huge_pages,
            loose: AtomicUsize::new(0),
            given: AtomicUsize::new(0),
        }
    }

    /// Hands out [`PAGE`] bytes aligned to [`PAGE`], all initialized: zero if the page is fresh, else what was last
    /// written there. `None` if the system has no memory to map. The page belongs to the caller until it is given
    /// back, and must not be used after the last `Arc` of this source is gone.
    pub fn take(&self) -> Option<NonNull<u8>> {
        let mut inner = self.inner.lock();
        if inner.open.is_empty() {
            inner.map_region(self.huge_pages)?;
        }
        inner.take()
    }

    /// Takes a page back.
    ///
    /// # Safety
    ///
    /// `page` came from [`Regions::take`] of this source, was not given back since, and nothing uses it any more.
    pub unsafe fn give(&self, page: NonNull<u8>) {
        let (unmapped, too_dirty) = {
            let mut inner = self.inner.lock();
            let id = inner.give(page);
            let unmapped = inner.unmap_if_spare(id);
            (unmapped, RETURNS_PAGES && inner.dirty > RESERVE + BATCH)
        };
        drop(unmapped);
        if too_dirty {
            self.clean_down_to(RESERVE);
        }
    }

    /// Hands out a part of a page, a multiple of [`BLOCK_UNIT`] bytes long, in all else as [`Regions::take`] does a
    /// whole one.
    pub fn take_block(&self, length: usize) -> Option<NonNull<u8>> {
        let mut inner = self.inner.lock();
        if let Some((page, offset)) = inner.blocks.take(length) {
            self.note_loose(&inner);
            return Some(inner.pointer(page, offset));
        }
        if inner.open.is_empty() {
            inner.map_region(self.huge_pages)?;
        }
        let start = inner.take()?;
        let page = inner.number_of(start);
        let offset = inner.blocks.divide(page, length);
        self.note_loose(&inner);
        Some(inner.pointer(page, offset))
    }

    /// As [`Regions::take_block`], of a page that is used more than the one of `block`, which has the same length and
    /// comes from there; `None` if there is none.
    pub fn take_fuller(&self, block: NonNull<u8>, length: usize) -> Option<NonNull<u8>> {
        let mut inner = self.inner.lock();
        let page = inner.number_of(block);
        let (page, offset) = inner.blocks.take_fuller(page, length)?;
        Some(inner.pointer(page, offset))
    }

    /// Bytes that are free in divided pages; 0 while that is little beside all that is handed out.
    #[inline]
    pub fn loose_bytes(&self) -> usize {
        self.loose.load(Relaxed)
    }

    /// Whether a pass over blocks may find some to move: something is loose, and much of it came after a time at which
    /// `settled` was [`Regions::given_bytes`].
    #[inline]
    pub fn is_unsettled(&self, settled: usize) -> bool {
        const SHARE: usize = 8;
        let loose = self.loose_bytes();
        loose > 0 && self.given_bytes().wrapping_sub(settled) > loose / SHARE
    }

    /// Bytes of all blocks that were ever given back; it wraps.
    #[inline]
    pub fn given_bytes(&self) -> usize {
        self.given.load(Relaxed)
    }

    fn note_loose(&self, inner: &Inner) {
        /// More than a part in so many, and so many pages, is worth moving blocks for.
        const SHARE: usize = 64;
        const PAGES: usize = 8;
        let free = inner.blocks.free_bytes();
        let is_little = free <= inner.used * PAGE / SHARE + PAGES * PAGE;
        self.loose.store(if is_little { 0 } else { free }, Relaxed);
    }

    /// Takes a block back.
    ///
    /// # Safety
    ///
    /// `block` came from [`Regions::take_block`] of this source at this length, was not given back since, and nothing
    /// uses it any more.
    pub unsafe fn give_block(&self, block: NonNull<u8>, length: usize) {
        let start = {
            let mut inner = self.inner.lock();
            let page = inner.number_of(block);
            let start = inner.pointer(page, 0);
            let offset = block.as_ptr().addr() - start.as_ptr().addr();
            let is_whole = inner.blocks.give(page, offset, length);
            self.given.fetch_add(length, Relaxed);
            self.note_loose(&inner);
            is_whole.then_some(start)
        };
        if let Some(page) = start {
            // SAFETY: it came from `take`, and no block of it is in use.
            unsafe { self.give(page) };
        }
    }

    /// Bytes of the mapped regions, whether memory backs them or not.
    pub fn mapped_bytes(&self) -> usize {
        self.inner.lock().by_address.len() * REGION
    }

    /// Bytes of the pages that are handed out.
    pub fn used_bytes(&self) -> usize {
        self.inner.lock().used * PAGE
    }

    /// Bytes of free pages that memory still backs, at most 1 MiB where the system takes single pages back.
    pub fn reserve_bytes(&self) -> usize {
        self.inner.lock().dirty * PAGE
    }

    /// Gives the reserve back to the system too, and has huge pages where regions are in use as a whole. Meant for a
    /// background task, now and then.
    pub fn purge(&self) {
        if RETURNS_PAGES {
            self.clean_down_to(0);
            self.fit_huge_pages();
        }
        let unmapped = self.inner.lock().unmap_empty();
        drop(unmapped);
    }

    /// Gives dirty pages back until at most `limit` are left, a bounded number of pages (`BATCH` at most) a round.
    fn clean_down_to(&self, limit: usize) {
        // Each round cleans pages that were dirty at the start, so other threads that go on giving cannot hold it here.
        let mut rounds = RESERVE + BATCH;
        while rounds > 0 {
            rounds -= 1;
            let Some(departure) = self.inner.lock().depart(limit) else {
                return;
            };
            departure.clean();
            let unmapped = self.inner.lock().arrive(departure);
            drop(unmapped);
        }
    }
}

/// Lets the global allocator give memory back to the system that it does not use; false if nothing can be asked of it.
/// It may take a millisecond per few megabytes, and other threads' allocations wait meanwhile.
pub fn trim_allocator() -> bool {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        unsafe extern "C" {
            fn malloc_trim(keep: usize) -> i32;
        }
        // SAFETY: it takes any number, touches no memory that is in use, and may be called by any thread.
        unsafe { malloc_trim(0) == 1 }
    }
    #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
    false
}

#[derive(Debug, Default)]
struct Inner {
    /// Regions by id, in order of mapping; an id of an unmapped region is used again.
    regions: Vec<Option<Region>>,
    /// Start of a region's first page, and its id.
    by_address: BTreeMap<usize, usize>,
    /// How many there have been at once.
    most_mapped: usize,
    open: BTreeSet<usize>,
    soiled: BTreeSet<usize>,
    /// Ids of the regions whose pages are all free.
    empty: BTreeSet<usize>,
    used: usize,
    dirty: usize,
    /// The parts of pages that are handed out in parts.
    blocks: Blocks,
}

/// One map. `free` lacks the pages that are handed out and those on their way back to the system.
#[derive(Debug)]
struct Region {
    map: Arc<MmapRaw>,
    /// Bytes from the start of the map to the first page.
    lead: usize,
    free: PageSet,
    dirty: PageSet,
    /// Whether the system may back it by huge pages: then free pages may be backed though nobody has used them.
    huge: bool,
}

/// Pages on their way back to the system: for the time being neither free nor handed out.
struct Departure {
    id: usize,
    map: Arc<MmapRaw>,
    lead: usize,
    pages: PageSet,
    /// Whether the region loses its huge pages first.
    was_huge: bool,
}

impl Inner {
    /// Maps a region; its id is the lowest that is free.
    fn map_region(&mut self, huge_pages: bool) -> Option<()> {
        let alignment = if huge_pages { 2 * 1024 * 1024 } else { PAGE };
        let map = MmapRaw::from(MmapMut::map_anon(REGION + alignment).ok()?);
        let start = map.as_ptr().addr();
        let lead = start.next_multiple_of(alignment) - start;
        // The first one may stay almost empty, and so may one that only takes the place of another.
        let grows = self.by_address.len() >= self.most_mapped;
        let huge = huge_pages && grows && !self.by_address.is_empty();
        if huge {
            advise_huge(&map, lead, true);
        }
        let region = Region { map: Arc::new(map), lead, free: PageSet::ALL, dirty: PageSet::NONE, huge };
        let id = match self.regions.iter().position(Option::is_none) {
            Some(id) => {
                self.regions[id] = Some(region);
                id
            }
            None => {
                self.regions.push(Some(region));
                self.regions.len() - 1
            }
        };
        self.by_address.insert(start + lead, id);
        self.most_mapped = self.most_mapped.max(self.by_address.len());
        self.open.insert(id);
        self.empty.insert(id);
        Some(())
    }

    fn take(&mut self) -> Option<NonNull<u8>> {
        let id = *self.soiled.first().or_else(|| self.open.first())?;
        let region = self.regions.get_mut(id)?.as_mut()?;
        if region.free == PageSet::ALL {
            self.empty.remove(&id);
        }
        let page = match region.dirty.first() {
            Some(page) => {
                region.dirty.remove(page);
                self.dirty -= 1;
                if region.dirty.is_empty() {
                    self.soiled.remove(&id);
                }
                page
            }
            None => region.free.first()?,
        };
        region.free.remove(page);
        if region.free.is_empty() {
            self.open.remove(&id);
        }
        self.used += 1;
        let offset = region.lead + page * PAGE;
        // SAFETY: the map holds `lead` bytes and then all pages of the region.
        NonNull::new(unsafe { region.map.as_mut_ptr().add(offset) })
    }

    /// The number of the page that holds an address. Panics if this source never handed it out.
    fn number_of(&self, address: NonNull<u8>) -> usize {
        let address = address.as_ptr().addr();
        let owner = self.by_address.range(..=address).next_back();
        let (start, id) = owner.map_or((usize::MAX, usize::MAX), |(&start, &id)| (start, id));
        let index = address.wrapping_sub(start) / PAGE;
        assert!(index < PAGES_PER_REGION, "a page that is not of these regions");
        id * PAGES_PER_REGION + index
    }

    /// Where the page of a number is, and `offset` bytes on. Panics if there is none.
    fn pointer(&self, page: usize, offset: usize) -> NonNull<u8> {
        let (id, index) = (page / PAGES_PER_REGION, page % PAGES_PER_REGION);
        let Some(Some(region)) = self.regions.get(id) else {
            panic!("a page that is not of these regions");
        };
        assert!(offset < PAGE);
        let offset = region.lead + index * PAGE + offset;
        // SAFETY: the map holds `lead` bytes and then all pages of the region, and does not begin at address 0.
        unsafe { NonNull::new_unchecked(region.map.as_mut_ptr().add(offset)) }
    }

    /// Marks a page free and dirty; the id of its region. Panics if this source never handed it out.
    fn give(&mut self, page: NonNull<u8>) -> usize {
        let address = page.as_ptr().addr();
        let owner = self.by_address.range(..=address).next_back();
        let (start, id) = owner.map_or((usize::MAX, usize::MAX), |(&start, &id)| (start, id));
        let index = address.wrapping_sub(start) / PAGE;
        let Some(Some(region)) = self.regions.get_mut(id) else {
            panic!("a page that is not of these regions");
        };
        assert!(index < PAGES_PER_REGION && !region.free.contains(index), "a page given back twice");
        if region.free.is_empty() {
            self.open.insert(id);
        }
        if region.dirty.is_empty() {
            self.soiled.insert(id);
        }
        region.free.insert(index);
        region.dirty.insert(index);
        if region.free == PageSet::ALL {
            self.empty.insert(id);
        }
        self.used -= 1;
        self.dirty += 1;
        id
    }

    /// Takes the dirty pages of the youngest region that has some, a batch at most, out of what is free. `None` when
    /// no more than `limit` pages are dirty.
    fn depart(&mut self, limit: usize) -> Option<Departure> {
        let surplus = self.dirty.checked_sub(limit).filter(|&pages| pages > 0)?;
        let id = *self.soiled.last()?;
        let region = self.regions.get_mut(id)?.as_mut()?;
        let was_huge = std::mem::take(&mut region.huge);
        let pages = if was_huge { region.free } else { region.dirty.last_pages(surplus.min(BATCH)) };
        Some(self.take_out(id, pages, was_huge))
    }

    /// Takes free pages of a region out of what is free.
    fn take_out(&mut self, id: usize, pages: PageSet, was_huge: bool) -> Departure {
        let Some(Some(region)) = self.regions.get_mut(id) else {
            panic!("pages of no region");
        };
        if region.free == PageSet::ALL {
            self.empty.remove(&id);
        }
        let dirty = region.dirty.len();
        region.dirty.subtract(&pages);
        region.free.subtract(&pages);
        let cleaned = dirty - region.dirty.len();
        if region.dirty.is_empty() {
            self.soiled.remove(&id);
        }
        if region.free.is_empty() {
            self.open.remove(&id);
        }
        self.dirty -= cleaned;
        Departure { id, map: region.map.clone(), lead: region.lead, pages, was_huge }
    }

    /// Marks pages that were given back to the system free and clean. Returns the region if it is to be unmapped.
    fn arrive(&mut self, departure: Departure) -> Option<Region> {
        let id = departure.id;
        let region = self.regions.get_mut(id)?.as_mut()?;
        region.free.add(&departure.pages);
        self.open.insert(id);
        if region.free == PageSet::ALL {
            self.empty.insert(id);
        }
        self.unmap_if_spare(id)
    }

    /// Forgets the region if all of its pages are free and another such region is there to serve the next page.
    fn unmap_if_spare(&mut self, id: usize) -> Option<Region> {
        (self.empty.len() > 1 && self.empty.contains(&id)).then(|| self.forget(id))?
    }

    /// Forgets all regions whose pages are all free.
    fn unmap_empty(&mut self) -> Vec<Region> {
        let ids: Vec<usize> = self.empty.iter().copied().collect();
        ids.into_iter().filter_map(|id| self.forget(id)).collect()
    }

    fn forget(&mut self, id: usize) -> Option<Region> {
        let region = self.regions.get_mut(id)?.take()?;
        self.by_address.remove(&(region.map.as_ptr().addr() + region.lead));
        self.open.remove(&id);
        self.soiled.remove(&id);
        self.empty.remove(&id);
        self.dirty -= region.dirty.len();
        Some(region)
    }
}

impl Departure {
    /// Gives the pages back to the system, a run of adjacent pages at a time.
    fn clean(&self) {
        if self.was_huge {
            advise_huge(&self.map, self.lead, false);
        }
        for run in self.pages.runs() {
            let offset = self.lead + run.start * PAGE;
            // SAFETY: the pages are free and `depart` took them out of what is handed out, so nobody refers to them.
            // A refusal (of locked memory, for one) leaves them backed, which costs memory and breaks nothing.
            #[cfg(unix)]
            let _ = unsafe { self.map.unchecked_advise_range(DONT_NEED, offset, run.len() * PAGE) };
            #[cfg(not(unix))]
            let _ = (&self.map, offset);
        }
    }
}

#[cfg(all(unix, not(target_vendor = "apple")))]
const DONT_NEED: memmap2::UncheckedAdvice = memmap2::UncheckedAdvice::DontNeed;

/// There `MADV_DONTNEED` keeps the memory.
#[cfg(target_vendor = "apple")]
const DONT_NEED: memmap2::UncheckedAdvice = memmap2::UncheckedAdvice::Free;

const WORDS: usize = PAGES_PER_REGION / 64;

/// A set of pages of one region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct PageSet([u64; WORDS]);

impl PageSet {
    const ALL: PageSet = PageSet([u64::MAX; WORDS]);
    const NONE: PageSet = PageSet([0; WORDS]);

    fn contains(&self, page: usize) -> bool {
        self.0[page / 64] >> (page % 64) & 1 == 1
    }

    fn insert(&mut self, page: usize) {
        self.0[page / 64] |= 1 << (page % 64);
    }

    fn remove(&mut self, page: usize) {
        self.0[page / 64] &= !(1 << (page % 64));
    }

    fn add(&mut self, other: &PageSet) {
        for (word, other) in self.0.iter_mut().zip(other.0) {
            *word |= other;
        }
    }

    fn subtract(&mut self, other: &PageSet) {
        for (word, other) in self.0.iter_mut().zip(other.0) {
            *word &= !other;
        }
    }

    fn is_empty(&self) -> bool {
        *self == PageSet::NONE
    }

    fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    fn first(&self) -> Option<usize> {
        let word = self.0.iter().position(|&word| word != 0)?;
        Some(word * 64 + self.0[word].trailing_zeros() as usize)
    }

    fn last(&self) -> Option<usize> {
        let word = self.0.iter().rposition(|&word| word != 0)?;
        Some(word * 64 + 63 - self.0[word].leading_zeros() as usize)
    }

    /// The `count` highest pages, or all if there are fewer.
    fn last_pages(mut self, count: usize) -> PageSet {
        let mut pages = PageSet::NONE;
        for _ in 0..count {
            let Some(page) = self.last() else { break };
            self.remove(page);
            pages.insert(page);
        }
        pages
    }

    /// The runs of adjacent pages, ascending.
    fn runs(mut self) -> impl Iterator<Item = Range<usize>> {
        std::iter::from_fn(move || {
            let start = self.first()?;
            let mut end = start;
            while end < PAGES_PER_REGION && self.contains(end) {
                self.remove(end);
                end += 1;
            }
            Some(start..end)
        })
    }
}

#[cfg(test)]
impl Regions {
    fn give_for_test(&self, page: NonNull<u8>) {
        // SAFETY: the tests give back pages that they took, once.
        unsafe { self.give(page) };
    }

    /// Panics unless the invariants at the top hold. No other thread may be giving a page back.
    fn validate(&self) {
        let inner = self.inner.lock();
        inner.blocks.validate();
        let (mut used, mut dirty) = (0, 0);
        for (id, region) in inner.regions.iter().enumerate() {
            let free = region.as_ref().map_or(PageSet::NONE, |region| region.free);
            let soil = region.as_ref().map_or(PageSet::NONE, |region| region.dirty);
            let mut both = free;
            both.add(&soil);
            assert_eq!(both, free, "a dirty page that is not free");
            assert_eq!(inner.open.contains(&id), !free.is_empty());
            assert_eq!(inner.soiled.contains(&id), !soil.is_empty());
            assert_eq!(inner.empty.contains(&id), free == PageSet::ALL);
            if let Some(region) = region {
                let start = region.map.as_ptr().addr() + region.lead;
                assert_eq!(start % PAGE, 0);
                assert_eq!(inner.by_address.get(&start), Some(&id));
                used += PAGES_PER_REGION - free.len();
                dirty += soil.len();
            }
        }
        let mapped = inner.regions.iter().flatten().count();
        assert_eq!(inner.by_address.len(), mapped);
        assert_eq!((inner.used, inner.dirty), (used, dirty));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(page: NonNull<u8>, byte: u8) {
        // SAFETY: a page of these tests is PAGE bytes that the test owns.
        unsafe { page.write_bytes(byte, PAGE) };
    }

    fn byte(page: NonNull<u8>, at: usize) -> u8 {
        // SAFETY: as above, and `at` is below PAGE.
        unsafe { page.add(at).read() }
    }

    fn give_all(regions: &Regions, pages: impl IntoIterator<Item = NonNull<u8>>) {
        for page in pages {
            // SAFETY: the tests give back pages that they took, once.
            unsafe { regions.give(page) };
        }
    }

    fn take_many(regions: &Regions, count: usize) -> Vec<NonNull<u8>> {
        (0..count).map(|_| regions.take().unwrap()).collect()
    }

    #[test]
    fn pages_are_aligned_distinct_and_fresh_ones_zero() {
        for regions in [Regions::new(), Regions::with_huge_pages()] {
            let pages = take_many(&regions, 300);
            let distinct: BTreeSet<usize> = pages.iter().map(|page| page.as_ptr().addr()).collect();
            assert_eq!(distinct.len(), 300);
            for (number, &page) in pages.iter().enumerate() {
                assert_eq!(page.as_ptr().addr() % PAGE, 0);
                assert_eq!((byte(page, 0), byte(page, PAGE - 1)), (0, 0));
                fill(page, number as u8);
            }
            for (number, &page) in pages.iter().enumerate() {
                assert_eq!(byte(page, PAGE - 1), number as u8);
            }
            assert_eq!(regions.used_bytes(), 300 * PAGE);
            assert_eq!(regions.mapped_bytes(), 2 * REGION);
            regions.validate();
            give_all(&regions, pages);
            regions.validate();
            assert_eq!(regions.used_bytes(), 0);
        }
    }

    #[test]
    fn pages_are_divided_and_become_whole_again() {
        let regions = Regions::new();
        let whole = regions.take().unwrap();
        let blocks: Vec<_> =
            (0..100).map(|at| (regions.take_block(1024 << (at % 4)).unwrap(), 1024 << (at % 4))).collect();
        regions.validate();
        let bytes: usize = blocks.iter().map(|&(_, length)| length).sum();
        assert!(regions.used_bytes() - PAGE < bytes + 2 * PAGE, "{} for {bytes}", regions.used_bytes());
        for (number, &(block, length)) in blocks.iter().enumerate() {
            // SAFETY: a block of this test is so many bytes that it owns.
            unsafe { block.write_bytes(number as u8, length) };
        }
        for (number, &(block, length)) in blocks.iter().enumerate() {
            assert_eq!((byte(block, 0), byte(block, length - 1)), (number as u8, number as u8));
        }
        for (block, length) in blocks {
            // SAFETY: it was taken at this length, and is given back once.
            unsafe { regions.give_block(block, length) };
        }
        assert_eq!(regions.used_bytes(), PAGE);
        give_all(&regions, [whole]);
        regions.validate();
    }

    #[test]
    fn a_page_that_comes_and_goes_stays_backed() {
        let regions = Regions::new();
        let page = regions.take().unwrap();
        fill(page, 7);
        give_all(&regions, [page]);
        let again = regions.take().unwrap();
        assert_eq!((again, byte(again, 0)), (page, 7));
        give_all(&regions, [again]);
    }

    #[test]
    fn a_burst_leaves_a_bounded_reserve_and_one_empty_region() {
        let regions = Regions::new();
        let pages = take_many(&regions, 5000);
        pages.iter().for_each(|&page| fill(page, 1));
        give_all(&regions, pages);
        regions.validate();
        assert!(regions.reserve_bytes() <= (RESERVE + BATCH) * PAGE);
        assert_eq!(regions.mapped_bytes(), REGION);
        regions.purge();
        regions.validate();
        assert_eq!((regions.reserve_bytes(), regions.mapped_bytes()), (0, 0));
        assert_eq!(take_many(&regions, 1).len(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn a_page_given_back_to_the_system_reads_as_zero() {
        let regions = Regions::new();
        let pages = take_many(&regions, 3);
        pages.iter().for_each(|&page| fill(page, 9));
        give_all(&regions, [pages[1]]);
        regions.purge();
        assert_eq!(regions.take(), Some(pages[1]));
        if cfg!(target_os = "linux") {
            assert_eq!(byte(pages[1], 100), 0);
        }
        assert_eq!((byte(pages[0], 100), byte(pages[2], 100)), (9, 9));
        give_all(&regions, pages);
    }

    #[test]
    fn runs_are_the_adjacent_pages() {
        let mut set = PageSet::NONE;
        [0, 1, 2, 63, 64, 65, 200, 255].iter().for_each(|&page| set.insert(page));
        let runs: Vec<_> = set.runs().collect();
        assert_eq!(runs, [0..3, 63..66, 200..201, 255..256]);
        let last: Vec<_> = set.last_pages(4).runs().collect();
        assert_eq!(last, [64..66, 200..201, 255..256]);
    }

    #[test]
    fn threads_share_one_source() {
        let regions = Regions::new();
        std::thread::scope(|scope| {
            for thread in 1..=4u8 {
                let regions = &regions;
                scope.spawn(move || {
                    for round in 0..20 {
                        let pages = take_many(regions, 50 + 20 * round);
                        pages.iter().for_each(|&page| fill(page, thread));
                        for &page in &pages {
                            assert_eq!((byte(page, 0), byte(page, PAGE - 1)), (thread, thread));
                        }
                        give_all(regions, pages);
                        if round % 7 == 0 {
                            regions.purge();
                        }
                    }
                });
            }
        });
        regions.validate();
        assert_eq!(regions.used_bytes(), 0);
    }

    proptest::proptest! {
        #[test]
        fn random_use_keeps_the_invariants(
            steps in proptest::collection::vec((0u8..8, 0usize..400), 1..60),
        ) {
            let regions = Regions::new();
            let mut held: Vec<NonNull<u8>> = Vec::new();
            for (kind, amount) in steps {
                match kind {
                    0..=3 => held.extend(take_many(&regions, amount)),
                    4..=6 => {
                        for _ in 0..amount.min(held.len()) {
                            let page = held.swap_remove(amount * 31 % held.len());
                            give_all(&regions, [page]);
                        }
                    }
                    _ => regions.purge(),
                }
                regions.validate();
                assert_eq!(regions.used_bytes(), held.len() * PAGE);
            }
            let count = held.len();
            held.sort();
            held.dedup();
            assert_eq!(held.len(), count);
            give_all(&regions, held);
        }
    }
}
