//! Whether a request is traced, and what decided.

use serde::Serialize;
use ursa_model::percent::Percent;
use ursa_propagation::Format;

use super::carried::{Carried, carried};
use super::context::{Brought, Extent, brought};
use super::{Request, Verdict, matches};
use crate::proxy::{HttpListener, Sampling};

/// The place in a request id where Envoy says what it decided.
const REASON_AT: usize = 14;
/// The length of a request id that can say it.
const ID_LENGTH: usize = 36;
/// Numbers that can be drawn.
const NUMBERS: f64 = 10_000.0;

/// Whether a request is traced.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Traced {
    /// Whether a span of it is recorded.
    pub verdict: Verdict,
    /// The route that takes it, from 0; `None` where none does.
    pub route: Option<usize>,
    /// What the request says of its caller's trace: which format counts, and which do not. Empty where nothing is traced.
    pub context: Vec<Carried>,
    /// What decided, in order.
    pub steps: Vec<Step>,
}

/// What a step of the decision looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum By {
    /// The listener has no tracer.
    NoTracer,
    /// No route takes the request.
    NoRoute,
    /// `x-request-id` says what a proxy before this one decided.
    RequestId,
    /// `x-client-trace-id` asks for a trace: `client`.
    Client,
    /// `x-envoy-force-trace` asks for one.
    Forced,
    /// `random`.
    Random,
    /// `overall`.
    Overall,
    /// The caller's span, in whichever format is read.
    Parent,
}

/// One step of the decision.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// What it looks at.
    pub by: By,
    /// The share that it compares with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share: Option<Percent>,
    /// The number that was drawn, from 0 to 9,999; it passes below the share of 10,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drawn: Option<u16>,
    /// Whether it passes; unset where chance decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passes: Option<bool>,
    /// The same in words.
    pub words: String,
}

impl Step {
    fn fixed(by: By, passes: bool, words: impl Into<String>) -> Self {
        Self { by, share: None, drawn: None, passes: Some(passes), words: words.into() }
    }

    fn share(by: By, name: &str, share: Percent, drawn: Option<u16>) -> Self {
        let passes = passes(share, drawn);
        let words = match (passes, drawn) {
            (Some(passes), Some(drawn)) => format!(
                "{name} is {share} %: the request id draws {drawn} of 10000, which {} below {}",
                if passes { "is" } else { "is not" },
                share.ten_thousandths()
            ),
            (Some(true), None) => format!("{name} is {share} %: all pass"),
            (Some(false), None) => format!("{name} is {share} %: none passes"),
            (None, _) => format!("{name} is {share} %: the id that Envoy makes decides"),
        };
        Self { by, share: Some(share), drawn, passes, words }
    }
}

/// Whether a share passes; `None` where it depends on the draw.
fn passes(share: Percent, drawn: Option<u16>) -> Option<bool> {
    match (share.ten_thousandths(), drawn) {
        (0, _) => Some(false),
        (10_000.., _) => Some(true),
        (below, Some(drawn)) => Some(u32::from(drawn) < below),
        _ => None,
    }
}

fn fraction(share: Percent) -> f64 {
    f64::from(share.ten_thousandths()) / NUMBERS
}

/// Whether `request` is traced at `listener`: whether a span of it leaves the agent. (An Envoy before
/// 1.39 makes a span for every traced caller; the agent takes out those that Envoy decided against.)
pub fn traced(listener: &HttpListener, request: &Request) -> Traced {
    if listener.tracing.is_none() {
        let step = Step::fixed(By::NoTracer, false, "the listener has no tracer");
        return Traced {
            verdict: Verdict::No,
            route: None,
            context: Vec::new(),
            steps: vec![step],
        };
    }
    let came = request;
    let (brought, seen) = brought(listener, request);
    let context = |is_recorded| carried(listener, came, &brought, is_recorded);
    let request = &seen;
    let mut routes = listener.routes.routes.iter();
    let Some(at) = routes.position(|route| matches(&route.requests, request)) else {
        let step = Step::fixed(By::NoRoute, false, "no route takes it");
        let context = context(false);
        return Traced { verdict: Verdict::No, route: None, context, steps: vec![step] };
    };
    let shares = listener.routes.routes.get(at).map(|route| route.tracing.sampling);
    let mut steps = Vec::new();
    let share = decided(shares.unwrap_or_default(), request, &mut steps);
    if let Brought::Parent { sampled: false, .. } = brought {
        steps.clear(); // whatever the shares say
    }
    let share = followed(brought, share, &mut steps);
    Traced { verdict: Verdict::of(share), route: Some(at), context: context(share > 0.0), steps }
}

/// The chance that Envoy itself decides to trace.
fn decided(shares: Sampling, request: &Request, steps: &mut Vec<Step>) -> f64 {
    let drawn = request.drawn();
    if request.header("x-request-id").is_some() && drawn.is_none() {
        steps.push(Step::fixed(
            By::RequestId,
            false,
            "`x-request-id` is no id: Envoy traces nothing",
        ));
        return 0.0;
    }
    let overall = passes(shares.overall, drawn).map_or(fraction(shares.overall), f64::from);
    let share = if let Some(words) = said(request) {
        steps.push(Step::fixed(By::RequestId, true, words));
        overall
    } else {
        let (client, client_step) = client(shares.client, request);
        steps.extend(client_step);
        let forced = request.header("x-envoy-force-trace").is_some();
        let rest = if client >= 1.0 {
            0.0
        } else if forced {
            let words = "`x-envoy-force-trace` asks for a trace";
            steps.push(Step::fixed(By::Forced, true, words));
            overall
        } else {
            steps.push(Step::share(By::Random, "random", shares.random, drawn));
            // One number is compared with both.
            let least = shares.random.min(shares.overall);
            passes(least, drawn).map_or(fraction(least), f64::from)
        };
        client.mul_add(overall, (1.0 - client) * rest)
    };
    if steps.last().is_none_or(|step| step.passes != Some(false)) {
        steps.push(Step::share(By::Overall, "overall", shares.overall, drawn));
    }
    share
}

/// What a request id says that was decided before.
fn said(request: &Request) -> Option<&'static str> {
    let id = request.header("x-request-id").filter(|id| id.len() == ID_LENGTH)?;
    match id.as_bytes().get(REASON_AT)? {
        b'9' => Some("`x-request-id` says that a proxy before this one drew it for tracing"),
        b'a' => Some("`x-request-id` says that a trace was forced before this proxy"),
        b'b' => Some("`x-request-id` says that the client asked for a trace before this proxy"),
        _ => None,
    }
}

/// The chance that a client's wish for a trace is granted; Envoy draws a number of its own for it.
fn client(share: Percent, request: &Request) -> (f64, Option<Step>) {
    if request.header("x-client-trace-id").is_none() {
        return (0.0, None);
    }
    let mut step =
        Step::share(By::Client, "`x-client-trace-id` asks for a trace; client", share, None);
    if step.passes.is_none() {
        step.words =
            format!("`x-client-trace-id` asks for a trace; client is {share} %: chance decides");
    }
    (fraction(share), Some(step))
}

/// What the tracer makes of the decision and of the caller's span.
fn followed(brought: Brought, share: f64, steps: &mut Vec<Step>) -> f64 {
    let Brought::Parent { format, extent, sampled, was_open } = brought else {
        let Brought::Broken(header) = brought else { return share };
        let words = format!("`{header}` cannot be read: the tracer makes no span");
        steps.push(Step::fixed(By::Parent, false, words));
        return 0.0;
    };
    let caller = match format {
        Format::W3cTracecontext => "the caller".to_owned(),
        format => format!("the caller, by `{}`,", format.name()),
    };
    let is_all = share >= 1.0;
    let words = match (was_open, sampled) {
        (true, true) if is_all => "left the decision open: this span is recorded".to_owned(),
        (true, true) => {
            "left the decision open; this span is recorded if the above says so".to_owned()
        }
        (true, false) => {
            "left the decision open, and the share of `sampling.parent` does not take its trace"
                .to_owned()
        }
        (false, sampled) => kept_to(extent, sampled, is_all),
    };
    let share = if sampled { share } else { 0.0 };
    let passes = if share > 0.0 && share < 1.0 { None } else { Some(share >= 1.0) };
    let words = format!("{caller} {words}");
    steps.push(Step { passes, ..Step::fixed(By::Parent, false, words) });
    share
}

/// What comes of a decision that the caller took, where `is_all` would be recorded without it.
fn kept_to(extent: Extent, sampled: bool, is_all: bool) -> String {
    let not = if sampled { "" } else { "not " };
    let (has, this) = match extent {
        Extent::Span => (format!("has a span that is {not}recorded"), "this one"),
        Extent::Trace => (
            format!("names a trace that is {not}to be recorded, and no span of it"),
            "the span that begins here",
        ),
        Extent::Decision => (
            format!("says that a trace is {not}to be recorded, and names none"),
            "the one that begins here",
        ),
    };
    match (sampled, is_all, extent) {
        (true, true, Extent::Span) => format!("{has}, and so has this proxy"),
        (true, true, _) => format!("{has}: {this} is"),
        (true, false, _) => format!("{has}; {this} is if the above says so too"),
        (false, _, Extent::Span) => format!("{has}, and neither is {this}"),
        (false, ..) => format!("{has}: {this} is not"),
    }
}
