//! What makes series of any source those of an output: selected, under final names, with the labels that say
//! whose they are, and no more of them than the output may have.

mod known;
mod overflow;

use std::collections::BTreeMap;

use ursa_model::pipeline::metrics::{Collection, MetricDestination, MetricNames, MetricOutput};

use self::known::{Known, Verdict};
use self::overflow::{Folded, Overflow};
use crate::labels::hash;
use crate::select::final_name;
use crate::{
    Entities, Exemplar, Exemplars, Family, Kind, Labels, Point, SelectError, Selector, Sink, Value,
};

pub use self::known::{KEEP, MAX_SERIES};

/// Label of the series that all those have become which were too many. OTLP: `otel.metric.overflow`.
pub const OVERFLOW_LABEL: &str = "otel_metric_overflow";

/// Envoy counts some things once more for each of its threads, under the name of the whole.
const OF_WORKERS: &str = "envoy_worker_id";
/// Histograms of Envoy to which spans belong.
const OF_SPANS: [&str; 2] = ["envoy_http_downstream_rq_time", "envoy_cluster_upstream_rq_time"];
/// The label of Kuma 2 that says what `zone` says.
const KUMA_2_ZONE: &str = "kuma_io_zone";

/// One output: what leaves by it and in which shape, and what is remembered of its series.
#[derive(Debug)]
pub struct Shape {
    selector: Selector,
    names: MetricNames,
    identity: Labels,
    entities: Entities,
    known: Known,
    folded: Folded,
}

/// From where series come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Envoy's statistics: selected, and renamed.
    Envoy,
    /// An application's, by its name if it has one: they leave as they are, with more labels.
    Application(Option<String>),
    /// What the agent makes of spans: they leave under the names that they have, if there is room.
    Spans,
    /// The agent's own, which say part of whose they are themselves.
    Own,
}

/// What left in one collection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Series that left.
    pub series: u64,
    /// Points that became part of others, by the family's name.
    pub folded: BTreeMap<String, u64>,
}

impl Shape {
    /// Of one output of a collection.
    ///
    /// # Errors
    /// When an expression of its selection cannot be used.
    pub fn new(collection: &Collection, output: &MetricOutput) -> Result<Self, SelectError> {
        let names = match &output.to {
            MetricDestination::Prometheus(endpoint) => endpoint.names,
            MetricDestination::Push(_) => MetricNames::Suffixed,
        };
        let labels = &collection.labels;
        let mut identity = Labels::from_iter(labels);
        let zone = labels.get("zone").filter(|_| !labels.contains_key(KUMA_2_ZONE));
        if let (MetricNames::Envoy, Some(zone)) = (names, zone) {
            identity.push(KUMA_2_ZONE, zone);
        }
        Ok(Self {
            selector: Selector::new(&output.selection)?,
            names,
            identity,
            entities: Entities::new(collection),
            known: Known::new(usize::try_from(output.cardinality.limit).unwrap_or(usize::MAX)),
            folded: Folded::default(),
        })
    }

    /// Does from now on as another one says, and goes on with what this one remembers.
    pub fn replace(&mut self, other: Self) {
        let Self { selector, names, identity, entities, known, folded: _ } = other;
        self.known.limit = known.limit;
        self.known.forget_verdicts();
        (self.selector, self.names) = (selector, names);
        (self.identity, self.entities) = (identity, entities);
    }

    /// How many series are remembered; never more than [`MAX_SERIES`].
    pub fn remembered(&self) -> usize {
        self.known.len()
    }

    /// The labels that say whose the series are.
    pub fn identity(&self) -> &Labels {
        &self.identity
    }
}

/// One collection on its way to `sink`. What comes is from one origin after the other.
#[derive(Debug)]
pub struct Pass<'a, S> {
    shape: &'a mut Shape,
    sink: S,
    exemplars: Exemplars,
    origin: Origin,
    counts: Counts,
    family: Current,
    /// Memory for one point after the other.
    labels: Labels,
    of_point: Vec<Exemplar>,
}

/// The family that comes.
#[derive(Debug, Default)]
struct Current {
    /// As its source calls it.
    name: String,
    /// As it leaves.
    last: String,
    kind: Option<Kind>,
    help: String,
    unit: String,
    /// Of its source, its name and its labels' values.
    hash: u64,
    verdict: Verdict,
    stage: Stage,
    overflow: Option<Overflow>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing of it has left: what is empty is not named.
    #[default]
    Waiting,
    /// The sink has it.
    Open,
    /// The sink does not want it.
    Closed,
}

impl<'a, S: Sink> Pass<'a, S> {
    /// Begins a collection. `exemplars` are put to Envoy's latencies.
    pub fn new(shape: &'a mut Shape, sink: S, exemplars: Exemplars) -> Self {
        Self {
            shape,
            sink,
            exemplars,
            origin: Origin::Own,
            counts: Counts::default(),
            family: Current::default(),
            labels: Labels::new(),
            of_point: Vec::new(),
        }
    }

    /// What comes next is from there.
    pub fn from(&mut self, origin: Origin) -> &mut Self {
        self.origin = origin;
        self
    }

    /// Where it goes.
    pub fn sink(&mut self) -> &mut S {
        &mut self.sink
    }

    /// There is no more. Series that did not come for [`KEEP`] collections are forgotten.
    pub fn finish(self) -> (S, Counts) {
        self.shape.known.next_collection();
        self.shape.folded.next_collection();
        (self.sink, self.counts)
    }

    /// Tells the sink of the family, before its first point.
    fn open(&mut self) -> bool {
        let Current { last, kind, help, unit, stage, .. } = &mut self.family;
        if *stage == Stage::Waiting {
            let kind = kind.unwrap_or(Kind::Unknown);
            let family = Family { name: last, kind, help, unit };
            *stage = if self.sink.family(&family) { Stage::Open } else { Stage::Closed };
        }
        *stage == Stage::Open
    }

    /// The labels with which a point leaves.
    fn label(&mut self, of: &Labels) {
        self.labels.clear();
        let identity = &self.shape.identity;
        for (name, value) in of.iter() {
            if self.origin == Origin::Own && identity.get(name).is_some() {
                continue;
            }
            // What says whose a series is stands once; what an application says under that name is kept.
            if !name.starts_with("envoy_") && identity.get(name).is_some() {
                self.labels.push(&format!("exported_{name}"), value);
            } else {
                self.labels.push(name, value);
            }
        }
        match &self.origin {
            Origin::Application(Some(application)) if of.get("application").is_none() => {
                self.labels.push("application", application);
            }
            Origin::Envoy => {
                if let Some(entity) = self.shape.entities.of(of) {
                    self.labels.push("direction", entity.direction.label());
                    self.labels.push("destination", entity.destination.as_deref().unwrap_or(""));
                }
            }
            Origin::Application(_) | Origin::Spans | Origin::Own => {}
        }
        self.labels.extend(identity);
    }

    /// Hands on a point whose labels are ready.
    fn hand_on(&mut self, point: &Point<'_>) {
        if self.open() {
            self.counts.series = self.counts.series.saturating_add(1);
            self.sink.point(&Point { labels: &self.labels, ..*point });
        }
    }
}

impl<S: Sink> Sink for Pass<'_, S> {
    fn family(&mut self, family: &Family<'_>) -> bool {
        let Shape { selector, names, known, .. } = &mut *self.shape;
        let is_envoy = self.origin == Origin::Envoy;
        let source = match &self.origin {
            Origin::Application(Some(name)) => hash(name),
            Origin::Application(None) => 1,
            Origin::Envoy | Origin::Spans | Origin::Own => 0,
        };
        let name = hash(family.name);
        let judge = || Verdict {
            wanted: selector.wants(family.name, family.kind),
            unused: selector.wants_unused(family.name, family.kind),
        };
        let verdict = if is_envoy {
            known.verdict(name, judge)
        } else {
            Verdict { wanted: true, unused: true }
        };
        if !verdict.wanted {
            return false;
        }
        let current = &mut self.family;
        let last = match (is_envoy, names) {
            (true, MetricNames::Suffixed) => final_name(family.name, family.kind),
            _ => family.name.into(),
        };
        family.name.clone_into(&mut current.name);
        current.last.clear();
        current.last.push_str(&last);
        family.help.clone_into(&mut current.help);
        family.unit.clone_into(&mut current.unit);
        current.kind = Some(family.kind);
        current.hash = name ^ source;
        current.verdict = verdict;
        current.stage = Stage::Waiting;
        current.overflow = None;
        true
    }

    fn point(&mut self, point: &Point<'_>) {
        if self.origin == Origin::Own {
            self.label(point.labels);
            self.hand_on(point);
            return;
        }
        if self.origin == Origin::Envoy
            && point.labels.get(OF_WORKERS).is_some()
            && !self.family.name.contains("worker")
        {
            return;
        }
        let series = point.labels.identity(self.family.hash);
        let is_used = self.family.verdict.unused || !point.value.is_zero();
        if !self.shape.known.admits(self.family.hash, series, is_used) {
            if is_used {
                let overflow = self.family.overflow.get_or_insert_default();
                overflow.add(point.value);
                let last = self.family.last.clone();
                let folded = self.counts.folded.entry(last).or_default();
                *folded = folded.saturating_add(1);
            }
            return;
        }
        self.label(point.labels);
        if self.origin == Origin::Envoy
            && OF_SPANS.contains(&&*self.family.name)
            && let Value::Histogram(histogram) = point.value
            && let Some(entity) = self.shape.entities.of(point.labels)
        {
            let mut exemplars = std::mem::take(&mut self.of_point);
            exemplars.clear();
            self.exemplars.attach(entity, histogram, &mut exemplars);
            self.hand_on(&Point { exemplars: &exemplars, ..*point });
            self.of_point = exemplars;
            return;
        }
        self.hand_on(point);
    }

    fn end(&mut self) {
        if let Some(mut overflow) = self.family.overflow.take() {
            let only_grows =
                matches!(self.family.kind, Some(Kind::Counter | Kind::Histogram | Kind::Summary));
            if only_grows {
                self.shape.folded.keep_growing(self.family.hash, &mut overflow);
            }
            self.labels.clear();
            self.labels.push(OVERFLOW_LABEL, "true");
            self.labels.extend(&self.shape.identity);
            overflow.with_value(|value| {
                let labels = Labels::new();
                let point =
                    Point { labels: &labels, value, time: None, created: None, exemplars: &[] };
                self.hand_on(&point);
            });
        }
        if self.family.stage == Stage::Open {
            self.sink.end();
        }
        self.family.stage = Stage::Waiting;
    }
}
