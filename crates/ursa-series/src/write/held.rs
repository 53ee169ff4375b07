//! Families of several sources, kept until all of them came: a family stands in one piece, whoever has part of it.

use std::collections::HashMap;

use bytes::Bytes;

use crate::Kind;

/// Bytes of families that wait for the rest of their series. What comes then is left out.
pub const MAX_HELD: usize = 32 * 1024 * 1024;

/// Families that wait, in the order in which they came first.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// What was written before any was held.
    pub(super) before: String,
    families: Vec<Family>,
    by_name: HashMap<u64, usize>,
    open: Option<usize>,
    bytes: usize,
    /// Families that were left out, once for each source.
    pub(super) left_out: u64,
}

#[derive(Debug)]
struct Family {
    kind: Kind,
    suffix: &'static str,
    text: String,
}

impl Held {
    /// None, behind what was written before.
    pub(super) fn after(before: String) -> Self {
        Self { before, ..Self::default() }
    }

    /// What is written until [`close`](Self::close) is of that family. Tells as which kind; nothing if it cannot stand beside
    /// what other sources have of it.
    pub(super) fn open(&mut self, name: u64, kind: Kind, suffix: &'static str) -> Option<Kind> {
        let known = self.by_name.get(&name).copied();
        let fits = known
            .and_then(|at| self.families.get(at))
            .is_none_or(|family| family.suffix == suffix && lines(family.kind) == lines(kind));
        if !fits || self.bytes >= MAX_HELD {
            self.left_out = self.left_out.saturating_add(1);
            return None;
        }
        let at = known.unwrap_or_else(|| {
            self.families.push(Family { kind, suffix, text: String::new() });
            self.families.len().saturating_sub(1)
        });
        self.by_name.insert(name, at);
        self.open = Some(at);
        self.families.get(at).map(|family| family.kind)
    }

    /// Takes what was written of the open family.
    pub(super) fn close(&mut self, written: &mut String) {
        if let Some(family) = self.open.take().and_then(|at| self.families.get_mut(at)) {
            self.bytes = self.bytes.saturating_add(written.len());
            family.text.push_str(written);
        }
        written.clear();
    }

    /// All of it, in pieces of about that many bytes.
    pub(super) fn into_pieces(self, size: usize) -> impl Iterator<Item = Bytes> {
        let mut texts =
            std::iter::once(self.before).chain(self.families.into_iter().map(|family| family.text));
        std::iter::from_fn(move || {
            let mut piece = texts.next()?;
            while piece.len() < size {
                let Some(next) = texts.next() else { break };
                piece.push_str(&next);
            }
            Some(Bytes::from(piece))
        })
        .filter(|piece| !piece.is_empty())
    }
}

/// Kinds whose lines look alike.
fn lines(kind: Kind) -> u8 {
    match kind {
        Kind::Histogram => 1,
        Kind::GaugeHistogram => 2,
        Kind::Summary => 3,
        _ => 0,
    }
}
