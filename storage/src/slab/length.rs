//! How long a slab's pages are, and where their memory comes from.

use crate::region::{BLOCK_UNIT, PAGE};

/// Bytes of a class's first page, unless its cells are larger.
pub(super) const FIRST_PAGE: usize = 512;
/// What a page may leave of its block: a part in so many.
const REST_SHARE: usize = 32;

/// Where a page's memory comes from.
pub(super) enum Source {
    Page,
    /// A block of this length.
    Block(usize),
}

/// Where the memory of a page of `length` bytes comes from.
pub(super) fn source_of(length: usize) -> Source {
    match length {
        PAGE => Source::Page,
        _ => Source::Block(length.next_multiple_of(BLOCK_UNIT)),
    }
}

/// Bytes of a page that should have `due`, for cells of `size` bytes: a full page, or whole cells.
pub(super) fn page_length(due: usize, size: usize) -> usize {
    /// Of what is a block: two of them fit into a full page.
    const LONGEST: usize = PAGE / 2;
    if due >= PAGE {
        return PAGE;
    }
    // A few cells more may fill a block better.
    let fewest = (due.clamp(FIRST_PAGE, LONGEST) / size).max(1);
    let lengths = (fewest..=2 * fewest + 1).map(|cells| cells * size).take_while(|length| *length <= LONGEST);
    let rest = |length: usize| length.next_multiple_of(BLOCK_UNIT) - length;
    let fits = lengths.clone().find(|length| rest(*length) * REST_SHARE <= *length);
    fits.or_else(|| lengths.min_by_key(|length| rest(*length) * PAGE / length)).unwrap_or(size)
}
