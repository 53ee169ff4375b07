//! One trace as a waterfall: a tree of spans beside bars on a common time axis.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::output::counted;
use crate::paint::{Paint, Style, columns, cut, duration, fit, harmless};

/// The narrowest that is drawn.
const NARROWEST: usize = 40;
/// Columns of a duration beside its bar.
const DURATION: usize = 8;
/// Deeper spans are not indented further.
const DEEPEST_INDENT: usize = 16;
/// Attributes that are shown first, being what one looks for.
const FOREMOST: [&str; 5] = [
    "http.response.status_code",
    "http.status_code",
    "rpc.grpc.status_code",
    "grpc.status_code",
    "response_flags",
];
/// Envoy's own bookkeeping, the same on every span of a proxy or said by the tree already. It is left out here;
/// `--output json` has it.
const BOOKKEEPING: [&str; 9] = [
    "component",
    "downstream_cluster",
    "error",
    "guid:x-request-id",
    "kuma.mesh",
    "kuma.zone",
    "node_id",
    "upstream_cluster.name",
    "zone",
];
/// Full cells of a bar, and its last one by eighths.
const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];

/// What is read of the answer; what it does not say is empty.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Trace {
    trace_id: String,
    start: String,
    duration_ms: f64,
    services: Vec<Service>,
    spans: Vec<Span>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Service {
    name: String,
    spans: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Span {
    depth: usize,
    service: String,
    name: String,
    start_ms: f64,
    duration_ms: f64,
    error: bool,
    status_message: String,
    attributes: Map<String, Value>,
}

pub(super) fn draw(trace: &Value, width: usize, paint: Paint) -> String {
    let mut trace = Trace::deserialize(trace).unwrap_or_default();
    // As they appear below.
    let rank = |service: &Service| trace.spans.iter().position(|span| span.service == service.name);
    trace.services.sort_by_key(|service| rank(service).unwrap_or(usize::MAX));
    let layout = Layout::of(width.max(NARROWEST));
    let guides = guides(&trace.spans);
    let mut text = head(&trace, paint);
    text += &axis(&trace, &layout, paint);
    for (span, guide) in trace.spans.iter().zip(&guides) {
        text += &row(span, guide, &trace, &layout, paint);
        text += &tags(span, guide, &layout, paint);
    }
    text
}

/// How the columns are shared out.
#[derive(Debug)]
struct Layout {
    width: usize,
    names: usize,
    bars: usize,
}

impl Layout {
    fn of(width: usize) -> Self {
        let names = (width * 2 / 5).min(56);
        Self { width, names, bars: width.saturating_sub(names + DURATION + 4) }
    }
}

fn head(trace: &Trace, paint: Paint) -> String {
    let errors = trace.spans.iter().filter(|span| span.error).count() as u64;
    let facts = [
        harmless(&trace.trace_id),
        harmless(&trace.start),
        duration(trace.duration_ms),
        counted(trace.spans.len() as u64, "span"),
    ];
    let failed = if errors == 0 { "no errors".to_owned() } else { counted(errors, "error") };
    let failed = paint.text(if errors == 0 { Style::Plain } else { Style::Failed }, &failed);
    let services = trace.services.iter().enumerate().map(|(rank, service)| {
        format!("{} {}", paint.text(Style::Service(rank), &harmless(&service.name)), service.spans)
    });
    format!("{} · {failed}\n{}\n\n", facts.join(" · "), services.collect::<Vec<_>>().join(", "))
}

fn axis(trace: &Trace, layout: &Layout, paint: Paint) -> String {
    let end = duration(trace.duration_ms);
    let gap = layout.bars.saturating_sub(1 + columns(&end));
    let axis = format!("{}  0{}{end}", " ".repeat(layout.names), " ".repeat(gap));
    paint.text(Style::Dim, &axis) + "\n"
}

fn row(span: &Span, guide: &Guide, trace: &Trace, layout: &Layout, paint: Paint) -> String {
    let rank = trace.services.iter().position(|service| service.name == span.service).unwrap_or(0);
    let style = if span.error { Style::Failed } else { Style::Service(rank) };
    let service = cut(&harmless(&span.service), layout.names.saturating_sub(columns(&guide.own)));
    let rest = layout.names.saturating_sub(columns(&guide.own) + columns(&service));
    let (mark, rest) = if span.error && rest >= 2 { (" ✗", rest - 2) } else { ("", rest) };
    let name = fit(&format!(" {}", harmless(&span.name)), rest);
    let bar = bar(span, trace.duration_ms, layout.bars);
    format!(
        "{}{}{}{name}  {}{:>DURATION$}\n",
        paint.text(Style::Dim, &guide.own),
        paint.text(Style::Service(rank), &service),
        paint.text(Style::Failed, mark),
        paint.text(style, &bar),
        duration(span.duration_ms),
    )
}

/// A bar of exactly `width + 2` columns, at least an eighth of one long.
fn bar(span: &Span, whole_ms: f64, width: usize) -> String {
    let eighths = (width * 8) as f64;
    let scale = |ms: f64| if whole_ms > 0.0 { (ms / whole_ms).clamp(0.0, 1.0) } else { 0.0 };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and eighths"
    )]
    let whole = |share: f64| (share * eighths).round() as usize;
    let before = (whole(scale(span.start_ms)) / 8).min(width.saturating_sub(1));
    let length = whole(scale(span.duration_ms)).clamp(1, (width - before) * 8);
    let bar = "█".repeat(length / 8) + EIGHTHS.get(length % 8).copied().unwrap_or_default();
    fit(&(" ".repeat(before) + &bar), width + 2)
}

/// A failed span's tags on as many lines as they need, another's on one.
fn tags(span: &Span, guide: &Guide, layout: &Layout, paint: Paint) -> String {
    let mut sorted: Vec<_> =
        span.attributes.iter().filter(|(key, value)| is_telling(key, value)).collect();
    sorted.sort_by_key(|(key, _)| {
        (FOREMOST.iter().position(|foremost| foremost == key).unwrap_or(FOREMOST.len()), *key)
    });
    let mut words: Vec<String> = sorted
        .into_iter()
        .map(|(key, value)| harmless(&format!("{key}={}", shown(value))))
        .collect();
    if !span.status_message.is_empty() {
        words.insert(0, harmless(&span.status_message));
    }
    let room = layout.width.saturating_sub(columns(&guide.below));
    let mut lines: Vec<String> = Vec::new();
    for word in words {
        match lines.last_mut() {
            Some(line) if columns(line) + 1 + columns(&word) <= room => {
                *line = format!("{line} {word}");
            }
            Some(line) if !span.error => {
                *line = cut(&format!("{line} …"), room);
                break;
            }
            _ => lines.push(cut(&word, room)),
        }
    }
    let below = paint.text(Style::Dim, &guide.below);
    lines
        .into_iter()
        .flat_map(|line| [below.clone(), paint.text(Style::Dim, &line), "\n".to_owned()])
        .collect()
}

/// Whether a tag says something; Envoy writes `-` for nothing.
fn is_telling(key: &str, value: &Value) -> bool {
    !BOOKKEEPING.contains(&key) && !matches!(value.as_str(), Some("" | "-"))
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The lines of the tree beside a span, and beside what is written below it.
#[derive(Debug)]
struct Guide {
    own: String,
    below: String,
}

/// Goes from the last span to the first: whether a line goes on below is known only there.
fn guides(spans: &[Span]) -> Vec<Guide> {
    let mut guides = Vec::with_capacity(spans.len());
    // Whether a span further down continues the line of each depth.
    let mut continued: Vec<bool> = Vec::new();
    for span in spans.iter().rev() {
        let depth = span.depth.min(DEEPEST_INDENT);
        let has_children = continued.get(depth + 1).copied().unwrap_or(false);
        continued.resize(depth + 1, false);
        let above: String = continued
            .iter()
            .take(depth)
            .skip(1)
            .map(|&goes_on| if goes_on { "│ " } else { "  " })
            .collect();
        let goes_on = continued.last().copied().unwrap_or(false);
        let (branch, stem) = match (depth, goes_on) {
            (0, _) => ("", ""),
            (_, true) => ("├─", "│ "),
            (_, false) => ("└─", "  "),
        };
        let children = if has_children { "│ " } else { "  " };
        guides.push(Guide {
            own: format!("{above}{branch}"),
            below: format!("{above}{stem}{children}  "),
        });
        if let Some(goes_on) = continued.last_mut() {
            *goes_on = true;
        }
    }
    guides.reverse();
    guides
}
