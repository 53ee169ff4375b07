//! What a MeshTimeout does to a proxy.

use std::time::Duration;

use ursa_envoy::proxy::{Cluster, Listener, ListenerKind, ProxyConfig};
use ursa_model::dataplane::Protocol;
use ursa_model::duration;

use super::schema::Conf;
use crate::backends::Applied;
use crate::kind::Merged;
use crate::traffic;

pub(super) fn conf(merged: &Merged<'_, Conf>, proxy: &mut ProxyConfig, applied: &mut Applied) {
    let traffic = traffic::settings(merged, proxy, applied);
    for (listener, conf) in proxy.listeners.iter_mut().zip(traffic.listeners) {
        if let Some(conf) = conf {
            of_listener(listener, &conf);
        }
    }
    for (cluster, conf) in proxy.clusters.iter_mut().zip(traffic.clusters) {
        if let Some(conf) = conf {
            of_cluster(cluster, &conf);
        }
    }
}

fn of_listener(listener: &mut Listener, conf: &Conf) {
    match &mut listener.kind {
        ListenerKind::Tcp(tcp) => tcp.idle_timeout = given(conf.idle_timeout).or(tcp.idle_timeout),
        ListenerKind::Http(http) => {
            if let Some(idle) = conf.idle_timeout {
                http.timeouts.connection_idle = idle.get();
            }
            http.timeouts.request_headers = limit(conf.http.request_headers_timeout);
            for route in &mut http.routes.routes {
                route.timeouts.request = limit(conf.http.request_timeout);
                route.timeouts.stream_idle = given(conf.http.stream_idle_timeout);
            }
        }
    }
}

fn of_cluster(cluster: &mut Cluster, conf: &Conf) {
    if let Some(timeout) = conf.connection_timeout {
        cluster.timeouts.connect = timeout.get();
    }
    if cluster.protocol != Protocol::Tcp {
        cluster.timeouts.idle = given(conf.idle_timeout);
        cluster.timeouts.max_connection_duration = limit(conf.http.max_connection_duration);
        cluster.timeouts.max_stream_duration = limit(conf.http.max_stream_duration);
    }
}

/// Zero is a value: for ever, where Envoy's own would hold otherwise.
fn given(written: Option<duration::Duration>) -> Option<Duration> {
    written.map(duration::Duration::get)
}

/// Zero is as nothing: for ever, which Envoy's own is.
fn limit(written: Option<duration::Duration>) -> Option<Duration> {
    given(written).filter(|timeout| !timeout.is_zero())
}
