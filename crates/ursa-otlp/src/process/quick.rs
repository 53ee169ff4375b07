//! A span of Envoy's and its conventions in one go.
//!
//! Where nothing but conventions and redaction of URLs acts on spans, as is common, an attribute is
//! read, converted and written while it is in the processor's registers, and no list of attributes
//! is made. What comes in another form or order than Envoy's encoder gives it goes the long way, by
//! [`List`](super::list::List): this one only has to be right about what it does not leave to that.

use ursa_model::pipeline::processor::SpanKind;

use super::Step;
use super::editor::patch;
use super::envoy::{Becomes, Conventions, ERROR, Given, MOST_TAGS, Name, New, Said, Tag, tag};
use super::list;
use super::shape::{KIND, NAME, SPAN, STATUS, enumeration, may_redact, status_code};
use super::tags::Tags;
use super::urls::Urls;
use crate::wire::fields::{TextAttribute, Walk, head_length, put_bytes, put_head, varint_length};
use crate::wire::urls as telling;

/// The field `Span.attributes`.
const ATTRIBUTE: u8 = 9 << 3 | 2;
/// Attributes of one span that are written here take no more than this.
const ROOM: usize = 4096;
/// Values up to this length are copied as one block of it.
const BLOCK: usize = 48;

/// The processors `semanticConventions`, before it `envoyTags`, and after it `redactUrls`.
#[derive(Debug, Clone)]
pub(super) struct Quick {
    tags: Constants,
    conventions: Conventions,
    /// Has no keys of its own.
    urls: Option<Urls>,
}

/// Attributes that every span of Envoy's gets.
#[derive(Debug, Clone, Default)]
struct Constants {
    keys: Vec<Box<[u8]>>,
    /// Their fields.
    fields: Vec<u8>,
}

impl Constants {
    /// None if conventions or redaction of URLs act on one of them.
    fn new(tags: &Tags) -> Option<Self> {
        let mut constants = Self::default();
        for (key, one) in tags.keys().zip(tags.encoded()) {
            if tag(key).is_some() || telling::is_telling_attribute(&one) {
                return None;
            }
            constants.keys.push(key.into());
            put_bytes(&mut constants.fields, SPAN.attributes, &one);
        }
        Some(constants)
    }
}

/// What became of a span.
pub(super) enum Outcome<'a> {
    /// It stays as it is.
    Same,
    Renamed(Renamed<'a>),
    /// It has to go the long way.
    Unusual,
}

/// A span of Envoy's whose attributes have been written; all else of it is still to be copied.
pub(super) struct Renamed<'a> {
    /// What comes before its name, between that and its attributes, and after them.
    before: &'a [u8],
    between: &'a [u8],
    after: &'a [u8],
    /// Its new name, in pieces.
    name: Option<[&'a [u8]; 3]>,
    /// How many of the written bytes are attributes that it had.
    had: usize,
    failed: bool,
}

/// A span that is being read.
struct Span<'a, 'q> {
    quick: &'q Quick,
    /// Nothing in it has to be redacted but what conventions take apart.
    plain: bool,
    server: bool,
    proxy: bool,
    has_method: bool,
    /// There may be something to redact in an attribute.
    tells: bool,
    /// It has a name of the conventions already, which is known too late for what was written.
    clashes: bool,
    given: Given<'a>,
    said: Said<'a>,
}

/// A name that was read, and where its field was.
#[derive(Clone, Copy, Default)]
struct Named<'a> {
    text: &'a [u8],
    start: usize,
    stop: usize,
}

impl Quick {
    /// If these steps are what it can do.
    pub(super) fn new<'s>(steps: impl Iterator<Item = &'s Step>) -> Option<Self> {
        let mut steps = steps.peekable();
        let mut tags = Constants::default();
        if let Some(Step::Tags(constant)) = steps.peek() {
            tags = Constants::new(constant)?;
            steps.next();
        }
        let (conventions, urls, more) = (steps.next()?, steps.next(), steps.next());
        let (Step::Envoy(conventions), None) = (conventions, more) else { return None };
        let urls = match urls {
            None => None,
            Some(Step::Urls(urls)) if !urls.has_own_keys() => Some(urls.clone()),
            Some(_) => return None,
        };
        Some(Self { tags, conventions: conventions.clone(), urls })
    }

    /// Reads a span and writes its attributes to `page`. `plain`: the request has no URLs that would
    /// have to be redacted.
    pub(super) fn span<'a>(&self, body: &'a [u8], plain: bool, page: &mut Page) -> Outcome<'a> {
        page.length = 0;
        let plain = plain || self.urls.is_none();
        let (given, said) = (Given::default(), Said::default());
        let mut span = Span {
            quick: self,
            plain,
            server: false,
            proxy: false,
            has_method: false,
            tells: false,
            clashes: false,
            given,
            said,
        };
        span.read(body, page).unwrap_or(Outcome::Unusual)
    }
}

impl<'a> Span<'a, '_> {
    /// None if it is unusual.
    fn read(&mut self, body: &'a [u8], page: &mut Page) -> Option<Outcome<'a>> {
        let mut name = Named::default();
        let mut status = 0;
        let mut attributes = None;
        let mut field = Walk::new(body, 0);
        loop {
            let rest = field.rest();
            if attributes.is_none() && rest.first() == Some(&ATTRIBUTE) {
                let after = self.attributes(rest, page)?;
                attributes = Some((field.stop, after));
                field.skip_to(after);
            }
            if !field.next().ok()? {
                break;
            }
            match (field.number, field.wire) {
                (NAME, 2) if name.stop == 0 && attributes.is_none() => {
                    name = Named { text: field.body, start: field.start, stop: field.stop };
                }
                (KIND, 0) if attributes.is_none() => {
                    self.server = enumeration(field.scalar) == SpanKind::Server.number();
                }
                (NAME, 2) | (KIND, 0) => return None,
                (STATUS, 2) if !self.plain && telling::is_telling(field.body) => return None,
                (STATUS, 2) => status = status_code(field.body).ok()?.unwrap_or(status),
                (number, 2) if number == SPAN.attributes => return None,
                (number, 2) if !self.plain => {
                    let inner = SPAN.within.iter().find(|(within, _)| *within == number);
                    if let Some((_, attributes)) = inner
                        && may_redact(field.body, *attributes, &[], &[]).ok()?
                    {
                        return None;
                    }
                }
                _ => {}
            }
        }
        // What a name says is rarely a URL.
        if telling::is_telling(name.text) {
            return None;
        }
        if !self.proxy {
            return (!self.tells).then_some(Outcome::Same);
        }
        let (begin, after) = attributes.filter(|_| !self.clashes)?;
        let new = self.quick.conventions.name(name.text, &self.said);
        if new.is_some_and(|parts| parts.iter().any(|part| telling::is_telling(part))) {
            return None;
        }
        let cut = if new.is_some() { name } else { Named::default() };
        let had = page.length;
        page.copy(&self.quick.tags.fields)?;
        let failed = self.said.conclude(self.server, &mut self.given);
        for (name, value) in self.given.added() {
            self.put(name, value, self.tells, page)?;
        }
        Some(Outcome::Renamed(Renamed {
            before: body.get(..cut.start)?,
            between: body.get(cut.stop..begin)?,
            after,
            name: new,
            had,
            failed: failed && status == 0,
        }))
    }

    /// Converts the attributes with which `rest` begins. Gives what comes after them.
    fn attributes(&mut self, mut rest: &'a [u8], page: &mut Page) -> Option<&'a [u8]> {
        for _ in 0..MOST_TAGS {
            if let Some(one) = TextAttribute::first(rest, ATTRIBUTE) {
                let tells = !self.plain && telling::is_telling_text(&one);
                let TextAttribute { field, key, value: ahead, text, .. } = one;
                let value = ahead.get(..text.len().wrapping_add(4))?;
                let attribute = Attribute { field, key, value, ahead, text: Some(text) };
                self.attribute(&attribute, tells, page)?;
                rest = one.rest;
            } else if rest.first() == Some(&ATTRIBUTE) {
                rest = self.other_attribute(rest, page)?;
            } else {
                return Some(rest);
            }
        }
        (rest.first() != Some(&ATTRIBUTE)).then_some(rest)
    }

    /// One that is longer than most, or no text. Gives what comes after it.
    #[inline(never)]
    fn other_attribute(&mut self, rest: &'a [u8], page: &mut Page) -> Option<&'a [u8]> {
        let mut field = Walk::new(rest, 0);
        if !field.next().ok()? {
            return None;
        }
        let (key, any) = list::plain(field.body)?;
        let value = field.body.get(key.len().wrapping_add(2)..)?;
        let text = list::text(any);
        let one = Attribute { field: rest.get(..field.stop)?, key, value, ahead: value, text };
        let tells = !self.plain && telling::is_telling_attribute(field.body);
        self.attribute(&one, tells, page)?;
        Some(field.rest())
    }

    /// `tells`: there may be something to redact.
    #[expect(clippy::inline_always, reason = "it is done for every attribute")]
    #[inline(always)]
    fn attribute(&mut self, one: &Attribute<'a>, tells: bool, page: &mut Page) -> Option<()> {
        self.tells |= tells;
        match tag(one.key) {
            None if tells => None,
            // Only custom tags come here, and mostly there are none.
            None if self.quick.tags.keys.iter().any(|key| **key == *one.key) => Some(()),
            None => page.copy(one.field),
            // Most are these.
            Some(Tag::Own(name)) if !tells && self.given.take(name) => {
                page.rename(name, one.value, one.ahead)
            }
            Some(tag) => self.tag(tag, one, tells, page),
        }
    }

    #[inline(never)]
    fn tag(&mut self, tag: Tag, one: &Attribute<'a>, tells: bool, page: &mut Page) -> Option<()> {
        let mut tells = tells;
        match tag {
            Tag::Given(_) => self.clashes = true,
            // The last one decides on the first.
            Tag::Method if std::mem::replace(&mut self.has_method, true) => return None,
            // What failed was said already.
            _ if self.said.failed && tag.tells_error() => return None,
            Tag::Component => self.proxy |= one.text == Some(b"proxy"),
            // Its end may be a URL although it is none.
            Tag::Protocol => tells |= one.text.is_some_and(telling::is_telling),
            _ => {}
        }
        self.tells |= tells;
        self.said.hear(tag, one.text);
        match tag.convert(one.text, &self.said, self.server, &mut self.given) {
            Becomes::Gone => Some(()),
            Becomes::Same if tells => None,
            Becomes::Same => page.copy(one.field),
            Becomes::Named(name) => match (tells, one.text) {
                (false, _) => page.rename(name, one.value, one.ahead),
                (true, Some(text)) => self.put(name, New::Text(text), tells, page),
                (true, None) => None,
            },
            Becomes::Valued(name, value) => self.put(name, value, tells, page),
        }
    }

    /// Writes an attribute whose value is not the one that it had, or may have to be redacted.
    fn put(&self, name: &Name, value: New<'_>, tells: bool, page: &mut Page) -> Option<()> {
        match (value, &self.quick.urls) {
            (New::Int(number), _) => page.number(name, number),
            (New::Text(text), Some(urls)) if tells => {
                let redacted = urls.attribute(name.text, text);
                page.text(name, redacted.as_deref().unwrap_or(text))
            }
            (New::Text(text), _) => page.text(name, text),
        }
    }
}

/// An attribute in its usual form.
struct Attribute<'a> {
    field: &'a [u8],
    key: &'a [u8],
    /// The field `KeyValue.value`; the same and all that comes after it.
    value: &'a [u8],
    ahead: &'a [u8],
    text: Option<&'a [u8]>,
}

impl Renamed<'_> {
    /// Writes the whole field `number`, its attributes from `page`.
    pub(super) fn write(&self, number: u32, page: &Page, out: &mut Vec<u8>) {
        let (had, added) = page.bytes.get(..page.length).unwrap_or_default().split_at(self.had);
        let name = self.name.unwrap_or_default();
        let name_length = name.iter().map(|part| part.len()).sum::<usize>();
        let named = match self.name {
            Some(_) => head_length(NAME, name_length).saturating_add(name_length),
            None => 0,
        };
        let status: &[u8] = if self.failed { &STATUS_ERROR } else { &[] };
        let length = [self.before, self.between, had, self.after, added, status]
            .iter()
            .fold(named, |length, part| length.saturating_add(part.len()));
        put_head(out, number, length);
        out.extend_from_slice(self.before);
        if self.name.is_some() {
            put_head(out, NAME, name_length);
            for part in name {
                out.extend_from_slice(part);
            }
        }
        for part in [self.between, had, self.after, added, status] {
            out.extend_from_slice(part);
        }
    }
}

/// Copies a text, most often without a call: its beginning and its end, which may overlap, as blocks.
#[inline]
fn copy_short(from: &[u8], to: &mut [u8]) {
    if from.len() <= 16
        && let (Some(first), Some(last)) = (from.first_chunk::<8>(), from.last_chunk::<8>())
    {
        to.first_chunk_mut().into_iter().for_each(|place| *place = *first);
        to.last_chunk_mut().into_iter().for_each(|place| *place = *last);
    } else if from.len() < 8
        && let (Some(first), Some(last)) = (from.first_chunk::<4>(), from.last_chunk::<4>())
    {
        to.first_chunk_mut().into_iter().for_each(|place| *place = *first);
        to.last_chunk_mut().into_iter().for_each(|place| *place = *last);
    } else {
        to.copy_from_slice(from);
    }
}

/// `Span.status` with the code [`ERROR`]. Merged by decoders with one that is there.
const STATUS_ERROR: [u8; 4] = [15 << 3 | 2, 2, 0x18, ERROR.to_le_bytes()[0]];

/// Where attributes of one span are written before it is known how long they are.
#[derive(Debug, Default)]
pub(super) struct Page {
    bytes: Vec<u8>,
    length: usize,
}

impl Page {
    /// For spans of a request of that length.
    pub(super) fn new(request: usize) -> Self {
        Self { bytes: vec![0; ROOM.min(request.saturating_mul(2))], length: 0 }
    }

    fn copy(&mut self, field: &[u8]) -> Option<()> {
        let stop = self.length.wrapping_add(field.len());
        self.bytes.get_mut(self.length..stop)?.copy_from_slice(field);
        self.length = stop;
        Some(())
    }

    /// Writes an attribute up to its value. Gives the place of that and all that comes after it.
    #[inline]
    fn begin(&mut self, name: &Name, value: usize) -> Option<&mut [u8]> {
        let key = name.field_length();
        let whole = key.wrapping_add(value);
        let [low, high, ..] = whole.to_le_bytes();
        let room = self.bytes.get_mut(self.length..)?;
        let (head, room) = if whole < 0x80 {
            let (head, room) = room.split_first_chunk_mut()?;
            *head = [ATTRIBUTE, low];
            (2, room)
        } else if whole < 0x4000 {
            let (head, room) = room.split_first_chunk_mut()?;
            *head = [ATTRIBUTE, low | 0x80, high << 1 | low >> 7];
            (3, room)
        } else {
            return None;
        };
        *room.first_chunk_mut()? = name.field;
        self.length = self.length.wrapping_add(whole).wrapping_add(head);
        room.get_mut(key..)
    }

    /// Writes an attribute with the value that it had: the field `KeyValue.value`, with which
    /// `ahead` begins.
    #[inline]
    fn rename(&mut self, name: &Name, value: &[u8], ahead: &[u8]) -> Option<()> {
        let room = self.begin(name, value.len())?;
        match (room.first_chunk_mut::<BLOCK>(), ahead.first_chunk::<BLOCK>()) {
            (Some(room), Some(block)) if value.len() <= BLOCK => *room = *block,
            _ => room.get_mut(..value.len())?.copy_from_slice(value),
        }
        Some(())
    }

    fn text(&mut self, name: &Name, text: &[u8]) -> Option<()> {
        if text.len() >= 0x7e {
            return self.long_text(name, text);
        }
        let [length, ..] = text.len().to_le_bytes();
        let room = self.begin(name, text.len().wrapping_add(4))?;
        let (head, room) = room.split_first_chunk_mut()?;
        *head = [0x12, length.wrapping_add(2), 0x0a, length];
        copy_short(text, room.get_mut(..text.len())?);
        Some(())
    }

    #[cold]
    fn long_text(&mut self, name: &Name, text: &[u8]) -> Option<()> {
        let mut any = Vec::with_capacity(text.len().saturating_add(8));
        put_bytes(&mut any, 1, text);
        let mut value = Vec::with_capacity(any.len().saturating_add(8));
        put_bytes(&mut value, 2, &any);
        self.rename(name, &value, &[])
    }

    /// Numbers that Envoy writes are not negative.
    fn number(&mut self, name: &Name, number: i64) -> Option<()> {
        let number = usize::try_from(number).ok()?;
        let width = varint_length(number as u64);
        let room = self.begin(name, width.wrapping_add(3))?;
        let (head, room) = room.split_first_chunk_mut()?;
        *head = [0x12, width.to_le_bytes()[0].wrapping_add(1), 0x18];
        patch(room.get_mut(..width)?, number);
        Some(())
    }
}
