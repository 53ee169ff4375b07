//! TLS with certificates of the mesh, which the agent beside Envoy gives it (SDS): on listeners and to clusters.

use envoy_types::pb::envoy::config::core::v3::{TransportSocket, transport_socket};
use envoy_types::pb::envoy::config::listener::v3::{
    FilterChain, FilterChainMatch, ListenerFilter, listener_filter,
};
use envoy_types::pb::envoy::extensions::filters::listener::tls_inspector::v3::TlsInspector;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    CertificateValidationContext, CommonTlsContext, DownstreamTlsContext, SdsSecretConfig,
    SubjectAltNameMatcher, TlsParameters, UpstreamTlsContext,
    common_tls_context::{CombinedCertificateValidationContext, ValidationContextType},
    subject_alt_name_matcher::SanType,
    tls_parameters::TlsProtocol,
};
use envoy_types::pb::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
use envoy_types::pb::google::protobuf::{Any, BoolValue};

use crate::parts;
use crate::proxy::{IDENTITY_SECRET, ListenerTls, MeshTls, TRUST_SECRET, UpstreamTls};

/// What proxies of a mesh say that they speak, so that their connections are told from others.
const PROTOCOL: &str = "kuma";

/// What looks at the first bytes of a connection, where two kinds of them come.
pub(crate) fn inspector(tls: ListenerTls) -> Option<ListenerFilter> {
    (tls == ListenerTls::Permissive).then(|| ListenerFilter {
        name: "envoy.filters.listener.tls_inspector".to_owned(),
        config_type: Some(listener_filter::ConfigType::TypedConfig(parts::any(
            &TlsInspector::default(),
        ))),
        ..ListenerFilter::default()
    })
}

/// Whose connections a chain takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Clients {
    /// All there are.
    All,
    /// Those with a certificate of the mesh.
    Known,
    /// Those without, where both are taken. Nobody can ask who they are.
    Unknown,
}

/// The chain of a listener, once for each kind of connection that it takes.
pub(crate) fn chains(
    chain: impl Fn(Clients) -> FilterChain,
    tls: ListenerTls,
    mesh: Option<&MeshTls>,
) -> Vec<FilterChain> {
    let Some(mesh) = mesh.filter(|_| tls != ListenerTls::Off) else {
        return vec![chain(Clients::All)];
    };
    let mut secured = FilterChain {
        transport_socket: Some(socket(parts::any(&downstream(mesh)))),
        ..chain(Clients::Known)
    };
    if tls == ListenerTls::Strict {
        return vec![secured];
    }
    secured.filter_chain_match = Some(FilterChainMatch {
        transport_protocol: "tls".to_owned(),
        application_protocols: vec![PROTOCOL.to_owned()],
        ..FilterChainMatch::default()
    });
    vec![secured, chain(Clients::Unknown)]
}

/// The side of a cluster.
pub(crate) fn upstream(tls: &UpstreamTls, mesh: &MeshTls) -> TransportSocket {
    let names = tls
        .services
        .iter()
        .map(|service| MatchPattern::Exact(format!("spiffe://{}/{service}", mesh.trust_domain)));
    let names: Vec<_> = if tls.services.is_empty() { vec![of_mesh(mesh)] } else { names.collect() };
    socket(parts::any(&UpstreamTlsContext {
        common_tls_context: Some(CommonTlsContext {
            alpn_protocols: vec![PROTOCOL.to_owned()],
            ..common(names)
        }),
        sni: tls.sni.clone(),
        ..UpstreamTlsContext::default()
    }))
}

fn downstream(mesh: &MeshTls) -> DownstreamTlsContext {
    DownstreamTlsContext {
        common_tls_context: Some(CommonTlsContext {
            alpn_protocols: vec![PROTOCOL.to_owned()],
            ..common(vec![of_mesh(mesh)])
        }),
        require_client_certificate: Some(BoolValue { value: true }),
        ..DownstreamTlsContext::default()
    }
}

/// Any service of the mesh.
fn of_mesh(mesh: &MeshTls) -> MatchPattern {
    MatchPattern::Prefix(format!("spiffe://{}/", mesh.trust_domain))
}

/// The proxy's own certificate, and of the other's one of these names, signed by an authority of the mesh.
fn common(names: Vec<MatchPattern>) -> CommonTlsContext {
    let matcher = |name| SubjectAltNameMatcher {
        san_type: SanType::Uri as i32,
        matcher: Some(parts::text(name)),
        ..SubjectAltNameMatcher::default()
    };
    let validation = CombinedCertificateValidationContext {
        default_validation_context: Some(CertificateValidationContext {
            match_typed_subject_alt_names: names.into_iter().map(matcher).collect(),
            ..CertificateValidationContext::default()
        }),
        validation_context_sds_secret_config: Some(secret(TRUST_SECRET)),
        ..CombinedCertificateValidationContext::default()
    };
    CommonTlsContext {
        // As a client Envoy stops at 1.2 unless it is told otherwise.
        tls_params: Some(TlsParameters {
            tls_minimum_protocol_version: TlsProtocol::TlSv12 as i32,
            tls_maximum_protocol_version: TlsProtocol::TlSv13 as i32,
            ..TlsParameters::default()
        }),
        tls_certificate_sds_secret_configs: vec![secret(IDENTITY_SECRET)],
        validation_context_type: Some(ValidationContextType::CombinedValidationContext(validation)),
        ..CommonTlsContext::default()
    }
}

fn secret(name: &str) -> SdsSecretConfig {
    SdsSecretConfig { name: name.to_owned(), sds_config: Some(parts::ads()) }
}

fn socket(config: Any) -> TransportSocket {
    TransportSocket {
        name: "envoy.transport_sockets.tls".to_owned(),
        config_type: Some(transport_socket::ConfigType::TypedConfig(config)),
    }
}
