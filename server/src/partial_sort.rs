//! Sorting only a part of what is there: the quicksort of Bentley and McIlroy ("Engineering a sort function", 1993) that
//! leaves alone what does not reach into the part. Redis sorts so where an answer is limited, and as the sort is not
//! stable, the same steps are needed to have equal elements in the same order.

use std::cmp::Ordering;
use std::ops::Range;

/// Sorts `items` so far that those in `part` are the ones that stand there when all are sorted.
pub(crate) fn sort_part<T: Copy>(items: &mut [T], part: Range<usize>, compare: &mut dyn FnMut(&T, &T) -> Ordering) {
    // Enough for any data but such as was made to keep quicksort busy; that is sorted otherwise, in bounded time.
    let depth = 4 * (usize::BITS - items.len().leading_zeros()) + 16;
    sort(items, part, depth, compare);
}

fn sort<T: Copy>(
    mut items: &mut [T],
    mut part: Range<usize>,
    mut depth: u32,
    compare: &mut dyn FnMut(&T, &T) -> Ordering,
) {
    loop {
        if items.len() < 7 {
            return insertion_sort(items, compare);
        }
        if depth == 0 {
            return items.sort_by(compare);
        }
        depth -= 1;
        let pivot = pivot(items, compare);
        items.swap(0, pivot);
        let (less, greater) = partition(items, compare);
        if less > 1 && part.start < less {
            sort(&mut items[..less], part.start..part.end.min(less), depth, compare);
        }
        let greater_from = items.len() - greater;
        if greater <= 1 || part.end <= greater_from {
            return;
        }
        items = &mut items[greater_from..];
        part = part.start.saturating_sub(greater_from)..part.end - greater_from;
    }
}

fn insertion_sort<T: Copy>(items: &mut [T], compare: &mut dyn FnMut(&T, &T) -> Ordering) {
    for from in 1..items.len() {
        let mut at = from;
        while at > 0 && compare(&items[at - 1], &items[at]).is_gt() {
            items.swap(at - 1, at);
            at -= 1;
        }
    }
}

/// The middle one of three elements; of many, of nine.
fn pivot<T: Copy>(items: &[T], compare: &mut dyn FnMut(&T, &T) -> Ordering) -> usize {
    let (len, last) = (items.len(), items.len() - 1);
    let mut median = |a: usize, b: usize, c: usize| {
        let mut is = |one: usize, order: Ordering, other: usize| compare(&items[one], &items[other]) == order;
        if is(a, Ordering::Less, b) {
            if is(b, Ordering::Less, c) {
                b
            } else if is(a, Ordering::Less, c) {
                c
            } else {
                a
            }
        } else if is(b, Ordering::Greater, c) {
            b
        } else if is(a, Ordering::Less, c) {
            a
        } else {
            c
        }
    };
    match len {
        ..=7 => len / 2,
        8..=40 => median(0, len / 2, last),
        _ => {
            let step = len / 8;
            let low = median(0, step, 2 * step);
            let middle = median(len / 2 - step, len / 2, len / 2 + step);
            let high = median(last - 2 * step, last - step, last);
            median(low, middle, high)
        }
    }
}

/// Moves what is less than the first element to the front and what is greater to the end; how many these are. Equal ones
/// gather at both ends first and are then swapped into the middle.
fn partition<T: Copy>(items: &mut [T], compare: &mut dyn FnMut(&T, &T) -> Ordering) -> (usize, usize) {
    let len = items.len();
    let (mut equal_front, mut front) = (1, 1);
    let (mut back, mut equal_back) = (len - 1, len - 1);
    loop {
        while front <= back {
            match compare(&items[front], &items[0]) {
                Ordering::Greater => break,
                Ordering::Equal => {
                    items.swap(equal_front, front);
                    equal_front += 1;
                }
                Ordering::Less => {}
            }
            front += 1;
        }
        while front <= back {
            match compare(&items[back], &items[0]) {
                Ordering::Less => break,
                Ordering::Equal => {
                    items.swap(back, equal_back);
                    equal_back -= 1;
                }
                Ordering::Greater => {}
            }
            back -= 1;
        }
        if front > back {
            break;
        }
        items.swap(front, back);
        front += 1;
        back -= 1;
    }
    let (less, greater) = (front - equal_front, equal_back - back);
    let moved = equal_front.min(less);
    swap_ranges(items, 0, front - moved, moved);
    let moved = greater.min(len - 1 - equal_back);
    swap_ranges(items, front, len - moved, moved);
    (less, greater)
}

fn swap_ranges<T: Copy>(items: &mut [T], one: usize, other: usize, len: usize) {
    (0..len).for_each(|at| items.swap(one + at, other + at));
}

#[cfg(test)]
mod tests {
    use larder_storage::rng::Rng;

    use super::*;

    #[test]
    fn the_part_is_sorted() {
        let mut rng = Rng::seeded(1);
        for _ in 0..2000 {
            let len = rng.index(300);
            let different = 1 + rng.index(400);
            let mut items: Vec<usize> = (0..len).map(|_| rng.index(different)).collect();
            let mut sorted = items.clone();
            sorted.sort_unstable();
            let (one, other) = (rng.index(len + 1), rng.index(len + 1));
            let part = one.min(other)..one.max(other);
            sort_part(&mut items, part.clone(), &mut usize::cmp);
            assert_eq!(items[part.clone()], sorted[part.clone()]);
            items.sort_unstable();
            assert_eq!(items, sorted, "nothing is lost");
        }
    }

    #[test]
    fn hostile_orders_are_sorted_in_bounded_time() {
        // McIlroy's adversary: elements get their value when a comparison asks for it, so that each pivot is among the
        // least.
        let len = 20_000;
        let mut items: Vec<usize> = (0..len).collect();
        let mut values: Vec<Option<usize>> = vec![None; len];
        let (mut next, mut candidate, mut comparisons) = (0, 0, 0_u64);
        sort_part(&mut items, 0..len, &mut |one, other| {
            comparisons += 1;
            if values[*one].is_none() && values[*other].is_none() {
                let fixed = if *one == candidate { *one } else { *other };
                values[fixed] = Some(next);
                next += 1;
            }
            if values[*one].is_none() {
                candidate = *one;
            } else if values[*other].is_none() {
                candidate = *other;
            }
            values[*one].unwrap_or(usize::MAX).cmp(&values[*other].unwrap_or(usize::MAX))
        });
        assert!(comparisons < 5_000_000, "{comparisons}");
    }
}
