//! Patterns of Lua 5.1, matched in steps that are counted: a search ends when it takes too many, or when somebody wants it to.

use crate::script::control::Control;

/// Captures that a pattern may have.
const MOST_CAPTURES: usize = 32;
/// How deep the items of a pattern are nested in each other: each takes room on the stack until the rest is matched.
const MOST_DEPTH: usize = 10_000;
/// What one step of a search costs, as a multiple of a look at one byte.
pub(super) const STEP: u64 = 8;
/// Between two looks at the wish to end.
const LOOK_EVERY: u64 = 1 << 20;

const ESCAPE: u8 = b'%';

/// Why a search ends without an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The pattern is wrong.
    Text(&'static str),
    /// It would take too many steps.
    Steps,
    /// Somebody wants the script to end.
    Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Capture {
    /// Begins here.
    Open(usize),
    /// Is this position.
    Position(usize),
    /// From here to there.
    Closed(usize, usize),
}

/// A search for one pattern in one text.
pub(super) struct Search<'s> {
    pub(super) text: &'s [u8],
    pattern: &'s [u8],
    captures: [Capture; MOST_CAPTURES],
    level: usize,
    depth: usize,
    /// How much work it may do, in bytes looked at, and how much of it is left.
    most: u64,
    left: u64,
    control: &'s Control,
}

type Found = Result<Option<usize>, Fault>;

impl<'s> Search<'s> {
    /// One that may look at so many bytes, or what takes as long. To C a pattern ends at a zero.
    pub(super) fn new(text: &'s [u8], pattern: &'s [u8], most: u64, control: &'s Control) -> Self {
        let end = memchr::memchr(0, pattern).unwrap_or(pattern.len());
        let captures = [Capture::Open(0); MOST_CAPTURES];
        let pattern = &pattern[..end];
        Self { text, pattern, captures, level: 0, depth: 0, most, left: most, control }
    }

    /// Takes off the sign that binds a pattern to the place where the search begins; whether it was there.
    pub(super) fn take_anchor(&mut self) -> bool {
        let rest = self.pattern.strip_prefix(b"^");
        self.pattern = rest.unwrap_or(self.pattern);
        rest.is_some()
    }

    /// Whether the pattern matches here; where the match ends.
    pub(super) fn at(&mut self, from: usize) -> Found {
        (self.level, self.depth) = (0, 0);
        self.rest(from, 0)
    }

    /// The captures of the last match.
    pub(super) fn captures(&self) -> &[Capture] {
        &self.captures[..self.level]
    }

    /// What it has done so far, in bytes looked at.
    pub(super) fn spent(&self) -> u64 {
        self.most - self.left
    }

    fn spend(&mut self, work: u64) -> Result<(), Fault> {
        let left = self.left.checked_sub(work).ok_or(Fault::Steps)?;
        let before = std::mem::replace(&mut self.left, left);
        if before / LOOK_EVERY != left / LOOK_EVERY && self.control.must_end() {
            return Err(Fault::Ended);
        }
        Ok(())
    }

    /// Matches the rest of the pattern, which begins at `item`.
    fn rest(&mut self, at: usize, item: usize) -> Found {
        if self.depth == MOST_DEPTH {
            return Err(Fault::Text("pattern too complex"));
        }
        self.depth += 1;
        let found = self.items(at, item);
        self.depth -= 1;
        found
    }

    /// Goes from item to item as long as each matches in one way only.
    fn items(&mut self, mut at: usize, mut item: usize) -> Found {
        loop {
            self.spend(STEP)?;
            let Some(&first) = self.pattern.get(item) else { return Ok(Some(at)) };
            match (first, self.pattern.get(item + 1)) {
                (b'(', Some(b')')) => return self.open(at, item + 2, Capture::Position(at)),
                (b'(', _) => return self.open(at, item + 1, Capture::Open(at)),
                (b')', _) => return self.close(at, item + 1),
                (b'$', None) => return Ok((at == self.text.len()).then_some(at)),
                (ESCAPE, Some(b'b')) => match self.balanced(at, item + 2)? {
                    Some(end) => (at, item) = (end, item + 4),
                    None => return Ok(None),
                },
                (ESCAPE, Some(b'f')) => match self.frontier(at, item + 2)? {
                    Some(end) => item = end,
                    None => return Ok(None),
                },
                (ESCAPE, Some(digit @ b'0'..=b'9')) => match self.repeated(at, *digit)? {
                    Some(end) => (at, item) = (end, item + 2),
                    None => return Ok(None),
                },
                _ => match self.class(at, item)? {
                    Next::Items(next_at, next_item) => (at, item) = (next_at, next_item),
                    Next::Found(found) => return Ok(found),
                },
            }
        }
    }

    /// Matches a class of bytes, however often the sign behind it says.
    fn class(&mut self, at: usize, item: usize) -> Result<Next, Fault> {
        let end = self.class_end(item)?;
        Ok(match self.pattern.get(end) {
            Some(b'?') => {
                if self.is_one(at, item, end)?
                    && let Some(found) = self.rest(at + 1, end + 1)?
                {
                    return Ok(Next::Found(Some(found)));
                }
                Next::Items(at, end + 1)
            }
            Some(b'*') => Next::Found(self.longest(at, item, end)?),
            Some(b'+') if self.is_one(at, item, end)? => Next::Found(self.longest(at + 1, item, end)?),
            Some(b'+') => Next::Found(None),
            Some(b'-') => Next::Found(self.shortest(at, item, end)?),
            _ if self.is_one(at, item, end)? => Next::Items(at + 1, end),
            _ => Next::Found(None),
        })
    }

    /// As many as there are, or fewer if the rest needs them.
    fn longest(&mut self, at: usize, item: usize, end: usize) -> Found {
        let mut count = 0;
        while self.is_one(at + count, item, end)? {
            count += 1;
        }
        loop {
            if let Some(found) = self.rest(at + count, end + 1)? {
                return Ok(Some(found));
            }
            if count == 0 {
                return Ok(None);
            }
            count -= 1;
        }
    }

    /// As few as the rest allows.
    fn shortest(&mut self, mut at: usize, item: usize, end: usize) -> Found {
        loop {
            if let Some(found) = self.rest(at, end + 1)? {
                return Ok(Some(found));
            }
            if !self.is_one(at, item, end)? {
                return Ok(None);
            }
            at += 1;
        }
    }

    fn open(&mut self, at: usize, item: usize, capture: Capture) -> Found {
        *self.captures.get_mut(self.level).ok_or(Fault::Text("too many captures"))? = capture;
        self.level += 1;
        let found = self.rest(at, item)?;
        if found.is_none() {
            self.level -= 1;
        }
        Ok(found)
    }

    fn close(&mut self, at: usize, item: usize) -> Found {
        let open = self.captures[..self.level].iter().rposition(|capture| matches!(capture, Capture::Open(_)));
        let number = open.ok_or(Fault::Text("invalid pattern capture"))?;
        let opened = self.captures[number];
        if let Capture::Open(from) = opened {
            self.captures[number] = Capture::Closed(from, at);
        }
        let found = self.rest(at, item)?;
        if found.is_none() {
            self.captures[number] = opened;
        }
        Ok(found)
    }

    /// `%bxy`: from an x to the y that belongs to it.
    fn balanced(&mut self, at: usize, item: usize) -> Found {
        let Some([open, close]) = self.pattern.get(item..item + 2) else {
            return Err(Fault::Text("unbalanced pattern"));
        };
        let (open, close) = (*open, *close);
        if self.text.get(at) != Some(&open) {
            return Ok(None);
        }
        let mut depth = 1_usize;
        for from in (at + 1..self.text.len()).step_by(LOOK_EVERY as usize) {
            let piece = &self.text[from..self.text.len().min(from + LOOK_EVERY as usize)];
            for (place, byte) in piece.iter().enumerate() {
                if *byte == close {
                    depth -= 1;
                    if depth == 0 {
                        self.spend(place as u64)?;
                        return Ok(Some(from + place + 1));
                    }
                } else if *byte == open {
                    depth += 1;
                }
            }
            self.spend(piece.len() as u64)?;
        }
        Ok(None)
    }

    /// `%f[set]`: where the byte before does not belong to the set and the next does. Gives where the set ends.
    fn frontier(&mut self, at: usize, item: usize) -> Found {
        if self.pattern.get(item) != Some(&b'[') {
            return Err(Fault::Text("missing '[' after '%f' in pattern"));
        }
        let end = self.class_end(item)?;
        self.spend(2 * (end - item) as u64)?;
        let before = at.checked_sub(1).map_or(0, |before| self.text[before]);
        let next = self.text.get(at).copied().unwrap_or(0);
        let set = &self.pattern[item + 1..end - 1];
        Ok((!is_in_set(before, set) && is_in_set(next, set)).then_some(end))
    }

    /// `%1`: what a capture before it has matched.
    fn repeated(&mut self, at: usize, digit: u8) -> Found {
        let number = usize::from(digit).checked_sub(usize::from(b'1'));
        match number.and_then(|number| self.captures().get(number).copied()) {
            None | Some(Capture::Open(_)) => Err(Fault::Text("invalid capture index")),
            Some(Capture::Position(_)) => Ok(None),
            Some(Capture::Closed(from, to)) => {
                self.spend((to - from) as u64)?;
                Ok(self.text[at..].starts_with(&self.text[from..to]).then_some(at + to - from))
            }
        }
    }

    /// Where a class ends that begins here.
    fn class_end(&mut self, item: usize) -> Result<usize, Fault> {
        match self.pattern[item] {
            ESCAPE if item + 1 == self.pattern.len() => Err(Fault::Text("malformed pattern (ends with '%')")),
            ESCAPE => Ok(item + 2),
            b'[' => {
                let end = self.set_end(item + 1).ok_or(Fault::Text("malformed pattern (missing ']')"))?;
                self.spend((end - item) as u64)?;
                Ok(end)
            }
            _ => Ok(item + 1),
        }
    }

    /// The first byte of a set belongs to it, even if it is a bracket.
    fn set_end(&self, mut item: usize) -> Option<usize> {
        if self.pattern.get(item) == Some(&b'^') {
            item += 1;
        }
        loop {
            let byte = *self.pattern.get(item)?;
            item += 1;
            if byte == ESCAPE && item < self.pattern.len() {
                item += 1;
            }
            if *self.pattern.get(item)? == b']' {
                return Some(item + 1);
            }
        }
    }

    /// Whether the next byte belongs to a class.
    fn is_one(&mut self, at: usize, item: usize, end: usize) -> Result<bool, Fault> {
        self.spend((end - item) as u64)?;
        let Some(&byte) = self.text.get(at) else { return Ok(false) };
        Ok(match self.pattern[item] {
            b'.' => true,
            ESCAPE => is_in_class(byte, self.pattern[item + 1]),
            b'[' => is_in_set(byte, &self.pattern[item + 1..end - 1]),
            own => own == byte,
        })
    }
}

/// How it goes on behind a class.
enum Next {
    /// At this place of the text, with this item.
    Items(usize, usize),
    Found(Option<usize>),
}

/// Whether a byte is in the class that a letter names; a capital one names what is not in it.
fn is_in_class(byte: u8, letter: u8) -> bool {
    let belongs = match letter.to_ascii_lowercase() {
        b'a' => byte.is_ascii_alphabetic(),
        b'c' => byte.is_ascii_control(),
        b'd' => byte.is_ascii_digit(),
        b'l' => byte.is_ascii_lowercase(),
        b'p' => byte.is_ascii_punctuation(),
        b's' => matches!(byte, b' ' | b'\t'..=b'\r'),
        b'u' => byte.is_ascii_uppercase(),
        b'w' => byte.is_ascii_alphanumeric(),
        b'x' => byte.is_ascii_hexdigit(),
        b'z' => byte == 0,
        _ => return letter == byte,
    };
    belongs != letter.is_ascii_uppercase()
}

/// Whether a byte is in a set, given as it stands between the brackets.
fn is_in_set(byte: u8, set: &[u8]) -> bool {
    let (mut rest, is_in) = match set.strip_prefix(b"^") {
        Some(rest) => (rest, false),
        None => (set, true),
    };
    loop {
        let (belongs, after) = match rest {
            [] => return !is_in,
            [ESCAPE, letter, after @ ..] => (is_in_class(byte, *letter), after),
            [first, b'-', last, after @ ..] => ((*first..=*last).contains(&byte), after),
            [own, after @ ..] => (*own == byte, after),
        };
        if belongs {
            return is_in;
        }
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find<'t>(text: &'t str, pattern: &str) -> Result<Option<&'t str>, Fault> {
        let control = Control::default();
        let mut search = Search::new(text.as_bytes(), pattern.as_bytes(), 1 << 20, &control);
        let is_bound = search.take_anchor();
        for from in 0..=text.len() {
            if let Some(end) = search.at(from)? {
                return Ok(Some(&text[from..end]));
            }
            if is_bound {
                break;
            }
        }
        Ok(None)
    }

    #[test]
    fn patterns_find_what_they_say() {
        for (text, pattern, found) in [
            ("hello world", "o w", Some("o w")),
            ("hello", "l+", Some("ll")),
            ("hello", "^l", None),
            ("a.b", "%.", Some(".")),
            ("<a><b>", "<.->", Some("<a>")),
            ("<a><b>", "<.*>", Some("<a><b>")),
            ("f(a(b)c)d", "%b()", Some("(a(b)c)")),
            ("f(a", "%b()", None),
            ("THE (quick) fox", "%f[%a]%a+%f[%A]", Some("THE")),
            ("say 'x' or \"y\"", "(['\"]).-%1", Some("'x'")),
            ("x]y", "[]]", Some("]")),
            ("x-y", "[a%-]", Some("-")),
            ("x-y", "[+--]", Some("-")),
            ("abc9", "[^%a]", Some("9")),
            ("a$b", "$b", Some("$b")),
            ("ab", "b$", Some("b")),
            ("ac", "ab?c", Some("ac")),
            ("\u{b}x", "%s", Some("\u{b}")),
            ("ab", "a\0z", Some("a")),
            ("", "", Some("")),
        ] {
            assert_eq!(find(text, pattern), Ok(found), "{pattern} in {text}");
        }
    }

    #[test]
    fn wrong_patterns_are_told() {
        for (pattern, text) in [
            ("%", "malformed pattern (ends with '%')"),
            ("[a", "malformed pattern (missing ']')"),
            ("[]", "malformed pattern (missing ']')"),
            ("%f", "missing '[' after '%f' in pattern"),
            ("%b", "unbalanced pattern"),
            ("%bx", "unbalanced pattern"),
            ("%1", "invalid capture index"),
            ("(%1)", "invalid capture index"),
            ("%0", "invalid capture index"),
            ("a)", "invalid pattern capture"),
        ] {
            assert_eq!(find("a", pattern), Err(Fault::Text(text)), "{pattern}");
        }
        assert_eq!(find("a", &"()".repeat(33)), Err(Fault::Text("too many captures")));
        assert_eq!(find("", &"a?".repeat(20_000)), Ok(Some("")));
        let deep =
            || assert_eq!(find(&"a".repeat(20_000), &"a?".repeat(20_000)), Err(Fault::Text("pattern too complex")));
        // Scripts' thread has such a stack.
        let thread = std::thread::Builder::new().stack_size(crate::script::STACK_BYTES);
        thread.spawn(deep).unwrap().join().unwrap();
    }

    #[test]
    fn long_searches_end() {
        for (text, pattern) in [
            ("(".repeat(1 << 12), "%b()".to_owned()),
            ("a".repeat(1 << 12), format!("[{}]", "b".repeat(1 << 12))),
            ("a".repeat(1 << 12), format!("%f[{}]", "b".repeat(1 << 12))),
            ("a".repeat(1 << 12), ".-b".to_owned()),
            ("a".repeat(1 << 12), "(.*)%1b".to_owned()),
            ("a".repeat(100), "a-".repeat(30) + "b"),
        ] {
            assert_eq!(find(&text, &pattern), Err(Fault::Steps), "{:.20}", pattern);
        }
    }
}
