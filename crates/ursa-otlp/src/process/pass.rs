//! One pass over a request: each resource and each item is read once, goes through all steps, and is
//! written once if it changed.

use std::borrow::Cow;

use ursa_model::pipeline::processor::{AttributePlace, SignalName};

use super::editor::Editor;
use super::envoy::{Facts, SCHEMA_URL};
use super::filter::{Filter, Item, Seen};
use super::list::{List, State};
use super::quick::{Outcome, Page};
use super::urls::Urls;
use super::{Plan, Step};
use crate::wire::fields::{TextAttribute, Walk, put_bytes};
use crate::wire::{SpanId, WireError, points, urls};

/// `ExportTraceServiceRequest.resource_spans` and its kin.
const RESOURCE_ITEMS: u32 = 1;
/// `ResourceSpans.resource` and its kin; `ResourceSpans.scope_spans`.
const RESOURCE: u32 = 1;
const SCOPE_ITEMS: u32 = 2;
/// `Resource.attributes`, `InstrumentationScope.attributes`.
const RESOURCE_ATTRIBUTES: u32 = 1;
const SCOPE_ATTRIBUTES: u32 = 3;
/// `ScopeSpans.scope`, `ScopeSpans.spans`, `ScopeSpans.schema_url`.
const SCOPE: u32 = 1;
const ITEMS: u32 = 2;
const SCHEMA: u32 = 3;
/// `Span.name`, `Span.kind` and so on.
pub(super) const NAME: u32 = 5;
pub(super) const KIND: u32 = 6;
const START: u32 = 7;
const END: u32 = 8;
pub(super) const STATUS: u32 = 15;
/// `Status.message`, `Status.code`.
const MESSAGE: u32 = 2;
const CODE: u32 = 3;
/// `LogRecord.severity_number`, `LogRecord.body`.
const SEVERITY: u32 = 2;
const BODY: u32 = 5;
/// `Gauge.data_points` and its kin.
const POINTS: u32 = 1;
/// `Metric.name`.
const METRIC_NAME: u32 = 1;

/// Where attributes are in a kind of item.
pub(super) struct Shape {
    pub(super) attributes: u32,
    /// Messages within, by field number, and the number of their attributes.
    pub(super) within: &'static [(u32, u32)],
    /// Other fields in which URLs are redacted.
    texts: &'static [u32],
}

pub(super) const SPAN: Shape =
    Shape { attributes: 9, within: &[(11, 3), (13, 4)], texts: &[NAME, STATUS] };
const LOG_RECORD: Shape = Shape { attributes: 6, within: &[], texts: &[BODY] };

/// `Metric.data`: the shape of its points.
fn point(number: u32) -> Option<Shape> {
    match number {
        5 | 7 => Some(Shape { attributes: 7, within: &[(5, 7)], texts: &[] }),
        9 => Some(Shape { attributes: 9, within: &[(8, 7)], texts: &[] }),
        10 => Some(Shape { attributes: 1, within: &[(11, 7)], texts: &[] }),
        11 => Some(Shape { attributes: 7, within: &[], texts: &[] }),
        _ => None,
    }
}

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

    /// A `ResourceSpans` or its kin. It is left out if no item is left in it.
    fn resource_items(&mut self, place: Place<'a>) -> Result<(), WireError> {
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

    /// A `Metric`. It is left out if all its points were dropped.
    fn metric(&mut self, place: Place<'a>) -> Result<Fate, WireError> {
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
    fn item(
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
    fn within(
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

/// What became of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Kept,
    /// Kept, and by other conventions now.
    Renamed,
    Dropped,
}

/// Whether there may be a URL with something to redact in a message: in its attributes, in those of
/// messages within it, or in `texts`.
pub(super) fn may_redact(
    message: &[u8],
    attributes: u32,
    within: &[(u32, u32)],
    texts: &[u32],
) -> Result<bool, WireError> {
    let tag = u8::try_from(attributes << 3 | 2).unwrap_or_default();
    let mut field = Walk::new(message, 0);
    loop {
        let mut rest = field.rest();
        while let Some(one) = TextAttribute::first(rest, tag) {
            if urls::is_telling_text(&one) {
                return Ok(true);
            }
            rest = one.rest;
        }
        field.skip_to(rest);
        if !field.next()? {
            return Ok(false);
        }
        if field.wire != 2 {
            continue;
        }
        let may = if field.number == attributes {
            urls::is_telling_attribute(field.body)
        } else if texts.contains(&field.number) {
            urls::is_telling(field.body)
        } else {
            match within.iter().find(|(number, _)| *number == field.number) {
                Some((_, inner)) => may_redact(field.body, *inner, &[], &[])?,
                None => false,
            }
        };
        if may {
            return Ok(true);
        }
    }
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

/// `Status.code`, if it is there.
pub(super) fn status_code(status: &[u8]) -> Result<Option<i32>, WireError> {
    let mut code = None;
    let mut field = Walk::new(status, 0);
    while field.next()? {
        if let (CODE, 0) = (field.number, field.wire) {
            code = Some(enumeration(field.scalar));
        }
    }
    Ok(code)
}

/// Decoders keep the low 32 bits.
pub(super) fn enumeration(number: u64) -> i32 {
    let [low, second, third, fourth, ..] = number.to_le_bytes();
    i32::from_le_bytes([low, second, third, fourth])
}

/// An attribute as filters see it.
fn seen<'l>(list: &'l List<'_>, key: &[u8]) -> Seen<'l> {
    match list.get(key) {
        None => Seen::Absent,
        Some(attribute) => attribute.value.shown(&list.made).map_or(Seen::Other, Seen::Text),
    }
}
