//! Joining what several policies say into one, keeping for each value who wrote it.
//!
//! The rules are those of JSON merge patch (RFC 7396): objects merge key by key, anything else is replaced as a whole, `null` takes away what a
//! weaker policy set. One rule more, Kuma's: lists whose name starts with `append` join, weakest first.
//!
//! Joining is associative, so layers may be joined in any grouping; the order is what counts, and that is `order`'s business.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value as Json;
use ursa_model::key::ResourceKey;
use ursa_model::path::Path;
use ursa_model::tree::{Entry, Node, Place, Value};

/// Who wrote a value, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Origin {
    /// The policy.
    pub policy: ResourceKey,
    /// The file it was read from; none if it came by the API alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Where in that file, or in the document, the line begins that sets the value.
    pub place: Place,
    /// Where the value stands in the resource, like `spec.default.sampling.overall`.
    pub path: Path,
}

impl Origin {
    fn at(&self, place: Place, path: Path) -> Self {
        Self { policy: self.policy.clone(), file: self.file.clone(), place, path }
    }
}

/// A value that merging takes as a whole: a scalar or a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// The value; `null` takes away what is weaker.
    pub value: Json,
    /// Who wrote it.
    pub origin: Origin,
}

/// What one policy says, or several joined. Leaves are shared, so that joining copies no values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tree {
    /// A scalar or an ordinary list.
    Leaf(Arc<Leaf>),
    /// A list whose name starts with `append`.
    Append(Branch<Vec<Arc<Leaf>>>),
    /// An object.
    Map(Branch<BTreeMap<String, Tree>>),
}

/// What joins with its like instead of replacing it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Branch<T> {
    /// The elements or entries.
    pub items: T,
    /// Whether it stands over something of another type, which it replaces together with all that is weaker.
    pub replaces: bool,
}

impl Default for Tree {
    /// Says nothing.
    fn default() -> Self {
        Self::Map(Branch::default())
    }
}

impl Tree {
    /// What `node` says, written by `origin`'s policy, at `origin`'s path and place.
    pub fn of(node: &Node, origin: Origin) -> Self {
        match &node.value {
            Value::Map(map) => {
                let entry = |entry: &Entry| {
                    let path = origin.path.key(&entry.key);
                    (entry.key.clone(), Self::of_entry(entry, origin.at(entry.key_place, path)))
                };
                Self::Map(Branch { items: map.iter().map(entry).collect(), replaces: false })
            }
            _ => Self::Leaf(Arc::new(Leaf { value: node.to_json(), origin })),
        }
    }

    fn of_entry(entry: &Entry, origin: Origin) -> Self {
        match &entry.node.value {
            Value::List(list) if entry.key.starts_with("append") => {
                let element = |(index, node): (usize, &Node)| {
                    let origin = origin.at(node.place, origin.path.index(index));
                    Arc::new(Leaf { value: node.to_json(), origin })
                };
                Self::Append(Branch {
                    items: list.iter().enumerate().map(element).collect(),
                    replaces: false,
                })
            }
            _ => Self::of(&entry.node, origin),
        }
    }

    /// What holds when `stronger` is laid over `self`.
    #[must_use]
    pub fn under(self, stronger: &Self) -> Self {
        match (self, stronger) {
            (Self::Map(mut weak), Self::Map(strong)) if !strong.replaces => {
                for (key, value) in &strong.items {
                    let joined = match weak.items.remove(key) {
                        Some(weaker) => weaker.under(value),
                        None => value.clone(),
                    };
                    weak.items.insert(key.clone(), joined);
                }
                Self::Map(weak)
            }
            (Self::Append(mut weak), Self::Append(strong)) if !strong.replaces => {
                weak.items.extend(strong.items.iter().cloned());
                Self::Append(weak)
            }
            (_, Self::Map(strong)) => {
                Self::Map(Branch { items: strong.items.clone(), replaces: true })
            }
            (_, Self::Append(strong)) => {
                Self::Append(Branch { items: strong.items.clone(), replaces: true })
            }
            (_, leaf @ Self::Leaf(_)) => leaf.clone(),
        }
    }

    /// Joins layers, weakest first.
    pub fn join<'t>(layers: impl IntoIterator<Item = &'t Self>) -> Self {
        layers.into_iter().fold(Self::default(), Self::under)
    }

    /// The part at `path`; `None` if nobody wrote it.
    pub fn at(&self, path: &[&str]) -> Option<&Self> {
        match (path, self) {
            ([], _) => Some(self),
            ([key, rest @ ..], Self::Map(map)) => map.items.get(*key)?.at(rest),
            _ => None,
        }
    }

    /// These settings, of the requests that are `described` so and `written` so: below `rules`, by the description.
    #[must_use]
    pub(crate) fn of_requests(self, described: &str, written: Self) -> Self {
        let map = |key: &str, value| {
            Self::Map(Branch { items: BTreeMap::from([(key.to_owned(), value)]), replaces: false })
        };
        let rule = map("matches", written).under(&self);
        map("rules", map(described, rule))
    }

    /// Who wrote the leaf at `path`; `None` for what nobody wrote and for objects.
    pub fn origin(&self, path: &[&str]) -> Option<&Origin> {
        match self.at(path)? {
            Self::Leaf(leaf) => Some(&leaf.origin),
            Self::Append(list) => list.items.last().map(|leaf| &leaf.origin),
            Self::Map(_) => None,
        }
    }

    /// The plain value, without what `null` took away.
    pub fn to_json(&self) -> Json {
        match self {
            Self::Leaf(leaf) => leaf.value.clone(),
            Self::Append(list) => list.items.iter().map(|leaf| leaf.value.clone()).collect(),
            Self::Map(map) => {
                let kept = map.items.iter().filter(|(_, value)| !value.is_null());
                Json::Object(kept.map(|(key, value)| (key.clone(), value.to_json())).collect())
            }
        }
    }

    /// Every value with its path below the root, in the order of their names; `null`s are among them.
    pub fn leaves(&self) -> Vec<(Path, &Leaf)> {
        let mut found = Vec::new();
        self.collect_leaves(&Path::root(), &mut found);
        found
    }

    fn collect_leaves<'t>(&'t self, path: &Path, found: &mut Vec<(Path, &'t Leaf)>) {
        match self {
            Self::Leaf(leaf) => found.push((path.clone(), leaf)),
            Self::Append(list) => {
                found.extend(
                    list.items.iter().enumerate().map(|(i, leaf)| (path.index(i), &**leaf)),
                );
            }
            Self::Map(map) => {
                for (key, value) in &map.items {
                    value.collect_leaves(&path.key(key), found);
                }
            }
        }
    }

    fn is_null(&self) -> bool {
        matches!(self, Self::Leaf(leaf) if leaf.value.is_null())
    }
}
