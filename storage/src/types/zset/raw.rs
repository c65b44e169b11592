//! Sorted sets made of the bytes that RESTORE is given.

use std::cmp::Ordering;

use super::{Full, ZSet, compare};
use crate::types::Env;
use crate::types::distinct::are_distinct;
use crate::types::pack::{Element, Pack};
use crate::types::text::Text;

impl ZSet {
    /// The set of a packed sequence of members and scores in turn, the latter as `score` reads them. `None` if a score
    /// is none, a member occurs twice, or elements do not ascend. As in Redis, only the number of elements decides
    /// whether it stays packed.
    pub fn from_pack(
        mut env: Env<'_>,
        pack: Pack<'_>,
        score: impl Fn(Element<'_>) -> Option<f64>,
    ) -> Result<Option<Self>, Full> {
        let mut elements = pack.iter();
        let mut pairs: Vec<(Element<'_>, f64)> = Vec::new();
        while let Some(member) = elements.next() {
            let Some(score) = elements.next().and_then(&score) else { return Ok(None) };
            pairs.push((member, score));
        }
        let ascend = |one: &(Element<'_>, f64), other: &(Element<'_>, f64)| {
            let (first, second) = (Text::from(one.0), Text::from(other.0));
            compare((one.1, &first), (other.1, &second)) == Ordering::Less
        };
        if !pairs.is_sorted_by(ascend) || !are_distinct(pairs.iter().map(|pair| pair.0)) {
            return Ok(None);
        }
        env.limits.zset_max_packed_value = usize::MAX;
        Self::from_sorted(env, pairs.into_iter().map(|(member, score)| (Text::from(member), score))).map(Some)
    }
}
