//! Reading YAML 1.2, and JSON, which is nearly a part of it, into trees; and writing it.
//!
//! The core schema decides what plain scalars are. Keys are text. Anchors and aliases are expanded, within bounds; merge keys (`<<`) and tags other
//! than the core schema's are refused.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, StrInput, Tag};
use serde_json::Number;

use crate::path::{Path, Segment};
use crate::report::{MAX_VIOLATIONS, Severity, Violation};
use crate::tree::{Map, Node, Place, Value};

/// The longest text that is read, in bytes.
pub const MAX_TEXT: usize = 1 << 20;
/// How deep lists and mappings may be nested.
pub const MAX_DEPTH: usize = 64;
/// How many values one document may hold once aliases are expanded. Every 64 bytes of text count as one more.
pub const MAX_NODES: usize = 100_000;

/// One document's own text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source<'t> {
    /// As written, without the `---` that leads it, unless something stands on that line.
    pub text: &'t str,
    /// The line of the whole text on which it begins, from 1.
    pub first_line: u32,
}

/// What became of one document's text.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Read {
    /// The tree; `None` if there is nothing but comments, or if the text could not be read to its end.
    pub node: Option<Node>,
    /// What is wrong with the text itself.
    pub violations: Vec<Violation>,
}

/// Takes a text apart at its document markers, `---` and `...` at the beginning of a line. So a slip in one document leaves the others readable.
/// Documents without any content are left out.
pub fn split(text: &str) -> Vec<Source<'_>> {
    let mut sources = Vec::new();
    let mut begin = 0;
    let mut first_line = 1;
    let mut offset = 0;
    for (line, number) in text.split_inclusive('\n').zip(1_u32..) {
        let end = offset + line.len();
        if let Some(rest) = line
            .strip_prefix("---")
            .filter(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace))
        {
            push_source(&mut sources, text, begin..offset, first_line);
            let blank = rest.trim().is_empty();
            (begin, first_line) =
                if blank { (end, number.saturating_add(1)) } else { (offset, number) };
        } else if line.trim_end() == "..." {
            push_source(&mut sources, text, begin..offset, first_line);
            (begin, first_line) = (end, number.saturating_add(1));
        }
        offset = end;
    }
    push_source(&mut sources, text, begin..text.len(), first_line);
    sources
}

fn push_source<'t>(
    sources: &mut Vec<Source<'t>>,
    text: &'t str,
    range: std::ops::Range<usize>,
    first_line: u32,
) {
    let mut text = text.get(range).unwrap_or_default();
    let mut first_line = first_line;
    let says_nothing = |line: &str| line.trim().is_empty() || line.starts_with(['#', '%']);
    if text.lines().all(says_nothing) {
        return;
    }
    while let Some((_, rest)) = text.split_once('\n').filter(|(line, _)| line.trim().is_empty()) {
        text = rest;
        first_line = first_line.saturating_add(1);
    }
    sources.push(Source { text, first_line });
}

/// Reads one document. Places count from the beginning of `text`.
pub fn read(text: &str) -> Read {
    if text.len() > MAX_TEXT {
        let message = format!("the text is longer than {MAX_TEXT} bytes");
        return Read { node: None, violations: vec![violation(Path::root(), None, message, None)] };
    }
    let text = join_surrogates(text);
    let mut builder = Builder::default();
    match builder.run(&mut Parser::new_from_str(&text)) {
        Ok(()) => Read { node: builder.root, violations: builder.violations },
        Err(stop) => {
            builder.violations.push(*stop.0);
            Read { node: None, violations: builder.violations }
        }
    }
}

/// The value as YAML, in the order of its fields.
pub fn write(value: &serde_json::Value) -> String {
    // JSON is YAML too, should a value be beyond the writer's means.
    serde_saphyr::to_string(value).unwrap_or_else(|_| value.to_string())
}

fn violation(
    path: Path,
    place: Option<Place>,
    message: impl Into<String>,
    hint: Option<String>,
) -> Violation {
    Violation {
        severity: Severity::Refused,
        document: 0,
        path,
        place,
        message: message.into(),
        hint,
    }
}

fn place(marker: Marker) -> Place {
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    Place { line: count(marker.line().max(1)), column: count(marker.col().saturating_add(1)) }
}

/// Turns the parser's events into a tree.
#[derive(Debug, Default)]
struct Builder {
    /// Lists and mappings that are not closed yet.
    open: Vec<Open>,
    root: Option<Node>,
    /// Finished values that have an anchor, and their weight.
    anchors: HashMap<usize, (Node, usize)>,
    weight: usize,
    violations: Vec<Violation>,
}

/// A list or mapping that is not closed yet.
#[derive(Debug)]
struct Open {
    place: Place,
    anchor: usize,
    /// The weight of everything before it.
    weight_before: usize,
    content: Content,
}

#[derive(Debug)]
enum Content {
    List(Vec<Node>),
    Map { map: Map, seen: HashSet<String>, key: Option<(String, Place)> },
}

/// Why reading stopped.
#[derive(Debug)]
struct Stop(Box<Violation>);

impl Builder {
    fn run(&mut self, parser: &mut Parser<'_, StrInput<'_>>) -> Result<(), Stop> {
        let mut documents = 0;
        while let Some(event) = parser.next_event() {
            let (event, span) = event.map_err(|error| {
                let message = format!("not valid YAML: {}", error.info());
                self.stop(place(*error.marker()), message)
            })?;
            let at = place(span.start);
            match event {
                Event::Nothing | Event::StreamStart | Event::DocumentEnd => {}
                Event::StreamEnd => break,
                Event::DocumentStart(_) => {
                    documents += 1;
                    if documents > 1 {
                        return Err(self.stop(
                            at,
                            "a second document begins here without `---` on a line of its own",
                        ));
                    }
                }
                Event::Alias(anchor) => self.alias(anchor, at)?,
                Event::Scalar(text, style, anchor, tag) => {
                    self.scalar(&text, style, anchor, tag.as_deref(), at)?;
                }
                Event::SequenceStart(anchor, tag) => {
                    self.begin(Content::List(Vec::new()), anchor, tag.as_deref(), at)?;
                }
                Event::MappingStart(anchor, tag) => {
                    let content = Content::Map { map: Map::new(), seen: HashSet::new(), key: None };
                    self.begin(content, anchor, tag.as_deref(), at)?;
                }
                Event::SequenceEnd | Event::MappingEnd => self.end()?,
            }
        }
        Ok(())
    }

    fn stop(&self, at: Place, message: impl Into<String>) -> Stop {
        Stop(Box::new(violation(self.path(), Some(at), message, None)))
    }

    /// The path of what is being read.
    fn path(&self) -> Path {
        let segment = |open: &Open| match &open.content {
            Content::List(items) => Some(Segment::Index(items.len())),
            Content::Map { key, .. } => key.as_ref().map(|(key, _)| Segment::Key(key.clone())),
        };
        Path(self.open.iter().filter_map(segment).collect())
    }

    /// Counts values against the bound.
    fn add_weight(&mut self, weight: usize, at: Place) -> Result<(), Stop> {
        self.weight = self.weight.saturating_add(weight);
        if self.weight > MAX_NODES {
            return Err(self.stop(at, format!("more than {MAX_NODES} values, aliases expanded")));
        }
        Ok(())
    }

    /// Whether a key is due rather than a value.
    fn wants_key(&self) -> bool {
        matches!(self.open.last(), Some(Open { content: Content::Map { key: None, .. }, .. }))
    }

    fn begin(
        &mut self,
        content: Content,
        anchor: usize,
        tag: Option<&Tag>,
        at: Place,
    ) -> Result<(), Stop> {
        if self.wants_key() {
            return Err(self.stop(at, "a key must be text"));
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(self.stop(at, format!("nested deeper than {MAX_DEPTH}")));
        }
        let expected = if matches!(content, Content::List(_)) { "seq" } else { "map" };
        if let Some(tag) = tag.filter(|tag| !(tag.is_yaml_core_schema() && tag.suffix == expected))
        {
            return Err(self.unknown_tag(tag, at));
        }
        let weight_before = self.weight;
        self.add_weight(1, at)?;
        self.open.push(Open { place: at, anchor, weight_before, content });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Stop> {
        let Some(open) = self.open.pop() else { return Ok(()) };
        let value = match open.content {
            Content::List(items) => Value::List(items),
            Content::Map { map, .. } => Value::Map(map),
        };
        let weight = self.weight.saturating_sub(open.weight_before);
        self.finish(Node::new(open.place, value), open.anchor, weight)
    }

    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        anchor: usize,
        tag: Option<&Tag>,
        at: Place,
    ) -> Result<(), Stop> {
        if self.wants_key() {
            return self.key(text, style, at);
        }
        let plain = match tag {
            None => style == ScalarStyle::Plain,
            Some(tag) if tag.handle.is_empty() && tag.suffix == "!" => false,
            Some(tag) if tag.is_yaml_core_schema() => match tag.suffix.as_str() {
                "str" => false,
                "int" | "float" | "bool" | "null" => true,
                _ => return Err(self.unknown_tag(tag, at)),
            },
            Some(tag) => return Err(self.unknown_tag(tag, at)),
        };
        let value = if plain { resolve(text) } else { Ok(Value::String(text.to_owned())) };
        let Ok(value) = value else {
            return Err(self.stop(at, format!("`{text}` is not a finite number")));
        };
        let weight = weight_of(text);
        self.add_weight(weight, at)?;
        self.finish(Node::new(at, value), anchor, weight)
    }

    fn key(&mut self, text: &str, style: ScalarStyle, at: Place) -> Result<(), Stop> {
        let plain = style == ScalarStyle::Plain;
        if plain && text.is_empty() {
            return Err(self.stop(at, "a key is missing before `:`"));
        }
        if plain && text == "<<" {
            return Err(
                self.stop(at, "merge keys (`<<`) are not part of YAML 1.2; write the fields out")
            );
        }
        self.add_weight(weight_of(text), at)?;
        if let Some(Open { content: Content::Map { key, .. }, .. }) = self.open.last_mut() {
            *key = Some((text.to_owned(), at));
        }
        Ok(())
    }

    fn alias(&mut self, anchor: usize, at: Place) -> Result<(), Stop> {
        if self.wants_key() {
            return Err(self.stop(at, "a key must be text"));
        }
        let Some(weight) = self.anchors.get(&anchor).map(|(_, weight)| *weight) else {
            return Err(self.stop(at, "the alias stands inside of what it refers to"));
        };
        self.add_weight(weight, at)?;
        let depth = self.open.len();
        let Some(node) = self.anchors.get(&anchor).map(|(node, _)| node.clone()) else {
            return Ok(());
        };
        if depth.saturating_add(depth_of(&node)) > MAX_DEPTH {
            return Err(self.stop(at, format!("nested deeper than {MAX_DEPTH}")));
        }
        self.finish(node, 0, weight)
    }

    /// Puts a finished value where it belongs.
    fn finish(&mut self, node: Node, anchor: usize, weight: usize) -> Result<(), Stop> {
        if anchor > 0 {
            self.add_weight(weight, node.place)?;
            self.anchors.insert(anchor, (node.clone(), weight));
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match &mut open.content {
            Content::List(items) => items.push(node),
            Content::Map { map, seen, key } => {
                let Some((key, key_place)) = key.take() else { return Ok(()) };
                if seen.insert(key.clone()) {
                    map.push(key, key_place, node);
                } else {
                    self.duplicate(key, key_place);
                }
            }
        }
        Ok(())
    }

    fn duplicate(&mut self, key: String, at: Place) {
        if self.violations.len() >= MAX_VIOLATIONS {
            return;
        }
        let Some(Open { content: Content::Map { map, .. }, .. }) = self.open.last() else { return };
        let first = map.entry(&key).map(|entry| entry.key_place.line).unwrap_or_default();
        let message = format!("`{key}` stands here twice, first in line {first}");
        self.violations.push(violation(self.path().key(key), Some(at), message, None));
    }

    fn unknown_tag(&self, tag: &Tag, at: Place) -> Stop {
        self.stop(at, format!("the tag `{tag}` means nothing here"))
    }
}

fn weight_of(text: &str) -> usize {
    1 + text.len() / 64
}

fn depth_of(node: &Node) -> usize {
    let deepest = match &node.value {
        Value::List(items) => items.iter().map(depth_of).max(),
        Value::Map(map) => map.iter().map(|entry| depth_of(&entry.node)).max(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return 0,
    };
    1 + deepest.unwrap_or(0)
}

/// What a plain scalar is by the core schema.
fn resolve(text: &str) -> Result<Value, NotFinite> {
    Ok(match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ => match number(text) {
            Some(number) => Value::Number(number?),
            None => Value::String(text.to_owned()),
        },
    })
}

/// A number that JSON cannot hold.
struct NotFinite;

/// The number that `text` is, if it is one.
fn number(text: &str) -> Option<Result<Number, NotFinite>> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return Some(Err(NotFinite));
    }
    for (prefix, radix) in [("0o", 8), ("0x", 16)] {
        if let Some(digits) = text.strip_prefix(prefix).filter(|digits| all_digits(digits, radix)) {
            let whole = u64::from_str_radix(digits, radix).map(Number::from);
            return Some(whole.map_err(|_| NotFinite));
        }
    }
    if all_digits(unsigned, 10) {
        let text = text.strip_prefix('+').unwrap_or(text);
        let whole = text.parse::<u64>().map(Number::from);
        if let Ok(whole) = whole.or_else(|_| text.parse::<i64>().map(Number::from)) {
            return Some(Ok(whole));
        }
    } else if !is_float(unsigned) {
        return None;
    }
    Some(text.parse().ok().and_then(Number::from_f64).ok_or(NotFinite))
}

fn all_digits(text: &str, radix: u32) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_digit(radix))
}

/// Whether the text without its sign is a float of the core schema.
fn is_float(text: &str) -> bool {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let digits = |text: &str| text.chars().all(|c| c.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent_holds = exponent.is_none_or(|exponent| {
        let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        !exponent.is_empty() && digits(exponent)
    });
    (!whole.is_empty() || !fraction.is_empty())
        && digits(whole)
        && digits(fraction)
        && exponent_holds
}

/// JSON writes characters beyond the basic plane as two escapes, `\ud83d\ude00`, which YAML does not know: they become the character.
fn join_surrogates(text: &str) -> Cow<'_, str> {
    if !text.trim_start().starts_with(['{', '['])
        || !(text.contains("\\ud") || text.contains("\\uD"))
    {
        return Cow::Borrowed(text);
    }
    let mut joined = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        joined.push_str(before);
        if let Some((character, after)) = surrogate_pair(after) {
            joined.push(character);
            rest = after;
            continue;
        }
        joined.push('\\');
        let mut characters = after.chars();
        joined.extend(characters.next());
        rest = characters.as_str();
    }
    joined.push_str(rest);
    Cow::Owned(joined)
}

/// The character of `ud83d\ude00…`, and what follows.
fn surrogate_pair(text: &str) -> Option<(char, &str)> {
    let (high, rest) = text.strip_prefix('u')?.split_at_checked(4)?;
    let (low, rest) = rest.strip_prefix("\\u")?.split_at_checked(4)?;
    let units = [u16::from_str_radix(high, 16).ok()?, u16::from_str_radix(low, 16).ok()?];
    let is_pair = (0xd800..0xdc00).contains(&units[0]);
    let character = char::decode_utf16(units).next()?.ok()?;
    is_pair.then_some((character, rest))
}
