//! Collections that remember what was changed in them, so that only that has to be written down.
//!
//! They are read as the map or list they hold. Every way to change them notes the key or position, and
//! [`Table::take_changes`] gives what was noted since the last time.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// What reading or writing JSON gives.
pub type Written<T> = Result<T, serde_json::Error>;

/// Something a [`Table`] holds.
pub trait Entry: Serialize + DeserializeOwned {
    /// What has to be written for the entry to be brought up to date. Everything, unless a part of it
    /// is a table itself.
    ///
    /// # Errors
    /// When it has no form in JSON.
    fn take_changes(&mut self) -> Written<Value> {
        serde_json::to_value(self)
    }

    /// The entry as [`Entry::take_changes`] described it, given what it was before.
    ///
    /// # Errors
    /// When `changes` is no such description.
    fn apply(_before: Option<Self>, changes: Value) -> Written<Self> {
        serde_json::from_value(changes)
    }
}

/// A map that notes changed keys.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Table<K: Ord, V> {
    map: BTreeMap<K, V>,
    #[serde(skip, default = "BTreeSet::new")]
    changed: BTreeSet<K>,
}

impl<K: Ord, V> Default for Table<K, V> {
    fn default() -> Self {
        Self { map: BTreeMap::new(), changed: BTreeSet::new() }
    }
}

impl<K: Ord, V> Deref for Table<K, V> {
    type Target = BTreeMap<K, V>;
    fn deref(&self) -> &BTreeMap<K, V> {
        &self.map
    }
}

impl<'t, K: Ord, V> IntoIterator for &'t Table<K, V> {
    type Item = (&'t K, &'t V);
    type IntoIter = std::collections::btree_map::Iter<'t, K, V>;
    fn into_iter(self) -> Self::IntoIter {
        self.map.iter()
    }
}

impl<K: Ord + Clone, V> FromIterator<(K, V)> for Table<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut table = Self::default();
        entries.into_iter().for_each(|(key, value)| drop(table.insert(key, value)));
        table
    }
}

impl<K: Ord + Clone, V> Table<K, V> {
    /// Puts an entry in and returns the one that was there.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.changed.insert(key.clone());
        self.map.insert(key, value)
    }

    /// Takes an entry out.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let (key, value) = self.map.remove_entry(key)?;
        self.changed.insert(key);
        Some(value)
    }

    /// An entry, to be changed.
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let (key, _) = self.map.get_key_value(key)?;
        let key = key.clone();
        self.changed.insert(key.clone());
        self.map.get_mut(key.borrow())
    }

    /// Takes out whatever does not fit.
    pub fn retain(&mut self, fits: impl Fn(&V) -> bool) {
        let gone: Vec<K> = self.map.iter().filter(|(_, v)| !fits(v)).map(|(k, _)| k.clone()).collect();
        gone.iter().for_each(|key| drop(self.remove(key)));
    }
}

impl<K: Ord + Clone + Serialize + DeserializeOwned, V: Entry> Table<K, V> {
    /// The entries changed since the last time, with null for those that are gone; nothing when there
    /// are none.
    ///
    /// # Errors
    /// When an entry has no form in JSON.
    pub fn take_changes(&mut self) -> Written<Option<Value>> {
        if self.changed.is_empty() {
            return Ok(None);
        }
        let mut changes = BTreeMap::new();
        for key in std::mem::take(&mut self.changed) {
            let value = self.map.get_mut(&key).map(Entry::take_changes).transpose()?;
            changes.insert(key, value);
        }
        serde_json::to_value(changes).map(Some)
    }

    /// Brings the table up to date with what [`Table::take_changes`] gave.
    ///
    /// # Errors
    /// When `changes` is no such description.
    pub fn apply(&mut self, changes: Value) -> Written<()> {
        for (key, value) in serde_json::from_value::<BTreeMap<K, Value>>(changes)? {
            let before = self.map.remove(&key);
            if !value.is_null() {
                self.map.insert(key, V::apply(before, value)?);
            }
        }
        Ok(())
    }
}

/// A list that mostly grows at its end.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Log<T> {
    list: Vec<T>,
    /// Entries from the start that are written down.
    #[serde(skip)]
    written: usize,
    /// Whether some of those were taken out again.
    #[serde(skip)]
    shortened: bool,
}

impl<T> Default for Log<T> {
    fn default() -> Self {
        Self { list: Vec::new(), written: 0, shortened: false }
    }
}

impl<T> Deref for Log<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.list
    }
}

impl<T: Serialize + DeserializeOwned> Log<T> {
    /// Adds an entry at the end.
    pub fn push(&mut self, entry: T) {
        self.list.push(entry);
    }

    /// Takes the first entries out.
    pub fn drop_first(&mut self, count: usize) {
        self.list.drain(..count.min(self.list.len()));
        (self.written, self.shortened) = (0, true);
    }

    /// Takes out whatever does not fit.
    pub fn retain(&mut self, fits: impl Fn(&T) -> bool) {
        self.list.retain(fits);
        (self.written, self.shortened) = (0, true);
    }

    /// The entries added since the last time, and after how many they come; nothing when there are none.
    ///
    /// # Errors
    /// When an entry has no form in JSON.
    pub fn take_changes(&mut self) -> Written<Option<Value>> {
        let from = std::mem::replace(&mut self.written, self.list.len());
        if !std::mem::take(&mut self.shortened) && from == self.list.len() {
            return Ok(None);
        }
        Ok(Some(json!({"after": from, "added": serde_json::to_value(&self.list[from..])?})))
    }

    /// Brings the list up to date with what [`Log::take_changes`] gave.
    ///
    /// # Errors
    /// When `changes` is no such description.
    pub fn apply(&mut self, mut changes: Value) -> Written<()> {
        let after = changes["after"].as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
        let added: Vec<T> = serde_json::from_value(changes["added"].take())?;
        self.list.truncate(after);
        self.list.extend(added);
        self.written = self.list.len();
        Ok(())
    }

    /// Notes that everything is written down.
    pub fn settle(&mut self) {
        (self.written, self.shortened) = (self.list.len(), false);
    }
}

impl<K: Ord, V> Table<K, V> {
    /// Notes that everything is written down.
    pub fn settle(&mut self) {
        self.changed.clear();
    }
}

/// Describes an entry whose field `name` is a table: the entry without the table, and the table's changes.
///
/// # Errors
/// When it has no form in JSON.
pub fn split<T: Serialize, K, V>(
    entry: &mut T,
    name: &str,
    table: fn(&mut T) -> &mut Table<K, V>,
) -> Written<Value>
where
    K: Ord + Clone + Serialize + DeserializeOwned,
    V: Entry,
{
    let changes = table(entry).take_changes()?.unwrap_or_else(|| json!({}));
    let inside = std::mem::take(table(entry));
    let outside = serde_json::to_value(&*entry);
    *table(entry) = inside;
    let mut outside = outside?;
    outside[name] = Value::Object(Map::new());
    Ok(json!({"entry": outside, "changes": changes}))
}

/// The opposite of [`split`].
///
/// # Errors
/// When `changes` is no such description.
pub fn join<T: DeserializeOwned, K, V>(
    before: Option<T>,
    mut changes: Value,
    table: fn(&mut T) -> &mut Table<K, V>,
) -> Written<T>
where
    K: Ord + Clone + Serialize + DeserializeOwned,
    V: Entry,
{
    let mut entry: T = serde_json::from_value(changes["entry"].take())?;
    if let Some(mut before) = before {
        *table(&mut entry) = std::mem::take(table(&mut before));
    }
    table(&mut entry).apply(changes["changes"].take())?;
    Ok(entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Entry for u32 {}

    #[derive(Clone, Debug, Default, Serialize, Deserialize)]
    struct Shelf {
        name: String,
        books: Table<String, u32>,
    }

    impl Entry for Shelf {
        fn take_changes(&mut self) -> Written<Value> {
            split(self, "books", |s| &mut s.books)
        }
        fn apply(before: Option<Self>, changes: Value) -> Written<Self> {
            join(before, changes, |s| &mut s.books)
        }
    }

    #[test]
    fn changes_bring_a_copy_up_to_date_and_hold_nothing_else() {
        let mut now: Table<u32, Shelf> = Table::default();
        now.insert(1, Shelf { name: "one".into(), ..Shelf::default() });
        now.insert(2, Shelf::default());
        now.get_mut(&1).unwrap().books.insert("a".into(), 1);
        now.get_mut(&1).unwrap().books.insert("b".into(), 2);
        let mut copy: Table<u32, Shelf> = Table::default();
        copy.apply(now.take_changes().unwrap().unwrap()).unwrap();
        assert!(now.take_changes().unwrap().is_none());
        let shelf = now.get_mut(&1).unwrap();
        shelf.books.remove("a");
        shelf.books.insert("c".into(), 3);
        now.remove(&2);
        let changes = now.take_changes().unwrap().unwrap();
        assert!(!changes.to_string().contains("\"b\""), "{changes}");
        copy.apply(changes).unwrap();
        assert_eq!(serde_json::to_value(&copy).unwrap(), serde_json::to_value(&now).unwrap());
        assert_eq!(copy[&1].books.keys().collect::<Vec<_>>(), ["b", "c"]);
    }

    #[test]
    fn a_log_gives_what_was_added_and_anew_after_a_removal() {
        let mut now: Log<u32> = Log::default();
        let mut copy: Log<u32> = Log::default();
        assert!(now.take_changes().unwrap().is_none());
        for round in 0..3 {
            now.push(round);
            now.push(round + 10);
            if round == 2 {
                now.retain(|n| n % 10 == 1);
            }
            let changes = now.take_changes().unwrap().unwrap();
            // Twice is as good as once.
            copy.apply(changes.clone()).unwrap();
            copy.apply(changes).unwrap();
            assert_eq!(*copy, *now);
        }
        now.retain(|_| false);
        copy.apply(now.take_changes().unwrap().unwrap()).unwrap();
        assert!(copy.is_empty() && now.take_changes().unwrap().is_none());
    }
}
