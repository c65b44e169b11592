//! Sizes as arguments name them.

use std::str::FromStr;

use larder_storage::evict::WHOLE_SIZE;

/// A cache size: a number, or a part of all there is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Size {
    /// So many objects or bytes.
    Count(u64),
    /// This part of the keys, or of what they take.
    Part(f64),
}

impl Size {
    /// The number, of so many in all; at least one.
    pub fn of(self, total: u64) -> u64 {
        match self {
            Self::Count(count) => count.max(1),
            Self::Part(part) => ((total as f64 * part) as u64).max(1),
        }
    }
}

impl Size {
    /// The number of requests, of so many in all; may be none.
    pub fn of_requests(self, total: usize) -> usize {
        match self {
            Self::Count(count) => usize::try_from(count).unwrap_or(usize::MAX),
            Self::Part(part) => (total as f64 * part) as usize,
        }
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_suffix('%') {
            Some(percent) => {
                let percent = percent.parse().ok().filter(|percent| (0.0..=1000.0).contains(percent));
                percent.map(|percent: f64| Self::Part(percent / 100.0)).ok_or_else(|| format!("{text:?} is no part"))
            }
            None => parse_count(text).map(Self::Count),
        }
    }
}

/// A size of a cache, as an argument.
///
/// # Errors
/// It is none, or nothing.
pub fn parse_capacity(text: &str) -> Result<Size, String> {
    match text.parse()? {
        Size::Count(0) => Err("a cache of no size holds nothing".to_owned()),
        Size::Part(part) if part <= 0.0 => Err("a cache of no size holds nothing".to_owned()),
        size => Ok(size),
    }
}

/// How many requests only warm the cache, as an argument.
///
/// # Errors
/// It is no number and no part, or all.
pub fn parse_warmup(text: &str) -> Result<Size, String> {
    match text.parse()? {
        Size::Part(part) if part >= 1.0 => Err("no request is left to count".to_owned()),
        size => Ok(size),
    }
}

/// What size weighs to the adaptive policies, as `maxmemory-size-weight` has it; in 256ths.
///
/// # Errors
/// It is no number from 0 to 1 with at most two decimals.
pub fn parse_size_weight(text: &str) -> Result<u32, String> {
    let weight = text.parse().ok().map(|weight: f64| 100.0 * weight);
    let percent = weight.filter(|percent| (0.0..=100.0).contains(percent) && (percent - percent.round()).abs() < 1e-6);
    percent
        .map(|percent| percent.round() as u32 * WHOLE_SIZE / 100)
        .ok_or_else(|| format!("{text:?} is no number from 0 to 1 with two decimals"))
}

/// A number with one of the units of Redis's configuration: k, m and g are powers of 1000, kb, mb and gb of 1024.
///
/// # Errors
/// It is none.
pub fn parse_count(text: &str) -> Result<u64, String> {
    let lower = text.to_ascii_lowercase();
    let digits = lower.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = match &lower[digits.len()..] {
        "" | "b" => 1,
        "k" => 1000,
        "m" => 1_000_000,
        "g" => 1_000_000_000,
        "kb" => 1 << 10,
        "mb" => 1 << 20,
        "gb" => 1 << 30,
        _ => return Err(format!("{text:?} has no known unit")),
    };
    let number = digits.replace('_', "").parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    number.ok_or_else(|| format!("{text:?} is no size"))
}

/// The same, of what none of makes no sense.
pub fn parse_some(text: &str) -> Result<u64, String> {
    let count = parse_count(text)?;
    if count == 0 { Err("there has to be some".into()) } else { Ok(count) }
}

/// How many there shall be of what works, such as connections, as an argument.
///
/// # Errors
/// It is no number, or 0.
pub fn parse_one_or_more(text: &str) -> Result<usize, String> {
    let many = text.parse().ok().filter(|many| *many > 0);
    many.ok_or_else(|| "has to be a number of 1 or more".to_owned())
}

/// Lengths of values: one, or from one to another, which of them a key tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lengths {
    /// The shortest.
    pub from: u32,
    /// The longest.
    pub to: u32,
}

impl Lengths {
    /// The length that the value of a key has.
    pub fn of(self, key: u32) -> u32 {
        let spread = u64::from(key).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        self.from + (spread * (u64::from(self.to - self.from) + 1) >> 32) as u32
    }

    /// The lengths of all keys below `keys`.
    pub fn all(self, keys: usize) -> Vec<u32> {
        (0..keys as u32).map(|key| self.of(key)).collect()
    }
}

impl FromStr for Lengths {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (from, to) = text.split_once('-').unwrap_or((text, text));
        let bound = |text| parse_count(text).and_then(|bytes| u32::try_from(bytes).map_err(|error| error.to_string()));
        let (from, to) = (bound(from)?, bound(to)?);
        if from == 0 {
            return Err("values have 1 byte or more".to_owned());
        }
        if from <= to { Ok(Self { from, to }) } else { Err(format!("{text:?} ends before it begins")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_warmups_that_leave_nothing_are_refused() {
        assert_eq!(parse_capacity("10%"), Ok(Size::Part(0.1)));
        for text in ["0", "0%", "0mb", "-1"] {
            assert!(parse_capacity(text).is_err(), "{text}");
        }
        assert_eq!(parse_warmup("0%"), Ok(Size::Part(0.0)));
        assert_eq!(parse_warmup("99%"), Ok(Size::Part(0.99)));
        assert_eq!(parse_warmup("100%"), Err("no request is left to count".to_owned()));
        assert!(parse_warmup("200%").is_err());
    }

    #[test]
    fn what_works_is_one_or_more() {
        assert_eq!(parse_one_or_more("1"), Ok(1));
        for wrong in ["0", "-1", "many", ""] {
            assert_eq!(parse_one_or_more(wrong), Err("has to be a number of 1 or more".to_owned()), "{wrong}");
        }
    }

    #[test]
    fn a_size_weight_is_a_part_of_one() {
        assert_eq!(["0", "0.25", ".5", "0.29", "1"].map(parse_size_weight), [Ok(0), Ok(64), Ok(128), Ok(74), Ok(256)]);
        for wrong in ["", "x", "1.01", "-0.1", "0.125", "NaN", "inf"] {
            assert!(parse_size_weight(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_have_units_or_are_parts() {
        assert_eq!("1_000".parse(), Ok(Size::Count(1000)));
        assert_eq!("5k".parse(), Ok(Size::Count(5000)));
        assert_eq!("64MB".parse(), Ok(Size::Count(64 << 20)));
        assert_eq!("0.1%".parse::<Size>().map(|size| size.of(20_000)), Ok(20));
        for wrong in ["", "kb", "5x", "-1", "1.5", "x%", "99999999999gb"] {
            assert!(wrong.parse::<Size>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn lengths_are_spread_from_one_to_the_other() {
        assert_eq!("100".parse(), Ok(Lengths { from: 100, to: 100 }));
        let lengths: Lengths = "50-2000".parse().unwrap();
        let all = lengths.all(10_000);
        let mean = all.iter().map(|len| f64::from(*len)).sum::<f64>() / 10_000.0;
        assert!(all.iter().all(|len| (50..=2000).contains(len)) && (mean - 1025.0).abs() < 20.0, "{mean}");
        assert!("9-5".parse::<Lengths>().is_err());
        for none in ["0", "0-0", "0-9"] {
            assert_eq!(none.parse::<Lengths>(), Err("values have 1 byte or more".to_owned()), "{none}");
        }
    }
}
