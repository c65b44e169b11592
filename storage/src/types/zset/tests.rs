//! Sorted sets against a model, both forms, with nodes small enough that they split and merge all the time.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::hasher::Hasher;
use crate::region::Regions;

/// What the model test does to either form.
trait Subject {
    fn upsert(&mut self, env: Env, member: &[u8], score: f64) -> Inserted;
    fn remove(&mut self, env: Env, member: &[u8]) -> Option<f64>;
    fn remove_range(&mut self, env: Env, start: usize, end: usize) -> Vec<(Vec<u8>, f64)>;
    fn compact(&mut self, env: Env) -> usize;
    fn check(&self, env: Env);
    fn len(&self) -> usize;
    fn score(&self, env: Env, member: &[u8]) -> Option<f64>;
    fn rank(&self, env: Env, member: &[u8]) -> Option<(usize, f64)>;
    fn rank_of_score(&self, bound: f64, after: bool) -> usize;
    fn range(&self, start: usize, end: usize) -> Box<dyn DoubleEndedIterator<Item = (&[u8], f64)> + '_>;
    fn scan(&self, cursor: u64, each: &mut dyn FnMut(&[u8], f64)) -> u64;
}

impl<const N: usize> Subject for Tree<N> {
    fn upsert(&mut self, env: Env, member: &[u8], score: f64) -> Inserted {
        self.upsert(env, member, |_| Some(score)).unwrap()
    }
    fn remove(&mut self, env: Env, member: &[u8]) -> Option<f64> {
        self.remove(env, member)
    }
    fn remove_range(&mut self, env: Env, start: usize, end: usize) -> Vec<(Vec<u8>, f64)> {
        let mut gone = Vec::new();
        self.remove_range(env, start, end, |member, score| gone.push((member.to_vec(), score)));
        gone
    }
    fn compact(&mut self, env: Env) -> usize {
        self.compact_step(env, 10)
    }
    fn check(&self, env: Env) {
        self.validate();
        self.validate_hashes(env);
    }
    fn len(&self) -> usize {
        self.len()
    }
    fn score(&self, env: Env, member: &[u8]) -> Option<f64> {
        self.score(env, member)
    }
    fn rank(&self, env: Env, member: &[u8]) -> Option<(usize, f64)> {
        self.rank(env, member)
    }
    fn rank_of_score(&self, bound: f64, after: bool) -> usize {
        self.rank_of_score(bound, after)
    }
    fn range(&self, start: usize, end: usize) -> Box<dyn DoubleEndedIterator<Item = (&[u8], f64)> + '_> {
        Box::new(self.range(start, end))
    }
    fn scan(&self, cursor: u64, each: &mut dyn FnMut(&[u8], f64)) -> u64 {
        self.scan(cursor, each)
    }
}

impl Subject for ZSet {
    fn upsert(&mut self, env: Env, member: &[u8], score: f64) -> Inserted {
        self.insert(env, member, score).unwrap()
    }
    fn remove(&mut self, env: Env, member: &[u8]) -> Option<f64> {
        self.remove(env, member)
    }
    fn remove_range(&mut self, env: Env, start: usize, end: usize) -> Vec<(Vec<u8>, f64)> {
        let mut gone = Vec::new();
        self.remove_rank_range(env, start, end, |member, score| gone.push((member.to_vec(), score)));
        gone
    }
    fn compact(&mut self, env: Env) -> usize {
        self.compact_step(env, 10)
    }
    fn check(&self, env: Env) {
        self.validate();
        self.validate_hashes(env);
    }
    fn len(&self) -> usize {
        self.as_ref().len()
    }
    fn score(&self, env: Env, member: &[u8]) -> Option<f64> {
        self.as_ref().score(env, member)
    }
    fn rank(&self, env: Env, member: &[u8]) -> Option<(usize, f64)> {
        self.as_ref().rank(env, member)
    }
    fn rank_of_score(&self, bound: f64, after: bool) -> usize {
        self.as_ref().rank_of_score(bound, after)
    }
    fn range(&self, start: usize, end: usize) -> Box<dyn DoubleEndedIterator<Item = (&[u8], f64)> + '_> {
        Box::new(self.as_ref().range(start, end))
    }
    fn scan(&self, cursor: u64, each: &mut dyn FnMut(&[u8], f64)) -> u64 {
        self.as_ref().scan(cursor, each)
    }
}

#[derive(Clone, Debug)]
enum Step {
    Insert(u32, f64),
    Remove(u32),
    RemoveRange(usize, usize),
    Ascending(usize),
    Rank(u32),
    RankOfScore(f64, bool),
    Range(usize, usize, Vec<bool>),
    Compact,
}

/// Members of all three record forms, in an order unlike that of their numbers.
fn member(number: u32) -> Vec<u8> {
    let mut bytes = format!("{:02}-{number}", number % 17).into_bytes();
    match number % 50 {
        0 => bytes.clear(),
        1 => bytes.resize(260, b'w'),
        2 => bytes.resize(2038, b'x'),
        3 => bytes.resize(5000, b'y'),
        _ => {}
    }
    bytes.extend(number.to_string().into_bytes().iter().rev());
    bytes
}

fn score() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => (-6i32..6).prop_map(f64::from),
        2 => (-1000i32..1000).prop_map(|n| n as f64 / 8.0),
        1 => prop::sample::select(vec![0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, 1e17, -3e9, 5e-324]),
        1 => any::<f64>().prop_filter("no NaN", |score| !score.is_nan()),
    ]
}

fn steps(members: u32, count: usize) -> impl Strategy<Value = Vec<Step>> {
    let place = 0usize..400;
    let step = prop_oneof![
        60 => (0..members, score()).prop_map(|(member, score)| Step::Insert(member, score)),
        30 => (0..members).prop_map(Step::Remove),
        1 => (place.clone(), 0usize..60).prop_map(|(start, len)| Step::RemoveRange(start, len)),
        1 => (0usize..40).prop_map(Step::Ascending),
        5 => (0..members).prop_map(Step::Rank),
        5 => (score(), any::<bool>()).prop_map(|(bound, after)| Step::RankOfScore(bound, after)),
        5 => (place.clone(), place, prop::collection::vec(any::<bool>(), 100))
            .prop_map(|(start, end, backwards)| Step::Range(start, end, backwards)),
        3 => Just(Step::Compact),
    ];
    prop::collection::vec(step, 0..count)
}

/// A sorted set and what it should hold.
struct Checked<S> {
    subject: S,
    model: BTreeMap<Vec<u8>, f64>,
}

impl<S: Subject> Checked<S> {
    fn new(subject: S) -> Self {
        Self { subject, model: BTreeMap::new() }
    }

    fn order(&self) -> Vec<(Vec<u8>, f64)> {
        let mut order: Vec<_> = self.model.iter().map(|(member, &score)| (member.clone(), score)).collect();
        order.sort_by(|one, other| one.1.partial_cmp(&other.1).unwrap().then(one.0.cmp(&other.0)));
        order
    }

    fn insert(&mut self, env: Env, member: &[u8], score: f64) {
        let expected = match self.model.get(member) {
            None => Inserted::Added,
            Some(&old) if old == score => Inserted::Same,
            Some(&old) => Inserted::Updated { old },
        };
        assert_eq!(self.subject.upsert(env, member, score), expected);
        if expected != Inserted::Same {
            self.model.insert(member.to_vec(), score);
        }
    }

    fn step(&mut self, env: Env, step: &Step) {
        match *step {
            Step::Insert(number, score) => self.insert(env, &member(number), score),
            Step::Remove(number) => {
                let expected = self.model.remove(&member(number));
                assert_eq!(self.subject.remove(env, &member(number)), expected);
            }
            Step::RemoveRange(start, len) => {
                let order = self.order();
                let (start, end) = (start.min(order.len()), (start + len).min(order.len()));
                let gone = self.subject.remove_range(env, start, end);
                assert_eq!(gone, order[start..end]);
                gone.iter().for_each(|(member, _)| {
                    self.model.remove(member);
                });
            }
            Step::Ascending(count) => (0..count).for_each(|n| {
                self.insert(env, format!("ascending-{n:03}").as_bytes(), 100.0);
            }),
            Step::Rank(number) => {
                let (order, member) = (self.order(), member(number));
                let expected = order.iter().position(|element| element.0 == member);
                let expected = expected.map(|rank| (rank, order[rank].1));
                assert_eq!(self.subject.rank(env, &member), expected);
                assert_eq!(self.subject.score(env, &member), expected.map(|found| found.1));
            }
            Step::RankOfScore(bound, after) => {
                let before = |score: f64| if after { score <= bound } else { score < bound };
                let expected = self.model.values().filter(|&&score| before(score)).count();
                assert_eq!(self.subject.rank_of_score(bound, after), expected);
            }
            Step::Range(start, end, ref backwards) => self.check_range(start, end, backwards),
            Step::Compact => {
                self.subject.compact(env);
            }
        }
        self.subject.check(env);
        assert_eq!(self.subject.len(), self.model.len());
    }

    /// Takes elements from either end until both ends meet.
    fn check_range(&self, start: usize, end: usize, backwards: &[bool]) {
        let order = self.order();
        let end = end.min(order.len());
        let start = start.min(end);
        let mut expected = order[start..end].iter().map(|(member, score)| (&member[..], *score));
        let mut range = self.subject.range(start, end);
        for &backwards in backwards.iter().cycle() {
            let (one, other) =
                if backwards { (range.next_back(), expected.next_back()) } else { (range.next(), expected.next()) };
            assert_eq!(one, other);
            if one.is_none() {
                return;
            }
        }
    }

    fn check_content(&self) {
        let content: Vec<_> = self.subject.range(0, self.subject.len()).map(|(m, s)| (m.to_vec(), s)).collect();
        assert_eq!(content, self.order());
        let mut scanned = BTreeMap::new();
        scan_all(&self.subject, |member, score| {
            assert_eq!(scanned.insert(member.to_vec(), score), None);
        });
        assert_eq!(scanned, self.model);
    }
}

fn scan_all(subject: &impl Subject, mut each: impl FnMut(&[u8], f64)) {
    let mut cursor = 0;
    loop {
        cursor = subject.scan(cursor, &mut each);
        assert!(cursor < 1 << 47);
        if cursor == 0 {
            return;
        }
    }
}

fn with_env(max_packed_entries: usize, test: impl FnOnce(Env)) {
    let regions = Regions::new();
    test(Env {
        hasher: Hasher::seeded(1),
        regions: &regions,
        limits: Limits { zset_max_packed_entries: max_packed_entries, ..Limits::default() },
    });
    assert_eq!(regions.used_bytes(), 0, "all pages came back");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn a_tree_of_small_nodes_agrees_with_the_model(steps in steps(300, 600)) {
        with_env(0, |env| {
            let mut checked = Checked::new(Tree::<4>::new(env));
            steps.iter().for_each(|step| checked.step(env, step));
            checked.check_content();
        });
    }

    #[test]
    fn a_tree_of_odd_nodes_agrees_with_the_model(steps in steps(600, 1000)) {
        with_env(0, |env| {
            let mut checked = Checked::new(Tree::<9>::new(env));
            steps.iter().for_each(|step| checked.step(env, step));
            checked.check_content();
        });
    }

    #[test]
    fn a_set_agrees_with_the_model_in_either_form(steps in steps(300, 400), entries in 0usize..200) {
        with_env(entries, |env| {
            let mut checked = Checked::new(ZSet::new());
            let mut most = 0;
            for step in &steps {
                checked.step(env, step);
                most = most.max(checked.model.len());
                if most > entries {
                    assert_eq!(checked.subject.as_ref().encoding(), "skiplist");
                }
            }
            checked.check_content();
        });
    }

    #[test]
    fn lexical_ranks_agree_with_the_model(numbers in prop::collection::btree_set(0u32..1000, 0..300), bound in 0u32..1000, after: bool) {
        with_env(100, |env| {
            let members: BTreeSet<Vec<u8>> = numbers.iter().map(|&number| member(number)).collect();
            let bound = member(bound);
            let expected = members.iter().filter(|&member| *member < bound || (after && *member == bound)).count();
            let elements = || members.iter().map(|member| (member, 1.5));
            let set = ZSet::from_sorted(env, elements()).unwrap();
            assert_eq!(set.as_ref().rank_of_member(&bound, after), expected);
            let mut tree = Tree::<4>::new(env);
            elements().for_each(|(member, score)| tree.append(env, member, score).unwrap());
            tree.validate();
            assert_eq!(tree.rank_of_member(&bound, after), expected);
        });
    }

    #[test]
    fn bulk_building_gives_the_set_that_inserts_give(scores in prop::collection::vec(score(), 0..400)) {
        with_env(128, |env| {
            let elements: Vec<_> = scores.iter().enumerate().map(|(n, &score)| (member(n as u32 % 400), score)).collect();
            let mut checked = Checked::new(ZSet::from_unsorted(env, elements.clone()).unwrap());
            checked.model = elements.into_iter().collect();
            checked.subject.check(env);
            checked.check_content();
        });
    }

    #[test]
    fn a_scan_shows_what_stays_while_members_come_and_go(turns in prop::collection::vec((any::<bool>(), 0u32..4000), 0..4000)) {
        with_env(0, |env| {
            let mut tree = Tree::<9>::new(env);
            let name = |number: u32| format!("m{number}").into_bytes();
            (0..2000).for_each(|number| tree.append(env, &name(number), number as f64).unwrap());
            let (mut seen, mut cursor, mut turns) = (BTreeSet::new(), 0, turns.into_iter());
            loop {
                cursor = tree.scan(cursor, |member, _| {
                    seen.insert(member.to_vec());
                });
                if cursor == 0 {
                    break;
                }
                // Numbers divisible by 5 stay.
                for (insert, number) in turns.by_ref().take(150).filter(|turn| turn.1 % 5 != 0) {
                    if insert {
                        tree.upsert(env, &name(number), |_| Some(number as f64 / 3.0)).unwrap();
                    } else {
                        tree.remove(env, &name(number));
                    }
                }
            }
            assert!((0..2000).step_by(5).all(|number| seen.contains(&name(number))));
        });
    }
}

/// 10,000 members with scores in a scattered order.
fn large(env: Env) -> ZSet {
    let mut set = ZSet::new();
    for n in 0..10_000u64 {
        let score = (n * 7919 % 10_007) as f64;
        set.insert(env, format!("member:{n}").as_bytes(), score).unwrap();
    }
    set
}

#[test]
fn a_large_set_keeps_its_rules_and_takes_few_bytes() {
    with_env(128, |env| {
        let mut checked = Checked::new(large(env));
        checked.subject.check(env);
        let names: usize = (0..10_000).map(|n| format!("member:{n}").len()).sum();
        let each = (checked.subject.memory() - names) / 10_000;
        assert!(each <= 40, "{each} bytes beside each member");
        for n in (0..10_000u64).filter(|n| n % 10 != 0) {
            checked.subject.remove(env, format!("member:{n}").as_bytes()).unwrap();
        }
        checked.subject.check(env);
        for n in (0..10_000u64).step_by(10) {
            checked.model.insert(format!("member:{n}").into_bytes(), (n * 7919 % 10_007) as f64);
        }
        checked.check_content();
        let each = checked.subject.memory() / 1000;
        assert!(each <= 80, "{each} bytes for each member that is left");
    });
}

#[test]
fn elements_that_come_in_order_fill_their_leaves() {
    with_env(128, |env| {
        let names: Vec<String> = (0..10_000).map(|n| format!("member:{n}")).collect();
        let up = names.iter().enumerate().map(|(n, name)| (name, n as f64));
        let down = names.iter().enumerate().map(|(n, name)| (name, -(n as f64)));
        let sets = [up.collect::<Vec<_>>(), down.collect()].map(|elements| {
            let mut set = ZSet::new();
            for (name, score) in elements {
                set.insert(env, name.as_bytes(), score).unwrap();
            }
            set.check(env);
            set.memory()
        });
        assert!(sets[0].max(sets[1]) < large(env).memory());
        assert!(sets[0].abs_diff(sets[1]) < 10_000);
    });
}

#[test]
fn compaction_gives_pages_back_and_keeps_the_set() {
    with_env(128, |env| {
        let mut checked = Checked::new(large(env));
        for n in (0..10_000u64).filter(|n| n % 7 != 0) {
            checked.subject.remove(env, format!("member:{n}").as_bytes());
        }
        for n in (0..10_000u64).step_by(7) {
            checked.model.insert(format!("member:{n}").into_bytes(), (n * 7919 % 10_007) as f64);
        }
        let (before, memory) = (env.regions.used_bytes(), checked.subject.memory());
        let steps = (0..).take_while(|_| checked.subject.compact(env) > 0).count();
        assert!(steps > 10 && env.regions.used_bytes() < before / 2);
        assert!(checked.subject.memory() <= memory, "records of pages go, too");
        checked.subject.check(env);
        checked.check_content();
    });
}

#[test]
fn freeing_in_slices_ends_with_an_empty_set() {
    with_env(128, |env| {
        let mut set = large(env);
        let steps = (1..).find(|_| set.free_step(2)).unwrap();
        assert!((10..100).contains(&steps), "{steps} steps");
        assert_eq!((set.memory(), set.as_ref().len(), env.regions.used_bytes()), (0, 0, 0));
        set.insert(env, b"again", 1.0).unwrap();
        set.check(env);
    });
}

#[test]
fn a_half_freed_set_can_be_dropped() {
    with_env(128, |env| {
        let mut set = large(env);
        assert!(!set.free_step(1));
        drop(set);
        assert_eq!(env.regions.used_bytes(), 0);
    });
}

#[test]
fn equal_work_takes_equal_memory() {
    with_env(128, |env| assert_eq!(large(env).memory(), large(env).memory()));
}

#[test]
fn limits_decide_the_form_as_in_redis() {
    with_env(3, |env| {
        let mut set = ZSet::new();
        for name in ["a", "b", "c"] {
            set.insert(env, name.as_bytes(), 1.0).unwrap();
        }
        set.insert(env, b"c", 2.0).unwrap();
        assert_eq!(set.as_ref().encoding(), "listpack");
        set.insert(env, b"d", 1.0).unwrap();
        assert_eq!(set.as_ref().encoding(), "skiplist");
        set.remove(env, b"d");
        assert_eq!(set.as_ref().encoding(), "skiplist");

        let mut set = ZSet::new();
        set.insert(env, &[b'x'; 64], 1.0).unwrap();
        assert_eq!(set.as_ref().encoding(), "listpack");
        set.insert(env, &[b'x'; 65], 1.0).unwrap();
        assert_eq!(set.as_ref().encoding(), "skiplist");

        let mut set = ZSet::new();
        set.expect(env, 3, 64).unwrap();
        assert_eq!(set.as_ref().encoding(), "listpack");
        set.expect(env, 4, 0).unwrap();
        assert_eq!(set.as_ref().encoding(), "skiplist");
    });
}

#[test]
fn a_decision_sees_the_score_and_may_decline() {
    for entries in [0, 128] {
        with_env(entries, |env| {
            let mut set = ZSet::new();
            let mut upsert = |old: Option<f64>, new: Option<f64>| {
                set.upsert(env, b"m", |score| {
                    assert_eq!(score, old);
                    new
                })
                .unwrap()
            };
            assert_eq!(upsert(None, None), Inserted::Same);
            assert_eq!(upsert(None, Some(1.0)), Inserted::Added);
            assert_eq!(upsert(Some(1.0), None), Inserted::Same);
            assert_eq!(upsert(Some(1.0), Some(1.0)), Inserted::Same);
            assert_eq!(upsert(Some(1.0), Some(3.5)), Inserted::Updated { old: 1.0 });
            assert_eq!(set.as_ref().score(env, b"m"), Some(3.5));
        });
    }
}

#[test]
fn a_tree_keeps_negative_zero_and_orders_it_as_zero() {
    with_env(0, |env| {
        let mut set = ZSet::new();
        set.insert(env, b"b", -0.0).unwrap();
        set.insert(env, b"a", 0.0).unwrap();
        assert_eq!(set.insert(env, b"b", 0.0).unwrap(), Inserted::Same);
        let bits: Vec<_> = set.as_ref().range(0, 2).map(|(member, score)| (member, score.to_bits())).collect();
        assert_eq!(bits, [(&b"a"[..], 0), (b"b", 1 << 63)]);
    });
}

#[test]
fn a_set_of_empty_bytes_is_empty() {
    let none = ZSetRef::Packed(&[]);
    assert!(none.is_empty() && none.range(0, 10).next_back().is_none());
    assert_eq!((none.rank_of_score(f64::INFINITY, true), none.rank_of_member(b"", true)), (0, 0));
}
