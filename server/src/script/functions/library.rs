//! Libraries and their functions, and the set of them that an engine has.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::error::{self, Error};

/// Bytes of the code of all libraries.
const MOST_BYTES: usize = 128 << 20;

/// The function does not write.
pub(crate) const NO_WRITES: u8 = 1;
/// It may run while memory is short.
pub(crate) const ALLOW_OOM: u8 = 1 << 1;
/// It may run on a replica whose data is stale.
const ALLOW_STALE: u8 = 1 << 2;
/// It does not run in a cluster.
const NO_CLUSTER: u8 = 1 << 3;
/// It may use keys of several slots.
const ALLOW_CROSS_SLOT_KEYS: u8 = 1 << 4;

/// The names of flags, in Redis's order. What concerns replicas and clusters has no effect.
pub(crate) const FLAGS: &[(&str, u8)] = &[
    ("no-writes", NO_WRITES),
    ("allow-oom", ALLOW_OOM),
    ("allow-stale", ALLOW_STALE),
    ("no-cluster", NO_CLUSTER),
    ("allow-cross-slot-keys", ALLOW_CROSS_SLOT_KEYS),
];

/// A function as others see it.
pub(crate) struct Function {
    pub(crate) name: Vec<u8>,
    pub(crate) description: Option<Vec<u8>>,
    pub(crate) flags: u8,
}

/// A library.
pub(crate) struct Library {
    /// No other library of the engine has or had it.
    pub(super) id: u64,
    pub(crate) name: Vec<u8>,
    /// With its first line.
    pub(crate) code: Vec<u8>,
    /// In the order in which they were registered.
    pub(crate) functions: Vec<Function>,
}

impl Library {
    fn bytes(&self) -> usize {
        let of_function =
            |function: &Function| function.name.len() + function.description.as_ref().map_or(0, |text| text.len());
        self.name.len() + self.code.len() + self.functions.iter().map(of_function).sum::<usize>()
    }
}

/// Libraries by their names, and functions by theirs.
#[derive(Default)]
pub(crate) struct Libraries {
    libraries: BTreeMap<Vec<u8>, Arc<Library>>,
    /// By their names in small letters: these say as much as large ones, but within a library.
    functions: HashMap<Vec<u8>, (Arc<Library>, usize)>,
    bytes: usize,
    last_id: u64,
}

impl Libraries {
    /// A number for a library.
    pub(super) fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// The library that has a function, and the function's place in it.
    pub(crate) fn function(&self, name: &[u8]) -> Option<(Arc<Library>, usize)> {
        self.functions.get(&name.to_ascii_lowercase()).cloned()
    }

    /// The flags of a function.
    pub(crate) fn flags_of(&self, name: &[u8]) -> Option<u8> {
        self.functions.get(&name.to_ascii_lowercase()).map(|(library, place)| library.functions[*place].flags)
    }

    /// All libraries, by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Library>> {
        self.libraries.values()
    }

    pub(super) fn has(&self, name: &[u8]) -> bool {
        self.libraries.contains_key(name)
    }

    pub(in crate::script) fn has_id(&self, id: u64) -> bool {
        self.iter().any(|library| library.id == id)
    }

    /// How many libraries and functions there are, and the bytes of their code and names.
    pub(crate) fn figures(&self) -> (usize, usize, usize) {
        (self.libraries.len(), self.functions.len(), self.bytes)
    }

    /// Adds libraries: all of them, or none. Those of the same names go, if they may; of other libraries no function may
    /// have the same name.
    pub(super) fn add(&mut self, added: Vec<Arc<Library>>, replace: bool) -> Result<(), Error> {
        let is_replaced = |library: &Library| added.iter().any(|added| added.name == library.name);
        if !replace && let Some(library) = self.iter().find(|library| is_replaced(library)) {
            return Err(error::library_exists(&library.name));
        }
        for function in added.iter().flat_map(|library| &library.functions) {
            if self.functions.get(&function.name.to_ascii_lowercase()).is_some_and(|(library, _)| !is_replaced(library))
            {
                return Err(error::function_exists(&function.name));
            }
        }
        let freed: usize = self.iter().filter(|library| is_replaced(library)).map(|library| library.bytes()).sum();
        if self.bytes - freed + added.iter().map(|library| library.bytes()).sum::<usize>() > MOST_BYTES {
            return Err(error::LIBRARIES_TOO_LARGE);
        }
        for library in added {
            self.remove(&library.name);
            self.bytes += library.bytes();
            for (place, function) in library.functions.iter().enumerate() {
                self.functions.entry(function.name.to_ascii_lowercase()).or_insert((library.clone(), place));
            }
            self.libraries.insert(library.name.clone(), library);
        }
        Ok(())
    }

    /// Removes a library; whether there was one.
    pub(crate) fn remove(&mut self, name: &[u8]) -> bool {
        let Some(library) = self.libraries.remove(name) else { return false };
        library.functions.iter().for_each(|function| drop(self.functions.remove(&function.name.to_ascii_lowercase())));
        self.bytes -= library.bytes();
        true
    }

    /// Removes all.
    pub(crate) fn clear(&mut self) {
        *self = Self { last_id: self.last_id, ..Self::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn library(name: &str, functions: &[&str], bytes: usize) -> Arc<Library> {
        let function = |name: &&str| Function { name: name.as_bytes().to_vec(), description: None, flags: 0 };
        let functions = functions.iter().map(function).collect();
        Arc::new(Library { id: 0, name: name.as_bytes().to_vec(), code: vec![b' '; bytes], functions })
    }

    #[test]
    fn all_are_added_or_none() {
        let mut all = Libraries::default();
        all.add(vec![library("a", &["f", "g"], 10), library("b", &["h"], 10)], false).unwrap();
        assert_eq!(all.figures(), (2, 3, 25));
        for (added, replace) in [
            (vec![library("c", &["i"], 1), library("a", &["f"], 1)], false),
            (vec![library("c", &["i"], 1), library("d", &["h"], 1)], true),
            (vec![library("a", &["h"], 1)], true),
            (vec![library("c", &["i"], MOST_BYTES)], false),
        ] {
            assert!(all.add(added, replace).is_err());
            assert_eq!(all.figures(), (2, 3, 25));
        }
        all.add(vec![library("a", &["g", "i"], 20)], true).unwrap();
        assert!(all.function(b"f").is_none() && all.function(b"i").is_some_and(|(_, place)| place == 1));
        assert!(all.remove(b"b") && !all.remove(b"b"));
        assert_eq!(all.figures(), (1, 2, 23));
        all.add(vec![library("c", &["X", "x"], 0)], false).unwrap();
        assert!(
            all.function(b"X").is_some_and(|(_, place)| place == 0)
                && all.add(vec![library("d", &["x"], 0)], false).is_err()
        );
        all.clear();
        assert_eq!(all.figures(), (0, 0, 0));
    }
}
