use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

/// The labels of one series, in one piece of memory that is used again for the next.
///
/// Names are whatever the source wrote, UTF-8 included; nothing here is escaped.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Labels {
    text: String,
    /// Where each name and each value ends.
    ends: Vec<(usize, usize)>,
}

impl Labels {
    /// Without any.
    pub const fn new() -> Self {
        Self { text: String::new(), ends: Vec::new() }
    }

    /// Forgets all, and keeps the memory.
    pub fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
    }

    /// Adds one. A label without a value is none, as Prometheus has it.
    pub fn push(&mut self, name: &str, value: &str) {
        if value.is_empty() {
            return;
        }
        self.text.push_str(name);
        let name = self.text.len();
        self.text.push_str(value);
        self.ends.push((name, self.text.len()));
    }

    /// Adds all of another.
    pub fn extend(&mut self, other: &Self) {
        let by = self.text.len();
        self.text.push_str(&other.text);
        let moved =
            |&(name, value): &(usize, usize)| (name.wrapping_add(by), value.wrapping_add(by));
        self.ends.extend(other.ends.iter().map(moved));
    }

    /// Name and value, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut start = 0;
        self.ends.iter().map(move |&(name, value)| {
            let label = (self.slice(start, name), self.slice(name, value));
            start = value;
            label
        })
    }

    /// The value of a name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// A number for the series of the family `family` with these labels, in this order.
    pub fn identity(&self, family: u64) -> u64 {
        let mut hasher = DefaultHasher::new();
        family.hash(&mut hasher);
        self.text.hash(&mut hasher);
        for end in &self.ends {
            end.hash(&mut hasher);
        }
        hasher.finish()
    }

    fn slice(&self, start: usize, end: usize) -> &str {
        self.text.get(start..end).unwrap_or_default()
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<N: AsRef<str>, V: AsRef<str>> FromIterator<(N, V)> for Labels {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(labels: I) -> Self {
        let mut made = Self::new();
        labels.into_iter().for_each(|(name, value)| made.push(name.as_ref(), value.as_ref()));
        made
    }
}

/// A number for a name.
pub(crate) fn hash(name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}
