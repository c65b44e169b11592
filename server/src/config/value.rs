//! The text forms of option values: numbers, sizes with units, octal, and the quoted words of a configuration line.
//! What is accepted follows Redis 7.4 (string2ll, memtoull, strtoll, sdssplitargs, sdscatrepr), with one exception: a
//! size past 64 bits is refused, where Redis lets it wrap around or saturate.

/// Reads a number in its one canonical form: no leading zero, plus sign, or space.
pub(super) fn parse_integer(text: &[u8]) -> Option<i64> {
    let text = str::from_utf8(text).ok()?;
    let value = text.parse::<i64>().ok()?;
    (value.to_string() == text).then_some(value)
}

/// Reads a number as C's strtoll does with a whole string: leading space, a sign and leading zeros are fine, and the
/// empty string is 0.
pub(super) fn parse_lenient(text: &[u8], radix: u32) -> Option<i64> {
    if text.is_empty() {
        return Some(0);
    }
    let start = text.iter().position(|byte| !is_space(*byte))?;
    i64::from_str_radix(str::from_utf8(&text[start..]).ok()?, radix).ok()
}

/// Reads a size in bytes: digits and a unit in either case, where `k` is 1000, `kb` 1024, and so on. No digits are 0.
pub(super) fn parse_memory(text: &[u8]) -> Option<u64> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, unit) = text.split_at(digits);
    let unit: u64 = match unit.to_ascii_lowercase().as_slice() {
        b"" | b"b" => 1,
        b"k" => 1000,
        b"kb" => 1 << 10,
        b"m" => 1_000_000,
        b"mb" => 1 << 20,
        b"g" => 1_000_000_000,
        b"gb" => 1 << 30,
        _ => return None,
    };
    if digits.is_empty() {
        return Some(0);
    }
    str::from_utf8(digits).ok()?.parse::<u64>().ok()?.checked_mul(unit)
}

/// A size with the largest unit that divides it, as CONFIG REWRITE writes it.
pub(super) fn memory_with_unit(bytes: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "gb"), (1 << 20, "mb"), (1 << 10, "kb")];
    let unit = UNITS.iter().find(|(size, _)| bytes != 0 && bytes.is_multiple_of(*size));
    unit.map_or_else(|| bytes.to_string(), |(size, name)| format!("{}{name}", bytes / size))
}

/// C's isspace.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// The words of a configuration line: separated by space, plain, in double quotes with the escapes of C and `\xHH`, or
/// in single quotes. `None` if a quote is not closed, or a closing quote is followed by anything but space.
pub(crate) fn split_words(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut words = Vec::new();
    let mut rest = line;
    loop {
        let Some(start) = rest.iter().position(|byte| !is_space(*byte)) else {
            return Some(words);
        };
        let (word, after) = take_word(&rest[start..])?;
        words.push(word);
        rest = after;
    }
}

/// Takes the first word of a text that starts with one, and returns it with what follows.
fn take_word(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut word = Vec::new();
    let mut rest = text;
    loop {
        match *rest {
            [b'"', ref quoted @ ..] => return take_quoted(word, quoted, b'"'),
            [b'\'', ref quoted @ ..] => return take_quoted(word, quoted, b'\''),
            [] | [b' ' | b'\n' | b'\r' | b'\t', ..] => return Some((word, rest)),
            [byte, ref after @ ..] => {
                word.push(byte);
                rest = after;
            }
        }
    }
}

/// Takes the rest of a word from behind its opening quote.
fn take_quoted(mut word: Vec<u8>, text: &[u8], quote: u8) -> Option<(Vec<u8>, &[u8])> {
    let mut rest = text;
    loop {
        rest = match *rest {
            [b'\\', b'x', high, low, ref after @ ..]
                if quote == b'"' && high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                word.push(hex_digit(high) << 4 | hex_digit(low));
                after
            }
            [b'\\', byte, ref after @ ..] if quote == b'"' => {
                word.push(unescape(byte));
                after
            }
            [b'\\', b'\'', ref after @ ..] if quote == b'\'' => {
                word.push(b'\'');
                after
            }
            [byte, ref after @ ..] if byte == quote => {
                return after.first().is_none_or(|next| is_space(*next)).then_some((word, after));
            }
            [byte, ref after @ ..] => {
                word.push(byte);
                after
            }
            [] => return None,
        };
    }
}

fn hex_digit(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => digit.to_ascii_lowercase() - b'a' + 10,
    }
}

fn unescape(byte: u8) -> u8 {
    match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 8,
        b'a' => 7,
        other => other,
    }
}

/// A word in double quotes and printable ASCII that [`split_words`] reads back.
pub(crate) fn quote(word: &[u8]) -> String {
    let mut quoted = String::with_capacity(word.len() + 2);
    quoted.push('"');
    for &byte in word {
        match byte {
            b'\\' | b'"' => quoted.extend(['\\', char::from(byte)]),
            b'\n' => quoted.push_str("\\n"),
            b'\r' => quoted.push_str("\\r"),
            b'\t' => quoted.push_str("\\t"),
            7 => quoted.push_str("\\a"),
            8 => quoted.push_str("\\b"),
            b' '..=b'~' => quoted.push(char::from(byte)),
            _ => quoted.push_str(&format!("\\x{byte:02x}")),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn integers_are_canonical() {
        let cases = [("0", Some(0)), ("-1", Some(-1)), ("9223372036854775807", Some(i64::MAX))];
        let refused = ["", "-0", "+1", "007", " 1", "1 ", "1x", "9223372036854775808"].map(|text| (text, None));
        for (text, value) in cases.into_iter().chain(refused) {
            assert_eq!(parse_integer(text.as_bytes()), value, "{text:?}");
        }
    }

    #[test]
    fn sizes_know_their_units() {
        let cases = [
            ("0", Some(0)),
            ("", Some(0)),
            ("kb", Some(0)),
            ("1b", Some(1)),
            ("1k", Some(1000)),
            ("1Kb", Some(1024)),
            ("2M", Some(2_000_000)),
            ("2mB", Some(2 << 20)),
            ("3g", Some(3_000_000_000)),
            ("3GB", Some(3 << 30)),
            ("18446744073709551615", Some(u64::MAX)),
            ("-1", None),
            (" 1", None),
            ("1x", None),
            ("1tb", None),
            ("1 kb", None),
            ("18446744073709551616", None),
            ("99999999999gb", None),
        ];
        for (text, value) in cases {
            assert_eq!(parse_memory(text.as_bytes()), value, "{text:?}");
        }
    }

    #[test]
    fn lenient_numbers_follow_strtoll() {
        let cases =
            [("", Some(0)), ("0777", Some(0o777)), (" +7", Some(7)), ("-1", Some(-1)), ("8", None), (" ", None)];
        for (text, value) in cases {
            assert_eq!(parse_lenient(text.as_bytes(), 8), value, "{text:?}");
        }
    }

    #[test]
    fn sizes_print_with_the_largest_unit_that_divides() {
        let cases = [(0, "0"), (1, "1"), (1 << 10, "1kb"), (3 << 20, "3mb"), (1 << 40, "1024gb"), (1025, "1025")];
        for (bytes, text) in cases {
            assert_eq!(memory_with_unit(bytes), text);
        }
    }

    #[test]
    fn words_are_split_as_redis_splits_them() {
        let cases: [(&str, Option<&[&[u8]]>); 12] = [
            ("", Some(&[])),
            ("  \t ", Some(&[])),
            ("a  b\tc ", Some(&[b"a", b"b", b"c"])),
            (r#""a b" 'c d'"#, Some(&[b"a b", b"c d"])),
            (r#"save """#, Some(&[b"save", b""])),
            (r#""\x00\xfF\n\"\\\q""#, Some(&[b"\x00\xff\n\"\\q"])),
            (r"'it\'s \n'", Some(&[br"it's \n"])),
            (r#"a"b c""#, Some(&[b"ab c"])),
            (r#""open"#, None),
            ("'open", None),
            (r#""a"b"#, None),
            (r#""\"#, None),
        ];
        for (line, words) in cases {
            let words = words.map(|words| words.iter().map(|word| word.to_vec()).collect::<Vec<_>>());
            assert_eq!(split_words(line.as_bytes()), words, "{line:?}");
        }
    }

    proptest! {
        #[test]
        fn any_quoted_word_reads_back(word in proptest::collection::vec(any::<u8>(), 0..40)) {
            let line = format!("name {} end", quote(&word));
            prop_assert_eq!(split_words(line.as_bytes()), Some(vec![b"name".to_vec(), word, b"end".to_vec()]));
        }

        #[test]
        fn no_line_panics(line in proptest::collection::vec(any::<u8>(), 0..60)) {
            if let Some(words) = split_words(&line) {
                prop_assert!(words.len() <= line.len());
            }
        }
    }
}
