//! The pool against a model: blocks that keep what was written into them, at random sizes.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::area::ROOM;
use super::*;
use crate::rng::Rng;

/// A block in use, filled with one byte.
struct Block {
    start: *mut u8,
    size: usize,
    byte: u8,
}

// SAFETY: what it points to is its own.
unsafe impl Send for Block {}

impl Block {
    fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: the pool handed so many bytes out.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.size) }
    }
}

fn take(pool: &Pool, size: usize, byte: u8) -> Block {
    try_take(pool, size, byte).unwrap()
}

fn try_take(pool: &Pool, size: usize, byte: u8) -> Option<Block> {
    let align = 1 << (byte % 7);
    let mut block = Block { start: pool.take(size, align), size, byte };
    if block.start.is_null() {
        return None;
    }
    assert!(block.start.addr().is_multiple_of(align.max(16)));
    block.bytes().fill(byte);
    Some(block)
}

fn give(pool: &Pool, mut block: Block) {
    let byte = block.byte;
    assert!(block.bytes().iter().all(|it| *it == byte), "a block of {} was written over", block.size);
    // SAFETY: it was taken from there, and is gone now.
    unsafe { pool.give(block.start) };
}

fn resize(pool: &Pool, block: &mut Block, size: usize) -> bool {
    // SAFETY: it was taken from there, and only what both sizes have is used below.
    let is_resized = unsafe { pool.resize(block.start, size) };
    if is_resized {
        let (kept, byte) = (block.size.min(size), block.byte);
        block.size = size;
        assert!(block.bytes()[..kept].iter().all(|it| *it == byte));
        block.bytes().fill(byte);
    }
    is_resized
}

/// Sizes of all magnitudes that the global allocator has blocks of.
fn size(rng: &mut Rng, most: usize) -> usize {
    size_from(rng, LEAST, most)
}

/// Sizes of all magnitudes from a power of two on.
fn size_from(rng: &mut Rng, least: usize, most: usize) -> usize {
    let bits = least.ilog2() + rng.below(u64::from(most.ilog2() - least.ilog2() + 1)) as u32;
    ((1 << bits) + rng.index(1 << bits)).min(most)
}

/// Moves all blocks that are to be moved; how many there were.
fn settle_all(pool: &Pool, blocks: &mut [Block]) -> usize {
    let mut moves = 0;
    for block in blocks {
        if pool.is_left(block.start.addr()) {
            let moved = take(pool, block.size, block.byte);
            give(pool, std::mem::replace(block, moved));
            moves += 1;
        }
    }
    pool.note_move();
    moves
}

#[test]
fn blocks_keep_what_is_in_them() {
    static POOL: Pool = Pool::new();
    let seed = rand_seed();
    let (mut rng, mut blocks) = (Rng::seeded(seed), Vec::new());
    for step in 0..30_000u32 {
        let many = if step / 3000 % 2 == 0 { 3 } else { 1 };
        if rng.below(4) < many || blocks.is_empty() {
            let size = size_from(&mut rng, ANY, MOST);
            blocks.push(take(&POOL, size, step as u8));
        } else if rng.below(3) == 0 {
            let at = rng.index(blocks.len());
            let size = size_from(&mut rng, ANY, MOST);
            resize(&POOL, &mut blocks[at], size);
        } else {
            give(&POOL, blocks.swap_remove(rng.index(blocks.len())));
        }
        while blocks.len() > 400 {
            give(&POOL, blocks.swap_remove(rng.index(blocks.len())));
        }
        match step % 512 {
            0 => POOL.validate(),
            1 if rng.below(2) == 0 => POOL.purge(),
            1 => POOL.purge_some(u64::from(step) * 1000),
            2 => POOL.tend(u64::from(step)),
            3 => drop(settle_all(&POOL, &mut blocks)),
            _ => {}
        }
        let bytes: usize = if step % 512 == 0 { blocks.iter().map(|block| block.size).sum() } else { 0 };
        assert!(POOL.figures().used >= bytes, "seed {seed}");
    }
    blocks.into_iter().for_each(|block| give(&POOL, block));
    POOL.validate();
    assert_eq!(POOL.figures().used, 0, "seed {seed}");
    POOL.purge();
    assert!(POOL.figures().held <= 4 * PAGE, "{:?}", POOL.figures());
}

#[test]
fn where_much_is_free_long_blocks_lose_their_memory_bit_by_bit() {
    static POOL: Pool = Pool::new();
    let mut blocks: Vec<_> = (0..400u32).map(|number| take(&POOL, 100 << 10, number as u8)).collect();
    let full = POOL.figures();
    for number in (0..200).rev() {
        give(&POOL, blocks.remove(2 * number));
    }
    let before = POOL.figures();
    assert_eq!(before.held, full.held);
    POOL.purge_some(1000);
    let after = POOL.figures();
    assert!((250 << 10..360 << 10).contains(&(before.held - after.held)), "{before:?} {after:?}");
    POOL.purge_some(1999);
    assert_eq!(POOL.figures(), after, "not twice in a millisecond");
    (2..200u64).for_each(|ms| POOL.purge_some(ms * 1000));
    POOL.validate();
    let rest = POOL.figures();
    assert!(rest.held - rest.used < rest.used / 16 + (512 << 10), "{rest:?}");
    // What is little stays.
    assert!(rest.held - rest.used > rest.used / 16 - (256 << 10), "{rest:?}");
    blocks.into_iter().for_each(|block| give(&POOL, block));
    // Regions go while others are looked at.
    static EMPTY: Pool = Pool::new();
    let mut before = 5;
    assert!(EMPTY.state().long_block(&mut before).is_none());
    assert_eq!(before, 0, "nothing is left to look at");
}

#[test]
fn what_is_sparse_is_left() {
    static POOL: Pool = Pool::new();
    let seed = rand_seed();
    let mut rng = Rng::seeded(seed);
    let mut blocks: Vec<Block> = (0..20_000).map(|at| take(&POOL, size(&mut rng, 16 << 10), at as u8)).collect();
    while blocks.len() > 6000 {
        give(&POOL, blocks.swap_remove(rng.index(blocks.len())));
    }
    let before = POOL.figures();
    assert!(before.held > 2 * before.used);
    let mut moves = 0;
    for millisecond in 1..=100 {
        POOL.tend(1000 * millisecond);
        moves += settle_all(&POOL, &mut blocks);
        POOL.validate();
    }
    let after = POOL.figures();
    assert!(after.used.abs_diff(before.used) < before.used / 200);
    assert!(after.held <= after.used + after.used / 24 + 2 * REGION, "seed {seed}: {after:?}");
    assert!(moves < 8000, "seed {seed}: {moves} moves");
    POOL.tend(2_000_000);
    assert_eq!(POOL.plan(), 0);
}

#[test]
fn short_blocks_become_dense() {
    static POOL: Pool = Pool::new();
    let seed = rand_seed();
    let mut rng = Rng::seeded(seed);
    let mut blocks: Vec<Block> = (0..300_000).map(|_| take(&POOL, size_from(&mut rng, ANY, 200), 0)).collect();
    let full = POOL.figures();
    let asked: usize = blocks.iter().map(|block| taken(block.size)).sum();
    // Where nothing was free before, next to nothing is lost.
    assert!(full.used - asked < asked / 10_000 && full.held < full.used + REGION, "{full:?} for {asked}");
    while blocks.len() > 30_000 {
        give(&POOL, blocks.swap_remove(rng.index(blocks.len())));
    }
    assert!(POOL.figures().held > 6 * POOL.figures().used);
    let mut moves = 0;
    for millisecond in 1..=100 {
        POOL.tend(1000 * millisecond);
        moves += settle_all(&POOL, &mut blocks);
    }
    POOL.validate();
    let (after, asked) = (POOL.figures(), blocks.iter().map(|block| taken(block.size)).sum::<usize>());
    // A hole may be a little too long for what it is given to.
    assert!(after.used < asked + asked / 8, "seed {seed}: {after:?} for {asked}");
    assert!(after.held <= after.used + after.used / 16 + 2 * REGION, "seed {seed}: {after:?}");
    assert!(moves < 40_000, "seed {seed}: {moves} moves");
    blocks.into_iter().for_each(|block| give(&POOL, block));
    POOL.validate();
    assert_eq!(POOL.figures().used, 0);
}

#[test]
fn a_plan_ends_where_nobody_moves() {
    static POOL: Pool = Pool::new();
    let mut blocks: Vec<Block> = (0..4000).map(|at| take(&POOL, 8 << 10, at as u8)).collect();
    let mut at = 0;
    blocks.retain_mut(|block| {
        at += 1;
        let stays = at % 8 == 0;
        if !stays {
            // SAFETY: it was taken from there, and is forgotten.
            unsafe { POOL.give(block.start) };
        }
        stays
    });
    let is_left = |blocks: &[Block]| blocks.iter().any(|block| POOL.is_left(block.start.addr()));
    POOL.tend(0);
    assert!(is_left(&blocks));
    // Others are moved: so long nobody knows that these are pinned.
    for second in 1..10 {
        POOL.note_move();
        POOL.tend(second * 1_000_000);
    }
    assert!(is_left(&blocks));
    // The thread that looks may have been held up with the others.
    POOL.tend(11_000_000);
    assert!(is_left(&blocks));
    for second in 12..30 {
        POOL.tend(second * 1_000_000);
    }
    assert!(!is_left(&blocks) && POOL.plan() == 0, "they are pinned");
    // What is free in them serves again.
    let held = POOL.figures().held;
    blocks.extend((0..3000).map(|_| take(&POOL, 8 << 10, 1)));
    assert!(POOL.figures().held <= held + REGION);
    POOL.validate();
    blocks.into_iter().for_each(|block| give(&POOL, block));
}

#[test]
fn what_no_block_fits_into_is_no_place_to_move_to() {
    static POOL: Pool = Pool::new();
    // Eight stand in a region, and a twelfth of it is left over. A short one here and there changes nothing.
    let mut blocks: Vec<Block> = (0..400).map(|at| take(&POOL, 120_000, at as u8)).collect();
    let rests: Vec<Block> = (0..50).map(|at| take(&POOL, 80_000, at)).collect();
    rests.into_iter().for_each(|block| give(&POOL, block));
    let short: Vec<Block> = (0..2000).map(|at| take(&POOL, 300, at as u8)).collect();
    let gone: Vec<Block> = (0..6).map(|at| blocks.swap_remove(at * 60)).collect();
    gone.into_iter().for_each(|block| give(&POOL, block));
    let used = POOL.figures().used;
    assert!(POOL.state().holes() > used / 16);
    POOL.tend(0);
    assert_eq!(POOL.plan(), 0, "it would be in vain");
    // Until there are many places of their size.
    for at in 0..60 {
        give(&POOL, blocks.swap_remove(at * 5));
    }
    POOL.tend(1_000_000);
    assert_eq!(POOL.plan(), 1);
    let mapped = POOL.state().mapped;
    settle_all(&POOL, &mut blocks);
    POOL.tend(1_001_000);
    assert!(POOL.state().mapped < mapped);
    POOL.validate();
    blocks.into_iter().chain(short).for_each(|block| give(&POOL, block));
}

#[test]
fn a_block_grows_and_shrinks_where_it_stands() {
    static POOL: Pool = Pool::new();
    let mut first = take(&POOL, 1000, 1);
    assert!(resize(&POOL, &mut first, 100_000) && resize(&POOL, &mut first, 5000));
    let second = take(&POOL, 5000, 2);
    assert!(!resize(&POOL, &mut first, 6000), "another block follows");
    assert!(resize(&POOL, &mut first, 600));
    let third = take(&POOL, 4000, 3);
    POOL.validate();
    assert!((first.start..second.start).contains(&third.start), "between both");
    [first, second, third].into_iter().for_each(|block| give(&POOL, block));
    POOL.validate();
    let (mut short, behind) = (take(&POOL, 40, 1), take(&POOL, 1, 2));
    assert_eq!(behind.start.addr() - short.start.addr(), taken(40));
    assert!(!resize(&POOL, &mut short, 41) && resize(&POOL, &mut short, 8));
    let between = take(&POOL, 20, 3);
    assert_eq!(between.start.addr() - short.start.addr(), taken(8), "what was cut off serves");
    give(&POOL, between);
    assert!(resize(&POOL, &mut short, 40));
    [short, behind].into_iter().for_each(|block| give(&POOL, block));
    POOL.validate();
}

#[test]
fn a_layout_tells_where_a_block_is_from() {
    let layout = |size, align| Layout::from_size_align(size, align).unwrap();
    let sources = [(LEAST - 1, 8), (LEAST, 16), (MOST, 1), (MOST + 1, 8), (4096, 128), (MOST + 1, 128)]
        .map(|(size, align)| Source::of::<LEAST>(layout(size, align)));
    if cfg!(target_os = "linux") {
        use Source::{Maps, Pool, System};
        assert_eq!(sources, [System, Pool, Pool, Maps, System, System]);
        assert_eq!([1, LEAST, MOST + 1].map(|size| Source::of::<ANY>(layout(size, 8))), [Pool, Pool, Maps]);
    } else {
        assert_eq!(sources, [Source::System; 6]);
        assert_eq!(Source::of::<ANY>(layout(1, 1)), Source::System);
    }
    assert_eq!(ROOM % 16, 0);
}

/// Allocates, reallocates and frees as a program does, with what all sources make of it.
fn use_heap(refuses: impl Fn(usize)) {
    let layout = |size| Layout::from_size_align(size, 8).unwrap();
    let sizes = [100, 1000, 100, 3000, MOST, MOST + 1, 3 * MOST, MOST + 5, 4000, 10, 20, MOST - 1, 2 * MOST, LEAST];
    for pair in sizes.windows(2) {
        let (size, new) = (pair[0], pair[1]);
        // SAFETY: as a global allocator is used.
        unsafe {
            refuses(0);
            let block = Heap.alloc(layout(size));
            block.write_bytes(7, size);
            refuses(1);
            let block = Heap.realloc(block, layout(size), new);
            assert!(std::slice::from_raw_parts(block, size.min(new)).iter().all(|byte| *byte == 7));
            block.write_bytes(8, new);
            refuses(2);
            let zeroed = Heap.alloc_zeroed(layout(size));
            assert!(std::slice::from_raw_parts(zeroed, size).iter().all(|byte| *byte == 0));
            refuses(3);
            Heap.dealloc(block, layout(new));
            Heap.dealloc(zeroed, layout(size));
        }
    }
}

/// The same with what [`Movable`] makes of it, which takes any size.
fn use_movable(refuses: impl Fn(usize)) {
    let sizes = [0, 1, 8, 9, 200, 7, LEAST, 0, 3000, MOST, 24, MOST + 1, 2 * MOST, 100, 0, MOST + 5, 4000, 10, 0];
    refuses(0);
    let mut bytes = MovableVec::<u8>::new_in(Movable);
    for (step, size) in sizes.into_iter().enumerate() {
        refuses(step % 4);
        let kept = bytes.len().min(size);
        bytes.truncate(size);
        bytes.shrink_to_fit();
        bytes.reserve_exact(size - kept);
        assert_eq!(bytes.capacity(), size);
        assert!(bytes.iter().all(|byte| *byte == 7));
        bytes.resize(size, 7);
        let copy = MovableBox::<[u8]>::from(&bytes[..]);
        assert_eq!(copy[..], bytes[..]);
        refuses((step + 1) % 4);
        bytes = copy.into_vec();
    }
}

#[test]
fn blocks_move_between_the_sources() {
    use_heap(|_| ());
    use_movable(|_| ());
    // What nobody moves takes no region, but for what says that it is moved.
    let block = fixed(|| MovableBox::new_in([1u64; 4], Movable));
    assert_eq!(system::is_stand_in(std::ptr::from_ref(&*block).cast_mut().cast()), !cfg!(target_os = "linux"));
}

#[cfg(target_os = "linux")]
#[test]
fn the_system_stands_in_where_it_maps_nothing() {
    for refused in 0..16 {
        use_heap(|step| system::REFUSES.set(refused >> step & 1 == 1));
        use_movable(|step| system::REFUSES.set(refused >> step & 1 == 1));
        system::REFUSES.set(false);
    }
    static POOL: Pool = Pool::new();
    let blocks: Vec<Block> = (0..120).map(|at| take(&POOL, 50_000, at)).collect();
    system::REFUSES.set(true);
    assert!(blocks.iter().all(|block| !system::is_stand_in(block.start)));
    let more: Vec<Block> = (0..).map_while(|at| try_take(&POOL, 50_000, at)).collect();
    assert!(more.len() < 40, "what is mapped serves");
    assert!(MAPS.take_zeroed(MOST + 1).is_null());
    let layout = Layout::from_size_align(50_000, 8).unwrap();
    let block = system::stand_in(layout);
    assert!(system::is_stand_in(block));
    // SAFETY: it was just made.
    unsafe { system::dismiss(block, layout) };
    // No region goes back, so all are there and clean.
    let held = POOL.figures().held;
    blocks.into_iter().chain(more).for_each(|block| give(&POOL, block));
    POOL.validate();
    assert!(POOL.figures().held < held / 2, "{:?}", POOL.figures());
    let again: Vec<Block> = (0..40).map(|at| take(&POOL, 50_000, at)).collect();
    system::REFUSES.set(false);
    again.into_iter().for_each(|block| give(&POOL, block));
    POOL.validate();
}

#[cfg(target_os = "linux")]
#[test]
fn maps_are_kept_for_a_while() {
    static MAPS: Maps = Maps::new();
    let fill = |block: *mut u8, size: usize| {
        assert!(block.addr().is_multiple_of(PAGE));
        // SAFETY: the maps handed so many bytes out.
        unsafe { block.write_bytes(1, size) };
        block
    };
    let size = 500_000;
    let first = fill(MAPS.take(size), size);
    let second = fill(MAPS.take(size), size);
    // SAFETY: they were taken there for so many bytes, and are not used any more.
    let give = |block: *mut u8, size: usize| unsafe { MAPS.give(block, size) };
    give(first, size);
    assert_eq!((MAPS.kept(), MAPS.take(size)), (size.next_multiple_of(PAGE), first));
    give(first, size);
    // One of another size serves, too.
    let longer = fill(MAPS.take(2 * size), 2 * size);
    assert_eq!(MAPS.kept(), 0);
    give(longer, 2 * size);
    give(second, size);
    let kept = MAPS.kept();
    assert_eq!(kept, (2 * size).next_multiple_of(PAGE) + size.next_multiple_of(PAGE));
    // Too long, and then too much.
    let huge = fill(MAPS.take(20 << 20), 20 << 20);
    assert!(MAPS.kept() < kept);
    give(huge, 20 << 20);
    let many: Vec<*mut u8> = (0..40).map(|_| fill(MAPS.take(size), size)).collect();
    many.into_iter().for_each(|block| give(block, size));
    assert!((1 << 20..3 << 20).contains(&MAPS.kept()));
    // They may have been needed since the purge before.
    MAPS.purge(false);
    assert!(MAPS.kept() > 0);
    MAPS.purge(false);
    assert_eq!(MAPS.kept(), 0);
}

/// What a cache does: the oldest blocks go, more or less, and what is written drifts in size.
#[test]
fn a_cache_stays_dense_while_sizes_drift() {
    static POOL: Pool = Pool::new();
    const LIMIT: usize = 64 << 20;
    const TURNOVERS: usize = 8;
    /// Bytes written between two looks, and bytes that the background may move meanwhile.
    const STEP: usize = 256 << 10;
    let seed = rand_seed();
    let (mut rng, mut blocks, mut now_us) = (Rng::seeded(seed), Vec::new(), 0);
    let (mut used, mut written, mut plan, mut settled) = (0, 0, 0, 0);
    let (mut ratios, mut looks) = (0.0, 0);
    while written < TURNOVERS * LIMIT {
        let drift = (written * 4 / TURNOVERS) % (2 * LIMIT);
        let size = (600 + (20_000 * drift.min(2 * LIMIT - drift) / LIMIT)) * (70 + rng.index(60)) / 100;
        while used + size > LIMIT {
            let oldest = rng.index(1 + blocks.len() / 10);
            let gone: Block = blocks.remove(oldest);
            settled -= usize::from(oldest < settled);
            used -= gone.size;
            give(&POOL, gone);
        }
        blocks.push(take(&POOL, size, written as u8));
        (used, written) = (used + size, written + size);
        if written % STEP >= size {
            continue;
        }
        now_us += 1000;
        POOL.tend(now_us);
        if POOL.plan() != plan {
            (plan, settled) = (POOL.plan(), 0);
        }
        let mut bytes = STEP;
        while bytes > 0 && settled < blocks.len() {
            if settle_all(&POOL, &mut blocks[settled..=settled]) > 0 {
                bytes = bytes.saturating_sub(blocks[settled].size);
            }
            settled += 1;
        }
        if written > LIMIT {
            ratios += POOL.figures().held as f64 / used as f64;
            looks += 1;
        }
    }
    let mean = ratios / f64::from(looks);
    // Of 30 seeds from 1.060 to 1.080.
    assert!(mean < 1.095, "seed {seed}: {mean}");
    blocks.into_iter().for_each(|block| give(&POOL, block));
    POOL.validate();
}

#[test]
fn many_threads_share_a_pool() {
    static POOL: Pool = Pool::new();
    const THREADS: u64 = 8;
    const STEPS: usize = 6000;
    let seed = rand_seed();
    let shared: Mutex<Vec<Block>> = Mutex::new(Vec::new());
    let running = AtomicUsize::new(THREADS as usize);
    let work = |number: u64| {
        let (mut rng, mut blocks) = (Rng::seeded(seed ^ number), Vec::new());
        for step in 0..STEPS {
            // Sizes drift, and blocks come and go in waves, so that regions become sparse.
            let most = if step / 1000 % 2 == 0 { 4 << 10 } else { 32 << 10 };
            match rng.below(8) {
                0..3 => blocks.push(take(&POOL, size_from(&mut rng, ANY, most), step as u8)),
                3 if !blocks.is_empty() => {
                    let at = rng.index(blocks.len());
                    resize(&POOL, &mut blocks[at], size_from(&mut rng, ANY, most));
                }
                4 => drop(settle_all(&POOL, &mut blocks)),
                // What one thread took another may give back.
                5 => std::mem::swap(&mut blocks, &mut shared.lock().unwrap()),
                _ if !blocks.is_empty() => give(&POOL, blocks.swap_remove(rng.index(blocks.len()))),
                _ => {}
            }
            while blocks.len() > 300 {
                give(&POOL, blocks.swap_remove(rng.index(blocks.len())));
            }
        }
        blocks.into_iter().for_each(|block| give(&POOL, block));
        running.fetch_sub(1, Relaxed);
    };
    println!("seed {seed}");
    let (mut looks, mut had_plan) = (0, false);
    std::thread::scope(|scope| {
        (0..THREADS).for_each(|number| {
            drop(scope.spawn({
                let work = &work;
                move || work(number)
            }))
        });
        while running.load(Relaxed) > 0 {
            looks += 1;
            POOL.tend(looks * 1000);
            had_plan |= POOL.plan() > 0;
            match looks % 64 {
                0 if looks % 128 == 0 => POOL.purge(),
                0 => POOL.purge_some(looks * 1000),
                1 => POOL.validate(),
                _ => std::thread::yield_now(),
            }
        }
    });
    shared.into_inner().unwrap().into_iter().for_each(|block| give(&POOL, block));
    POOL.validate();
    assert_eq!(POOL.figures().used, 0);
    assert!(had_plan || looks < 100, "there was a plan");
}

/// Printed with what fails.
fn rand_seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0)
}

#[test]
fn plans_that_are_in_vain_become_rare() {
    static POOL: Pool = Pool::new();
    // Of each region a part is pinned, and the rest moves to where there is place: there and back for ever.
    let pinned: Vec<Block> = (0..1600).map(|at| take(&POOL, 8 << 10, at as u8)).collect();
    let mut others: Vec<Block> = (0..6400).map(|at| take(&POOL, 8 << 10, at as u8)).collect();
    let mut blocks: Vec<Block> = Vec::new();
    for (at, block) in pinned.into_iter().chain(others.drain(..)).enumerate() {
        if at % 5 < 2 { blocks.push(block) } else { give(&POOL, block) }
    }
    let mut begun = [0, 0];
    for look in 0..200_000u64 {
        let plan = POOL.plan();
        POOL.tend(look * 10_000);
        begun[usize::from(look >= 20_000)] += usize::from(POOL.plan() > plan);
        for at in (0..blocks.len()).filter(|at| at % 2 == 0) {
            if plan > 0 && POOL.is_left(blocks[at].start.addr()) {
                let moved = take(&POOL, 8 << 10, 1);
                POOL.note_move();
                give(&POOL, std::mem::replace(&mut blocks[at], moved));
            }
        }
    }
    assert!(begun[0] > 3 && begun[1] < 200, "{begun:?} plans");
    POOL.validate();
    blocks.into_iter().for_each(|block| give(&POOL, block));
}
