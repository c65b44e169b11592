//! What ZRANDMEMBER and HRANDFIELD are asked to draw.

use larder_protocol::{Args, parse_i64};

use super::parse::is;
use crate::error::{Error, LONG_OUT_OF_RANGE, NOT_AN_INTEGER, OUT_OF_RANGE, SYNTAX};

/// Of a collection up to so many times as large as the draw, it is decided for each element in turn.
pub(super) const SPARSE_FROM: usize = 3;

/// What to draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Draw {
    One,
    /// So many different elements; or, if negative, so many that may be the same.
    Many {
        count: i64,
        with_values: bool,
    },
}

impl Draw {
    /// Reads what follows the key; `word` asks for the values.
    pub(super) fn parse(args: Args<'_>, word: &str) -> Result<Self, Error> {
        let Some(count) = args.get(0) else { return Ok(Self::One) };
        let count = parse_i64(count).ok_or(NOT_AN_INTEGER)?;
        if count == i64::MIN {
            return Err(LONG_OUT_OF_RANGE);
        }
        let with_values = match args.get(1) {
            None => false,
            Some(arg) if args.len() == 2 && is(arg, word) => true,
            Some(_) => return Err(SYNTAX),
        };
        if with_values && count.unsigned_abs() > i64::MAX as u64 / 2 {
            return Err(OUT_OF_RANGE);
        }
        Ok(Self::Many { count, with_values })
    }
}

#[cfg(test)]
mod tests {
    use larder_protocol::OwnedArgs;

    use super::*;

    #[test]
    fn counts_and_words_are_checked_in_order() {
        let parse = |words: &[&str]| {
            let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
            Draw::parse(OwnedArgs::from_slices(&words).as_args(), "WITHVALUES")
        };
        assert_eq!(parse(&[]), Ok(Draw::One));
        assert_eq!(parse(&["-3"]), Ok(Draw::Many { count: -3, with_values: false }));
        assert_eq!(parse(&["3", "withValues"]), Ok(Draw::Many { count: 3, with_values: true }));
        assert_eq!(parse(&["x", "y"]), Err(NOT_AN_INTEGER));
        assert_eq!(parse(&["-9223372036854775808"]), Err(LONG_OUT_OF_RANGE));
        assert_eq!(parse(&["3", "WITHSCORES"]), Err(SYNTAX));
        assert_eq!(parse(&["3", "WITHVALUES", "x"]), Err(SYNTAX));
        assert_eq!(parse(&["-4611686018427387904", "WITHVALUES"]), Err(OUT_OF_RANGE));
    }
}
