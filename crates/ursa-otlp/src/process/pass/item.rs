//! Spans, log records and data points.

use std::borrow::Cow;

use ursa_model::pipeline::processor::{AttributePlace, SignalName};

use super::{Edit, Fate, Pass, Place, read_attributes, seen};
use crate::process::Step;
use crate::process::envoy::Facts;
use crate::process::filter::{Filter, Item};
use crate::process::list::State;
use crate::process::quick::Outcome;
use crate::process::shape::{
    BODY, END, KIND, MESSAGE, METRIC_NAME, NAME, POINTS, SEVERITY, START, STATUS, Shape,
    enumeration, may_redact, point, status_code,
};
use crate::process::urls::Urls;
use crate::wire::fields::{Walk, put_bytes};
use crate::wire::{SpanId, WireError, points, urls};

impl<'a> Pass<'a> {
    /// A `Metric`. It is left out if all its points were dropped.
    pub(super) fn metric(&mut self, place: Place<'a>) -> Result<Fate, WireError> {
        if !self.looks {
            self.items = self.items.saturating_add(points(place.body)?);
            return Ok(Fate::Kept);
        }
        let mut name: &[u8] = &[];
        let mut field = Walk::new(place.body, place.body_start());
        while field.next()? {
            if let (METRIC_NAME, 2) = (field.number, field.wire) {
                name = field.body;
            }
        }
        self.editor.enter(place.number, place.start, place.body_start());
        let (mut had, mut kept) = (false, false);
        let mut field = Walk::new(place.body, place.body_start());
        while field.next()? {
            let (Some(shape), 2) = (point(field.number), field.wire) else { continue };
            let data = Place::of(&field);
            self.editor.enter(data.number, data.start, data.body_start());
            let mut field = Walk::new(data.body, data.body_start());
            while field.next()? {
                if let (POINTS, 2) = (field.number, field.wire) {
                    had = true;
                    kept |= self.item(Place::of(&field), &shape, name)? != Fate::Dropped;
                }
            }
            self.editor.leave(data.stop);
        }
        if had && !kept {
            self.editor.discard(place.stop);
            return Ok(Fate::Dropped);
        }
        self.editor.leave(place.stop);
        Ok(Fate::Kept)
    }

    /// A span, data point or log record.
    pub(super) fn item(
        &mut self,
        place: Place<'a>,
        shape: &Shape,
        mut name: &'a [u8],
    ) -> Result<Fate, WireError> {
        if let Some(fate) = self.quick(place) {
            return Ok(fate);
        }
        let traces = self.signal == SignalName::Traces;
        let logs = self.signal == SignalName::Logs;
        let untouched = !self.looks
            || self.plan.only_urls
                && !may_redact(place.body, shape.attributes, shape.within, shape.texts)?;
        if untouched {
            self.items = self.items.saturating_add(1);
            return Ok(Fate::Kept);
        }
        self.list.clear();
        self.edits.clear();
        let mut facts = Facts { name: Cow::Borrowed(name), kind: 0, status: 0 };
        let (mut begin, mut end, mut severity, mut named) = (0, 0, 0, None);
        let mut field = Walk::new(place.body, place.body_start());
        while field.next()? {
            match (field.number, field.wire) {
                (number, 2) if number == shape.attributes => {
                    self.list.push(field.body, field.start, field.stop)?;
                }
                (NAME, 2) if traces => {
                    name = field.body;
                    facts.name = Cow::Borrowed(name);
                    named = Some((field.start, field.stop));
                }
                (STATUS, 2) if traces => {
                    if let Some(code) = status_code(field.body)? {
                        facts.status = code;
                    }
                    if !self.plain_urls && urls::is_telling(field.body) {
                        self.edits.push(Edit::Status(Place::of(&field)));
                    }
                }
                (BODY, 2) if logs && self.plan.within => {
                    self.edits.push(Edit::Body(Place::of(&field)));
                }
                (number, 2) if self.plan.within => {
                    let inner = shape.within.iter().find(|(within, _)| *within == number);
                    if let Some((_, attributes)) = inner {
                        let place = Place::of(&field);
                        self.edits.push(Edit::Within { place, attributes: *attributes });
                    }
                }
                (KIND, 0) if traces => facts.kind = enumeration(field.scalar),
                (START, 1) if traces => begin = field.scalar,
                (END, 1) if traces => end = field.scalar,
                (SEVERITY, 0) if logs => {
                    severity = enumeration(field.scalar);
                }
                _ => {}
            }
        }
        let status_before = facts.status;
        let mut fate = Fate::Kept;
        for step in &self.plan.steps {
            match step {
                Step::Envoy(conventions) => {
                    if conventions.apply(&mut self.list, &mut facts) {
                        fate = Fate::Renamed;
                    }
                }
                Step::Tags(tags) => tags.apply(&mut self.list),
                Step::Baggage(baggage) => baggage.apply(&mut self.list),
                Step::Name(name) => name.apply(&self.list, &mut facts),
                Step::Filter { filter, number, first_condition } => {
                    let item = Item {
                        signal: self.signal,
                        name: &facts.name,
                        kind: facts.kind,
                        status: facts.status,
                        nanoseconds: end.saturating_sub(begin),
                        severity,
                    };
                    if !self.keeps(filter, *first_condition, &item) {
                        self.drop(place, *number);
                        return Ok(Fate::Dropped);
                    }
                }
                step => {
                    step.apply_within(&mut self.list, self.plan.place, self.plain_urls);
                    if let (Step::Urls(urls), true) = (step, traces)
                        && let Some(redacted) = urls.name(&facts.name)
                    {
                        facts.name = Cow::Owned(redacted);
                    }
                }
            }
        }
        self.items = self.items.saturating_add(1);
        let rename = *name != *facts.name;
        let place_of_name = named.filter(|_| rename);
        let status = (status_before != facts.status).then_some(facts.status);
        if let Some((start, stop)) = place_of_name {
            self.edits.push(Edit::Name { start, stop });
        }
        if self.list.changed || rename || status.is_some() || !self.edits.is_empty() {
            let new_name = rename && named.is_none();
            self.write(place, shape, &facts.name, new_name, status)?;
        }
        Ok(fate)
    }

    /// A span of Envoy's that needs no list of its attributes; none if it does.
    #[inline]
    fn quick(&mut self, place: Place<'a>) -> Option<Fate> {
        let quick = self.plan.quick.as_ref()?;
        let fate = match quick.span(place.body, self.plain_urls, &mut self.page) {
            Outcome::Unusual => return None,
            Outcome::Same => Fate::Kept,
            Outcome::Renamed(span) => {
                span.write(place.number, &self.page, self.editor.replace(place.start, place.stop));
                Fate::Renamed
            }
        };
        self.items = self.items.saturating_add(1);
        Some(fate)
    }

    fn keeps(&self, filter: &Filter, first: usize, item: &Item<'_>) -> bool {
        let meets =
            |index: usize| self.meets.get(first.saturating_add(index)).copied().unwrap_or_default();
        filter.keeps(item, &meets, &|key| seen(&self.list, key))
    }

    fn drop(&mut self, place: Place<'a>, number: usize) {
        if let Some(dropped) = self.dropped.get_mut(number) {
            dropped.items = dropped.items.saturating_add(1);
            if self.signal == SignalName::Traces {
                dropped.spans.extend(SpanId::of_span(place.body));
            }
        }
        self.editor.enter(place.number, place.start, place.body_start());
        self.editor.discard(place.stop);
    }

    /// Writes what changed in an item. `new_name`: it had no name.
    fn write(
        &mut self,
        place: Place<'a>,
        shape: &Shape,
        name: &[u8],
        new_name: bool,
        status: Option<i32>,
    ) -> Result<(), WireError> {
        self.editor.enter(place.number, place.start, place.body_start());
        let mut added = self.list.all.len();
        if self.list.changed {
            for (index, attribute) in self.list.all.iter().enumerate() {
                match attribute.state {
                    State::Same => {}
                    // Added and removed again.
                    State::Removed if attribute.start == usize::MAX => {}
                    State::Added => {
                        added = index;
                        break;
                    }
                    State::Changed | State::Removed => {
                        let (start, stop) = (attribute.start, attribute.stop);
                        self.edits.push(Edit::Attribute { start, stop, index });
                    }
                }
            }
        }
        if !self.edits.is_sorted_by_key(Edit::start) {
            self.edits.sort_unstable_by_key(Edit::start);
        }
        for at in 0..self.edits.len() {
            match self.edits.get(at).copied() {
                Some(Edit::Name { start, stop }) => {
                    put_bytes(self.editor.replace(start, stop), NAME, name);
                }
                Some(Edit::Attribute { start, stop, index }) => {
                    let out = self.editor.replace(start, stop);
                    self.list.write(index, shape.attributes, out);
                }
                Some(Edit::Within { place, attributes }) => {
                    self.within(place, attributes, self.plan.place)?;
                }
                Some(Edit::Body(place)) => self.body(place),
                Some(Edit::Status(place)) => self.status(place)?,
                None => {}
            }
        }
        let end = place.stop;
        for index in added..self.list.all.len() {
            self.list.write(index, shape.attributes, self.editor.replace(end, end));
        }
        if new_name {
            put_bytes(self.editor.replace(end, end), NAME, name);
        }
        if let Some(status) = status {
            // Merged by decoders with one that is there.
            let code = status.to_le_bytes()[0] & 0x7f;
            put_bytes(self.editor.replace(end, end), STATUS, &[0x18, code]);
        }
        self.editor.leave(end);
        Ok(())
    }

    /// The body of a log.
    fn body(&mut self, place: Place<'a>) {
        self.redact(place, Urls::body);
    }

    /// The status of a span: its message.
    fn status(&mut self, place: Place<'a>) -> Result<(), WireError> {
        self.editor.enter(place.number, place.start, place.body_start());
        let mut field = Walk::new(place.body, place.body_start());
        while field.next()? {
            if let (MESSAGE, 2) = (field.number, field.wire) {
                self.redact(Place::of(&field), Urls::text);
            }
        }
        self.editor.leave(place.stop);
        Ok(())
    }

    /// Writes a field anew if `redact` changes it.
    fn redact(&mut self, place: Place<'a>, redact: impl Fn(&Urls, &[u8]) -> Option<Vec<u8>>) {
        let mut now = Cow::Borrowed(place.body);
        for step in &self.plan.steps {
            if let Step::Urls(urls) = step
                && let Some(redacted) = redact(urls, &now)
            {
                now = Cow::Owned(redacted);
            }
        }
        if let Cow::Owned(now) = now {
            put_bytes(self.editor.replace(place.start, place.stop), place.number, &now);
        }
    }

    /// A message with attributes inside an item, or the scope.
    pub(super) fn within(
        &mut self,
        place: Place<'a>,
        attributes: u32,
        of: AttributePlace,
    ) -> Result<(), WireError> {
        self.within.clear();
        read_attributes(&mut self.within, attributes, place.body, place.stop)?;
        for step in &self.plan.steps {
            step.apply_within(&mut self.within, of, self.plain_urls);
        }
        if !self.within.changed {
            return Ok(());
        }
        self.editor.enter(place.number, place.start, place.body_start());
        for (index, attribute) in self.within.all.iter().enumerate() {
            if attribute.state != State::Same {
                let out = self.editor.replace(attribute.start, attribute.stop);
                self.within.write(index, attributes, out);
            }
        }
        self.editor.leave(place.stop);
        Ok(())
    }
}
