//! What is refused in a MeshCircuitBreaker.

use ursa_model::report::Cursor;
use ursa_model::tree::Node;

use super::schema::{Conf, Detectors, OutlierDetection};
use crate::limits::more_than_zero;

/// The node and the cursor are those of the `default` of a part.
pub(super) fn conf(settings: &Node, report: &Cursor<'_>) {
    let Some(conf) = report.decode::<Conf>(settings) else { return };
    if conf.connection_limits.is_none() && conf.outlier_detection.is_none() {
        report.refuse("needs `connectionLimits`, `outlierDetection`, or both");
    }
    if let Some(outliers) = &conf.outlier_detection {
        validate_outliers(outliers, &report.at("outlierDetection"));
    }
}

fn validate_outliers(outliers: &OutlierDetection, cursor: &Cursor<'_>) {
    let lengths =
        [("interval", outliers.interval), ("baseEjectionTime", outliers.base_ejection_time)];
    more_than_zero(&lengths, cursor);
    let says_something =
        outliers.disabled == Some(true) || outliers.healthy_panic_threshold.is_some();
    if outliers.detectors.is_none() && !says_something {
        cursor.at("detectors").refuse_with_hint(
            "is required",
            "name what is a failure, for example `totalFailures: {consecutive: 5}`",
        );
    }
    let split = outliers.split_external_and_local_errors == Some(true);
    if let Some(detectors) = &outliers.detectors {
        validate_detectors(detectors, split, &cursor.at("detectors"));
    }
}

fn validate_detectors(detectors: &Detectors, split: bool, cursor: &Cursor<'_>) {
    let Detectors {
        total_failures,
        gateway_failures,
        local_origin_failures,
        success_rate,
        failure_percentage,
    } = detectors;
    let in_a_row = [
        ("totalFailures", total_failures),
        ("gatewayFailures", gateway_failures),
        ("localOriginFailures", local_origin_failures),
    ];
    if in_a_row.iter().all(|(_, detector)| detector.is_none())
        && success_rate.is_none()
        && failure_percentage.is_none()
    {
        cursor.refuse(
            "needs one of `totalFailures`, `gatewayFailures`, `localOriginFailures`, `successRate` and `failurePercentage` at least",
        );
    }
    for (field, detector) in in_a_row {
        let Some(detector) = detector else { continue };
        if detector.consecutive.is_none() {
            cursor.at(field).warn("detects nothing: it does not say how many failures in a row");
        }
    }
    if local_origin_failures.is_some() && !split {
        cursor
            .at("localOriginFailures")
            .warn("detects nothing unless `splitExternalAndLocalErrors` is true");
    }
}
