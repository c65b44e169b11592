//! Whether no element of a sequence occurs twice, for those that come from elsewhere.

use super::pack::Element;

/// Whether no two elements are equal; they must be in the form in which they are stored. O(N log N).
pub(super) fn are_distinct<'a>(elements: impl Iterator<Item = Element<'a>>) -> bool {
    let key = |element| match element {
        Element::Int(number) => (None, number),
        Element::Bytes(bytes) => (Some(bytes), 0),
    };
    let mut all: Vec<_> = elements.map(key).collect();
    all.sort_unstable();
    all.windows(2).all(|pair| pair[0] != pair[1])
}
