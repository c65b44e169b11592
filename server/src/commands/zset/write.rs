//! Elements written and removed one by one: ZADD, ZINCRBY, ZREM.

use larder_protocol::{Args, Reply};
use larder_storage::types::Env;
use larder_storage::types::zset::{Inserted, ZSet};
use smallvec::SmallVec;

use super::super::command::*;
use super::super::parse::{float, is};
use super::super::removal::Removal;
use crate::config::KeyspaceEvents as Class;
use crate::error::{Error, Outcome, SCORE_NOT_A_NUMBER, SYNTAX, ZADD_GT_LT_AND_NX, ZADD_INCR_OF_MANY, ZADD_NX_AND_XX};
use crate::locked::Locked;

pub(super) const ZADD: Command = Command::write("ZADD", Arity::at_least(3), &[key(1, RW | UPDATE)], zadd)
    .flags(DENYOOM | FAST)
    .member(3)
    .group(Group::SortedSet)
    .since("1.2.0")
    .syntax("key [NX | XX] [GT | LT] [CH] [INCR] (score member)...")
    .summary("Gives members of a sorted set their scores, with conditions on request; makes the set if there is none.")
    .complexity("O(log(N)) for each member, N being the size of the set")
    .examples(&[
        ("ZADD race 31.5 ada 29 bo", "(integer) 2"),
        ("ZADD race CH 30 ada 29 bo 35 cy", "(integer) 2"),
        ("ZADD race XX GT CH 28 bo 36 cy 20 dot", "(integer) 1"),
        ("ZADD race NX INCR 1 ada", "(nil)"),
        ("ZADD race INCR 1 ada", "\"31\""),
        ("ZADD race NX XX 1 ada", "(error) ERR XX and NX options at the same time are not compatible"),
    ]);

pub(super) const ZINCRBY: Command =
    Command::write("ZINCRBY", Arity::exactly(3), &[key(1, RW | ACCESS | UPDATE)], zincrby)
        .flags(DENYOOM | FAST)
        .member(3)
        .group(Group::SortedSet)
        .since("1.2.0")
        .syntax("key increment member")
        .summary("Adds to the score of a member of a sorted set; one that is not there begins at 0.")
        .complexity("O(log(N)), N being the size of the set")
        .examples(&[
            ("ZINCRBY votes 1 ada", "\"1\""),
            ("ZINCRBY votes 1.5 ada", "\"2.5\""),
            ("ZINCRBY votes -inf ada", "\"-inf\""),
            ("ZINCRBY votes +inf ada", "(error) ERR resulting score is not a number (NaN)"),
        ]);

pub(super) const ZREM: Command = Command::write("ZREM", Arity::at_least(2), &[key(1, RW | DELETE)], zrem)
    .flags(FAST)
    .member(2)
    .group(Group::SortedSet)
    .since("1.2.0")
    .syntax("key member...")
    .summary("Removes members from a sorted set, and the key with the last of them.")
    .complexity("O(M*log(N)) for M members, N being the size of the set")
    .examples(&[
        ("ZADD race 31.5 ada 29 bo", "(integer) 2"),
        ("ZREM race bo cy", "(integer) 1"),
        ("ZREM race ada", "(integer) 1"),
        ("EXISTS race", "(integer) 0"),
    ]);

fn zadd(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    add(locked, args, AddOptions::default(), reply)
}

fn zincrby(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    add(locked, args, AddOptions { incr: true, ..AddOptions::default() }, reply)
}

/// What a score does to the one that is there, and what is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(in super::super) struct AddOptions {
    /// Members that are there stay as they are.
    pub(in super::super) nx: bool,
    /// Members that are not there are not added.
    pub(in super::super) xx: bool,
    /// Scores only grow.
    gt: bool,
    /// Scores only shrink.
    lt: bool,
    /// Changed scores count in the answer.
    pub(in super::super) ch: bool,
    /// The score is added, and the sum is the answer.
    incr: bool,
}

impl AddOptions {
    /// Reads options, in any order, up to the first score; gives the pairs that follow.
    fn parse(mut self, mut args: Args<'_>) -> Result<(Self, Args<'_>), Error> {
        while let Some(word) = args.get(0) {
            let option = match () {
                () if is(word, "NX") => &mut self.nx,
                () if is(word, "XX") => &mut self.xx,
                () if is(word, "GT") => &mut self.gt,
                () if is(word, "LT") => &mut self.lt,
                () if is(word, "CH") => &mut self.ch,
                () if is(word, "INCR") => &mut self.incr,
                () => break,
            };
            *option = true;
            args = args.from(1);
        }
        if args.is_empty() || !args.len().is_multiple_of(2) {
            return Err(SYNTAX);
        }
        if self.nx && self.xx {
            return Err(ZADD_NX_AND_XX);
        }
        if (self.nx && (self.gt || self.lt)) || (self.gt && self.lt) {
            return Err(ZADD_GT_LT_AND_NX);
        }
        if self.incr && args.len() > 2 {
            return Err(ZADD_INCR_OF_MANY);
        }
        Ok((self, args))
    }

    /// The score that a member gets, which may be NaN; `None` if the options keep it as it is.
    fn decide(self, old: Option<f64>, score: f64) -> Option<f64> {
        let Some(old) = old else {
            return (!self.xx).then_some(score);
        };
        let new = if self.incr { old + score } else { score };
        let is_kept = self.nx || (self.lt && new >= old) || (self.gt && new <= old);
        (!is_kept).then_some(new)
    }

    /// Adds all elements, or as many as there is place for.
    fn apply<'m>(
        self,
        zset: &mut ZSet,
        env: Env<'_>,
        scores: &[f64],
        mut members: impl Iterator<Item = &'m [u8]> + Clone,
        added: &mut Added,
    ) -> Outcome {
        let first_len = if zset.as_ref().is_empty() { members.clone().next().map_or(0, <[u8]>::len) } else { 0 };
        zset.expect(env, scores.len(), first_len)?;
        for (&score, member) in scores.iter().zip(&mut members) {
            let mut decided = None;
            let inserted = zset.upsert(env, member, |old| {
                decided = self.decide(old, score);
                decided.filter(|score| !score.is_nan())
            })?;
            if decided.is_some_and(f64::is_nan) {
                return Err(SCORE_NOT_A_NUMBER);
            }
            match inserted {
                Inserted::Added => added.new += 1,
                Inserted::Updated { .. } => added.updated += 1,
                Inserted::Same => {}
            }
            added.score = decided;
        }
        Ok(())
    }
}

/// What ZADD has done.
#[derive(Default)]
struct Added {
    new: u64,
    updated: u64,
    /// The score of the last member, unless the options kept that as it was.
    score: Option<f64>,
}

fn add(locked: &mut Locked<'_>, args: Args<'_>, options: AddOptions, reply: &mut Reply) -> Outcome {
    let (options, pairs) = options.parse(args.from(2))?;
    let scores = pairs.iter().step_by(2).map(float).collect::<Result<SmallVec<[f64; 8]>, _>>()?;
    add_elements(locked, args.at(1), options, &scores, pairs.iter().skip(1).step_by(2), reply)
}

/// Adds members with their scores, with the effects and the answer of ZADD.
pub(in super::super) fn add_elements<'m>(
    locked: &mut Locked<'_>,
    key: &[u8],
    options: AddOptions,
    scores: &[f64],
    members: impl Iterator<Item = &'m [u8]> + Clone,
    reply: &mut Reply,
) -> Outcome {
    let mut added = Added::default();
    let outcome = locked
        .update_as::<ZSet, _>(key, !options.xx, |zset, env| options.apply(zset, *env, scores, members, &mut added))?;
    let changes = added.new + added.updated;
    if changes > 0 {
        locked.changed(Class::ZSET, if options.incr { "zincr" } else { "zadd" }, key);
        locked.count_changes(changes - 1);
    }
    outcome.unwrap_or(Ok(()))?;
    match added.score {
        Some(score) if options.incr => reply.double(score),
        None if options.incr => reply.null(),
        _ => reply.int(if options.ch { changes } else { added.new } as i64),
    }
    Ok(())
}

fn zrem(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let key = args.at(1);
    let removal = locked.update_as::<ZSet, _>(key, false, |zset, env| {
        let members = args.iter().skip(2);
        let count = members.filter(|member| zset.remove(*env, member).is_some()).count();
        Removal { count, all: zset.as_ref().is_empty() }
    })?;
    if let Some(removal) = &removal {
        removal.tell(locked, Class::ZSET, "zrem", key);
    }
    reply.int(removal.map_or(0, |removal| removal.count) as i64);
    Ok(())
}

#[cfg(test)]
mod tests {
    use larder_protocol::OwnedArgs;

    use super::*;

    fn parse(words: &str) -> Result<(AddOptions, usize), Error> {
        let words: Vec<&[u8]> = words.split_whitespace().map(str::as_bytes).collect();
        let words = OwnedArgs::from_slices(&words);
        AddOptions::default().parse(words.as_args()).map(|(options, pairs)| (options, pairs.len()))
    }

    #[test]
    fn options_end_at_the_first_score() {
        let options = AddOptions { xx: true, gt: true, ch: true, ..AddOptions::default() };
        assert_eq!(parse("ch xx Gt XX 1 nx"), Ok((options, 2)));
        assert_eq!(parse("1 nx 2 xx"), Ok((AddOptions::default(), 4)));
    }

    #[test]
    fn options_exclude_each_other() {
        for (words, error) in [
            ("", SYNTAX),
            ("NX", SYNTAX),
            ("1 a 2", SYNTAX),
            ("NX XX 1", SYNTAX),
            ("NX XX 1 a", ZADD_NX_AND_XX),
            ("NX XX GT 1 a", ZADD_NX_AND_XX),
            ("NX GT 1 a", ZADD_GT_LT_AND_NX),
            ("NX LT 1 a", ZADD_GT_LT_AND_NX),
            ("XX LT GT 1 a", ZADD_GT_LT_AND_NX),
            ("INCR 1 a 2 b", ZADD_INCR_OF_MANY),
        ] {
            assert_eq!(parse(words), Err(error), "{words}");
        }
    }

    #[test]
    fn options_decide_by_the_score_that_is_there() {
        let none = AddOptions::default();
        let cases = [
            (none, None, 1.0, Some(1.0)),
            (none, Some(5.0), 1.0, Some(1.0)),
            (AddOptions { nx: true, ..none }, Some(5.0), 1.0, None),
            (AddOptions { nx: true, ..none }, None, 1.0, Some(1.0)),
            (AddOptions { xx: true, ..none }, None, 1.0, None),
            (AddOptions { gt: true, ..none }, None, 1.0, Some(1.0)),
            (AddOptions { gt: true, ..none }, Some(5.0), 5.0, None),
            (AddOptions { lt: true, ..none }, Some(5.0), 4.0, Some(4.0)),
            (AddOptions { lt: true, incr: true, ..none }, Some(5.0), 1.0, None),
            (AddOptions { incr: true, ..none }, Some(5.0), 1.0, Some(6.0)),
        ];
        for (options, old, score, expected) in cases {
            assert_eq!(options.decide(old, score), expected, "{options:?} {old:?} {score}");
        }
    }
}
