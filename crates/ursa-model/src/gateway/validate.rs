//! What is refused in a gateway file, and what its writer should know.

use std::collections::BTreeMap;

use super::{Exporter, GatewayFile, Listen, ListenOptions, Receiver, ReceiverKind, Route};
use crate::mesh_trace_backend::{Datadog, Zipkin};
use crate::names;
use crate::pipeline::Processor;
use crate::pipeline::processor::SignalName;
use crate::report::Cursor;
use crate::substitution::{Part, Substitution};
use crate::suggest;

/// The largest request that a receiver may be told to take.
const MAX_REQUEST: u64 = 64 << 20;

impl GatewayFile {
    /// Reports all that is wrong. The cursor stands on the file.
    pub(super) fn validate(&self, cursor: &Cursor<'_>) {
        self.validate_storage(&cursor.at("storage"));
        self.validate_status(&cursor.at("status"));
        if self.receivers.is_empty() {
            cursor.at("receivers").refuse_with_hint(
                "nothing is received",
                "for example `- otlpGrpc: {listen: \"127.0.0.1:4317\"}`",
            );
        }
        if self.exporters.is_empty() {
            cursor.at("exporters").refuse_with_hint(
                "nothing is sent on",
                "for example `- openTelemetry: {endpoint: \"collector:4317\"}`",
            );
        }
        self.validate_receivers(&cursor.at("receivers"));
        Processor::validate_all(&self.processors, &cursor.at("processors"));
        let mut names = Names::default();
        for (index, exporter) in self.exporters.iter().enumerate() {
            let cursor = cursor.at("exporters").index(index);
            exporter.validate(&cursor);
            if exporter.open_telemetry.as_ref().is_some_and(|it| !it.resource_attributes.is_empty())
            {
                cursor.at("openTelemetry").at("resourceAttributes").refuse_with_hint(
                    "an exporter of a gateway puts on no resource attributes",
                    "use the processor `resourceAttributes`",
                );
            }
            names.add(exporter.name(), exporter.name.is_some(), &cursor);
        }
        self.validate_routes(&cursor.at("routes"));
        self.warn_of_unused_exporters(&cursor.at("exporters"));
    }

    fn validate_storage(&self, cursor: &Cursor<'_>) {
        let Some(storage) = &self.storage else { return };
        if storage != super::MEMORY && !storage.starts_with('/') && !storage.starts_with("./") {
            cursor.refuse_with_hint(
                "must be the path of a folder, or `memory`",
                format!("an absolute path, or `./{storage}` for one below the working directory"),
            );
        }
    }

    fn validate_status(&self, cursor: &Cursor<'_>) {
        match self.status().parse() {
            Ok(Listen::Tcp(address)) if !address.ip().is_loopback() => cursor.warn_with_hint(
                "whoever reaches this address may read metrics and status; there is no TLS and no token",
                "listen on 127.0.0.1, or let only those in who may read it",
            ),
            Ok(Listen::Tcp(_)) => {}
            Ok(Listen::Unix(_)) | Err(_) => cursor.refuse_with_hint(
                "must be an IP address with a port",
                format!("for example `{}`", super::STATUS),
            ),
        }
    }

    fn validate_receivers(&self, cursor: &Cursor<'_>) {
        let mut names = Names::default();
        let mut taken: Vec<(Listen, String)> = Vec::new();
        if let Ok(status) = self.status().parse() {
            taken.push((status, "`status`".to_owned()));
        }
        for (index, receiver) in self.receivers.iter().enumerate() {
            let cursor = cursor.index(index);
            receiver.validate(&cursor);
            names.add(receiver.name(), receiver.name.is_some(), &cursor);
            let Some((kind, options)) = receiver.settings() else { continue };
            let Some(listen) = options.address() else { continue };
            if let Some((_, by)) = taken.iter().find(|(other, _)| other.collides(&listen)) {
                cursor.at(kind.field()).at("listen").refuse(format!("{by} listens there already"));
            }
            taken.push((listen, format!("`{}`", receiver.name())));
            let wanted = |signal: &SignalName| {
                let exporters = self.exporters.iter();
                exporters.clone().any(|exporter| self.sends(*signal, exporter))
            };
            let spans_only = matches!(kind, ReceiverKind::Zipkin | ReceiverKind::Datadog);
            if spans_only && !wanted(&SignalName::Traces) && !self.exporters.is_empty() {
                cursor.warn("receives nothing: no route takes traces");
            }
        }
    }

    fn validate_routes(&self, cursor: &Cursor<'_>) {
        let known: Vec<_> = self.exporters.iter().map(Exporter::name).collect();
        for (index, route) in self.routes.iter().enumerate() {
            let cursor = cursor.index(index);
            if route.exporters.is_empty() {
                cursor.at("exporters").refuse("names no exporter");
            }
            for (index, name) in route.exporters.iter().enumerate() {
                let cursor = cursor.at("exporters").index(index);
                match self.exporters.iter().find(|exporter| exporter.name() == name) {
                    Some(exporter) => validate_signals(route, exporter, &cursor),
                    None => {
                        let message = format!("there is no exporter `{name}`");
                        match suggest::nearest(name, known.iter().copied()) {
                            Some(near) => {
                                cursor.refuse_with_hint(message, format!("did you mean `{near}`?"));
                            }
                            None => cursor.refuse_with_hint(
                                message,
                                format!("there are {}", known.join(", ")),
                            ),
                        }
                    }
                }
            }
        }
    }

    fn warn_of_unused_exporters(&self, cursor: &Cursor<'_>) {
        let known = |name: &String| self.exporters.iter().any(|exporter| exporter.name() == name);
        if !self.routes.iter().flat_map(|route| &route.exporters).all(known) {
            return; // it may be the one that was meant
        }
        for (index, exporter) in self.exporters.iter().enumerate() {
            if SignalName::ALL.into_iter().all(|signal| !self.sends(signal, exporter)) {
                cursor.index(index).warn("no route leads to this exporter");
            }
        }
    }
}

/// Refuses signals that are routed in so many words to an exporter that cannot take them.
fn validate_signals(route: &Route, exporter: &Exporter, cursor: &Cursor<'_>) {
    let refused: Vec<_> = route
        .signals
        .iter()
        .filter(|signal| !exporter.takes(**signal))
        .map(|signal| signal.name())
        .collect();
    if let Some(kind) = exporter.kinds().next().filter(|_| !refused.is_empty()) {
        cursor.refuse_with_hint(
            format!(
                "`{}` is a `{kind}` exporter and takes traces only, not {}",
                exporter.name(),
                refused.join(" and ")
            ),
            "give traces a route of their own",
        );
    }
}

impl Receiver {
    fn validate(&self, cursor: &Cursor<'_>) {
        if let Some(name) = &self.name {
            names::validate_resource_name(name, &cursor.at("name"));
        }
        let kinds: Vec<_> = self.all_settings().collect();
        if kinds.len() != 1 {
            let kinds: Vec<_> =
                ReceiverKind::ALL.iter().map(|kind| format!("`{}`", kind.field())).collect();
            cursor.refuse(format!("needs exactly one of {}", kinds.join(", ")));
        }
        for (kind, options) in kinds {
            let cursor = cursor.at(kind.field());
            options.validate(&cursor);
            if kind != ReceiverKind::OtlpHttp && !options.origins.is_empty() {
                cursor.at("origins").warn("has no effect: pages send by HTTP only");
            }
        }
    }
}

impl ListenOptions {
    fn validate(&self, cursor: &Cursor<'_>) {
        match self.listen.parse::<Listen>() {
            Ok(listen) => self.warn_if_open(&listen, cursor),
            Err(error) => match self.listen_hint() {
                Some(hint) => cursor.at("listen").refuse_with_hint(error.to_string(), hint),
                None => cursor.at("listen").refuse(error.to_string()),
            },
        }
        if let Some(tls) = &self.tls {
            let cursor = cursor.at("tls");
            let files = [
                ("cert", Some(&tls.cert)),
                ("key", Some(&tls.key)),
                ("clientCa", tls.client_ca.as_ref()),
            ];
            for (field, file) in files {
                if file.is_some_and(|file| !file.starts_with('/')) {
                    cursor.at(field).refuse("must be the absolute path of a file");
                }
            }
        }
        if let Some(auth) = &self.auth {
            let cursor = cursor.at("auth.bearerToken");
            validate_value(&auth.bearer_token, &cursor);
            if auth.bearer_token.written().trim().is_empty() {
                cursor.refuse("must not be empty");
            }
            let in_clear =
                |parts: Vec<Part>| parts.iter().all(|part| matches!(part, Part::Text(_)));
            if auth.bearer_token.parts().is_ok_and(in_clear) {
                cursor.warn_with_hint(
                    "the token stands here in clear, for all who may read this file",
                    "keep it elsewhere: `${NAME}` or `${file:/path}`",
                );
            }
        }
        if self.max_request.is_some_and(|size| !(1..=MAX_REQUEST).contains(&size.bytes())) {
            cursor.at("maxRequest").refuse("must be more than nothing and at most 64 Mi");
        }
    }

    /// Warns where whoever reaches the address may send, or read along.
    fn warn_if_open(&self, listen: &Listen, cursor: &Cursor<'_>) {
        if listen.is_local() {
            return;
        }
        let cursor = cursor.at("listen");
        let mutual = self.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
        match (&self.tls, &self.auth) {
            (None, None) => cursor.warn_with_hint(
                "whoever reaches this address may send, and read along: there is no TLS and no token",
                "set `tls: {cert, key}` and `auth: {bearerToken: \"${TOKEN}\"}`, or listen on 127.0.0.1 or a Unix socket",
            ),
            (None, Some(_)) => cursor.warn_with_hint(
                "the token and the telemetry cross the network in clear: there is no TLS",
                "set `tls: {cert, key}`",
            ),
            (Some(_), None) if !mutual => cursor.warn_with_hint(
                "whoever reaches this address may send: no token and no certificate is asked for",
                "set `auth: {bearerToken: \"${TOKEN}\"}` or `tls.clientCa`",
            ),
            (Some(_), _) => {}
        }
    }

    fn listen_hint(&self) -> Option<String> {
        let (host, port) = self.listen.rsplit_once(':').unwrap_or((&self.listen, ""));
        let port = if port.is_empty() { "4317" } else { port };
        match host {
            "localhost" => Some(format!("write `127.0.0.1:{port}`")),
            "" | "*" => Some(format!("write `0.0.0.0:{port}` for every address of this machine")),
            _ if self.listen.starts_with('/') => Some(format!("write `unix:{}`", self.listen)),
            _ => None,
        }
    }
}

impl Exporter {
    /// Reports what is wrong with one exporter.
    pub(crate) fn validate(&self, cursor: &Cursor<'_>) {
        if let Some(name) = &self.name {
            names::validate_resource_name(name, &cursor.at("name"));
        }
        if self.kinds().count() != 1 {
            let kinds = Self::KINDS.map(|kind| format!("`{kind}`")).join(", ");
            cursor.refuse(format!("needs exactly one of {kinds}"));
        }
        if let Some(backend) = &self.open_telemetry {
            backend.validate(&cursor.at("openTelemetry"));
        }
        if let Some(zipkin) = &self.zipkin {
            let cursor = cursor.at("zipkin");
            let place = Zipkin { url: zipkin.url.clone(), ..Zipkin::default() };
            place.validate(&cursor);
            zipkin.delivery.validate(&cursor);
        }
        if let Some(datadog) = &self.datadog {
            let cursor = cursor.at("datadog");
            let place = Datadog { url: Some(datadog.url.clone()), ..Datadog::default() };
            place.validate(&cursor);
            datadog.delivery.validate(&cursor);
        }
        if let Some(file) = &self.file {
            let cursor = cursor.at("file");
            if !file.path.starts_with('/') {
                cursor.at("path").refuse("must be the absolute path of a file");
            }
            if file.max_size.is_some_and(|size| size.bytes() == 0) {
                cursor.at("maxSize").refuse("must be more than nothing");
            }
        }
        self.refuse_secrets(cursor);
    }

    /// There is no store of secrets beside a gateway.
    fn refuse_secrets(&self, cursor: &Cursor<'_>) {
        let (Some(spec), Some(kind)) = (self.spec(), self.kinds().next()) else { return };
        let cursor = cursor.at(kind);
        let Some(delivery) = spec.delivery() else { return };
        for (name, value) in &delivery.headers {
            refuse_secret(value, &cursor.at("headers").key(name));
        }
        let Some(auth) = &delivery.auth else { return };
        let basic = auth.basic.as_ref();
        let values = [
            ("auth.bearerToken", auth.bearer_token.as_ref()),
            ("auth.basic.username", basic.map(|basic| &basic.username)),
            ("auth.basic.password", basic.map(|basic| &basic.password)),
            ("auth.apiKey.value", auth.api_key.as_ref().map(|key| &key.value)),
        ];
        for (path, value) in values {
            if let Some(value) = value {
                refuse_secret(value, &cursor.at(path));
            }
        }
    }
}

fn validate_value(value: &Substitution, cursor: &Cursor<'_>) {
    match value.parts() {
        Ok(_) => refuse_secret(value, cursor),
        Err(error) => cursor.refuse(error.to_string()),
    }
}

fn refuse_secret(value: &Substitution, cursor: &Cursor<'_>) {
    let parts = value.parts().unwrap_or_default();
    let secret = parts.into_iter().find(|part| matches!(part, Part::Secret(_)));
    if let Some(secret) = secret {
        cursor.refuse_with_hint(
            format!("{secret} names a Secret resource; there is no store of them here"),
            "use `${NAME}` from the environment or `${file:/path}`",
        );
    }
}

/// Names that stand once.
#[derive(Debug, Default)]
struct Names(BTreeMap<String, usize>);

impl Names {
    fn add(&mut self, name: &str, given: bool, cursor: &Cursor<'_>) {
        let count = self.0.entry(name.to_owned()).or_default();
        *count = count.saturating_add(1);
        if *count < 2 || name.is_empty() {
            return;
        }
        if given {
            cursor.at("name").refuse(format!("the name `{name}` stands here twice"));
        } else {
            cursor.refuse_with_hint(
                format!("another is called `{name}` already"),
                "give it a `name` of its own",
            );
        }
    }
}
