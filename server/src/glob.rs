//! Glob matching for KEYS, SCAN, PSUBSCRIBE, CONFIG GET and ACL patterns.
//!
//! The rules are those of `stringmatchlen` in Redis 7.4.1 (util.c), odd cases included; they are
//! bytes against bytes, with no notion of UTF-8:
//!
//! - `*` any run of bytes, `?` any byte, `\x` the byte `x`; a lone `\` at the end is itself.
//! - `[abc]`, `[a-z]`, `[^...]`. A class that is never closed ends with the pattern. In a class `]`
//!   always closes, `\x` is `x` and keeps its case even where case is ignored, and the bytes of a
//!   range compare as signed (with case ignored, as [`folded`]) and may stand in either order.
//!   `[a-]` is the unclosed range from `]` to `a`.
//! - An empty text matches only an empty pattern. Not even `*` matches it: a command for which `*`
//!   means everything (KEYS, SCAN) says so itself, as in Redis.
//! - A pattern in which more than [`MAX_STARS`] stars are followed by something else never matches.
//!
//! Only the last star is ever tried again, so the time is at most pattern times text.

/// Stars that a match may pass, the last of the pattern not counted (Redis limits its recursion so).
pub(crate) const MAX_STARS: usize = 1000;

/// Whether the whole of `text` matches `pattern`; `nocase` ignores the case of ASCII letters.
pub(crate) fn matches(pattern: &[u8], text: &[u8], nocase: bool) -> bool {
    if text.is_empty() {
        return pattern.is_empty();
    }
    let (mut at, mut read, mut stars) = (0, 0, 0);
    // Where the last star's rest begins in the pattern, and where its last try began in the text.
    let mut retry: Option<(usize, usize)> = None;
    while read < text.len() {
        if pattern.get(at) == Some(&b'*') {
            while pattern.get(at) == Some(&b'*') {
                at += 1;
            }
            if at == pattern.len() {
                return true;
            }
            if stars == MAX_STARS {
                return false;
            }
            stars += 1;
            retry = Some((at, read));
        } else if let Some(next) = match_byte(pattern, at, text[read], nocase) {
            at = next;
            read += 1;
        } else if let Some((rest, begin)) = retry {
            at = rest;
            read = begin + 1;
            retry = Some((rest, read));
        } else {
            return false;
        }
    }
    pattern[at..].iter().all(|&byte| byte == b'*')
}

/// Matches one byte against the element at `at` (not a star); the position after the element if it fits.
#[inline]
fn match_byte(pattern: &[u8], at: usize, byte: u8, nocase: bool) -> Option<usize> {
    match pattern[at..] {
        [] => None,
        [b'?', ..] => Some(at + 1),
        [b'[', ..] => {
            let (next, fits) = match_class(pattern, at + 1, byte, nocase);
            fits.then_some(next)
        }
        [b'\\', literal, ..] => same(literal, byte, nocase).then_some(at + 2),
        [literal, ..] => same(literal, byte, nocase).then_some(at + 1),
    }
}

/// Matches one byte against the class whose `[` stands before `at`: the position after it, and the verdict.
fn match_class(pattern: &[u8], mut at: usize, byte: u8, nocase: bool) -> (usize, bool) {
    let negated = pattern.get(at) == Some(&b'^');
    at += usize::from(negated);
    let mut found = false;
    loop {
        match pattern[at..] {
            [] => break,
            [b'\\', literal, ..] => {
                found |= literal == byte;
                at += 2;
            }
            [b']', ..] => {
                at += 1;
                break;
            }
            [from, b'-', to, ..] => {
                found |= in_range(from, to, byte, nocase);
                at += 3;
            }
            [literal, ..] => {
                found |= same(literal, byte, nocase);
                at += 1;
            }
        }
    }
    (at, found != negated)
}

/// The ends are put in order before their case is folded, so `[Z-a]` is empty where case is ignored.
fn in_range(from: u8, to: u8, byte: u8, nocase: bool) -> bool {
    let value = if nocase { folded } else { signed };
    let (low, high) = if signed(from) > signed(to) { (to, from) } else { (from, to) };
    (value(low)..=value(high)).contains(&value(byte))
}

/// A byte as a `char` of C on x86-64.
fn signed(byte: u8) -> i16 {
    i16::from(byte.cast_signed())
}

/// What glibc's `tolower` makes of such a `char`: it takes all but -1, which is EOF, for unsigned.
fn folded(byte: u8) -> i16 {
    match byte {
        0xff => -1,
        _ => i16::from(byte.to_ascii_lowercase()),
    }
}

#[inline]
fn same(literal: u8, byte: u8, nocase: bool) -> bool {
    literal == byte || (nocase && literal.eq_ignore_ascii_case(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `pattern` against texts that it must match and texts that it must not.
    fn check(pattern: &str, fits: &[&str], others: &[&str]) {
        for text in fits {
            assert!(matches(pattern.as_bytes(), text.as_bytes(), false), "{pattern} {text}");
        }
        for text in others {
            assert!(!matches(pattern.as_bytes(), text.as_bytes(), false), "{pattern} {text}");
        }
    }

    #[test]
    fn stars_and_question_marks() {
        check("h?llo", &["hello", "hallo", "h?llo"], &["hllo", "heello"]);
        check("h*llo", &["hllo", "heeeello", "hllollo"], &["hell", "ello"]);
        check("*", &["a", "ab"], &[""]);
        check("a*", &["a", "ab"], &["", "ba"]);
        check("a***", &["a", "abc"], &["b"]);
        check("**b", &["b", "ab", "abb"], &["ba"]);
        check("*a*b*", &["ab", "xaxbx", "aab"], &["ba", "xa"]);
        check("?*", &["a", "ab"], &[""]);
        check("", &[""], &["a"]);
    }

    #[test]
    fn an_empty_text_fits_an_empty_pattern_only() {
        check("**", &[], &[""]);
        check("[^", &["a"], &[""]);
    }

    #[test]
    fn classes() {
        check("h[ae]llo", &["hello", "hallo"], &["hillo", "h[ae]llo"]);
        check("h[^e]llo", &["hallo", "h^llo"], &["hello"]);
        check("h[a-b]llo", &["hallo", "hbllo"], &["hcllo", "h-llo"]);
        check("h[b-a]llo", &["hallo", "hbllo"], &["hcllo"]);
        check("[a^]", &["a", "^"], &["b"]);
        check("[--a]", &["-", "A", "a"], &["b", "+"]);
    }

    #[test]
    fn odd_classes() {
        check("[]", &[], &["]", "a", "[]"]);
        check("[^]", &["]", "a"], &["ab"]);
        check("[]a]", &[], &["a", "]", "a]"]);
        check("[", &[], &["[", "a"]);
        check("[^", &["[", "a"], &["aa"]);
        check("[abc", &["a", "b", "c"], &["d", "["]);
        check("[^abc", &["d", "["], &["a", "b"]);
        check("[a-", &["a", "-"], &["b"]);
        check("[a-]", &["]", "^", "_", "`", "a"], &["-", "b", "a]"]);
        check("[a-]x]", &["]", "^", "a", "x"], &["-", "b", "y"]);
        check("[\\]]", &["]"], &["\\"]);
        check("[\\a-c]", &["a", "-", "c"], &["b", "\\"]);
        check("[a\\", &["a", "\\"], &["b"]);
        check("[a-\\", &["\\", "]", "a"], &["-", "b"]);
    }

    #[test]
    fn escapes() {
        check("\\*", &["*"], &["a", "\\*"]);
        check("a\\?b", &["a?b"], &["axb"]);
        check("\\", &["\\"], &["a"]);
        check("a\\", &["a\\"], &["a"]);
        check("\\\\", &["\\"], &["\\\\"]);
    }

    #[test]
    fn case_is_ignored_on_request() {
        assert!(matches(b"HeL?o*", b"hELLO!", true));
        assert!(!matches(b"HeL?o*", b"hELLO!", false));
        assert!(matches(b"[A-C]", b"b", true));
        assert!(matches(b"\\A", b"a", true));
        // An escaped byte of a class keeps its case, and ends are ordered before they are folded.
        assert!(!matches(b"[\\A]", b"a", true));
        assert!(!matches(b"[Z-a]", b"z", true));
        assert!(!matches(b"[Z-a]", b"a", true));
        assert!(matches(b"[Z-a]", b"Z", false));
        assert!(!matches(b"\xc9", b"\xe9", true));
    }

    #[test]
    fn ranges_compare_signed_bytes() {
        assert!(matches(b"[\x80-\x7f]", b"\x00", false));
        assert!(matches(b"[\x80-\x00]", b"\xff", false));
        assert!(!matches(b"[a-\xff]", b"z", false));
        assert!(matches(b"[a-\xff]", b"B", false));
        assert!(matches(b"[\x80-z]", b"a", false));
        assert!(!matches(b"[\x80-z]", b"a", true));
        assert!(matches(b"[\xff-z]", b"a", true));
    }

    #[test]
    fn stars_are_limited() {
        let text = [b'a'; 2000];
        let below = b"*a".repeat(MAX_STARS);
        let above = b"*a".repeat(MAX_STARS + 1);
        assert!(matches(&below, &text, false));
        assert!(!matches(&above, &text, false));
        assert!(matches(&[&below[..], b"*"].concat(), &text, false));
        assert!(matches(&[&[b'*'; 5000][..], b"a"].concat(), &text, false));
    }

    #[test]
    fn an_abusive_pattern_takes_little_time() {
        let pattern = [b"*a".repeat(500), b"b".to_vec()].concat();
        assert!(!matches(&pattern, &vec![b'a'; 20_000], false));
    }

    /// What a simple pattern is made of, for the reference.
    #[derive(Debug, Clone)]
    enum Element {
        Run,
        Any,
        Byte(u8),
        Class(bool, Vec<(u8, u8)>),
    }

    impl Element {
        fn write(&self, pattern: &mut Vec<u8>) {
            match self {
                Element::Run => pattern.push(b'*'),
                Element::Any => pattern.push(b'?'),
                Element::Byte(byte) => pattern.extend([b'\\', *byte]),
                Element::Class(negated, ranges) => {
                    pattern.push(b'[');
                    pattern.extend(negated.then_some(b'^'));
                    for &(from, to) in ranges {
                        pattern.extend([from, b'-', to]);
                    }
                    pattern.push(b']');
                }
            }
        }

        fn fits(&self, byte: u8) -> bool {
            match self {
                Element::Run | Element::Any => true,
                Element::Byte(literal) => *literal == byte,
                Element::Class(negated, ranges) => {
                    let inside = |&(from, to): &(u8, u8)| from.min(to) <= byte && byte <= from.max(to);
                    ranges.iter().any(inside) != *negated
                }
            }
        }
    }

    /// Textbook dynamic programming: `reach[j]` tells whether the elements so far match `text[..j]`.
    fn reference(elements: &[Element], text: &[u8]) -> bool {
        let mut reach = vec![false; text.len() + 1];
        reach[0] = true;
        for element in elements {
            let mut next = vec![false; text.len() + 1];
            for end in 0..=text.len() {
                next[end] = match element {
                    Element::Run => reach[..=end].contains(&true),
                    _ => end > 0 && reach[end - 1] && element.fits(text[end - 1]),
                };
            }
            reach = next;
        }
        reach[text.len()]
    }

    fn element() -> impl Strategy<Value = Element> {
        let letter = || b'a'..=b'd';
        prop_oneof![
            2 => Just(Element::Run),
            1 => Just(Element::Any),
            3 => letter().prop_map(Element::Byte),
            1 => (any::<bool>(), prop::collection::vec((letter(), letter()), 1..3))
                .prop_map(|(negated, ranges)| Element::Class(negated, ranges)),
        ]
    }

    proptest! {
        #[test]
        fn simple_patterns_match_as_the_reference(
            elements in prop::collection::vec(element(), 0..10),
            text in prop::collection::vec(b'a'..=b'd', 1..14),
        ) {
            let mut pattern = Vec::new();
            elements.iter().for_each(|element| element.write(&mut pattern));
            prop_assert_eq!(matches(&pattern, &text, false), reference(&elements, &text));
        }

        #[test]
        fn any_bytes_are_safe(
            pattern in prop::collection::vec(prop::sample::select(&b"*?[]^-\\aB\x80"[..]), 0..24),
            text in prop::collection::vec(any::<u8>(), 0..24),
            nocase: bool,
        ) {
            let escaped: Vec<u8> = text.iter().flat_map(|&byte| [b'\\', byte]).collect();
            prop_assert!(matches(&escaped, &text, nocase));
            matches(&pattern, &text, nocase);
        }
    }
}
