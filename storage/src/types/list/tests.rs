//! Lists against a model, with limits small enough that both forms and every way to cut a chunk are met all the time.

use proptest::prelude::*;

use super::*;
use crate::hasher::Hasher;
use crate::region::Regions;
use crate::types::Limits;

#[derive(Clone, Debug)]
enum Step {
    Push(End, Vec<Vec<u8>>),
    Move(End, Vec<u8>),
    Remove(End, usize),
    Rotate(End, End),
    Set(usize, Vec<u8>),
    Insert(Vec<u8>, bool, Vec<u8>),
    RemoveEqual(Vec<u8>, usize, End),
    Range(usize, usize, Vec<bool>),
    Resize(i64),
    Duplicate,
}

/// Few short texts, so that they repeat; and some that are too long to stand beside others.
fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        20 => (0u8..12).prop_map(|number| number.to_string().into_bytes()),
        5 => (100_000u32..100_004).prop_map(|number| format!("text {number}").into_bytes()),
        2 => (500usize..3000).prop_map(|len| vec![b'x'; len]),
        1 => (8000usize..8300).prop_map(|len| vec![b'y'; len]),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let end = || prop_oneof![Just(End::Left), Just(End::Right)];
    let place = || 0usize..150;
    prop_oneof![
        8 => (end(), prop::collection::vec(text(), 1..20)).prop_map(|(end, texts)| Step::Push(end, texts)),
        8 => (end(), text()).prop_map(|(end, text)| Step::Push(end, vec![text])),
        2 => (end(), text()).prop_map(|(end, text)| Step::Move(end, text)),
        8 => (end(), 0usize..4).prop_map(|(end, count)| Step::Remove(end, count)),
        1 => (end(), 4usize..80).prop_map(|(end, count)| Step::Remove(end, count)),
        2 => (end(), end()).prop_map(|(from, to)| Step::Rotate(from, to)),
        8 => (place(), text()).prop_map(|(index, text)| Step::Set(index, text)),
        12 => (text(), any::<bool>(), text()).prop_map(|(pivot, after, text)| Step::Insert(pivot, after, text)),
        3 => (text(), 1usize..6, end()).prop_map(|(text, most, end)| Step::RemoveEqual(text, most, end)),
        1 => (text(), end()).prop_map(|(text, end)| Step::RemoveEqual(text, usize::MAX, end)),
        4 => (place(), place(), prop::collection::vec(any::<bool>(), 1..20))
            .prop_map(|(start, end, backwards)| Step::Range(start, end, backwards)),
        1 => prop::sample::select(vec![-6i64, -2, -1, 0, 1, 2, 3, 7, 200]).prop_map(Step::Resize),
        1 => Just(Step::Duplicate),
    ]
}

/// A list and what it should hold.
#[derive(Default)]
struct Checked {
    list: List,
    model: Vec<Vec<u8>>,
}

fn owned(element: Element<'_>) -> Vec<u8> {
    element.text(&mut itoa::Buffer::new()).to_vec()
}

impl Checked {
    fn step(&mut self, env: &mut Env<'_>, step: &Step) {
        let (list, model) = (&mut self.list, &mut self.model);
        match step {
            Step::Push(end, texts) => {
                list.push_all(env, *end, texts.iter().map(Vec::as_slice));
                match end {
                    End::Left => texts.iter().for_each(|text| model.insert(0, text.clone())),
                    End::Right => model.extend_from_slice(texts),
                }
            }
            Step::Move(end, text) => {
                list.push_moved(env, *end, Element::of(text));
                model.insert(if *end == End::Left { 0 } else { model.len() }, text.clone());
            }
            Step::Remove(end, count) => {
                list.remove(env, *end, *count);
                let count = (*count).min(model.len());
                let start = if *end == End::Left { 0 } else { model.len() - count };
                model.drain(start..start + count);
            }
            Step::Rotate(from, to) => {
                list.rotate(env, *from, *to);
                if !model.is_empty() {
                    let element = model.remove(if *from == End::Left { 0 } else { model.len() - 1 });
                    model.insert(if *to == End::Left { 0 } else { model.len() }, element);
                }
            }
            Step::Set(index, text) => {
                assert_eq!(list.set(env, *index, text), *index < model.len());
                if let Some(place) = model.get_mut(*index) {
                    place.clone_from(text);
                }
            }
            Step::Insert(pivot, after, text) => {
                let index = model.iter().position(|element| element == pivot);
                assert_eq!(list.insert(env, pivot, *after, text), index.is_some());
                if let Some(index) = index {
                    model.insert(index + usize::from(*after), text.clone());
                }
            }
            Step::RemoveEqual(text, most, end) => {
                let mut places: Vec<usize> = (0..model.len()).filter(|&index| model[index] == *text).collect();
                if *end == End::Right {
                    places.reverse();
                }
                places.truncate(*most);
                assert_eq!(list.remove_equal(env, text, *most, *end), places.len());
                let mut index = 0;
                model.retain(|_| {
                    index += 1;
                    !places.contains(&(index - 1))
                });
            }
            Step::Range(start, end, backwards) => self.check_range(*start, *end, backwards),
            Step::Resize(size) => env.limits.list_max_packed_size = *size,
            Step::Duplicate => {
                let copy = list.duplicate(*env).unwrap();
                assert_eq!(copy.as_ref().encoding(), list.as_ref().encoding());
                *list = copy;
            }
        }
        self.check();
    }

    /// Takes elements from either end until both ends meet.
    fn check_range(&self, start: usize, end: usize, backwards: &[bool]) {
        let end = end.min(self.model.len());
        let start = start.min(end);
        let mut expected = self.model[start..end].iter();
        let mut range = self.list.as_ref().range(start, end);
        for &backwards in backwards.iter().cycle() {
            assert_eq!(range.len(), expected.len());
            let (one, other) =
                if backwards { (range.next_back(), expected.next_back()) } else { (range.next(), expected.next()) };
            assert_eq!(one.map(owned).as_ref(), other);
            if one.is_none() {
                return;
            }
        }
    }

    fn check(&self) {
        self.list.validate();
        let list = self.list.as_ref();
        assert_eq!((list.len(), list.is_empty()), (self.model.len(), self.model.is_empty()));
        assert!(list.range(0, usize::MAX).map(owned).eq(self.model.iter().cloned()));
        let middle = self.model.len() / 2;
        for index in [0, middle, self.model.len().saturating_sub(1), self.model.len()] {
            assert_eq!(list.get(index).map(owned).as_ref(), self.model.get(index));
        }
    }
}

fn with_env(size: i64, run: impl FnOnce(&mut Env<'_>)) {
    let regions = Regions::new();
    let limits = Limits { list_max_packed_size: size, ..Limits::default() };
    run(&mut Env { hasher: Hasher::seeded(1), regions: &regions, limits });
}

fn numbers(range: std::ops::Range<usize>) -> Vec<Vec<u8>> {
    range.map(|number| format!("{number:010}").into_bytes()).collect()
}

fn push(list: &mut List, env: &Env<'_>, texts: &[Vec<u8>]) {
    for text in texts {
        list.push_all(env, End::Right, std::iter::once(text.as_slice()));
    }
}

proptest! {
    #[test]
    fn agrees_with_a_vec(size in prop::sample::select(vec![-6i64, -2, -1, 0, 1, 2, 3, 7, 200]),
                         steps in prop::collection::vec(step(), 1..150)) {
        with_env(size, |env| {
            let mut checked = Checked::default();
            for step in &steps {
                checked.step(env, step);
            }
            checked.list.remove(env, End::Left, usize::MAX);
            assert!(checked.list.as_ref().is_empty());
        });
    }
}

#[test]
fn the_form_follows_the_bytes() {
    with_env(-2, |env| {
        let mut list = List::new();
        // 7 bytes of head and end, 12 per element, and 10 of the next one's text.
        push(&mut list, env, &numbers(0..681));
        assert_eq!(list.as_ref().encoding(), "listpack");
        push(&mut list, env, &numbers(681..683));
        assert_eq!(list.as_ref().encoding(), "quicklist");
        // Back only when one chunk of half the bytes is left.
        list.remove(env, End::Left, 342);
        assert_eq!((list.as_ref().len(), list.as_ref().encoding()), (341, "quicklist"));
        list.remove(env, End::Right, 1);
        assert_eq!((list.as_ref().len(), list.as_ref().encoding()), (340, "listpack"));
    });
}

#[test]
fn the_form_follows_the_number_of_elements() {
    with_env(4, |env| {
        let mut list = List::new();
        push(&mut list, env, &numbers(0..4));
        assert_eq!(list.as_ref().encoding(), "listpack");
        push(&mut list, env, &numbers(4..5));
        assert_eq!(list.as_ref().encoding(), "quicklist");
        list.remove(env, End::Right, 2);
        assert_eq!(list.as_ref().encoding(), "quicklist");
        list.remove(env, End::Right, 1);
        assert_eq!(list.as_ref().encoding(), "listpack");
        // One string that is too long for any other beside it stays alone.
        list.push_all(env, End::Left, std::iter::once(&[b'x'; 9000][..]));
        assert_eq!(list.as_ref().encoding(), "quicklist");
        list.remove(env, End::Right, 2);
        assert_eq!((list.as_ref().len(), list.as_ref().encoding()), (1, "quicklist"));
    });
}

#[test]
fn what_finds_no_place_changes_nothing() {
    with_env(2, |env| {
        let mut list = List::new();
        push(&mut list, env, &numbers(0..2));
        assert!(!list.insert(env, b"missing", true, b"x") && !list.set(env, 2, b"x"));
        assert_eq!(list.as_ref().encoding(), "listpack");
        // Another element in the place of one counts as one more, as in Redis.
        assert!(list.set(env, 1, b"x"));
        assert_eq!(list.as_ref().encoding(), "quicklist");
    });
}

#[test]
fn elements_cost_little_more_than_their_bytes() {
    with_env(-2, |env| {
        for count in [800, 2000, 100_000] {
            for end in [End::Left, End::Right] {
                let mut list = List::new();
                for text in numbers(0..count) {
                    list.push_all(env, end, std::iter::once(text.as_slice()));
                }
                list.validate();
                let most = count * 12 * 102 / 100 + 3 * 1024;
                assert!(list.memory() <= most, "{count} {end:?}: {} of {most}", list.memory());
            }
        }
    });
}

#[test]
fn a_list_is_freed_in_steps() {
    with_env(1, |env| {
        let mut list = List::new();
        push(&mut list, env, &numbers(0..100));
        assert_eq!(list.weight(), 100);
        let steps = (1..).find(|_| list.free_step(8)).unwrap();
        assert_eq!((steps, list.memory()), (13, 0));
    });
}
