//! Parts of a set between two ends, by rank, by score, or by member: read, stored, counted or removed.
//!
//! Whatever the ends are, they first become ranks; all else works on those. So a range costs two searches, and its
//! elements are then read in sequence, straight into the reply.

use std::ops::Range;

use larder_protocol::{Args, Reply};
use larder_storage::types::zset::{ZSet, ZSetRef};

use super::super::command::*;
use super::super::parse::{index_range, integer, is};
use super::super::removal::Removal;
use super::{Layout, store};
use crate::config::KeyspaceEvents as Class;
use crate::error::{
    Error, LIMIT_WITHOUT_BOUNDS, MIN_MAX_NOT_FLOAT, MIN_MAX_NOT_STRING, Outcome, SCORES_WITH_BYLEX, SYNTAX,
};
use crate::locked::Locked;
use crate::number::{LexBound, parse_lex_bound, parse_score_bound};

pub(super) const ZRANGE: Command = Command::read("ZRANGE", Arity::at_least(3), &[key(1, RO | ACCESS)], zrange)
    .group(Group::SortedSet)
    .since("1.2.0")
    .syntax("key start stop [BYSCORE | BYLEX] [REV] [LIMIT (offset count)] [WITHSCORES]")
    .summary("Answers the part of a sorted set between two ranks, scores or members, from either end.")
    .complexity(SEARCH_AND_READ)
    .examples(&[
        ("ZADD race 31.5 ada 29 bo 35 cy", "(integer) 3"),
        ("ZRANGE race 0 1", "1) \"bo\"\n2) \"ada\""),
        ("ZRANGE race 0 0 REV WITHSCORES", "1) \"cy\"\n2) \"35\""),
        ("ZRANGE race (29 +inf BYSCORE LIMIT 0 1", "1) \"ada\""),
        ("ZADD names 0 ada 0 bo 0 cy", "(integer) 3"),
        ("ZRANGE names [b + BYLEX", "1) \"bo\"\n2) \"cy\""),
    ]);

pub(super) const ZRANGESTORE: Command =
    Command::write("ZRANGESTORE", Arity::at_least(4), &[key(1, OW | UPDATE), key(2, RO | ACCESS)], zrangestore)
        .flags(DENYOOM)
        .group(Group::SortedSet)
        .since("6.2.0")
        .syntax("destination source start stop [BYSCORE | BYLEX] [REV] [LIMIT (offset count)]")
        .summary(
            "Stores the part of a sorted set between two ranks, scores or members under a key, whatever that held.",
        )
        .complexity("O(log(N)+M), N being the size of the set and M that of the part")
        .examples(&[
            ("ZADD race 31.5 ada 29 bo 35 cy", "(integer) 3"),
            ("ZRANGESTORE podium race 0 1", "(integer) 2"),
            ("ZRANGE podium 0 -1 WITHSCORES", "1) \"bo\"\n2) \"29\"\n3) \"ada\"\n4) \"31.5\""),
            ("ZRANGESTORE podium race 9 9", "(integer) 0"),
            ("EXISTS podium", "(integer) 0"),
        ]);

pub(super) const ZREVRANGE: Command = Command::read("ZREVRANGE", Arity::at_least(3), &[key(1, RO | ACCESS)], zrevrange)
    .group(Group::SortedSet)
    .since("1.2.0")
    .deprecated("6.2.0", "`ZRANGE` with the `REV` argument")
    .syntax("key start stop [WITHSCORES]")
    .summary("Answers the part of a sorted set between two ranks, the highest score first.")
    .complexity(SEARCH_AND_READ)
    .examples(&[
        ("ZADD race 31.5 ada 29 bo 35 cy", "(integer) 3"),
        ("ZREVRANGE race 0 1", "1) \"cy\"\n2) \"ada\""),
        ("ZREVRANGE race -1 -1 WITHSCORES", "1) \"bo\"\n2) \"29\""),
    ]);

pub(super) const ZRANGEBYSCORE: Command =
    Command::read("ZRANGEBYSCORE", Arity::at_least(3), &[key(1, RO | ACCESS)], zrangebyscore)
        .group(Group::SortedSet)
        .since("1.0.5")
        .deprecated("6.2.0", "`ZRANGE` with the `BYSCORE` argument")
        .syntax("key min max [WITHSCORES] [LIMIT (offset count)]")
        .summary("Answers the part of a sorted set between two scores.")
        .complexity(SEARCH_AND_READ)
        .examples(&[
            ("ZADD race 31.5 ada 29 bo 35 cy", "(integer) 3"),
            ("ZRANGEBYSCORE race 29 31.5", "1) \"bo\"\n2) \"ada\""),
            ("ZRANGEBYSCORE race (29 inf WITHSCORES LIMIT 1 1", "1) \"cy\"\n2) \"35\""),
            ("ZRANGEBYSCORE race slow fast", "(error) ERR min or max is not a float"),
        ]);

pub(super) const ZREVRANGEBYSCORE: Command =
    Command::read("ZREVRANGEBYSCORE", Arity::at_least(3), &[key(1, RO | ACCESS)], zrevrangebyscore)
        .group(Group::SortedSet)
        .since("2.2.0")
        .deprecated("6.2.0", "`ZRANGE` with the `REV` and `BYSCORE` arguments")
        .syntax("key max min [WITHSCORES] [LIMIT (offset count)]")
        .summary("Answers the part of a sorted set between two scores, the highest first.")
        .complexity(SEARCH_AND_READ)
        .examples(&[
            ("ZADD race 31.5 ada 29 bo 35 cy", "(integer) 3"),
            ("ZREVRANGEBYSCORE race (35 -inf", "1) \"ada\"\n2) \"bo\""),
            ("ZREVRANGEBYSCORE race -inf +inf", "(empty array)"),
        ]);

pub(super) const ZRANGEBYLEX: Command =
    Command::read("ZRANGEBYLEX", Arity::at_least(3), &[key(1, RO | ACCESS)], zrangebylex)
        .group(Group::SortedSet)
        .since("2.8.9")
        .deprecated("6.2.0", "`ZRANGE` with the `BYLEX` argument")
        .syntax("key min max [LIMIT (offset count)]")
        .summary("Answers the part of a sorted set between two members; all must have the same score.")
        .complexity(SEARCH_AND_READ)
        .examples(&[
            ("ZADD names 0 ada 0 bo 0 cy", "(integer) 3"),
            ("ZRANGEBYLEX names - (cy", "1) \"ada\"\n2) \"bo\""),
            ("ZRANGEBYLEX names [b + LIMIT 1 -1", "1) \"cy\""),
            ("ZRANGEBYLEX names b c", "(error) ERR min or max not valid string range item"),
        ]);

pub(super) const ZREVRANGEBYLEX: Command =
    Command::read("ZREVRANGEBYLEX", Arity::at_least(3), &[key(1, RO | ACCESS)], zrevrangebylex)
        .group(Group::SortedSet)
        .since("2.8.9")
        .deprecated("6.2.0", "`ZRANGE` with the `REV` and `BYLEX` arguments")
        .syntax("key max min [LIMIT (offset count)]")
        .summary("Answers the part of a sorted set between two members, the last first; all must have the same score.")
        .complexity(SEARCH_AND_READ)
        .examples(&[
            ("ZADD names 0 ada 0 bo 0 cy", "(integer) 3"),
            ("ZREVRANGEBYLEX names + [bo", "1) \"cy\"\n2) \"bo\""),
        ]);

pub(super) const ZCOUNT: Command = Command::read("ZCOUNT", Arity::exactly(3), &[key(1, RO | ACCESS)], zcount)
    .flags(FAST)
    .group(Group::SortedSet)
    .since("2.0.0")
    .syntax("key min max")
    .summary("Answers how many members of a sorted set have a score between two.")
    .complexity(SEARCH)
    .examples(&[
        ("ZADD race 31.5 ada 29 bo 35 cy", "(integer) 3"),
        ("ZCOUNT race 29 35", "(integer) 3"),
        ("ZCOUNT race (29 (35", "(integer) 1"),
    ]);

pub(super) const ZLEXCOUNT: Command = Command::read("ZLEXCOUNT", Arity::exactly(3), &[key(1, RO | ACCESS)], zlexcount)
    .flags(FAST)
    .group(Group::SortedSet)
    .since("2.8.9")
    .syntax("key min max")
    .summary("Answers how many members of a sorted set stand between two; all must have the same score.")
    .complexity(SEARCH)
    .examples(&[
        ("ZADD names 0 ada 0 bo 0 cy", "(integer) 3"),
        ("ZLEXCOUNT names - +", "(integer) 3"),
        ("ZLEXCOUNT names (ada [cy", "(integer) 2"),
    ]);

pub(super) const ZREMRANGEBYRANK: Command =
    Command::write("ZREMRANGEBYRANK", Arity::exactly(3), &[key(1, RW | DELETE)], zremrangebyrank)
        .group(Group::SortedSet)
        .since("2.0.0")
        .syntax("key start stop")
        .summary("Removes the part of a sorted set between two ranks, and the key if nothing is left.")
        .complexity(SEARCH_AND_REMOVE)
        .examples(&[
            ("ZADD race 31.5 ada 29 bo 35 cy", "(integer) 3"),
            ("ZREMRANGEBYRANK race 1 -1", "(integer) 2"),
            ("ZRANGE race 0 -1", "1) \"bo\""),
        ]);

pub(super) const ZREMRANGEBYSCORE: Command =
    Command::write("ZREMRANGEBYSCORE", Arity::exactly(3), &[key(1, RW | DELETE)], zremrangebyscore)
        .group(Group::SortedSet)
        .since("1.2.0")
        .syntax("key min max")
        .summary("Removes the part of a sorted set between two scores, and the key if nothing is left.")
        .complexity(SEARCH_AND_REMOVE)
        .examples(&[
            ("ZADD race 31.5 ada 29 bo 35 cy", "(integer) 3"),
            ("ZREMRANGEBYSCORE race -inf (35", "(integer) 2"),
            ("ZREMRANGEBYSCORE race -inf +inf", "(integer) 1"),
            ("EXISTS race", "(integer) 0"),
        ]);

pub(super) const ZREMRANGEBYLEX: Command =
    Command::write("ZREMRANGEBYLEX", Arity::exactly(3), &[key(1, RW | DELETE)], zremrangebylex)
        .group(Group::SortedSet)
        .since("2.8.9")
        .syntax("key min max")
        .summary("Removes the part of a sorted set between two members; all must have the same score.")
        .complexity(SEARCH_AND_REMOVE)
        .examples(&[
            ("ZADD names 0 ada 0 bo 0 cy", "(integer) 3"),
            ("ZREMRANGEBYLEX names [ada [bo", "(integer) 2"),
            ("ZRANGE names 0 -1", "1) \"cy\""),
        ]);

const SEARCH: &str = "O(log(N)), N being the size of the set";
const SEARCH_AND_READ: &str = "O(log(N)+M), N being the size of the set and M the number of answered members";
const SEARCH_AND_REMOVE: &str = "O(log(N)+M), N being the size of the set and M the number of removed members";

fn zrange(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    answer(locked, args, None, reply)
}

fn zrevrange(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    answer(locked, args, Some((By::Rank, true)), reply)
}

fn zrangebyscore(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    answer(locked, args, Some((By::Score, false)), reply)
}

fn zrevrangebyscore(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    answer(locked, args, Some((By::Score, true)), reply)
}

fn zrangebylex(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    answer(locked, args, Some((By::Member, false)), reply)
}

fn zrevrangebylex(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    answer(locked, args, Some((By::Member, true)), reply)
}

fn answer(locked: &mut Locked<'_>, args: Args<'_>, given: Option<(By, bool)>, reply: &mut Reply) -> Outcome {
    let query = Query::parse(args.from(2), given, true)?;
    let Some(zset) = locked.read_as::<ZSet>(args.at(1))? else {
        reply.array(0);
        return Ok(());
    };
    let ranks = query.ranks(zset);
    let elements = zset.range(ranks.start, ranks.end);
    let layout = Layout::usual(query.with_scores, reply.proto());
    if query.reverse {
        layout.answer(reply, elements.rev());
    } else {
        layout.answer(reply, elements);
    }
    Ok(())
}

fn zrangestore(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let query = Query::parse(args.from(3), None, false)?;
    let env = locked.env();
    let part = match locked.read_as::<ZSet>(args.at(2))? {
        Some(zset) => {
            let ranks = query.ranks(zset);
            ZSet::from_sorted(env, zset.range(ranks.start, ranks.end))?
        }
        None => ZSet::new(),
    };
    store(locked, args.at(1), part, "zrangestore", reply)
}

fn zcount(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    count(locked, args, By::Score, reply)
}

fn zlexcount(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    count(locked, args, By::Member, reply)
}

fn count(locked: &mut Locked<'_>, args: Args<'_>, by: By, reply: &mut Reply) -> Outcome {
    let ends = Ends::parse(by, args.at(2), args.at(3))?;
    let zset = locked.read_as::<ZSet>(args.at(1))?;
    reply.int(zset.map_or(0, |zset| ends.ranks(zset, false).len()) as i64);
    Ok(())
}

fn zremrangebyrank(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    remove(locked, args, By::Rank, "zremrangebyrank", reply)
}

fn zremrangebyscore(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    remove(locked, args, By::Score, "zremrangebyscore", reply)
}

fn zremrangebylex(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    remove(locked, args, By::Member, "zremrangebylex", reply)
}

fn remove(locked: &mut Locked<'_>, args: Args<'_>, by: By, event: &'static str, reply: &mut Reply) -> Outcome {
    let ends = Ends::parse(by, args.at(2), args.at(3))?;
    let key = args.at(1);
    let removal = locked.update_as::<ZSet, _>(key, false, |zset, env| {
        let ranks = ends.ranks(zset.as_ref(), false);
        zset.remove_rank_range(*env, ranks.start, ranks.end, |_, _| {});
        Removal { count: ranks.len(), all: zset.as_ref().is_empty() }
    })?;
    if let Some(removal) = &removal {
        removal.tell(locked, Class::ZSET, event, key);
    }
    reply.int(removal.map_or(0, |removal| removal.count) as i64);
    Ok(())
}

/// What the ends of a range are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Rank,
    Score,
    Member,
}

/// The ends of a range.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Ends<'a> {
    /// First and last rank; negative ones count from the end.
    Rank(i64, i64),
    /// Lowest and highest score, each with whether it is excluded.
    Score((f64, bool), (f64, bool)),
    /// First and last member, in byte order.
    Member(LexBound<'a>, LexBound<'a>),
}

impl<'a> Ends<'a> {
    fn parse(by: By, low: &'a [u8], high: &'a [u8]) -> Result<Self, Error> {
        Ok(match by {
            By::Rank => Self::Rank(integer(low)?, integer(high)?),
            By::Score => {
                let bound = |arg| parse_score_bound(arg).ok_or(MIN_MAX_NOT_FLOAT);
                Self::Score(bound(low)?, bound(high)?)
            }
            By::Member => {
                let bound = |arg| parse_lex_bound(arg).ok_or(MIN_MAX_NOT_STRING);
                Self::Member(bound(low)?, bound(high)?)
            }
        })
    }

    /// The ranks between the ends, none if they are the wrong way round. `reverse` says that the range is read from
    /// the highest score on, and that given ranks begin there; those that are answered always begin at the lowest.
    fn ranks(&self, zset: ZSetRef<'_>, reverse: bool) -> Range<usize> {
        let (start, end) = match *self {
            Self::Rank(first, last) => match index_range(first, last, zset.len()) {
                Some((first, last)) if reverse => (zset.len() - 1 - last, zset.len() - first),
                Some((first, last)) => (first, last + 1),
                None => (0, 0),
            },
            Self::Score((low, without_low), (high, without_high)) => {
                (zset.rank_of_score(low, without_low), zset.rank_of_score(high, !without_high))
            }
            Self::Member(low, high) => lex_ranks(zset, low, high, reverse),
        };
        start..end.max(start)
    }
}

/// The ranks of a lexical range. Among different scores such a range has no meaning; then this answers what Redis
/// answers for a packed set: nothing unless the ends fit, else what follows the first member, in the direction asked
/// for, that is within the nearer end.
fn lex_ranks(zset: ZSetRef<'_>, low: LexBound<'_>, high: LexBound<'_>, reverse: bool) -> (usize, usize) {
    let len = zset.len();
    let members = || zset.range(0, len).map(|(member, _)| member);
    let above_low = |member: &[u8]| match low {
        LexBound::Lowest => true,
        LexBound::Highest => false,
        LexBound::Inclusive(bound) => member >= bound,
        LexBound::Exclusive(bound) => member > bound,
    };
    let below_high = |member: &[u8]| match high {
        LexBound::Lowest => false,
        LexBound::Highest => true,
        LexBound::Inclusive(bound) => member <= bound,
        LexBound::Exclusive(bound) => member < bound,
    };
    if !members().next_back().is_some_and(above_low) || !members().next().is_some_and(below_high) {
        return (0, 0);
    }
    match zset {
        ZSetRef::Tree(_) => (rank_of_bound(zset, low, false), rank_of_bound(zset, high, true)),
        ZSetRef::Packed(_) if reverse => {
            let (after, within) = run_of_members(members().rev(), below_high, above_low);
            (len - after - within, len - after)
        }
        ZSetRef::Packed(_) => {
            let (before, within) = run_of_members(members(), above_low, below_high);
            (before, before + within)
        }
    }
}

/// How many members come before the first for which `enters` holds, and for how many from there on `stays` does.
fn run_of_members<'a>(
    members: impl Iterator<Item = &'a [u8]>,
    enters: impl Fn(&[u8]) -> bool,
    stays: impl Fn(&[u8]) -> bool,
) -> (usize, usize) {
    let (mut before, mut within) = (0, 0);
    for member in members {
        if within == 0 && !enters(member) {
            before += 1;
        } else if stays(member) {
            within += 1;
        } else {
            break;
        }
    }
    (before, within)
}

/// How many members stand before a bound; an inclusive one counts itself if it ends the range.
fn rank_of_bound(zset: ZSetRef<'_>, bound: LexBound<'_>, is_end: bool) -> usize {
    match bound {
        LexBound::Lowest => 0,
        LexBound::Highest => zset.len(),
        LexBound::Inclusive(member) => zset.rank_of_member(member, is_end),
        LexBound::Exclusive(member) => zset.rank_of_member(member, !is_end),
    }
}

/// What ZRANGE and its like ask for.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Query<'a> {
    ends: Ends<'a>,
    /// From the highest score on.
    reverse: bool,
    /// Elements of the range to leave out first.
    offset: i64,
    /// Elements to answer at most; a negative number is no limit.
    count: i64,
    with_scores: bool,
}

impl<'a> Query<'a> {
    /// Reads the two ends and the options after them. The older commands have what the ends are and the direction
    /// `given` by their names.
    fn parse(args: Args<'a>, given: Option<(By, bool)>, may_have_scores: bool) -> Result<Self, Error> {
        let (mut by, mut reverse) = given.unzip();
        let (mut offset, mut count, mut with_scores) = (0, -1, false);
        let mut options = args.from(2);
        while let Some(word) = options.get(0) {
            let mut words = 1;
            if may_have_scores && is(word, "WITHSCORES") {
                with_scores = true;
            } else if is(word, "LIMIT") && options.len() > 2 {
                (offset, count) = (integer(options.at(1))?, integer(options.at(2))?);
                words = 3;
            } else if reverse.is_none() && is(word, "REV") {
                reverse = Some(true);
            } else if by.is_none() && is(word, "BYLEX") {
                by = Some(By::Member);
            } else if by.is_none() && is(word, "BYSCORE") {
                by = Some(By::Score);
            } else {
                return Err(SYNTAX);
            }
            options = options.from(words);
        }
        let (by, reverse) = (by.unwrap_or(By::Rank), reverse.unwrap_or(false));
        if by == By::Rank {
            // A LIMIT that does not limit is let through, and then its offset does not count either.
            if count != -1 {
                return Err(LIMIT_WITHOUT_BOUNDS);
            }
            offset = 0;
        }
        if with_scores && by == By::Member {
            return Err(SCORES_WITH_BYLEX);
        }
        let (first, second) = (args.at(0), args.at(1));
        let (low, high) = if reverse && by != By::Rank { (second, first) } else { (first, second) };
        Ok(Self { ends: Ends::parse(by, low, high)?, reverse, offset, count, with_scores })
    }

    /// The ranks of the elements to answer, from the lowest score on.
    fn ranks(&self, zset: ZSetRef<'_>) -> Range<usize> {
        let Range { start, end } = self.ends.ranks(zset, self.reverse);
        let len = end - start;
        let offset = match zset {
            // Redis counts a negative offset from the end of the range, but of a small set it then answers nothing.
            ZSetRef::Tree(_) if self.offset < 0 => self.offset + len as i64,
            _ => self.offset,
        };
        let skipped = usize::try_from(offset).map_or(len, |offset| offset.min(len));
        let taken = usize::try_from(self.count).map_or(len, |count| count.min(len)).min(len - skipped);
        if self.reverse { end - skipped - taken..end - skipped } else { start + skipped..start + skipped + taken }
    }
}

#[cfg(test)]
mod tests {
    use larder_protocol::OwnedArgs;

    use super::*;

    /// The query of `ZRANGE key` with these words.
    fn check(words: &str, expected: Result<(Ends<'_>, bool, i64, i64, bool), Error>) {
        let list: Vec<&[u8]> = words.split_whitespace().map(str::as_bytes).collect();
        let list = OwnedArgs::from_slices(&list);
        let query = Query::parse(list.as_args(), None, true);
        let facts = query.map(|query| (query.ends, query.reverse, query.offset, query.count, query.with_scores));
        assert_eq!(facts, expected, "{words}");
    }

    #[test]
    fn ends_are_given_the_other_way_round_in_reverse_except_ranks() {
        check("0 -1", Ok((Ends::Rank(0, -1), false, 0, -1, false)));
        check("0 -1 rev", Ok((Ends::Rank(0, -1), true, 0, -1, false)));
        check("2 (1 rev byscore", Ok((Ends::Score((1.0, true), (2.0, false)), true, 0, -1, false)));
        let bounds = Ends::Member(LexBound::Lowest, LexBound::Inclusive(b"a"));
        check("[a - REV BYLEX LIMIT 1 2", Ok((bounds, true, 1, 2, false)));
    }

    #[test]
    fn options_are_checked_before_ends() {
        check("a b LIMIT 1 x", Err(crate::error::NOT_AN_INTEGER));
        check("a b LIMIT 1 2", Err(LIMIT_WITHOUT_BOUNDS));
        check("a b BYLEX WITHSCORES", Err(SCORES_WITH_BYLEX));
        check("a b BYLEX BYSCORE", Err(SYNTAX));
        check("a b REV REV", Err(SYNTAX));
        check("a b LIMIT 1", Err(SYNTAX));
        check("a b BYLEX", Err(MIN_MAX_NOT_STRING));
        check("a b BYSCORE", Err(MIN_MAX_NOT_FLOAT));
    }

    #[test]
    fn a_limit_that_does_not_limit_is_ignored_by_rank() {
        check("0 -1 LIMIT 5 -1", Ok((Ends::Rank(0, -1), false, 0, -1, false)));
    }

    #[test]
    fn any_offset_and_count_stay_within_the_range() {
        let mut connection = crate::Server::builder().build().unwrap().connect();
        let add = |connection: &mut crate::Connection, members: std::ops::Range<i32>| {
            for member in members {
                drop(connection.execute(["ZADD", "z", &member.to_string(), &member.to_string()]));
            }
        };
        let ask = |connection: &mut crate::Connection, command: &str, offset: i64, count: i64| {
            let (low, high) = if command == "ZRANGEBYSCORE" { ("2", "6") } else { ("6", "2") };
            let (offset, count) = (offset.to_string(), count.to_string());
            let words = [command, "z", low, high, "LIMIT", &offset, &count];
            connection.execute(words).to_string().replace('\n', " ")
        };
        add(&mut connection, 0..9);
        for (offset, count) in [(-1, -1), (5, -1), (0, 0), (i64::MAX, i64::MAX), (i64::MIN, i64::MIN)] {
            for command in ["ZRANGEBYSCORE", "ZREVRANGEBYSCORE"] {
                assert_eq!(ask(&mut connection, command, offset, count), "(empty array)", "{command} {offset} {count}");
            }
        }
        assert_eq!(ask(&mut connection, "ZRANGEBYSCORE", 3, i64::MIN), "1) \"5\" 2) \"6\"");
        assert_eq!(ask(&mut connection, "ZREVRANGEBYSCORE", 3, i64::MAX), "1) \"3\" 2) \"2\"");
        // A large set, where a negative offset counts from the end.
        add(&mut connection, 9..200);
        assert_eq!(ask(&mut connection, "ZRANGEBYSCORE", -2, -1), "1) \"5\" 2) \"6\"");
        assert_eq!(ask(&mut connection, "ZREVRANGEBYSCORE", -5, 1), "1) \"6\"");
        assert_eq!(ask(&mut connection, "ZREVRANGEBYSCORE", -6, 1), "(empty array)");
        assert_eq!(ask(&mut connection, "ZRANGEBYSCORE", i64::MIN, 1), "(empty array)");
    }
}
