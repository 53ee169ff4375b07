//! Rules that go by an attribute's key.

use aws_lc_rs::digest;
use ursa_model::pipeline::processor::{AttributePlace, AttributeRules};

use super::list::{List, State, Value};
use super::urls::REDACTED;

/// Bytes of a digest that are kept, as two hex digits each.
const HASH_BYTES: usize = 8;

/// The processor `attributes`, compiled.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    pub(super) places: Vec<AttributePlace>,
    include: Option<Patterns>,
    exclude: Patterns,
    redact: Patterns,
    hash: Patterns,
}

/// What becomes of an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Keep,
    Remove,
    Redact,
    Hash,
}

#[derive(Debug, Clone, Default)]
struct Patterns {
    /// Sorted.
    exact: Vec<Vec<u8>>,
    prefixes: Vec<Vec<u8>>,
}

impl Keys {
    pub(super) fn new(spec: &AttributeRules) -> Self {
        Self {
            places: spec.places.clone().unwrap_or_else(|| AttributePlace::ITEMS.to_vec()),
            include: spec.include.as_deref().map(Patterns::new),
            exclude: Patterns::new(&spec.exclude),
            redact: Patterns::new(&spec.redact),
            hash: Patterns::new(&spec.hash),
        }
    }

    pub(super) fn fate(&self, key: &[u8]) -> Fate {
        let included = self.include.as_ref().is_none_or(|include| include.holds(key));
        if !included || self.exclude.holds(key) {
            Fate::Remove
        } else if self.redact.holds(key) {
            Fate::Redact
        } else if self.hash.holds(key) {
            Fate::Hash
        } else {
            Fate::Keep
        }
    }

    pub(super) fn apply(&self, list: &mut List<'_>) {
        let mut changed = false;
        for attribute in &mut list.all {
            if attribute.state == State::Removed {
                continue;
            }
            match self.fate(attribute.key) {
                Fate::Keep => continue,
                Fate::Remove => attribute.remove(),
                Fate::Redact if attribute.value.text(&list.made) == Some(REDACTED) => continue,
                Fate::Redact => attribute.put(Value::Text(REDACTED)),
                Fate::Hash => {
                    let hashed = match attribute.value.shown(&list.made) {
                        Some(text) => hash(&text),
                        None => hash(&attribute.value.encoded(&list.made)),
                    };
                    attribute.put(Value::Made(list.made.len()));
                    list.made.push(hashed);
                }
            }
            changed = true;
        }
        list.changed |= changed;
    }
}

impl Patterns {
    fn new(patterns: &[String]) -> Self {
        let mut new = Self::default();
        for pattern in patterns {
            match pattern.strip_suffix('*') {
                Some(prefix) => new.prefixes.push(prefix.as_bytes().to_vec()),
                None => new.exact.push(pattern.as_bytes().to_vec()),
            }
        }
        new.exact.sort_unstable();
        new
    }

    fn holds(&self, key: &[u8]) -> bool {
        self.prefixes.iter().any(|prefix| key.starts_with(prefix))
            || self.exact.binary_search_by(|exact| exact.as_slice().cmp(key)).is_ok()
    }
}

/// Hex digits of the beginning of a SHA-256.
pub(super) fn hash(text: &[u8]) -> Vec<u8> {
    let digest = digest::digest(&digest::SHA256, text);
    let digit = |half: u8| char::from_digit(u32::from(half), 16).map_or(b'0', |digit| digit as u8);
    let bytes = digest.as_ref().iter().take(HASH_BYTES);
    bytes.flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)]).collect()
}
