//! What processors do to telemetry: compiled once, done in one pass over the bytes.
//!
//! Every resource and every item (span, data point, log record) is read once into a list of its
//! attributes, goes through all steps in their order, and is written once if it changed. What does
//! not change is copied in whole ranges, and if nothing does, nothing is copied.
//!
//! Not here: decisions over whole traces, which need more than one request.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod baggage;
mod editor;
mod envoy;
mod filter;
mod keys;
mod list;
mod name;
mod native;
mod pass;
mod quick;
mod resource;
mod shape;
mod tags;
#[cfg(test)]
mod tests;
mod urls;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use thiserror::Error;
use ursa_model::pipeline::Processor;
use ursa_model::pipeline::processor::{AttributePlace, RedactUrls, SignalName};
use ursa_model::template::TemplateError;

pub use native::{SpanFacts, Verdict};

use crate::Signal;
use crate::wire::{Checked, SpanId, WireError};
use baggage::Baggage;
pub(crate) use baggage::decoded;
pub use baggage::member;
use envoy::Conventions;
use filter::Filter;
use keys::Keys;
use list::List;
use name::Name;
use pass::{Dropped, Pass};
use quick::Quick;
use resource::Resource;
use tags::Tags;
use urls::Urls;

/// In the order of [`Rules::plans`].
const SIGNALS: [SignalName; 3] = [SignalName::Traces, SignalName::Metrics, SignalName::Logs];

/// Processors and resource attributes, compiled.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    plans: [Plan; 3],
}

/// What happens to one signal.
#[derive(Debug, Clone)]
struct Plan {
    steps: Vec<Step>,
    /// How many filters and conditions of filters there are.
    filters: usize,
    conditions: usize,
    /// Where the attributes of its items are.
    place: AttributePlace,
    /// What has to be looked at: resources, scopes, items, and what items hold.
    resource: bool,
    scope: bool,
    items: bool,
    within: bool,
    /// Nothing acts on items but redaction of URLs under keys that all know.
    only_urls: bool,
    /// Nothing acts on items but what is done in one go.
    quick: Option<Quick>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            steps: Vec::new(),
            filters: 0,
            conditions: 0,
            place: AttributePlace::Span,
            resource: false,
            scope: false,
            items: false,
            within: false,
            only_urls: false,
            quick: None,
        }
    }
}

/// A processor, compiled.
#[derive(Debug, Clone)]
enum Step {
    Resource(Resource),
    Envoy(Conventions),
    Tags(Tags),
    Baggage(Baggage),
    Name(Name),
    Keys(Keys),
    Urls(Urls),
    Filter {
        filter: Arc<Filter>,
        /// Among the filters of its signal.
        number: usize,
        /// The number of its first condition among those of its signal.
        first_condition: usize,
    },
}

/// A processor that cannot work. Validation reports the same with its place.
#[derive(Debug, Error)]
pub enum CompileError {
    /// A regular expression is malformed or too large.
    #[error("regular expression {regex:?} of filter {filter} cannot be used")]
    Regex {
        /// The filter's name.
        filter: String,
        /// The expression.
        regex: String,
        /// What is wrong.
        source: regex::Error,
    },
    /// A span's name is no template.
    #[error("the template of spans' names cannot be used")]
    Template(#[from] TemplateError),
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Processed {
    /// What goes on; the request itself if nothing changed.
    pub request: Bytes,
    /// How many items it holds.
    pub items: usize,
    /// What was dropped, by filter, in their order; filters that dropped nothing are left out.
    /// `items` and these together are what came in.
    pub filtered: Vec<Filtered>,
}

/// What one filter dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filtered {
    /// The filter's name.
    pub rule: Arc<str>,
    /// How many spans, data points or log records.
    pub items: usize,
    /// Which spans. Empty for other signals.
    pub spans: Vec<SpanId>,
}

impl Rules {
    /// `set` and `fill` are put on resources first (`set` replaces what a resource says, `fill` is
    /// added where the key is absent); then `processors` act in order. Their values are taken as
    /// they are: templates are rendered before. URLs are redacted last, unless a processor does.
    ///
    /// # Errors
    /// A regular expression or a template cannot be compiled.
    pub fn compile(
        set: &BTreeMap<String, String>,
        fill: &BTreeMap<String, String>,
        processors: &[Processor],
    ) -> Result<Self, CompileError> {
        let mut rules = Self::default();
        let base = Resource::new(set, fill, &[]);
        rules.push(|_| !base.does_nothing(), || Step::Resource(base.clone()));
        for processor in processors {
            match processor {
                Processor::ResourceAttributes(spec) => {
                    let new = Resource::new(&spec.set, &spec.fill, &spec.remove);
                    rules.push(|_| !new.does_nothing(), || Step::Resource(new.clone()));
                }
                Processor::SemanticConventions(spec) => {
                    let new = Conventions::new(spec);
                    rules.push(|of| of == SignalName::Traces, || Step::Envoy(new.clone()));
                }
                Processor::EnvoyTags(spec) => {
                    let new = Tags::new(spec);
                    rules.push(|of| of == SignalName::Traces, || Step::Tags(new.clone()));
                }
                Processor::Baggage(spec) => {
                    let new = Baggage::new(spec);
                    rules.push(|of| of == SignalName::Traces, || Step::Baggage(new.clone()));
                }
                Processor::SpanName(spec) => {
                    let new = Name::new(&spec.template)?;
                    rules.push(|of| of == SignalName::Traces, || Step::Name(new.clone()));
                }
                Processor::Attributes(spec) => {
                    let new = Keys::new(spec);
                    let acts = |of| {
                        let places = [AttributePlace::Resource, AttributePlace::Scope, place(of)];
                        places.iter().any(|place| new.places.contains(place))
                    };
                    rules.push(acts, || Step::Keys(new.clone()));
                }
                Processor::RedactUrls(spec) => {
                    let new = Urls::new(spec);
                    rules.push(|_| !new.does_nothing(), || Step::Urls(new.clone()));
                }
                Processor::Filter(spec) => {
                    let new = Arc::new(Filter::new(spec)?);
                    rules.push_filter(&new);
                }
                _ => {}
            }
        }
        if !processors.iter().any(|processor| matches!(processor, Processor::RedactUrls(_))) {
            let new = Urls::new(&RedactUrls::default());
            rules.push(|_| true, || Step::Urls(new.clone()));
        }
        for (plan, signal) in rules.plans.iter_mut().zip(SIGNALS) {
            plan.finish(signal);
        }
        Ok(rules)
    }

    fn push(&mut self, acts: impl Fn(SignalName) -> bool, step: impl Fn() -> Step) {
        for (plan, signal) in self.plans.iter_mut().zip(SIGNALS) {
            if acts(signal) {
                plan.steps.push(step());
            }
        }
    }

    fn push_filter(&mut self, filter: &Arc<Filter>) {
        for (plan, signal) in self.plans.iter_mut().zip(SIGNALS) {
            if filter.acts_on(signal) {
                let (number, first_condition) = (plan.filters, plan.conditions);
                plan.filters = number.saturating_add(1);
                plan.conditions = first_condition.saturating_add(filter.conditions.len());
                let filter = Arc::clone(filter);
                plan.steps.push(Step::Filter { filter, number, first_condition });
            }
        }
    }

    fn plan(&self, signal: Signal) -> (&Plan, SignalName) {
        let [traces, metrics, logs] = &self.plans;
        match signal {
            Signal::Traces => (traces, SignalName::Traces),
            Signal::Metrics => (metrics, SignalName::Metrics),
            Signal::Logs => (logs, SignalName::Logs),
        }
    }

    /// Whether they change nothing in that signal.
    pub fn is_identity(&self, signal: Signal) -> bool {
        self.plan(signal).0.steps.is_empty()
    }

    /// Applies them to a request that has passed [`wire::check`](crate::wire::check()). Resources and
    /// scopes in which no item is left are left out; all else that no processor names stays byte by
    /// byte.
    ///
    /// # Errors
    /// The request does not walk.
    pub fn apply(&self, signal: Signal, request: &Bytes) -> Result<Processed, WireError> {
        self.apply_checked(signal, request, Checked::default())
    }

    /// [`apply`](Self::apply), quicker for what the check saw already. What was found in a request
    /// holds as well for one from which items were taken.
    ///
    /// # Errors
    /// The request does not walk.
    pub fn apply_checked(
        &self,
        signal: Signal,
        request: &Bytes,
        found: Checked,
    ) -> Result<Processed, WireError> {
        let (plan, name) = self.plan(signal);
        let items = plan.items && !(plan.only_urls && found.plain_urls);
        let outcome = Pass::new(plan, name, items, found.plain_urls, request).run(request)?;
        let filters = plan.steps.iter().filter_map(|step| match step {
            Step::Filter { filter, .. } => Some(filter),
            _ => None,
        });
        let filtered = filters.zip(outcome.dropped).filter(|(_, dropped)| dropped.items > 0);
        let filtered = filtered.map(|(filter, Dropped { items, spans })| Filtered {
            rule: Arc::clone(&filter.name),
            items,
            spans,
        });
        Ok(Processed {
            filtered: filtered.collect(),
            items: outcome.items,
            request: outcome.request.map_or_else(|| request.clone(), Bytes::from),
        })
    }

    /// What they do to an attribute of a span in a form other than OTLP: rules for attributes and
    /// redaction of URLs. Conventions are not applied, since such a span goes to a backend that
    /// expects the names of its own form.
    pub fn attribute(&self, key: &str, value: &str) -> Verdict {
        native::attribute(&self.plan(Signal::Traces).0.steps, key, value)
    }

    /// What they make of the name of a span in a form other than OTLP: redaction of URLs. None if it
    /// stays.
    pub fn span_name(&self, name: &str) -> Option<String> {
        native::name(&self.plan(Signal::Traces).0.steps, name)
    }

    /// What they make of another text of a span in a form other than OTLP, such as what an annotation
    /// says: redaction of URLs. None if it stays.
    pub fn text(&self, text: &str) -> Option<String> {
        native::text(&self.plan(Signal::Traces).0.steps, text)
    }

    /// Whether filters keep a span in a form other than OTLP. They see it as it came.
    ///
    /// # Errors
    /// The name of the filter that drops it.
    pub fn keeps(&self, span: &dyn SpanFacts) -> Result<(), Arc<str>> {
        native::keeps(&self.plan(Signal::Traces).0.steps, span)
    }
}

impl Plan {
    fn finish(&mut self, signal: SignalName) {
        self.place = place(signal);
        self.only_urls = true;
        for step in &self.steps {
            match step {
                Step::Resource(_) => self.resource = true,
                Step::Envoy(_) | Step::Tags(_) | Step::Baggage(_) | Step::Name(_) => {
                    (self.items, self.only_urls) = (true, false);
                }
                Step::Filter { .. } => {
                    (self.items, self.resource, self.only_urls) = (true, true, false);
                }
                Step::Urls(urls) => {
                    (self.items, self.within) = (true, true);
                    self.only_urls &= !urls.has_own_keys();
                }
                Step::Keys(keys) => {
                    let here = keys.places.contains(&self.place);
                    self.items |= here;
                    self.within |= here;
                    self.only_urls &= !here;
                    self.resource |= keys.places.contains(&AttributePlace::Resource);
                    self.scope |= keys.places.contains(&AttributePlace::Scope);
                }
            }
        }
        self.quick = Quick::new(self.steps.iter().filter(|step| step.acts_on(self.place)));
    }
}

impl Step {
    /// Whether it acts on items whose attributes are there.
    fn acts_on(&self, place: AttributePlace) -> bool {
        match self {
            Self::Resource(_) => false,
            Self::Keys(keys) => keys.places.contains(&place),
            Self::Envoy(_)
            | Self::Tags(_)
            | Self::Baggage(_)
            | Self::Name(_)
            | Self::Urls(_)
            | Self::Filter { .. } => true,
        }
    }

    /// Acts on attributes of `place`, if it does. `plain_urls`: what the check found.
    fn apply_within(&self, list: &mut List<'_>, of: AttributePlace, plain_urls: bool) {
        match self {
            Self::Keys(keys) if keys.places.contains(&of) => keys.apply(list),
            Self::Urls(urls) if AttributePlace::ITEMS.contains(&of) => {
                urls.apply(list, plain_urls);
            }
            _ => {}
        }
    }
}

/// Where the attributes of a signal's items are.
fn place(signal: SignalName) -> AttributePlace {
    match signal {
        SignalName::Traces => AttributePlace::Span,
        SignalName::Metrics => AttributePlace::Metric,
        SignalName::Logs => AttributePlace::Log,
    }
}
