//! A table of a scenario file, read key by key: what is left over is an unknown key, and said so.

use std::collections::BTreeMap;

use serde_json::Value;

/// What is wrong with a file, in words that say where and what to do.
pub type Read<T> = Result<T, String>;

/// A table, and where in the file it is.
pub struct Table {
    place: String,
    map: toml::Table,
    known: Vec<&'static str>,
}

impl Table {
    pub fn whole(map: toml::Table) -> Self {
        Self { place: String::new(), map, known: Vec::new() }
    }

    fn of(place: String, value: toml::Value) -> Read<Self> {
        match value {
            toml::Value::Table(map) => Ok(Self { place, map, known: Vec::new() }),
            other => Err(format!("{place} has to be a table, and is a {}", other.type_str())),
        }
    }

    fn at(&self, key: &str) -> String {
        if self.place.is_empty() { key.to_owned() } else { format!("{}.{key}", self.place) }
    }

    fn wrong(&self, key: &str, wanted: &str, found: &toml::Value) -> String {
        format!("{} has to be {wanted}, and is a {}", self.at(key), found.type_str())
    }

    pub fn has(&self, key: &str) -> bool {
        self.map.contains_key(key)
    }

    /// The value at `key`, of whatever type.
    pub fn value(&mut self, key: &'static str) -> Option<toml::Value> {
        self.known.push(key);
        self.map.remove(key)
    }

    pub fn text(&mut self, key: &'static str) -> Read<Option<String>> {
        match self.value(key) {
            None => Ok(None),
            Some(toml::Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.wrong(key, "a text", &other)),
        }
    }

    /// The first of these that is there: names by which others call the same.
    pub fn first(&mut self, keys: &[&'static str]) -> Read<Option<String>> {
        let mut found = None;
        for &key in keys {
            let text = self.text(key)?;
            found = found.or(text);
        }
        Ok(found)
    }

    /// The same, where one of them has to be there.
    pub fn first_of(&mut self, keys: &[&'static str]) -> Read<String> {
        let missing = format!("{} is missing", self.at(keys[0]));
        self.first(keys)?.ok_or(missing)
    }

    pub fn needed(&mut self, key: &'static str) -> Read<String> {
        self.text(key)?.ok_or_else(|| format!("{} is missing", self.at(key)))
    }

    /// A whole number; also one that is written as a text, such as what a variant puts in.
    pub fn number(&mut self, key: &'static str) -> Read<Option<u64>> {
        match self.value(key) {
            None => Ok(None),
            Some(toml::Value::Integer(n)) if n >= 0 => Ok(Some(n.unsigned_abs())),
            Some(toml::Value::String(text)) if text.trim().parse::<u64>().is_ok() => {
                Ok(text.trim().parse().ok())
            }
            Some(other) => Err(self.wrong(key, "a number from 0", &other)),
        }
    }

    pub fn signed(&mut self, key: &'static str) -> Read<Option<i64>> {
        match self.value(key) {
            None => Ok(None),
            Some(toml::Value::Integer(n)) => Ok(Some(n)),
            Some(other) => Err(self.wrong(key, "a number", &other)),
        }
    }

    pub fn flag(&mut self, key: &'static str) -> Read<Option<bool>> {
        match self.value(key) {
            None => Ok(None),
            Some(toml::Value::Boolean(flag)) => Ok(Some(flag)),
            Some(other) => Err(self.wrong(key, "true or false", &other)),
        }
    }

    /// One text or a list of texts.
    pub fn texts(&mut self, key: &'static str) -> Read<Vec<String>> {
        match self.value(key) {
            None => Ok(Vec::new()),
            Some(toml::Value::String(text)) => Ok(vec![text]),
            Some(toml::Value::Array(items)) => {
                let text = |item: toml::Value| match item {
                    toml::Value::String(text) => Ok(text),
                    other => Err(self.wrong(key, "a list of texts", &other)),
                };
                items.into_iter().map(text).collect()
            }
            Some(other) => Err(self.wrong(key, "a list of texts", &other)),
        }
    }

    /// One table or a list of tables.
    pub fn tables(&mut self, key: &'static str) -> Read<Vec<Table>> {
        let items = match self.value(key) {
            None => Vec::new(),
            Some(toml::Value::Array(items)) => items,
            Some(one) => vec![one],
        };
        let place = |n: usize| format!("{}[{}]", self.at(key), n + 1);
        items.into_iter().enumerate().map(|(n, item)| Table::of(place(n), item)).collect()
    }

    pub fn table(&mut self, key: &'static str) -> Read<Option<Table>> {
        self.value(key).map(|value| Table::of(self.at(key), value)).transpose()
    }

    /// A table of texts under any names.
    pub fn pairs(&mut self, key: &'static str) -> Read<BTreeMap<String, String>> {
        let Some(table) = self.table(key)? else { return Ok(BTreeMap::new()) };
        table.into_pairs()
    }

    pub fn into_pairs(self) -> Read<BTreeMap<String, String>> {
        let place = self.place;
        let pair = |(name, value): (String, toml::Value)| match value {
            toml::Value::String(text) => Ok((name, text)),
            toml::Value::Integer(number) => Ok((name, number.to_string())),
            other => Err(format!("{place}.{name} has to be a text, and is a {}", other.type_str())),
        };
        self.map.into_iter().map(pair).collect()
    }

    /// Any value as JSON.
    pub fn json(&mut self, key: &'static str) -> Option<Value> {
        self.value(key).map(json)
    }

    /// Refuses keys that nobody has asked for.
    pub fn done(self) -> Read<()> {
        match self.map.keys().next() {
            None => Ok(()),
            Some(key) => {
                let place = if self.place.is_empty() { "the file".to_owned() } else { self.place };
                Err(format!("{place} has the unknown key '{key}'; known here are: {}", self.known.join(", ")))
            }
        }
    }

    pub fn place(&self) -> &str {
        &self.place
    }
}

/// TOML as JSON; dates as texts.
pub fn json(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => Value::String(text),
        toml::Value::Integer(n) => n.into(),
        toml::Value::Float(n) => n.into(),
        toml::Value::Boolean(flag) => flag.into(),
        toml::Value::Datetime(at) => Value::String(at.to_string()),
        toml::Value::Array(items) => items.into_iter().map(json).collect(),
        toml::Value::Table(map) => Value::Object(map.into_iter().map(|(k, v)| (k, json(v))).collect()),
    }
}

/// Puts values in for `{{name}}` in every text of a file, then what is repeated.
pub fn substitute(value: &mut toml::Value, pairs: &BTreeMap<String, String>) {
    match value {
        toml::Value::String(text) => {
            // Twice: what is put in may name another.
            for (name, put) in pairs.iter().chain(pairs) {
                *text = text.replace(&format!("{{{{{name}}}}}"), put);
            }
            *text = repeated(text);
        }
        toml::Value::Array(items) => items.iter_mut().for_each(|item| substitute(item, pairs)),
        toml::Value::Table(map) => map.iter_mut().for_each(|(_, item)| substitute(item, pairs)),
        _ => {}
    }
}

/// `{{repeat 3 ab}}` is `ababab`; the count ends at the first space.
fn repeated(text: &str) -> String {
    const MARK: &str = "{{repeat ";
    let Some((before, rest)) = text.split_once(MARK) else { return text.to_owned() };
    let parts = rest.split_once("}}").and_then(|(inside, after)| Some((inside.split_once(' ')?, after)));
    match parts.and_then(|((count, part), after)| Some((count.parse::<usize>().ok()?, part, after))) {
        Some((count, part, after)) => format!("{before}{}{}", part.repeat(count), repeated(after)),
        None => format!("{before}{MARK}{}", repeated(rest)),
    }
}
