//! Dictionaries against a model, with and without values.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::hasher::Hasher;
use crate::region::Regions;
use crate::rng::Rng;
use crate::types::Limits;

fn with_env<R>(run: impl FnOnce(Env<'_>) -> R) -> R {
    let regions = Regions::new();
    run(Env { hasher: Hasher::seeded(7), regions: &regions, limits: Limits::default() })
}

#[derive(Clone, Debug)]
enum Step {
    Set(u32, usize),
    Insert(u32, usize, u64),
    Expire(u32, Option<u64>),
    Remove(u32),
    RemoveRandom(u64),
    Due(u64),
    Scan,
    Compact,
}

/// Keys of all forms.
fn key(number: u32) -> Vec<u8> {
    let mut bytes = number.to_string().into_bytes();
    match number % 40 {
        0 => bytes.resize(125, b'w'),
        1 => bytes.resize(1500, b'x'),
        2 => bytes.resize(5000, b'y'),
        3 => bytes.resize(124, b'z'),
        4 => bytes.resize(2032, b'v'),
        _ => {}
    }
    bytes
}

fn value(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 + len) as u8).collect()
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let len = || {
        prop_oneof![
            6 => 0usize..40,
            2 => prop::sample::select(vec![252usize, 253, 254, 255, 300, 1000, 1900, 2000, 2040, 2048, 3000, 9000]),
        ]
    };
    let number = || 0u32..150;
    let step = prop_oneof![
        30 => (number(), len()).prop_map(|(key, len)| Step::Set(key, len)),
        8 => (number(), len(), 1u64..100).prop_map(|(key, len, at)| Step::Insert(key, len, at)),
        12 => (number(), prop::option::of(1u64..100)).prop_map(|(key, at)| Step::Expire(key, at)),
        20 => number().prop_map(Step::Remove),
        5 => any::<u64>().prop_map(Step::RemoveRandom),
        3 => (0u64..60).prop_map(Step::Due),
        2 => Just(Step::Scan),
        3 => Just(Step::Compact),
    ];
    prop::collection::vec(step, 0..300)
}

/// A dictionary and what it should hold.
struct Checked {
    dict: Dict,
    model: BTreeMap<Vec<u8>, (Vec<u8>, Option<u64>)>,
    has_values: bool,
}

impl Checked {
    fn new(env: Env<'_>, has_values: bool) -> Self {
        Self { dict: Dict::new(env, has_values), model: BTreeMap::new(), has_values }
    }

    fn value(&self, len: usize) -> Vec<u8> {
        if self.has_values { value(len) } else { Vec::new() }
    }

    fn step(&mut self, env: Env<'_>, step: &Step) {
        match *step {
            Step::Set(number, len) => {
                let (key, value) = (key(number), self.value(len));
                let is_new = if self.has_values {
                    self.dict.set(env, &key, &value).unwrap()
                } else {
                    self.dict.add(env, &key).unwrap()
                };
                assert_eq!(is_new, !self.model.contains_key(&key));
                self.model.entry(key).or_default().0 = value;
            }
            Step::Insert(number, len, at) => {
                let (key, value) = (key(number), self.value(len));
                if !self.dict.contains(env, &key) {
                    let record = Record { key: &key, value: &value, expiry: Some(at) };
                    let place = self.dict.insert(env, record).unwrap();
                    assert_eq!(self.dict.at(place), record);
                    self.model.insert(key, (value, Some(at)));
                }
            }
            Step::Expire(number, at) => {
                let key = key(number);
                if let Some(place) = self.dict.find(env, &key) {
                    let place = self.dict.set_expiry(place, at).unwrap();
                    assert_eq!(self.dict.at(place).expiry, at);
                    self.model.get_mut(&key).unwrap().1 = at;
                }
            }
            Step::Remove(number) => {
                let key = key(number);
                assert_eq!(self.dict.remove(env, &key), self.model.remove(&key).is_some());
            }
            Step::RemoveRandom(seed) => {
                if let Some(place) = self.dict.random(env, &mut Rng::seeded(seed)) {
                    let key = self.dict.at(place).key.to_vec();
                    self.dict.remove_at(place);
                    assert!(self.model.remove(&key).is_some());
                }
            }
            Step::Due(now) => self.remove_due(env, now),
            Step::Scan => self.check_scan(),
            Step::Compact => {
                self.dict.compact_step(env, 10);
            }
        }
        self.check(env);
    }

    fn remove_due(&mut self, env: Env<'_>, now: u64) {
        let mut steps = 0;
        loop {
            let mut segments = 1;
            while let Some(place) = self.dict.next_due(env, now, &mut segments) {
                assert!(self.dict.at(place).has_expired(now));
                let key = self.dict.at(place).key.to_vec();
                self.dict.remove_at(place);
                self.model.remove(&key).unwrap();
            }
            steps += 1;
            assert!(steps < 1000, "it comes to an end");
            if segments > 0 {
                break;
            }
        }
        assert!(self.dict.first_deadline() > now);
        assert!(self.model.values().all(|(_, expiry)| expiry.is_none_or(|at| at > now)));
    }

    fn check_scan(&self) {
        let (mut cursor, mut seen) = (0, BTreeMap::new());
        loop {
            cursor = self.dict.scan(cursor, |record| {
                assert!(seen.insert(record.key.to_vec(), (record.value.to_vec(), record.expiry)).is_none());
            });
            assert!(cursor < 1 << 47);
            if cursor == 0 {
                break;
            }
        }
        assert_eq!(seen, self.model);
    }

    fn check(&self, env: Env<'_>) {
        self.dict.validate();
        self.dict.validate_hashes(env);
        assert_eq!(self.dict.len(), self.model.len());
        let seen: BTreeMap<_, _> =
            self.dict.iter().map(|record| (record.key.to_vec(), (record.value.to_vec(), record.expiry))).collect();
        assert_eq!(seen, self.model);
        let first = self.model.values().filter_map(|(_, expiry)| *expiry).min().unwrap_or(u64::MAX);
        assert!(self.dict.first_deadline() <= first);
        assert_eq!(self.dict.expiring() == 0, first == u64::MAX);
    }
}

proptest! {
    #[test]
    fn agrees_with_a_map(steps in steps()) {
        with_env(|env| {
            let mut checked = Checked::new(env, true);
            steps.iter().for_each(|step| checked.step(env, step));
        });
    }

    #[test]
    fn agrees_with_a_set(steps in steps()) {
        with_env(|env| {
            let mut checked = Checked::new(env, false);
            steps.iter().for_each(|step| checked.step(env, step));
        });
    }
}

fn large(env: Env<'_>, has_values: bool) -> Dict {
    let mut dict = Dict::new(env, has_values);
    for number in 0..10_000u32 {
        let key = key(number);
        let record = Record { key: &key, value: if has_values { &key } else { &[] }, expiry: None };
        dict.insert(env, record).unwrap();
    }
    dict
}

#[test]
fn freeing_in_slices_ends_with_nothing() {
    for has_values in [false, true] {
        with_env(|env| {
            let mut dict = large(env, has_values);
            let steps = (1..).find(|_| dict.free_step(4)).unwrap();
            assert!(steps > 20, "{steps} steps");
            assert_eq!((dict.len(), dict.index.memory(), env.regions.used_bytes()), (0, 0, 0));
            assert!(dict.set(env, b"again", b"").unwrap());
            dict.validate();
        });
    }
}

#[test]
fn a_half_freed_dictionary_can_be_dropped() {
    with_env(|env| {
        let mut dict = large(env, true);
        assert!(!dict.free_step(1));
        drop(dict);
        assert_eq!(env.regions.used_bytes(), 0);
    });
}

#[test]
fn equal_work_takes_equal_memory() {
    with_env(|env| assert_eq!(large(env, true).memory(), large(env, true).memory()));
}

#[test]
fn compaction_gives_pages_and_segments_back() {
    with_env(|env| {
        let mut dict = large(env, true);
        (0..10_000).filter(|number| number % 16 != 5).for_each(|number| {
            dict.remove(env, &key(number));
        });
        let (before, memory) = (env.regions.used_bytes(), dict.memory());
        let steps = (0..).take_while(|_| dict.compact_step(env, 100) > 0).count();
        assert!(steps > 1 && env.regions.used_bytes() < before / 2);
        assert!(dict.memory() <= memory);
        dict.validate();
        dict.validate_hashes(env);
        assert_eq!(dict.iter().count(), 625);
    });
}

#[test]
fn a_long_value_is_replaced_alone() {
    with_env(|env| {
        let mut dict = Dict::new(env, true);
        dict.set(env, b"short", b"1").unwrap();
        dict.set(env, b"long", &[7; 100_000]).unwrap();
        let place = dict.find(env, b"long").unwrap();
        let before = dict.at(place).value.as_ptr();
        dict.set(env, b"long", &[8; 100_000]).unwrap();
        assert_eq!(dict.at(place).value, [8; 100_000]);
        assert_eq!(dict.at(place).value.as_ptr(), before, "its block stays");
        dict.set(env, b"long", b"short now").unwrap();
        assert_eq!(dict.get(env, b"long").unwrap().value, b"short now");
        dict.validate();
    });
}

#[test]
fn compaction_in_small_steps_comes_to_an_end() {
    for left in 0..40 {
        with_env(|env| {
            let mut dict = Dict::new(env, true);
            let name = |number: usize| format!("f{number}").into_bytes();
            (0..5000).for_each(|number| assert!(dict.set(env, &name(number), b"v").unwrap()));
            for number in (0..5000).filter(|number| number % 40 >= left) {
                dict.remove(env, &name(number));
                if number % 500 == 499 {
                    let steps = (0..1000).take_while(|_| dict.compact_step(env, 32) > 0).count();
                    assert!(steps < 1000, "{} of 5000 are left", dict.len());
                }
            }
            dict.validate();
        });
    }
}

#[test]
fn compaction_of_many_sizes_comes_to_an_end() {
    for every in [16, 160, usize::MAX] {
        with_env(|env| {
            let (mut dict, mut rng) = (Dict::new(env, true), crate::rng::Rng::seeded(3));
            let name = |number: usize| format!("f{number}").into_bytes();
            for number in 0..100_000 {
                dict.set(env, &name(number), &vec![b'v'; 5 + rng.index(296)]).unwrap();
            }
            for number in 0..100_000 {
                if rng.below(10) != 0 {
                    dict.remove(env, &name(number));
                }
                if number % every == 0 {
                    dict.compact_step(env, 32);
                }
            }
            let steps = (0..50_000).take_while(|_| dict.compact_step(env, 32) > 0 || dict.gather_step()).count();
            let (used, held) = (dict.memory(), env.regions.used_bytes());
            assert!(steps < 50_000, "{} records", dict.len());
            assert!(held < used * 5 / 4, "{held} bytes are held for {used}");
            dict.validate();
        });
    }
}
