//! Trace context: in which formats it is read and written, and by what.
//!
//! Envoy's tracer knows W3C Trace Context, and `baggage` is a header like any other, so a list of these two needs nothing
//! more. For all else the module is put around the tracer on every HTTP listener, inbound and outbound alike: context
//! comes in from callers by the one, and from the service itself by the other. Where the module is not to be had, Envoy's
//! Zipkin tracer takes the place of the other for lists with B3.

use std::fmt;

use serde::Serialize;
use ursa_envoy::abilities::Module;
use ursa_envoy::module::Propagation;
use ursa_envoy::proxy::{ProxyConfig, Tracer};
use ursa_model::pipeline::{Backend, ExporterSpec};
use ursa_propagation::{Format, Formats};

use super::schema::{Conf, Propagator};
use super::{decisions, fallback};
use crate::backends::{Applied, Lack};
use crate::kind::Merged;

/// What an Envoy reads and writes by itself, or passes on.
const OF_ENVOY: [Format; 2] = [Format::W3cTracecontext, Format::W3cBaggage];

/// How trace context travels through a proxy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TraceContext {
    /// The formats that are read, the first that is there, and written, all of them.
    pub formats: Vec<&'static str>,
    /// Whether headers of other formats are removed.
    pub strip_unlisted: bool,
    /// What reads and writes them.
    pub by: By,
    /// Formats that are asked for and are neither read nor written.
    pub lost: Vec<&'static str>,
    /// In what the others are not kept to, in clauses.
    pub otherwise: Vec<&'static str>,
}

impl TraceContext {
    /// Whether baggage is in the list.
    pub fn lists_baggage(&self) -> bool {
        self.formats.contains(&Format::W3cBaggage.name())
    }
}

/// What reads and writes trace context.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum By {
    /// Envoy's OpenTelemetry tracer.
    Envoy,
    /// Envoy's Zipkin tracer, which knows B3.
    Zipkin,
    /// The module around it.
    Module,
    /// The same, of a proxy that is not connected: nobody knows yet whether its Envoy loads it.
    AssumedModule,
}

/// `w3c_tracecontext, b3 by the module`; of an empty list `none: what comes does not count, and none goes on`.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_assumed = self.by == By::AssumedModule;
        if self.formats.is_empty() {
            f.write_str("none: what comes does not count, and none goes on")?;
            if is_assumed {
                f.write_str(", if the proxy's Envoy loads the module")?;
            }
        } else {
            let by = match self.by {
                By::Envoy => "by Envoy's tracer",
                By::Zipkin => "by Envoy's Zipkin tracer",
                By::Module | By::AssumedModule => "by the module",
            };
            write!(f, "{} {by}", self.formats.join(", "))?;
            if is_assumed {
                f.write_str(", if the proxy's Envoy loads it")?;
            }
        }
        if self.strip_unlisted {
            f.write_str("; other formats are removed")?;
        }
        if !self.lost.is_empty() {
            write!(f, "; not {}", self.lost.join(", "))?;
        }
        for clause in &self.otherwise {
            write!(f, "; {clause}")?;
        }
        Ok(())
    }
}

impl From<Propagator> for Format {
    fn from(propagator: Propagator) -> Self {
        match propagator {
            Propagator::W3cTracecontext => Self::W3cTracecontext,
            Propagator::W3cBaggage => Self::W3cBaggage,
            Propagator::B3 => Self::B3,
            Propagator::B3multi => Self::B3multi,
            Propagator::Datadog => Self::Datadog,
            Propagator::Xray => Self::Xray,
            Propagator::Jaeger => Self::Jaeger,
        }
    }
}

/// Chooses what reads and writes the formats, and gives the tracer for it: around it the module is put if it takes that, and
/// the proxy has it.
pub(super) fn apply(
    formats: Formats,
    merged: &Merged<'_, Conf>,
    proxy: &mut ProxyConfig,
    applied: &mut Applied,
) -> Tracer {
    let names = |is_meant: &dyn Fn(Format) -> bool| {
        formats.iter().filter(|format| is_meant(*format)).map(Format::name).collect::<Vec<_>>()
    };
    let mut tracer = Tracer::OpenTelemetry;
    let mut context = TraceContext {
        formats: names(&|_| true),
        strip_unlisted: formats.strips(),
        by: By::Envoy,
        lost: Vec::new(),
        otherwise: Vec::new(),
    };
    if needs_module(formats) {
        if let Some(module) = proxy.abilities.module.path() {
            let propagation = Propagation::new(module, formats);
            for listener in proxy.http_listeners_mut() {
                listener.propagation = Some(propagation.clone());
            }
            let assumed = proxy.abilities.module == Module::Assumed;
            context.by = if assumed { By::AssumedModule } else { By::Module };
        } else {
            tracer = fallback::tracer(formats);
            context.formats = names(&|format| fallback::keeps(tracer, format));
            if tracer != Tracer::OpenTelemetry {
                context.by = By::Zipkin;
            } else if !formats.contains(Format::W3cTracecontext) {
                context.formats.insert(0, Format::W3cTracecontext.name());
            }
            context.strip_unlisted = false;
            context.lost = names(&|format| !fallback::keeps(tracer, format));
            let envoy = proxy.abilities.envoy.as_deref();
            context.otherwise = fallback::otherwise(formats, tracer, envoy);
            let why = proxy.abilities.module.problem().unwrap_or_default();
            applied.warn(warning(&context, formats.strips(), why));
            let listed = merged.conf.propagators.is_some();
            let asking: &[_] =
                if listed { &["propagators"] } else { &["backends", "additionalBackends"] };
            let strips: &[_] = if formats.strips() { &["stripUnlisted"] } else { &[] };
            let words = in_short(formats, &context);
            applied.lacks.push(Lack::new(merged, &[asking, strips].concat(), words, why));
        }
    }
    applied.context = Some(context);
    tracer
}

/// What is lost without the module, and why there is none.
fn warning(context: &TraceContext, strips: bool, why: &str) -> String {
    let quoted = |names: &[&str]| {
        let names = names.iter().filter(|name| **name != Format::W3cBaggage.name());
        names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
    };
    let (kept, lost) = (quoted(&context.formats), quoted(&context.lost));
    let lost = if lost.is_empty() { lost } else { format!(", not as {lost}") };
    let strips = if strips { ", and other formats are not removed" } else { "" };
    let words = format!("trace context is read and written as {kept}{lost}{strips}");
    let clauses = [&[words.as_str()], context.otherwise.as_slice()].concat();
    format!("{}: {why}", clauses.join("; "))
}

/// What is otherwise without the module than a policy asks, at a glance.
fn in_short(formats: Formats, context: &TraceContext) -> String {
    let quoted = |names: &[&str]| {
        names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
    };
    let mut clauses = Vec::new();
    if context.by == By::Envoy && !formats.contains(Format::W3cTracecontext) {
        clauses.push("`w3c_tracecontext` instead".to_owned());
    }
    if !context.lost.is_empty() {
        clauses.push(format!("{} neither read nor written", quoted(&context.lost)));
    }
    if formats.strips() {
        clauses.push("other formats not removed".to_owned());
    }
    if context.by == By::Zipkin {
        let b3 = |name: &&&str| [Format::B3.name(), Format::B3multi.name()].contains(*name);
        let b3: Vec<_> = context.formats.iter().filter(b3).copied().collect();
        let otherwise = context.otherwise.join(", ");
        clauses.push(format!("{} by Envoy's Zipkin tracer: {otherwise}", quoted(&b3)));
    }
    clauses.join("; ")
}

fn needs_module(formats: Formats) -> bool {
    formats.strips()
        || !formats.contains(Format::W3cTracecontext)
        || formats.iter().any(|format| !OF_ENVOY.contains(&format))
}

/// What the policy asks for. Where it lists nothing, W3C comes first: it is what proxies write to each other, and says
/// most. What services beside the backends are used to comes after it, in the order of the backends, the additional
/// ones too: while a mesh moves from one to another, both kinds of services keep whole traces.
pub(super) fn formats(conf: &Conf, backends: &[Backend]) -> Formats {
    let list: Vec<Format> = match &conf.propagators {
        Some(list) => list.iter().map(|propagator| (*propagator).into()).collect(),
        None => {
            OF_ENVOY.into_iter().chain(backends.iter().filter_map(|it| brings(&it.spec))).collect()
        }
    };
    let none = Formats::none().stripping(conf.strip_unlisted.unwrap_or(false));
    let formats =
        list.into_iter().fold(none, |formats, format| formats.with(format).unwrap_or(formats));
    formats.with_ratio(undecided(conf)).unwrap_or(formats)
}

/// The format that services beside such a backend are used to.
fn brings(spec: &ExporterSpec) -> Option<Format> {
    match spec {
        ExporterSpec::Zipkin(_) => Some(Format::B3multi),
        ExporterSpec::Datadog(_) => Some(Format::Datadog),
        _ => None,
    }
}

/// Of requests whose caller names a trace and leaves the decision open the share that the module samples, in parts of a
/// million. All of them where Envoy decides about sampled callers' requests once more, by the policy's shares. Where
/// `parent` keeps to the caller nobody would, so it is the share that traces begin with.
fn undecided(conf: &Conf) -> u64 {
    let share = if decisions::is_parent_based(&conf.sampling) {
        let rest = decisions::rest(&conf.sampling);
        // As Envoy has it: one number is compared with both.
        rest.random.min(rest.overall)
    } else {
        ursa_model::percent::Percent::HUNDRED
    };
    share.millionths().into()
}
