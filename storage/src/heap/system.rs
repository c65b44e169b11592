//! Memory from the system: pages, and blocks of its allocator in the place of ours.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr::NonNull;

use super::REGION;

/// Bytes before a block of the system's allocator that stands in for one of ours.
const STAND_IN_LEAD: usize = 8;

/// Maps a region, aligned to its size.
#[cfg(target_os = "linux")]
pub(super) fn map_region() -> Option<NonNull<u8>> {
    // Mostly the system puts one beside the last one, so that both are one map for it, of which it has only so many.
    let start = map_pages(REGION)?;
    if start.addr().get().is_multiple_of(REGION) {
        return Some(start);
    }
    // SAFETY: what is given back was not used, so it does not matter if that fails.
    unsafe {
        unmap(start, REGION);
        let start = map_pages(2 * REGION)?;
        let lead = start.addr().get().next_multiple_of(REGION) - start.addr().get();
        let region = start.add(lead);
        if lead > 0 {
            unmap(start, lead);
        }
        if lead < REGION {
            unmap(region.add(REGION), REGION - lead);
        }
        Some(region)
    }
}

#[cfg(test)]
thread_local! {
    /// For tests: the system neither maps nor unmaps for this thread.
    pub(super) static REFUSES: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Gives whole pages back; false if the system refuses that.
///
/// # Safety
///
/// They were mapped here, and nothing uses them any more.
#[cfg(target_os = "linux")]
pub(super) unsafe fn unmap(start: NonNull<u8>, bytes: usize) -> bool {
    #[cfg(test)]
    if REFUSES.get() {
        return false;
    }
    // SAFETY: the caller promises it.
    unsafe { rustix::mm::munmap(start.as_ptr().cast(), bytes) }.is_ok()
}

/// Gives the memory behind whole pages back; what they hold is lost.
///
/// # Safety
///
/// They were mapped here, and nobody uses them.
#[cfg(target_os = "linux")]
pub(super) unsafe fn discard(start: NonNull<u8>, bytes: usize) {
    use rustix::mm::{Advice, madvise};
    // SAFETY: the caller promises it.
    let _ = unsafe { madvise(start.as_ptr().cast(), bytes, Advice::LinuxDontNeed) };
}

/// Maps so many bytes, a multiple of [`super::PAGE`].
#[cfg(target_os = "linux")]
pub(super) fn map_pages(bytes: usize) -> Option<NonNull<u8>> {
    use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
    #[cfg(test)]
    if REFUSES.get() {
        return None;
    }
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: the system picks an address where nothing is.
    let start = unsafe { mmap_anonymous(std::ptr::null_mut(), bytes, protection, MapFlags::PRIVATE) };
    start.ok().and_then(|start| NonNull::new(start.cast()))
}

/// Makes a map of [`map_pages`] longer or shorter, where it stands or elsewhere. What is added is zeros.
///
/// # Safety
///
/// It is that long, and if it moves nobody uses it where it stood.
#[cfg(target_os = "linux")]
pub(super) unsafe fn resize_pages(start: NonNull<u8>, old: usize, bytes: usize) -> Option<NonNull<u8>> {
    use rustix::mm::{MremapFlags, mremap};
    #[cfg(test)]
    if REFUSES.get() {
        return None;
    }
    // SAFETY: the caller promises it.
    let moved = unsafe { mremap(start.as_ptr().cast(), old, bytes, MremapFlags::MAYMOVE) };
    moved.ok().and_then(|moved| NonNull::new(moved.cast()))
}

/// A block of the system's allocator where there is no memory for one of ours, or there are too many. It stands behind 8
/// bytes, so not at a multiple of 16 as ours do, which tells it apart. Null for a larger alignment.
#[cold]
pub(super) fn stand_in(layout: Layout) -> *mut u8 {
    let Some(whole) = stand_in_layout(layout) else { return std::ptr::null_mut() };
    // SAFETY: its size is not 0.
    let block = unsafe { System.alloc(whole) };
    // SAFETY: the block has so many bytes.
    if block.is_null() { block } else { unsafe { block.add(STAND_IN_LEAD) } }
}

#[inline]
pub(super) fn is_stand_in(block: *mut u8) -> bool {
    !block.addr().is_multiple_of(2 * STAND_IN_LEAD)
}

/// Gives one back.
///
/// # Safety
///
/// It is one of this layout, and nobody uses it any more.
#[cold]
pub(super) unsafe fn dismiss(block: *mut u8, layout: Layout) {
    if let Some(whole) = stand_in_layout(layout) {
        // SAFETY: so it was made.
        unsafe { System.dealloc(block.sub(STAND_IN_LEAD), whole) };
    }
}

/// What a stand-in takes.
fn stand_in_layout(layout: Layout) -> Option<Layout> {
    let size = layout.size().checked_add(STAND_IN_LEAD)?;
    (layout.align() <= STAND_IN_LEAD).then(|| Layout::from_size_align(size, 2 * STAND_IN_LEAD).ok()).flatten()
}

/// Where memory is not given back page by page there are neither regions nor maps.
#[cfg(not(target_os = "linux"))]
pub(super) fn map_region() -> Option<NonNull<u8>> {
    None
}

/// See above.
#[cfg(not(target_os = "linux"))]
pub(super) fn map_pages(_: usize) -> Option<NonNull<u8>> {
    None
}

/// See above.
///
/// # Safety
///
/// None is needed.
#[cfg(not(target_os = "linux"))]
pub(super) unsafe fn resize_pages(_: NonNull<u8>, _: usize, _: usize) -> Option<NonNull<u8>> {
    None
}

/// See above.
///
/// # Safety
///
/// None is needed.
#[cfg(not(target_os = "linux"))]
pub(super) unsafe fn unmap(_: NonNull<u8>, _: usize) -> bool {
    true
}

/// See above.
///
/// # Safety
///
/// None is needed.
#[cfg(not(target_os = "linux"))]
pub(super) unsafe fn discard(_: NonNull<u8>, _: usize) {}
