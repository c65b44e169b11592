//! What hashes and sorted sets of a few hundred long elements take, and that they leave and find their slab in time.

#![expect(clippy::unwrap_used, reason = "a failure here is a panic")]

use larder_storage::hasher::Hasher;
use larder_storage::region::Regions;
use larder_storage::rng::Rng;
use larder_storage::types::hash::Hash;
use larder_storage::types::pack::Element;
use larder_storage::types::set::Set;
use larder_storage::types::zset::ZSet;
use larder_storage::types::{Env, Limits};

fn with_env<R>(run: impl FnOnce(Env<'_>) -> R) -> R {
    let regions = Regions::new();
    run(Env { hasher: Hasher::seeded(3), regions: &regions, limits: Limits::default() })
}

fn name(number: usize) -> Vec<u8> {
    format!("field:{number}").into_bytes()
}

/// Sets fields to values of 5 to 300 bytes, as many times as asked; bytes of names and values at the end.
fn fill(hash: &mut Hash, env: Env<'_>, fields: usize, times: usize, rng: &mut Rng) -> usize {
    for turn in 0..times {
        let field = if turn < fields { turn } else { rng.index(fields) };
        hash.set(env, &name(field), &vec![7; 5 + rng.index(296)]).unwrap();
    }
    let mut bytes = 0;
    hash.as_ref().each(|field| bytes += field.name.text_len() + field.value.text_len());
    bytes
}

#[test]
fn a_hash_of_fields_of_all_sizes_takes_little_more_than_these() {
    with_env(|env| {
        let mut rng = Rng::seeded(4);
        let mut check = |fields: usize, times: usize, most_percent: usize| {
            let (mut memory, mut bytes) = (0, 0);
            for _ in 0..50 {
                let mut hash = Hash::new();
                hash.expect(env, fields, 65, 0).unwrap();
                bytes += fill(&mut hash, env, fields, times, &mut rng);
                memory += hash.memory();
                hash.validate();
            }
            let percent = memory * 100 / bytes;
            assert!(percent <= most_percent, "{percent} % for {fields} fields set {times} times");
        };
        check(50, 50, 125);
        check(50, 1000, 130);
        check(500, 500, 117);
        check(500, 5000, 125);
        assert_eq!(env.regions.used_bytes(), 0, "none of it in pages");
    });
}

#[test]
fn a_hash_of_three_fields_is_small() {
    with_env(|env| {
        let mut hash = Hash::new();
        (0..3).for_each(|field| {
            hash.set(env, &name(field), &[7; 100]).unwrap();
        });
        assert_eq!(hash.as_ref().encoding(), "hashtable");
        assert!(hash.memory() <= 1200, "{} bytes", hash.memory());
    });
}

#[test]
fn a_hash_has_pages_while_it_is_large() {
    with_env(|env| {
        let (mut hash, mut rng) = (Hash::new(), Rng::seeded(5));
        for _ in 0..3 {
            fill(&mut hash, env, 800, 800, &mut rng);
            assert_eq!(env.regions.used_bytes(), 0);
            fill(&mut hash, env, 3000, 3000, &mut rng);
            assert!(env.regions.used_bytes() > 0);
            hash.validate();
            hash.validate_hashes(env);
            for field in (0..3000).filter(|field| field % 20 != 7) {
                assert!(hash.remove(env, &name(field)));
            }
            assert_eq!(env.regions.used_bytes(), 0, "it has become small again");
            assert_eq!(hash.as_ref().len(), 150);
            hash.validate();
            hash.validate_hashes(env);
        }
    });
}

#[test]
fn what_is_deleted_counts_no_more() {
    with_env(|env| {
        let (mut hash, mut rng) = (Hash::new(), Rng::seeded(6));
        fill(&mut hash, env, 600, 600, &mut rng);
        let before = hash.memory();
        (0..600).filter(|field| field % 4 != 0).for_each(|field| {
            hash.remove(env, &name(field));
        });
        assert!(hash.memory() * 3 < before, "{} of {before}", hash.memory());
        hash.validate();
    });
}

#[test]
fn sets_and_sorted_sets_have_pages_while_they_are_large() {
    with_env(|env| {
        let (mut set, mut zset) = (Set::new(), ZSet::new());
        let member = |number: usize| format!("{number}:{}", "m".repeat(60 + number * 7 % 90)).into_bytes();
        for number in 0..2000 {
            set.insert(env, Element::Bytes(&member(number))).unwrap();
            zset.insert(env, &member(number), (number * 37 % 101) as f64).unwrap();
            assert_eq!(env.regions.used_bytes() == 0, number < 1000, "with {number}");
        }
        set.validate();
        zset.validate();
        zset.remove_rank_range(env, 100, 1900, |_, _| {});
        (100..2000).for_each(|number| {
            set.remove(env, Element::Bytes(&member(number)));
        });
        assert_eq!((set.as_ref().len(), zset.as_ref().len(), env.regions.used_bytes()), (100, 200, 0));
        set.validate();
        zset.validate();
        zset.validate_hashes(env);
        (0..3).for_each(|_| {
            zset.free_step(1);
            set.free_step(1);
        });
        assert_eq!((zset.memory(), set.memory()), (0, 0));
    });
}
