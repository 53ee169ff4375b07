//! Resources and scopes: what is above items.

use ursa_model::pipeline::processor::{AttributePlace, SignalName};

use super::{Fate, Pass, Place, read_attributes, seen};
use crate::process::Step;
use crate::process::envoy::SCHEMA_URL;
use crate::process::list::State;
use crate::process::shape::{
    ITEMS, LOG_RECORD, RESOURCE, RESOURCE_ATTRIBUTES, SCHEMA, SCOPE, SCOPE_ATTRIBUTES, SCOPE_ITEMS,
    SPAN,
};
use crate::wire::WireError;
use crate::wire::fields::{Walk, put_bytes};

impl<'a> Pass<'a> {
    /// A `ResourceSpans` or its kin. It is left out if no item is left in it.
    pub(super) fn resource_items(&mut self, place: Place<'a>) -> Result<(), WireError> {
        let resources = if self.plan.resource { self.read_resource(place)? } else { 0 };
        self.editor.enter(place.number, place.start, place.body_start());
        if self.resource.changed && resources == 0 {
            let mut body = Vec::new();
            for index in 0..self.resource.all.len() {
                self.resource.write(index, RESOURCE_ATTRIBUTES, &mut body);
            }
            let at = place.body_start();
            put_bytes(self.editor.replace(at, at), RESOURCE, &body);
        }
        let (mut seen, mut next, mut kept) = (0_usize, 0_usize, false);
        let mut field = Walk::new(place.body, place.body_start());
        while field.next()? {
            if field.wire != 2 {
                continue;
            }
            let place = Place::of(&field);
            match field.number {
                RESOURCE if self.resource.changed => {
                    seen = seen.saturating_add(1);
                    let until = if seen == resources { usize::MAX } else { place.stop };
                    next = self.write_resource(place, next, until);
                }
                SCOPE_ITEMS => kept |= self.scope_items(place)?,
                _ => {}
            }
        }
        if kept {
            self.editor.leave(place.stop);
        } else {
            self.editor.discard(place.stop);
        }
        Ok(())
    }

    /// Reads the resource, which may stand there in pieces, and takes it through all steps. Gives the
    /// number of pieces.
    fn read_resource(&mut self, place: Place<'a>) -> Result<usize, WireError> {
        self.resource.clear();
        let mut pieces = 0_usize;
        let mut field = Walk::new(place.body, place.body_start());
        while field.next()? {
            if let (RESOURCE, 2) = (field.number, field.wire) {
                pieces = pieces.saturating_add(1);
                let list = &mut self.resource;
                read_attributes(list, RESOURCE_ATTRIBUTES, field.body, field.stop)?;
            }
        }
        for step in &self.plan.steps {
            match step {
                Step::Resource(rules) => rules.apply(&mut self.resource),
                Step::Keys(keys) if keys.places.contains(&AttributePlace::Resource) => {
                    keys.apply(&mut self.resource);
                }
                Step::Filter { filter, first_condition, .. } => {
                    let places = self.meets.iter_mut().skip(*first_condition);
                    for (condition, meets) in filter.conditions.iter().zip(places) {
                        *meets = condition.meets_resource(&|key| seen(&self.resource, key));
                    }
                }
                _ => {}
            }
        }
        Ok(pieces)
    }

    /// Writes what changed in one piece of the resource: attributes from `next` that begin before
    /// `until`. Gives the first that does not.
    fn write_resource(&mut self, place: Place<'a>, mut next: usize, until: usize) -> usize {
        self.editor.enter(place.number, place.start, place.body_start());
        while let Some(attribute) = self.resource.all.get(next) {
            let (from, to) = match attribute.state {
                State::Added => (place.stop, place.stop),
                _ => (attribute.start, attribute.stop),
            };
            if attribute.start >= place.stop && until != usize::MAX {
                break;
            }
            if attribute.state != State::Same && from != usize::MAX {
                let out = self.editor.replace(from, to);
                self.resource.write(next, RESOURCE_ATTRIBUTES, out);
            }
            next = next.saturating_add(1);
        }
        self.editor.leave(place.stop);
        next
    }

    /// A `ScopeSpans` or its kin. Gives whether an item is left in it.
    fn scope_items(&mut self, place: Place<'a>) -> Result<bool, WireError> {
        self.editor.enter(place.number, place.start, place.body_start());
        let (mut kept, mut renamed, mut schema): (_, _, &[u8]) = (false, false, &[]);
        let mut field = Walk::new(place.body, place.body_start());
        while field.next()? {
            if field.wire != 2 {
                continue;
            }
            let place = Place::of(&field);
            match field.number {
                SCOPE if self.plan.scope => {
                    self.within(place, SCOPE_ATTRIBUTES, AttributePlace::Scope)?;
                }
                ITEMS => {
                    let fate = match self.signal {
                        SignalName::Metrics => self.metric(place)?,
                        SignalName::Traces => self.item(place, &SPAN, &[])?,
                        SignalName::Logs => self.item(place, &LOG_RECORD, &[])?,
                    };
                    kept |= fate != Fate::Dropped;
                    renamed |= fate == Fate::Renamed;
                }
                SCHEMA => schema = place.body,
                _ => {}
            }
        }
        if !kept {
            self.editor.discard(place.stop);
            return Ok(false);
        }
        if renamed && schema != SCHEMA_URL {
            // After one that is there: of a text that stands twice, the last counts.
            put_bytes(self.editor.replace(place.stop, place.stop), SCHEMA, SCHEMA_URL);
        }
        self.editor.leave(place.stop);
        Ok(true)
    }
}
