use std::collections::BTreeSet;

use serde_json::{Value, json};
use ursa_model::ProxyId;

use super::*;
use crate::testing::{changes, site, snapshots};

const MESH: &str = "{type: Mesh, name: default}
---
{type: Dataplane, mesh: default, name: front, networking: {address: 10.0.0.1, inbound: [{port: 80, tags: {kuma.io/service: front, kuma.io/protocol: http}}]}}
---
{type: Dataplane, mesh: default, name: back, networking: {address: 10.0.0.2, inbound: [{port: 80, tags: {kuma.io/service: back, kuma.io/protocol: http}}]}}
---
{type: MeshTrace, mesh: default, name: all, spec: {default: {backends: [{zipkin: {url: 'http://z:9411/api/v2/spans'}}], sampling: {random: 50}}}}
";

fn planned(change: &str) -> Vec<ProxyPlan> {
    let kinds = ursa_policies::kinds();
    let before = snapshots(MESH);
    let (after, touched) = before.next(&changes(change), &kinds, 2);
    let (before, after) = (before.mesh("default"), after.mesh("default"));
    let keys = touched.get("default").cloned().unwrap_or_else(BTreeSet::new);
    let difference = Difference::new(&before, &after, &keys);
    let plan = |name| {
        let abilities = Abilities::default();
        of_proxy(ProxyId::new("default", name), &before, &after, &difference, &abilities, &site())
    };
    proxies(&before, &after).into_iter().filter_map(plan).collect()
}

fn answer(requests: u32, spans: u32) -> Value {
    json!({"envoy": {"spansSent": spans, "requests": {"inbound_80": requests}}})
}

#[test]
fn only_what_differs_is_planned_and_says_why() {
    let plans = planned(
        "{type: MeshTrace, mesh: default, name: less, spec: {targetRef: {kind: MeshService, name: back}, default: {backends: [], \
         sampling: {random: 5}}}}",
    );
    let [plan] = &plans[..] else { panic!("one proxy is touched: {plans:?}") };
    let shown = serde_json::to_value(plan).unwrap();
    assert_eq!(shown["proxy"]["name"], "back");
    let values = shown["values"].as_array().unwrap();
    let paths: Vec<_> = values.iter().map(|value| value["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["backends", "sampling.random"]);
    assert_eq!(values[1]["before"]["value"], 50);
    assert_eq!(values[1]["after"]["origin"]["policy"]["name"], "less");
    assert_eq!(values[1]["after"]["origin"]["place"]["line"], 1);
    let types: Vec<_> = plan.resources.iter().map(|it| json!(it)["type"].clone()).collect();
    assert_eq!(types.len(), 3, "listener, routes and pipeline: {types:?}");
    assert_eq!(shown["drains"], json!(["inbound:80"]));
    let bootstrap = plan.bootstrap(&site()).unwrap().to_string();
    assert!(bootstrap.contains("inbound:80"));

    assert!(planned("# words alone\n{type: Mesh, name: default}").is_empty());
    let plans = planned(
        "{type: MeshTrace, mesh: default, name: lost, spec: {default: {backends: [{openTelemetry: {backendRef: \
         {kind: MeshOpenTelemetryBackend, name: none}}}]}}}",
    );
    assert_eq!(plans.len(), 0, "`all` sorts first, so it stays the stronger");
}

#[test]
fn rates_follow_the_share_and_what_comes_already() {
    let less = "{type: MeshTrace, mesh: default, name: all, spec: {default: {backends: [{zipkin: {url: 'http://z:9411/api/v2/spans'}}], sampling: {random: 5}}}}";
    let plans = planned(less);
    assert_eq!(plans.len(), 2);
    let estimate = |first: Value, second: Value| {
        let rates = Rates::between(&first, &second, 2.0)?;
        Some(json!(plans.first()?.estimate(&rates)))
    };
    let follows = estimate(answer(100, 10), answer(300, 190)).unwrap();
    assert_eq!(follows["requests"], 100.0);
    assert_eq!(follows["spans"], json!({"before": 90.0, "after": 9.0, "atMost": false}));
    assert_eq!(follows["rulesNotToldApart"], false);
    let begins = estimate(answer(100, 0), answer(300, 0)).unwrap();
    assert_eq!(begins["spans"]["after"], 5.0);
    assert_eq!(estimate(answer(300, 0), answer(0, 0)), None, "another Envoy");
    assert_eq!(estimate(json!({}), answer(0, 0)), None, "an older agent");
    let most = estimate(answer(0, 0), answer(200, 4000)).unwrap();
    assert_eq!(most["spans"]["after"], most["requests"], "a request is one span");

    let drains: Vec<_> = plans.iter().map(|plan| json!(plan)["drains"].clone()).collect();
    assert_eq!(drains, [json!([]), json!([])], "shares are on routes");
    let idle = estimate(answer(100, 10), answer(100, 12)).unwrap();
    assert_eq!(idle["spans"], json!({"before": 1.0, "after": 1.0, "atMost": false}));

    let formats = planned(
        "{type: MeshTrace, mesh: default, name: all, spec: {default: {backends: [{zipkin: {url: 'http://z:9411/api/v2/spans'}}], \
         sampling: {random: 50}, propagators: [b3]}}}",
    );
    assert_eq!(json!(formats[0])["drains"], json!(["inbound:80"]));
    // More spans than requests in these seconds, and spans of requests before them.
    for (first, second) in [((100, 0), (300, 204)), ((100, 0), (100, 3))] {
        let (first, second) = (answer(first.0, first.1), answer(second.0, second.1));
        let rates = Rates::between(&first, &second, 2.0).unwrap();
        let spans = json!(formats[0].estimate(&rates))["spans"].clone();
        assert_eq!(spans["before"], spans["after"], "the share stays");
    }

    let logs = planned(
        "{type: MeshAccessLog, mesh: default, name: all, spec: {from: [{targetRef: {kind: Mesh}, default: {backends: [\
         {sample: 10, file: {path: /tmp/a}}, {filter: {status: {from: 500}}, file: {path: /tmp/b}}]}}]}}",
    );
    let rates = Rates::between(&answer(0, 0), &answer(200, 0), 2.0).unwrap();
    let lines = json!(logs[0].estimate(&rates))["logLines"].clone();
    assert_eq!(logs[0].collection(), None, "metrics stay as they are");
    assert_eq!(lines, json!({"before": 0.0, "after": 110.0, "atMost": true}));
    assert!(!logs[0].bootstrap(&site()).unwrap().to_string().contains("/tmp/a"));
}

#[test]
fn what_would_be_gathered_otherwise_and_rules_are_said() {
    let metrics = planned(
        "{type: MeshMetric, mesh: default, name: all, spec: {default: {backends: [{prometheus: {port: 5670}}]}}}",
    );
    let collections: Vec<_> = metrics.iter().filter_map(ProxyPlan::collection).collect();
    let outputs: Vec<_> = collections.iter().map(|it| it.outputs.len()).collect();
    assert_eq!(outputs, [1, 1]);
    let rules = planned(
        "{type: MeshTrace, mesh: default, name: all, spec: {default: {backends: [{zipkin: {url: 'http://z:9411/api/v2/spans'}}], \
         sampling: {random: 50, rules: [{match: {method: POST}, off: true}]}}}}",
    );
    let rates = Rates::between(&answer(0, 0), &answer(200, 0), 2.0).unwrap();
    assert_eq!(json!(rules[0].estimate(&rates))["rulesNotToldApart"], true);
}
