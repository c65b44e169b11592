//! Streams move out of regions of the heap that are to be left. All that one of nodes and groups owns is movable.
//!
//! Its parts are numbers of three digits: the log or a group, what of it, and which chunk or element of that. So the next
//! part is found without counting all before it, whatever came and went meanwhile. What would take a longer digit stays.

use super::group::Group;
use super::{Parts, Stream};
use crate::heap::{Mover, Settle};

/// The digits' bits, the last one's first.
const AT_BITS: u32 = usize::BITS / 8 * 3;
const SLOT_BITS: u32 = usize::BITS / 16 * 5;
/// The highest first digit.
const MOST: usize = (1 << (usize::BITS - AT_BITS - SLOT_BITS)) - 1;

/// A part: of the log, which is 0, or a group's place and 1; there in a slot.
struct Digits {
    group: usize,
    slot: usize,
    at: usize,
}

impl Digits {
    fn of(part: usize) -> Self {
        let (group, slot) = (part >> (AT_BITS + SLOT_BITS), part >> AT_BITS & ((1 << SLOT_BITS) - 1));
        Self { group, slot, at: part & ((1 << AT_BITS) - 1) }
    }

    /// One that is too long is carried, to where the next slot or group begins.
    fn part(self) -> usize {
        (self.group.min(MOST) << (AT_BITS + SLOT_BITS)) + (self.slot << AT_BITS) + self.at
    }
}

impl Parts {
    fn after(&self, digits: Digits) -> Digits {
        let Digits { group, slot, at } = digits;
        let Some(place) = group.checked_sub(1) else {
            let at = self.log.nodes.after(at);
            let is_end = at >= self.log.nodes.parts();
            return if is_end { Digits { group: 1, slot: 0, at: 0 } } else { Digits { at, ..digits } };
        };
        match self.groups.at_part(place).and_then(|group| group.after(slot, at)) {
            Some((slot, at)) => Digits { group, slot, at },
            None => Digits { group: 1 + self.groups.after(place), slot: 0, at: 0 },
        }
    }
}

impl Settle for Stream {
    fn parts(&self) -> usize {
        match self {
            Self::Packed(_) => 1,
            Self::Parts(parts) => Digits { group: 1 + parts.groups.parts(), slot: 0, at: 0 }.part(),
        }
    }

    fn after(&self, part: usize) -> usize {
        match self {
            Self::Packed(_) => part + 1,
            Self::Parts(parts) => parts.after(Digits::of(part)).part(),
        }
    }

    fn settle(&mut self, part: usize, mover: &mut Mover) {
        let parts = match self {
            Self::Packed(bytes) => return mover.vec(bytes),
            Self::Parts(parts) => parts,
        };
        let Digits { group, slot, at } = Digits::of(part);
        match group.checked_sub(1) {
            None => {
                if at == 0 {
                    mover.movable_box(parts);
                }
                parts.log.nodes.settle(at, mover, |(_, node), mover| mover.movable_vec(node));
            }
            Some(place) => parts.groups.settle(place, mover, |(name, group), mover| {
                name.settle(mover);
                group.settle(slot, at, mover);
            }),
        }
    }
}

/// The slots of a group; behind them each consumer has one.
const PENDING: usize = 0;
const NAMES: usize = 1;
const CONSUMERS: usize = 2;

impl Group {
    /// The slot and the place there that follow; `None` at the end.
    fn after(&self, slot: usize, at: usize) -> Option<(usize, usize)> {
        let (next, end) = match slot {
            PENDING => (at + 1, self.pending.chunks()),
            NAMES => (self.names.after(at), self.names.parts()),
            _ => (at + 1, self.consumers.at_part(slot - CONSUMERS).map_or(0, |consumer| consumer.pending.chunks())),
        };
        if next < end {
            return Some((slot, next));
        }
        let slot = if slot < CONSUMERS { slot + 1 } else { CONSUMERS + self.consumers.after(slot - CONSUMERS) };
        (slot < CONSUMERS + self.consumers.parts()).then_some((slot, 0))
    }

    fn settle(&mut self, slot: usize, at: usize, mover: &mut Mover) {
        match slot {
            PENDING => self.pending.settle_chunk(at, mover),
            NAMES => self.names.settle(at, mover, |(name, _), mover| name.settle(mover)),
            _ => self.consumers.settle(slot - CONSUMERS, mover, |(_, consumer), mover| {
                consumer.name.settle(mover);
                consumer.pending.settle_chunk(at, mover);
            }),
        }
    }
}
