//! How long a slab's pages are, and where their memory comes from.

use crate::region::{PAGE, SMALLEST_BLOCK};

/// Bytes of a class's first page, unless its cells are larger.
pub(super) const FIRST_PAGE: usize = 512;
/// Further pages are this part of what the class holds already, but this many bytes at least.
const GROWTH: usize = 8;
const SECOND_PAGE: usize = SMALLEST_BLOCK;
/// Where a page's memory comes from.
pub(super) enum Source {
    Page,
    /// A block of this length.
    Block(usize),
    Allocator,
}

/// Where the memory of a page of `length` bytes comes from, with cells of `size` bytes.
pub(super) fn source_of(length: usize, size: usize) -> Source {
    match length {
        PAGE => Source::Page,
        _ if length <= first_length(size) => Source::Allocator,
        _ => Source::Block(length.next_power_of_two()),
    }
}

/// Bytes of a class's first page: whole cells.
fn first_length(size: usize) -> usize {
    (FIRST_PAGE / size).max(1) * size
}

/// Bytes of the next page of a class that holds `held` bytes of cells of `size` bytes: whole cells, or a full page.
pub(super) fn page_length(held: usize, size: usize) -> usize {
    /// So many cells waste little at the end of a block.
    const FEWEST_CELLS: usize = 4;
    if held == 0 {
        return first_length(size);
    }
    let fewest = (FEWEST_CELLS * size).next_power_of_two().clamp(SECOND_PAGE, PAGE);
    match 1 << (held / GROWTH).clamp(fewest, PAGE).ilog2() {
        PAGE => PAGE,
        length => length / size * size,
    }
}
