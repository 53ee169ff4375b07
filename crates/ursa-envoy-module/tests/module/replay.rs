//! A request as Envoy hands it to both hooks, again and again: what they write does not change, and
//! `cargo xtask bench propagation` counts the library's instructions meanwhile.

use ursa_propagation::{Context, Decision, SpanId, TraceId};

use crate::cases::{List, shown};
use crate::hooks::{NAMES, trace};
use crate::loaded::Loaded;

/// How often. The benchmark divides by it.
const ROUNDS: usize = 1_000;
/// A browser's request as Envoy 1.40 has it at the first hook.
const REQUEST: [(&str, &str); 10] = [
    (":authority", "shop.example"),
    (":path", "/orders/7/1234?expand=items"),
    (":method", "GET"),
    (":scheme", "http"),
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64)"),
    ("accept", "application/json"),
    ("accept-language", "en"),
    ("x-forwarded-proto", "http"),
    ("cookie", "session=7f3c2a91b2; theme=dark"),
    ("x-tenant", "blue"),
];
/// What Envoy adds before the second.
const ADDED: [(&str, &str); 2] = [
    ("x-request-id", "d2b5b6a1-7f3c-9d1e-8a54-0c5f3f0e9b11"),
    ("x-envoy-expected-rq-timeout-ms", "15000"),
];
const B3: (&str, &str) = ("b3", "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1");
const DATADOG: [(&str, &str); 4] = [
    ("x-datadog-trace-id", "11803532876627986230"),
    ("x-datadog-parent-id", "67667974448284343"),
    ("x-datadog-sampling-priority", "1"),
    ("x-datadog-tags", "_dd.p.tid=4bf92f3577b34da6,_dd.p.dm=-4"),
];

fn list(headers: &[(&str, &str)]) -> List {
    headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect()
}

fn replay(formats: &str, caller: &[(&str, &str)], written: &[&str]) {
    let [extract, inject] = Loaded::new().hooks(NAMES, formats).map(Option::unwrap);
    let context = Context {
        trace: TraceId::new(0x4bf9_2f35_77b3_4da6, 0xa3ce_929d_0e0e_4736).unwrap(),
        span: SpanId::new(0xb7ad_6b71_6920_3331).unwrap(),
        decision: Decision::Accept,
    };
    let once = || {
        let mut request = extract.extract(list(&[&REQUEST[..], caller].concat()));
        request.extend(list(&ADDED));
        let state = request.iter().find(|(name, _)| name == "tracestate");
        let state = state.map(|(_, value)| value.clone()).unwrap_or_default();
        trace(&mut request, &context, &state);
        shown(&inject.inject(request))
    };
    let first = once();
    for name in written {
        assert!(first.iter().any(|line| line.starts_with(name)), "{name}: {first:#?}");
    }
    for _ in 1..ROUNDS {
        assert_eq!(once(), first);
    }
}

#[test]
fn w3c_and_b3() {
    replay("w3c_tracecontext,w3c_baggage,b3", &[], &["traceparent", "b3"]);
}

#[test]
fn w3c_and_b3_from_b3() {
    replay("w3c_tracecontext,w3c_baggage,b3", &[B3], &["traceparent", "b3"]);
}

const ALL: &str = "w3c_tracecontext,w3c_baggage,b3,b3multi,datadog,xray,jaeger";
const ALL_NAMES: [&str; 6] =
    ["traceparent", "b3", "x-b3-traceid", "x-datadog-trace-id", "x-amzn-trace-id", "uber-trace-id"];

#[test]
fn all_formats() {
    replay(ALL, &[], &ALL_NAMES);
}

#[test]
fn all_formats_from_datadog() {
    replay(ALL, &DATADOG, &ALL_NAMES);
}

const BAGGAGE: (&str, &str) =
    ("baggage", "tenant.id=blue,session.id=7f3c2a91b2;ttl=1,user.plan=gold");

/// Three members that may pass: looked at twice, not written.
#[test]
fn baggage_passes() {
    let rules =
        "w3c_tracecontext\nin allow tenant.* session.* user.*\nin deny secret\nout deny internal.*";
    replay(
        rules,
        &[BAGGAGE],
        &["traceparent", "baggage: tenant.id=blue,session.id=7f3c2a91b2;ttl=1"],
    );
}

/// One of three is set, another must not go on.
#[test]
fn baggage_is_rewritten() {
    let rules = "w3c_tracecontext\nin allow tenant.* session.* user.*\nout deny session.*\nset tenant.id @x-tenant =none\nset team =core";
    replay(rules, &[BAGGAGE], &["baggage: tenant.id=blue,user.plan=gold,team=core"]);
}
