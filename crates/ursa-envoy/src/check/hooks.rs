//! The module's hooks: both or none, in their places, around a tracer, and no way past them.

use serde_json::Value as Json;

use crate::module::{EXTRACT, INJECT};

const MANAGER: &str =
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
const ROUTER: &str = "envoy.extensions.filters.http.router.v3.Router";
const CODEC: &str = "envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec";

/// What is wrong with the hooks of a listener.
pub(super) fn of_listener(listener: &Json) -> Vec<String> {
    let filters = list(listener, "filter_chains").iter().flat_map(|chain| list(chain, "filters"));
    filters.filter_map(|filter| typed(filter, MANAGER)).flat_map(of_manager).collect()
}

/// Whether one of a listener's routers has the upstream hook.
pub(super) fn has_upstream(listener: &Json) -> bool {
    let filters = list(listener, "filter_chains").iter().flat_map(|chain| list(chain, "filters"));
    filters.filter_map(|filter| typed(filter, MANAGER)).any(|it| !upstream(it).is_empty())
}

fn of_manager(manager: &Json) -> Vec<String> {
    let mut wrong = Vec::new();
    let early = list(manager, "early_header_mutation_extensions");
    let at = early.iter().position(|it| named(it, "early_header_mutation_name") == Some(EXTRACT));
    let upstream = upstream(manager);
    let inject = upstream.iter().find(|it| is_inject(it));
    match (at, inject) {
        (None, None) => return wrong,
        (Some(0), Some(inject)) => {
            let told =
                |of: Option<&Json>, field: &str| of.and_then(|it| config(it)?.get(field)).cloned();
            if told(early.first(), "early_header_mutation_config")
                != told(Some(inject), "filter_config")
            {
                wrong.push("tells the two hooks different things".to_owned());
            }
        }
        (Some(_), Some(_)) => wrong.push("has something before the hook `extract`".to_owned()),
        _ => wrong.push(format!("has one of the hooks `{EXTRACT}` and `{INJECT}` alone")),
    }
    if upstream.last().is_none_or(|last| typed(last, CODEC).is_none()) {
        wrong.push("does not end its upstream filters with the codec".to_owned());
    }
    if manager.get("tracing").is_none() {
        wrong.push("has hooks around a tracer, and no tracer".to_owned());
    }
    wrong
}

/// What is wrong with a cluster where requests are written to by an upstream hook: filters of its own switch those of
/// the router off, silently.
pub(super) fn of_cluster(cluster: &Json) -> Option<String> {
    let options = cluster.get("typed_extension_protocol_options")?.as_object()?;
    let own = options.values().map(|options| list(options, "http_filters"));
    let passes = |filters: &[Json]| !filters.is_empty() && !filters.iter().any(is_inject);
    own.into_iter().any(passes).then(|| {
        format!("has upstream filters of its own without `{INJECT}`, which pass the router's by")
    })
}

/// The upstream filters of a manager's router.
fn upstream(manager: &Json) -> &[Json] {
    let mut routers =
        list(manager, "http_filters").iter().filter_map(|filter| typed(filter, ROUTER));
    routers.next_back().map(|router| list(router, "upstream_http_filters")).unwrap_or_default()
}

fn is_inject(filter: &Json) -> bool {
    named(filter, "filter_name") == Some(INJECT)
}

fn list<'a>(json: &'a Json, field: &str) -> &'a [Json] {
    json.get(field).and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn config(extension: &Json) -> Option<&Json> {
    extension.get("typed_config")
}

fn typed<'a>(extension: &'a Json, message: &str) -> Option<&'a Json> {
    let config = config(extension)?;
    config.get("@type")?.as_str()?.ends_with(message).then_some(config)
}

fn named<'a>(extension: &'a Json, field: &str) -> Option<&'a str> {
    config(extension)?.get(field)?.as_str()
}
