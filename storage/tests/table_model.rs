//! Random operations on one table, compared with a map after every step, with every invariant checked.

#![expect(clippy::unwrap_used, reason = "a failure here is a panic")]

use std::collections::BTreeMap;

use larder_storage::hasher::Hasher;
use larder_storage::region::Regions;
use larder_storage::table::{Due, Expiry, Table};
use larder_storage::types::hash::Hash;
use larder_storage::types::zset::ZSet;
use larder_storage::types::{Env, Limits};
use larder_storage::value::{Content, Object, Value};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Set { key: u16, len: usize, expiry: Option<u64> },
    SetInt { key: u16, number: i64 },
    SetZSet { key: u16, members: usize },
    Grow { key: u16, by: usize },
    SetHash { key: u16, fields: usize, expiry: Option<u64> },
    ExpireField { key: u16, field: usize, at: Option<u64> },
    RemoveField { key: u16, field: usize },
    Expiry { key: u16, at: Option<u64> },
    Remove { key: u16 },
    RemoveDue { now: u64 },
    Compact,
}

#[derive(Clone, Debug, PartialEq)]
enum Model {
    Int(i64),
    Str(Vec<u8>),
    ZSet(BTreeMap<Vec<u8>, i64>),
    /// Fields, with their expiries.
    Hash(BTreeMap<Vec<u8>, Option<u64>>),
}

fn field_name(field: usize) -> Vec<u8> {
    format!("field {field}").into_bytes()
}

fn key_bytes(key: u16) -> Vec<u8> {
    // One key in eight is too long for a cell.
    let long = if key.is_multiple_of(8) { 1500 } else { key as usize % 40 };
    format!("{key}:{}", "k".repeat(long)).into_bytes()
}

fn step() -> impl Strategy<Value = Step> {
    let key = prop_oneof![0u16..300, 0u16..10];
    let length = prop_oneof![4 => 0usize..100, 1 => 100usize..3000, 1 => 10_000usize..40_000];
    prop_oneof![
        6 => (key.clone(), length, prop::option::of(0u64..1000)).prop_map(|(key, len, expiry)| Step::Set { key, len, expiry }),
        2 => (key.clone(), any::<i64>()).prop_map(|(key, number)| Step::SetInt { key, number }),
        2 => (key.clone(), prop_oneof![3 => 1usize..10, 1 => 100usize..300]).prop_map(|(key, members)| Step::SetZSet { key, members }),
        3 => (key.clone(), prop_oneof![3 => 1usize..10, 1 => 100usize..200], prop::option::of(0u64..1000))
            .prop_map(|(key, fields, expiry)| Step::SetHash { key, fields, expiry }),
        6 => (key.clone(), 0usize..20, prop::option::weighted(0.8, 1u64..1000))
            .prop_map(|(key, field, at)| Step::ExpireField { key, field, at }),
        2 => (key.clone(), 0usize..20).prop_map(|(key, field)| Step::RemoveField { key, field }),
        3 => (key.clone(), 1usize..50).prop_map(|(key, by)| Step::Grow { key, by }),
        3 => (key.clone(), prop::option::of(0u64..1000)).prop_map(|(key, at)| Step::Expiry { key, at }),
        5 => key.prop_map(|key| Step::Remove { key }),
        1 => (0u64..300).prop_map(|now| Step::RemoveDue { now }),
        1 => Just(Step::Compact),
    ]
}

struct Both {
    table: Table,
    model: BTreeMap<Vec<u8>, (Model, Option<u64>)>,
    hasher: Hasher,
}

impl Both {
    fn store(&mut self, key: u16, content: Content<'_>, value: Model, expiry: Option<u64>) {
        let key = key_bytes(key);
        let hash = self.hasher.hash(&key);
        match self.table.find(hash, &key) {
            Some(pos) => drop(self.table.replace(pos, &key, content, Expiry::Set(expiry)).unwrap()),
            None => drop(self.table.insert(hash, &key, content, expiry, 1).unwrap()),
        }
        self.model.insert(key, (value, expiry));
    }

    fn apply(&mut self, env: &Env<'_>, step: Step) {
        match step {
            Step::Set { key, len, expiry } => {
                let bytes = vec![b'v'; len];
                self.store(key, Content::Str { bytes: &bytes, raw: false }, Model::Str(bytes.clone()), expiry);
            }
            Step::SetInt { key, number } => self.store(key, Content::Int(number), Model::Int(number), None),
            Step::SetZSet { key, members } => {
                let (mut zset, mut model) = (ZSet::new(), BTreeMap::new());
                for member in 0..members {
                    let name = format!("member {member}").into_bytes();
                    zset.insert(*env, &name, member as f64).unwrap();
                    model.insert(name, member as i64);
                }
                self.store(key, Content::Object(Object::ZSet(zset)), Model::ZSet(model), Some(500));
            }
            Step::Grow { key, by } => self.grow(env, &key_bytes(key), by),
            Step::SetHash { key, fields, expiry } => {
                let (mut hash, mut model) = (Hash::new(), BTreeMap::new());
                for field in 0..fields {
                    hash.set(*env, &field_name(field), b"value").unwrap();
                    let at = (field % 7 == 3).then_some(field as u64 * 5 + 1);
                    hash.set_expiry(*env, &field_name(field), at).unwrap();
                    model.insert(field_name(field), at);
                }
                self.store(key, Content::Object(Object::Hash(hash)), Model::Hash(model), expiry);
            }
            Step::ExpireField { key, field, at } => self.change_hash(&key_bytes(key), |hash, model| {
                let is_there = hash.set_expiry(*env, &field_name(field), at).unwrap();
                assert_eq!(is_there, model.contains_key(&field_name(field)));
                model.entry(field_name(field)).and_modify(|expiry| *expiry = at);
            }),
            Step::RemoveField { key, field } => self.change_hash(&key_bytes(key), |hash, model| {
                assert_eq!(hash.remove(*env, &field_name(field)), model.remove(&field_name(field)).is_some());
            }),
            Step::Expiry { key, at } => {
                let key = key_bytes(key);
                if let Some(pos) = self.table.find(self.hasher.hash(&key), &key) {
                    self.table.set_expiry(pos, at).unwrap();
                    self.model.get_mut(&key).unwrap().1 = at;
                }
            }
            Step::Remove { key } => {
                let key = key_bytes(key);
                let hash = self.hasher.hash(&key);
                let found = self.table.find(hash, &key);
                assert_eq!(found.is_some(), self.model.remove(&key).is_some());
                if let Some(pos) = found {
                    self.table.remove(pos, hash);
                }
            }
            Step::RemoveDue { now } => self.remove_due(env, now),
            Step::Compact => while self.table.compact_step() {},
        }
    }

    fn remove_due(&mut self, env: &Env<'_>, now: u64) {
        while let Some(due) = self.table.next_due(now, &mut usize::MAX.clone()) {
            let (Due::Key(pos) | Due::Fields(pos)) = due;
            let key = self.table.entry(pos).key().to_vec();
            if let Due::Key(pos) = due {
                assert!(self.model.remove(&key).unwrap().1.unwrap() <= now);
                self.table.remove(pos, self.hasher.hash(&key));
                continue;
            }
            self.change_hash(&key, |hash, model| {
                hash.remove_due(*env, now, 3, |field| {
                    let name = field.name.text(&mut itoa::Buffer::new()).to_vec();
                    assert!(model.remove(&name).unwrap().unwrap() <= now);
                });
            });
        }
        let is_live = |expiry: &Option<u64>| expiry.is_none_or(|at| at > now);
        for (value, expiry) in self.model.values() {
            assert!(is_live(expiry));
            assert!(!matches!(value, Model::Hash(fields) if !fields.values().all(is_live)));
        }
    }

    /// Changes the hash at a key, if there is one.
    fn change_hash(&mut self, key: &[u8], change: impl FnOnce(&mut Hash, &mut BTreeMap<Vec<u8>, Option<u64>>)) {
        let Some(pos) = self.table.find(self.hasher.hash(key), key) else { return };
        let Some((Model::Hash(model), _)) = self.model.get_mut(key) else { return };
        let change = |object: &mut Object| {
            let Object::Hash(hash) = object else { panic!("it is a hash") };
            change(hash, model);
        };
        self.table.update(pos, change).unwrap();
    }

    fn grow(&mut self, env: &Env<'_>, key: &[u8], by: usize) {
        let Some(pos) = self.table.find(self.hasher.hash(key), key) else { return };
        let Some((Model::ZSet(model), _)) = self.model.get_mut(key) else { return };
        let from = model.len();
        let add = |object: &mut Object| {
            let Object::ZSet(zset) = object else { panic!("it is a sorted set") };
            for member in from..from + by {
                let name = format!("member {member}").into_bytes();
                zset.insert(*env, &name, member as f64).unwrap();
                model.insert(name, member as i64);
            }
        };
        self.table.update(pos, add).unwrap();
    }

    fn check(&self) {
        self.table.validate();
        assert_eq!(self.table.len(), self.model.len());
        let timed = |value: &Model| matches!(value, Model::Hash(fields) if fields.values().any(Option::is_some));
        assert_eq!(self.table.timed(), self.model.values().filter(|(value, _)| timed(value)).count());
        assert_eq!(self.table.expires(), self.model.values().filter(|(_, expiry)| expiry.is_some()).count());
        for (key, (value, expiry)) in &self.model {
            let pos = self.table.find(self.hasher.hash(key), key).unwrap();
            let entry = self.table.entry(pos);
            assert_eq!(entry.expiry(), *expiry);
            let read = match entry.value() {
                Value::Int(number) => Model::Int(number),
                Value::Str { bytes, .. } => Model::Str(bytes.to_vec()),
                Value::Big(string) => Model::Str(string.shared().to_vec()),
                Value::Hash(hash) => {
                    let mut fields = BTreeMap::new();
                    hash.each(|field| {
                        fields.insert(field.name.text(&mut itoa::Buffer::new()).to_vec(), field.expiry);
                    });
                    Model::Hash(fields)
                }
                Value::ZSet(zset) => Model::ZSet(
                    zset.range(0, zset.len()).map(|(member, score)| (member.to_vec(), score as i64)).collect(),
                ),
                other => panic!("the model has no {}", other.kind().name()),
            };
            assert_eq!(&read, value);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_a_map(steps in prop::collection::vec(step(), 1..120), seed in any::<u64>()) {
        let regions = Regions::new();
        let hasher = Hasher::seeded(seed);
        let limits = Limits { hash_max_packed_entries: 128, ..Limits::default() };
        let env = Env { hasher, regions: &regions, limits };
        let mut both = Both { table: Table::new(&env), model: BTreeMap::new(), hasher };
        for step in steps {
            both.apply(&env, step);
            both.check();
        }
        let memory = both.table.memory();
        while !both.table.free_step(1) {}
        prop_assert!(memory > 0);
        drop(both);
        prop_assert_eq!(regions.used_bytes(), 0);
    }
}
