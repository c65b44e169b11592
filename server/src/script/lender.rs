//! A function that borrows, lent for a while to functions that outlive what it borrows.
//!
//! The interpreter's functions of the host live as long as it does, while what a script's calls work on (the session, the
//! locked shards) is borrowed for one script. The interpreter's own way to lend makes several objects for each script,
//! which takes longer than most scripts do. So here a pointer is kept, for exactly as long as [`Lender::lend`] runs.

#![expect(unsafe_code, reason = "a borrow whose end no type can tell")]

use std::cell::Cell;
use std::ptr::NonNull;

type Lent<A> = NonNull<dyn FnMut(&mut A)>;

/// See the module's page.
pub(super) struct Lender<A> {
    lent: Cell<Option<Lent<A>>>,
}

impl<A> Default for Lender<A> {
    fn default() -> Self {
        Self { lent: Cell::new(None) }
    }
}

impl<A> Lender<A> {
    /// Does some work, during which [`Lender::call`] calls this function.
    pub(super) fn lend<R>(&self, function: &mut dyn FnMut(&mut A), work: impl FnOnce() -> R) -> R {
        let pointer = NonNull::from(function);
        // SAFETY: only the lifetime is another. The pointer is there until `_back` is dropped, which is before this function
        // returns or unwinds, and so before the borrow ends.
        let pointer = unsafe { std::mem::transmute::<NonNull<dyn FnMut(&mut A) + '_>, Lent<A>>(pointer) };
        let _back = Back { lender: self, before: self.lent.replace(Some(pointer)) };
        work()
    }

    /// Calls the function that is lent; false if none is, or if it is just running.
    pub(super) fn call(&self, argument: &mut A) -> bool {
        let Some(mut pointer) = self.lent.take() else { return false };
        let _back = Back { lender: self, before: Some(pointer) };
        // SAFETY: `lend` has not returned, or the pointer would not be there; so the borrow lasts. The pointer has been taken
        // out, so nobody else makes a reference of it meanwhile.
        let function = unsafe { pointer.as_mut() };
        function(argument);
        true
    }
}

/// Puts back what was lent before.
struct Back<'l, A> {
    lender: &'l Lender<A>,
    before: Option<Lent<A>>,
}

impl<A> Drop for Back<'_, A> {
    fn drop(&mut self) {
        self.lender.lent.set(self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    #[test]
    fn a_function_is_called_while_it_is_lent() {
        let (lender, mut sum) = (Lender::default(), 0);
        assert!(!lender.call(&mut 1));
        let mut add = |number: &mut i32| sum += *number;
        let result = lender.lend(&mut add, || {
            assert!(lender.call(&mut 2) && lender.call(&mut 3));
            "result"
        });
        assert_eq!((result, sum), ("result", 5));
        assert!(!lender.call(&mut 1));
    }

    #[test]
    fn it_is_not_called_while_it_runs() {
        let (lender, mut calls) = (Lender::default(), 0);
        let mut function = |(): &mut ()| {
            calls += 1;
            assert!(!lender.call(&mut ()));
        };
        lender.lend(&mut function, || assert!(lender.call(&mut ()) && lender.call(&mut ())));
        assert_eq!(calls, 2);
    }

    #[test]
    fn one_may_be_lent_while_another_is() {
        let (lender, mut outer, mut inner) = (Lender::default(), 0, 0);
        let (mut count_outer, mut count_inner) = (|(): &mut ()| outer += 1, |(): &mut ()| inner += 1);
        lender.lend(&mut count_outer, || {
            lender.lend(&mut count_inner, || assert!(lender.call(&mut ())));
            assert!(lender.call(&mut ()));
        });
        assert_eq!((outer, inner), (1, 1));
    }

    #[test]
    fn a_panic_takes_it_back() {
        let lender = Lender::default();
        let mut function = |(): &mut ()| panic!("expected");
        let called = catch_unwind(AssertUnwindSafe(|| lender.lend(&mut function, || lender.call(&mut ()))));
        assert!(called.is_err());
        assert!(!lender.call(&mut ()));
    }
}
