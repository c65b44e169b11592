//! Random operations on one table, compared with a map after every step, with every invariant checked.

#![expect(clippy::unwrap_used, reason = "a failure here is a panic")]

use std::collections::BTreeMap;

use larder_storage::hasher::Hasher;
use larder_storage::region::Regions;
use larder_storage::table::{Expiry, Table};
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
}

fn key_bytes(key: u16) -> Vec<u8> {
    // One key in eight is too long for a cell.
    let long = if key.is_multiple_of(8) { 1500 } else { key as usize % 40 };
    format!("{key}:{}", "k".repeat(long)).into_bytes()
}

fn step() -> impl Strategy<Value = Step> {
    let key = 0u16..300;
    let length = prop_oneof![4 => 0usize..100, 1 => 100usize..3000, 1 => 10_000usize..40_000];
    prop_oneof![
        6 => (key.clone(), length, prop::option::of(0u64..1000)).prop_map(|(key, len, expiry)| Step::Set { key, len, expiry }),
        2 => (key.clone(), any::<i64>()).prop_map(|(key, number)| Step::SetInt { key, number }),
        2 => (key.clone(), prop_oneof![3 => 1usize..10, 1 => 100usize..300]).prop_map(|(key, members)| Step::SetZSet { key, members }),
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
                self.store(key, Content::Object(Box::new(Object::ZSet(zset))), Model::ZSet(model), Some(500));
            }
            Step::Grow { key, by } => self.grow(env, &key_bytes(key), by),
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
            Step::RemoveDue { now } => {
                while let Some(pos) = self.table.next_due(now, &mut usize::MAX.clone()) {
                    let key = self.table.entry(pos).key().to_vec();
                    assert!(self.model.remove(&key).unwrap().1.unwrap() <= now);
                    self.table.remove(pos, self.hasher.hash(&key));
                }
                assert!(self.model.values().all(|(_, expiry)| expiry.is_none_or(|at| at > now)));
            }
            Step::Compact => while self.table.compact_step() {},
        }
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
        assert_eq!(self.table.expires(), self.model.values().filter(|(_, expiry)| expiry.is_some()).count());
        for (key, (value, expiry)) in &self.model {
            let pos = self.table.find(self.hasher.hash(key), key).unwrap();
            let entry = self.table.entry(pos);
            assert_eq!(entry.expiry(), *expiry);
            let read = match entry.value() {
                Value::Int(number) => Model::Int(number),
                Value::Str { bytes, .. } => Model::Str(bytes.to_vec()),
                Value::Big(string) => Model::Str(string.shared().to_vec()),
                Value::ZSet(zset) => Model::ZSet(
                    zset.range(0, zset.len()).map(|(member, score)| (member.to_vec(), score as i64)).collect(),
                ),
                _ => panic!("no other type is put in"),
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
        let env = Env { hasher, regions: &regions, limits: Limits::default() };
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
