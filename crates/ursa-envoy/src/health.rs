//! Which endpoints of a cluster are well: asked of them, and seen by how they answer.

use std::fmt::Write as _;

use envoy_types::pb::envoy::config::cluster::v3::{
    OutlierDetection as EnvoyOutlierDetection,
    cluster::{
        CommonLbConfig,
        common_lb_config::{LocalityConfigSpecifier, ZoneAwareLbConfig},
    },
};
use envoy_types::pb::envoy::config::core::v3::{
    HealthCheck as EnvoyHealthCheck, TypedExtensionConfig,
    health_check::{
        GrpcHealthCheck, HealthChecker, HttpHealthCheck, Payload, TcpHealthCheck, payload,
    },
};
use envoy_types::pb::envoy::extensions::health_check::event_sinks::file::v3::HealthCheckEventFileSink;
use envoy_types::pb::envoy::r#type::v3::{CodecClientType, Int64Range, Percent};
use envoy_types::pb::google::protobuf::{BoolValue, UInt32Value};

use crate::parts;
use crate::proxy::{Cluster, HealthCheck, HealthChecks, OutlierDetection};
use crate::route::headers_to_add;

/// How surely an endpoint that is found to fail is left out, in percent.
const ALWAYS: u32 = 100;

/// How endpoints of a cluster are asked.
pub(crate) fn health_checks(cluster: &Cluster) -> Vec<EnvoyHealthCheck> {
    let checks = cluster.health.iter();
    checks.map(|checks| health_check(checks, cluster.is_http2())).collect()
}

fn health_check(checks: &HealthChecks, http2: bool) -> EnvoyHealthCheck {
    EnvoyHealthCheck {
        interval: Some(parts::duration(checks.interval)),
        unhealthy_interval: checks.unhealthy_interval.map(parts::duration),
        timeout: Some(parts::duration(checks.timeout)),
        unhealthy_threshold: Some(parts::uint32(checks.unhealthy_threshold)),
        healthy_threshold: Some(parts::uint32(checks.healthy_threshold)),
        initial_jitter: checks.initial_jitter.map(parts::duration),
        interval_jitter: checks.interval_jitter.map(parts::duration),
        interval_jitter_percent: checks.interval_jitter_percent.unwrap_or_default(),
        no_traffic_interval: checks.no_traffic_interval.map(parts::duration),
        event_logger: checks.event_log_path.iter().map(|path| events(path)).collect(),
        always_log_health_check_failures: checks.always_log_failures,
        reuse_connection: checks.reuse_connection.map(|value| BoolValue { value }),
        health_checker: Some(checker(&checks.check, http2)),
        ..EnvoyHealthCheck::default()
    }
}

fn events(path: &str) -> TypedExtensionConfig {
    let config = HealthCheckEventFileSink { event_log_path: path.to_owned() };
    TypedExtensionConfig {
        name: "envoy.health_check.event_sinks.file".to_owned(),
        typed_config: Some(parts::any(&config)),
    }
}

fn checker(check: &HealthCheck, http2: bool) -> HealthChecker {
    match check {
        HealthCheck::Tcp { send, receive } => HealthChecker::TcpHealthCheck(TcpHealthCheck {
            send: send.as_deref().map(payload),
            receive: receive.iter().map(|bytes| payload(bytes)).collect(),
            ..TcpHealthCheck::default()
        }),
        HealthCheck::Http { path, headers, expected_statuses } => {
            let status = |status: &u16| {
                let start = i64::from(*status);
                Int64Range { start, end: start + 1 }
            };
            HealthChecker::HttpHealthCheck(HttpHealthCheck {
                path: path.clone(),
                request_headers_to_add: headers_to_add(headers),
                request_headers_to_remove: headers.remove.clone(),
                expected_statuses: expected_statuses.iter().map(status).collect(),
                codec_client_type: if http2 {
                    CodecClientType::Http2
                } else {
                    CodecClientType::Http1
                } as i32,
                ..HttpHealthCheck::default()
            })
        }
        HealthCheck::Grpc { service_name, authority } => {
            HealthChecker::GrpcHealthCheck(GrpcHealthCheck {
                service_name: service_name.clone(),
                authority: authority.clone().unwrap_or_default(),
                ..GrpcHealthCheck::default()
            })
        }
    }
}

/// Envoy reads a text as hexadecimal digits.
fn payload(bytes: &[u8]) -> Payload {
    let mut digits = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        write!(digits, "{byte:02x}").expect("a string takes what is written");
    }
    Payload { payload: Some(payload::Payload::Text(digits)) }
}

/// When an endpoint is left out. Detectors that are not asked for are switched off; Envoy would have some of them on.
pub(crate) fn outlier_detection(outliers: &OutlierDetection) -> EnvoyOutlierDetection {
    let set = |value: Option<u32>| value.map(parts::uint32);
    let enforced = |is: bool| Some(parts::uint32(if is { ALWAYS } else { 0 }));
    let of_rate = |of: fn(&crate::proxy::SuccessRate) -> Option<u32>| {
        set(outliers.success_rate.as_ref().and_then(of))
    };
    let of_percentage = |of: fn(&crate::proxy::FailurePercentage) -> Option<u32>| {
        set(outliers.failure_percentage.as_ref().and_then(of))
    };
    let split = outliers.split_external_and_local_errors;
    let (rate, percentage) =
        (outliers.success_rate.is_some(), outliers.failure_percentage.is_some());
    let if_split = |is: bool| -> Option<UInt32Value> { enforced(is && split) };
    EnvoyOutlierDetection {
        interval: outliers.interval.map(parts::duration),
        base_ejection_time: outliers.base_ejection_time.map(parts::duration),
        max_ejection_percent: set(outliers.max_ejection_percent),
        split_external_local_origin_errors: split,
        consecutive_5xx: set(outliers.total_failures),
        enforcing_consecutive_5xx: enforced(outliers.total_failures.is_some()),
        consecutive_gateway_failure: set(outliers.gateway_failures),
        enforcing_consecutive_gateway_failure: enforced(outliers.gateway_failures.is_some()),
        consecutive_local_origin_failure: set(outliers.local_origin_failures),
        enforcing_consecutive_local_origin_failure: enforced(
            outliers.local_origin_failures.is_some(),
        ),
        success_rate_minimum_hosts: of_rate(|it| it.minimum_hosts),
        success_rate_request_volume: of_rate(|it| it.request_volume),
        success_rate_stdev_factor: of_rate(|it| it.standard_deviation_thousandths),
        enforcing_success_rate: enforced(rate),
        enforcing_local_origin_success_rate: if_split(rate),
        failure_percentage_minimum_hosts: of_percentage(|it| it.minimum_hosts),
        failure_percentage_request_volume: of_percentage(|it| it.request_volume),
        failure_percentage_threshold: of_percentage(|it| it.threshold),
        enforcing_failure_percentage: enforced(percentage),
        enforcing_failure_percentage_local_origin: if_split(percentage),
        ..EnvoyOutlierDetection::default()
    }
}

/// What is done when few endpoints are well; nothing where Envoy's own holds.
pub(crate) fn when_few_are_well(cluster: &Cluster) -> Option<CommonLbConfig> {
    let threshold = cluster
        .healthy_panic_threshold
        .map(|percent| Percent { value: f64::from(percent.millionths()) / 10_000.0 });
    let fail = cluster.fail_traffic_on_panic.then(|| {
        LocalityConfigSpecifier::ZoneAwareLbConfig(ZoneAwareLbConfig {
            fail_traffic_on_panic: true,
            ..ZoneAwareLbConfig::default()
        })
    });
    (threshold.is_some() || fail.is_some()).then(|| CommonLbConfig {
        healthy_panic_threshold: threshold,
        locality_config_specifier: fail,
        ..CommonLbConfig::default()
    })
}
