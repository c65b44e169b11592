//! Size classes: which cells pages are cut into.
//!
//! A class is the largest multiple of 8 of which equally many cells fit into a full page, so that no class differs from
//! its neighbour without holding more cells, and a page wastes 2 % at most at its end.

use crate::region::PAGE;

/// The largest cell, in bytes.
pub const MAX_CELL: usize = 2048;

/// Bytes of a unit, in which sizes and places within a page are counted.
pub(super) const UNIT: usize = 8;
pub(super) const PAGE_UNITS: usize = PAGE / UNIT;
const MIN_UNITS: usize = 2;
pub(super) const MAX_UNITS: usize = MAX_CELL / UNIT;

/// Bytes of the cell that holds `len` bytes. Panics if `len` is above [`MAX_CELL`].
#[inline]
pub const fn cell_size(len: usize) -> usize {
    CLASS_UNITS[class_of(len.div_ceil(UNIT))] as usize * UNIT
}

/// Units of a cell that holds so many: the most that still let equally many cells fit into a page.
pub(super) const fn class_units(units: usize) -> usize {
    let units = if units < MIN_UNITS { MIN_UNITS } else { units };
    PAGE_UNITS / (PAGE_UNITS / units)
}

/// The class of a number of units. Panics above [`MAX_UNITS`].
#[inline]
pub(super) const fn class_of(units: usize) -> usize {
    CLASS_OF_UNITS[units] as usize
}

pub(super) const CLASSES: usize = {
    let (mut count, mut units) = (0, MIN_UNITS);
    while units <= MAX_UNITS {
        count += 1;
        units = class_units(units) + 1;
    }
    count
};

/// Units of a cell, by class.
pub(super) static CLASS_UNITS: [u16; CLASSES] = {
    let mut table = [0; CLASSES];
    let (mut class, mut units) = (0, MIN_UNITS);
    while class < CLASSES {
        table[class] = class_units(units) as u16;
        units = class_units(units) + 1;
        class += 1;
    }
    table
};

/// Class by units.
pub(super) static CLASS_OF_UNITS: [u8; MAX_UNITS + 1] = {
    let mut table = [0; MAX_UNITS + 1];
    let (mut class, mut units) = (0, 0);
    while units <= MAX_UNITS {
        if units > class_units(CLASS_UNITS[class] as usize) {
            class += 1;
        }
        table[units] = class as u8;
        units += 1;
    }
    table
};
