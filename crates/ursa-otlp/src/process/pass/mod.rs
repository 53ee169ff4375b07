//! One pass over a request: each resource and each item is read once, goes through all steps, and is
//! written once if it changed.

mod item;
mod resource;

use ursa_model::pipeline::processor::SignalName;

use super::editor::Editor;
use super::filter::Seen;
use super::list::List;
use super::quick::Page;
use super::shape::RESOURCE_ITEMS;
use super::{Plan, Step};
use crate::wire::fields::Walk;
use crate::wire::{SpanId, WireError};

/// A field of wire type 2 and where it is in the request.
#[derive(Debug, Clone, Copy)]
struct Place<'a> {
    number: u32,
    body: &'a [u8],
    start: usize,
    stop: usize,
}

impl<'a> Place<'a> {
    /// Of the field that was read last.
    fn of(field: &Walk<'a>) -> Self {
        let Walk { number, body, start, stop, .. } = *field;
        Self { number, body, start, stop }
    }

    /// Where its body begins.
    fn body_start(&self) -> usize {
        self.stop.saturating_sub(self.body.len())
    }
}

/// Something of an item that is written anew.
#[derive(Debug, Clone, Copy)]
enum Edit<'a> {
    Name { start: usize, stop: usize },
    Attribute { start: usize, stop: usize, index: usize },
    Within { place: Place<'a>, attributes: u32 },
    Body(Place<'a>),
    Status(Place<'a>),
}

impl Edit<'_> {
    fn start(&self) -> usize {
        match self {
            Self::Name { start, .. } | Self::Attribute { start, .. } => *start,
            Self::Within { place, .. } | Self::Body(place) | Self::Status(place) => place.start,
        }
    }
}

/// What was dropped by one filter.
#[derive(Debug, Clone, Default)]
pub(super) struct Dropped {
    pub(super) items: usize,
    pub(super) spans: Vec<SpanId>,
}

/// The pass and what it uses again for each item.
pub(super) struct Pass<'a> {
    plan: &'a Plan,
    signal: SignalName,
    looks: bool,
    plain_urls: bool,
    editor: Editor<'a>,
    page: Page,
    resource: List<'a>,
    list: List<'a>,
    within: List<'a>,
    edits: Vec<Edit<'a>>,
    /// Which conditions of filters the current resource meets; filters know where theirs begin.
    meets: Vec<bool>,
    items: usize,
    dropped: Vec<Dropped>,
}

/// What a pass leads to.
pub(super) struct Done {
    /// None: nothing changed.
    pub(super) request: Option<Vec<u8>>,
    pub(super) items: usize,
    /// By the filters' numbers.
    pub(super) dropped: Vec<Dropped>,
}

impl<'a> Pass<'a> {
    /// `looks`: whether items are to be looked at; `plain_urls`: what the check found.
    pub(super) fn new(
        plan: &'a Plan,
        signal: SignalName,
        looks: bool,
        plain_urls: bool,
        request: &'a [u8],
    ) -> Self {
        let length = request.len();
        // Names of the conventions are longer than Envoy's.
        let renames = plan.steps.iter().any(|step| matches!(step, Step::Envoy(_)));
        let growth = if renames { length / 3 } else { length / 8 };
        Self {
            plan,
            signal,
            looks,
            plain_urls,
            editor: Editor::new(request, growth.saturating_add(256)),
            page: if plan.quick.is_some() { Page::new(length) } else { Page::default() },
            resource: List::default(),
            list: List::default(),
            within: List::default(),
            edits: Vec::new(),
            meets: vec![false; plan.conditions],
            items: 0,
            dropped: vec![Dropped::default(); plan.filters],
        }
    }

    pub(super) fn run(mut self, request: &'a [u8]) -> Result<Done, WireError> {
        let mut field = Walk::new(request, 0);
        while field.next()? {
            if let (RESOURCE_ITEMS, 2) = (field.number, field.wire) {
                self.resource_items(Place::of(&field))?;
            }
        }
        let Self { editor, items, dropped, .. } = self;
        Ok(Done { request: editor.finish(), items, dropped })
    }
}

/// What became of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Kept,
    /// Kept, and by other conventions now.
    Renamed,
    Dropped,
}

/// Takes in the attributes, field `number`, of a message that ends at `end`.
fn read_attributes<'a>(
    list: &mut List<'a>,
    number: u32,
    body: &'a [u8],
    end: usize,
) -> Result<(), WireError> {
    let mut field = Walk::new(body, end.saturating_sub(body.len()));
    while field.next()? {
        if (field.number, field.wire) == (number, 2) {
            list.push(field.body, field.start, field.stop)?;
        }
    }
    Ok(())
}

/// An attribute as filters see it.
fn seen<'l>(list: &'l List<'_>, key: &[u8]) -> Seen<'l> {
    match list.get(key) {
        None => Seen::Absent,
        Some(attribute) => attribute.value.shown(&list.made).map_or(Seen::Other, Seen::Text),
    }
}
