//! Memory for regions from the system.

use std::ptr::NonNull;

use super::REGION;

/// Maps a region, aligned to its size.
#[cfg(target_os = "linux")]
pub(super) fn map() -> Option<NonNull<u8>> {
    use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};
    // SAFETY: the system picks an address where nothing is; what is given back was not used.
    unsafe {
        let map = |bytes| {
            let protection = ProtFlags::READ | ProtFlags::WRITE;
            mmap_anonymous(std::ptr::null_mut(), bytes, protection, MapFlags::PRIVATE).ok()
        };
        // Mostly the system puts one beside the last one, so that both are one map for it, of which it has only so many.
        let start = map(REGION)?;
        if start.addr().is_multiple_of(REGION) {
            return NonNull::new(start.cast());
        }
        let _ = munmap(start, REGION);
        let start = map(2 * REGION)?;
        let lead = start.addr().next_multiple_of(REGION) - start.addr();
        let region = start.cast::<u8>().add(lead);
        if lead > 0 {
            let _ = munmap(start, lead);
        }
        if lead < REGION {
            let _ = munmap(region.add(REGION).cast(), REGION - lead);
        }
        NonNull::new(region)
    }
}

/// Gives a region back.
///
/// # Safety
///
/// It came from [`map`], and nothing uses it any more.
#[cfg(target_os = "linux")]
pub(super) unsafe fn unmap(region: NonNull<u8>) {
    // SAFETY: the caller promises it.
    let _ = unsafe { rustix::mm::munmap(region.as_ptr().cast(), REGION) };
}

/// Gives the memory behind whole pages back; what they hold is lost.
///
/// # Safety
///
/// The bytes are within a region of [`map`], and nobody uses them.
#[cfg(target_os = "linux")]
pub(super) unsafe fn discard(start: NonNull<u8>, bytes: usize) {
    use rustix::mm::{Advice, madvise};
    // SAFETY: the caller promises it.
    let _ = unsafe { madvise(start.as_ptr().cast(), bytes, Advice::LinuxDontNeed) };
}

/// Has the system's allocator take a map of its own for each block that is too long for a region, whatever it freed
/// before, as such blocks would leave gaps among its small ones.
pub(super) fn separate_huge_blocks() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        const M_MMAP_THRESHOLD: i32 = -3;
        unsafe extern "C" {
            fn mallopt(option: i32, value: i32) -> i32;
        }
        // SAFETY: it takes any number, and may be called by any thread.
        unsafe { mallopt(M_MMAP_THRESHOLD, super::MOST as i32) };
    }
}

/// Where memory is not given back page by page there are no regions.
#[cfg(not(target_os = "linux"))]
pub(super) fn map() -> Option<NonNull<u8>> {
    None
}

/// See above.
///
/// # Safety
///
/// None is needed.
#[cfg(not(target_os = "linux"))]
pub(super) unsafe fn unmap(_: NonNull<u8>) {}

/// See above.
///
/// # Safety
///
/// None is needed.
#[cfg(not(target_os = "linux"))]
pub(super) unsafe fn discard(_: NonNull<u8>, _: usize) {}
