//! Bytes that several may hold, as an `Arc<Vec<u8>>`, but that what counts them stands in a movable block, too.

use std::ops::Deref;
use std::process::abort;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering, fence};

use super::{Movable, MovableBox, Mover, taken};

/// The bytes; see the module's page.
pub struct Shared(NonNull<Counted>);

struct Counted {
    holders: AtomicUsize,
    bytes: Vec<u8>,
}

// SAFETY: as for an `Arc`: whoever is among several holders only reads, and the last one drops.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    /// Bytes that it takes beside those of the vector.
    pub(crate) const HEAD: usize = taken(size_of::<Counted>());

    /// The vector, if nobody else holds it.
    pub fn get_mut(&mut self) -> Option<&mut Vec<u8>> {
        // Acquires what those did that held it; and nobody can become a holder while `self` is borrowed.
        let is_alone = self.counted().holders.load(Ordering::Acquire) == 1;
        if !is_alone {
            return None;
        }
        // SAFETY: there is no other holder.
        Some(unsafe { &mut self.0.as_mut().bytes })
    }

    /// The vector, if nobody else holds it; else it is let go.
    pub fn into_inner(mut self) -> Option<Vec<u8>> {
        self.get_mut().map(std::mem::take)
    }

    /// Moves what is to be moved, unless others hold it.
    pub(crate) fn settle(&mut self, mover: &mut Mover) {
        let address = self.0.addr().get();
        let Some(bytes) = self.get_mut() else { return };
        mover.vec(bytes);
        if mover.moves(address, size_of::<Counted>()) {
            *self = std::mem::take(bytes).into();
        }
    }

    fn counted(&self) -> &Counted {
        // SAFETY: it lives as long as a holder does.
        unsafe { self.0.as_ref() }
    }
}

impl Default for Shared {
    fn default() -> Self {
        Vec::new().into()
    }
}

impl From<Vec<u8>> for Shared {
    fn from(bytes: Vec<u8>) -> Self {
        let counted = MovableBox::new_in(Counted { holders: AtomicUsize::new(1), bytes }, Movable);
        let (counted, Movable) = MovableBox::into_non_null(counted);
        Self(counted)
    }
}

impl Clone for Shared {
    fn clone(&self) -> Self {
        // Who has one may make another without seeing what others do.
        if self.counted().holders.fetch_add(1, Ordering::Relaxed) > isize::MAX as usize {
            abort();
        }
        Self(self.0)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // What holders did comes before the last one drops it.
        if self.counted().holders.fetch_sub(1, Ordering::Release) == 1 {
            fence(Ordering::Acquire);
            // SAFETY: it came from a box of this allocator, and nobody holds it any more.
            drop(unsafe { MovableBox::from_raw_in(self.0.as_ptr(), Movable) });
        }
    }
}

impl Deref for Shared {
    type Target = Vec<u8>;

    #[inline]
    fn deref(&self) -> &Vec<u8> {
        &self.counted().bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_holder_changes_it() {
        let mut one = Shared::from(vec![1, 2, 3]);
        let other = one.clone();
        assert!(one.get_mut().is_none());
        assert_eq!((&**one, &**other), (&[1, 2, 3][..], &[1, 2, 3][..]));
        assert_eq!(other.into_inner(), None);
        if let Some(bytes) = one.get_mut() {
            bytes.push(4);
        }
        assert_eq!(one.into_inner(), Some(vec![1, 2, 3, 4]));
    }

    #[test]
    fn the_last_of_many_threads_drops_it() {
        let shared = Shared::from(vec![7; 1000]);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        let mine = shared.clone();
                        assert_eq!(mine.iter().map(|byte| usize::from(*byte)).sum::<usize>(), 7000);
                    }
                });
            }
        });
        assert_eq!(shared.into_inner().map(|bytes| bytes.len()), Some(1000));
    }
}
