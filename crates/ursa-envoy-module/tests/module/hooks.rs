//! The hooks over a plain list of headers.

use std::collections::BTreeSet;
use std::thread;

use ursa_propagation::{
    Changes, Context, Decision, Format, SpanId, TraceId, Writer, extract, inject, w3c,
};

use crate::cases::{Case, Ids, List, cases, context, headers, shown};
use crate::loaded::{Hook, Loaded};
use crate::stand_in::LOG;

pub(crate) const NAMES: [&str; 2] = ["extract", "inject"];
const ATTEMPTS: [u64; 2] = [0x00f0_67aa_0ba9_02b7, 0xb7ad_6b71_6920_3331];
const NEW: (u64, u64) = (0x4bf9_2f35_77b3_4da6, 0xa3ce_929d_0e0e_4736);

pub(crate) fn hooks(loaded: Loaded, list: &str) -> [Hook; 2] {
    loaded.hooks(NAMES, list).map(|hook| hook.unwrap_or_else(|| panic!("{list} is refused")))
}

/// What a tracer writes for an attempt, in place of what is there.
pub(crate) fn trace(request: &mut List, context: &Context, state: &[u8]) {
    let mut bytes = [0; w3c::LENGTH];
    let mut out = Writer::new(&mut bytes);
    w3c::write(context, &mut out);
    request.retain(|(name, _)| !matches!(name.as_str(), "traceparent" | "tracestate"));
    request.push(("traceparent".to_owned(), bytes.to_vec()));
    request.push(("tracestate".to_owned(), state.to_vec()));
}

fn run(case: &Case, loaded: Loaded, others: usize) {
    let [extract, inject] = hooks(loaded, &case.list);
    let mut ids = Ids { attempt: 0, new: NEW, invented: NEW, span: 0 };
    let mut request = ids.headers(&case.incoming);
    request.extend((0..others).map(|number| (format!("x-{number}"), b"other".to_vec())));
    let mut request = extract.extract(request);
    let parent = headers(&request);
    let parent = w3c::read(&parent).map(|parent| parent.context);
    if let Some(parent) = parent {
        ids.span = parent.span.value();
        if case.sees.starts_with("{I}") {
            ids.new = (parent.trace.high(), parent.trace.low());
            ids.invented = ids.new;
        }
    }
    let seen = parent.map_or_else(
        || "nothing".to_owned(),
        |Context { trace, span, decision }| {
            let sampled = if decision.sampled() { "sampled" } else { "unsampled" };
            format!("{:016x}{:016x} {:016x} {sampled}", trace.high(), trace.low(), span.value())
        },
    );
    assert_eq!(seen, ids.fill(&case.sees), "{}", case.name);
    let state = request.iter().find(|(name, _)| name == "tracestate");
    let state = state.map(|(_, value)| value.clone()).unwrap_or_default();
    for attempt in ATTEMPTS {
        ids.attempt = attempt;
        let span = SpanId::new(attempt).unwrap();
        let root = Context {
            trace: TraceId::new(NEW.0, NEW.1).unwrap(),
            span,
            decision: Decision::Accept,
        };
        let context = parent.map_or(root, |parent| Context { span, ..parent });
        trace(&mut request, &context, &state);
        request = inject.inject(request);
        assert_eq!(shown(&request), shown(&ids.headers(&case.receives)), "{}", case.name);
        assert_eq!(
            request.iter().filter(|(name, _)| name.starts_with("x-") && name.len() < 6).count(),
            others
        );
    }
    Hook::destroy([extract, inject]);
}

#[test]
fn requests_become_what_the_table_says() {
    for loaded in Loaded::all() {
        // Miri takes seconds for each.
        for case in cases().iter().step_by(if cfg!(miri) { 9 } else { 1 }) {
            run(case, loaded, 0);
        }
    }
}

/// So many that each name is looked up.
#[test]
fn among_many_headers_the_same() {
    for loaded in Loaded::all() {
        for case in cases() {
            run(&case, loaded, 300);
        }
    }
}

/// The library answers as `ursa-propagation` does in this program, which was compiled otherwise.
#[test]
fn every_case_under_every_list() {
    let loaded = Loaded::new();
    let mut compared = 0;
    for case in cases().iter().filter(|case| !case.sees.contains("{i}")) {
        let request = Ids { attempt: 0, new: NEW, invented: NEW, span: 0 }.headers(&case.incoming);
        for first in Format::ALL {
            for second in Format::ALL {
                let list = if first == second {
                    first.name().to_owned()
                } else {
                    format!("{},{};ratio=500000;strip", first.name(), second.name())
                };
                let formats = ursa_propagation::Formats::parse(list.as_bytes()).unwrap();
                let expected = |decide: &dyn Fn(&mut Changes)| {
                    let mut changes = Changes::default();
                    decide(&mut changes);
                    let mut list = request.clone();
                    for (header, value) in changes.iter() {
                        list.retain(|(name, _)| name != header.name());
                        list.extend(value.map(|value| (header.name().to_owned(), value.to_vec())));
                    }
                    shown(&list)
                };
                let mut invented = false;
                let mut outcome = Changes::default();
                let random = || {
                    invented = true;
                    1
                };
                extract(&headers(&request), formats, random, &mut outcome);
                let [ours_in, ours_out] = hooks(loaded, &list);
                if !invented {
                    let want = expected(&|changes| {
                        extract(&headers(&request), formats, || 1, changes);
                    });
                    assert_eq!(
                        shown(&ours_in.extract(request.clone())),
                        want,
                        "{} {list}",
                        case.name
                    );
                }
                let want = expected(&|changes| inject(&headers(&request), formats, changes));
                assert_eq!(shown(&ours_out.inject(request.clone())), want, "{} {list}", case.name);
                compared += 1;
            }
        }
    }
    assert!(compared > 2000, "{compared}");
}

#[test]
fn what_is_no_configuration_is_refused_with_words() {
    for loaded in Loaded::all() {
        refuses(loaded);
    }
}

fn refuses(loaded: Loaded) {
    for list in [
        "b3,b3",
        "b4",
        "b3;ratio=1000001",
        "b3;ratio=",
        "b3;often",
        "\u{fffd}",
        "b3\nin",
        "b3\nset a",
    ] {
        assert!(loaded.hooks(NAMES, list).iter().all(Option::is_none), "{list}");
    }
    assert!(loaded.hooks(["inject", "extract"], "b3").iter().all(Option::is_none));
    assert!(loaded.hooks(["", ""], "b3").iter().all(Option::is_none));
    let log = LOG.lock().unwrap();
    assert!(log.iter().any(|line| line.contains("no list of formats")), "{log:?}");
    assert!(log.iter().any(|line| line.contains("another name")), "{log:?}");
    assert!(log.iter().any(|line| line.contains("no rules for baggage")), "{log:?}");
}

#[test]
fn what_is_left_out_is_invented_anew_on_every_thread() {
    Loaded::all().into_iter().for_each(invents);
}

fn invents(loaded: Loaded) {
    const EACH: usize = if cfg!(miri) { 20 } else { 1_000 };
    let invent = move || {
        let pair = hooks(loaded, "b3");
        let formats = ursa_propagation::Formats::parse(b"w3c_tracecontext").unwrap();
        let ids = (0..EACH).map(|_| {
            let list = pair[0].extract(vec![("b3".to_owned(), b"1".to_vec())]);
            let context = context(formats, &list).unwrap();
            [context.trace.high(), context.trace.low(), context.span.value()]
        });
        let ids = ids.flatten().collect::<Vec<_>>();
        Hook::destroy(pair);
        ids
    };
    let threads: Vec<_> = (0..4).map(|_| thread::spawn(invent)).collect();
    let ids: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    assert_eq!(ids.len(), 12 * EACH);
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
    let ones: usize = ids.iter().map(|id| id.count_ones() as usize).sum();
    let expected = 32 * ids.len();
    assert!(ones.abs_diff(expected) < expected / 32, "{ones} bits are set, not about {expected}");
}
