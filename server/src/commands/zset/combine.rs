//! Several sets made one: unions, intersections and differences, answered, stored or counted.
//!
//! All sources are looked at before anything is stored, so the destination may be one of them. The result is a list
//! of borrowed members in order, from which the reply is written or the new set built.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

use larder_protocol::{Args, Reply};
use larder_storage::types::pack::Element;
use larder_storage::types::set::SetRef;
use larder_storage::types::text::Text;
use larder_storage::types::zset::{Full, ZSet, ZSetRef};
use larder_storage::types::{Env, Limits};
use larder_storage::value::{Kind, Value};

use super::super::command::*;
use super::super::parse::{integer, is};
use super::super::sources::sources;
use super::{Layout, natural, store};
use crate::error::{Error, LIMIT_NEGATIVE, Outcome, SYNTAX, WEIGHT_NOT_FLOAT, no_input_keys};
use crate::locked::Locked;

pub(super) const ZUNION: Command = Command::read("ZUNION", Arity::at_least(2), &[counted(1, RO | ACCESS)], zunion)
    .flags(MOVABLE_KEYS)
    .group(Group::SortedSet)
    .since("6.2.0")
    .syntax("numkeys key... [WEIGHTS weight...] [AGGREGATE (SUM | MIN | MAX)] [WITHSCORES]")
    .summary("Answers the members that any of several sorted sets has, their scores added or otherwise made one.")
    .complexity(UNION)
    .examples(&[
        ("ZADD mon 3 ada 1 bo", "(integer) 2"),
        ("ZADD tue 4 bo 9 cy", "(integer) 2"),
        ("ZUNION 2 mon tue", "1) \"ada\"\n2) \"bo\"\n3) \"cy\""),
        (
            "ZUNION 2 mon tue WEIGHTS 2 1 AGGREGATE MAX WITHSCORES",
            "1) \"bo\"\n2) \"4\"\n3) \"ada\"\n4) \"6\"\n5) \"cy\"\n6) \"9\"",
        ),
        ("ZUNION 0 mon", "(error) ERR at least 1 input key is needed for 'zunion' command"),
    ]);

pub(super) const ZUNIONSTORE: Command = Command::write("ZUNIONSTORE", Arity::at_least(3), STORE_KEYS, zunionstore)
    .flags(DENYOOM | MOVABLE_KEYS)
    .group(Group::SortedSet)
    .since("2.0.0")
    .syntax("destination numkeys key... [WEIGHTS weight...] [AGGREGATE (SUM | MIN | MAX)]")
    .summary("Stores the union of several sorted sets under a key, whatever that held.")
    .complexity(UNION)
    .examples(&[
        ("ZADD mon 3 ada 1 bo", "(integer) 2"),
        ("ZADD tue 4 bo 9 cy", "(integer) 2"),
        ("ZUNIONSTORE week 2 mon tue", "(integer) 3"),
        ("ZRANGE week 1 -1 WITHSCORES", "1) \"bo\"\n2) \"5\"\n3) \"cy\"\n4) \"9\""),
    ]);

pub(super) const ZINTER: Command = Command::read("ZINTER", Arity::at_least(2), &[counted(1, RO | ACCESS)], zinter)
    .flags(MOVABLE_KEYS)
    .group(Group::SortedSet)
    .since("6.2.0")
    .syntax("numkeys key... [WEIGHTS weight...] [AGGREGATE (SUM | MIN | MAX)] [WITHSCORES]")
    .summary("Answers the members that all of several sorted sets have, their scores added or otherwise made one.")
    .complexity(INTERSECTION)
    .examples(&[
        ("ZADD mon 3 ada 1 bo", "(integer) 2"),
        ("ZADD tue 4 bo 9 cy", "(integer) 2"),
        ("ZINTER 2 mon tue WITHSCORES", "1) \"bo\"\n2) \"5\""),
        ("ZINTER 3 mon tue wed", "(empty array)"),
    ]);

pub(super) const ZINTERSTORE: Command = Command::write("ZINTERSTORE", Arity::at_least(3), STORE_KEYS, zinterstore)
    .flags(DENYOOM | MOVABLE_KEYS)
    .group(Group::SortedSet)
    .since("2.0.0")
    .syntax("destination numkeys key... [WEIGHTS weight...] [AGGREGATE (SUM | MIN | MAX)]")
    .summary("Stores the intersection of several sorted sets under a key, whatever that held.")
    .complexity(INTERSECTION)
    .examples(&[
        ("ZADD mon 3 ada 1 bo", "(integer) 2"),
        ("ZADD tue 4 bo 9 cy", "(integer) 2"),
        ("ZINTERSTORE both 2 mon tue AGGREGATE MIN", "(integer) 1"),
        ("ZRANGE both 0 -1 WITHSCORES", "1) \"bo\"\n2) \"1\""),
    ]);

pub(super) const ZINTERCARD: Command =
    Command::read("ZINTERCARD", Arity::at_least(2), &[counted(1, RO | ACCESS)], zintercard)
        .flags(MOVABLE_KEYS)
        .group(Group::SortedSet)
        .since("7.0.0")
        .syntax("numkeys key... [LIMIT limit]")
        .summary("Answers how many members all of several sorted sets have, on request counting up to a limit only.")
        .complexity("O(N*K), N being the size of the smallest of K sets")
        .examples(&[
            ("ZADD mon 3 ada 1 bo", "(integer) 2"),
            ("ZADD tue 4 bo 9 ada", "(integer) 2"),
            ("ZINTERCARD 2 mon tue", "(integer) 2"),
            ("ZINTERCARD 2 mon tue LIMIT 1", "(integer) 1"),
        ]);

pub(super) const ZDIFF: Command = Command::read("ZDIFF", Arity::at_least(2), &[counted(1, RO | ACCESS)], zdiff)
    .flags(MOVABLE_KEYS)
    .group(Group::SortedSet)
    .since("6.2.0")
    .syntax("numkeys key... [WITHSCORES]")
    .summary("Answers the members that the first of several sorted sets has and none of the others.")
    .complexity(DIFFERENCE)
    .examples(&[
        ("ZADD mon 3 ada 1 bo", "(integer) 2"),
        ("ZADD tue 4 bo 9 cy", "(integer) 2"),
        ("ZDIFF 2 mon tue WITHSCORES", "1) \"ada\"\n2) \"3\""),
    ]);

pub(super) const ZDIFFSTORE: Command = Command::write("ZDIFFSTORE", Arity::at_least(3), STORE_KEYS, zdiffstore)
    .flags(DENYOOM | MOVABLE_KEYS)
    .group(Group::SortedSet)
    .since("6.2.0")
    .syntax("destination numkeys key...")
    .summary("Stores the difference of several sorted sets under a key, whatever that held.")
    .complexity(DIFFERENCE)
    .examples(&[
        ("ZADD mon 3 ada 1 bo", "(integer) 2"),
        ("ZADD tue 4 bo 9 cy", "(integer) 2"),
        ("ZDIFFSTORE mon 2 mon tue", "(integer) 1"),
        ("ZRANGE mon 0 -1", "1) \"ada\""),
    ]);

const STORE_KEYS: &[KeySpec] = &[key(1, OW | UPDATE), counted(2, RO | ACCESS)];

const UNION: &str = "O(N+M*log(M)), N being the sizes of all sets and M that of the result";
const INTERSECTION: &str = "O(N*K+M*log(M)), N being the size of the smallest of K sets and M that of the result";
const DIFFERENCE: &str =
    "O(L), L being the sizes of all sets, or O(N*K) if that is less, N being the size of the first of K sets";

fn zunion(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let call = Call::parse(args.from(1), "zunion", Operation::Union, Form::Answer)?;
    call.answer(locked, reply)
}

fn zunionstore(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let call = Call::parse(args.from(2), "zunionstore", Operation::Union, Form::Store)?;
    call.store(locked, args.at(1), "zunionstore", reply)
}

fn zinter(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let call = Call::parse(args.from(1), "zinter", Operation::Intersection, Form::Answer)?;
    call.answer(locked, reply)
}

fn zinterstore(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let call = Call::parse(args.from(2), "zinterstore", Operation::Intersection, Form::Store)?;
    call.store(locked, args.at(1), "zinterstore", reply)
}

fn zintercard(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let call = Call::parse(args.from(1), "zintercard", Operation::Intersection, Form::Count)?;
    let env = locked.env();
    let (inputs, options) = call.inputs(locked)?;
    let count = intersection(env, &inputs, options.aggregate).take(options.limit).count();
    reply.int(count as i64);
    Ok(())
}

fn zdiff(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let call = Call::parse(args.from(1), "zdiff", Operation::Difference, Form::Answer)?;
    call.answer(locked, reply)
}

fn zdiffstore(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let call = Call::parse(args.from(2), "zdiffstore", Operation::Difference, Form::Store)?;
    call.store(locked, args.at(1), "zdiffstore", reply)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Union,
    Intersection,
    Difference,
}

/// What becomes of the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Answer,
    Store,
    Count,
}

/// A call as it was read.
struct Call<'a> {
    operation: Operation,
    keys: Args<'a>,
    /// A wrong option is an error only after a key of the wrong type is one.
    options: Result<Options, Error>,
}

impl<'a> Call<'a> {
    /// Reads the arguments from the number of keys on.
    fn parse(args: Args<'a>, name: &str, operation: Operation, form: Form) -> Result<Self, Error> {
        let count = integer(args.at(0))?;
        if count < 1 {
            return Err(no_input_keys(name));
        }
        let count = usize::try_from(count).ok().filter(|count| *count < args.len()).ok_or(SYNTAX)?;
        let options = Options::parse(args.from(1 + count), count, operation, form);
        Ok(Self { operation, keys: args.from(1).until(count), options })
    }

    /// The sources with their weights, in the order in which they are worked on, and the options.
    fn inputs<'l>(self, locked: &'l mut Locked<'_>) -> Result<(Vec<Input<'l>>, Options), Error> {
        let values = sources(locked, self.keys, |kind| matches!(kind, Kind::Set | Kind::ZSet))?;
        let options = self.options?;
        let weights = options.weights.iter().copied().chain(std::iter::repeat(1.0));
        let mut inputs: Vec<Input<'l>> =
            values.into_iter().map(Source::new).zip(weights).map(|(source, weight)| Input { source, weight }).collect();
        if self.operation != Operation::Difference {
            // The smallest first makes an intersection cheap. It also settles the order in which scores are added,
            // and so how the sum is rounded.
            inputs.sort_by_key(|input| input.source.len());
        }
        Ok((inputs, options))
    }

    fn answer(self, locked: &mut Locked<'_>, reply: &mut Reply) -> Outcome {
        let (env, operation) = (locked.env(), self.operation);
        let (inputs, options) = self.inputs(locked)?;
        let elements = combined(env, operation, &inputs, options.aggregate);
        let elements = elements.iter().map(|(member, score)| (&**member, *score));
        Layout::usual(options.with_scores, reply.proto()).answer(reply, elements);
        Ok(())
    }

    fn store(self, locked: &mut Locked<'_>, key: &[u8], event: &'static str, reply: &mut Reply) -> Outcome {
        let (env, operation) = (locked.env(), self.operation);
        let (inputs, options) = self.inputs(locked)?;
        let zset = built(env, combined(env, operation, &inputs, options.aggregate))?;
        store(locked, key, zset, event, reply)
    }
}

/// What follows the keys.
#[derive(Debug, PartialEq)]
struct Options {
    /// One for each source, or none.
    weights: Vec<f64>,
    aggregate: Aggregate,
    with_scores: bool,
    /// Members to count at most.
    limit: usize,
}

impl Options {
    fn parse(mut args: Args<'_>, sources: usize, operation: Operation, form: Form) -> Result<Self, Error> {
        let mut options =
            Self { weights: Vec::new(), aggregate: Aggregate::Sum, with_scores: false, limit: usize::MAX };
        let has_scores = operation != Operation::Difference && form != Form::Count;
        while let Some(word) = args.get(0) {
            let mut words = 1;
            if has_scores && args.len() > sources && is(word, "WEIGHTS") {
                let weight = |arg| crate::number::parse_f64(arg).ok_or(WEIGHT_NOT_FLOAT);
                options.weights = args.from(1).until(sources).iter().map(weight).collect::<Result<_, _>>()?;
                words += sources;
            } else if has_scores && args.len() > 1 && is(word, "AGGREGATE") {
                options.aggregate = Aggregate::parse(args.at(1))?;
                words += 1;
            } else if form == Form::Answer && is(word, "WITHSCORES") {
                options.with_scores = true;
            } else if form == Form::Count && args.len() > 1 && is(word, "LIMIT") {
                let limit = natural(args.at(1), LIMIT_NEGATIVE)?;
                options.limit = if limit == 0 { usize::MAX } else { limit };
                words += 1;
            } else {
                return Err(SYNTAX);
            }
            args = args.from(words);
        }
        Ok(options)
    }
}

/// How the scores of one member become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Aggregate {
    Sum,
    Min,
    Max,
}

impl Aggregate {
    fn parse(arg: &[u8]) -> Result<Self, Error> {
        match () {
            () if is(arg, "SUM") => Ok(Self::Sum),
            () if is(arg, "MIN") => Ok(Self::Min),
            () if is(arg, "MAX") => Ok(Self::Max),
            () => Err(SYNTAX),
        }
    }

    /// Never NaN if `one` is not: opposite infinities add up to 0, and a NaN is neither less nor more.
    fn of(self, one: f64, other: f64) -> f64 {
        match self {
            Self::Sum => or_zero(one + other),
            Self::Min if other < one => other,
            Self::Max if other > one => other,
            Self::Min | Self::Max => one,
        }
    }
}

fn or_zero(score: f64) -> f64 {
    if score.is_nan() { 0.0 } else { score }
}

/// What a key holds that can be combined.
#[derive(Clone, Copy)]
enum Source<'a> {
    Absent,
    Sorted(ZSetRef<'a>),
    /// A set, as a sorted set whose scores are all 1.
    Plain(SetRef<'a>),
}

impl<'a> Source<'a> {
    fn new(value: Option<Value<'a>>) -> Self {
        match value {
            Some(Value::ZSet(zset)) => Self::Sorted(zset),
            Some(Value::Set(set)) => Self::Plain(set),
            _ => Self::Absent,
        }
    }

    fn len(self) -> usize {
        match self {
            Self::Absent => 0,
            Self::Sorted(zset) => zset.len(),
            Self::Plain(set) => set.len(),
        }
    }

    fn score(self, env: Env<'_>, member: &[u8]) -> Option<f64> {
        match self {
            Self::Absent => None,
            Self::Sorted(zset) => zset.score(env, member),
            Self::Plain(set) => set.contains(env, Element::Bytes(member)).then_some(1.0),
        }
    }

    /// The elements, in any order.
    fn elements(self) -> impl Iterator<Item = (Text<'a>, f64)> {
        let (sorted, plain) = match self {
            Self::Absent => (None, None),
            Self::Sorted(zset) => (Some(zset.range(0, zset.len())), None),
            Self::Plain(set) => (None, Some(set.iter())),
        };
        let sorted = sorted.into_iter().flatten().map(|(member, score)| (Text::Borrowed(member), score));
        sorted.chain(plain.into_iter().flatten().map(|member| (Text::from(member), 1.0)))
    }
}

struct Input<'a> {
    source: Source<'a>,
    weight: f64,
}

/// The elements of the result, in order.
fn combined<'a>(
    env: Env<'_>,
    operation: Operation,
    inputs: &[Input<'a>],
    aggregate: Aggregate,
) -> Vec<(Text<'a>, f64)> {
    let mut elements = match operation {
        Operation::Union => union(inputs, aggregate),
        Operation::Intersection => intersection(env, inputs, aggregate).collect(),
        Operation::Difference => difference(env, inputs),
    };
    sort(&mut elements);
    elements
}

fn sort<M: AsRef<[u8]>>(elements: &mut [(M, f64)]) {
    elements.sort_unstable_by(|one, other| {
        // No score is NaN.
        let scores = one.1.partial_cmp(&other.1).unwrap_or(Ordering::Equal);
        scores.then_with(|| one.0.as_ref().cmp(other.0.as_ref()))
    });
}

/// A set of elements in any order, no member twice.
pub(in super::super) fn in_order(env: Env<'_>, mut elements: Vec<(&[u8], f64)>) -> Result<ZSet, Full> {
    sort(&mut elements);
    built(env, elements)
}

/// A set of elements in order. One that will not be packed never is, even in part: that would make a -0 of its scores
/// a 0.
fn built<M: AsRef<[u8]>>(env: Env<'_>, elements: Vec<(M, f64)>) -> Result<ZSet, Full> {
    let is_large = elements.len() > env.limits.zset_max_packed_entries
        || elements.iter().any(|(member, _)| member.as_ref().len() > env.limits.zset_max_packed_value);
    let zset_max_packed_entries = if is_large { 0 } else { env.limits.zset_max_packed_entries };
    let limits = Limits { zset_max_packed_entries, ..env.limits };
    ZSet::from_sorted(Env { limits, ..env }, elements)
}

fn union<'a>(inputs: &[Input<'a>], aggregate: Aggregate) -> Vec<(Text<'a>, f64)> {
    let largest = inputs.iter().map(|input| input.source.len()).max();
    let mut scores: HashMap<Text<'_>, f64> = HashMap::with_capacity(largest.unwrap_or(0));
    for input in inputs {
        for (member, score) in input.source.elements() {
            let score = or_zero(input.weight * score);
            scores.entry(member).and_modify(|sum| *sum = aggregate.of(*sum, score)).or_insert(score);
        }
    }
    scores.into_iter().collect()
}

/// The elements of the first input that all others have too.
fn intersection<'a>(env: Env<'_>, inputs: &[Input<'a>], aggregate: Aggregate) -> impl Iterator<Item = (Text<'a>, f64)> {
    let (first, others) = inputs.split_at(inputs.len().min(1));
    let elements = first.iter().flat_map(|input| {
        let weight = input.weight;
        input.source.elements().map(move |(member, score)| (member, or_zero(weight * score)))
    });
    elements.filter_map(move |(member, score)| {
        let mut others = others.iter();
        let sum = others.try_fold(score, |sum, other| {
            let score = other.source.score(env, &member)?;
            Some(aggregate.of(sum, score * other.weight))
        });
        Some((member, sum?))
    })
}

fn difference<'a>(env: Env<'_>, inputs: &[Input<'a>]) -> Vec<(Text<'a>, f64)> {
    let Some((first, others)) = inputs.split_first() else { return Vec::new() };
    let total: usize = inputs.iter().map(|input| input.source.len()).sum();
    let elements = first.source.elements();
    // Either each member is searched in every other set, or those are gone through once. A search may end early.
    if first.source.len().saturating_mul(inputs.len()) / 2 <= total {
        let is_elsewhere = |member: &[u8]| others.iter().any(|other| other.source.score(env, member).is_some());
        elements.filter(|(member, _)| !is_elsewhere(member)).collect()
    } else {
        let elsewhere: HashSet<Text<'_>> =
            others.iter().flat_map(|other| other.source.elements()).map(|(member, _)| member).collect();
        elements.filter(|(member, _)| !elsewhere.contains(member)).collect()
    }
}
