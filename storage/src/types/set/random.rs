//! Members drawn and taken at random, each as likely as any other.

use std::collections::HashSet;

use super::{Ints, Pack, Set, SetRef, ints, pack};
use crate::rng::Rng;
use crate::types::Env;
use crate::types::pack::Element;
use crate::types::text::Text;

/// Of a set up to so many times as large as a draw of different members, it is decided for each member in turn.
const SPARSE_FROM: usize = 3;

impl<'a> SetRef<'a> {
    /// A random member; `None` if there is none.
    #[inline]
    pub fn random(self, env: Env<'_>, rng: &mut Rng) -> Option<Element<'a>> {
        match self {
            Self::Ints([]) => None,
            Self::Ints(bytes) => Some(Element::Int(Ints(bytes).get(rng.index(Ints(bytes).len())))),
            Self::Packed(bytes) => {
                let at = Pack(bytes).place(rng.index(Pack(bytes).len()))?;
                Pack(bytes).get(at).map(|(member, _)| member)
            }
            Self::Hashed(dict) => dict.random(env, rng).map(|place| Element::Bytes(dict.at(place).key)),
        }
    }

    /// Shows `count` different members to `each`, or all if there are fewer.
    pub fn sample(self, env: Env<'_>, rng: &mut Rng, count: usize, mut each: impl FnMut(Element<'a>)) {
        if matches!(self, Self::Packed(_)) || count >= self.len() / SPARSE_FROM {
            let mut choice = Choice::new(count, self.len());
            return self.iter().filter(|_| choice.next(rng)).for_each(each);
        }
        let mut drawn = HashSet::with_capacity(count);
        while drawn.len() < count {
            let Some(member) = self.random(env, rng) else { return };
            if drawn.insert(Text::from(member)) {
                each(member);
            }
        }
    }
}

impl Set {
    /// Takes `count` random members out, or all if there are fewer, and shows each to `each`. Nearly all of a large
    /// set are not taken well like this.
    pub fn take_random(&mut self, env: Env<'_>, rng: &mut Rng, count: usize, mut each: impl FnMut(Element<'_>)) {
        let mut choice = Choice::new(count, self.as_ref().len());
        match self {
            Self::Ints(bytes) if count == 1 && !bytes.is_empty() => {
                let number = Ints(bytes).get(rng.index(Ints(bytes).len()));
                each(Element::Int(number));
                ints::remove(bytes, number);
            }
            Self::Ints(bytes) => ints::retain(bytes, |number| {
                let is_taken = choice.next(rng);
                if is_taken {
                    each(Element::Int(number));
                }
                !is_taken
            }),
            Self::Packed(bytes) => pack::retain(bytes, |member| {
                let is_taken = choice.next(rng);
                if is_taken {
                    each(member);
                }
                !is_taken
            }),
            Self::Hashed(dict) => {
                for _ in 0..count {
                    let Some(place) = dict.random(env, rng) else { return };
                    each(Element::Bytes(dict.at(place).key));
                    dict.remove_at(place);
                }
            }
        }
    }
}

/// Decides one by one, for elements of which it is known how many there are, which of them are chosen: Knuth, The Art
/// of Computer Programming 2, algorithm 3.4.2S.
struct Choice {
    missing: usize,
    left: usize,
}

impl Choice {
    fn new(count: usize, of: usize) -> Self {
        Self { missing: count, left: of }
    }

    #[inline]
    fn next(&mut self, rng: &mut Rng) -> bool {
        let is_chosen = rng.index(self.left) < self.missing;
        self.left -= 1;
        self.missing -= is_chosen as usize;
        is_chosen
    }
}
