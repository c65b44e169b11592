//! The pool against a model: blocks that keep what was written into them, at random sizes.

use std::time::{Duration, Instant};

use super::area::ROOM;
use super::*;
use crate::rng::Rng;

/// A block in use, filled with one byte.
struct Block {
    start: *mut u8,
    size: usize,
    byte: u8,
}

impl Block {
    fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: the pool handed so many bytes out.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.size) }
    }
}

fn take(pool: &Pool, size: usize, byte: u8) -> Block {
    let align = 1 << (byte % 7);
    let mut block = Block { start: pool.take(size, align), size, byte };
    assert!(!block.start.is_null() && block.start.addr().is_multiple_of(align.max(16)));
    block.bytes().fill(byte);
    block
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

/// Sizes of all magnitudes.
fn size(rng: &mut Rng, most: usize) -> usize {
    let bits = LEAST.ilog2() + rng.below(u64::from(most.ilog2() - LEAST.ilog2() + 1)) as u32;
    ((1 << bits) + rng.index(1 << bits)).min(most)
}

/// Moves all blocks that are to be moved; how many there were.
fn settle_all(pool: &Pool, blocks: &mut [Block]) -> usize {
    let mut moves = 0;
    for block in blocks {
        if pool.is_left(block.start.addr()) {
            let moved = take(pool, block.size, block.byte);
            give(pool, std::mem::replace(block, moved));
            pool.note_move();
            moves += 1;
        }
    }
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
            let size = size(&mut rng, MOST);
            blocks.push(take(&POOL, size, step as u8));
        } else if rng.below(3) == 0 {
            let at = rng.index(blocks.len());
            let size = size(&mut rng, MOST);
            resize(&POOL, &mut blocks[at], size);
        } else {
            give(&POOL, blocks.swap_remove(rng.index(blocks.len())));
        }
        while blocks.len() > 400 {
            give(&POOL, blocks.swap_remove(rng.index(blocks.len())));
        }
        match step % 512 {
            0 => POOL.validate(),
            1 => POOL.purge(),
            2 => POOL.tend(Instant::now()),
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
    assert!(POOL.figures().held <= REGION);
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
    let (mut now, mut moves) = (Instant::now(), 0);
    for _ in 0..100 {
        now += Duration::from_millis(1);
        POOL.tend(now);
        moves += settle_all(&POOL, &mut blocks);
        POOL.validate();
    }
    let after = POOL.figures();
    assert!(after.used.abs_diff(before.used) < before.used / 200);
    assert!(after.held <= after.used + after.used / 24 + 2 * REGION, "seed {seed}: {after:?}");
    assert!(moves < 8000, "seed {seed}: {moves} moves");
    POOL.tend(now + Duration::from_secs(1));
    assert_eq!(POOL.plan(), 0);
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
    let now = Instant::now();
    let is_left = |blocks: &[Block]| blocks.iter().any(|block| POOL.is_left(block.start.addr()));
    POOL.tend(now);
    assert!(is_left(&blocks));
    for pass in 1..10 {
        POOL.tend(now + Duration::from_secs(pass));
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
}

#[test]
fn huge_requests_are_not_ours() {
    let layout = |size, align| Layout::from_size_align(size, align).unwrap();
    let ours = [(LEAST - 1, 8), (LEAST, 16), (MOST, 1), (MOST + 1, 8), (4096, 128)];
    assert_eq!(
        ours.map(|(size, align)| is_ours(layout(size, align))),
        [false, cfg!(target_os = "linux"), cfg!(target_os = "linux"), false, false]
    );
    for (size, new) in [(100, 1000), (1000, 100), (1000, 3000), (MOST, MOST + 1), (MOST + 5, 4000), (10, 20)] {
        // SAFETY: as a global allocator is used.
        unsafe {
            let block = Heap.alloc(layout(size, 8));
            block.write_bytes(7, size);
            let block = Heap.realloc(block, layout(size, 8), new);
            assert!(std::slice::from_raw_parts(block, size.min(new)).iter().all(|byte| *byte == 7));
            Heap.dealloc(block, layout(new, 8));
            let zeroed = Heap.alloc_zeroed(layout(size, 8));
            assert!(std::slice::from_raw_parts(zeroed, size).iter().all(|byte| *byte == 0));
            Heap.dealloc(zeroed, layout(size, 8));
        }
    }
    assert_eq!(ROOM % 16, 0);
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
    let (mut rng, mut blocks, mut now) = (Rng::seeded(seed), Vec::new(), Instant::now());
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
        now += Duration::from_millis(1);
        POOL.tend(now);
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
    assert!(mean < 1.08, "seed {seed}: {mean}");
    blocks.into_iter().for_each(|block| give(&POOL, block));
    POOL.validate();
}

/// Printed with what fails.
fn rand_seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0)
}
