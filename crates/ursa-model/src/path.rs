//! Field paths in Kuma's notation: `spec.default.backends[0].openTelemetry.endpoint`, `tags["kuma.io/service"]`.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// A way from a node down to one of its descendants. The empty path is the node itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Path(pub Vec<Segment>);

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Segment {
    /// Into a mapping.
    Key(String),
    /// Into a list, from 0.
    Index(usize),
}

/// A text that is not a path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a field path at character {at}: `{text}`")]
pub struct PathError {
    /// The text.
    pub text: String,
    /// How many characters of it were understood.
    pub at: usize,
}

impl Path {
    /// The node itself.
    pub const fn root() -> Self {
        Self(Vec::new())
    }

    /// The steps.
    pub fn segments(&self) -> &[Segment] {
        &self.0
    }

    /// Whether this is the node itself.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// This path and one step into a mapping.
    #[must_use]
    pub fn key(&self, key: impl Into<String>) -> Self {
        self.with(Segment::Key(key.into()))
    }

    /// This path and one step into a list.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.with(Segment::Index(index))
    }

    /// This path and one more step.
    #[must_use]
    pub fn with(&self, segment: Segment) -> Self {
        let mut path = self.clone();
        path.0.push(segment);
        path
    }

    /// This path and then `rest`.
    #[must_use]
    pub fn join(&self, rest: &Self) -> Self {
        Self(self.0.iter().chain(&rest.0).cloned().collect())
    }

    /// The path without its last step; `None` of the root.
    pub fn parent(&self) -> Option<Self> {
        let (_, rest) = self.0.split_last()?;
        Some(Self(rest.to_vec()))
    }

    /// Whether `other` is this path or lies below it.
    pub fn contains(&self, other: &Self) -> bool {
        other.0.starts_with(&self.0)
    }
}

fn is_word(key: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '$');
    !key.is_empty() && key.chars().all(word)
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Key(key) if is_word(key) => {
                    let dot = if position == 0 { "" } else { "." };
                    write!(f, "{dot}{key}")?;
                }
                Segment::Key(key) => {
                    let escaped = key.replace('\\', "\\\\").replace('"', "\\\"");
                    write!(f, "[\"{escaped}\"]")?;
                }
                Segment::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

impl FromStr for Path {
    type Err = PathError;

    /// Reads what [`Display`](fmt::Display) writes.
    fn from_str(text: &str) -> Result<Self, PathError> {
        let mut segments = Vec::new();
        let mut rest = text.chars().peekable();
        let mut at = 0;
        while let Some(first) = rest.peek().copied() {
            let error = || PathError { text: text.to_owned(), at };
            if first == '[' {
                rest.next();
                let (segment, length) = bracketed(&mut rest).ok_or_else(error)?;
                segments.push(segment);
                at += length + 1;
                continue;
            }
            if !segments.is_empty() {
                rest.next_if_eq(&'.').ok_or_else(error)?;
                at += 1;
            }
            let mut key = String::new();
            while let Some(c) = rest.next_if(|c| !matches!(c, '.' | '[')) {
                key.push(c);
            }
            if !is_word(&key) {
                return Err(PathError { text: text.to_owned(), at });
            }
            at += key.len();
            segments.push(Segment::Key(key));
        }
        Ok(Self(segments))
    }
}

/// What follows a `[`, up to and with its `]`, and how many characters that was.
fn bracketed(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<(Segment, usize)> {
    let mut length = 0;
    let mut next = || {
        length += 1;
        rest.next()
    };
    let first = next()?;
    let segment = if first == '"' {
        let mut key = String::new();
        loop {
            match next()? {
                '"' => break,
                '\\' => key.push(next()?),
                c => key.push(c),
            }
        }
        if next()? != ']' {
            return None;
        }
        Segment::Key(key)
    } else {
        let mut digits = String::from(first);
        loop {
            match next()? {
                ']' => break,
                c => digits.push(c),
            }
        }
        if !digits.chars().all(|c| c.is_ascii_digit()) {
            return None;
        }
        Segment::Index(digits.parse().ok()?)
    };
    Some((segment, length))
}

impl Serialize for Path {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
