//! What is made from something else and checked in: one command writes it or says that it is stale.
//!
//! So far the descriptors by which `ursa-envoy` shows Envoy's messages as JSON, compiled from the
//! `.proto` files that come with the crate `envoy-types`, so that both are of one Envoy.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail, ensure};
use prost::Message as _;
use prost_types::field_descriptor_proto::Type;
use prost_types::{DescriptorProto, FileDescriptorProto, FileDescriptorSet, MessageOptions};

/// Folders of `envoy-types` in which `.proto` files are looked up.
const INCLUDES: [&str; 7] = [
    "data-plane-api",
    "xds",
    "googleapis",
    "protoc-gen-validate",
    "cel-spec/proto",
    "client_model",
    "opentelemetry-proto",
];

/// The messages that the control plane makes, and the file of each. What they refer to comes along;
/// what is only ever inside an `Any` has to be listed.
static MESSAGES: &[(&str, &str)] = &[
    ("envoy/config/bootstrap/v3/bootstrap.proto", "envoy.config.bootstrap.v3.Bootstrap"),
    ("envoy/config/cluster/v3/cluster.proto", "envoy.config.cluster.v3.Cluster"),
    ("envoy/config/endpoint/v3/endpoint.proto", "envoy.config.endpoint.v3.ClusterLoadAssignment"),
    ("envoy/config/listener/v3/listener.proto", "envoy.config.listener.v3.Listener"),
    ("envoy/config/route/v3/route.proto", "envoy.config.route.v3.RouteConfiguration"),
    ("envoy/config/trace/v3/opentelemetry.proto", "envoy.config.trace.v3.OpenTelemetryConfig"),
    (
        "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.proto",
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
    ),
    (
        "envoy/extensions/filters/network/tcp_proxy/v3/tcp_proxy.proto",
        "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
    ),
    (
        "envoy/extensions/filters/http/header_to_metadata/v3/header_to_metadata.proto",
        "envoy.extensions.filters.http.header_to_metadata.v3.Config",
    ),
    (
        "envoy/extensions/filters/http/router/v3/router.proto",
        "envoy.extensions.filters.http.router.v3.Router",
    ),
    (
        "envoy/extensions/access_loggers/file/v3/file.proto",
        "envoy.extensions.access_loggers.file.v3.FileAccessLog",
    ),
    (
        "envoy/extensions/access_loggers/open_telemetry/v3/logs_service.proto",
        "envoy.extensions.access_loggers.open_telemetry.v3.OpenTelemetryAccessLogConfig",
    ),
    (
        "envoy/extensions/access_loggers/filters/cel/v3/cel.proto",
        "envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter",
    ),
    (
        "envoy/extensions/upstreams/http/v3/http_protocol_options.proto",
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
    ),
    (
        "envoy/extensions/resource_monitors/cpu_utilization/v3/cpu_utilization.proto",
        "envoy.extensions.resource_monitors.cpu_utilization.v3.CpuUtilizationConfig",
    ),
    (
        "envoy/extensions/resource_monitors/fixed_heap/v3/fixed_heap.proto",
        "envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig",
    ),
    (
        "envoy/extensions/resource_monitors/downstream_connections/v3/downstream_connections.proto",
        "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
    ),
    (
        "envoy/extensions/http/early_header_mutation/dynamic_modules/v3/dynamic_modules.proto",
        "envoy.extensions.http.early_header_mutation.dynamic_modules.v3.DynamicModuleEarlyHeaderMutation",
    ),
    (
        "envoy/extensions/filters/http/dynamic_modules/v3/dynamic_modules.proto",
        "envoy.extensions.filters.http.dynamic_modules.v3.DynamicModuleFilter",
    ),
    (
        "envoy/extensions/filters/http/header_mutation/v3/header_mutation.proto",
        "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation",
    ),
    ("envoy/config/trace/v3/zipkin.proto", "envoy.config.trace.v3.ZipkinConfig"),
    (
        "envoy/extensions/filters/http/upstream_codec/v3/upstream_codec.proto",
        "envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec",
    ),
    (
        "envoy/extensions/transport_sockets/tls/v3/tls.proto",
        "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
    ),
    (
        "envoy/extensions/transport_sockets/tls/v3/tls.proto",
        "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
    ),
    (
        "envoy/extensions/transport_sockets/tls/v3/secret.proto",
        "envoy.extensions.transport_sockets.tls.v3.Secret",
    ),
    (
        "envoy/extensions/filters/listener/tls_inspector/v3/tls_inspector.proto",
        "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector",
    ),
    (
        "envoy/extensions/filters/http/rbac/v3/rbac.proto",
        "envoy.extensions.filters.http.rbac.v3.RBAC",
    ),
    (
        "envoy/extensions/filters/network/rbac/v3/rbac.proto",
        "envoy.extensions.filters.network.rbac.v3.RBAC",
    ),
    (
        "envoy/extensions/retry/host/omit_host_metadata/v3/omit_host_metadata_config.proto",
        "envoy.extensions.retry.host.omit_host_metadata.v3.OmitHostMetadataConfig",
    ),
    (
        "envoy/extensions/filters/http/rbac/v3/rbac.proto",
        "envoy.extensions.filters.http.rbac.v3.RBACPerRoute",
    ),
    ("envoy/config/rbac/v3/rbac.proto", "envoy.config.rbac.v3.Action"),
    (
        "envoy/extensions/matching/common_inputs/ssl/v3/ssl_inputs.proto",
        "envoy.extensions.matching.common_inputs.ssl.v3.UriSanInput",
    ),
    (
        "envoy/extensions/matching/common_inputs/network/v3/network_inputs.proto",
        "envoy.extensions.matching.common_inputs.network.v3.ServerNameInput",
    ),
    (
        "envoy/extensions/retry/host/previous_hosts/v3/previous_hosts.proto",
        "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate",
    ),
    (
        "envoy/extensions/retry/priority/previous_priorities/v3/previous_priorities_config.proto",
        "envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig",
    ),
    (
        "envoy/extensions/health_check/event_sinks/file/v3/file.proto",
        "envoy.extensions.health_check.event_sinks.file.v3.HealthCheckEventFileSink",
    ),
    ("google/protobuf/wrappers.proto", "google.protobuf.StringValue"),
];

/// Writes what is generated, or with `check` fails if it differs from what is checked in.
///
/// # Errors
/// When a source is missing or wrong, a file cannot be written, or, with `check`, is stale.
pub(crate) fn run(check: bool) -> anyhow::Result<()> {
    let metadata = metadata()?;
    let root = PathBuf::from(metadata["workspace_root"].as_str().context("no workspace root")?);
    let descriptors = descriptors(&proto_folder(&metadata)?)?;
    put(&root.join("crates/ursa-envoy/descriptors.bin"), &descriptors, check)
}

fn put(path: &Path, content: &[u8], check: bool) -> anyhow::Result<()> {
    if std::fs::read(path).is_ok_and(|present| present == content) {
        return Ok(());
    }
    ensure!(!check, "{} is stale; run `cargo xtask generate`", path.display());
    std::fs::write(path, content).with_context(|| format!("write {}", path.display()))
}

fn metadata() -> anyhow::Result<serde_json::Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1"])
        .output()
        .context("run cargo metadata")?;
    ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).context("read cargo metadata")
}

fn proto_folder(metadata: &serde_json::Value) -> anyhow::Result<PathBuf> {
    let packages = metadata["packages"].as_array().context("no packages")?;
    let manifest = packages
        .iter()
        .find(|package| package["name"] == "envoy-types")
        .and_then(|package| package["manifest_path"].as_str())
        .context("envoy-types is no dependency")?;
    Ok(Path::new(manifest).with_file_name("proto"))
}

fn descriptors(protos: &Path) -> anyhow::Result<Vec<u8>> {
    let compiled = protox::Compiler::new(INCLUDES.map(|folder| protos.join(folder)))?
        .include_imports(true)
        .open_files(MESSAGES.iter().map(|(file, _)| file))?
        .file_descriptor_set();
    Ok(prune(&compiled)?.encode_to_vec())
}

/// Keeps the messages and enums that [`MESSAGES`] reach, without comments, options and services.
fn prune(set: &FileDescriptorSet) -> anyhow::Result<FileDescriptorSet> {
    let mut types = BTreeMap::new();
    for file in &set.file {
        for message in &file.message_type {
            collect(message, &format!(".{}", file.package()), file.name(), &mut types);
        }
        for kind in &file.enum_type {
            let known = Known { file: file.name(), refers: BTreeSet::new() };
            types.insert(format!(".{}.{}", file.package(), kind.name()), known);
        }
    }
    let mut kept = BTreeSet::new();
    let mut open: Vec<String> = MESSAGES.iter().map(|(_, name)| format!(".{name}")).collect();
    while let Some(name) = open.pop() {
        let Some(known) = types.get(&name) else { bail!("no type `{name}`") };
        if kept.insert(name) {
            open.extend(known.refers.iter().cloned());
        }
    }
    let files_of = |names: &BTreeSet<String>| -> BTreeSet<String> {
        names.iter().filter_map(|name| Some(types.get(name)?.file.to_owned())).collect()
    };
    let wanted = files_of(&kept);
    let file = set
        .file
        .iter()
        .filter(|file| wanted.contains(file.name()))
        .map(|file| {
            let package = format!(".{}", file.package());
            let message_type: Vec<_> =
                file.message_type.iter().filter_map(|m| kept_message(m, &package, &kept)).collect();
            let mut refers = BTreeSet::new();
            for message in &message_type {
                references(message, &mut refers);
            }
            let mut dependency = files_of(&refers);
            dependency.remove(file.name());
            FileDescriptorProto {
                name: file.name.clone(),
                package: file.package.clone(),
                syntax: file.syntax.clone(),
                dependency: dependency.into_iter().collect(),
                message_type,
                enum_type: file
                    .enum_type
                    .iter()
                    .filter(|kind| kept.contains(&format!("{package}.{}", kind.name())))
                    .cloned()
                    .map(without_options)
                    .collect(),
                ..FileDescriptorProto::default()
            }
        })
        .collect();
    Ok(FileDescriptorSet { file })
}

/// Where a type is declared and which types its fields have.
struct Known<'a> {
    file: &'a str,
    refers: BTreeSet<String>,
}

fn collect<'a>(
    message: &DescriptorProto,
    scope: &str,
    file: &'a str,
    types: &mut BTreeMap<String, Known<'a>>,
) {
    let name = format!("{scope}.{}", message.name());
    for nested in &message.nested_type {
        collect(nested, &name, file, types);
    }
    for kind in &message.enum_type {
        let known = Known { file, refers: BTreeSet::new() };
        types.insert(format!("{name}.{}", kind.name()), known);
    }
    let refers = message.field.iter().filter_map(|field| field.type_name.clone()).collect();
    types.insert(name, Known { file, refers });
}

fn references(message: &DescriptorProto, into: &mut BTreeSet<String>) {
    into.extend(message.field.iter().filter_map(|field| field.type_name.clone()));
    message.nested_type.iter().for_each(|nested| references(nested, into));
}

/// The message as far as it is kept; one that is only the scope of a kept one loses its fields.
fn kept_message(
    message: &DescriptorProto,
    scope: &str,
    kept: &BTreeSet<String>,
) -> Option<DescriptorProto> {
    let name = format!("{scope}.{}", message.name());
    let itself = kept.contains(&name);
    let nested_type: Vec<_> =
        message.nested_type.iter().filter_map(|m| kept_message(m, &name, kept)).collect();
    let enum_type: Vec<_> = message
        .enum_type
        .iter()
        .filter(|kind| kept.contains(&format!("{name}.{}", kind.name())))
        .cloned()
        .map(without_options)
        .collect();
    if !itself && nested_type.is_empty() && enum_type.is_empty() {
        return None;
    }
    let mut pruned = DescriptorProto {
        name: message.name.clone(),
        nested_type,
        enum_type,
        options: message
            .options
            .as_ref()
            .filter(|options| options.map_entry())
            .map(|_| MessageOptions { map_entry: Some(true), ..MessageOptions::default() }),
        ..DescriptorProto::default()
    };
    if itself {
        pruned.field.clone_from(&message.field);
        pruned.oneof_decl.clone_from(&message.oneof_decl);
        for field in &mut pruned.field {
            field.options = None;
            field.json_name = None;
        }
        for oneof in &mut pruned.oneof_decl {
            oneof.options = None;
        }
    }
    debug_assert!(pruned.field.iter().all(|field| field.r#type() != Type::Group));
    Some(pruned)
}

fn without_options(mut kind: prost_types::EnumDescriptorProto) -> prost_types::EnumDescriptorProto {
    kind.options = kind
        .options
        .filter(prost_types::EnumOptions::allow_alias)
        .map(|_| prost_types::EnumOptions { allow_alias: Some(true), ..Default::default() });
    for value in &mut kind.value {
        value.options = None;
    }
    kind
}
