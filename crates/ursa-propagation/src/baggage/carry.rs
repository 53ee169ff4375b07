//! A request's baggage under rules.

use super::rules::{Filter, Rules, SETTINGS_MAX, Setting};
use super::{BYTES_MAX, Decoded, MEMBERS_MAX, Member, escape};
use crate::changes::Changes;
use crate::headers::{Header, Headers, LINES_MAX, Lines};
use crate::writer::Writer;

/// What was there and is not carried on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Members that must not pass.
    pub denied: usize,
    /// What is no member.
    pub invalid: usize,
    /// Members that are too many or too long; and lines beyond [`LINES_MAX`], which are not read.
    pub cut: usize,
}

impl Dropped {
    /// Whether anything was.
    pub fn any(self) -> bool {
        self != Self::default()
    }
}

impl Rules<'_> {
    /// On the way in: filters what the caller brings, and sets what is to be set. `header` finds a request's header by
    /// its name in lower case; the first if there are several.
    ///
    /// The header is written, as one line, only if it says something else than before. Members stay as they came and
    /// in their order; one that is set stands where it stood, or comes last. At most [`MEMBERS_MAX`] members and
    /// [`BYTES_MAX`] bytes: there is room for those that are set first, and from the first on that finds none all
    /// others are cut, each as a whole.
    pub fn extract<'h>(
        &self,
        headers: &Headers<'_>,
        header: &dyn Fn(&[u8]) -> Option<&'h [u8]>,
        changes: &mut Changes,
    ) -> Dropped {
        let mut sets = Sets::default();
        for setting in self.settings() {
            sets.add(setting, header, headers.baggage(), &self.incoming);
        }
        change(headers, &self.incoming, &sets, changes)
    }

    /// On the way out: filters what goes on. Without a filter nothing is looked at. Baggage that is removed already
    /// stays so.
    pub fn inject(&self, headers: &Headers<'_>, changes: &mut Changes) -> Dropped {
        if self.outgoing.is_open() || changes.removes(Header::Baggage) {
            return Dropped::default();
        }
        change(headers, &self.outgoing, &Sets::default(), changes)
    }
}

#[inline(never)]
fn change(
    headers: &Headers<'_>,
    filter: &Filter<'_>,
    sets: &Sets<'_, '_>,
    changes: &mut Changes,
) -> Dropped {
    if !headers.has(Header::Baggage) && sets.count == 0 {
        return Dropped::default();
    }
    // Without room: it is only looked at whether anything changes.
    let carried = carry(headers.baggage(), filter, sets, &mut Writer::new(&mut []));
    if carried.changed {
        let set = changes.set(Header::Baggage, BYTES_MAX, |out| {
            carry(headers.baggage(), filter, sets, out);
        });
        if !set && headers.has(Header::Baggage) {
            changes.remove(Header::Baggage);
        }
    }
    carried.dropped
}

#[derive(Default)]
struct Carried {
    dropped: Dropped,
    changed: bool,
}

#[inline(never)]
fn carry(
    lines: &Lines<'_>,
    filter: &Filter<'_>,
    sets: &Sets<'_, '_>,
    out: &mut Writer<'_>,
) -> Carried {
    let mut dropped =
        Dropped { cut: lines.count().saturating_sub(LINES_MAX), ..Dropped::default() };
    let mut changed = lines.count() > 1;
    let mut reserved = sets.length();
    let mut members = sets.count;
    let mut full = false;
    let mut placed = [false; SETTINGS_MAX];
    for part in lines.list() {
        let Some(member) = Member::parse(part) else {
            count(&mut dropped.invalid);
            continue;
        };
        if let Some((set, placed)) =
            sets.iter().zip(&mut placed).find(|(set, _)| set.name == member.key)
        {
            changed |= *placed || !set.says(&member);
            if !*placed {
                *placed = true;
                reserved = reserved.saturating_sub(set.length());
                put(out, 0, |out| set.write(out), &mut dropped);
            }
        } else if !filter.passes(member.key) {
            count(&mut dropped.denied);
        } else if full || members >= MEMBERS_MAX {
            full = true;
            count(&mut dropped.cut);
        } else {
            count(&mut members);
            full = !put(out, reserved, |out| out.bytes(member.whole), &mut dropped);
        }
    }
    for (set, placed) in sets.iter().zip(placed) {
        if !placed {
            changed = true;
            put(out, 0, |out| set.write(out), &mut dropped);
        }
    }
    Carried { dropped, changed: changed || dropped.any() }
}

/// Appends a member, if so many bytes stay free behind it; else it is cut.
fn put(
    out: &mut Writer<'_>,
    free: usize,
    member: impl FnOnce(&mut Writer<'_>),
    dropped: &mut Dropped,
) -> bool {
    let before = out.length();
    if before > 0 {
        out.byte(b',');
    }
    member(out);
    let fits = out.length().saturating_add(free) <= BYTES_MAX;
    if !fits {
        out.rewind(before);
        count(&mut dropped.cut);
    }
    fits
}

fn count(what: &mut usize) {
    *what = what.saturating_add(1);
}

/// The members that are set on this request.
#[derive(Default)]
struct Sets<'a, 'h> {
    all: [Set<'a, 'h>; SETTINGS_MAX],
    count: usize,
}

#[derive(Clone, Copy, Default)]
struct Set<'a, 'h> {
    name: &'a [u8],
    /// Bytes of a header; none: `value` counts.
    raw: Option<&'h [u8]>,
    /// Percent-encoded.
    value: &'a [u8],
}

impl<'a, 'h> Sets<'a, 'h> {
    fn add(
        &mut self,
        setting: Setting<'a>,
        header: &dyn Fn(&[u8]) -> Option<&'h [u8]>,
        came: &Lines<'_>,
        filter: &Filter<'_>,
    ) {
        if setting.if_absent
            && filter.passes(setting.name)
            && super::find(came, setting.name).is_some()
        {
            return;
        }
        let raw = setting.header.and_then(header).filter(|raw| !raw.is_empty());
        if raw.is_none() && setting.value.is_none() {
            return;
        }
        if let Some(place) = self.all.get_mut(self.count) {
            *place = Set { name: setting.name, raw, value: setting.value.unwrap_or_default() };
            self.count = self.count.saturating_add(1);
        }
    }

    fn iter(&self) -> impl Iterator<Item = &Set<'a, 'h>> {
        self.all.iter().take(self.count)
    }

    fn length(&self) -> usize {
        self.iter().fold(0, |sum, set| sum.saturating_add(set.length()))
    }
}

impl Set<'_, '_> {
    fn write(&self, out: &mut Writer<'_>) {
        out.bytes(self.name);
        out.byte(b'=');
        match self.raw {
            Some(raw) => escape(raw, out),
            None => out.bytes(self.value),
        }
    }

    /// Bytes that it needs, with a comma.
    fn length(&self) -> usize {
        let mut out = Writer::new(&mut []);
        self.write(&mut out);
        out.length().saturating_add(1)
    }

    /// Whether a member says the same already.
    fn says(&self, member: &Member<'_>) -> bool {
        let came = Decoded(member.value);
        let same = match self.raw {
            Some(raw) => came.eq(raw.iter().copied()),
            None => came.eq(Decoded(self.value)),
        };
        same && member.properties.is_none()
    }
}
