//! What the server keeps about keys of databases, beside their values: a map by database and key.

use std::collections::{BTreeMap, HashMap};

/// See the module's page. Most servers use few databases.
pub(crate) struct KeyMap<T>(BTreeMap<usize, HashMap<Box<[u8]>, T>>);

impl<T> Default for KeyMap<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T> KeyMap<T> {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many keys there are.
    pub(crate) fn len(&self) -> usize {
        self.0.values().map(HashMap::len).sum()
    }

    #[inline]
    pub(crate) fn get(&self, db: usize, key: &[u8]) -> Option<&T> {
        self.0.get(&db)?.get(key)
    }

    /// What is kept about a key in each database.
    pub(crate) fn in_each_database(&self, key: &[u8]) -> impl Iterator<Item = &T> {
        self.0.values().filter_map(move |keys| keys.get(key))
    }

    /// The keys of one database.
    pub(crate) fn keys(&self, db: usize) -> impl Iterator<Item = &[u8]> {
        self.0.get(&db).into_iter().flat_map(|keys| keys.keys().map(|key| &**key))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (usize, &[u8], &mut T)> {
        self.0.iter_mut().flat_map(|(db, keys)| keys.iter_mut().map(|(key, value)| (*db, &**key, value)))
    }

    pub(crate) fn entry(&mut self, db: usize, key: &[u8]) -> &mut T
    where
        T: Default,
    {
        self.0.entry(db).or_default().entry(key.into()).or_default()
    }

    /// Changes what is kept about a key; forgets the key if `change` answers that nothing is left.
    pub(crate) fn update<R>(&mut self, db: usize, key: &[u8], change: impl FnOnce(&mut T) -> (bool, R)) -> Option<R> {
        let keys = self.0.get_mut(&db)?;
        let (is_left, result) = change(keys.get_mut(key)?);
        if !is_left {
            keys.remove(key);
            if keys.is_empty() {
                self.0.remove(&db);
            }
        }
        Some(result)
    }
}
