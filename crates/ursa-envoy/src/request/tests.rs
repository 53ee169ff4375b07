use super::*;
use crate::module::{Formats, Propagation};
use crate::proxy::{
    AccessLog, Direction, HeaderMatch, HeaderValue, HttpListener, LogFilter, LogFormat, LogSink,
    PathMatch, RequestMatch, Route, RouteConfig, RouteTracing, Sampling, Tracer, Tracing,
};

/// The draw of this id is 0x000004d2 = 1234.
const ID: &str = "000004d2-0000-4000-8000-000000000000";
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const UNSAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

fn percent(text: &str) -> ursa_model::percent::Percent {
    text.parse().unwrap()
}

pub(super) fn listener(overall: &str, client: &str, random: &str) -> HttpListener {
    let sampling =
        Sampling { overall: percent(overall), client: percent(client), random: percent(random) };
    let route = |path: PathMatch, sampling| Route {
        requests: RequestMatch { path, ..RequestMatch::default() },
        tracing: RouteTracing { sampling, tags: Vec::new() },
        ..Route::to("local:80")
    };
    let routes = vec![
        route(PathMatch::Exact("/healthz".to_owned()), Sampling::NONE),
        route(PathMatch::default(), sampling),
    ];
    let routes = RouteConfig { name: "inbound:80".to_owned(), routes };
    HttpListener {
        tracing: Some(Tracing { service_name: "web".to_owned(), tracer: Tracer::default() }),
        ..HttpListener::new("inbound:80", Direction::Inbound, routes)
    }
}

pub(super) fn request(headers: &[(&str, &str)]) -> Request {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Request {
        method: "GET".to_owned(),
        authority: "shop".to_owned(),
        path: "/items?page=2".to_owned(),
        headers: headers.collect(),
    }
}

/// A name, the shares (overall, client, random), a header, and what comes of it.
type Case<'a> = (&'a str, [&'a str; 3], Option<(&'a str, &'a str)>, Verdict);

#[test]
fn envoys_rules_decide() {
    let share = |of| Verdict::Share { of };
    let (yes, no) = (Verdict::Yes, Verdict::No);
    let sampled = ID.replace("-4000-", "-9000-");
    let unsampled = PARENT.replace("-01", "-00");
    let cases: Vec<Case<'_>> = vec![
        ("a new id", ["100", "100", "10"], None, share(0.1)),
        ("one number is compared with both", ["20", "100", "10"], None, share(0.1)),
        ("overall bounds", ["5", "100", "10"], None, share(0.05)),
        ("an id draws", ["100", "100", "10"], Some(("X-Request-Id", ID)), no.clone()),
        ("an id draws", ["100", "100", "13"], Some(("x-request-id", ID)), yes.clone()),
        ("a share of nothing", ["100", "100", "0"], None, no.clone()),
        (
            "what was drawn before",
            ["100", "100", "0"],
            Some(("x-request-id", &sampled)),
            yes.clone(),
        ),
        (
            "overall counts then, too",
            ["12", "100", "0"],
            Some(("x-request-id", &sampled)),
            no.clone(),
        ),
        ("no id", ["100", "100", "100"], Some(("x-request-id", "hello")), no.clone()),
        ("a client's wish", ["100", "100", "0"], Some(("x-client-trace-id", "7")), yes.clone()),
        (
            "a client's wish",
            ["50", "50", "10"],
            Some(("x-client-trace-id", "7")),
            share(0.5 * 0.5 + 0.5 * 0.1),
        ),
        ("force", ["100", "0", "0"], Some(("x-envoy-force-trace", "true")), yes.clone()),
        ("a caller's span", ["100", "100", "100"], Some(("traceparent", PARENT)), yes.clone()),
        ("off beats it", ["100", "100", "0"], Some(("traceparent", PARENT)), no.clone()),
        ("both must say so", ["100", "100", "10"], Some(("traceparent", PARENT)), share(0.1)),
        ("not recorded", ["100", "100", "100"], Some(("traceparent", &unsampled)), no.clone()),
        ("broken", ["100", "100", "100"], Some(("traceparent", "00-1-2-01")), no.clone()),
    ];
    for (name, [overall, client, random], headers, verdict) in cases {
        let request = request(headers.as_slice());
        let traced = traced(&listener(overall, client, random), &request);
        assert_eq!((traced.route, &traced.verdict), (Some(1), &verdict), "{name}: {traced:#?}");
    }
    let probe = Request { path: "/healthz?x".to_owned(), ..request(&[]) };
    let probe = traced(&listener("100", "100", "100"), &probe);
    assert_eq!((probe.route, probe.verdict), (Some(0), no.clone()));
    let off = HttpListener { tracing: None, ..listener("100", "100", "100") };
    assert_eq!(traced(&off, &request(&[])).verdict, no);
}

/// A list, headers, and what comes of it where the parent-based route takes all and the other 10 %.
type Read<'a> = (&'a str, Vec<(&'a str, &'a str)>, usize, Verdict);

#[test]
fn context_is_read_as_the_module_would() {
    let b3 = "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7";
    let (accepted, denied, debug) = (format!("{b3}-1"), format!("{b3}-0"), format!("{b3}-d"));
    let datadog = |priority| {
        vec![
            ("x-datadog-trace-id", "7"),
            ("X-Datadog-Parent-Id", "8"),
            ("x-datadog-sampling-priority", priority),
        ]
    };
    let (wanted, unwanted) = (datadog("2"), datadog("-1"));
    let (yes, no, share) = (Verdict::Yes, Verdict::No, Verdict::Share { of: 0.1 });
    let cases: Vec<Read<'_>> = vec![
        ("w3c_tracecontext,b3", vec![("b3", &accepted)], 0, yes.clone()),
        ("w3c_tracecontext,b3", vec![("B3", &debug)], 0, yes.clone()),
        ("w3c_tracecontext,b3", vec![("b3", &denied)], 1, no.clone()),
        ("w3c_tracecontext,b3", vec![("b3", "0")], 1, no.clone()),
        ("w3c_tracecontext,b3", vec![("b3", "broken")], 1, share.clone()),
        ("w3c_tracecontext,b3", vec![("traceparent", "00-1-2-01")], 1, share.clone()),
        ("w3c_tracecontext,b3;ratio=0", vec![("b3", b3)], 1, no.clone()),
        ("w3c_tracecontext,b3", vec![("b3", b3)], 0, yes.clone()),
        ("w3c_tracecontext,b3", vec![("traceparent", PARENT), ("b3", &denied)], 0, yes.clone()),
        ("b3,w3c_tracecontext", vec![("traceparent", PARENT), ("b3", &denied)], 1, no.clone()),
        (
            "w3c_tracecontext",
            vec![("traceparent", PARENT), ("traceparent", PARENT)],
            1,
            share.clone(),
        ),
        ("b3", vec![("traceparent", PARENT)], 1, share.clone()),
        ("datadog", wanted.clone(), 0, yes.clone()),
        ("datadog", unwanted, 1, no.clone()),
        ("w3c_tracecontext", wanted.clone(), 1, share.clone()),
    ];
    let mut listener = listener("100", "100", "10");
    let value = HeaderValue::Regex(".*-[0-9a-f][13579bdf]".to_owned());
    let parent = HeaderMatch { name: "traceparent".to_owned(), value };
    let route = &mut listener.routes.routes[0];
    route.requests = RequestMatch { headers: vec![parent], ..RequestMatch::default() };
    route.tracing.sampling = Sampling::ALL;
    for (formats, headers, route, verdict) in cases {
        let formats = Formats::parse(formats.as_bytes()).unwrap();
        listener.propagation = Some(Propagation::new("/m.so", formats));
        let traced = traced(&listener, &request(&headers));
        let found = (traced.route, &traced.verdict);
        assert_eq!(found, (Some(route), &verdict), "{headers:?} {traced:#?}");
    }
}

/// Headers, and whether a request with them is traced by Zipkin's tracer where 10 % are, with W3C's context and without.
type ByZipkin<'a> = (&'a [(&'a str, &'a str)], Verdict, Verdict);

#[test]
fn context_is_read_as_the_zipkin_tracer_would() {
    const B3: &str = "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1";
    const MULTI: [(&str, &str); 2] =
        [("x-b3-traceid", "4bf92f3577b34da6"), ("x-b3-spanid", "00f067aa0ba902b7")];
    let (no, share) = (Verdict::No, Verdict::Share { of: 0.1 });
    let cases: [ByZipkin<'_>; 8] = [
        (&[("b3", B3)], share.clone(), share.clone()),
        (&[("b3", "0")], no.clone(), no.clone()),
        (&[("b3", "0"), ("traceparent", PARENT)], no.clone(), no.clone()),
        (&[("b3", "broken"), ("traceparent", PARENT)], no.clone(), no.clone()),
        (&MULTI, share.clone(), share.clone()),
        (&[MULTI[0], ("x-b3-spanid", "?")], no.clone(), no.clone()),
        (&[("traceparent", UNSAMPLED)], no.clone(), share.clone()),
        (&[("traceparent", "broken")], share.clone(), share.clone()),
    ];
    let mut listener = listener("100", "100", "10");
    for (headers, with, without) in cases {
        for (w3c, verdict) in [(true, with), (false, without)] {
            let tracer = Tracer::Zipkin { w3c, single: true };
            listener.tracing = Some(Tracing { service_name: "web".to_owned(), tracer });
            let traced = traced(&listener, &request(headers));
            assert_eq!(traced.verdict, verdict, "{headers:?} {traced:#?}");
        }
    }
}

/// What reads, the headers that come, and what becomes of each format in the order in which it is looked at.
type Fates<'a> = (Reads<'a>, Vec<(&'a str, &'a str)>, &'a [(&'a str, Fate)]);

enum Reads<'a> {
    Envoy,
    Zipkin { w3c: bool },
    Module(&'a str),
}

impl Reads<'_> {
    fn at(self, mut listener: HttpListener) -> HttpListener {
        match self {
            Self::Envoy => {}
            Self::Zipkin { w3c } => {
                let tracer = Tracer::Zipkin { w3c, single: true };
                listener.tracing = Some(Tracing { service_name: "web".to_owned(), tracer });
            }
            Self::Module(list) => {
                let formats = Formats::parse(list.as_bytes()).unwrap();
                listener.propagation = Some(Propagation::new("/m.so", formats));
            }
        }
        listener
    }
}

#[test]
fn each_format_that_comes_is_named_with_what_becomes_of_it() {
    use Fate::{Adds, Contradicts, Counts, NotLookedAt, Passes, Removed, Stripped, Unreadable};
    use Reads::{Envoy, Module, Zipkin};
    const B3: (&str, &str) = ("B3", "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1");
    const W3C: (&str, &str) = ("traceparent", PARENT);
    const JAEGER: (&str, &str) = ("uber-trace-id", "4bf92f3577b34da6:00f067aa0ba902b7:0:1");
    const BAGGAGE: (&str, &str) = ("baggage", "a=b");
    const ALIKE: (&str, &str) = ("x-datadog-trace-id", "11803532876627986230");
    const DEBUG: (&str, &str) = ("b3", "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-d");
    const HIGH: (&str, &str) = ("x-datadog-tags", "_dd.p.tid=4bf92f3577b34da6");
    let cases: Vec<Fates<'_>> = vec![
        (Envoy, vec![BAGGAGE], &[]),
        (Envoy, vec![B3, W3C], &[("w3c_tracecontext", Counts), ("b3", Passes)]),
        (Envoy, vec![("traceparent", "?")], &[("w3c_tracecontext", Unreadable)]),
        (
            Zipkin { w3c: true },
            vec![B3, W3C, JAEGER],
            &[("b3", Counts), ("w3c_tracecontext", NotLookedAt), ("jaeger", Passes)],
        ),
        (
            Zipkin { w3c: true },
            vec![("b3", "?"), W3C],
            &[("b3", Unreadable), ("w3c_tracecontext", NotLookedAt)],
        ),
        (Zipkin { w3c: false }, vec![W3C], &[("w3c_tracecontext", Passes)]),
        (
            Module("w3c_tracecontext,b3"),
            vec![B3, W3C, JAEGER, BAGGAGE],
            &[("w3c_tracecontext", Counts), ("b3", NotLookedAt), ("jaeger", Passes)],
        ),
        (
            Module("datadog,b3,jaeger"),
            vec![("x-datadog-origin", "rum"), B3, JAEGER, W3C],
            &[
                ("datadog", Unreadable),
                ("b3", Counts),
                ("jaeger", NotLookedAt),
                ("w3c_tracecontext", Removed),
            ],
        ),
        (
            Module("b3;strip"),
            vec![W3C, JAEGER, BAGGAGE],
            &[("w3c_tracecontext", Stripped), ("jaeger", Stripped)],
        ),
        (Module("w3c_baggage,b3;strip"), vec![B3, BAGGAGE], &[("b3", Counts)]),
        (Envoy, vec![W3C, W3C], &[("w3c_tracecontext", Counts)]),
        (Envoy, vec![("traceparent", "?"), W3C], &[("w3c_tracecontext", Unreadable)]),
        (
            Module("w3c_tracecontext,b3"),
            vec![W3C, W3C, B3],
            &[("w3c_tracecontext", Contradicts), ("b3", Counts)],
        ),
        (
            Module("w3c_tracecontext,datadog,b3"),
            vec![W3C, ALIKE, HIGH, DEBUG],
            &[("w3c_tracecontext", Counts), ("datadog", Adds), ("b3", Adds)],
        ),
        (
            Module("w3c_tracecontext,datadog,b3"),
            vec![W3C, ALIKE, B3],
            &[("w3c_tracecontext", Counts), ("datadog", NotLookedAt), ("b3", NotLookedAt)],
        ),
    ];
    for (reads, headers, expected) in cases {
        let listener = reads.at(listener("100", "100", "100"));
        let traced = traced(&listener, &request(&headers));
        let found: Vec<_> = traced.context.iter().map(|it| (it.format, it.fate)).collect();
        assert_eq!(found, expected, "{headers:?}");
    }
}

/// What the module reads, the headers that come, and words of what becomes of them.
type Words<'a> = (&'a str, Vec<(&'a str, &'a str)>, &'a str);

#[test]
fn words_tell_what_came_and_what_is_kept() {
    const B3: &str = "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1";
    const W3C: (&str, &str) = ("traceparent", PARENT);
    let datadog = [
        W3C,
        ("x-datadog-trace-id", "11803532876627986230"),
        ("x-datadog-sampling-priority", "2"),
        ("x-datadog-origin", "rum"),
        ("x-datadog-tags", "_dd.p.tid=4bf92f3577b34da6"),
    ];
    let root = "Root=1-4bf92f35-77b34da6a3ce929d0e0e4736";
    let (lineage, sampled) = (format!("{root};Lineage=1"), format!("{root};Sampled=1"));
    let cases: Vec<Words<'_>> = vec![
        (
            "b3",
            vec![("b3", B3)],
            "the caller, by `b3`, has a span that is recorded, and so has this proxy",
        ),
        (
            "b3",
            vec![("b3", "1")],
            "the caller, by `b3`, says that a trace is to be recorded, and names none: the one that begins here is",
        ),
        (
            "b3",
            vec![("b3", "0")],
            "the caller, by `b3`, says that a trace is not to be recorded, and names none: the one that begins here is not",
        ),
        (
            "b3multi",
            vec![("x-b3-flags", "1")],
            "the caller, by `b3multi`, says that a trace is to be recorded, and names none: the one that begins here is",
        ),
        (
            "xray",
            vec![("x-amzn-trace-id", &sampled)],
            "the caller, by `xray`, names a trace that is to be recorded, and no span of it: the span that begins here is",
        ),
        (
            "xray",
            vec![("x-amzn-trace-id", root)],
            "the caller, by `xray`, left the decision open: this span is recorded",
        ),
        (
            "w3c_tracecontext",
            vec![W3C, W3C],
            "`w3c_tracecontext` (traceparent) is there more than once, so none of it counts",
        ),
        ("b3", vec![("b3", B3), ("b3", B3)], "`b3` counts, the first line of it"),
        (
            "w3c_tracecontext,datadog",
            datadog.to_vec(),
            "`datadog` (x-datadog-trace-id, x-datadog-sampling-priority, x-datadog-origin, x-datadog-tags) is there too, \
             of the same trace, which keeps its priority, origin, tags",
        ),
        (
            "w3c_tracecontext,xray",
            vec![W3C, ("x-amzn-trace-id", &lineage)],
            "`xray` (x-amzn-trace-id) is there too, of the same trace, which keeps its other fields",
        ),
        (
            "b3,w3c_tracecontext",
            vec![("b3", B3), W3C, ("tracestate", "a=b")],
            "`w3c_tracecontext` (traceparent, tracestate) is there too, of the same trace, which keeps its `tracestate`",
        ),
    ];
    let mut listener = listener("100", "100", "100");
    for (list, headers, expected) in cases {
        let formats = Formats::parse(list.as_bytes()).unwrap();
        listener.propagation = Some(Propagation::new("/m.so", formats));
        let traced = traced(&listener, &request(&headers));
        let context = traced.context.iter().map(|carried| carried.words(false));
        let words: Vec<_> =
            context.chain(traced.steps.into_iter().map(|step| step.words)).collect();
        assert!(words.iter().any(|words| words == expected), "{headers:?} {words:#?}");
    }
}

/// What reads and writes, the proxy's Envoy, a header, and what is said of what goes on where 0 % are traced.
type Onward<'a> = (Reads<'a>, &'a str, Option<(&'a str, &'a str)>, Option<&'a str>);

#[test]
fn what_goes_on_is_said_where_no_span_is_recorded() {
    use Reads::{Envoy, Module, Zipkin};
    const B3: (&str, &str) = ("b3", "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1");
    let (not, as_caller) = (
        Some("what goes on says not recorded"),
        Some(
            "what goes on says recorded, as the caller did: spans behind this proxy hang below one that is missing",
        ),
    );
    let cases: [Onward<'_>; 12] = [
        (Envoy, "1.40.0", None, not),
        (Envoy, "1.40.0", Some(("traceparent", PARENT)), not),
        (Envoy, "1.36.4", Some(("traceparent", PARENT)), as_caller),
        (Envoy, "1.36.4", Some(("traceparent", UNSAMPLED)), not),
        (Envoy, "1.40.0", Some(("traceparent", "?")), Some("`traceparent` goes on as it came")),
        (Zipkin { w3c: true }, "1.40.0", Some(B3), as_caller),
        (Zipkin { w3c: true }, "1.40.0", Some(("b3", "1")), as_caller),
        (Zipkin { w3c: true }, "1.40.0", Some(("b3", B3.1.trim_end_matches("-1"))), not),
        (
            Zipkin { w3c: true },
            "1.40.0",
            Some(("b3", "?")),
            Some("what goes on in B3 cannot be read either"),
        ),
        (Module("b3,w3c_tracecontext"), "1.40.0", Some(B3), not),
        (Module("b3,w3c_tracecontext"), "1.40.0", Some(("b3", "?")), not),
        (
            Module("w3c_baggage"),
            "1.40.0",
            Some(B3),
            Some("no trace context goes on: the list names no format of it"),
        ),
    ];
    for (reads, envoy, header, expected) in cases {
        let listener = reads.at(listener("100", "100", "0"));
        let request = request(header.as_slice());
        let said = onward(&listener, &request, &traced(&listener, &request), Some(envoy));
        assert_eq!(said.as_deref(), expected, "{header:?} {envoy}");
    }
}

#[test]
fn a_caller_that_is_not_traced_decides_alone() {
    let traced = traced(&listener("100", "100", "10"), &request(&[("traceparent", UNSAMPLED)]));
    let words: Vec<_> = traced.steps.iter().map(|step| step.words.as_str()).collect();
    assert_eq!(words, ["the caller has a span that is not recorded, and neither is this one"]);
}

#[test]
fn the_draw_is_said() {
    let traced = traced(&listener("100", "100", "10"), &request(&[("x-request-id", ID)]));
    let words: Vec<_> = traced.steps.iter().map(|step| step.words.as_str()).collect();
    assert_eq!(
        words,
        ["random is 10 %: the request id draws 1234 of 10000, which is not below 1000"]
    );
}

#[test]
fn filters_decide_or_leave_it_open() {
    let logged = |filter: LogFilter, answer: &Answer, headers: &[(&str, &str)]| {
        let format = LogFormat::Text(String::new());
        let sink = LogSink::File { path: "/tmp/log".to_owned(), format };
        logged(&AccessLog { sink, filter }, &request(headers), None, answer).verdict
    };
    let (unknown, ok) = (Answer::default(), Answer { status: Some(200), ..Answer::default() });
    let errors =
        LogFilter { status_from: Some(500), sample: percent("13"), ..LogFilter::default() };
    assert_eq!(logged(LogFilter::default(), &unknown, &[]), Verdict::Yes);
    assert_eq!(logged(errors.clone(), &ok, &[]), Verdict::No);
    assert_eq!(
        logged(errors.clone(), &unknown, &[]),
        Verdict::Open { on: vec!["status"], of: 0.13 }
    );
    let failed = Answer { status: Some(503), ..Answer::default() };
    assert_eq!(logged(errors.clone(), &failed, &[]), Verdict::Share { of: 0.13 });
    assert_eq!(logged(errors, &failed, &[("x-request-id", ID)]), Verdict::Yes);
    let header = Some(HeaderMatch { name: "x-debug".to_owned(), value: HeaderValue::Present });
    let debug = LogFilter { header, ..LogFilter::default() };
    assert_eq!(logged(debug.clone(), &unknown, &[]), Verdict::No);
    assert_eq!(logged(debug, &unknown, &[("X-Debug", "1")]), Verdict::Yes);
    let slow = LogFilter {
        at_least: Some(Duration::from_secs(1)),
        any_flag: true,
        ..LogFilter::default()
    };
    let answer = Answer {
        duration: Some(Duration::from_secs(2)),
        flags: Some(vec!["UF".to_owned()]),
        ..failed
    };
    assert_eq!(logged(slow, &answer, &[]), Verdict::Yes);
}
