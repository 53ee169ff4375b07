//! What a MeshCircuitBreaker does to a proxy.

use ursa_envoy::proxy::{self, Cluster, ProxyConfig};
use ursa_model::duration::Duration;

use super::schema::{Conf, ConnectionLimits, Consecutive, Detectors, OutlierDetection};
use crate::backends::Applied;
use crate::kind::Merged;
use crate::traffic;

pub(super) fn conf(merged: &Merged<'_, Conf>, proxy: &mut ProxyConfig, applied: &mut Applied) {
    let traffic = traffic::settings(merged, proxy, applied);
    for (cluster, conf) in proxy.clusters.iter_mut().zip(traffic.clusters) {
        if let Some(conf) = conf {
            of_cluster(cluster, &conf);
        }
    }
}

fn of_cluster(cluster: &mut Cluster, conf: &Conf) {
    let ConnectionLimits {
        max_connections,
        max_connection_pools,
        max_pending_requests,
        max_retries,
        max_requests,
    } = conf.connection_limits.unwrap_or_default();
    cluster.limits = proxy::ConnectionLimits {
        connections: max_connections,
        connection_pools: max_connection_pools,
        pending_requests: max_pending_requests,
        requests: max_requests,
        retries: max_retries,
    };
    let Some(outliers) = &conf.outlier_detection else { return };
    let threshold = outliers.healthy_panic_threshold;
    cluster.healthy_panic_threshold = threshold.or(cluster.healthy_panic_threshold);
    if outliers.disabled != Some(true) {
        cluster.outliers = outliers.detectors.as_ref().map(|it| detection(outliers, it));
    }
}

fn detection(outliers: &OutlierDetection, detectors: &Detectors) -> proxy::OutlierDetection {
    let in_a_row = |detector: Option<Consecutive>| detector.and_then(|it| it.consecutive);
    proxy::OutlierDetection {
        interval: outliers.interval.map(Duration::get),
        base_ejection_time: outliers.base_ejection_time.map(Duration::get),
        max_ejection_percent: outliers.max_ejection_percent,
        split_external_and_local_errors: outliers.split_external_and_local_errors == Some(true),
        total_failures: in_a_row(detectors.total_failures),
        gateway_failures: in_a_row(detectors.gateway_failures),
        local_origin_failures: in_a_row(detectors.local_origin_failures),
        success_rate: detectors.success_rate.map(|rate| proxy::SuccessRate {
            minimum_hosts: rate.minimum_hosts,
            request_volume: rate.request_volume,
            standard_deviation_thousandths: rate
                .standard_deviation_factor
                .map(|factor| factor.thousandths),
        }),
        failure_percentage: detectors.failure_percentage.map(|it| proxy::FailurePercentage {
            minimum_hosts: it.minimum_hosts,
            request_volume: it.request_volume,
            threshold: it.threshold,
        }),
    }
}
