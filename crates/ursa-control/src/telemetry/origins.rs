//! Where spans come from, kept once: an origin is the encoded `ResourceSpans` with its one `ScopeSpans` and no
//! spans, so that putting spans back into it gives OTLP again.

use std::collections::HashMap;
use std::sync::Arc;

use super::bounds::SERVICE_NAME;
use super::facts::{Attribute, Scalar};
use super::wire::{Field, Value, fields};

/// The service of a resource without `service.name`, as OpenTelemetry names it.
const UNKNOWN_SERVICE: &str = "unknown_service";

/// Names an origin among [`Origins`] for as long as a span refers to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct OriginId(u32);

/// One origin.
#[derive(Debug)]
pub(super) struct Origin {
    pub(super) encoded: Arc<[u8]>,
    pub(super) service: Arc<str>,
    spans: usize,
}

impl Origin {
    /// What an origin takes of the limit: its bytes, itself, its entry in the index, and two counted allocations.
    fn cost(&self) -> usize {
        const FIXED: usize =
            size_of::<Option<Origin>>() + size_of::<(Arc<[u8]>, OriginId)>() + 2 * 32;
        FIXED + self.encoded.len() + self.service.len()
    }
}

/// All origins that spans refer to.
#[derive(Debug, Default)]
pub(super) struct Origins {
    slots: Vec<Option<Origin>>,
    free: Vec<OriginId>,
    ids: HashMap<Arc<[u8]>, OriginId>,
    bytes: usize,
}

impl Origins {
    /// Refers to an origin once more; it stays until it was [released](Self::release) as often.
    pub(super) fn refer(&mut self, encoded: &[u8]) -> OriginId {
        if let Some(&id) = self.ids.get(encoded) {
            self.refer_again(id);
            return id;
        }
        let encoded: Arc<[u8]> = encoded.into();
        let service = service_name(&encoded).into();
        let origin = Origin { encoded: Arc::clone(&encoded), service, spans: 1 };
        self.bytes += origin.cost();
        let id = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            OriginId(u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX))
        });
        if let Some(slot) = self.slots.get_mut(id.0 as usize) {
            *slot = Some(origin);
        }
        self.ids.insert(encoded, id);
        id
    }

    /// Refers once more to an origin that is known.
    pub(super) fn refer_again(&mut self, id: OriginId) {
        if let Some(origin) = self.slot(id) {
            origin.spans += 1;
        }
    }

    pub(super) fn release(&mut self, id: OriginId) {
        let Some(origin) = self.slot(id) else { return };
        origin.spans -= 1;
        if origin.spans > 0 {
            return;
        }
        if let Some(origin) = self.slots.get_mut(id.0 as usize).and_then(Option::take) {
            self.bytes -= origin.cost();
            self.ids.remove(&origin.encoded);
            self.free.push(id);
        }
    }

    pub(super) fn get(&self, id: OriginId) -> Option<&Origin> {
        self.slots.get(id.0 as usize)?.as_ref()
    }

    fn slot(&mut self, id: OriginId) -> Option<&mut Origin> {
        self.slots.get_mut(id.0 as usize)?.as_mut()
    }

    /// Bytes of all origins together.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The same as [`bytes`](Self::bytes), added up anew, and how many spans refer to an origin.
    #[cfg(test)]
    pub(super) fn audit(&self) -> (usize, usize) {
        let origins = || self.slots.iter().flatten();
        assert_eq!(origins().count(), self.ids.len());
        (origins().map(Origin::cost).sum(), origins().map(|origin| origin.spans).sum())
    }
}

/// `service.name` of an encoded origin.
pub(super) fn service_name(origin: &[u8]) -> String {
    let mut name = None;
    resource_attributes(origin, |attribute| {
        if let Attribute { key, value: Scalar::Text(text) } = attribute
            && key == SERVICE_NAME.as_bytes()
            && !text.is_empty()
        {
            name = Some(String::from_utf8_lossy(text).into_owned());
        }
    });
    name.unwrap_or_else(|| UNKNOWN_SERVICE.to_owned())
}

/// Shows each attribute of an encoded origin's resource.
pub(super) fn resource_attributes(origin: &[u8], mut show: impl FnMut(Attribute<'_>)) {
    for field in fields(origin).map_while(Result::ok) {
        let Field { number: 1, value: Value::Bytes(resource), .. } = field else { continue };
        for field in fields(resource).map_while(Result::ok) {
            if let Field { number: 1, value: Value::Bytes(attribute), .. } = field
                && let Ok(attribute) = Attribute::read(attribute)
            {
                show(attribute);
            }
        }
    }
}
