//! Hashes against a model, in every form and through every conversion.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::hasher::Hasher;
use crate::region::Regions;
use crate::rng::Rng;
use crate::types::Limits;

fn with_env<R>(entries: usize, value: usize, run: impl FnOnce(Env<'_>) -> R) -> R {
    let regions = Regions::new();
    let limits = Limits { hash_max_packed_entries: entries, hash_max_packed_value: value, ..Limits::default() };
    run(Env { hasher: Hasher::seeded(7), regions: &regions, limits })
}

#[derive(Clone, Debug)]
enum Step {
    Set(u32, Vec<u8>),
    SetKeeping(u32, Vec<u8>),
    Expect(usize, usize, usize),
    Remove(u32),
    Expire(u32, Option<u64>),
    Due(u64, usize),
    Random(u64),
    Scan,
    Duplicate,
    Compact,
}

/// Names that are integers and others.
fn name(number: u32) -> Vec<u8> {
    if number.is_multiple_of(3) { number.to_string() } else { format!("field-{number}") }.into_bytes()
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => any::<i32>().prop_map(|number| number.to_string().into_bytes()),
        3 => prop::collection::vec(any::<u8>(), 0..20),
        1 => (0usize..30).prop_map(|len| vec![b'v'; len]),
        1 => prop::sample::select(vec![200, 900, 3000]).prop_map(|len| vec![b'w'; len]),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let number = || 0u32..40;
    let step = prop_oneof![
        30 => (number(), value()).prop_map(|(name, value)| Step::Set(name, value)),
        8 => (number(), value()).prop_map(|(name, value)| Step::SetKeeping(name, value)),
        1 => (0usize..20, 0usize..30, 0usize..2500).prop_map(|(fields, longest, bytes)| Step::Expect(fields, longest, bytes)),
        20 => number().prop_map(Step::Remove),
        20 => (number(), prop::option::weighted(0.7, 1u64..100)).prop_map(|(name, at)| Step::Expire(name, at)),
        3 => (0u64..60, 1usize..5).prop_map(|(now, most)| Step::Due(now, most)),
        3 => any::<u64>().prop_map(Step::Random),
        2 => Just(Step::Scan),
        2 => Just(Step::Duplicate),
        1 => Just(Step::Compact),
    ];
    prop::collection::vec(step, 0..150)
}

type Model = BTreeMap<Vec<u8>, (Vec<u8>, Option<u64>)>;

fn owned(field: Field<'_>) -> (Vec<u8>, (Vec<u8>, Option<u64>)) {
    let text = |element: Element<'_>| element.text(&mut itoa::Buffer::new()).to_vec();
    (text(field.name), (text(field.value), field.expiry))
}

fn content(hash: HashRef<'_>) -> Model {
    let mut seen = Model::new();
    hash.each(|field| {
        let (name, rest) = owned(field);
        assert!(seen.insert(name, rest).is_none());
    });
    seen
}

fn step(hash: &mut Hash, model: &mut Model, env: Env<'_>, step: &Step) {
    match step {
        Step::Set(number, value) => {
            let name = name(*number);
            let is_new = hash.set(env, &name, value).unwrap();
            assert_eq!(is_new, model.insert(name, (value.clone(), None)).is_none());
        }
        Step::SetKeeping(number, value) => {
            let name = name(*number);
            let is_new = hash.set_keeping_expiry(env, &name, value).unwrap();
            assert_eq!(is_new, !model.contains_key(&name));
            model.entry(name).or_default().0 = value.clone();
        }
        Step::Expect(fields, longest, bytes) => hash.expect(env, *fields, *longest, *bytes).unwrap(),
        Step::Remove(number) => {
            let name = name(*number);
            assert_eq!(hash.remove(env, &name), model.remove(&name).is_some());
        }
        Step::Expire(number, at) => {
            let name = name(*number);
            let is_there = hash.set_expiry(env, &name, *at).unwrap();
            assert_eq!(is_there, model.contains_key(&name));
            model.entry(name).and_modify(|field| field.1 = *at);
        }
        Step::Due(now, most) => remove_due(hash, model, env, *now, *most),
        Step::Random(seed) => {
            let field = hash.as_ref().random(env, &mut Rng::seeded(*seed));
            assert_eq!(field.is_none(), model.is_empty());
            if let Some((name, rest)) = field.map(owned) {
                assert_eq!(model.get(&name), Some(&rest));
            }
        }
        Step::Scan => {
            let (mut cursor, mut seen) = (0, Model::new());
            loop {
                cursor = hash.as_ref().scan(cursor, |field| seen.extend([owned(field)]));
                if cursor == 0 {
                    break;
                }
            }
            assert_eq!(&seen, model);
        }
        Step::Duplicate => {
            let copy = hash.duplicate(env).unwrap();
            copy.validate();
            assert_eq!(copy.as_ref().encoding(), hash.as_ref().encoding());
            assert_eq!(&content(copy.as_ref()), model);
        }
        Step::Compact => {
            hash.compact_step(env, 10);
        }
    }
}

fn remove_due(hash: &mut Hash, model: &mut Model, env: Env<'_>, now: u64, most: usize) {
    let live = model.values().filter(|(_, expiry)| expiry.is_none_or(|at| at > now)).count();
    assert_eq!(hash.as_ref().live_len(now), live);
    let mut turns = 0;
    while hash.as_ref().first_deadline() <= now {
        let mut gone = Vec::new();
        let removed = hash.remove_due(env, now, most, |field| gone.push(owned(field)));
        assert!(removed == gone.len() && removed <= most);
        for (name, rest) in gone {
            assert!(rest.1.is_some_and(|at| at <= now));
            assert_eq!(model.remove(&name), Some(rest));
        }
        turns += 1;
        assert!(turns < 1000, "it comes to an end");
    }
    assert_eq!(model.len(), live);
}

fn check(hash: &Hash, model: &Model, env: Env<'_>) {
    hash.validate();
    hash.validate_hashes(env);
    assert_eq!(hash.as_ref().len(), model.len());
    assert_eq!(&content(hash.as_ref()), model);
    for (name, rest) in model {
        assert_eq!(hash.as_ref().get(env, name).map(owned).as_ref(), Some(&(name.clone(), rest.clone())));
    }
    assert_eq!(hash.as_ref().get(env, b"nobody"), None);
    let first = model.values().filter_map(|(_, expiry)| *expiry).min();
    let bound = hash.as_ref().first_deadline();
    assert!(first.is_some_and(|first| bound <= first) || first.is_none() && bound == u64::MAX);
}

/// Whether Redis has a hash table after a step for what is in it.
fn lengthens(step: &Step, model: &Model, env: Env<'_>) -> bool {
    let (entries, longest) = (env.limits.hash_max_packed_entries, env.limits.hash_max_packed_value);
    match step {
        Step::Set(number, value) | Step::SetKeeping(number, value) => name(*number).len().max(value.len()) > longest,
        Step::Expect(fields, length, _) => !model.is_empty() && (*fields > entries || *length > longest),
        _ => false,
    }
}

proptest! {
    #[test]
    fn agrees_with_a_map(steps in steps(), entries in prop::sample::select(vec![0usize, 3, 12, 1000])) {
        with_env(entries, 25, |env| {
            let (mut hash, mut model, mut is_table) = (Hash::new(), Model::new(), false);
            for one in &steps {
                step(&mut hash, &mut model, env, one);
                check(&hash, &model, env);
                // What Redis would have; a key whose hash is empty goes.
                is_table |= model.len() > env.limits.hash_max_packed_entries || lengthens(one, &model, env);
                if model.is_empty() {
                    (hash, is_table) = (Hash::new(), false);
                }
                assert_eq!(hash.as_ref().encoding() == "hashtable", is_table);
            }
        });
    }
}

#[test]
fn forms_change_as_in_redis() {
    with_env(3, 10, |env| {
        let mut hash = Hash::new();
        for name in ["a", "b", "c", "c"] {
            hash.set(env, name.as_bytes(), b"0123456789").unwrap();
        }
        assert_eq!(hash.as_ref().encoding(), "listpack");
        hash.set_expiry(env, b"b", Some(5)).unwrap();
        assert_eq!(hash.as_ref().encoding(), "listpackex");
        hash.set_expiry(env, b"b", None).unwrap();
        assert_eq!(hash.as_ref().encoding(), "listpackex");
        hash.set(env, b"d", b"").unwrap();
        assert_eq!(hash.as_ref().encoding(), "hashtable");
        hash.remove(env, b"d");
        assert_eq!(hash.as_ref().encoding(), "hashtable");

        let mut hash = Hash::new();
        hash.set_keeping_expiry(env, b"a", b"0123456789x").unwrap();
        assert_eq!(hash.as_ref().encoding(), "hashtable");
        let mut hash = Hash::new();
        hash.expect(env, 3, 10, 0).unwrap();
        assert_eq!(hash.as_ref().encoding(), "listpack");
        hash.expect(env, 4, 10, 0).unwrap();
        assert_eq!(hash.as_ref().encoding(), "hashtable");
    });
}

#[test]
fn a_few_long_values_are_kept_packed() {
    with_env(512, 64, |env| {
        let mut hash = Hash::new();
        for number in 0..4 {
            hash.set(env, &name(number), &[b'v'; 100]).unwrap();
        }
        assert!(matches!(hash, Hash::Packed(_)) && hash.memory() < 500);
        hash.set(env, b"field", b"short").unwrap();
        for value in [[b'v'; 1500], [b'w'; 1500]] {
            hash.expect(env, 1, value.len(), value.len() + 1).unwrap();
            hash.set(env, &name(0), &value).unwrap();
            assert!(matches!(hash, Hash::Packed(_)), "what is written over makes room");
        }
        (0..4).for_each(|number| assert!(hash.remove(env, &name(number))));
        assert_eq!(hash.as_ref().encoding(), "hashtable");
        hash.set_expiry(env, b"field", Some(9)).unwrap();
        assert_eq!(hash.duplicate(env).unwrap().as_ref().encoding(), "hashtable");
        for number in 0..40 {
            hash.set(env, &name(number), &[b'v'; 64]).unwrap();
        }
        assert!(matches!(hash, Hash::Dict(_)));
        assert_eq!(hash.as_ref().get(env, b"field").map(|field| field.expiry), Some(Some(9)));
    });
}

#[test]
fn packed_fields_stand_in_the_order_of_redis() {
    with_env(100, 100, |env| {
        let mut hash = Hash::new();
        let order = |hash: &Hash| {
            let mut names = String::new();
            hash.as_ref().each(|field| names += std::str::from_utf8(&owned(field).0).unwrap());
            names
        };
        for name in ["a", "b", "c", "d", "e"] {
            hash.set(env, name.as_bytes(), b"1").unwrap();
        }
        hash.set_expiry(env, b"d", Some(50)).unwrap();
        assert_eq!(order(&hash), "dabce");
        hash.set_expiry(env, b"b", Some(70)).unwrap();
        hash.set_expiry(env, b"e", Some(50)).unwrap();
        assert_eq!(order(&hash), "edbac");
        hash.set_expiry(env, b"e", Some(60)).unwrap();
        assert_eq!(order(&hash), "debac");
        // A value that is set takes the expiry away, and the field goes to the end.
        hash.set(env, b"d", b"2").unwrap();
        assert_eq!(order(&hash), "ebacd");
        hash.set(env, b"a", b"2").unwrap();
        hash.set_keeping_expiry(env, b"e", b"2").unwrap();
        hash.set_expiry(env, b"b", None).unwrap();
        assert_eq!(order(&hash), "eacdb");
    });
}

#[test]
fn freeing_in_slices_ends_with_an_empty_hash() {
    with_env(10, 64, |env| {
        let mut hash = Hash::new();
        for number in 0..10_000 {
            hash.set(env, &name(number), &name(number)).unwrap();
        }
        let steps = (1..).find(|_| hash.free_step(2)).unwrap();
        assert!((10..100).contains(&steps), "{steps} steps");
        assert_eq!((hash.memory(), hash.as_ref().len(), env.regions.used_bytes()), (0, 0, 0));
    });
}
