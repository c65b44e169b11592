//! Tests of the slab: single facts, and a model of random use.

use super::class::CLASS_OF_UNITS;
use super::length::FIRST_PAGE;
use super::*;
use proptest::prelude::*;

fn slab() -> Slab {
    Slab::new(Regions::new())
}

/// A new cell of `len` bytes, filled with a byte.
fn filled(slab: &mut Slab, len: usize, byte: u8) -> Ref {
    let cell = slab.alloc(len).unwrap();
    slab.cell_mut(cell).fill(byte);
    cell
}

/// Moves cells until no page is worth emptying; the number of moves.
fn compact(slab: &mut Slab, mut moved: impl FnMut(Ref, Ref)) -> usize {
    let (mut cells, mut moves) = (Vec::new(), 0);
    while let Some(page) = slab.sparse_page() {
        let before = slab.page_bytes();
        slab.live_cells(page, &mut cells);
        for &cell in &cells {
            moved(cell, slab.relocate(cell).unwrap());
            moves += 1;
        }
        assert!(slab.page_bytes() < before, "an emptied page saves memory");
    }
    moves
}

/// Panics if a class keeps more than 5 % and a page free.
fn assert_compact(slab: &Slab) {
    for class in &slab.classes {
        let (free, size) = (class.cells - class.live, u32::from(class.units) * 8);
        assert!(free * 20 <= class.cells || free * size < PAGE as u32);
    }
}

#[test]
fn classes_are_the_multiples_of_8_that_differ_in_cells_per_page() {
    let mut last = 0;
    for len in 0..=MAX_CELL {
        let size = cell_size(len);
        assert!(size >= len.max(16) && size.is_multiple_of(8) && size >= last);
        assert_eq!(cell_size(size), size);
        assert!(PAGE % size * 50 <= PAGE + PAGE / 8, "{size} wastes a page");
        last = size;
    }
    assert!((16..=360).step_by(8).all(|size| cell_size(size) == size));
    assert_eq!(last, MAX_CELL);
    assert_eq!(CLASSES, usize::from(CLASS_OF_UNITS[MAX_UNITS]) + 1);
}

#[test]
fn a_small_slab_is_small() {
    let mut slab = slab();
    for _ in 0..100 {
        filled(&mut slab, 24, 1);
    }
    assert!(slab.page_bytes() <= 3072, "{}", slab.page_bytes());
    assert_eq!(slab.regions.used_bytes(), PAGE, "blocks of one page");
    assert_eq!(slab.live_bytes(), 2400);
    filled(&mut slab, MAX_CELL, 1);
    assert!(slab.page_bytes() <= 3072 + MAX_CELL);
    assert!(size_of::<Slab>() + slab.record_bytes() <= 1024);
}

#[test]
fn millions_of_cells_are_dense() {
    let mut slab = slab();
    for _ in 0..3_000_000 {
        slab.alloc(56).unwrap();
    }
    assert_eq!(slab.live_bytes(), 3_000_000 * 56);
    let spent = slab.page_bytes() + slab.record_bytes();
    assert!(spent * 1000 <= slab.live_bytes() * 1007, "{spent}");
    while !slab.free_step(1000) {
        slab.validate();
    }
    assert_eq!((slab.page_bytes(), slab.live_bytes()), (0, 0));
    assert_eq!(slab.regions.used_bytes(), 0);
    assert!(slab.record_bytes() < 1024);
    assert_eq!(slab.alloc(56), Some(Ref::from_bits(0)));
}

#[test]
fn compaction_leaves_few_free_places() {
    for len in [16, 56, 300, 2048] {
        let mut slab = slab();
        let mut cells: Vec<Ref> = (0..40_000).map(|_| filled(&mut slab, len, 1)).collect();
        let mut random = 1u64;
        while cells.len() > 30 {
            for _ in 0..cells.len() * 2 / 3 {
                random = random.wrapping_mul(6364136223846793005).wrapping_add(1);
                let victim = (random >> 33) as usize % cells.len();
                slab.free(cells.swap_remove(victim));
            }
            let moves = compact(&mut slab, |old, new| {
                let owner = cells.iter_mut().find(|cell| **cell == old);
                *owner.unwrap() = new;
            });
            assert!(moves <= 2 * cells.len());
            assert_compact(&slab);
            slab.validate();
        }
        assert!(slab.page_bytes() <= cells.len() * cell_size(len) + PAGE / 2);
    }
}

#[test]
fn a_class_that_shrank_to_one_cell_leaves_its_full_page() {
    let mut slab = slab();
    let cells: Vec<Ref> = (0..10_000).map(|_| filled(&mut slab, 64, 1)).collect();
    cells[1..].iter().for_each(|&cell| slab.free(cell));
    assert_eq!(compact(&mut slab, |_, _| ()), 0, "the first page is small");
    let cells: Vec<Ref> = (0..10_000).map(|_| filled(&mut slab, 64, 1)).collect();
    cells[..9999].iter().for_each(|&cell| slab.free(cell));
    compact(&mut slab, |_, _| ());
    assert_eq!(slab.page_bytes(), FIRST_PAGE);
    slab.validate();
}

#[test]
fn relocate_refuses_when_no_other_page_has_a_place() {
    let mut slab = slab();
    let cell = filled(&mut slab, 100, 5);
    assert_eq!(slab.sparse_page(), None);
    assert_eq!(slab.relocate(cell), None);
    assert_eq!(slab.cell(cell), [5; 104]);
    slab.validate();
}

#[test]
#[should_panic(expected = "a cell freed twice")]
fn a_cell_is_freed_once() {
    let mut slab = slab();
    let cell = filled(&mut slab, 32, 1);
    filled(&mut slab, 32, 1);
    slab.free(cell);
    slab.free(cell);
}

/// A stale ref may write over the list of free cells; then a panic is fine, memory outside the slab is not.
#[test]
fn invented_and_stale_refs_stay_inside_the_slab() {
    for link in [0u16, 1, 16, 47, 48, 49, 64, 2047, 2048, 65_519, 65_534, 65_535] {
        let mut slab = slab();
        let cells: Vec<Ref> = (0..4).map(|_| filled(&mut slab, 128, 1)).collect();
        cells[..3].iter().for_each(|&cell| slab.free(cell));
        slab.cell_mut(cells[2])[2..4].copy_from_slice(&link.to_ne_bytes());
        let end = slab.pages[0].base.as_ptr().addr() + usize::from(slab.places[0].length);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..6 {
                let cell = slab.alloc(128).unwrap();
                let bytes = slab.cell(cell).as_ptr_range();
                assert!(cell.page() != 0 || bytes.end.addr() <= end, "outside");
            }
        }));
        if let Err(panic) = outcome {
            let text = panic.downcast_ref::<&str>().unwrap();
            assert!(text.contains("no such cell") || text.contains("free place"));
        }
        if link != 0 {
            continue;
        }
        for bits in (0..=u32::MAX).step_by(9_999_991) {
            let cell = Ref::from_bits(bits);
            slab.address(cell);
            let read = || slab.cell(cell).iter().map(|&byte| usize::from(byte)).sum();
            let _: Result<usize, _> = std::panic::catch_unwind(std::panic::AssertUnwindSafe(read));
        }
    }
}

#[test]
fn slabs_move_between_threads() {
    let mut slab = slab();
    let cell = filled(&mut slab, 50, 3);
    let slab = std::thread::spawn(move || {
        filled(&mut slab, 50, 4);
        slab
    });
    assert_eq!(slab.join().unwrap().cell(cell), [3; 56]);
}

/// The test starts itself in a process of its own, where no other test's memory counts.
#[cfg(target_os = "linux")]
#[test]
fn freed_memory_returns_to_the_system() {
    const CHILD: &str = "LARDER_RESIDENT_TEST";
    if std::env::var_os(CHILD).is_none() {
        let name = module_path!().split_once("::").unwrap().1;
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        child.arg(format!("{name}::freed_memory_returns_to_the_system"));
        let output = child.arg("--exact").env(CHILD, "1").output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
        return;
    }
    let resident = || {
        let text = std::fs::read_to_string("/proc/self/statm").unwrap();
        text.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
    };
    let mut slab = slab();
    let mut cells = Vec::with_capacity(64 << 10);
    let before = resident();
    cells.extend((0..64 << 10).map(|_| filled(&mut slab, 1024, 1)));
    let full = resident();
    assert!(full - before >= 64 << 20);
    cells.drain(..).for_each(|cell| slab.free(cell));
    let after = resident();
    assert!(after <= before + (4 << 20), "{before} {full} {after}");
    assert_eq!(slab.regions.used_bytes(), 0);
}

#[derive(Clone, Debug)]
enum Step {
    Alloc(usize, u16),
    Free(usize, usize),
    Relocate(usize),
    Compact,
    Drop(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let len = prop_oneof![1usize..80, 1usize..=MAX_CELL, Just(40), Just(2000)];
    let step = prop_oneof![
        12 => (len, 1u16..60).prop_map(|(len, count)| Step::Alloc(len, count)),
        8 => (any::<usize>(), 1usize..120).prop_map(|(at, count)| Step::Free(at, count)),
        6 => any::<usize>().prop_map(Step::Relocate),
        2 => Just(Step::Compact),
        1 => (1usize..4).prop_map(Step::Drop),
    ];
    proptest::collection::vec(step, 1..80)
}

/// A slab beside what should be in it.
struct Model {
    slab: Slab,
    cells: Vec<(Ref, Vec<u8>)>,
    stamp: u8,
}

impl Model {
    fn run(&mut self, step: &Step) {
        let Model { slab, cells, stamp } = self;
        match *step {
            Step::Alloc(len, count) => {
                for _ in 0..count {
                    *stamp = stamp.wrapping_add(1);
                    let cell = filled(slab, len, (*stamp).max(1));
                    cells.push((cell, vec![(*stamp).max(1); cell_size(len)]));
                }
            }
            Step::Free(at, count) => {
                for _ in 0..count.min(cells.len()) {
                    slab.free(cells.swap_remove(at % cells.len()).0);
                }
            }
            Step::Relocate(at) => {
                if !cells.is_empty() {
                    let at = at % cells.len();
                    cells[at].0 = slab.relocate(cells[at].0).unwrap_or(cells[at].0);
                }
            }
            Step::Compact => {
                compact(slab, |old, new| {
                    let owner = cells.iter_mut().find(|(cell, _)| *cell == old);
                    owner.unwrap().0 = new;
                });
                assert_compact(slab);
            }
            Step::Drop(pages) => {
                let pages_of = |slab: &Slab| slab.places.iter().filter(|place| place.length != 0).count();
                let before = pages_of(slab);
                assert_eq!(slab.free_step(pages), slab.pages.is_empty());
                assert_eq!(pages_of(slab), before.saturating_sub(pages));
                let kept = slab.pages.len() as u32;
                cells.retain(|(cell, _)| cell.page() < kept);
            }
        }
    }

    fn check(&self) {
        self.slab.validate();
        for (cell, bytes) in &self.cells {
            assert_eq!(self.slab.cell(*cell), bytes);
            assert_eq!(self.slab.address(*cell), self.slab.cell(*cell).as_ptr());
        }
        let live: usize = self.cells.iter().map(|(_, bytes)| bytes.len()).sum();
        assert_eq!(self.slab.live_bytes(), live);
        assert!(self.slab.live_bytes() + self.slab.free_bytes() <= self.slab.page_bytes());
        let mut listed = Vec::new();
        let mut page_cells = Vec::new();
        for page in 0..self.slab.pages.len() as u32 {
            self.slab.live_cells(page, &mut page_cells);
            listed.extend_from_slice(&page_cells);
        }
        let mut named: Vec<Ref> = self.cells.iter().map(|(cell, _)| *cell).collect();
        named.sort();
        assert_eq!(named, listed);
    }
}

proptest! {
    #[test]
    fn random_use_agrees_with_the_model_and_repeats_exactly(steps in steps()) {
        let regions = Regions::new();
        let model = || Model { slab: Slab::new(regions.clone()), cells: Vec::new(), stamp: 0 };
        let (mut one, mut two) = (model(), model());
        for step in &steps {
            one.run(step);
            two.run(step);
            one.check();
            prop_assert_eq!(&one.cells, &two.cells);
            prop_assert_eq!(one.slab.page_bytes(), two.slab.page_bytes());
        }
        drop(two);
        for (cell, _) in one.cells.drain(..) {
            one.slab.free(cell);
        }
        one.slab.validate();
        prop_assert_eq!((one.slab.page_bytes(), one.slab.free_bytes()), (0, 0));
        prop_assert_eq!(regions.used_bytes(), 0);
    }
}
