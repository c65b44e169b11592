//! One region: blocks side by side, and lists of the free ones by size. The classic boundary tags, with a bitmap over
//! the lists as in TLSF (Masmano et al., ECRTS 2004), so that taking and giving a block take constant time.
//!
//! A block is a head of 8 bytes and the rest: its own bytes, with the head, and those of the block before it, which is
//! how neighbours are found. Sizes are multiples of 16; what is handed out begins behind the head, at a multiple of 16.
//! A free block names its neighbours in its list in the 8 bytes behind its head.
//!
//! Invariants: blocks follow one another without gaps from [`FIRST`] to [`END`], where a head without a block stands;
//! of two neighbours one is in use; a free block stands in the list of its size; `used` is the bytes of all blocks in
//! use.

use std::ops::Range;
use std::ptr::NonNull;

use super::{PAGE, REGION};

/// Bytes that sizes are a multiple of.
pub(super) const GRAIN: usize = 16;
/// Sizes up to so many grains have a list each, larger ones sixteen per power of two.
const FINE: usize = 16;
pub(super) const LISTS: usize = list_of(REGION) + 1;
const WORDS: usize = LISTS.div_ceil(64);
/// A region's weight fits into 32 bits by that.
pub(super) const WEIGHT_GRAIN: usize = 256;
/// Blocks of a list that might be too short which are looked at.
const TRIES: usize = 4;

pub(super) const HEAD: usize = 8;
const FIRST: usize = size_of::<Lists>().next_multiple_of(GRAIN) + GRAIN - HEAD;
const END: usize = REGION - HEAD;
/// Bytes that blocks may take.
pub(super) const ROOM: usize = END - FIRST;

/// In a block's size: it is free; its inner pages hold no memory.
const FREE: u32 = 1;
const CLEAN: u32 = 2;
const FLAGS: u32 = FREE | CLEAN;

/// What stands at the start of a region.
#[repr(C)]
struct Lists {
    number: u32,
    used: u32,
    /// Of the blocks in use, the sum of what [`weight`] says.
    weight: u32,
    /// Bytes of the inner pages of free blocks that are clean.
    clean: u32,
    /// Bit `i` is set if list `i` is not empty.
    filled: [u64; WORDS],
    /// The first block of each list, 0 if there is none.
    first: [u32; LISTS],
}

/// A region of which the caller is the only user.
#[derive(Clone, Copy)]
pub(super) struct Area(NonNull<u8>);

/// The list of free blocks of so many bytes.
pub(super) const fn list_of(size: usize) -> usize {
    let grains = size / GRAIN;
    if grains < FINE {
        return grains;
    }
    let power = grains.ilog2() as usize;
    (power - 3) * FINE + (grains >> (power - 4)) % FINE
}

/// The first list whose blocks all have so many bytes, and the first that has any.
pub(super) const fn lists_for(size: usize) -> (usize, usize) {
    let list = list_of(size);
    (if list_of(size - GRAIN) == list { list + 1 } else { list }, list)
}

/// The square of a block's size, in units of [`WEIGHT_GRAIN`] bytes.
const fn weight(size: usize) -> u32 {
    ((size / WEIGHT_GRAIN) * (size / WEIGHT_GRAIN)) as u32
}

/// The whole pages of a free block, behind its head and its neighbours in its list.
fn inner(at: usize, size: usize) -> Range<usize> {
    let start = (at + 2 * HEAD).next_multiple_of(PAGE);
    start..((at + size) / PAGE * PAGE).max(start)
}

/// Bytes of the block that serves a request.
pub(super) const fn block_size(size: usize) -> usize {
    (size + HEAD).next_multiple_of(GRAIN)
}

/// What is split off at least where a block of so many bytes stays: so much that it is worth the while, but where only
/// that block's like may find a use for the rest.
const fn rest(size: usize) -> usize {
    const MOST: usize = 64;
    const LEAST: usize = 2 * GRAIN;
    let rest = size / 4;
    if rest > MOST {
        MOST
    } else if rest < LEAST {
        LEAST
    } else {
        rest
    }
}

// SAFETY of all that follows: an `Area` is made of a region that was mapped, which is as long as `END` and a head; every
// offset is one of a block's head, by the invariants, or checked; and who has an `Area` holds the lock of the state.
impl Area {
    /// Makes a region of fresh memory.
    ///
    /// # Safety
    ///
    /// It is a region of [`super::system::map_region`], used by nobody else.
    pub(super) unsafe fn begin(region: NonNull<u8>, number: u32) -> Area {
        let area = Area(region);
        // See `State::whose`.
        let _ = region.as_ptr().expose_provenance();
        let lists = Lists { number, used: 0, weight: 0, clean: 0, filled: [0; WORDS], first: [0; LISTS] };
        // SAFETY: the caller promises it, and the region is aligned to its size.
        unsafe { region.cast::<Lists>().write(lists) };
        area.write(FIRST, ROOM as u32);
        area.write(FIRST + 4, 0);
        area.write(END, 0);
        area.write(END + 4, ROOM as u32);
        area.list(FIRST, ROOM, CLEAN);
        area
    }

    /// The region of a number's state.
    ///
    /// # Safety
    ///
    /// It is a region that [`Area::begin`] made, and nobody else uses it while the area is used.
    pub(super) unsafe fn at(region: NonNull<u8>) -> Area {
        Area(region)
    }

    pub(super) fn start(self) -> NonNull<u8> {
        self.0
    }

    #[expect(clippy::mut_from_ref, reason = "an area is a pointer")]
    fn lists(&self) -> &mut Lists {
        // SAFETY: see above; no other reference to it lives while one is used.
        unsafe { self.0.cast::<Lists>().as_mut() }
    }

    fn read(self, at: usize) -> u32 {
        debug_assert!(at + 4 <= REGION && at.is_multiple_of(4));
        // SAFETY: see above.
        unsafe { self.0.add(at).cast::<u32>().read() }
    }

    fn write(self, at: usize, number: u32) {
        debug_assert!(at + 4 <= REGION && at.is_multiple_of(4));
        // SAFETY: see above.
        unsafe { self.0.add(at).cast::<u32>().write(number) }
    }

    pub(super) fn number(self) -> usize {
        self.lists().number as usize
    }

    /// Bytes of the blocks in use.
    pub(super) fn used(self) -> usize {
        self.lists().used as usize
    }

    /// Sum of what [`weight`] says of these.
    pub(super) fn weight(self) -> usize {
        self.lists().weight as usize
    }

    /// Counts a block that comes into use, and one that goes.
    fn count(self, size: usize) {
        self.lists().used += size as u32;
        self.lists().weight += weight(size);
    }

    fn uncount(self, size: usize) {
        self.lists().used -= size as u32;
        self.lists().weight -= weight(size);
    }

    /// Bytes of the inner pages that hold no memory.
    pub(super) fn clean(self) -> usize {
        self.lists().clean as usize
    }

    fn size(self, at: usize) -> usize {
        (self.read(at) & !FLAGS) as usize
    }

    fn is_free(self, at: usize) -> bool {
        self.read(at) & FREE != 0
    }

    /// The last list that has a block; 0 if there is none.
    pub(super) fn top(self) -> usize {
        let filled = &self.lists().filled;
        let word = filled.iter().rposition(|word| *word != 0);
        word.map_or(0, |word| word * 64 + filled[word].ilog2() as usize)
    }

    /// The first list from one on that has a block.
    fn next_list(self, list: usize) -> Option<usize> {
        let filled = &self.lists().filled;
        let rest =
            |word: usize| if word == list / 64 { filled[word] & (u64::MAX << (list % 64)) } else { filled[word] };
        (list / 64..WORDS).find(|word| rest(*word) != 0).map(|word| word * 64 + rest(word).trailing_zeros() as usize)
    }

    /// Puts a block into the list of its size, as a free one.
    fn list(self, at: usize, size: usize, flags: u32) {
        let list = list_of(size);
        let lists = self.lists();
        let next = std::mem::replace(&mut lists.first[list], at as u32);
        lists.filled[list / 64] |= 1 << (list % 64);
        lists.clean += if flags & CLEAN != 0 { inner(at, size).len() as u32 } else { 0 };
        self.write(at, size as u32 | FREE | flags);
        self.write(at + HEAD, next);
        self.write(at + HEAD + 4, 0);
        if next != 0 {
            self.write(next as usize + HEAD + 4, at as u32);
        }
    }

    /// Takes a free block out of its list.
    fn unlist(self, at: usize) {
        let (next, previous) = (self.read(at + HEAD), self.read(at + HEAD + 4));
        if self.read(at) & CLEAN != 0 {
            self.lists().clean -= inner(at, self.size(at)).len() as u32;
        }
        if next != 0 {
            self.write(next as usize + HEAD + 4, previous);
        }
        if previous != 0 {
            return self.write(previous as usize + HEAD, next);
        }
        let list = list_of(self.size(at));
        let lists = self.lists();
        lists.first[list] = next;
        if next == 0 {
            lists.filled[list / 64] &= !(1 << (list % 64));
        }
    }

    /// Writes the head of a block in use, and tells the next one its size.
    fn hold(self, at: usize, size: usize) {
        self.write(at, size as u32);
        self.write(at + size + 4, size as u32);
    }

    /// Lists what is free, and tells the next block its size.
    fn free(self, at: usize, size: usize, flags: u32) {
        self.list(at, size, flags);
        self.write(at + size + 4, size as u32);
    }

    /// Takes a block of `size` bytes, as [`block_size`] gives them; its offset.
    pub(super) fn take(self, size: usize) -> Option<usize> {
        let (enough, exact) = lists_for(size);
        let at = self
            .first_of(exact, size)
            .or_else(|| self.next_list(enough).map(|list| self.lists().first[list] as usize))?;
        self.unlist(at);
        let (whole, flags) = (self.size(at), self.read(at) & CLEAN);
        let size = if whole - size >= rest(size) { size } else { whole };
        self.hold(at, size);
        if size < whole {
            self.free(at + size, whole - size, flags);
        }
        self.count(size);
        Some(at)
    }

    /// As [`Area::take`], for what is to stand at a multiple of `align`.
    pub(super) fn take_aligned(self, size: usize, align: usize) -> Option<usize> {
        if align <= GRAIN {
            return self.take(size);
        }
        let at = self.take(size + align - GRAIN)?;
        let front = (at + HEAD).next_multiple_of(align) - (at + HEAD);
        if front > 0 {
            // Two blocks in use, of which the first is given back.
            let whole = self.size(at);
            self.hold(at, front);
            self.hold(at + front, whole - front);
            self.uncount(whole);
            self.count(front);
            self.count(whole - front);
            self.give(at, false);
        }
        Some(at + front)
    }

    /// One of the first blocks of a list that has `size` bytes.
    fn first_of(self, list: usize, size: usize) -> Option<usize> {
        let mut at = self.lists().first[list] as usize;
        for _ in 0..TRIES {
            if at == 0 || self.size(at) >= size {
                break;
            }
            at = self.read(at + HEAD) as usize;
        }
        (at != 0 && self.size(at) >= size).then_some(at)
    }

    /// Takes a block back, whose inner pages hold no memory if it is clean.
    pub(super) fn give(self, at: usize, is_clean: bool) {
        let size = self.size(at);
        self.uncount(size);
        let (mut start, mut whole) = (at, size);
        let next = at + size;
        if next < END && self.is_free(next) {
            self.unlist(next);
            whole += self.size(next);
        }
        let before = self.read(at + 4) as usize;
        if before > 0 && self.is_free(at - before) {
            start = at - before;
            self.unlist(start);
            whole += before;
        }
        let flags = if is_clean && whole == size { CLEAN } else { 0 };
        self.free(start, whole, flags);
    }

    /// Makes a block in use `size` bytes long, as [`block_size`] gives them, where it stands; false if it cannot.
    pub(super) fn resize(self, at: usize, size: usize) -> bool {
        let old = self.size(at);
        let next = at + old;
        let spare = if next < END && self.is_free(next) { self.size(next) } else { 0 };
        if old + spare < size {
            return false;
        }
        let whole = if size > old { old + spare } else { old };
        let kept = if whole - size >= rest(size) { size } else { whole };
        if kept == old {
            return true;
        }
        if whole > old {
            self.unlist(next);
        }
        self.hold(at, kept);
        self.uncount(old);
        self.count(kept);
        if kept < whole {
            // As a block in use that is given back: what follows may be free.
            self.hold(at + kept, whole - kept);
            self.count(whole - kept);
            self.give(at + kept, false);
        }
        true
    }

    /// Takes a free block of at least so many bytes whose pages may hold memory; its offset.
    pub(super) fn take_dirty(self, size: usize) -> Option<usize> {
        let mut list = self.next_list(lists_for(size).0)?;
        loop {
            let mut at = self.lists().first[list] as usize;
            while at != 0 {
                if self.read(at) & CLEAN == 0 {
                    self.unlist(at);
                    let size = self.size(at);
                    self.hold(at, size);
                    self.count(size);
                    return Some(at);
                }
                at = self.read(at + HEAD) as usize;
            }
            list = self.next_list(list + 1)?;
        }
    }

    /// The pages of a block that hold nothing but what is free: from, and how many bytes.
    pub(super) fn pages(self, at: usize) -> (NonNull<u8>, usize) {
        let inner = inner(at, self.size(at));
        // SAFETY: see above.
        (unsafe { self.0.add(inner.start) }, inner.len())
    }

    /// What a block hands out.
    pub(super) fn payload(self, at: usize) -> *mut u8 {
        // SAFETY: see above.
        unsafe { self.0.as_ptr().add(at + HEAD) }
    }

    /// For tests: checks the module's invariants; panics with what is wrong.
    #[cfg(test)]
    pub(super) fn validate(self) {
        let (mut at, mut before, mut used, mut heavy, mut clean, mut was_free, mut free) =
            (FIRST, 0, 0, 0, 0, false, 0);
        while at < END {
            let size = self.size(at);
            assert!(size >= GRAIN && size.is_multiple_of(GRAIN) && at + size <= END, "a block of {size}");
            assert_eq!(self.read(at + 4) as usize, before, "the block before");
            assert!(!(was_free && self.is_free(at)), "neighbours that are free");
            was_free = self.is_free(at);
            if was_free {
                free += 1
            } else {
                (used, heavy) = (used + size, heavy + weight(size) as usize)
            }
            clean += if was_free && self.read(at) & CLEAN != 0 { inner(at, size).len() } else { 0 };
            (at, before) = (at + size, size);
        }
        assert_eq!((at, self.read(END + 4) as usize), (END, before));
        assert_eq!((used, heavy, clean), (self.used(), self.weight(), self.clean()), "what is in use is counted");
        for list in 0..LISTS {
            let (mut at, mut previous) = (self.lists().first[list], 0);
            assert_eq!(self.lists().filled[list / 64] >> (list % 64) & 1 == 1, at != 0);
            while at != 0 {
                assert!(self.is_free(at as usize) && list_of(self.size(at as usize)) == list);
                assert_eq!(self.read(at as usize + HEAD + 4), previous);
                free -= 1;
                (previous, at) = (at, self.read(at as usize + HEAD));
            }
        }
        assert_eq!(free, 0, "every free block is listed");
    }
}

const _: () = assert!(ROOM.is_multiple_of(GRAIN) && (FIRST + HEAD).is_multiple_of(GRAIN));
