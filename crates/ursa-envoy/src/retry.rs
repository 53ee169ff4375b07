//! When a request is tried again.

use std::collections::BTreeMap;

use envoy_types::pb::envoy::config::route::v3::{
    RetryPolicy,
    retry_policy::{
        RateLimitedRetryBackOff, ResetHeader, ResetHeaderFormat, RetryBackOff, RetryHostPredicate,
        RetryPriority, retry_host_predicate, retry_priority,
    },
};
use envoy_types::pb::envoy::extensions::retry::host::omit_host_metadata::v3::OmitHostMetadataConfig;
use envoy_types::pb::envoy::extensions::retry::host::previous_hosts::v3::PreviousHostsPredicate;
use envoy_types::pb::envoy::extensions::retry::priority::previous_priorities::v3::PreviousPrioritiesConfig;

use crate::proxy::Retry;
use crate::route::header;
use crate::{parts, tags};

/// A retry policy as Envoy reads it.
pub(crate) fn retry_policy(retry: &Retry) -> RetryPolicy {
    RetryPolicy {
        retry_on: retry.on.join(","),
        num_retries: Some(parts::uint32(retry.attempts)),
        per_try_timeout: retry.per_try_timeout.map(parts::duration),
        retry_back_off: retry.back_off.map(|back_off| RetryBackOff {
            base_interval: Some(parts::duration(back_off.base)),
            max_interval: back_off.max.map(parts::duration),
        }),
        rate_limited_retry_back_off: retry.rate_limited.as_ref().map(|limited| {
            let header = |header: &crate::proxy::ResetHeader| ResetHeader {
                name: header.name.clone(),
                format: if header.is_timestamp {
                    ResetHeaderFormat::UnixTimestamp as i32
                } else {
                    ResetHeaderFormat::Seconds as i32
                },
            };
            RateLimitedRetryBackOff {
                reset_headers: limited.headers.iter().map(header).collect(),
                max_interval: limited.max.map(parts::duration),
            }
        }),
        retriable_status_codes: retry.statuses.iter().map(|status| u32::from(*status)).collect(),
        retriable_request_headers: retry.request_headers.iter().map(header).collect(),
        retriable_headers: retry.response_headers.iter().map(header).collect(),
        retry_host_predicate: retry
            .omit_previous_hosts
            .then(previous_hosts)
            .into_iter()
            .chain(retry.omit_tags.iter().map(tagged_hosts))
            .collect(),
        retry_priority: retry.omit_previous_priorities.map(previous_priorities),
        host_selection_retry_max_attempts: retry.host_selection_attempts.unwrap_or_default(),
        ..RetryPolicy::default()
    }
}

fn previous_hosts() -> RetryHostPredicate {
    let config = parts::any(&PreviousHostsPredicate {});
    RetryHostPredicate {
        name: "envoy.retry_host_predicates.previous_hosts".to_owned(),
        config_type: Some(retry_host_predicate::ConfigType::TypedConfig(config)),
    }
}

fn tagged_hosts(set: &BTreeMap<String, String>) -> RetryHostPredicate {
    let metadata_match = Some(tags::matching(set));
    let config = parts::any(&OmitHostMetadataConfig { metadata_match });
    RetryHostPredicate {
        name: "envoy.retry_host_predicates.omit_host_metadata".to_owned(),
        config_type: Some(retry_host_predicate::ConfigType::TypedConfig(config)),
    }
}

fn previous_priorities(update_frequency: u32) -> RetryPriority {
    let update_frequency = i32::try_from(update_frequency).unwrap_or(i32::MAX);
    let config = parts::any(&PreviousPrioritiesConfig { update_frequency });
    RetryPriority {
        name: "envoy.retry_priorities.previous_priorities".to_owned(),
        config_type: Some(retry_priority::ConfigType::TypedConfig(config)),
    }
}
