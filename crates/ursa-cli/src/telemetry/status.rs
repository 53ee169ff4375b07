//! Pipelines as a table: a row for each signal and backend, and below it what needs words.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use ursa_pipeline::{BackendState, BackendStatus, BreakerState, Ledger, Signal, Storage};

use super::{Place, bytes};
use crate::paint::{Cell, Paint, Style, duration, harmless, table};

/// What the ledger's columns are called, after those that say whose it is.
const LEDGER: [&str; 7] =
    [">RECEIVED", ">DELIVERED", ">IN FLIGHT", ">DROPPED", ">FILTERED", ">MERGED", ">DIFFERENCE"];

/// Items delivered, by place, backend and signal.
type Delivered = BTreeMap<(String, String, Signal), u64>;

/// One look among several, by which speed is told.
#[derive(Debug, Default)]
pub(crate) struct Look {
    /// What each backend had delivered.
    delivered: Delivered,
    /// Seconds to the look before, and what had been delivered then.
    before: Option<(f64, Delivered)>,
}

impl Look {
    /// The next look, so many seconds after this one.
    pub(crate) fn next(&mut self, seconds: f64) {
        self.before = Some((seconds, std::mem::take(&mut self.delivered)));
    }

    /// Items a second since the look before; empty where there was none.
    fn rate(&mut self, place: &str, backend: &BackendStatus) -> String {
        let key = (place.to_owned(), backend.name.clone(), backend.signal);
        let now = backend.ledger.delivered;
        let rate = self.before.as_ref().and_then(|(seconds, before)| {
            let items = now.saturating_sub(*before.get(&key)?);
            Some(format!("{:.0}", items as f64 / seconds.max(0.001)))
        });
        self.delivered.insert(key, now);
        rate.unwrap_or_default()
    }
}

/// All places as one table. With `verbose`, also by receiver, and where queues lie.
pub(crate) fn draw(places: &[Place], look: &mut Look, verbose: bool, color: bool) -> String {
    let paint = Paint::new(color);
    let mut rows = Vec::new();
    let mut notes = Notes { text: String::new(), paint };
    for place in places {
        let name = harmless(&place.proxy);
        if let Some(error) = &place.error {
            notes.add(Style::Failed, &name, &format!("says nothing: {error}"));
        }
        let Some(status) = &place.status else {
            if place.error.is_none() {
                notes.add(Style::Doubtful, &name, "has no pipeline");
            }
            continue;
        };
        if !status.configured {
            notes.add(Style::Doubtful, &name, "was not told yet what to do; it takes nothing");
        } else if status.backends.is_empty() {
            notes.add(Style::Dim, &name, "delivers nothing: no policy names a backend that exists");
        }
        for backend in &status.backends {
            let rate = look.rate(&place.proxy, backend);
            rows.push(row(&name, backend, rate));
            notes.of_backend(&name, backend, verbose);
        }
        for queue in &status.orphaned {
            let words = format!(
                "{} of {} for {} lie in {} and have no backend any more",
                bytes(usize::try_from(queue.bytes).unwrap_or(usize::MAX)),
                queue.signal,
                queue.backend,
                queue.path
            );
            notes.add(Style::Doubtful, &name, &words);
        }
        for warning in &status.warnings {
            notes.add(Style::Doubtful, &name, warning);
        }
        if let Some(sent) =
            place.envoy.as_ref().and_then(|envoy| envoy.spans_sent).filter(|_| verbose)
        {
            let words =
                format!("Envoy handed over {sent} spans by its own count, which is an estimate");
            notes.add(Style::Dim, &name, &words);
        }
    }
    let mut text = if rows.is_empty() { String::new() } else { table(&heads(), &rows, paint) };
    if verbose {
        let rows = places.iter().flat_map(by_source).collect::<Vec<_>>();
        if !rows.is_empty() {
            text.push('\n');
            text += &table(&source_heads(), &rows, paint);
        }
    }
    if !notes.text.is_empty() {
        if !text.is_empty() {
            text.push('\n');
        }
        text += &notes.text;
    }
    if text.is_empty() { "no pipelines\n".to_owned() } else { text }
}

fn heads() -> Vec<&'static str> {
    let own = ["AT", "SIGNAL", "BACKEND", "STATE", ">WAITING", ">BYTES", ">OLDEST"];
    own.into_iter().chain(LEDGER).chain([">SENT/S"]).collect()
}

fn row(place: &str, backend: &BackendStatus, rate: String) -> Vec<Cell> {
    let waits = backend.waiting_items > 0;
    let plain = |text: String| (Style::Plain, text);
    let mut row = vec![
        plain(place.to_owned()),
        plain(backend.signal.to_string()),
        (Style::Bold, harmless(&backend.name)),
        state(backend),
        plain(backend.ledger.waiting.to_string()),
        plain(bytes(backend.waiting_bytes)),
        plain(if waits { duration(backend.oldest_seconds * 1000.0) } else { "-".to_owned() }),
    ];
    row.extend(ledger(&backend.ledger));
    row.push(plain(rate));
    row
}

fn state(backend: &BackendStatus) -> Cell {
    let (style, mut words) = match backend.state {
        BackendState::Idle => (Style::Dim, "idle".to_owned()),
        BackendState::Up => (Style::Good, "up".to_owned()),
        BackendState::Down => (Style::Failed, "down".to_owned()),
        BackendState::Blocked => (Style::Failed, "blocked".to_owned()),
    };
    match (backend.breaker.state, backend.breaker.until_seconds) {
        (BreakerState::Closed, _) => {}
        (BreakerState::Open, Some(seconds)) => {
            write!(words, ", open for {}", duration(seconds * 1000.0))
                .expect("a String takes every text");
        }
        (BreakerState::Open, None) => words.push_str(", open"),
        (BreakerState::HalfOpen, _) => words.push_str(", half open"),
    }
    if backend.removed {
        words.push_str(", removed");
    }
    (style, words)
}

fn ledger(ledger: &Ledger) -> Vec<Cell> {
    let lost: u64 = ledger.dropped.values().sum();
    let filtered: u64 = ledger.filtered.values().sum();
    let if_any = |items: u64| if items > 0 { items.to_string() } else { String::new() };
    let bad = |is_bad: bool| if is_bad { Style::Failed } else { Style::Plain };
    vec![
        (Style::Plain, ledger.received.to_string()),
        (Style::Plain, ledger.delivered.to_string()),
        (Style::Plain, ledger.in_flight.to_string()),
        (bad(lost > 0), lost.to_string()),
        (Style::Plain, if_any(filtered)),
        (Style::Plain, if_any(ledger.merged)),
        (bad(ledger.difference != 0), ledger.difference.to_string()),
    ]
}

fn source_heads() -> Vec<&'static str> {
    ["AT", "SIGNAL", "BACKEND", "RECEIVER", ">WAITING"].into_iter().chain(LEDGER).collect()
}

fn by_source(place: &Place) -> Vec<Vec<Cell>> {
    let backends = place.status.iter().flat_map(|status| &status.backends);
    let accounts = backends.flat_map(|backend| {
        backend.sources.iter().map(move |(source, account)| (backend, source, account))
    });
    accounts
        .map(|(backend, source, account)| {
            let mut row = vec![
                (Style::Plain, harmless(&place.proxy)),
                (Style::Plain, backend.signal.to_string()),
                (Style::Bold, harmless(&backend.name)),
                (Style::Plain, harmless(source)),
                (Style::Plain, account.waiting.to_string()),
            ];
            row.extend(ledger(account));
            row
        })
        .collect()
}

/// What needs words, a line each.
struct Notes {
    text: String,
    paint: Paint,
}

impl Notes {
    fn add(&mut self, style: Style, subject: &str, words: &str) {
        let line = self.paint.text(style, &format!("{subject}: {}", harmless(words)));
        self.text += &(line + "\n");
    }

    fn of_backend(&mut self, place: &str, backend: &BackendStatus, verbose: bool) {
        let subject = format!("{place} {} to {}", backend.signal, harmless(&backend.name));
        if let Some(error) = &backend.last_error {
            self.add(Style::Failed, &subject, error);
        }
        let Ledger { dropped, filtered, recovered, retrying, difference, .. } = &backend.ledger;
        if *retrying > 0 {
            let words = format!("of what waits, {retrying} were sent in vain and are tried again");
            self.add(Style::Doubtful, &subject, &words);
        }
        for (what, by, style, items) in
            [("dropped", "", Style::Failed, dropped), ("filtered", "by ", Style::Dim, filtered)]
        {
            let items: Vec<_> = items
                .iter()
                .filter(|(_, items)| **items > 0)
                .map(|(why, items)| format!("{items} {by}{why}"))
                .collect();
            if !items.is_empty() {
                self.add(style, &subject, &format!("{what} {}", items.join(", ")));
            }
        }
        if *difference != 0 {
            let words =
                "the ledger does not add up, which is a defect of this program; please report it";
            self.add(Style::Failed, &subject, words);
        }
        if !verbose {
            return;
        }
        let kept = match (backend.storage, &backend.storage_path) {
            (Storage::Disk, Some(path)) => format!("on disk in {path}"),
            (Storage::Disk, None) => "on disk".to_owned(),
            (Storage::Memory, _) => "in memory".to_owned(),
        };
        let recovered = if *recovered > 0 {
            format!(", {recovered} found there at the start")
        } else {
            String::new()
        };
        let words = format!(
            "{} {}, at most {} wait {kept}{recovered}",
            backend.protocol,
            backend.endpoint,
            bytes(backend.capacity_bytes)
        );
        self.add(Style::Dim, &subject, &words);
    }
}
