//! `ursa telemetry test`: whether a backend can be reached and takes what is sent.

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;
use ursa_model::SecretText;
use ursa_model::backend::{BackendKind, BackendRef, OpenTelemetryBackend};
use ursa_model::document::Document;
use ursa_model::gateway;
use ursa_model::mesh_trace_backend::MeshTraceBackend;
use ursa_model::pipeline::ExporterSpec;
use ursa_model::secret::Secret;
use ursa_pipeline::probe::probe;

use crate::documents::{self, Files, Source};
use crate::failure::{Failure, Outcome};
use crate::output::{Form, Output};
use crate::{environment, telemetry};

/// Send one span, one metric and one log record to a backend, and say in words what is wrong on the way.
///
/// Names such as `${TOKEN}` are filled in from this shell's environment and this machine's files, `${secret:name}` from Secret documents of the same files. Exit code 0: all was taken; 1: not; 2: unreadable.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ursa telemetry test -f backend.yaml           a MeshOpenTelemetryBackend or a MeshTraceBackend
  ursa telemetry test -f gateway.yaml           every exporter of a gateway
  ursa telemetry test -f gateway.yaml --name collector --output json")]
pub(super) struct Test {
    #[command(flatten)]
    files: Files,
    /// Only the backend or exporter of this name.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// The form of the result.
    #[arg(short, long, value_enum, default_value_t)]
    output: Form,
}

/// Whether a backend is meant by this name: its whole, or what people gave it.
fn is_called(name: &str, wanted: &str) -> bool {
    name == wanted || name.rsplit(['/', ' ']).next() == Some(wanted)
}

/// A backend under the name that it has where it was written.
type Named = (String, ExporterSpec);

pub(super) async fn run(arguments: Test, output: Output) -> Outcome {
    let sources = arguments.files.read()?;
    let (mut backends, secrets) = backends(&sources, output)?;
    let known: Vec<_> = backends.iter().map(|(name, _)| name.clone()).collect();
    if let Some(wanted) = &arguments.name {
        backends.retain(|(name, _)| is_called(name, wanted));
        if backends.is_empty() && !known.is_empty() {
            return Err(Failure::new(format!("there is no backend `{wanted}` in what was read"))
                .help(format!("there are {}", known.join(", "))));
        }
    }
    if backends.is_empty() {
        return Err(Failure::unreadable("there is no backend in what was read")
            .help("a MeshOpenTelemetryBackend, a MeshTraceBackend or a gateway file has one"));
    }
    let environment = environment::all();
    let (mut reports, mut ok) = (Vec::new(), true);
    for (name, spec) in backends {
        let report = probe(&spec, &environment, &secrets).await;
        ok &= report.ok();
        if arguments.output == Form::Table {
            output.result(&telemetry::probe(&name, &report, output.color))?;
        }
        reports.push(json!({"name": name, "ok": report.ok(), "report": report}));
    }
    if arguments.output != Form::Table {
        output.structured(arguments.output, &reports)?;
    }
    Ok(if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// All backends of the files, and the values of their Secret documents.
fn backends(
    sources: &[Source],
    output: Output,
) -> Outcome<(Vec<Named>, BTreeMap<String, SecretText>)> {
    let (gateways, resources): (Vec<_>, Vec<_>) =
        sources.iter().cloned().partition(Source::is_gateway);
    let mut backends = Vec::new();
    for source in gateways {
        let parsed = gateway::parse(&source.text);
        let Some(file) = parsed.gateway else {
            let refused = parsed.violations.iter().filter(|violation| violation.is_refusal());
            let refused: Vec<_> = refused.map(documents::value).collect();
            return Err(Failure::new(documents::show(&refused, &[source], output)?));
        };
        let exporters = file.exporters.iter();
        backends.extend(exporters.filter_map(|one| Some((one.name().to_owned(), one.spec()?))));
    }
    let parsed = documents::parse(&resources);
    if !parsed.refused.is_empty() {
        return Err(Failure::new(documents::show(&parsed.refused, &resources, output)?));
    }
    let documents: Vec<_> = parsed.texts.into_iter().flatten().collect();
    let secrets = documents.iter().filter_map(secret).collect();
    for document in &documents {
        if let Some(spec) = spec(document, &documents)? {
            backends.push((document.key.to_string(), spec));
        }
    }
    Ok((backends, secrets))
}

fn secret(document: &Document) -> Option<(String, SecretText)> {
    let is_secret = document.meta.kind == ursa_model::secret::KIND.name;
    let value = document.decode::<Secret>().ok().filter(|_| is_secret)?.decode().ok()?;
    Some((document.meta.name.clone(), SecretText::new(String::from_utf8(value).ok()?)))
}

/// How to deliver to the backend that the document is, if it is one.
fn spec(document: &Document, all: &[Document]) -> Outcome<Option<ExporterSpec>> {
    let decoded = |error: serde_json::Error| {
        Failure::because(format!("cannot understand {}", document.key), &error)
    };
    if document.meta.kind == BackendKind::MeshOpenTelemetryBackend.name() {
        return Ok(Some(document.decode::<OpenTelemetryBackend>().map_err(decoded)?.into()));
    }
    if document.meta.kind != BackendKind::MeshTraceBackend.name() {
        return Ok(None);
    }
    let backend = document.decode::<MeshTraceBackend>().map_err(decoded)?;
    let MeshTraceBackend { kind: _, open_telemetry, zipkin, datadog } = backend;
    if let Some(open_telemetry) = open_telemetry {
        return match &open_telemetry.backend_ref {
            None => Ok(Some(open_telemetry.backend.into())),
            Some(reference) => Ok(Some(referred(reference, document, all)?)),
        };
    }
    Ok(zipkin.map(|zipkin| zipkin.exporter()).or_else(|| Some(datadog?.exporter())))
}

/// The MeshOpenTelemetryBackend that is meant, among the documents that were read.
fn referred(reference: &BackendRef, by: &Document, all: &[Document]) -> Outcome<ExporterSpec> {
    let meant = |document: &&Document| {
        document.meta.kind == reference.kind.name()
            && document.meta.mesh == by.meta.mesh
            && match &reference.name {
                Some(name) => document.meta.name == *name,
                None => reference
                    .labels
                    .iter()
                    .all(|(key, value)| document.meta.labels.get(key) == Some(value)),
            }
    };
    let found = all.iter().find(meant).and_then(|document| document.decode().ok());
    let found: Option<OpenTelemetryBackend> = found;
    found.map(Into::into).ok_or_else(|| {
        Failure::new(format!("{} refers to a backend that was not read", by.key))
            .help("give the file of that backend too: -f may be repeated")
    })
}
