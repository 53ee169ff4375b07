//! The page that says what was seen.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use super::call::Call;
use super::table::Neighbour;

const HEAD: &str = "\
# Neighbours

Who understands whom through the mesh, as a test saw it: a caller with a library of its own, two proxies, a callee with
another library. Each call is one trace without a gap, and what is not sampled leaves no spans of proxies. The mesh sends its spans to
a Collector, Zipkin and Datadog's test agent at once (`additionalBackends`), as while moving from one to another: each has
all of them, and with both neighbours on the same backend the whole trace is there. Written by `cargo test --package ursa neighbours`.

Decisions are in Datadog's numbers: −1 and 2 are a user's, 0 and 1 a sampler's. The other formats know no more than
no and yes. A server with py_zipkin, and Envoy's Zipkin tracer, do not begin a span but join that of the proxy before them.

| library | version | setting | by |
|---|---|---|---|
| ddtrace (Datadog) | 4.16.0 | `datadog` | `DD_TRACE_PROPAGATION_STYLE=datadog` |
| | | `default` | nothing: it speaks Datadog's headers, W3C's and baggage |
| py_zipkin | 1.2.8 | `b3multi` | `create_http_headers`, which knows nothing else |
| | | `b3` | `extract_zipkin_attrs_from_headers`, which prefers it |
| opentelemetry (Python) | 1.45.2 | `tracecontext`, `b3`, `b3multi` | `OTEL_PROPAGATORS`; the last two with `opentelemetry-propagator-b3` |
| envoy (as in Istio) | 1.40.0 | `b3multi` | `envoy.tracers.zipkin`; `trace_id_128bit` for 128 bits |
| | | `b3` | nothing: it prefers to read it, and then writes it |

";

fn name(neighbour: Neighbour) -> String {
    format!("{} `{}`", neighbour.library, neighbour.setting)
}

/// The page of those calls, all of which are as they should be.
fn page(calls: &[Call]) -> String {
    let mut page = HEAD.to_owned();
    let mut rest = calls;
    let mut list = "";
    while let Some(first) = rest.first() {
        let same = |call: &&Call| {
            (call.propagators, call.before, call.behind)
                == (first.propagators, first.before, first.behind)
        };
        let row: Vec<_> = rest.iter().take_while(same).collect();
        rest = &rest[row.len()..];
        if list != first.propagators {
            list = first.propagators;
            let quoted = list.split(", ").map(|name| format!("`{name}`")).collect::<Vec<_>>();
            let quoted = quoted.join(", ");
            let heading = if first.named {
                quoted
            } else {
                format!("Unset: {quoted}, as Zipkin's and Datadog's backends bring them along")
            };
            write!(page, "## {heading}\n\n| before | behind | ids | decisions | Datadog's tags |\n|---|---|---|---|---|\n").unwrap();
        }
        let bits: BTreeSet<_> = row.iter().map(|call| call.case.digits * 4).collect();
        let bits: Vec<_> = bits.iter().map(|bits| format!("{bits}")).collect();
        let decisions: BTreeSet<_> =
            row.iter().map(|call| (call.case.priority, call.got().to_owned())).collect();
        let decisions: Vec<_> = decisions
            .iter()
            .map(|(said, got)| {
                if said.to_string() == *got { said.to_string() } else { format!("{said} as {got}") }
            })
            .collect();
        let tags = match row.iter().find(|call| call.case.tags) {
            Some(call) if call.has_tags() => "kept",
            Some(_) => "not its own",
            None => "none",
        };
        let end = if rest.first().is_some_and(|next| next.propagators != list) { "\n" } else { "" };
        writeln!(
            page,
            "| {} | {} | {} bits | {} | {tags} |{end}",
            name(first.before),
            name(first.behind),
            bits.join(", "),
            decisions.join(", ").replace('-', "−")
        )
        .unwrap();
    }
    page
}

/// Asserts that the page in the tree says what was seen.
pub(crate) fn compare(calls: &[Call]) {
    let page = page(calls);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/neighbours.md");
    let stale = std::fs::read_to_string(&path).ok().as_deref() != Some(&page);
    if stale {
        std::fs::write(&path, &page).unwrap();
    }
    assert!(
        !stale,
        "docs/reference/neighbours.md was stale and has been rewritten, read and commit it:\n{page}"
    );
}
