//! Zipkin's v1 JSON. A v1 span may tell of both sides of a call, each annotation with the endpoint
//! that saw it; every side becomes a v2 span.
//!
//! Followed: Zipkin's own reading of v1: the core annotations (`cs` client send, `sr` server
//! receive, `ss`, `cr`; `ms`, `mr` of messages, `ws`, `wr` of the wire) become kind, timestamp and
//! duration; the addresses `ca`, `sa`, `ma` become the remote endpoint.

use serde::Deserialize;

use super::list::Elements;
use super::span::{Endpoint, Kind, Number, Span, SpanId, Text, TraceId};
use super::{ZipkinError, end, write};

/// Sides that one v1 span may have; each repeats its name. A call has two.
const MAX_SIDES: usize = 8;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
struct Old<'a> {
    trace_id: TraceId,
    id: SpanId,
    #[serde(default)]
    parent_id: Option<SpanId>,
    #[serde(default)]
    name: Option<Text<'a>>,
    #[serde(default)]
    timestamp: Option<Number>,
    #[serde(default)]
    duration: Option<Number>,
    #[serde(default)]
    debug: Option<bool>,
    #[serde(default)]
    annotations: Option<Vec<Event<'a>>>,
    #[serde(default)]
    binary_annotations: Option<Vec<Binary<'a>>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct Event<'a> {
    timestamp: Number,
    value: Text<'a>,
    #[serde(default)]
    endpoint: Option<Endpoint<'a>>,
}

#[derive(Debug, Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct Binary<'a> {
    key: Text<'a>,
    value: BinaryValue<'a>,
    #[serde(default)]
    endpoint: Option<Endpoint<'a>>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, bound(deserialize = "'de: 'a"))]
enum BinaryValue<'a> {
    /// The annotation names an address.
    Truth(bool),
    Text(Text<'a>),
}

/// A list of v1 JSON as a list of v2 JSON; both sides of a shared span become spans of their own.
///
/// # Errors
/// It is not such a list, or has a span that Zipkin would refuse.
pub fn from_v1_json(list: &[u8]) -> Result<Vec<u8>, ZipkinError> {
    let list = std::str::from_utf8(list).map_err(|_| ZipkinError::Utf8)?;
    let mut out = Vec::new();
    for (index, text) in Elements::new(list).enumerate() {
        let old: Old<'_> =
            serde_json::from_str(text?).map_err(|source| ZipkinError::Span { index, source })?;
        let wrong = |reason| ZipkinError::Wrong { index, reason };
        if old.id.0 == 0 {
            return Err(wrong("its id is zero"));
        }
        let sides = Sides::of(&old).ok_or_else(|| wrong("it has too many endpoints"))?;
        for span in &sides.spans {
            write(&mut out, span);
        }
    }
    Ok(end(out))
}

/// The spans that are made of one.
struct Sides<'a, 'b> {
    old: &'b Old<'a>,
    /// The first takes what belongs to no endpoint.
    spans: Vec<Span<'a>>,
}

/// The core annotations.
#[derive(Default)]
struct Core<'a, 'b> {
    cs: Option<Moment<'a, 'b>>,
    cr: Option<Moment<'a, 'b>>,
    sr: Option<Moment<'a, 'b>>,
    ss: Option<Moment<'a, 'b>>,
    ms: Option<Moment<'a, 'b>>,
    mr: Option<Moment<'a, 'b>>,
    ws: Option<Moment<'a, 'b>>,
    wr: Option<Moment<'a, 'b>>,
}

/// When an endpoint saw something.
#[derive(Clone, Copy)]
struct Moment<'a, 'b> {
    time: u64,
    endpoint: &'b Endpoint<'a>,
}

impl Moment<'_, '_> {
    fn until(self, end: Self) -> Option<Number> {
        end.time.checked_sub(self.time).filter(|duration| *duration > 0).map(Number)
    }
}

fn set(number: Option<Number>) -> Option<Number> {
    number.filter(|number| number.0 > 0)
}

impl<'a, 'b> Sides<'a, 'b> {
    /// None if there are more than [`MAX_SIDES`].
    fn of(old: &'b Old<'a>) -> Option<Self> {
        let mut sides = Self { old, spans: Vec::new() };
        sides.add(None)?;
        let core = sides.read_annotations()?;
        sides.read_addresses(&core)?;
        Some(sides)
    }

    fn add(&mut self, endpoint: Option<&Endpoint<'a>>) -> Option<&mut Span<'a>> {
        if self.spans.len() >= MAX_SIDES {
            return None;
        }
        let mut span = Span::new(self.old.trace_id, self.old.id);
        span.parent_id = self.old.parent_id.filter(|parent| parent.0 != 0);
        span.name.clone_from(&self.old.name);
        span.debug = self.old.debug.filter(|debug| *debug);
        span.local_endpoint = endpoint.cloned();
        self.spans.push(span);
        self.spans.last_mut()
    }

    /// The span of the side with that endpoint. Sides are told apart by their service's name.
    fn side(&mut self, endpoint: Option<&Endpoint<'a>>) -> Option<&mut Span<'a>> {
        let mine = |span: &Span<'a>| match (endpoint, &span.local_endpoint) {
            (None, _) | (_, None) => true,
            (Some(endpoint), Some(local)) => endpoint.service() == local.service(),
        };
        match self.spans.iter().position(mine) {
            Some(at) => {
                let span = self.spans.get_mut(at)?;
                if span.local_endpoint.is_none() {
                    span.local_endpoint = endpoint.cloned();
                }
                Some(span)
            }
            None => self.add(endpoint),
        }
    }

    fn read_annotations(&mut self) -> Option<Core<'a, 'b>> {
        let old = self.old;
        let mut core = Core::default();
        for event in old.annotations.iter().flatten() {
            let side = self.side(event.endpoint.as_ref())?;
            let moment = event
                .endpoint
                .as_ref()
                .map(|endpoint| Moment { time: event.timestamp.0, endpoint });
            let place = match (moment, &*event.value.0) {
                (Some(_), "cs") => Some((Some(Kind::Client), &mut core.cs)),
                (Some(_), "cr") => Some((Some(Kind::Client), &mut core.cr)),
                (Some(_), "sr") => Some((Some(Kind::Server), &mut core.sr)),
                (Some(_), "ss") => Some((Some(Kind::Server), &mut core.ss)),
                (Some(_), "ms") => Some((Some(Kind::Producer), &mut core.ms)),
                (Some(_), "mr") => Some((Some(Kind::Consumer), &mut core.mr)),
                (Some(_), "ws") => Some((None, &mut core.ws)),
                (Some(_), "wr") => Some((None, &mut core.wr)),
                _ => None,
            };
            match place {
                Some((kind, place)) => {
                    side.kind = kind.or(side.kind);
                    *place = moment;
                }
                None => side.annotate(event.timestamp, event.value.clone()),
            }
        }
        // A start that is missing may stand in the span itself.
        for (start, end) in [(&mut core.cs, core.cr), (&mut core.sr, core.ss)] {
            if let (None, Some(end), Some(from), Some(lasts)) =
                (&start, end, set(old.timestamp), set(old.duration))
                && from.0.checked_add(lasts.0) == Some(end.time)
            {
                *start = Some(Moment { time: from.0, ..end });
            }
        }
        self.time_call(&core)?;
        self.time_message(&core)?;
        Some(core)
    }

    fn time_call(&mut self, core: &Core<'a, 'b>) -> Option<()> {
        let (from, lasts) = (set(self.old.timestamp), set(self.old.duration));
        match (core.cs, core.cr, core.sr, core.ss) {
            (Some(cs), cr, Some(sr), ss) => {
                self.time(cs, cr)?;
                let loopback = cs.endpoint.service() == sr.endpoint.service();
                let client = self.side(Some(cs.endpoint))?;
                client.kind = Some(Kind::Client);
                if cr.is_none() && lasts.is_none() {
                    client.duration = None;
                }
                let server = if loopback {
                    self.add(Some(sr.endpoint))?
                } else {
                    self.side(Some(sr.endpoint))?
                };
                server.kind = Some(Kind::Server);
                server.shared = Some(true);
                server.timestamp = set(Some(Number(sr.time)));
                server.duration = ss.and_then(|ss| sr.until(ss));
            }
            (Some(cs), Some(cr), ..) => self.time(cs, Some(cr))?,
            (_, _, Some(sr), Some(ss)) => self.time(sr, Some(ss))?,
            _ => self.time_incomplete(core)?,
        }
        if let (None, Some(sr)) = (core.cs, core.sr)
            && (from.is_none() || core.ss.is_some() && lasts.is_none())
        {
            // v1 had no flag; whose time is unknown did not start the span.
            self.side(Some(sr.endpoint))?.shared = Some(true);
        }
        Some(())
    }

    /// Times without their other end stay annotations.
    fn time_incomplete(&mut self, core: &Core<'a, 'b>) -> Option<()> {
        for span in &mut self.spans {
            let (start, end, name) = match span.kind {
                Some(Kind::Client) => (core.cs, core.cr, "cr"),
                Some(Kind::Server) => (core.sr, core.ss, "ss"),
                _ => continue,
            };
            if let Some(start) = start {
                span.timestamp = set(Some(Number(start.time)));
            }
            if let Some(end) = end {
                span.annotate(Number(end.time), name);
            }
        }
        let (from, lasts) = (set(self.old.timestamp), set(self.old.duration));
        if from.is_some() {
            let first = self.spans.first_mut()?;
            (first.timestamp, first.duration) = (from, lasts);
        }
        Some(())
    }

    fn time_message(&mut self, core: &Core<'a, 'b>) -> Option<()> {
        match (core.ms, core.mr) {
            (Some(ms), Some(mr)) => {
                let loopback = ms.endpoint.service() == mr.endpoint.service();
                let producer = self.side(Some(ms.endpoint))?;
                producer.kind = Some(Kind::Producer);
                producer.timestamp = set(Some(Number(ms.time)));
                producer.duration = core.ws.and_then(|ws| ms.until(ws));
                let consumer = if loopback {
                    self.add(Some(mr.endpoint))?
                } else {
                    self.side(Some(mr.endpoint))?
                };
                consumer.kind = Some(Kind::Consumer);
                consumer.shared = Some(true);
                consumer.timestamp = set(Some(Number(core.wr.unwrap_or(mr).time)));
                consumer.duration = core.wr.and_then(|wr| wr.until(mr));
            }
            (Some(ms), None) => self.time(ms, core.ws)?,
            (None, Some(mr)) => match core.wr {
                Some(wr) => self.time(wr, Some(mr))?,
                None => self.time(mr, None)?,
            },
            (None, None) => {
                for (name, moment) in [("ws", core.ws), ("wr", core.wr)] {
                    let Some(moment) = moment else { continue };
                    self.side(Some(moment.endpoint))?.annotate(Number(moment.time), name);
                }
            }
        }
        Some(())
    }

    /// Sets the times of the side where something began; what the span itself says is better.
    fn time(&mut self, begin: Moment<'a, 'b>, end: Option<Moment<'a, 'b>>) -> Option<()> {
        let (from, lasts) = (set(self.old.timestamp), set(self.old.duration));
        let side = self.side(Some(begin.endpoint))?;
        (side.timestamp, side.duration) = if from.is_some() && lasts.is_some() {
            (from, lasts)
        } else {
            (set(Some(Number(begin.time))), end.and_then(|end| begin.until(end)))
        };
        Some(())
    }

    /// Binary annotations: tags, and the addresses of the other side.
    fn read_addresses(&mut self, core: &Core<'a, 'b>) -> Option<()> {
        let (mut ca, mut sa, mut ma) = (None, None, None);
        for binary in self.old.binary_annotations.iter().flatten() {
            let key = &*binary.key.0;
            let value = match (&binary.value, key) {
                (BinaryValue::Truth(_), "ca" | "sa" | "ma") => {
                    match key {
                        "ca" => ca = binary.endpoint.as_ref(),
                        "sa" => sa = binary.endpoint.as_ref(),
                        _ => ma = binary.endpoint.as_ref(),
                    }
                    continue;
                }
                (BinaryValue::Truth(truth), _) => Text::from(if *truth { "true" } else { "false" }),
                (BinaryValue::Text(text), _) => text.clone(),
            };
            let side = self.side(binary.endpoint.as_ref())?;
            // A local component without a name only says where the span is from.
            if key != "lc" || !value.0.is_empty() {
                side.tag(binary.key.clone(), value);
            }
        }
        let server = core.sr.or(core.ss);
        let client = core.cs.or(core.cr);
        if server.is_none() && client.is_none() {
            let (of, remote) = match (ca, sa) {
                (Some(ca), Some(sa)) => (Some(ca), sa),
                (None, Some(sa)) => (None, sa),
                (Some(ca), None) => {
                    self.side(None)?.kind = Some(Kind::Server);
                    (None, ca)
                }
                (None, None) => return self.read_broker(core, ma),
            };
            self.side(of)?.remote_endpoint = Some(remote.clone());
            return Some(());
        }
        if let (Some(ca), Some(server)) = (ca, server)
            && ca != server.endpoint
        {
            let mut ca = ca.clone();
            // Some put their own name on the client's socket.
            if ca.service() == server.endpoint.service() {
                ca.service_name = None;
            }
            self.server_side(server.endpoint)?.remote_endpoint = Some(ca);
        }
        if let (Some(sa), Some(client)) = (sa, client) {
            self.side(Some(client.endpoint))?.remote_endpoint = Some(sa.clone());
        }
        self.read_broker(core, ma)
    }

    /// The server's span, also when client and server have one name.
    fn server_side(&mut self, endpoint: &Endpoint<'a>) -> Option<&mut Span<'a>> {
        let server = |span: &Span<'a>| {
            let local = span.local_endpoint.as_ref();
            span.kind == Some(Kind::Server)
                && local.is_some_and(|local| local.service() == endpoint.service())
        };
        match self.spans.iter().position(server) {
            Some(at) => self.spans.get_mut(at),
            None => self.side(Some(endpoint)),
        }
    }

    fn read_broker(&mut self, core: &Core<'a, 'b>, broker: Option<&Endpoint<'a>>) -> Option<()> {
        for moment in [core.ms, core.mr].into_iter().flatten() {
            if let Some(broker) = broker {
                self.side(Some(moment.endpoint))?.remote_endpoint = Some(broker.clone());
            }
        }
        Some(())
    }
}
