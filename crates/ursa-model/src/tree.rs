//! What was written, with places: the tree between the text and the types.
//!
//! Every value and every key knows the line and the column where it stands, so that whatever is found wrong later can be shown where it is.
//! Reading text into a tree is the business of [`crate::yaml`].

use serde::Serialize;

use crate::path::{Path, Segment};

/// A position in a text, counted in characters from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Place {
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1.
    pub column: u32,
}

impl Place {
    /// The first character of a text.
    pub const START: Self = Self { line: 1, column: 1 };
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// A value and where it begins.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Where the value begins.
    pub place: Place,
    /// The value.
    pub value: Value,
}

/// A value as YAML and JSON know it.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `null`, `~`, or nothing at all.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// An integer or a finite float.
    Number(serde_json::Number),
    /// Text.
    String(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping.
    Map(Map),
}

impl Value {
    /// What to call this in a message: `a string`, `a list` …
    pub fn describe(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "true or false",
            Self::Number(number) if number.is_f64() => "a decimal number",
            Self::Number(_) => "a number",
            Self::String(_) => "a string",
            Self::List(_) => "a list",
            Self::Map(_) => "an object",
        }
    }
}

/// A mapping in the order it was written; keys are unique.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Map {
    entries: Vec<Entry>,
}

/// One key and its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key begins.
    pub key_place: Place,
    /// The value.
    pub node: Node,
}

impl Map {
    /// A mapping without entries.
    pub fn new() -> Self {
        Self::default()
    }

    /// The value of `key`.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.node)
    }

    /// The value of `key`, to change it.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        self.entries.iter_mut().find(|entry| entry.key == key).map(|entry| &mut entry.node)
    }

    /// The entry of `key`.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    /// Whether `key` is there.
    pub fn contains(&self, key: &str) -> bool {
        self.entry(key).is_some()
    }

    /// Adds an entry at the end, or replaces the value that `key` has; the former value is returned.
    pub fn insert(&mut self, key: impl Into<String>, key_place: Place, node: Node) -> Option<Node> {
        let key = key.into();
        if let Some(held) = self.get_mut(&key) {
            return Some(std::mem::replace(held, node));
        }
        self.entries.push(Entry { key, key_place, node });
        None
    }

    /// Adds an entry whose key is known to be new.
    pub(crate) fn push(&mut self, key: String, key_place: Place, node: Node) {
        self.entries.push(Entry { key, key_place, node });
    }

    /// Takes an entry out; the order of the others stays.
    pub fn remove(&mut self, key: &str) -> Option<Entry> {
        let index = self.entries.iter().position(|entry| entry.key == key)?;
        Some(self.entries.remove(index))
    }

    /// Keeps the entries for which `keep` holds.
    pub fn retain(&mut self, keep: impl FnMut(&Entry) -> bool) {
        self.entries.retain(keep);
    }

    /// The entries in the order they were written.
    pub fn iter(&self) -> std::slice::Iter<'_, Entry> {
        self.entries.iter()
    }

    /// The entries in the order they were written, to change them. Keys must stay unique.
    pub fn iter_mut(&mut self) -> std::slice::IterMut<'_, Entry> {
        self.entries.iter_mut()
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl<'a> IntoIterator for &'a Map {
    type Item = &'a Entry;
    type IntoIter = std::slice::Iter<'a, Entry>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<'a> IntoIterator for &'a mut Map {
    type Item = &'a mut Entry;
    type IntoIter = std::slice::IterMut<'a, Entry>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter_mut()
    }
}

impl Node {
    /// A value at a place.
    pub fn new(place: Place, value: Value) -> Self {
        Self { place, value }
    }

    /// An empty mapping.
    pub fn empty_map(place: Place) -> Self {
        Self::new(place, Value::Map(Map::new()))
    }

    /// The value of `key`, if this is a mapping that has it.
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.as_map()?.get(key)
    }

    /// The value of `key`, to change it.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Self> {
        self.as_map_mut()?.get_mut(key)
    }

    /// The value that `path` leads to from here; the empty path leads to this node.
    pub fn at(&self, path: &Path) -> Option<&Self> {
        path.segments().iter().try_fold(self, |node, segment| match segment {
            Segment::Key(key) => node.get(key),
            Segment::Index(index) => node.as_list()?.get(*index),
        })
    }

    /// The value that `path` leads to from here, to change it.
    pub fn at_mut(&mut self, path: &Path) -> Option<&mut Self> {
        path.segments().iter().try_fold(self, |node, segment| match segment {
            Segment::Key(key) => node.get_mut(key),
            Segment::Index(index) => node.as_list_mut()?.get_mut(*index),
        })
    }

    /// Where the thing at `path` is shown: its key if it is an entry, else its value; of a missing path, the nearest ancestor that exists.
    pub fn place_of(&self, path: &Path) -> Place {
        let mut node = self;
        let mut place = self.place;
        for segment in path.segments() {
            let step = match segment {
                Segment::Key(key) => node
                    .as_map()
                    .and_then(|map| map.entry(key))
                    .map(|entry| (&entry.node, entry.key_place)),
                Segment::Index(index) => {
                    node.as_list().and_then(|list| list.get(*index)).map(|item| (item, item.place))
                }
            };
            let Some((next, at)) = step else { break };
            (node, place) = (next, at);
        }
        place
    }

    /// Whether this is `null`.
    pub fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    /// The text, if this is a string.
    pub fn as_str(&self) -> Option<&str> {
        match &self.value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// The truth, if this is a boolean.
    pub fn as_bool(&self) -> Option<bool> {
        match self.value {
            Value::Bool(truth) => Some(truth),
            _ => None,
        }
    }

    /// The number, if this is one.
    pub fn as_number(&self) -> Option<&serde_json::Number> {
        match &self.value {
            Value::Number(number) => Some(number),
            _ => None,
        }
    }

    /// The items, if this is a list.
    pub fn as_list(&self) -> Option<&[Self]> {
        match &self.value {
            Value::List(items) => Some(items),
            _ => None,
        }
    }

    /// The items, to change them.
    pub fn as_list_mut(&mut self) -> Option<&mut Vec<Self>> {
        match &mut self.value {
            Value::List(items) => Some(items),
            _ => None,
        }
    }

    /// The entries, if this is a mapping.
    pub fn as_map(&self) -> Option<&Map> {
        match &self.value {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    /// The entries, to change them.
    pub fn as_map_mut(&mut self) -> Option<&mut Map> {
        match &mut self.value {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    /// The same value without places.
    pub fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(truth) => (*truth).into(),
            Value::Number(number) => number.clone().into(),
            Value::String(text) => text.as_str().into(),
            Value::List(items) => items.iter().map(Self::to_json).collect(),
            Value::Map(map) => {
                map.iter().map(|entry| (entry.key.clone(), entry.node.to_json())).collect()
            }
        }
    }

    /// A tree from a value that was never text; every place is 1:1.
    pub fn from_json(json: &serde_json::Value) -> Self {
        let value = match json {
            serde_json::Value::Null => Value::Null,
            serde_json::Value::Bool(truth) => Value::Bool(*truth),
            serde_json::Value::Number(number) => Value::Number(number.clone()),
            serde_json::Value::String(text) => Value::String(text.clone()),
            serde_json::Value::Array(items) => {
                Value::List(items.iter().map(Self::from_json).collect())
            }
            serde_json::Value::Object(object) => Value::Map(Map {
                entries: object
                    .iter()
                    .map(|(key, value)| Entry {
                        key: key.clone(),
                        key_place: Place::START,
                        node: Self::from_json(value),
                    })
                    .collect(),
            }),
        };
        Self::new(Place::START, value)
    }

    /// Moves every place down by `by` lines.
    pub fn shift_lines(&mut self, by: u32) {
        self.place.line = self.place.line.saturating_add(by);
        match &mut self.value {
            Value::List(items) => items.iter_mut().for_each(|item| item.shift_lines(by)),
            Value::Map(map) => {
                for entry in map {
                    entry.key_place.line = entry.key_place.line.saturating_add(by);
                    entry.node.shift_lines(by);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    /// Takes out every entry whose value is `null`: written so, a field is unset.
    pub fn drop_nulls(&mut self) {
        match &mut self.value {
            Value::List(items) => items.iter_mut().for_each(Self::drop_nulls),
            Value::Map(map) => {
                map.retain(|entry| !entry.node.is_null());
                map.iter_mut().for_each(|entry| entry.node.drop_nulls());
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
}
