//! Trace context: each proxy gets the module's hooks if its Envoy loads it, and who looks sees how it travels.

use reqwest::{Method, StatusCode};
use serde_json::json;
use ursa_envoy::resources::LDS;

use crate::agent::Agent;
use crate::shop::{apply, get, id, open, request};

const POLICY: &str = "type: MeshTrace\nmesh: default\nname: all\nspec:\n  default:\n    backends: [{zipkin: {url: 'http://z:9411/api/v2/spans'}}]\n";
const RULES: &str = "    baggage: {incoming: {deny: [secret]}}\n";

#[tokio::test(flavor = "multi_thread")]
async fn hooks_are_for_proxies_whose_envoy_loads_the_module() {
    let running = open().await;
    apply(&running, &[POLICY.to_owned()]).await;
    let cart = id("cart");
    let path = "/meshes/default/dataplanes/cart";
    let overview = async || get(&running, &format!("{path}/_overview")).await;
    let listeners = async || {
        let config = get(&running, &format!("{path}/_config")).await;
        config["resources"][LDS].to_string()
    };
    let explained = async || {
        let explained = get(&running, &format!("{path}/_explain")).await;
        let trace = explained.as_array().unwrap().iter().find(|it| it["kind"] == "MeshTrace");
        trace.unwrap().clone()
    };

    // Nobody is connected: what will be if its Envoy can.
    let shown = overview().await;
    assert_eq!(shown["traceContext"]["by"], "assumedModule", "{shown}");
    assert!(listeners().await.contains("\"filename\":\"/run/ursa/libursa-envoy-module.so\""));

    let said = [("envoyVersion", "1.40.0"), ("module", "/w/m.so")];
    let agent = Agent::saying(&running, &cart, &said).await;
    assert!(listeners().await.contains("\"filename\":\"/w/m.so\""));
    let shown = overview().await;
    assert_eq!(shown["module"], "/w/m.so");
    assert_eq!(
        shown["traceContext"]["words"],
        "w3c_tracecontext, w3c_baggage, b3multi by the module"
    );
    assert_eq!(shown["warnings"], json!([]));
    let explanation = explained().await;
    let remark = "trace context: w3c_tracecontext, w3c_baggage, b3multi by the module";
    assert_eq!(explanation["remarks"], json!([remark]));
    let values = explanation["values"].as_array().unwrap();
    let list = values.iter().find(|value| value["path"] == "propagators").unwrap();
    assert_eq!(list["value"], json!(["w3c_tracecontext", "w3c_baggage", "b3multi"]));
    drop(agent);

    let deny = |explained: &serde_json::Value| {
        let values = explained["values"].as_array().unwrap().iter();
        values.clone().find(|it| it["path"] == "baggage.incoming.deny").unwrap().clone()
    };
    apply(&running, &[POLICY.to_owned() + RULES]).await;
    assert_eq!(deny(&explained().await)["withoutEffect"], json!(null));
    apply(&running, &[POLICY.to_owned()]).await;

    let why = "the module is for Envoy 1.40, and this is 1.36.4";
    let _agent = Agent::saying(&running, &cart, &[("moduleProblem", why)]).await;
    assert!(!listeners().await.contains("dynamic_module"));
    let shown = overview().await;
    assert_eq!(shown["moduleProblem"], why);
    let warnings = shown["warnings"].as_array().unwrap();
    let warning = warnings[0].as_str().unwrap();
    let kept =
        "trace context is read and written as `w3c_tracecontext`, `b3multi`; B3 is read before";
    assert!(
        warnings.len() == 1 && warning.starts_with(kept) && warning.ends_with(why),
        "{warning}"
    );
    let words = shown["traceContext"]["words"].as_str().unwrap();
    let by = "w3c_tracecontext, w3c_baggage, b3multi by Envoy's Zipkin tracer; B3 is read before";
    assert!(words.starts_with(by), "{words}");
    assert!(listeners().await.contains("envoy.tracers.zipkin"));

    apply(&running, &[POLICY.to_owned() + RULES]).await;
    assert_eq!(deny(&explained().await)["withoutEffect"], why);

    // What another list would do, it does to this proxy's Envoy.
    let text = POLICY.to_owned() + "    propagators: [w3c_tracecontext, datadog]\n";
    let body = json!({"documents": [{"text": text}]}).to_string();
    let json = ["content-type: application/json"];
    let reply = request(&running, Method::POST, "/_plan", &json, body).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text);
    let reply = reply.json();
    let plans = reply["proxies"].as_array().unwrap();
    let plan = plans.iter().find(|plan| plan["proxy"]["name"] == "cart").unwrap();
    assert_eq!(plan["traceContext"]["after"], "w3c_tracecontext by Envoy's tracer; not datadog");
    running.shutdown().await;
}

/// A MeshTrace of the mesh or of a proxy, with these settings beside its backend.
fn policy(name: &str, target: &str, settings: &str) -> String {
    format!(
        "type: MeshTrace\nmesh: default\nname: {name}\nspec:\n  targetRef: {target}\n  default:\n    \
         backends: [{{openTelemetry: {{endpoint: 'otel:4317'}}}}]\n    {settings}\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_writes_a_policy_is_told_what_connected_proxies_cannot_do_of_it() {
    let running = open().await;
    let why = "the module is for Envoy 1.40, and this is 1.36.4";
    let (old, new) =
        ([("envoyVersion", "1.36.4"), ("moduleProblem", why)], [("module", "/w/m.so")]);
    let _agents = [
        Agent::saying(&running, &id("cart"), &old).await,
        Agent::saying(&running, &id("payments"), &old).await,
        Agent::saying(&running, &id("gateway"), &new).await,
    ];
    let put = async |name: &str, body: String| {
        let path = format!("/meshes/default/meshtraces/{name}");
        let reply = request(&running, Method::PUT, &path, &[], body).await;
        assert!(reply.status.is_success(), "{}", reply.text);
        reply.json()["warnings"].clone()
    };
    let all = policy("all", "{kind: Mesh}", "propagators: [w3c_tracecontext, b3, datadog]");
    let words = "`datadog` neither read nor written; `b3` by Envoy's Zipkin tracer: B3 is read before `w3c_tracecontext`, \
                 `b3multi` is read and written too, `b3: d` goes on as sampled, a request with a broken B3 header has no span";
    let told = format!(
        "8:5 spec.default.propagators: 2 of 3 connected proxies cannot do all of it (cart, payments: {why}): {words}"
    );
    assert_eq!(put("all", all.clone()).await, json!([told]));
    assert_eq!(put("all", all.clone()).await, json!([told]), "also when nothing changed");

    // Another policy asks for nothing of that, until it does; a shadow does nothing.
    let cart = |settings: &str| policy("cart", "{kind: Dataplane, name: cart}", settings);
    assert_eq!(put("cart", cart("sampling: {random: 5}")).await, json!(null));
    let rules = "propagators: [w3c_tracecontext]\n    baggage: {incoming: {deny: [secret]}}";
    let lost = "9:26 spec.default.baggage.incoming.deny: 1 of 1 connected proxies cannot do all of it \
                (cart: the module is for Envoy 1.40, and this is 1.36.4): baggage NOT FILTERED";
    assert_eq!(put("cart", cart(rules)).await, json!([lost]));
    let shadow = all.replace("name: all", "name: trial\nlabels: {kuma.io/effect: shadow}");
    assert_eq!(put("trial", shadow).await, json!(null));

    // A dry run says the same, also of what is not stored.
    let dry = async |text: &str, dry_run: bool| {
        let document = json!({"text": text, "file": "all.yaml", "line": 11});
        let body = json!({"documents": [document], "dryRun": dry_run}).to_string();
        let json = ["content-type: application/json"];
        request(&running, Method::POST, "/_apply", &json, body).await.json()
    };
    let reply = dry(&all.replace("b3, datadog", "jaeger"), true).await;
    let warning = &reply["results"][0]["warnings"][0];
    let lost = "1 of 3 connected proxies cannot do all of it (payments: the module is for Envoy 1.40, and this is 1.36.4): \
                `jaeger` neither read nor written";
    assert_eq!(warning["message"], lost, "{reply}");
    let reply = dry(&all, false).await;
    assert_eq!(dry(&all, true).await["results"][0]["warnings"], reply["results"][0]["warnings"]);
    let warning = &reply["results"][0]["warnings"][0];
    assert_eq!(warning["place"]["line"], 18, "{reply}");
    assert_eq!(warning["hint"], "`ursa inspect meshtrace all` shows them");
    assert!(warning["message"].as_str().unwrap().contains("1 of 3 connected"), "{reply}");

    let shown = get(&running, "/meshes/default/meshtraces/all/_resources/dataplanes?size=3").await;
    assert_eq!((&shown["total"], shown["next"].is_string()), (&5.into(), true), "{shown}");
    let shown = get(&running, "/meshes/default/meshtraces/all/_resources/dataplanes").await;
    let proxy = |name: &str| {
        let mut items = shown["items"].as_array().unwrap().iter();
        items.find(|item| item["name"] == name).unwrap().clone()
    };
    assert_eq!(proxy("payments")["lacks"], json!([{"words": words, "why": why}]));
    assert_eq!(proxy("cart")["lacks"], json!([]), "of another policy");
    assert_eq!(proxy("cart")["warnings"].as_array().unwrap().len(), 1);
    assert_eq!(
        (&proxy("gateway")["connected"], &proxy("gateway")["warnings"]),
        (&true.into(), &json!([]))
    );
    assert_eq!(proxy("catalog")["lacks"], json!([]), "what it can do is not known");
    let one = get(&running, "/meshes/default/meshtraces/cart/_resources/dataplanes").await;
    assert_eq!(one["items"][0]["lacks"][0]["words"], "baggage NOT FILTERED");
    for nowhere in ["meshtraces/none", "dataplanes/cart"] {
        let path = format!("/meshes/default/{nowhere}/_resources/dataplanes");
        let reply = request(&running, Method::GET, &path, &[], "").await;
        assert_eq!(reply.status, StatusCode::NOT_FOUND, "{}", reply.text);
    }
    running.shutdown().await;
}
