//! What a MeshHealthCheck does to a proxy.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use ursa_envoy::proxy::{
    Cluster, ClusterKind, HeaderChanges, HealthCheck, HealthChecks, ProxyConfig,
};
use ursa_model::dataplane::Protocol;
use ursa_model::duration::Duration;

use super::schema::{Conf, Grpc, Header, Http, Tcp};
use crate::backends::Applied;
use crate::kind::Merged;
use crate::traffic;

/// How often an endpoint is asked where nobody says otherwise.
const INTERVAL: Duration = Duration::from_secs(60);
/// How long an answer may take where nobody says otherwise.
const TIMEOUT: Duration = Duration::from_secs(15);
/// How many failures in a row make an endpoint unwell where nobody says otherwise.
const UNHEALTHY: u32 = 5;
/// How many successes in a row make it well again where nobody says otherwise.
const HEALTHY: u32 = 1;

pub(super) fn conf(merged: &Merged<'_, Conf>, proxy: &mut ProxyConfig, applied: &mut Applied) {
    let traffic = traffic::settings(merged, proxy, applied);
    for (cluster, conf) in proxy.clusters.iter_mut().zip(traffic.clusters) {
        let Some(conf) = conf.filter(|_| matches!(cluster.kind, ClusterKind::Eds { .. })) else {
            continue;
        };
        of_cluster(cluster, &conf);
    }
}

fn of_cluster(cluster: &mut Cluster, conf: &Conf) {
    cluster.healthy_panic_threshold = conf.healthy_panic_threshold;
    cluster.fail_traffic_on_panic = conf.fail_traffic_on_panic == Some(true);
    cluster.health = check(conf, cluster.protocol).map(|check| HealthChecks {
        interval: conf.interval.unwrap_or(INTERVAL).get(),
        unhealthy_interval: conf.unhealthy_interval.map(Duration::get),
        timeout: conf.timeout.unwrap_or(TIMEOUT).get(),
        unhealthy_threshold: conf.unhealthy_threshold.unwrap_or(UNHEALTHY),
        healthy_threshold: conf.healthy_threshold.unwrap_or(HEALTHY),
        initial_jitter: conf.initial_jitter.map(Duration::get),
        interval_jitter: conf.interval_jitter.map(Duration::get),
        interval_jitter_percent: conf.interval_jitter_percent,
        no_traffic_interval: conf.no_traffic_interval.map(Duration::get),
        event_log_path: conf.event_log_path.clone(),
        always_log_failures: conf.always_log_health_check_failures == Some(true),
        reuse_connection: conf.reuse_connection,
        check,
    });
}

/// What is asked of endpoints that speak `protocol`.
fn check(conf: &Conf, protocol: Protocol) -> Option<HealthCheck> {
    let own = match protocol {
        Protocol::Tcp => None,
        Protocol::Http | Protocol::Http2 => {
            let http = conf.http.as_ref();
            http.filter(|http| http.disabled != Some(true)).map(of_http)
        }
        Protocol::Grpc => {
            let grpc = conf.grpc.as_ref();
            grpc.filter(|grpc| grpc.disabled != Some(true)).map(of_grpc)
        }
    };
    own.or_else(|| conf.tcp.as_ref().filter(|tcp| tcp.disabled != Some(true)).map(of_tcp))
}

fn of_http(http: &Http) -> HealthCheck {
    let headers = http.request_headers_to_add.clone().unwrap_or_default();
    let pairs = |headers: Option<Vec<Header>>| {
        let headers = headers.unwrap_or_default().into_iter();
        headers.map(|Header { name, value }| (name, value)).collect()
    };
    HealthCheck::Http {
        path: http.path.clone().unwrap_or_else(|| "/".to_owned()),
        headers: HeaderChanges {
            set: pairs(headers.set),
            add: pairs(headers.add),
            remove: Vec::new(),
        },
        expected_statuses: http.expected_statuses.clone().unwrap_or_default(),
    }
}

fn of_grpc(grpc: &Grpc) -> HealthCheck {
    HealthCheck::Grpc {
        service_name: grpc.service_name.clone().unwrap_or_default(),
        authority: grpc.authority.clone(),
    }
}

/// What is no Base64 was refused.
fn of_tcp(tcp: &Tcp) -> HealthCheck {
    let decode = |text: &String| BASE64_STANDARD.decode(text).ok();
    HealthCheck::Tcp {
        send: tcp.send.as_ref().and_then(decode),
        receive: tcp.receive.iter().flatten().filter_map(decode).collect(),
    }
}
