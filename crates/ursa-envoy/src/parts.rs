//! The small messages that many larger ones are made of.

use std::path::Path;
use std::time;

use envoy_types::pb::envoy::config::core::v3::{
    Address, AggregatedConfigSource, ApiVersion, ConfigSource, GrpcService, Http1ProtocolOptions,
    Http2ProtocolOptions, HttpProtocolOptions as CommonOptions, Pipe, SocketAddress, address,
    config_source, grpc_service, socket_address,
};
use envoy_types::pb::envoy::config::endpoint::v3::{Endpoint, LbEndpoint, lb_endpoint};
use envoy_types::pb::envoy::extensions::upstreams::http::v3::{
    HttpProtocolOptions, http_protocol_options,
};
use envoy_types::pb::envoy::r#type::matcher::v3::{
    RegexMatcher, StringMatcher, string_matcher::MatchPattern,
};
use envoy_types::pb::google::protobuf::{Any, Duration, UInt32Value};
use prost::{Message, Name};

/// The longest time that a protobuf duration may be: 10,000 years.
const MAX_SECONDS: i64 = 315_576_000_000;

/// Under this name a cluster carries its HTTP protocol options.
const HTTP_PROTOCOL_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/// A message with its type.
pub(crate) fn any<M: Message + Name>(message: &M) -> Any {
    Any { type_url: M::type_url(), value: message.encode_to_vec() }
}

/// Whole seconds.
pub(crate) fn seconds(seconds: i64) -> Duration {
    Duration { seconds, nanos: 0 }
}

/// As long as that; what is longer than Envoy can say is the longest that it can.
pub(crate) fn duration(duration: time::Duration) -> Duration {
    let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX).min(MAX_SECONDS);
    Duration { seconds, nanos: i32::try_from(duration.subsec_nanos()).unwrap_or_default() }
}

/// A number that may be unset.
pub(crate) fn uint32(value: u32) -> UInt32Value {
    UInt32Value { value }
}

/// An IP address and a port.
pub(crate) fn socket_address(address: &str, port: u16) -> Address {
    Address {
        address: Some(address::Address::SocketAddress(SocketAddress {
            address: address.to_owned(),
            port_specifier: Some(socket_address::PortSpecifier::PortValue(u32::from(port))),
            ..SocketAddress::default()
        })),
    }
}

/// A Unix socket; `mode` are its permissions if Envoy makes it, 0 where another process does.
pub(crate) fn pipe(path: &Path, mode: u32) -> Address {
    let path = path.to_string_lossy().into_owned();
    Address { address: Some(address::Address::Pipe(Pipe { path, mode })) }
}

/// One member of a cluster.
pub(crate) fn lb_endpoint(address: Address) -> LbEndpoint {
    LbEndpoint {
        host_identifier: Some(lb_endpoint::HostIdentifier::Endpoint(Endpoint {
            address: Some(address),
            ..Endpoint::default()
        })),
        ..LbEndpoint::default()
    }
}

/// "Ask over the one ADS stream". Waits as long as it takes: a proxy that serves half of its
/// configuration is worse than one that is not ready.
pub(crate) fn ads() -> ConfigSource {
    ConfigSource {
        initial_fetch_timeout: Some(seconds(0)),
        resource_api_version: ApiVersion::V3 as i32,
        config_source_specifier: Some(config_source::ConfigSourceSpecifier::Ads(
            AggregatedConfigSource {},
        )),
        ..ConfigSource::default()
    }
}

/// A gRPC service behind a cluster of the bootstrap.
pub(crate) fn grpc_service(cluster: &str) -> GrpcService {
    GrpcService {
        target_specifier: Some(grpc_service::TargetSpecifier::EnvoyGrpc(grpc_service::EnvoyGrpc {
            cluster_name: cluster.to_owned(),
            ..grpc_service::EnvoyGrpc::default()
        })),
        ..GrpcService::default()
    }
}

/// What makes a cluster speak HTTP/2.
pub(crate) fn http2() -> (String, Any) {
    http_options(true, None)
}

/// How a cluster speaks HTTP: an entry of `typed_extension_protocol_options`, and the only one, since several would make the bytes depend on the
/// map's order.
pub(crate) fn http_options(http2: bool, common: Option<CommonOptions>) -> (String, Any) {
    use http_protocol_options::explicit_http_config::ProtocolConfig;
    let protocol = if http2 {
        ProtocolConfig::Http2ProtocolOptions(Http2ProtocolOptions::default())
    } else {
        ProtocolConfig::HttpProtocolOptions(Http1ProtocolOptions::default())
    };
    let options = HttpProtocolOptions {
        common_http_protocol_options: common,
        upstream_protocol_options: Some(
            http_protocol_options::UpstreamProtocolOptions::ExplicitHttpConfig(
                http_protocol_options::ExplicitHttpConfig { protocol_config: Some(protocol) },
            ),
        ),
        ..HttpProtocolOptions::default()
    };
    (HTTP_PROTOCOL_OPTIONS.to_owned(), any(&options))
}

/// A text that is this, begins so, or matches as a whole.
pub(crate) fn text(pattern: MatchPattern) -> StringMatcher {
    StringMatcher { match_pattern: Some(pattern), ..StringMatcher::default() }
}

/// Envoy's engine is RE2, and it matches the whole.
pub(crate) fn regex(regex: &str) -> RegexMatcher {
    RegexMatcher { regex: regex.to_owned(), ..RegexMatcher::default() }
}
