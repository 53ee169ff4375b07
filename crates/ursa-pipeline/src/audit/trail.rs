//! What is remembered of the last spans.
//!
//! Three rings. Spans: 32 bytes each, written once, when a request is acknowledged. Requests: when
//! each came and from whom. And for each backend where in its queue each request lies, with what
//! became of ranges of the queue. What became of a span is put together when it is asked for, so a
//! span costs its one entry, however many stages it passes.
//!
//! Limits: [`SPANS`] spans; for each backend [`OUTCOMES`] ranges of batches with the same outcome.
//! With one backend that is 1.1 MB, and 1.5 MB if every request holds a single span.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;
use ursa_otlp::wire::SpanId;

use super::{Audit, AuditStage, AuditVerdict, AuditWindow, AuditedSpan, Stage};
use crate::ledger::{Loss, Sources};

/// How many spans are remembered.
const SPANS: usize = 32 << 10;
/// How many ranges of outcomes are remembered for a backend.
const OUTCOMES: usize = 2 << 10;
/// Batches that were delivered one after the other within this time are one range.
const RANGE: Duration = Duration::from_secs(10);
/// Backends that are gone and of which it is still remembered what they were sent.
const GONE: usize = 8;
/// How many rules have a number of their own; the others share the last.
const MAX_RULES: usize = 1 << 10;
/// In place of a rule: the span was kept.
const KEPT: u16 = u16::MAX;
/// In place of a number in a queue: the backend was not asked.
const NOWHERE: u32 = u32::MAX;
/// The backend's queue was full.
const FULL: u32 = u32::MAX - 1;
/// The backend's queue could not be written.
const UNWRITTEN: u32 = u32::MAX - 2;
/// Milliseconds are remembered modulo this: 49 days.
const WRAP: u128 = 1 << 32;
/// Numbers in a queue are remembered modulo this.
const NUMBERS: u64 = UNWRITTEN as u64;
/// Within [`SPANS`] requests of a backend, numbers do not come round.
const _: () = assert!(SPANS < UNWRITTEN as usize);

/// What became of a request at one backend's queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stored {
    /// It has this number there.
    At(u64),
    /// It was lost there, while another backend's queue took it.
    Lost(Loss),
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    Delivered,
    /// So many spans of the batch were rejected.
    Partly(u32),
    Dropped(Loss),
}

/// The trail of a pipeline's spans.
#[derive(Debug)]
pub(crate) struct Trail {
    /// Times are counted from here.
    start: Instant,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    spans: VecDeque<Span>,
    requests: VecDeque<Request>,
    /// Number of the first of `requests`.
    first_request: u32,
    /// After the last of them.
    next_request: u32,
    rules: Vec<Arc<str>>,
    backends: Vec<Backend>,
}

#[derive(Debug)]
struct Span {
    trace: [u8; 16],
    span: [u8; 8],
    request: u32,
    /// Which rule took it out, or [`KEPT`].
    rule: u16,
}

#[derive(Debug)]
struct Request {
    /// Milliseconds since the start.
    at: u32,
    source: u16,
}

/// Of the last requests, where they are in one backend's queue.
#[derive(Debug)]
struct Backend {
    /// Told from others of that name, before it and after, by being the same text.
    name: Arc<str>,
    is_gone: bool,
    /// Of consecutive requests, the last of which is the one before `next`.
    places: VecDeque<u32>,
    next: u32,
    outcomes: VecDeque<Outcome>,
    /// The last number of which an outcome was forgotten.
    forgotten: Option<u64>,
}

#[derive(Debug)]
struct Outcome {
    numbers: Range<u64>,
    /// Milliseconds since the start.
    from: u32,
    to: u32,
    ending: Ending,
}

impl Trail {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now(), state: Mutex::default() }
    }

    /// Remembers the spans of a request that was acknowledged: those that processors kept, those
    /// that a rule took out, and what the backends' queues did.
    pub(crate) fn record<'a>(
        &self,
        source: u16,
        kept: impl Iterator<Item = SpanId>,
        filtered: impl Iterator<Item = (&'a Arc<str>, &'a [SpanId])>,
        stored: impl Iterator<Item = (&'a Arc<str>, Stored)>,
    ) {
        let at = self.now();
        let mut state = self.state();
        let request = state.next_request;
        let span = |id: SpanId, rule| Span { trace: id.trace, span: id.span, request, rule };
        state.requests.push_back(Request { at, source });
        state.next_request = request.wrapping_add(1);
        let mut known = false;
        for id in kept {
            state.push(span(id, KEPT));
            known = true;
        }
        for (rule, ids) in filtered {
            let rule = state.rule(rule);
            for id in ids {
                state.push(span(*id, rule));
                known = true;
            }
        }
        if !known {
            // It had no span that could be asked for.
            state.requests.pop_back();
            state.next_request = request;
            return;
        }
        for (name, stored) in stored {
            let place = match stored {
                Stored::At(number) => u32::try_from(number % NUMBERS).unwrap_or(NOWHERE),
                Stored::Lost(Loss::QueueFull) => FULL,
                Stored::Lost(_) => UNWRITTEN,
            };
            state.place(name, request, place);
        }
        state.trim();
    }

    /// Remembers what became of a batch.
    pub(crate) fn settled(
        &self,
        backend: &Arc<str>,
        numbers: impl Iterator<Item = Range<u64>>,
        ending: Ending,
    ) {
        let at = self.now();
        let mut state = self.state();
        let backend = state.backend(backend);
        for numbers in numbers {
            backend.settled(numbers, at, ending);
        }
    }

    /// A backend is gone. What became of the spans that it was sent stays known as long as they are, of the last [`GONE`].
    pub(crate) fn gone(&self, backend: &Arc<str>) {
        let mut state = self.state();
        for known in state.backends.iter_mut().filter(|known| Arc::ptr_eq(&known.name, backend)) {
            known.is_gone = true;
        }
        let gone = state.backends.iter().filter(|known| known.is_gone).count();
        let mut surplus = gone.saturating_sub(GONE);
        state.backends.retain(|known| {
            let is_surplus = known.is_gone && surplus > 0;
            surplus -= usize::from(is_surplus);
            !is_surplus
        });
    }

    /// Where the spans of a trace are.
    pub(crate) fn audit(&self, trace_id: [u8; 16], sources: &Sources) -> Audit {
        let now = self.now();
        let wall = Timestamp::now();
        let state = self.state();
        let oldest = state.requests.front().map_or(0, |request| now.wrapping_sub(request.at));
        let window = AuditWindow {
            spans: state.spans.len(),
            capacity: SPANS,
            seconds: f64::from(oldest) / 1000.0,
        };
        let ago = |at: u32| {
            let ago = SignedDuration::from_millis(i64::from(now.wrapping_sub(at)));
            wall.saturating_sub(ago).map_or_else(|_| String::new(), |at| format!("{at:.3}"))
        };
        let spans = state.spans.iter().filter(|span| span.trace == trace_id);
        let spans = spans.filter_map(|span| state.audited(span, sources, &ago)).collect();
        Audit { trace_id: hex(&trace_id), window, spans }
    }

    fn now(&self) -> u32 {
        u32::try_from(self.start.elapsed().as_millis() % WRAP).unwrap_or_default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn push(&mut self, span: Span) {
        if self.spans.len() == SPANS {
            self.spans.pop_front();
        }
        self.spans.push_back(span);
    }

    fn rule(&mut self, rule: &Arc<str>) -> u16 {
        let known = self.rules.iter().position(|known| known == rule);
        let at = known.unwrap_or_else(|| {
            if self.rules.len() < MAX_RULES {
                self.rules.push(Arc::clone(rule));
            }
            self.rules.len() - 1
        });
        u16::try_from(at).unwrap_or(KEPT - 1)
    }

    fn backend(&mut self, name: &Arc<str>) -> &mut Backend {
        let known = self.backends.iter().position(|known| Arc::ptr_eq(&known.name, name));
        let at = known.unwrap_or_else(|| {
            self.backends.push(Backend {
                name: Arc::clone(name),
                is_gone: false,
                places: VecDeque::new(),
                next: 0,
                outcomes: VecDeque::new(),
                forgotten: None,
            });
            self.backends.len() - 1
        });
        &mut self.backends[at]
    }

    /// Notes where a request is in a backend's queue.
    fn place(&mut self, name: &Arc<str>, request: u32, place: u32) {
        let backend = self.backend(name);
        let missed = request.wrapping_sub(backend.next) as usize;
        if backend.places.is_empty() || missed > SPANS {
            backend.places.clear();
        } else {
            backend.places.resize(backend.places.len() + missed, NOWHERE);
        }
        backend.places.push_back(place);
        backend.next = request.wrapping_add(1);
    }

    /// Forgets requests of which no span is remembered.
    fn trim(&mut self) {
        let Some(oldest) = self.spans.front().map(|span| span.request) else { return };
        let surplus = oldest.wrapping_sub(self.first_request) as usize;
        if surplus > 0 {
            self.requests.drain(..surplus.min(self.requests.len()));
            self.first_request = oldest;
        }
        for backend in &mut self.backends {
            let known = backend.next.wrapping_sub(self.first_request) as usize;
            let known = if known > SPANS { 0 } else { known };
            let surplus = backend.places.len().saturating_sub(known);
            backend.places.drain(..surplus);
        }
        self.backends.retain(|backend| !(backend.is_gone && backend.places.is_empty()));
    }

    fn audited(
        &self,
        span: &Span,
        sources: &Sources,
        ago: &dyn Fn(u32) -> String,
    ) -> Option<AuditedSpan> {
        let at = span.request.wrapping_sub(self.first_request) as usize;
        let request = self.requests.get(at)?;
        let source = sources.name(request.source);
        let stage =
            |stage, verdict| Stage { stage, verdict, rule: None, backend: None, detail: None };
        let mut stages = vec![stage(AuditStage::Receive, AuditVerdict::Kept)];
        let rule = (span.rule != KEPT).then(|| self.rules.get(usize::from(span.rule))).flatten();
        let verdict = if rule.is_some() { AuditVerdict::Dropped } else { AuditVerdict::Kept };
        let rule = rule.map(ToString::to_string);
        let kept = rule.is_none();
        stages.push(Stage { rule, ..stage(AuditStage::Process, verdict) });
        for backend in self.backends.iter().filter(|_| kept) {
            let from_end = backend.next.wrapping_sub(span.request) as usize;
            let place = backend.places.len().checked_sub(from_end);
            let place = place.and_then(|at| backend.places.get(at).copied());
            let lost = match place {
                None | Some(NOWHERE) => continue,
                Some(FULL) => Some(Loss::QueueFull),
                Some(UNWRITTEN) => Some(Loss::Disk),
                Some(_) => None,
            };
            let name = Some(backend.name.to_string());
            let verdict = if lost.is_some() { AuditVerdict::Dropped } else { AuditVerdict::Kept };
            let rule = lost.map(|loss| loss.name().to_owned());
            let stored = lost.is_none();
            stages.push(Stage { rule, backend: name, ..stage(AuditStage::Queue, verdict) });
            if let Some(place) = place.filter(|_| stored) {
                stages.push(backend.delivery(place, ago));
            }
        }
        Some(AuditedSpan {
            span_id: hex(&span.span),
            source: source.to_string(),
            received_at: ago(request.at),
            stages,
        })
    }
}

impl Backend {
    fn settled(&mut self, numbers: Range<u64>, at: u32, ending: Ending) {
        if let Some(last) = self.outcomes.back_mut()
            && last.numbers.end == numbers.start
            && last.ending == ending
            && !matches!(ending, Ending::Partly(_))
            && u128::from(at.wrapping_sub(last.from)) <= RANGE.as_millis()
        {
            last.numbers.end = numbers.end;
            last.to = at;
            return;
        }
        if self.outcomes.len() == OUTCOMES
            && let Some(oldest) = self.outcomes.pop_front()
        {
            self.forgotten = self.forgotten.max(oldest.numbers.end.checked_sub(1));
        }
        self.outcomes.push_back(Outcome { numbers, from: at, to: at, ending });
    }

    /// What became of what has this number (modulo [`NUMBERS`]). The latest outcome counts.
    fn delivery(&self, place: u32, ago: &dyn Fn(u32) -> String) -> Stage {
        let holds = |numbers: &Range<u64>| {
            // Smaller than the range means: after the numbers came round in it.
            let first = numbers.start % NUMBERS;
            let after = (u64::from(place) + NUMBERS - first) % NUMBERS;
            after < numbers.end - numbers.start
        };
        let mut stage = Stage {
            stage: AuditStage::Deliver,
            verdict: AuditVerdict::Waiting,
            rule: None,
            backend: Some(self.name.to_string()),
            detail: None,
        };
        let Some(outcome) = self.outcomes.iter().rev().find(|outcome| holds(&outcome.numbers))
        else {
            let forgotten = self.forgotten.is_some_and(|last| {
                let ahead = (u64::from(place) + NUMBERS - last % NUMBERS) % NUMBERS;
                ahead == 0 || ahead > NUMBERS / 2
            });
            // What waited for a backend that is gone may be sent by another one of that name.
            if forgotten || self.is_gone {
                stage.verdict = AuditVerdict::Forgotten;
            }
            return stage;
        };
        let when = match (ago(outcome.from), ago(outcome.to)) {
            (from, to) if from == to => format!("at {to}"),
            (from, to) => format!("between {from} and {to}"),
        };
        stage.detail = Some(match outcome.ending {
            Ending::Delivered => {
                stage.verdict = AuditVerdict::Delivered;
                when
            }
            Ending::Partly(rejected) => {
                stage.verdict = AuditVerdict::PartlyRejected;
                stage.rule = Some(Loss::Rejected.name().to_owned());
                format!("{when}; {rejected} of the batch were rejected")
            }
            Ending::Dropped(loss) => {
                stage.verdict = AuditVerdict::Dropped;
                stage.rule = Some(loss.name().to_owned());
                when
            }
        });
        stage
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes everything");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(trace: u8, span: u64) -> SpanId {
        SpanId { trace: [trace; 16], span: span.to_be_bytes() }
    }

    fn verdicts(trail: &Trail, trace: u8) -> Vec<Vec<(AuditStage, AuditVerdict, Option<String>)>> {
        let spans = trail.audit([trace; 16], &Sources::default()).spans;
        let stages = |span: AuditedSpan| {
            span.stages.into_iter().map(|stage| (stage.stage, stage.verdict, stage.rule)).collect()
        };
        spans.into_iter().map(stages).collect()
    }

    #[test]
    fn each_stage_says_what_it_did() {
        use AuditStage::{Deliver, Process, Queue, Receive};
        use AuditVerdict::{Delivered, Dropped, Forgotten, Kept, PartlyRejected, Waiting};
        let trail = Trail::new();
        let (one, two, rule): (Arc<str>, Arc<str>, Arc<str>) =
            ("one".into(), "two".into(), "filter/health".into());
        for number in 0..3 {
            let stored = [(&one, Stored::At(number)), (&two, Stored::Lost(Loss::QueueFull))];
            let trace = u8::try_from(number).unwrap() + 1;
            let out = [id(trace, 9)];
            let filtered = [(&rule, &out[..])];
            trail.record(0, [id(trace, 1)].into_iter(), filtered.into_iter(), stored.into_iter());
        }
        trail.settled(&one, std::iter::once(0..1), Ending::Delivered);
        trail.settled(&one, std::iter::once(1..2), Ending::Partly(1));
        let ends =
            [(Delivered, None), (PartlyRejected, Some("rejected".to_owned())), (Waiting, None)];
        for (trace, (end, why)) in (1..=3).zip(ends) {
            let way = vec![
                (Receive, Kept, None),
                (Process, Kept, None),
                (Queue, Kept, None),
                (Deliver, end, why),
                (Queue, Dropped, Some("queue_full".to_owned())),
            ];
            let out =
                vec![(Receive, Kept, None), (Process, Dropped, Some("filter/health".to_owned()))];
            assert_eq!(verdicts(&trail, trace), [way, out]);
        }
        assert!(verdicts(&trail, 9).is_empty());

        // Another of that name takes its place, with a queue of its own.
        trail.gone(&one);
        let another: Arc<str> = "one".into();
        let stored = [(&another, Stored::At(0))];
        trail.record(0, [id(4, 1)].into_iter(), [].into_iter(), stored.into_iter());
        let end =
            |trace| verdicts(&trail, trace)[0].iter().find(|(at, ..)| *at == Deliver).cloned();
        let verdict = |trace| end(trace).unwrap().1;
        assert_eq!([1, 2, 3, 4].map(verdict), [Delivered, PartlyRejected, Forgotten, Waiting]);
    }

    #[test]
    fn backends_that_are_gone_are_forgotten_with_their_spans() {
        let trail = Trail::new();
        for number in 0..100 {
            let name: Arc<str> = format!("b{number}").into();
            let stored = [(&name, Stored::At(0))];
            trail.record(0, [id(1, number)].into_iter(), [].into_iter(), stored.into_iter());
            trail.gone(&name);
            assert!(trail.state().backends.len() <= GONE);
        }
        for number in 0..=(SPANS as u64) {
            trail.record(0, [id(2, number)].into_iter(), [].into_iter(), [].into_iter());
        }
        assert!(trail.state().backends.is_empty());
    }

    #[test]
    fn the_window_is_bounded_and_stays_aligned() {
        let trail = Trail::new();
        let name: Arc<str> = "one".into();
        for number in 0..(SPANS as u64 + 1000) {
            let kept = [id(1, number)].into_iter();
            let stored = (number % 3 > 0).then_some((&name, Stored::At(number + NUMBERS - 500)));
            trail.record(0, kept, [].into_iter(), stored.into_iter());
            if number == SPANS as u64 {
                trail.settled(&name, std::iter::once(NUMBERS..NUMBERS + 700), Ending::Delivered);
            }
        }
        let audit = trail.audit([1; 16], &Sources::default());
        assert_eq!((audit.spans.len(), audit.window.spans), (SPANS, SPANS));
        for (span, number) in audit.spans.iter().zip(1000_u64..) {
            assert_eq!(span.span_id, format!("{number:016x}"));
            let end = match number {
                number if number % 3 == 0 => AuditVerdict::Kept,
                1000..1200 => AuditVerdict::Delivered,
                _ => AuditVerdict::Waiting,
            };
            assert_eq!(span.stages.last().unwrap().verdict, end, "{number}");
        }
        let state = trail.state();
        assert!(state.requests.len() <= SPANS && state.backends[0].places.len() <= SPANS);
        assert!(size_of::<Span>() <= 32 && size_of::<Request>() <= 8);
    }

    #[test]
    fn outcomes_are_forgotten_visibly() {
        let trail = Trail::new();
        let name: Arc<str> = "one".into();
        let stored = [(&name, Stored::At(0))].into_iter();
        trail.record(0, [id(1, 1)].into_iter(), [].into_iter(), stored);
        for number in 0..=OUTCOMES as u64 {
            let numbers = std::iter::once(number * 2..number * 2 + 1);
            trail.settled(&name, numbers, Ending::Delivered);
        }
        assert_eq!(verdicts(&trail, 1)[0][3].1, AuditVerdict::Forgotten);
    }
}
