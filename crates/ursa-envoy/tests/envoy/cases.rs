use std::collections::BTreeMap;

use serde_json::{Value, json};
use ursa_envoy::check::check;
use ursa_envoy::format::Command;
use ursa_envoy::format::operators::{Argument, Operator, TABLE};
use ursa_envoy::json::{from_json, message_to_json, to_json};
use ursa_envoy::offline::offline;
use ursa_envoy::proxy::{
    AccessLog, ClusterKind, ListenerKind, LogFilter, LogFormat, LogSink, ProxyConfig,
};
use ursa_envoy::resources::{CDS, LDS, PIPELINE, RDS, Resources, SECRET, resources};
use ursa_model::pipeline::{Backend, ExporterSpec};

use crate::{peers, proxies};

fn snapshot(name: &str, value: &Value) {
    insta::with_settings!({prepend_module_to_snapshot => false, omit_expression => true}, {
        insta::assert_snapshot!(name, serde_json::to_string_pretty(value).unwrap());
    });
}

/// Short type → name → body, without the agent's own.
fn readable(resources: &Resources) -> Value {
    let bodies = |kind: &str, resources: &BTreeMap<String, _>| -> Value {
        resources
            .iter()
            .map(|(name, resource): (_, &ursa_envoy::resources::Resource)| {
                (name.clone(), to_json(kind, &resource.body.value))
            })
            .collect()
    };
    resources
        .iter()
        .filter(|(kind, _)| **kind != PIPELINE)
        .map(|(kind, of_kind)| (kind.rsplit('.').next().unwrap().to_owned(), bodies(kind, of_kind)))
        .collect()
}

#[test]
fn cases_read_as_reviewed() {
    for (name, proxy) in proxies::all() {
        snapshot(name, &readable(&resources(&proxy)));
    }
}

#[test]
fn bootstrap_reads_as_reviewed() {
    let bootstrap = peers::bootstrap_in("/run/ursa".as_ref());
    snapshot("bootstrap", &message_to_json(&bootstrap));
}

#[test]
fn cases_have_no_findings() {
    for (name, proxy) in proxies::all() {
        assert_eq!(check(&resources(&proxy)), [], "{name}");
    }
}

#[tokio::test]
async fn every_supported_envoy_accepts_every_case() {
    let folder = tempfile::tempdir().unwrap();
    let library = peers::library_in(folder.path());
    for envoy in peers::envoys() {
        for (name, mut proxy) in proxies::all() {
            if name == "propagating" {
                if peers::is_oldest(&envoy) {
                    continue;
                }
                proxy = proxies::propagating(&library);
            }
            let bootstrap = peers::bootstrap_in(folder.path());
            let bootstrap = offline(bootstrap, &resources(&proxy)).unwrap();
            let verdict = peers::validate(&envoy, &bootstrap).await;
            assert_eq!(verdict, Ok(()), "{name}, {}", envoy.display());
        }
    }
}

/// Every operator with what it takes, every response flag; of each only what the version knows.
#[tokio::test]
async fn every_supported_envoy_knows_every_operator() {
    let folder = tempfile::tempdir().unwrap();
    for envoy in peers::envoys() {
        let is_oldest = peers::is_oldest(&envoy);
        let known = TABLE.iter().filter(|operator| !(operator.newer && is_oldest));
        let line = |operator: &Operator| {
            let command = |argument: Option<&str>, length| Command {
                name: operator.name.to_owned(),
                argument: argument.map(str::to_owned),
                length,
            };
            let cut = operator.cut.then_some(5);
            let commands = match operator.argument {
                Argument::None => vec![command(None, cut)],
                Argument::Optional(example) => {
                    vec![command(None, None), command(Some(example), cut)]
                }
                Argument::Needed(example) => vec![command(Some(example), cut)],
            };
            for command in &commands {
                assert_eq!(command.check().map(|operator| operator.name), Ok(operator.name));
            }
            commands.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        let lines: Vec<_> = known.map(line).collect();
        let mut proxy = proxies::plain();
        let log = |line: &String| AccessLog {
            sink: LogSink::File {
                path: "/dev/null".to_owned(),
                format: LogFormat::Text(line.clone()),
            },
            filter: LogFilter::default(),
        };
        proxy.listeners[0].access_logs = lines.iter().map(log).collect();
        let bootstrap = offline(peers::bootstrap_in(folder.path()), &resources(&proxy)).unwrap();
        assert_eq!(peers::validate(&envoy, &bootstrap).await, Ok(()), "{}", envoy.display());
    }
}

#[test]
fn operators_are_sorted() {
    assert!(TABLE.is_sorted_by(|one, other| one.name < other.name));
}

#[tokio::test]
async fn what_envoy_refuses_is_a_finding() {
    let mut proxy = proxies::plain();
    proxy.clusters.pop();
    let resources = resources(&proxy);
    let findings: Vec<String> = check(&resources).iter().map(ToString::to_string).collect();
    let expected = "RouteConfiguration outbound:127.0.0.1:10001: \
                    refers to cluster `catalog`, which is not there";
    assert_eq!(findings, [expected]);
    let folder = tempfile::tempdir().unwrap();
    for envoy in peers::envoys() {
        let bootstrap = offline(peers::bootstrap_in(folder.path()), &resources).unwrap();
        let words = peers::validate(&envoy, &bootstrap).await.unwrap_err();
        assert!(words.contains("unknown cluster 'catalog'"), "{words}");
    }
}

#[test]
fn findings_name_what_is_wrong() {
    let mut proxy = proxies::traced();
    let mut twin = proxy.listeners[0].clone();
    twin.name = "inbound_127.0.0.1_80".to_owned();
    if let ListenerKind::Http(http) = &mut twin.kind {
        http.routes.name = "elsewhere".to_owned();
    }
    proxy.listeners.push(twin);
    proxy.pipeline.traces.backends.push(backend_with_token("frontend-secret-token"));
    proxy.clusters.push(proxies::local("frontend-secret-token", 1));
    let mut resources = resources(&proxy);
    resources.get_mut(RDS).unwrap().remove("elsewhere");
    resources.entry(RDS).or_default().entry("outbound:127.0.0.1:10001".to_owned()).and_modify(
        |r| {
            r.body.value = b"\xff\xff".to_vec();
        },
    );
    snapshot("findings", &check(&resources).iter().map(ToString::to_string).collect());
}

#[test]
fn findings_name_hooks_that_are_not_in_their_places() {
    let made = resources(&proxies::propagating("/m.so"));
    let listener = "inbound:127.0.0.1:80";
    let of = |kind: &'static str, name: &str| to_json(kind, &made[kind][name].body.value);
    let found = |kind: &'static str, name: &str, json: &Value| {
        let mut resources = made.clone();
        let body = &mut resources.get_mut(kind).unwrap().get_mut(name).unwrap().body;
        body.value = from_json(kind, json).unwrap();
        check(&resources).iter().map(|finding| finding.problem.clone()).collect::<Vec<_>>()
    };
    let with = |change: fn(&mut Value)| {
        let mut json = of(LDS, listener);
        change(&mut json["filter_chains"][0]["filters"][0]["typed_config"]);
        found(LDS, listener, &json)
    };
    let expected = ["has hooks around a tracer, and no tracer"];
    assert_eq!(with(|it| drop(it.as_object_mut().unwrap().remove("tracing"))), expected);
    let expected = ["has one of the hooks `extract` and `inject` alone"];
    let removed =
        with(|it| drop(it.as_object_mut().unwrap().remove("early_header_mutation_extensions")));
    assert_eq!(removed, expected);
    let expected = ["has something before the hook `extract`"];
    let before = with(|it| {
        let early = it["early_header_mutation_extensions"].as_array_mut().unwrap();
        let mut other = early[0].clone();
        other["typed_config"]["early_header_mutation_name"] = "other".into();
        early.insert(0, other);
    });
    assert_eq!(before, expected);
    let expected = ["tells the two hooks different things"];
    let other = with(|it| {
        let early = &mut it["early_header_mutation_extensions"][0];
        early["typed_config"]["early_header_mutation_config"]["value"] = "b3".into();
    });
    assert_eq!(other, expected);
    let expected = ["does not end its upstream filters with the codec"];
    let reversed = with(|it| {
        let filters = &mut it["http_filters"][0]["typed_config"]["upstream_http_filters"];
        filters.as_array_mut().unwrap().reverse();
    });
    assert_eq!(reversed, expected);
    let filter = of(LDS, listener)["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"][0]
        ["typed_config"]["upstream_http_filters"][1]
        .clone();
    let mut cluster = of(CDS, "catalog");
    cluster["typed_extension_protocol_options"] = json!({"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http_protocol_options": {}}, "http_filters": [filter],
    }});
    let expected = "has upstream filters of its own without `inject`, which pass the router's by";
    assert_eq!(found(CDS, "catalog", &cluster), [expected]);
}

#[test]
fn same_input_gives_same_bytes() {
    for (name, proxy) in proxies::all() {
        let first = resources(&proxy);
        assert_eq!(first, resources(&proxy.clone()), "{name}");
        assert_eq!(first, resources(&reversed(proxy)), "{name}, learned in another order");
    }
    let folder = "/run/ursa".as_ref();
    let bootstrap = || message_to_json(&peers::bootstrap_in(folder)).to_string();
    assert_eq!(bootstrap(), bootstrap());
}

fn reversed(mut proxy: ProxyConfig) -> ProxyConfig {
    proxy.clusters.reverse();
    proxy.listeners.reverse();
    for cluster in &mut proxy.clusters {
        if let ClusterKind::Eds { endpoints } = &mut cluster.kind {
            endpoints.reverse();
            endpoints.extend(endpoints.first().cloned());
        }
    }
    proxy
}

#[test]
fn a_change_of_tracing_touches_routes_only() {
    let (before, after) = (resources(&proxies::traced()), resources(&proxies::gentler()));
    for (kind, of_kind) in &before {
        let changed: Vec<_> =
            of_kind.iter().filter(|(name, r)| after[kind][*name].version != r.version).collect();
        assert_eq!(changed.is_empty(), *kind != RDS, "{kind}");
    }
}

#[test]
fn json_goes_both_ways() {
    for (name, proxy) in proxies::all() {
        for (kind, of_kind) in resources(&proxy) {
            for resource in of_kind.into_values().filter(|_| kind != PIPELINE) {
                let json = to_json(kind, &resource.body.value);
                let back = from_json(kind, &json).unwrap();
                assert_eq!(to_json(kind, &back), json, "{name}");
                // Fields may come in another order.
                assert_eq!(back.len(), resource.body.value.len(), "{name} {json}");
            }
        }
    }
}

#[test]
fn unknown_types_are_shown_as_base64() {
    let unknown = json!({ "@type": "type.googleapis.com/shop.Unknown", "value": "AQID" });
    assert_eq!(to_json("type.googleapis.com/shop.Unknown", &[1, 2, 3]), unknown);
    // Inside another message: a filter with a configuration of field 4 (`typed_config`).
    let any = [b"\x0a\x20type.googleapis.com/shop.Unknown\x12\x03".as_slice(), &[1, 2, 3]].concat();
    let filter = [&[0x22, u8::try_from(any.len()).unwrap()], any.as_slice()].concat();
    let shown = to_json("type.googleapis.com/envoy.config.listener.v3.Filter", &filter);
    assert_eq!(shown, json!({ "typed_config": unknown }));
}

#[test]
fn credentials_are_never_shown() {
    let mut proxy = proxies::plain();
    proxy.pipeline.traces.backends.push(backend_with_token("s3cr3t-t0ken"));
    let pipeline = resources(&proxy).remove(PIPELINE).unwrap().remove("pipeline").unwrap();
    let shown = to_json(PIPELINE, &pipeline.body.value);
    let backend = &shown["traces"]["backends"][0]["spec"]["openTelemetry"];
    assert_eq!(backend["headers"], json!({ "x-team": "[redacted]", "x-key": "${secret:key}" }));
    assert_eq!(backend["auth"]["bearerToken"], "[redacted]");
    assert_eq!(to_json(SECRET, b"s3cr3t")["value"], "[redacted]");
}

fn backend_with_token(token: &str) -> Backend {
    let spec = json!({
        "openTelemetry": {
            "endpoint": "collector:4317",
            "headers": { "x-team": "core", "x-key": "${secret:key}" },
            "auth": { "bearerToken": token },
        },
    });
    Backend::new("collector", serde_json::from_value::<ExporterSpec>(spec).unwrap())
}
