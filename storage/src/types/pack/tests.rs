//! Tests of packed sequences.

use proptest::prelude::*;

use super::*;

fn texts(bytes: &[u8]) -> Vec<Vec<u8>> {
    Pack(bytes).iter().map(|element| element.text(&mut itoa::Buffer::new()).to_vec()).collect()
}

#[test]
fn elements_are_those_of_a_listpack() {
    let cases: &[(&[u8], &[u8])] = &[
        (b"", &[0x80, 1]),
        (b"a", &[0x81, b'a', 2]),
        (b"0", &[0, 1]),
        (b"127", &[127, 1]),
        (b"128", &[0xc0, 128, 2]),
        (b"-1", &[0xdf, 0xff, 2]),
        (b"-4096", &[0xd0, 0, 2]),
        (b"4096", &[0xf1, 0, 0x10, 3]),
        (b"-32769", &[0xf2, 0xff, 0x7f, 0xff, 4]),
        (b"2147483647", &[0xf3, 0xff, 0xff, 0xff, 0x7f, 5]),
        (b"-9223372036854775808", &[0xf4, 0, 0, 0, 0, 0, 0, 0, 0x80, 9]),
    ];
    for (text, expected) in cases {
        let mut bytes = Vec::new();
        push_back(&mut bytes, Element::of(text));
        assert_eq!(Pack(&bytes).body(), *expected, "{}", text.escape_ascii());
        assert_eq!(texts(&bytes), [*text]);
    }
    for len in [63, 64, 126, 127, 4095, 4096, 16_377, 16_378, 16_383, 70_000, 2_097_150] {
        let text = vec![b'x'; len];
        let mut bytes = Vec::new();
        push_back(&mut bytes, Element::of(&text));
        push_back(&mut bytes, Element::of(b"end"));
        Pack(&bytes).validate();
        assert_eq!(bytes.len(), HEADER + Element::of(&text).size() + 5, "{len}");
        assert_eq!(texts(&bytes), [&text[..], b"end"], "{len}");
        assert_eq!(Pack(&bytes).iter().next_back(), Some(Element::Bytes(b"end")));
    }
}

#[test]
fn more_elements_than_the_count_can_tell_are_counted() {
    let mut bytes = Vec::new();
    (0..70_000).for_each(|number| push_back(&mut bytes, Element::Int(number % 100)));
    assert_eq!(Pack(&bytes).len(), 70_000);
    assert_eq!(remove(&mut bytes, HEADER, 10_000), 10_000);
    assert_eq!(Pack(&bytes).len(), 60_000);
    Pack(&bytes).validate();
    assert_eq!(remove(&mut bytes, HEADER, usize::MAX), 60_000);
    assert!(bytes.is_empty());
}

#[test]
fn a_mark_stays_until_nothing_is_left() {
    let mut bytes = Vec::new();
    mark(&mut bytes, Mark::Timed);
    push_back(&mut bytes, Element::Int(1));
    assert!(!Pack(&bytes).is_marked(Mark::Timed));
    mark(&mut bytes, Mark::Timed);
    (0..40_000).for_each(|number| push_back(&mut bytes, Element::Int(number)));
    assert_eq!((Pack(&bytes).len(), Pack(&bytes).is_marked(Mark::Timed)), (40_001, true));
    remove(&mut bytes, HEADER, 40_000);
    assert_eq!((Pack(&bytes).len(), Pack(&bytes).is_marked(Mark::Timed)), (1, true));
    remove(&mut bytes, HEADER, 1);
    assert!(!Pack(&bytes).is_marked(Mark::Timed));
}

#[test]
fn malformed_bodies_are_refused() {
    let mut bytes = Vec::new();
    for text in ["a", "100000", "bcd"] {
        push_back(&mut bytes, Element::of(text.as_bytes()));
    }
    let body = Pack(&bytes).body();
    assert_eq!(Pack::check(body), Some(3));
    for len in 1..body.len() {
        let whole = [3, 8].contains(&len);
        assert_eq!(Pack::check(&body[..len]).is_some(), whole, "{len}");
    }
    for bad in [&[0xff, 1][..], &[0xf5, 1], &[0xf0, 0xff, 0xff, 0xff, 0xff, 5], &[0x81, b'a', 3], &[0x85, b'a', 2]] {
        assert_eq!(Pack::check(bad), None, "{bad:?}");
    }
}

#[test]
fn every_element_takes_its_one_form() {
    let foreign = [
        (&[0x81, b'5', 2][..], &[5, 1][..]),
        (&[0xc0, 5, 2], &[5, 1]),
        (&[0xf4, 5, 0, 0, 0, 0, 0, 0, 0, 9], &[5, 1]),
        (&[0xe0, 1, b'a', 3], &[0x81, b'a', 2]),
        (&[0xf0, 1, 0, 0, 0, b'a', 6], &[0x81, b'a', 2]),
        (&[0x82, b'0', b'1', 3], &[0x82, b'0', b'1', 3]),
    ];
    for (body, expected) in foreign {
        let both = [body, &[0x81, b'z', 2]].concat();
        let adopted = adopt(&both).unwrap();
        Pack(&adopted).validate();
        assert_eq!(Pack(&adopted).body(), [expected, &[0x81, b'z', 2]].concat(), "{body:?}");
    }
    assert_eq!((adopt(&[]), adopt(&[0x85, b'a', 2])), (Some(Vec::new()), None));
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        any::<i64>().prop_map(|number| number.to_string().into_bytes()),
        any::<i16>().prop_map(|number| number.to_string().into_bytes()),
        proptest::collection::vec(any::<u8>(), 0..100),
        (0usize..9000).prop_map(|len| vec![b'y'; len]),
    ]
}

proptest! {
    #[test]
    fn agrees_with_a_vec(steps in proptest::collection::vec((0..7, any::<proptest::sample::Index>(), text()), 1..60)) {
        let (mut bytes, mut model) = (Vec::new(), Vec::<Vec<u8>>::new());
        for (what, index, text) in steps {
            let number = index.index(model.len() + 1);
            let at = Pack(&bytes).place(number).unwrap_or(bytes.len().max(HEADER));
            match what {
                0 => {
                    push_front(&mut bytes, Element::of(&text));
                    model.insert(0, text);
                }
                1 => {
                    insert(&mut bytes, at, Element::of(&text));
                    model.insert(number, text);
                }
                2 if number < model.len() => {
                    replace(&mut bytes, at, Element::of(&text));
                    model[number] = text;
                }
                3 => {
                    let count = text.len() % 3;
                    let end = (number + count).min(model.len());
                    prop_assert_eq!(remove(&mut bytes, at, count), end - number);
                    model.drain(number..end);
                }
                4 => {
                    let keeps = |len: usize| len % 7 != text.len() % 7;
                    retain(&mut bytes, |element| keeps(element.text_len()));
                    model.retain(|text| keeps(text.len()));
                }
                5 => {
                    extend_back(&mut bytes, [Element::of(&text), Element::Int(7)].into_iter());
                    model.extend([text, b"7".to_vec()]);
                }
                _ => {
                    push_back(&mut bytes, Element::of(&text));
                    model.push(text);
                }
            }
            Pack(&bytes).validate();
            prop_assert_eq!(&texts(&bytes), &model);
            let mut reversed: Vec<_> = Pack(&bytes).iter().rev().map(|e| e.text(&mut itoa::Buffer::new()).to_vec()).collect();
            reversed.reverse();
            prop_assert_eq!(&reversed, &model);
            if let Some(wanted) = model.last() {
                let first = model.iter().position(|text| text == wanted).unwrap();
                prop_assert_eq!(Pack(&bytes).find(Element::of(wanted), HEADER, 1), Pack(&bytes).place(first));
            }
            prop_assert_eq!(&texts(&from_body(Pack(&bytes).body(), model.len())), &model);
        }
    }
}
