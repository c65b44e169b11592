//! What a list holds: LLEN, LINDEX, LRANGE, LPOS.

use larder_protocol::{Args, Reply};
use larder_storage::types::list::{List, ListRef};
use larder_storage::types::pack::Element;

use super::super::command::*;
use super::super::parse::{index_range, integer, is, natural};
use super::answer;
use crate::error::{
    Error, LONG_OUT_OF_RANGE, LPOS_COUNT_NEGATIVE, LPOS_MAXLEN_NEGATIVE, LPOS_RANK_ZERO, Outcome, SYNTAX,
};
use crate::locked::Locked;

pub(super) const LLEN: Command = Command::read("LLEN", Arity::exactly(1), &[key(1, RO)], llen)
    .flags(FAST)
    .group(Group::List)
    .since("1.0.0")
    .syntax("key")
    .summary("Answers the number of elements of a list.")
    .complexity("O(1)")
    .examples(&[
        ("RPUSH queue first second", "(integer) 2"),
        ("LLEN queue", "(integer) 2"),
        ("LLEN nothing", "(integer) 0"),
    ]);

pub(super) const LINDEX: Command = Command::read("LINDEX", Arity::exactly(2), &[key(1, RO | ACCESS)], lindex)
    .group(Group::List)
    .since("1.0.0")
    .syntax("key index")
    .summary("Answers the element at an index, counted from 0, or from -1 at the tail.")
    .complexity("O(N/C) for N elements, C being the number of elements of a chunk; O(1) at either end")
    .examples(&[
        ("RPUSH queue first second third", "(integer) 3"),
        ("LINDEX queue 0", "\"first\""),
        ("LINDEX queue -1", "\"third\""),
        ("LINDEX queue 3", "(nil)"),
    ]);

pub(super) const LRANGE: Command = Command::read("LRANGE", Arity::exactly(3), &[key(1, RO | ACCESS)], lrange)
    .group(Group::List)
    .since("1.0.0")
    .syntax("key start stop")
    .summary("Answers the elements between two indexes, both included, counted from 0, or from -1 at the tail.")
    .complexity("O(S+M), S being the distance of the first element from the nearer end and M the number of elements")
    .examples(&[
        ("RPUSH queue first second third", "(integer) 3"),
        ("LRANGE queue 1 -1", "1) \"second\"\n2) \"third\""),
        ("LRANGE queue -100 0", "1) \"first\""),
        ("LRANGE queue 3 9", "(empty array)"),
    ]);

pub(super) const LPOS: Command = Command::read("LPOS", Arity::at_least(2), &[key(1, RO | ACCESS)], lpos)
    .group(Group::List)
    .since("6.0.6")
    .syntax("key element [RANK rank] [COUNT num-matches] [MAXLEN len]")
    .summary("Answers where an element stands: the first time, or as often as asked for, from either end.")
    .complexity("O(N), N being the number of elements that are looked at")
    .examples(&[
        ("RPUSH letters a b c b b", "(integer) 5"),
        ("LPOS letters b", "(integer) 1"),
        ("LPOS letters b RANK -1", "(integer) 4"),
        ("LPOS letters b COUNT 0 RANK 2", "1) (integer) 3\n2) (integer) 4"),
        ("LPOS letters b MAXLEN 1", "(nil)"),
    ]);

fn llen(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let len = locked.read_as::<List>(args.at(1))?.map_or(0, ListRef::len);
    reply.int(len as i64);
    Ok(())
}

fn lindex(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    // The key is looked at before the index is read.
    let Some(list) = locked.read_as::<List>(args.at(1))? else {
        reply.null();
        return Ok(());
    };
    match index(integer(args.at(2))?, list.len()).and_then(|index| list.get(index)) {
        Some(element) => answer(reply, element),
        None => reply.null(),
    }
    Ok(())
}

/// The element that an index means, which may be counted from the end; `None` if it is before the beginning.
pub(super) fn index(index: i64, len: usize) -> Option<usize> {
    usize::try_from(if index < 0 { index + len as i64 } else { index }).ok()
}

fn lrange(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let (start, stop) = (integer(args.at(2))?, integer(args.at(3))?);
    let list = locked.read_as::<List>(args.at(1))?;
    let range = list.and_then(|list| Some((list, index_range(start, stop, list.len())?)));
    let Some((list, (first, last))) = range else {
        reply.array(0);
        return Ok(());
    };
    reply.array(last + 1 - first);
    list.range(first, last + 1).for_each(|element| answer(reply, element));
    Ok(())
}

fn lpos(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let search = Search::parse(args)?;
    let list = locked.read_as::<List>(args.at(1))?;
    let mut places = list.into_iter().flat_map(|list| search.places(list));
    let Some(count) = search.count else {
        match places.next() {
            Some(place) => reply.int(place as i64),
            None => reply.null(),
        }
        return Ok(());
    };
    let deferred = reply.defer();
    let mut found = 0;
    for place in places.take(if count == 0 { usize::MAX } else { count }) {
        reply.int(place as i64);
        found += 1;
    }
    reply.set_array_len(deferred, found);
    Ok(())
}

/// A call of LPOS.
#[derive(Debug, PartialEq)]
struct Search<'a> {
    element: Element<'a>,
    /// How many matches are passed over.
    skip: usize,
    from_end: bool,
    /// How many matches are answered, 0 for all; `None` for one that stands without an array.
    count: Option<usize>,
    /// How many elements are looked at.
    most: usize,
}

impl<'a> Search<'a> {
    fn parse(args: Args<'a>) -> Result<Self, Error> {
        let (mut rank, mut count, mut most) = (1, None, 0);
        let mut options = args.from(3);
        while let Some(word) = options.get(0) {
            let value = options.get(1).ok_or(SYNTAX)?;
            match () {
                () if is(word, "RANK") => rank = parse_rank(value)?,
                () if is(word, "COUNT") => count = Some(natural(value, LPOS_COUNT_NEGATIVE)?),
                () if is(word, "MAXLEN") => most = natural(value, LPOS_MAXLEN_NEGATIVE)?,
                () => return Err(SYNTAX),
            }
            options = options.from(2);
        }
        let skip = usize::try_from(rank.unsigned_abs() - 1).unwrap_or(usize::MAX);
        let most = if most == 0 { usize::MAX } else { most };
        Ok(Self { element: Element::of(args.at(2)), skip, from_end: rank < 0, count, most })
    }

    /// Where the element stands, in the order in which it is looked for.
    fn places<'l>(&self, list: ListRef<'l>) -> impl Iterator<Item = usize> + use<'a, 'l> {
        let (len, wanted, from_end) = (list.len(), self.element, self.from_end);
        let mut elements = list.range(0, len);
        let next = move || if from_end { elements.next_back() } else { elements.next() };
        let matches =
            std::iter::from_fn(next).take(self.most).enumerate().filter(move |(_, element)| *element == wanted);
        matches.skip(self.skip).map(move |(number, _)| if from_end { len - 1 - number } else { number })
    }
}

fn parse_rank(arg: &[u8]) -> Result<i64, Error> {
    match integer(arg)? {
        0 => Err(LPOS_RANK_ZERO),
        i64::MIN => Err(LONG_OUT_OF_RANGE),
        rank => Ok(rank),
    }
}
