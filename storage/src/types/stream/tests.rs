//! Streams against a model, with nodes small enough that they fill and go all the time.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::heap::{Mover, Settle};
use crate::types::Limits;

/// What the model knows of an entry that is pending: its consumer, time and count.
type ModelPending = BTreeMap<StreamId, (Vec<u8>, u64, u64)>;

#[derive(Default)]
struct Model {
    /// Entries with the number of their node.
    entries: BTreeMap<StreamId, Vec<Vec<u8>>>,
    groups: BTreeMap<Vec<u8>, (Vec<Vec<u8>>, ModelPending)>,
    /// The part that is to be moved next.
    part: usize,
}

#[derive(Clone, Debug)]
enum Step {
    Append(u64, Vec<Vec<u8>>),
    Delete(Vec<usize>),
    Trim(Trim),
    Range(usize, usize),
    CreateGroup(u8),
    DestroyGroup(u8),
    Deliver(u8, u8, usize),
    Acknowledge(u8, usize),
    RemoveConsumer(u8, u8),
    Duplicate,
    Settle(usize),
}

fn fields() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let text = prop_oneof![
        Just(b"name".to_vec()),
        Just(b"12".to_vec()),
        (0usize..90).prop_map(|len| vec![b'x'; len]),
        any::<i32>().prop_map(|number| number.to_string().into_bytes()),
    ];
    prop_oneof![
        text.clone().prop_map(|value| vec![b"f".to_vec(), value]),
        proptest::collection::vec((text.clone(), text), 1..4)
            .prop_map(|pairs| pairs.into_iter().flat_map(|(field, value)| [field, value]).collect()),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let trim = (any::<bool>(), 0u64..40, any::<bool>(), prop_oneof![Just(0), 1u64..20]).prop_map(
        |(by_id, count, approximate, limit)| Trim {
            keep: if by_id { Keep::From(StreamId::new(count, 3)) } else { Keep::Newest(count) },
            approximate,
            limit: if approximate { limit } else { 0 },
        },
    );
    prop_oneof![
        8 => (0u64..3, fields()).prop_map(|(later, fields)| Step::Append(later, fields)),
        3 => proptest::collection::vec(0usize..60, 1..4).prop_map(Step::Delete),
        1 => trim.prop_map(Step::Trim),
        1 => (0usize..60, 0usize..60).prop_map(|(start, end)| Step::Range(start, end)),
        1 => (0u8..3).prop_map(Step::CreateGroup),
        1 => (0u8..9).prop_map(Step::DestroyGroup),
        4 => (0u8..3, 0u8..4, 0usize..60).prop_map(|(group, consumer, at)| Step::Deliver(group, consumer, at)),
        2 => (0u8..3, 0usize..60).prop_map(|(group, at)| Step::Acknowledge(group, at)),
        1 => (0u8..3, 0u8..9).prop_map(|(group, consumer)| Step::RemoveConsumer(group, consumer)),
        1 => Just(Step::Duplicate),
        2 => (1usize..20).prop_map(Step::Settle),
    ]
}

fn text(element: super::super::pack::Element<'_>) -> Vec<u8> {
    element.text(&mut itoa::Buffer::new()).to_vec()
}

fn contents(stream: &Stream, start: StreamId, end: StreamId, direction: Direction) -> Vec<(StreamId, Vec<Vec<u8>>)> {
    let entries = stream.log().range(start, end, direction);
    entries.map(|entry| (entry.id, entry.fields().flat_map(|(f, v)| [text(f), text(v)]).collect())).collect()
}

impl Model {
    /// The id of an entry that is there, or one near it that is not.
    fn id(&self, at: usize) -> StreamId {
        let id = self.entries.keys().nth(at / 2).copied().unwrap_or(StreamId::new(at as u64, 1));
        if at.is_multiple_of(2) { id } else { id.next().unwrap_or(id) }
    }

    /// Takes the oldest entries out; what a trimmed stream may keep depends on its nodes.
    fn drop_first(&mut self, count: u64) {
        (0..count).for_each(|_| {
            self.entries.pop_first();
        });
    }

    fn check(&self, stream: &Stream) {
        stream.validate();
        assert_eq!(stream.log().len(), self.entries.len() as u64);
        let first = self.entries.keys().next().copied();
        assert_eq!(stream.log().first_id(), first.unwrap_or(StreamId::MIN));
        assert_eq!(stream.log().last_entry_id(), self.entries.keys().next_back().copied());
        let names: Vec<_> = stream.as_ref().groups().map(|(name, _)| name.to_vec()).collect();
        assert_eq!(names, self.groups.keys().cloned().collect::<Vec<_>>());
        for (name, (consumers, pending)) in &self.groups {
            let group = stream.as_ref().group(name).unwrap();
            let mut sorted = consumers.clone();
            sorted.sort();
            let named: Vec<_> = group.consumers().map(|consumer| consumer.name().to_vec()).collect();
            assert_eq!(named, sorted);
            let listed: ModelPending = group
                .pending_from(StreamId::MIN)
                .map(|(id, entry)| {
                    let name = group.consumer(entry.consumer).unwrap().name().to_vec();
                    (id, (name, entry.delivered_ms, entry.count))
                })
                .collect();
            assert_eq!(listed, *pending);
            for consumer in consumers {
                let own = pending.iter().filter(|(_, entry)| entry.0 == *consumer).map(|(id, _)| *id);
                let listed = group.consumer_named(consumer).unwrap().pending_from(StreamId::MIN);
                assert!(listed.eq(own));
            }
        }
    }

    fn take(&mut self, stream: &mut Stream, limits: &Limits, step: Step, now: u64) {
        let group_name = |group: u8| format!("group {group}").repeat(1 + 2 * group as usize).into_bytes();
        let consumer_name = |consumer: u8| vec![b'c'; 8 * consumer as usize];
        match step {
            Step::Append(later, fields) => {
                let id = stream.log().next_id(stream.log().last_id().ms + later).unwrap();
                stream.append(limits, id, fields.iter().map(Vec::as_slice));
                self.entries.insert(id, fields);
            }
            Step::Delete(places) => {
                let ids: Vec<_> = places.into_iter().map(|at| self.id(at)).collect();
                let there = ids.iter().filter(|id| self.entries.remove(id).is_some()).count();
                assert_eq!(stream.change(|log| log.delete(ids.into_iter())), there as u64);
            }
            Step::Trim(trim) => self.trim(stream, trim),
            Step::Range(start, end) => {
                let (start, end) = (self.id(start), self.id(end));
                let expected: Vec<_> = match start <= end {
                    true => self.entries.range(start..=end).map(|(id, fields)| (*id, fields.clone())).collect(),
                    false => Vec::new(),
                };
                assert_eq!(contents(stream, start, end, Direction::Forward), expected);
                let reversed: Vec<_> = expected.into_iter().rev().collect();
                assert_eq!(contents(stream, start, end, Direction::Backward), reversed);
            }
            Step::CreateGroup(group) => {
                let made = stream.create_group(&group_name(group), StreamId::MIN, Some(0));
                assert_eq!(made, !self.groups.contains_key(&group_name(group)));
                self.groups.entry(group_name(group)).or_default();
            }
            Step::DestroyGroup(group) => {
                let gone = self.groups.remove(&group_name(group)).is_some();
                assert_eq!(stream.destroy_group(&group_name(group)), gone);
            }
            Step::Deliver(group, consumer, at) => {
                let (id, name) = (self.id(at), consumer_name(consumer));
                let count = at as u64 % 3;
                stream.with_group(&group_name(group), |_, group| {
                    let (consumer, _) = group.consumer_or_new(&name, now);
                    group.deliver(id, Pending { delivered_ms: now, count, consumer });
                });
                if let Some((consumers, pending)) = self.groups.get_mut(&group_name(group)) {
                    if !consumers.contains(&name) {
                        consumers.push(name.clone());
                    }
                    pending.insert(id, (name, now, count));
                }
            }
            Step::Acknowledge(group, at) => {
                let id = self.id(at);
                let done = stream.with_group(&group_name(group), |_, group| group.acknowledge(id));
                let pending = self.groups.get_mut(&group_name(group));
                assert_eq!(done, pending.map(|(_, pending)| pending.remove(&id).is_some()));
            }
            Step::RemoveConsumer(group, consumer) => {
                let name = consumer_name(consumer);
                stream.with_group(&group_name(group), |_, group| group.remove_consumer(&name));
                if let Some((consumers, pending)) = self.groups.get_mut(&group_name(group)) {
                    consumers.retain(|known| *known != name);
                    pending.retain(|_, entry| entry.0 != name);
                }
            }
            Step::Duplicate => *stream = copy(stream),
            Step::Settle(parts) => {
                let before = stream.memory();
                self.part = settle(stream, &mut moves_all(), self.part, parts);
                assert_eq!(stream.memory(), before, "moving changes no size");
            }
        }
    }

    fn trim(&mut self, stream: &mut Stream, trim: Trim) {
        let wanted = match trim.keep {
            Keep::Newest(count) => (self.entries.len() as u64).saturating_sub(count),
            Keep::From(id) => self.entries.range(..id).count() as u64,
        };
        let taken = stream.trim(trim);
        if trim.approximate {
            assert!(taken <= wanted && (trim.limit == 0 || taken <= trim.limit));
        } else {
            assert_eq!(taken, wanted);
        }
        self.drop_first(taken);
    }
}

fn moves_all() -> Mover {
    let mut mover = Mover::new(usize::MAX, usize::MAX);
    mover.moves_all = true;
    mover
}

/// Moves so many parts from one on, as the walk through a table does; where to go on, 0 at the end.
fn settle(stream: &mut Stream, mover: &mut Mover, mut part: usize, count: usize) -> usize {
    for _ in 0..count {
        if part >= stream.parts() {
            return 0;
        }
        stream.settle(part, mover);
        let next = stream.after(part);
        assert!(next > part);
        part = next;
    }
    part
}

fn copy(stream: &Stream) -> Stream {
    let regions = crate::region::Regions::new();
    let hasher = crate::hasher::Hasher::seeded(1);
    stream.duplicate(Env { hasher, regions: &regions, limits: Limits::default() }).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]
    #[test]
    fn agrees_with_the_model(
        max_bytes in prop_oneof![Just(0), 50usize..400],
        max_entries in 0u64..12,
        steps in proptest::collection::vec(step(), 1..120),
    ) {
        let limits = Limits {
            stream_node_max_bytes: max_bytes,
            stream_node_max_entries: max_entries,
            ..Limits::default()
        };
        let (mut stream, mut model) = (Stream::new(), Model::default());
        for (now, step) in steps.into_iter().enumerate() {
            model.take(&mut stream, &limits, step, now as u64);
            model.check(&stream);
        }
        let all = contents(&stream, StreamId::MIN, StreamId::MAX, Direction::Forward);
        prop_assert_eq!(all, model.entries.into_iter().collect::<Vec<_>>());
    }
}

fn filled(entries: u64) -> Stream {
    let mut stream = Stream::new();
    for number in 1..=entries {
        let value = format!("value {number}");
        let fields: [&[u8]; 2] = [b"field", value.as_bytes()];
        stream.append(&Limits::default(), StreamId::new(number, 0), fields.into_iter());
    }
    stream
}

#[test]
fn approximate_trimming_takes_whole_nodes() {
    let mut stream = filled(1000);
    let trim = |keep, limit| Trim { keep, approximate: true, limit };
    assert_eq!(stream.trim(trim(Keep::Newest(555), 0)), 400);
    assert_eq!(stream.log().first_kept_id(), StreamId::new(401, 0));
    assert_eq!(stream.trim(trim(Keep::From(StreamId::new(950, 0)), 250)), 200);
    assert_eq!(stream.trim(trim(Keep::Newest(0), 0)), 400);
    assert_eq!((stream.log().node_counts(), stream.log().first_kept_id()), ((0, 1), StreamId::MAX));
    stream.validate();
}

#[test]
fn equal_work_takes_equal_memory_and_little_of_it() {
    let stream = filled(100_000);
    assert_eq!(stream.memory(), filled(100_000).memory());
    // 13 bytes of value, 11 of everything else.
    assert!(stream.memory() < 100_000 * 29, "{}", stream.memory());
}

#[test]
fn nodes_of_deleted_entries_are_trimmed_away() {
    let id = |ms, seq| StreamId::new(ms, seq);
    for approximate in [false, true] {
        for max_entries in [2, 100] {
            let limits = Limits { stream_node_max_entries: max_entries, ..Limits::default() };
            let (mut stream, fields) = (Stream::new(), [&b"f"[..], b"v"]);
            let trim = |ms, seq, approximate| Trim { keep: Keep::From(id(ms, seq)), approximate, limit: 0 };
            for seq in 1..=2 {
                stream.append(&limits, id(1, seq), fields.into_iter());
            }
            if max_entries == 2 {
                stream.append(&limits, id(2, 1), fields.into_iter());
            }
            assert_eq!(stream.change(|log| log.delete(std::iter::once(id(1, 2)))), 1);
            assert_eq!(stream.trim(trim(1, 2, false)), 1);
            let nodes = stream.log().node_counts().0;
            assert_eq!(stream.trim(trim(1, 5, approximate)), 0);
            assert_eq!(stream.log().node_counts().0, nodes - 1, "{approximate} {max_entries}");
            stream.validate();
        }
    }
}

#[test]
fn small_streams_are_packed_and_become_so_again() {
    let mut stream = filled(100);
    let (mut short, packed) = (filled(1), |stream: &Stream| stream.packed().map(<[u8]>::len));
    assert!(packed(&short).unwrap() <= 50 && packed(&stream).is_some(), "{:?}", packed(&short));
    short.create_group(b"g", StreamId::MIN, None);
    assert_eq!(packed(&short), None);
    short.destroy_group(b"g");
    assert!(packed(&short).unwrap() <= 50);
    let fields: [&[u8]; 2] = [b"a", b"b"];
    stream.append(&Limits::default(), StreamId::new(200, 0), fields.into_iter());
    assert_eq!(packed(&stream), None);
    assert_eq!(stream.trim(Trim { keep: Keep::Newest(1), approximate: false, limit: 0 }), 100);
    assert!(packed(&stream).unwrap() <= 50 && stream.memory() <= 64);
    assert_eq!(stream.change(|log| log.delete(std::iter::once(StreamId::new(200, 0)))), 1);
    stream.validate();
    assert_eq!((stream.log().len(), stream.log().entries_added(), stream.log().last_id().ms), (0, 101, 200));
}

#[test]
fn freeing_in_slices_ends_with_nothing() {
    let mut stream = filled(100_000);
    stream.create_group(b"g", StreamId::MIN, None);
    stream.with_group(b"g", |_, group| {
        for number in 0..10_000 {
            let (consumer, _) = group.consumer_or_new(format!("c{}", number % 300).as_bytes(), 1);
            group.deliver(StreamId::new(number, 0), Pending { delivered_ms: 1, count: 1, consumer });
        }
    });
    stream.validate();
    assert!(stream.weight() > 1000);
    let steps = (1..).find(|_| stream.free_step(2)).unwrap();
    assert!((100..1000).contains(&steps), "{steps} steps");
}

/// A stream with groups of 1, 100 and 1,500 consumers, which have up to 20,000 entries.
fn grouped() -> Stream {
    let mut stream = filled(20_000);
    for (consumers, entries) in [(0, 0), (1, 1), (1, 20_000), (100, 60), (1500, 20_000)] {
        let name = format!("{entries} entries of {consumers}");
        stream.create_group(name.as_bytes(), StreamId::MIN, None);
        stream.with_group(name.as_bytes(), |_, group| {
            (0..consumers).for_each(|number| assert!(group.consumer_or_new(&consumer_of(number), 1).1));
            for number in 0..entries {
                let consumer = group.find(&consumer_of(number * 7 % consumers)).unwrap();
                group.deliver(StreamId::new(number, 0), Pending { delivered_ms: 1, count: 1, consumer });
            }
        });
    }
    stream
}

/// Names of 1 to 30 bytes and a number.
fn consumer_of(number: u64) -> Vec<u8> {
    let mut name = vec![b'c'; number as usize % 30 + 1];
    name.extend(number.to_string().bytes());
    name
}

#[test]
fn every_block_is_moved_and_counted() {
    let mut stream = grouped();
    stream.validate();
    let mut mover = Mover::new(usize::MAX, usize::MAX);
    let (mut part, mut parts, mut most) = (0, 0, 0);
    while part < stream.parts() {
        let before = mover.seen.len();
        part = settle(&mut stream, &mut mover, part, 1);
        if part == 0 {
            break;
        }
        (parts, most) = (parts + 1, most.max(mover.seen.len() - before));
    }
    let seen: usize = mover.seen.values().map(|bytes| heap::taken(*bytes)).sum();
    assert_eq!(seen, stream.memory(), "what is counted is what a walk comes to");
    assert!(most <= 6 && parts < 10_000, "{parts} parts of up to {most} blocks");
    let mut mover = moves_all();
    assert_eq!(settle(&mut stream, &mut mover, 0, usize::MAX), 0);
    stream.validate();
    assert_eq!(stream.memory(), grouped().memory());
    let small = |stream: &mut Stream| {
        let mut mover = Mover::new(usize::MAX, usize::MAX);
        settle(stream, &mut mover, 0, usize::MAX);
        mover.seen.values().filter(|bytes| **bytes > 0).count()
    };
    let mut stream = filled(1);
    stream.create_group(b"group", StreamId::MIN, None);
    assert_eq!(small(&mut stream), 4, "itself, its nodes, the only one, and its groups");
    stream.with_group(b"group", |_, group| {
        let (consumer, _) = group.consumer_or_new(b"consumer", 1);
        group.deliver(StreamId::new(1, 0), Pending { delivered_ms: 1, count: 1, consumer });
    });
    assert_eq!(small(&mut stream), 8);
}

#[test]
fn a_walk_ends_however_many_parts_there_are() {
    let mut stream = Stream::new();
    for number in 0..300u64 {
        stream.create_group(&number.to_be_bytes(), StreamId::MIN, None);
    }
    // Another part than there is, as after groups that are gone.
    let last = stream.parts() - 1;
    assert!(stream.after(last) >= stream.parts());
    let start = stream.parts() / 2 + 12345;
    let mut mover = moves_all();
    assert_eq!(settle(&mut stream, &mut mover, start, 10_000), 0);
    stream.settle(usize::MAX, &mut mover);
    assert!(stream.after(usize::MAX - 1) >= stream.parts());
    stream.validate();
}

#[cfg(target_os = "linux")]
#[test]
fn what_many_deleted_streams_with_groups_leave_becomes_dense() {
    let make = |number: u64| {
        let mut stream = filled(1 + number % 3);
        stream.create_group(b"team", StreamId::MIN, None);
        stream.with_group(b"team", |_, group| {
            let (consumer, _) = group.consumer_or_new(b"worker", 1);
            group.deliver(StreamId::new(1, 0), Pending { delivered_ms: number, count: 1, consumer });
        });
        stream
    };
    let mut streams: Vec<Stream> = (0..60_000).map(make).collect();
    let mut number = 0;
    streams.retain(|_| {
        number += 7;
        number % 10 == 0
    });
    let live: usize = streams.iter().map(Stream::memory).sum();
    let full = heap::figures();
    assert!(full.held > 8 * live, "{full:?} for {live}");
    // Others use the same heap meanwhile.
    let is_dense = || heap::figures().held - live < full.held / 10;
    for _ in 0..2000 {
        heap::tend();
        for stream in &mut streams {
            settle(stream, &mut Mover::new(usize::MAX, usize::MAX), 0, usize::MAX);
        }
        if is_dense() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    assert!(is_dense(), "{:?} for {live}, before {full:?}", heap::figures());
    for stream in streams {
        stream.validate();
        let group = stream.as_ref().group(b"team").unwrap();
        let (_, pending) = group.pending_from(StreamId::MIN).next().unwrap();
        assert_eq!(stream.log().len(), 1 + pending.delivered_ms % 3, "each kept what was its own");
    }
}

#[test]
fn deleted_entries_tell_nothing_of_the_order() {
    let (id, fields) = (StreamId::new, [&b"f"[..], b"v"]);
    let mut stream = Stream::new();
    let append = |stream: &mut Stream, ms| stream.append(&Limits::default(), id(ms, 1), fields.into_iter());
    append(&mut stream, 1);
    append(&mut stream, 9);
    stream.change(|log| {
        assert_eq!(log.delete(std::iter::once(id(9, 1))), 1);
        log.set_ids(id(2, 0), None, Some(id(1, 0)));
    });
    append(&mut stream, 3);
    append(&mut stream, 4);
    stream.validate();
    let ids = |stream: &Stream, start, end| -> Vec<u64> {
        let entries = stream.log().range(id(start, 0), id(end, 9), Direction::Forward);
        entries.map(|entry| entry.id.ms).collect()
    };
    assert_eq!((ids(&stream, 0, 3), ids(&stream, 3, 3), ids(&stream, 5, 9)), (vec![1, 3], vec![3], vec![]));
    let mut adopted = Stream::new();
    adopted.change(|log| {
        let (master, node) = stream.log().nodes().next().unwrap();
        assert!(log.adopt_node(master, node.0));
        assert!(log.adopt_facts(stream.log().facts));
    });
    assert_eq!(ids(&adopted, 0, 9), [1, 3, 4]);
    adopted.validate();
    assert_eq!(stream.change(|log| log.delete(std::iter::once(id(3, 1)))), 1);
    assert_eq!(stream.trim(Trim { keep: Keep::From(id(4, 1)), approximate: false, limit: 0 }), 1);
    stream.validate();
}
