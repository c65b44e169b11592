//! Traces of requests: read from files in many formats ([`format`]), compressed or not ([`compressed`]), or made ([`synthetic`]). [`title`]
//! says what they are called.

pub mod binary;
pub mod compressed;
pub mod format;
pub mod monitor;
pub mod names;
pub mod synthetic;
pub mod text;
pub mod title;

use std::collections::HashMap;
use std::fmt;
use std::hash::Hasher;
use std::io;
use std::sync::Arc;

use siphasher::sip128::{Hasher128, SipHasher13};

pub use format::{Column, Reading, read};
pub use names::Names;
pub use title::titles;

/// A trace, its keys numbered from 0 in order of appearance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// What it is called; see [`title`].
    pub name: String,
    /// The key of each request.
    pub requests: Vec<u32>,
    /// Different keys.
    pub keys: usize,
    /// Per key, the bytes of its object as of the first request that tells them, if the trace tells sizes.
    pub sizes: Option<Arc<[u32]>>,
    /// Per key, what the trace calls it, if that is text and was asked for ([`Reading::own_keys`]).
    pub names: Option<Names>,
}

impl Trace {
    /// The same with the sizes of all keys given.
    #[must_use]
    pub fn with_sizes(self, sizes: &[u32]) -> Self {
        debug_assert_eq!(sizes.len(), self.keys);
        Self { sizes: Some(sizes.into()), ..self }
    }
}

/// A size that is not known yet.
const UNKNOWN: u32 = u32::MAX;

/// A trace in the making.
#[derive(Debug, Default)]
pub struct Builder {
    numbers: HashMap<u128, u32>,
    requests: Vec<u32>,
    sizes: Vec<u32>,
    sized: bool,
    /// Sizes of keys for which there was no request yet.
    told: HashMap<u128, u32>,
    /// Requests that are none because they are no reads, where only these count.
    left_out: u64,
    /// What the keys so far are called, where that is kept.
    names: Option<Names>,
    /// What of the file was taken, where its format leaves that open.
    taken: Option<String>,
}

fn id(key: &[u8]) -> u128 {
    let mut hasher = SipHasher13::new();
    hasher.write(key);
    hasher.finish128().as_u128()
}

impl Builder {
    /// Requests that a trace may have.
    const MOST: usize = u32::MAX as usize - 1;

    /// One that keeps what keys are called, if they are text.
    pub fn with_names() -> Self {
        Self { names: Some(Names::default()), ..Self::default() }
    }

    /// Adds a request for the key of a number.
    ///
    /// # Errors
    /// The trace is too long.
    pub fn push_number(&mut self, key: u64, size: Option<u32>) -> Result<(), Problem> {
        self.push(u128::from(key), size).map(|_| ())
    }

    /// Adds a request for a key.
    ///
    /// # Errors
    /// The trace is too long.
    pub fn push_bytes(&mut self, key: &[u8], size: Option<u32>) -> Result<(), Problem> {
        let id = id(key);
        let size = size.or_else(|| self.told.get(&id).copied());
        let is_new = self.push(id, size)?;
        if let Some(names) = self.names.as_mut().filter(|_| is_new) {
            names.push(key);
        }
        Ok(())
    }

    /// Tells the size of a key, without a request for it.
    pub fn tell_size(&mut self, key: &[u8], size: u32) {
        let id = id(key);
        match self.numbers.get(&id) {
            Some(key) => self.set_size(*key, size),
            None => {
                self.told.entry(id).or_insert(size);
            }
        }
    }

    fn set_size(&mut self, key: u32, size: u32) {
        // The first that is known holds.
        if self.sizes[key as usize] == UNKNOWN {
            self.sizes[key as usize] = size.min(UNKNOWN - 1);
        }
        self.sized = true;
    }

    /// Whether the key is new.
    fn push(&mut self, id: u128, size: Option<u32>) -> Result<bool, Problem> {
        if self.requests.len() >= Self::MOST {
            return Err(Problem::new(format!("more than {} requests", Self::MOST)));
        }
        let next = self.numbers.len() as u32;
        let key = *self.numbers.entry(id).or_insert(next);
        let is_new = key == next;
        if is_new {
            self.sizes.push(UNKNOWN);
        }
        if let Some(size) = size {
            self.set_size(key, size);
        }
        self.requests.push(key);
        Ok(is_new)
    }

    /// The sizes; of a key whose size nothing tells, the average of the others.
    fn known_sizes(&self) -> Vec<u32> {
        let known = || self.sizes.iter().filter(|size| **size != UNKNOWN);
        let average = known().map(|size| u64::from(*size)).sum::<u64>() / known().count().max(1) as u64;
        self.sizes.iter().map(|size| if *size == UNKNOWN { average.max(1) as u32 } else { *size }).collect()
    }

    /// Counts requests that are left out because they are no reads.
    pub fn leave_out(&mut self, count: usize) {
        self.left_out += count as u64;
    }

    /// What the trace will tell of sizes.
    fn sizes_told(&self) -> &'static str {
        match self {
            Self { sized: true, .. } => ", with sizes",
            Self { told, .. } if told.is_empty() => ", without sizes",
            _ => ", with sizes only of keys that no request asks for",
        }
    }

    /// Notes what of the file is taken.
    pub fn note_taken(&mut self, what: String) {
        self.taken = Some(what);
    }

    /// Requests so far.
    pub fn len(&self) -> usize {
        self.requests.len()
    }

    /// Whether there is none yet.
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// The trace.
    pub fn build(self, name: &str) -> Trace {
        let sizes = self.sized.then(|| self.known_sizes().into());
        let keys = self.numbers.len();
        // Those of numbers have none.
        let names = self.names.filter(|names| names.len() == keys);
        Trace { name: name.to_owned(), requests: self.requests, keys, sizes, names }
    }
}

/// Where in a file something is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In all of it, or it is not known where.
    Whole,
    /// In a line, the first one being 1.
    Line(u64),
    /// At a byte of the uncompressed file.
    Byte(u64),
}

/// Why a trace cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// What is wrong.
    pub what: String,
}

impl Problem {
    /// One of the whole file.
    pub fn new(what: impl Into<String>) -> Self {
        Self { place: Place::Whole, what: what.into() }
    }

    /// The same, known to be there.
    #[must_use]
    pub fn at(self, place: Place) -> Self {
        Self { place, ..self }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Place::Whole => f.write_str(&self.what),
            Place::Line(line) => write!(f, "line {line}: {}", self.what),
            Place::Byte(byte) => write!(f, "byte {byte}: {}", self.what),
        }
    }
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        Self::new(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_numbered_in_order_of_appearance() {
        let mut builder = Builder::default();
        for key in [90, 7, 90, u64::MAX] {
            builder.push_number(key, None).unwrap();
        }
        let trace = builder.build("t");
        assert_eq!((trace.requests, trace.keys, trace.sizes), (vec![0, 1, 0, 2], 3, None));
    }

    #[test]
    fn the_first_size_of_a_key_holds() {
        let mut builder = Builder::default();
        for (key, size) in [("a", Some(5)), ("b", None), ("a", Some(9)), ("b", Some(7)), ("c", None)] {
            builder.push_bytes(key.as_bytes(), size).unwrap();
        }
        assert_eq!(builder.build("t").sizes.as_deref(), Some(&[5, 7, 6][..]), "where none is known, the average");
    }

    #[test]
    fn sizes_that_no_request_asks_for_are_none_of_the_trace() {
        let mut builder = Builder::default();
        builder.tell_size(b"a", 5);
        builder.push_bytes(b"b", None).unwrap();
        assert_eq!(builder.sizes_told(), ", with sizes only of keys that no request asks for");
        builder.push_bytes(b"a", None).unwrap();
        assert_eq!((builder.sizes_told(), builder.build("t").sizes.as_deref()), (", with sizes", Some(&[5, 5][..])));
    }

    #[test]
    fn names_are_kept_on_demand_and_where_keys_are_text() {
        let mut builder = Builder::with_names();
        for key in ["user:1", "", "user:1", "b"] {
            builder.push_bytes(key.as_bytes(), None).unwrap();
        }
        let names = builder.build("t").names.unwrap();
        assert_eq!([0, 1, 2].map(|key| names.of(key)), [&b"user:1"[..], b"", b"b"]);
        let mut builder = Builder::with_names();
        builder.push_number(7, None).unwrap();
        assert_eq!(builder.build("t").names, None);
        let mut builder = Builder::default();
        builder.push_bytes(b"a", None).unwrap();
        assert_eq!(builder.build("t").names, None);
    }

    #[test]
    fn problems_say_where_they_are() {
        let problem = Problem::new("not a number");
        assert_eq!(problem.clone().at(Place::Line(3)).to_string(), "line 3: not a number");
        assert_eq!(problem.clone().at(Place::Byte(16)).to_string(), "byte 16: not a number");
        assert_eq!(problem.to_string(), "not a number");
    }
}
