//! Cells against a model, in both forms: bounds are so low in tests that the form changes all the time.

use proptest::prelude::*;

use super::small::{LITTLE, LOOSE_SHARE, MOST_CELLS};
use super::*;
use crate::rng::Rng;
use crate::slab::MAX_CELL;

#[derive(Clone, Debug)]
enum Step {
    Alloc(usize),
    Free(usize),
    Resize(usize, usize),
    /// Frees all but so many.
    Shrink(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let len = || prop_oneof![8 => 6usize..300, 3 => 6usize..40, 1 => 6usize..=MAX_CELL];
    let step = prop_oneof![
        12 => len().prop_map(Step::Alloc),
        6 => any::<usize>().prop_map(Step::Free),
        20 => (any::<usize>(), len()).prop_map(|(nth, len)| Step::Resize(nth, len)),
        1 => (0usize..30).prop_map(Step::Shrink),
    ];
    prop::collection::vec(step, 0..400)
}

/// Cells, and what should be in them.
struct Checked {
    cells: Cells,
    content: Vec<(Ref, Vec<u8>)>,
    rng: Rng,
    small: usize,
    large: usize,
}

/// What a cell keeps for its owner: the length, then that many bytes.
fn len_of(cell: &[u8]) -> usize {
    usize::from(u16::from_le_bytes([cell[1], cell[2]]))
}

impl Checked {
    fn new(regions: &Arc<Regions>) -> Self {
        Self { cells: Cells::new(regions), content: Vec::new(), rng: Rng::seeded(1), small: 0, large: 0 }
    }

    fn alloc(&mut self, len: usize) {
        let cell = match self.cells.alloc(len) {
            Ok(cell) => cell,
            Err(room) => {
                assert_eq!(room, NoRoom(len));
                let names: Vec<Ref> = self.content.iter().map(|(name, _)| *name).collect();
                let moving = self.cells.make_room(len, names.into_iter(), len_of).unwrap();
                self.carry(moving);
                self.cells.alloc(len).unwrap()
            }
        };
        let bytes = self.cells.cell_mut(cell);
        let mut content: Vec<u8> = (0..len).map(|_| self.rng.next_u64() as u8).collect();
        content[0] = 1;
        content[1..3].copy_from_slice(&(len as u16).to_le_bytes());
        bytes[..len].copy_from_slice(&content);
        self.content.push((cell, content));
    }

    fn free(&mut self, nth: usize) {
        self.cells.free(self.content.swap_remove(nth).0);
    }

    fn carry(&mut self, mut moving: Move) {
        let before: Vec<Ref> = self.content.iter().map(|(name, _)| *name).collect();
        for (name, _) in &mut self.content {
            *name = self.cells.follow(&mut moving, *name);
        }
        for (name, (new, _)) in before.into_iter().zip(&self.content) {
            assert_eq!(moving.followed(name), *new);
        }
        self.cells.end_move(moving);
    }

    fn tighten(&mut self) {
        if self.cells.is_loose(self.content.len()) {
            let names: Vec<Ref> = self.content.iter().map(|(name, _)| *name).collect();
            if let Some(moving) = self.cells.tighten(names.into_iter(), len_of) {
                self.carry(moving);
            }
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Alloc(len) => self.alloc(len),
            Step::Free(_) | Step::Resize(..) if self.content.is_empty() => {}
            Step::Free(nth) => self.free(nth % self.content.len()),
            Step::Resize(nth, len) => {
                let nth = nth % self.content.len();
                self.alloc(len);
                self.free(nth);
            }
            Step::Shrink(left) => {
                while self.content.len() > left {
                    self.free(self.content.len() / 2);
                    self.tighten();
                }
            }
        }
        self.tighten();
        self.check();
    }

    fn check(&mut self) {
        let names: Vec<Ref> = self.content.iter().map(|(name, _)| *name).collect();
        self.cells.validate(&names);
        for (name, content) in &self.content {
            let cell = self.cells.cell(*name);
            assert_eq!(cell.len(), self.cells.size_of(content.len()));
            assert_eq!(cell[..content.len()], content[..]);
        }
        let bytes: usize = self.content.iter().map(|(_, content)| self.cells.size_of(content.len())).sum();
        match self.cells {
            Cells::Small(_) => {
                self.small += 1;
                let free = self.cells.memory() - bytes;
                let list = 24 * 2 * (self.cells.memory() / 2000 + 1);
                assert!(free <= LITTLE.max(bytes / LOOSE_SHARE) + MAX_CELL + list, "{free} bytes beside {bytes}");
            }
            Cells::Large(_) => {
                self.large += 1;
                assert!(self.content.len() > MOST_CELLS / 4 || bytes > 5000, "what is small leaves the slab");
            }
        }
    }
}

proptest! {
    #[test]
    fn agrees_with_a_model(steps in steps()) {
        let regions = Regions::new();
        let mut checked = Checked::new(&regions);
        steps.iter().for_each(|step| checked.step(step));
        while !checked.content.is_empty() {
            checked.free(0);
            checked.tighten();
        }
        checked.check();
        prop_assert_eq!((checked.cells.memory(), regions.used_bytes()), (0, 0));
    }
}

#[test]
fn the_form_changes_both_ways() {
    let regions = Regions::new();
    let mut checked = Checked::new(&regions);
    for turn in 0..20 {
        (0..2 * MOST_CELLS).for_each(|n| checked.step(&Step::Alloc(10 + (n * 37 + turn) % 90)));
        checked.step(&Step::Shrink(turn % 5));
    }
    assert!(checked.small > 500 && checked.large > 500, "{} and {}", checked.small, checked.large);
}

#[test]
fn few_cells_take_what_they_are_long() {
    let mut checked = Checked::new(&Regions::new());
    for cells in 1..=3 {
        checked.step(&Step::Alloc(101));
        assert!(checked.cells.memory() - cells * 104 < 16, "{} for {cells}", checked.cells.memory());
    }
}

#[test]
fn cells_of_all_sizes_stay_dense() {
    let mut checked = Checked::new(&Regions::new());
    let mut rng = Rng::seeded(5);
    (0..50).for_each(|_| checked.step(&Step::Alloc(15 + rng.index(296))));
    let (mut live, mut held) = (0, 0);
    for _ in 0..5000 {
        checked.step(&Step::Resize(rng.index(50), 15 + rng.index(296)));
        live += checked.content.iter().map(|(_, content)| content.len()).sum::<usize>();
        held += checked.cells.memory();
    }
    assert_eq!(checked.large, 0);
    assert!(held * 100 < live * 118, "{} % of what is in use", held * 100 / live);
}

#[test]
fn a_place_is_used_again() {
    let mut checked = Checked::new(&Regions::new());
    (0..20).for_each(|_| checked.step(&Step::Alloc(100)));
    let memory = checked.cells.memory();
    for nth in 0..1000 {
        checked.free(nth % 20);
        checked.alloc(100);
        checked.check();
        assert_eq!(checked.cells.memory(), memory);
    }
}

#[test]
fn equal_work_takes_equal_memory() {
    let work = || {
        let mut checked = Checked::new(&Regions::new());
        let mut rng = Rng::seeded(9);
        (0..40).for_each(|_| checked.step(&Step::Alloc(6 + rng.index(500))));
        (0..500).for_each(|_| checked.step(&Step::Resize(rng.index(40), 6 + rng.index(500))));
        checked.cells.memory()
    };
    assert_eq!(work(), work());
}
