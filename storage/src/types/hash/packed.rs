//! The packed form of a small hash: a [`Pack`] of fields and values in turn.
//!
//! Once a field gets an expiry, the pack is marked as timed and each value is followed by a third element, the time in
//! milliseconds since 1970 at which the field expires, 0 for never. It stays so; Redis calls this form `listpackex`.
//! What Redis would make a hash table for the length of a field or value is marked as long, and stays here while it is
//! short enough as a whole.
//! Fields that expire stand first, the soonest foremost, so that what is due is found at the beginning; a field that
//! gets an expiry comes before those of the same time, one that loses it goes to the end.
//!
//! Invariants: no field occurs twice; times ascend, but for 0, which comes last.

use super::Field;
use crate::types::pack::{self, Element, Mark, Pack};

/// Whether a packed hash may become `more` bytes longer, if it `is_long` then.
#[inline]
pub(super) fn has_room(bytes: &[u8], more: usize, is_long: bool) -> bool {
    bytes.len() + more < pack::most_bytes(is_long || Packed(bytes).is_long())
}

/// Whether a field of a packed hash may be set to a value, either of which `is_long` or not.
#[inline]
pub(super) fn has_room_for(bytes: &[u8], name: &[u8], value: &[u8], is_long: bool) -> bool {
    // Mostly there is, whatever is there already.
    has_room(bytes, name.len() + value.len(), is_long) || {
        let old = Packed(bytes).get(name).map(|field| field.value.size());
        old.is_some_and(|old| has_room(bytes, Element::of(value).size().saturating_sub(old), is_long))
    }
}

/// A packed hash, for reading.
#[derive(Clone, Copy)]
pub(super) struct Packed<'a>(pub(super) &'a [u8]);

/// Where the parts of one field stand.
#[derive(Clone, Copy)]
struct Span {
    start: usize,
    value: usize,
    /// Where the time stands; `end` if there is none.
    time: usize,
    end: usize,
}

impl<'a> Packed<'a> {
    fn pack(self) -> Pack<'a> {
        Pack(self.0)
    }

    /// Whether fields have times.
    #[inline]
    pub(super) fn has_times(self) -> bool {
        self.pack().is_marked(Mark::Timed)
    }

    /// Whether Redis has a hash table.
    #[inline]
    pub(super) fn is_long(self) -> bool {
        self.pack().is_marked(Mark::Long)
    }

    /// Elements of one field.
    #[inline]
    fn step(self) -> usize {
        if self.has_times() { 3 } else { 2 }
    }

    #[inline]
    pub(super) fn len(self) -> usize {
        self.pack().len() / self.step()
    }

    /// The field at a place, and where its parts stand.
    #[inline]
    fn at(self, start: usize) -> Option<(Field<'a>, Span)> {
        let pack = self.pack();
        let (name, value_at) = pack.get(start)?;
        let (value, time) = pack.get(value_at)?;
        let (mut expiry, mut end) = (None, time);
        if self.has_times()
            && let Some((element, after)) = pack.get(time)
        {
            (expiry, end) = (time_of(element), after);
        }
        Some((Field { name, value, expiry }, Span { start, value: value_at, time, end }))
    }

    #[inline]
    fn find(self, name: &[u8]) -> Option<(Field<'a>, Span)> {
        let start = self.pack().find(Element::of(name), self.pack().start(), self.step())?;
        self.at(start)
    }

    #[inline]
    pub(super) fn get(self, name: &[u8]) -> Option<Field<'a>> {
        self.find(name).map(|(field, _)| field)
    }

    /// The field of this number.
    pub(super) fn nth(self, number: usize) -> Option<Field<'a>> {
        let start = self.pack().place(number * self.step())?;
        self.at(start).map(|(field, _)| field)
    }

    #[inline]
    fn spans(self) -> impl Iterator<Item = (Field<'a>, Span)> + use<'a> {
        let mut at = self.pack().start();
        std::iter::from_fn(move || {
            let found = self.at(at)?;
            at = found.1.end;
            Some(found)
        })
    }

    /// The fields, in order.
    #[inline]
    pub(super) fn iter(self) -> impl Iterator<Item = Field<'a>> + use<'a> {
        self.spans().map(|(field, _)| field)
    }

    /// The time at which the first field expires.
    #[inline]
    pub(super) fn first_deadline(self) -> u64 {
        if !self.has_times() {
            return u64::MAX;
        }
        self.at(self.pack().start()).and_then(|(field, _)| field.expiry).unwrap_or(u64::MAX)
    }

    /// Whether times ascend, but for 0, which comes last.
    pub(super) fn is_in_order(self) -> bool {
        self.iter().map(|field| field.expiry.unwrap_or(u64::MAX)).is_sorted()
    }

    /// Checks the module's invariants; panics with what is wrong.
    pub(super) fn validate(self) {
        self.pack().validate();
        assert!(self.pack().len().is_multiple_of(self.step()), "every field is whole");
        assert_eq!(self.iter().count(), self.len(), "every field is counted");
        assert!(self.is_in_order(), "times ascend");
        let mut names: Vec<Vec<u8>> =
            self.iter().map(|field| field.name.text(&mut itoa::Buffer::new()).to_vec()).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "no field occurs twice");
    }
}

fn time_of(element: Element<'_>) -> Option<u64> {
    match element {
        Element::Int(at) if at > 0 => Some(at as u64),
        _ => None,
    }
}

/// Sets a field that is there to a value, with its expiry or without; false, and nothing changes, if it is not.
#[inline]
pub(super) fn replace(bytes: &mut Vec<u8>, name: &[u8], value: &[u8], keep_expiry: bool) -> bool {
    let Some((field, span)) = Packed(bytes).find(name) else { return false };
    let loses_expiry = field.expiry.is_some() && !keep_expiry;
    let value = Element::of(value);
    reserve(bytes, value.size());
    pack::replace(bytes, span.value, value);
    if loses_expiry {
        set_time(bytes, span.start, None);
    }
    true
}

/// Adds a field that is absent, at the end.
#[inline]
pub(super) fn append(bytes: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    let has_times = Packed(bytes).has_times();
    let (name, value) = (Element::of(name), Element::of(value));
    reserve(bytes, name.size() + value.size() + 4);
    pack::push_back(bytes, name);
    pack::push_back(bytes, value);
    if has_times {
        pack::push_back(bytes, Element::Int(0));
    }
}

/// Makes room for some more bytes: an eighth more than is needed, as doubling would leave a third unused.
fn reserve(bytes: &mut Vec<u8>, more: usize) {
    if bytes.len() + more > bytes.capacity() {
        bytes.reserve_exact(more + bytes.len() / 8);
    }
}

/// Takes a field out; whether it was there.
pub(super) fn remove(bytes: &mut Vec<u8>, name: &[u8]) -> bool {
    let Some((_, span)) = Packed(bytes).find(name) else { return false };
    let step = Packed(bytes).step();
    pack::remove(bytes, span.start, step);
    true
}

/// Sets or removes the expiry of a field; false if there is no such field.
pub(super) fn set_expiry(bytes: &mut Vec<u8>, name: &[u8], expiry: Option<u64>) -> bool {
    if expiry.is_some() && Packed(bytes).get(name).is_some() {
        add_times(bytes);
    }
    let Some((field, span)) = Packed(bytes).find(name) else { return false };
    if field.expiry != expiry {
        set_time(bytes, span.start, expiry);
    }
    true
}

/// Gives each value its third element.
fn add_times(bytes: &mut Vec<u8>) {
    let packed = Packed(bytes);
    if packed.has_times() || packed.len() == 0 {
        return;
    }
    let mut with_times = Vec::with_capacity(bytes.len() + packed.len() * Element::Int(0).size());
    for field in packed.iter() {
        pack::push_back(&mut with_times, field.name);
        pack::push_back(&mut with_times, field.value);
        pack::push_back(&mut with_times, Element::Int(0));
    }
    pack::mark(&mut with_times, Mark::Timed);
    if packed.is_long() {
        pack::mark(&mut with_times, Mark::Long);
    }
    *bytes = with_times;
}

/// Sets the time of the field at a place, and moves the field to where it belongs then.
fn set_time(bytes: &mut Vec<u8>, start: usize, expiry: Option<u64>) {
    let Some((_, Span { time, .. })) = Packed(bytes).at(start) else { return };
    let number = expiry.map_or(0, |at| at as i64);
    reserve(bytes, Element::Int(number).size());
    pack::replace(bytes, time, Element::Int(number));
    let packed = Packed(bytes);
    let Some((_, Span { end, .. })) = packed.at(start) else { return };
    let comes_after = |other: Option<u64>| match (other, expiry) {
        (Some(other), Some(at)) => other >= at,
        (None, Some(_)) => true,
        (_, None) => false,
    };
    let to = packed.spans().find(|(field, span)| span.start != start && comes_after(field.expiry));
    let to = to.map_or(bytes.len(), |(_, span)| span.start);
    if to > end {
        bytes[start..to].rotate_left(end - start);
    } else if to < start {
        bytes[to..end].rotate_right(end - start);
    }
}

/// Takes up to `most` fields out whose time has come, each shown first; how many.
pub(super) fn remove_due(bytes: &mut Vec<u8>, now: u64, most: usize, mut each: impl FnMut(Field<'_>)) -> usize {
    if !Packed(bytes).has_times() {
        return 0;
    }
    let due = Packed(bytes).iter().take_while(|field| field.has_expired(now)).take(most);
    let count = due.map(&mut each).count();
    let start = Packed(bytes).pack().start();
    pack::remove(bytes, start, 3 * count);
    count
}
