//! The names and attributes that a span is given, each once.

use super::names::Name;
use super::url::number;

/// What becomes of an attribute.
#[derive(Debug, Clone, Copy)]
pub(in crate::process) enum Becomes<'t> {
    /// It stays as it is.
    Same,
    /// It is taken off.
    Gone,
    /// It has another name, and the value that it had.
    Named(&'static Name),
    /// It has another name and another value.
    Valued(&'static Name, New<'t>),
}

/// A value that is given here.
#[derive(Debug, Clone, Copy)]
pub(in crate::process) enum New<'t> {
    Text(&'t [u8]),
    Int(i64),
}

/// Attributes that one span can be given: a bit more than tags of Envoy's give.
const MOST_ADDED: usize = 12;

/// Names given to one span, and the attributes that are added to it.
#[derive(Debug, Default)]
pub(in crate::process) struct Given<'t> {
    pub(super) bits: u64,
    added: [Option<(&'static Name, New<'t>)>; MOST_ADDED],
    count: usize,
}

impl<'t> Given<'t> {
    pub(in crate::process) fn added(&self) -> impl Iterator<Item = (&'static Name, New<'t>)> {
        self.added.iter().take(self.count).copied().flatten()
    }

    /// Whether the name is still free; from now on it is not.
    pub(in crate::process) fn take(&mut self, name: &Name) -> bool {
        let free = self.bits & name.bit == 0;
        self.bits |= name.bit;
        free
    }

    /// Adds an attribute, unless it is there.
    pub(super) fn add(&mut self, name: &'static Name, value: New<'t>) {
        if self.take(name)
            && let Some(place) = self.added.get_mut(self.count)
        {
            *place = Some((name, value));
            self.count = self.count.saturating_add(1);
        }
    }

    pub(super) fn add_part(&mut self, name: &'static Name, part: &'t [u8]) {
        if !part.is_empty() {
            self.add(name, New::Text(part));
        }
    }

    /// Renames an attribute, unless the name is there; then it stays as it is.
    pub(super) fn rename(&mut self, name: &'static Name) -> Becomes<'t> {
        if self.take(name) { Becomes::Named(name) } else { Becomes::Same }
    }

    /// Renames an attribute and gives it a value; false if the name is there.
    pub(super) fn replace(&mut self, name: &'static Name, value: New<'t>) -> (Becomes<'t>, bool) {
        let free = self.take(name);
        (if free { Becomes::Valued(name, value) } else { Becomes::Same }, free)
    }

    /// Renames it and makes it a number; what is no number stays as it is.
    pub(super) fn number(&mut self, name: &'static Name, text: Option<&[u8]>) -> Becomes<'t> {
        match text {
            None => self.rename(name),
            Some(text) => match number(text) {
                Some(number) => self.replace(name, New::Int(number)).0,
                None => Becomes::Same,
            },
        }
    }
}
