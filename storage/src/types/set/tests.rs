//! Sets against a model, in all forms, with limits small enough that forms change all the time.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::hasher::Hasher;
use crate::region::Regions;
use crate::rng::Rng;
use crate::types::Limits;
use crate::types::text::Text;

#[derive(Clone, Debug)]
enum Step {
    /// Members of one SADD.
    Add(Vec<u32>),
    Remove(u32),
    Look(u32),
    Take(usize),
    Sample(usize),
    Duplicate,
    MakeInts,
    Compact,
}

/// Integers of all widths, strings that are nearly integers, and members of all record forms.
fn member(number: u32) -> Vec<u8> {
    match number {
        0..20 => (i64::from(number) - 10).to_string().into_bytes(),
        20..25 => (i64::from(number) * 10_000 - 200_000).to_string().into_bytes(),
        25..30 => (i64::from(number) * 0x1000_0000_0000).to_string().into_bytes(),
        30 => Vec::new(),
        31 => b"007".to_vec(),
        32 => b"-0".to_vec(),
        33 => b"9223372036854775808".to_vec(),
        34 => b"9223372036854775807".to_vec(),
        35 => vec![b'x'; 300],
        36 => vec![b'y'; 5000],
        37 => vec![b'z'; 20],
        38 => vec![b'w'; 1800],
        _ => format!("m{number}").into_bytes(),
    }
}

fn steps(members: std::ops::Range<u32>) -> impl Strategy<Value = Vec<Step>> {
    let number = members.clone();
    let step = prop_oneof![
        6 => prop::collection::vec(members, 1..4).prop_map(Step::Add),
        3 => number.clone().prop_map(Step::Remove),
        2 => number.prop_map(Step::Look),
        1 => (0usize..5).prop_map(Step::Take),
        1 => (0usize..9).prop_map(Step::Sample),
        1 => Just(Step::Duplicate),
        1 => Just(Step::MakeInts),
        1 => Just(Step::Compact),
    ];
    prop::collection::vec(step, 0..150)
}

/// A set, what it should hold, and the form that Redis would give it.
struct Checked {
    set: Set,
    model: BTreeSet<Vec<u8>>,
    form: &'static str,
    rng: Rng,
}

fn text(element: Element<'_>) -> Vec<u8> {
    Text::from(element).to_vec()
}

fn is_integer(member: &[u8]) -> bool {
    matches!(Element::of(member), Element::Int(_))
}

impl Checked {
    fn new() -> Self {
        Self { set: Set::new(), model: BTreeSet::new(), form: "intset", rng: Rng::seeded(1) }
    }

    fn add(&mut self, env: Env, members: &[Vec<u8>]) {
        self.set.expect(env, &members[0], members.len()).unwrap();
        let limits = env.limits;
        if self.model.is_empty() {
            self.form = match () {
                () if is_integer(&members[0]) && members.len() <= limits.set_max_ints => "intset",
                () if members.len() <= limits.set_max_packed_entries => "listpack",
                () => "hashtable",
            };
        }
        if (self.form == "intset" && members.len() > limits.set_max_ints)
            || (self.form == "listpack" && members.len() > limits.set_max_packed_entries)
        {
            self.form = "hashtable";
        }
        for member in members {
            let is_new = !self.model.contains(member);
            assert_eq!(self.set.insert(env, Element::Bytes(member)).unwrap(), is_new);
            if is_new {
                self.note_form(limits, member);
            }
            self.model.insert(member.clone());
        }
    }

    /// What becomes of the form when an absent member is added.
    fn note_form(&mut self, limits: Limits, member: &[u8]) {
        let fits = self.model.len() < limits.set_max_packed_entries && member.len() <= limits.set_max_packed_value;
        let longest = self.model.iter().map(Vec::len).max().unwrap_or(0);
        if self.form == "intset" && is_integer(member) {
            if self.model.len() == limits.set_max_ints {
                self.form = "hashtable";
            }
        } else if self.form == "intset" {
            self.form = if fits && longest <= limits.set_max_packed_value { "listpack" } else { "hashtable" };
        } else if !fits {
            self.form = "hashtable";
        }
    }

    fn step(&mut self, env: Env, step: &Step) {
        match step {
            Step::Add(numbers) => self.add(env, &numbers.iter().map(|number| member(*number)).collect::<Vec<_>>()),
            Step::Remove(number) => {
                let member = member(*number);
                assert_eq!(self.set.remove(env, Element::Bytes(&member)), self.model.remove(&member));
            }
            Step::Look(number) => {
                let member = member(*number);
                let expected = self.model.contains(&member);
                assert_eq!(self.set.as_ref().contains(env, Element::Bytes(&member)), expected);
                assert_eq!(self.set.as_ref().contains(env, Element::of(&member)), expected);
            }
            Step::Take(count) => {
                let mut taken = Vec::new();
                self.set.take_random(env, &mut self.rng, *count, |member| taken.push(text(member)));
                assert_eq!(taken.len(), self.model.len().min(*count));
                assert!(taken.iter().all(|member| self.model.remove(member)));
            }
            Step::Sample(count) => {
                let mut drawn = Vec::new();
                self.set.as_ref().sample(env, &mut self.rng, *count, |member| drawn.push(text(member)));
                let different: BTreeSet<_> = drawn.iter().cloned().collect();
                assert_eq!((drawn.len(), different.len()), (self.model.len().min(*count), drawn.len()));
                assert!(different.is_subset(&self.model));
            }
            Step::Duplicate => self.set = self.set.duplicate(env).unwrap(),
            Step::MakeInts => {
                self.set.make_ints(env);
                if self.model.iter().all(|member| is_integer(member)) && self.model.len() <= env.limits.set_max_ints {
                    self.form = "intset";
                }
            }
            Step::Compact => {
                self.set.compact_step(env, 10);
            }
        }
        self.check(env);
    }

    fn check(&mut self, env: Env) {
        self.set.validate();
        if let Set::Hashed(dict) = &self.set {
            dict.validate_hashes(env);
        }
        if let Some(bytes) = self.set.packed().filter(|bytes| !bytes.is_empty()) {
            assert_eq!(SetRef::packed(bytes).encoding(), self.form, "the bytes tell the form");
        }
        assert_eq!(self.set.as_ref().len(), self.model.len());
        // An empty one takes another form with its next member.
        let form = self.set.as_ref().encoding();
        assert!(self.model.is_empty() || form == self.form, "{form}, not {}", self.form);
        assert_eq!(self.set.as_ref().iter().map(text).collect::<BTreeSet<_>>(), self.model);
        assert_eq!(self.set.as_ref().iter().len(), self.model.len());
        let drawn = self.set.as_ref().random(env, &mut self.rng).map(text);
        assert_eq!(drawn.is_some(), !self.model.is_empty());
        assert!(drawn.is_none_or(|member| self.model.contains(&member)));
        let (mut scanned, mut cursor) = (BTreeSet::new(), 0);
        loop {
            cursor = self.set.as_ref().scan(cursor, |member| {
                scanned.insert(text(member));
            });
            if cursor == 0 {
                break;
            }
        }
        assert_eq!(scanned, self.model);
    }
}

fn with_env(ints: usize, entries: usize, test: impl FnOnce(Env)) {
    let regions = Regions::new();
    let limits =
        Limits { set_max_ints: ints, set_max_packed_entries: entries, set_max_packed_value: 12, ..Limits::default() };
    test(Env { hasher: Hasher::seeded(1), regions: &regions, limits });
    assert_eq!(regions.used_bytes(), 0, "all pages came back");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn a_set_agrees_with_the_model_in_every_form(steps in steps(0..60), ints in 0usize..30, entries in 0usize..30) {
        with_env(ints, entries, |env| {
            let mut checked = Checked::new();
            steps.iter().for_each(|step| checked.step(env, step));
        });
    }

    #[test]
    fn a_set_of_integers_agrees_with_the_model(steps in steps(0..30), ints in 0usize..40) {
        with_env(ints, 10, |env| {
            let mut checked = Checked::new();
            steps.iter().for_each(|step| checked.step(env, step));
        });
    }

    #[test]
    fn a_large_set_agrees_with_the_model(steps in steps(0..400)) {
        with_env(5, 5, |env| {
            let mut checked = Checked::new();
            checked.add(env, &(100..350).map(member).collect::<Vec<_>>());
            steps.iter().for_each(|step| checked.step(env, step));
        });
    }
}

/// 10,000 members of 10 bytes.
fn large(env: Env) -> Set {
    let mut set = Set::new();
    for number in 0..10_000 {
        set.insert(env, Element::Bytes(format!("member{number:04}").as_bytes())).unwrap();
    }
    set
}

#[test]
fn a_large_set_takes_few_bytes_and_is_freed_in_slices() {
    with_env(512, 128, |env| {
        let mut set = large(env);
        set.validate();
        let each = set.memory() / 10_000 - 10;
        assert!(each <= 16, "{each} bytes beside each member");
        assert_eq!(set.memory(), large(env).memory());
        let steps = (1..).find(|_| set.free_step(2)).unwrap();
        assert!((5..100).contains(&steps), "{steps} steps");
        assert_eq!((set.memory(), set.as_ref().len(), env.regions.used_bytes()), (0, 0, 0));
        assert!(set.insert(env, Element::Int(7)).unwrap());
        set.validate();
    });
}

#[test]
fn compaction_gives_pages_back() {
    with_env(512, 128, |env| {
        let mut set = large(env);
        for number in (0..10_000).filter(|number| number % 7 != 0) {
            assert!(set.remove(env, Element::Bytes(format!("member{number:04}").as_bytes())));
        }
        let before = env.regions.used_bytes();
        while set.compact_step(env, 10) > 0 {}
        assert!(env.regions.used_bytes() <= before / 2);
        set.validate();
    });
}
