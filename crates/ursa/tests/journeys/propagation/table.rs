//! The table of `ursa-propagation`, by policy: one proxy, and two in a row.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::World;
use super::cases::{Case, Ids, cases, context, shown};
use super::echo::ask;

/// Lists that a policy gives no module for, since Envoy's tracer does them.
const OF_ENVOY: &str = "w3c_tracecontext";

/// What is wrong with a case.
async fn run(case: &Case, port: u16) -> Option<String> {
    let mut ids = Ids { attempt: 0, new: (0, 0), invented: (0, 0), span: 0 };
    let received = match ask(port, &ids.headers(&case.incoming)).await {
        Ok(received) => received,
        Err(error) => return Some(error.to_string()),
    };
    if let Some(context) = context(case.formats(), &received) {
        ids.attempt = context.span.value();
        ids.new = (context.trace.high(), context.trace.low());
        ids.invented = ids.new;
    }
    let expected = shown(&ids.headers(&case.receives));
    let old = ["{T}", "{U}"].map(|id| ids.fill(id));
    let goes_on = case.sees == "nothing" && old.contains(&ids.fill("{N}"));
    (shown(&received) != expected || goes_on)
        .then(|| format!("{:#?} instead of {expected:#?}", shown(&received)))
}

#[tokio::test]
async fn requests_become_what_the_table_says_on_every_way_through_the_mesh() {
    let world = World::start(&[]).await;
    let cases: Vec<_> = cases().into_iter().filter(|case| case.list != OF_ENVOY).collect();
    let lists: BTreeSet<_> = cases.iter().map(|case| case.list.as_str()).collect();
    assert!(cases.len() > 50 && lists.len() > 25, "{} cases", cases.len());
    let mut wrong = String::new();
    for list in lists {
        world.propagate(list).await;
        for case in cases.iter().filter(|case| case.list == list) {
            for (way, port) in [("one", world.direct), ("two", world.through)] {
                if let Some(what) = run(case, port).await {
                    writeln!(wrong, "{}, {way}: {what}", case.name).unwrap();
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    // Broken requests and many lists, and nobody had to start again.
    let shown = world.mesh.ok(&["inspect", "proxy", "back"]);
    assert!(shown.contains("by the module"), "{shown}");
}
