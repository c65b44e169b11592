//! SORT and SORT_RO: the elements of a list, a set or a sorted set in another order, or what other keys say about them.
//!
//! BY and GET name keys that depend on the elements, so every shard is locked. The elements are copied out first: looking
//! those keys up may remove ones that have expired.

use std::cmp::Ordering;

use larder_protocol::{Args, Reply};
use larder_storage::table::Expiry;
use larder_storage::types::list::{End, List};
use larder_storage::types::{Collection, Env};
use larder_storage::value::{Content, Value};

use super::command::*;
use super::parse::{integer, is};
use crate::config::KeyspaceEvents as Class;
use crate::error::{Error, Outcome, SORT_BY_DENIED, SORT_GET_DENIED, SORT_SCORES, SYNTAX, WRONG_TYPE};
use crate::locked::{Locked, text};
use crate::number::strtod;
use crate::partial_sort::sort_part;

const COMPLEXITY: &str =
    "O(N+M*log(M)) for N elements and M answered ones, without a limit N; O(N) where nothing is sorted";
/// Redis's remarks on keys that no position tells.
const PATTERN_NOTES: &str = "For the optional BY/GET keyword. It is marked 'unknown' because the key names derive from the content of the key we sort";
const STORE_NOTES: &str = "For the optional STORE keyword. It is marked 'unknown' because the keyword can appear anywhere in the argument array";

/// Keys that the elements and a pattern make.
const PATTERNS: KeySpec = KeySpec { begin: 0, find: Find::Nowhere, flags: RO | ACCESS, notes: PATTERN_NOTES };
/// The key after STORE.
const STORE: KeySpec = KeySpec {
    begin: 0,
    find: Find::Keyword(Keyword {
        word: "STORE",
        from: 0,
        last: 0,
        step: 1,
        limit: 0,
        options: &[("LIMIT", 2), ("BY", 1), ("GET", 1)],
        repeats: true,
    }),
    flags: OW | UPDATE,
    notes: STORE_NOTES,
};

pub(super) const COMMANDS: &[Command] = &[
    Command::all("SORT", Arity::at_least(1), sort)
        .keys(&[key(1, RO | ACCESS), PATTERNS, STORE])
        .flags(WRITE | DENYOOM | MOVABLE_KEYS | DANGEROUS | SORTS)
        .since("1.0.0")
        .syntax("key [BY pattern] [LIMIT offset count] [GET pattern]... [ASC | DESC] [ALPHA] [STORE destination]")
        .complexity(COMPLEXITY)
        .summary("Sorts the elements of a list, a set or a sorted set as numbers or as strings, by themselves or by the values of other keys, and answers or stores them or what other keys hold for them.")
        .examples(&[
            ("RPUSH l 3 1 2", "(integer) 3"),
            ("SORT l", "1) \"1\"\n2) \"2\"\n3) \"3\""),
            ("SORT l DESC LIMIT 0 2 STORE top", "(integer) 2"),
            ("LRANGE top 0 -1", "1) \"3\"\n2) \"2\""),
            ("MSET w1 30 w2 10 w3 20", "OK"),
            ("SORT l BY w* GET # GET w*", "1) \"2\"\n2) \"10\"\n3) \"3\"\n4) \"20\"\n5) \"1\"\n6) \"30\""),
            ("RPUSH l x", "(integer) 4"),
            ("SORT l", "(error) ERR One or more scores can't be converted into double"),
        ]),
    Command::all("SORT_RO", Arity::at_least(1), sort_ro)
        .keys(&[key(1, RO | ACCESS), PATTERNS])
        .flags(READONLY | MOVABLE_KEYS | DANGEROUS | SORTS)
        .since("7.0.0")
        .syntax("key [BY pattern] [LIMIT offset count] [GET pattern]... [ASC | DESC] [ALPHA]")
        .complexity(COMPLEXITY)
        .summary("Does what SORT does, but stores nothing.")
        .examples(&[
            ("RPUSH l b a", "(integer) 2"),
            ("SORT_RO l ALPHA", "1) \"a\"\n2) \"b\""),
            ("SORT_RO l STORE k", "(error) ERR syntax error"),
        ]),
];

fn sort(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    run(locked, args, true, reply)
}

fn sort_ro(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    run(locked, args, false, reply)
}

/// What a call asks for.
struct Call<'a> {
    descends: bool,
    alpha: bool,
    /// First element, and how many; negative: all.
    limit: (i64, i64),
    by: Option<Pattern<'a>>,
    gets: Vec<Pattern<'a>>,
    store: Option<&'a [u8]>,
    /// Whether the elements stay in their order.
    keeps_order: bool,
}

impl<'a> Call<'a> {
    fn parse(locked: &Locked<'_>, args: Args<'a>, may_store: bool) -> Result<Self, Error> {
        let mut call = Self {
            descends: false,
            alpha: false,
            limit: (0, -1),
            by: None,
            gets: Vec::new(),
            store: None,
            keeps_order: false,
        };
        let mut words = args.from(2);
        while let Some(word) = words.get(0) {
            let next = words.get(1);
            let mut taken = 2;
            match (next, words.get(2)) {
                (Some(start), Some(count)) if is(word, "LIMIT") => {
                    call.limit = (integer(start)?, integer(count)?);
                    taken = 3;
                }
                (Some(key), _) if may_store && is(word, "STORE") => call.store = Some(key),
                (Some(text), _) if is(word, "BY") => {
                    let pattern = Pattern::parse(text);
                    call.keeps_order |= pattern.star.is_none();
                    if pattern.star.is_some() && !locked.may_read_every_key(args) {
                        return Err(SORT_BY_DENIED);
                    }
                    call.by = Some(pattern);
                }
                (Some(text), _) if is(word, "GET") => {
                    if !locked.may_read_every_key(args) {
                        return Err(SORT_GET_DENIED);
                    }
                    call.gets.push(Pattern::parse(text));
                }
                _ => {
                    taken = 1;
                    match () {
                        () if is(word, "ASC") => call.descends = false,
                        () if is(word, "DESC") => call.descends = true,
                        () if is(word, "ALPHA") => call.alpha = true,
                        () => return Err(SYNTAX),
                    }
                }
            }
            words = words.from(taken);
        }
        Ok(call)
    }

    /// Of `len` elements in an order of their own those, from the front, that are answered; of the rest all are needed.
    fn take_part(&mut self, len: usize) -> std::ops::Range<usize> {
        if !self.keeps_order {
            return 0..len;
        }
        let part = self.range(len);
        self.limit = (0, -1);
        if self.descends { len - part.end..len - part.start } else { part }
    }

    /// The elements that are answered, of `len` in their order.
    fn range(&self, len: usize) -> std::ops::Range<usize> {
        let within = |number: i64| usize::try_from(number).unwrap_or(0).min(len);
        let start = within(self.limit.0);
        let end = if self.limit.1 < 0 { len } else { (start + within(self.limit.1)).min(len) };
        start..end
    }
}

/// A key, perhaps with a field of a hash, that depends on an element.
struct Pattern<'a> {
    text: &'a [u8],
    /// Where the element stands in its place; `None` if it depends on none.
    star: Option<usize>,
    /// The key's end, and the field.
    end: usize,
    field: Option<&'a [u8]>,
}

impl<'a> Pattern<'a> {
    fn parse(text: &'a [u8]) -> Self {
        // Redis looks for both as in a C string, which ends at a zero.
        let readable = text.split(|byte| *byte == 0).next().unwrap_or_default();
        let star = readable.iter().position(|byte| *byte == b'*');
        let arrow = star.and_then(|star| {
            let rest = &readable[star + 1..];
            let at = rest.windows(2).position(|pair| pair == b"->")? + star + 1;
            (at + 2 < readable.len()).then_some(at)
        });
        Self { text, star, end: arrow.unwrap_or(text.len()), field: arrow.map(|at| &text[at + 2..]) }
    }

    /// What the pattern stands for, for an element, if there is such a thing.
    fn look_up(&self, locked: &mut Locked<'_>, element: &[u8], key: &mut Vec<u8>) -> Option<Vec<u8>> {
        if self.text == b"#" {
            return Some(element.to_vec());
        }
        let star = self.star?;
        key.clear();
        key.extend_from_slice(&self.text[..star]);
        key.extend_from_slice(element);
        key.extend_from_slice(&self.text[star + 1..self.end]);
        let (env, now) = (locked.env(), locked.now);
        match (locked.read(key)?.value(), self.field) {
            (Value::Hash(hash), Some(field)) => {
                let found = hash.get(env, field).filter(|field| !field.has_expired(now))?;
                Some(found.value.text(&mut itoa::Buffer::new()).to_vec())
            }
            (value @ (Value::Int(_) | Value::Str { .. } | Value::Big(_)), None) => {
                text(value).ok().map(|mut text| text.bytes().to_vec())
            }
            _ => None,
        }
    }
}

/// Strings one behind the other, so that a million of them are one block.
#[derive(Default)]
struct Elements {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Elements {
    fn push(&mut self, text: &[u8]) {
        self.bytes.extend_from_slice(text);
        self.ends.push(self.bytes.len());
    }

    fn get(&self, number: usize) -> &[u8] {
        let start = if number == 0 { 0 } else { self.ends[number - 1] };
        &self.bytes[start..self.ends[number]]
    }

    fn len(&self) -> usize {
        self.ends.len()
    }
}

/// Copies the elements of a key out. In their own order they come backwards if the call says DESC, and only those that are
/// answered; a set has none.
fn load(locked: &mut Locked<'_>, key: &[u8], call: &mut Call<'_>) -> Result<Elements, Error> {
    let mut elements = Elements::default();
    let backwards = call.keeps_order && call.descends;
    let is_script = locked.is_script;
    match locked.read(key).map(|entry| entry.value()) {
        None => {}
        Some(Value::List(list)) => {
            let part = call.take_part(list.len());
            let range = list.range(part.start, part.end);
            let add = |element: larder_storage::types::pack::Element<'_>| {
                elements.push(element.text(&mut itoa::Buffer::new()));
            };
            if backwards { range.rev().for_each(add) } else { range.for_each(add) }
        }
        Some(Value::ZSet(zset)) => {
            let part = call.take_part(zset.len());
            let range = zset.range(part.start, part.end);
            if backwards {
                range.rev().for_each(|(member, _)| elements.push(member));
            } else {
                range.for_each(|(member, _)| elements.push(member));
            }
        }
        Some(Value::Set(set)) => {
            set.iter().for_each(|member| elements.push(member.text(&mut itoa::Buffer::new())));
            if call.keeps_order && (call.store.is_some() || is_script) {
                // A set's order is nobody's: what is stored, or read by a script, must be the same wherever that is repeated.
                (call.keeps_order, call.alpha, call.by) = (false, true, None);
            }
        }
        Some(_) => return Err(WRONG_TYPE),
    }
    Ok(elements)
}

/// What an element is sorted by.
enum Weight {
    Number(f64),
    Text(Option<Vec<u8>>),
}

/// The numbers of the elements in the order in which they are answered, exact within `part`.
fn in_order(
    locked: &mut Locked<'_>,
    call: &Call<'_>,
    elements: &Elements,
    part: std::ops::Range<usize>,
) -> Result<Vec<usize>, Error> {
    let mut order: Vec<usize> = (0..elements.len()).collect();
    if call.keeps_order {
        return Ok(order);
    }
    let (mut weights, mut key, mut is_wrong) = (Vec::with_capacity(elements.len()), Vec::new(), false);
    for number in 0..elements.len() {
        let element = elements.get(number);
        let found = call.by.as_ref().map(|by| by.look_up(locked, element, &mut key));
        weights.push(match (&found, call.alpha) {
            (Some(text), true) => Weight::Text(text.clone()),
            (None, true) => Weight::Text(None),
            (Some(None), false) => Weight::Number(0.0),
            (_, false) => {
                let text = found.as_ref().and_then(|text| text.as_deref()).unwrap_or(element);
                let parsed = strtod(text).filter(|parsed| !parsed.out_of_range);
                is_wrong |= parsed.is_none();
                Weight::Number(parsed.map_or(0.0, |parsed| parsed.value))
            }
        });
    }
    if is_wrong {
        return Err(SORT_SCORES);
    }
    let collate = |one: &[u8], other: &[u8]| match call.store {
        Some(_) => one.cmp(other),
        None => as_c_string(one).cmp(as_c_string(other)),
    };
    let mut compare = |one: &usize, other: &usize| {
        let ordering = match (&weights[*one], &weights[*other]) {
            (Weight::Number(a), Weight::Number(b)) => {
                // No number is NaN.
                let scores = a.partial_cmp(b).unwrap_or(Ordering::Equal);
                scores.then_with(|| elements.get(*one).cmp(elements.get(*other)))
            }
            _ if call.by.is_none() => collate(elements.get(*one), elements.get(*other)),
            (Weight::Text(Some(a)), Weight::Text(Some(b))) => collate(a, b),
            (Weight::Text(a), Weight::Text(b)) => a.is_some().cmp(&b.is_some()),
            _ => Ordering::Equal,
        };
        if call.descends { ordering.reverse() } else { ordering }
    };
    if call.by.is_some() && part != (0..elements.len()) {
        sort_part(&mut order, part, &mut compare);
    } else {
        order.sort_by(compare);
    }
    Ok(order)
}

/// The bytes that C sees of a string.
fn as_c_string(text: &[u8]) -> &[u8] {
    text.split(|byte| *byte == 0).next().unwrap_or_default()
}

fn run(locked: &mut Locked<'_>, args: Args<'_>, may_store: bool, reply: &mut Reply) -> Outcome {
    let mut call = Call::parse(locked, args, may_store)?;
    let elements = load(locked, args.at(1), &mut call)?;
    let range = call.range(elements.len());
    let order = in_order(locked, &call, &elements, range.clone())?;
    let chosen = order[range].iter().map(|number| elements.get(*number));
    let mut key = Vec::new();
    let Some(destination) = call.store else {
        reply.array(chosen.len() * call.gets.len().max(1));
        for element in chosen {
            if call.gets.is_empty() {
                reply.bulk(element);
            }
            for get in &call.gets {
                match get.look_up(locked, element, &mut key) {
                    Some(text) => reply.bulk(&text),
                    None => reply.null(),
                }
            }
        }
        return Ok(());
    };
    let mut result = Elements::default();
    for element in chosen {
        if call.gets.is_empty() {
            result.push(element);
        }
        for get in &call.gets {
            result.push(&get.look_up(locked, element, &mut key).unwrap_or_default());
        }
    }
    store(locked, destination, &result)?;
    reply.int(result.len() as i64);
    Ok(())
}

/// Stores strings as a list, whatever the key held; none remove it.
fn store(locked: &mut Locked<'_>, key: &[u8], elements: &Elements) -> Outcome {
    let texts = (0..elements.len()).map(|number| elements.get(number));
    if elements.len() == 0 {
        if locked.remove(key) {
            locked.changed(Class::GENERIC, "del", key);
            locked.replay(&[b"DEL", key]);
        }
        return Ok(());
    }
    let env: Env<'_> = locked.env();
    let mut list = List::empty(&env);
    list.push_all(&env, End::Right, texts.clone());
    locked.set(key, Content::Object(list.into_object()), Expiry::Set(None))?;
    locked.changed(Class::LIST, "sortstore", key);
    locked.count_changes(elements.len() as u64 - 1);
    locked.replay(&[b"DEL", key]);
    locked.replay(&[b"RPUSH".as_slice(), key].into_iter().chain(texts).collect::<Vec<_>>());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_name_keys_and_fields() {
        let parts = |text: &'static str| {
            let pattern = Pattern::parse(text.as_bytes());
            (pattern.star, &text[..pattern.end], pattern.field.map(|field| String::from_utf8_lossy(field).into_owned()))
        };
        assert_eq!(parts("w_*"), (Some(2), "w_*", None));
        assert_eq!(parts("*->f"), (Some(0), "*", Some("f".into())));
        assert_eq!(parts("w_*_x->f->g"), (Some(2), "w_*_x", Some("f->g".into())));
        assert_eq!(parts("a->b*"), (Some(4), "a->b*", None));
        assert_eq!(parts("*->"), (Some(0), "*->", None));
        assert_eq!(parts("constant"), (None, "constant", None));
        assert_eq!(parts("a\0*"), (None, "a\0*", None));
    }
}
