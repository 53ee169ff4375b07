//! The standard variables `OTEL_EXPORTER_OTLP_*`, for a backend that asks for them.
//!
//! Followed: OpenTelemetry 1.55, "OpenTelemetry Protocol Exporter". A signal's own endpoint is used
//! as it is; to the general one `/v1/…` is appended. An endpoint without scheme is for gRPC, over TLS
//! unless `OTEL_EXPORTER_OTLP_INSECURE` is true. An empty variable is not set.

use std::collections::BTreeMap;

use ursa_model::backend::{
    Compression, Endpoint, Env, EnvMode, EnvPrecedence, OpenTelemetryBackend, Tls, TlsMode,
    WireProtocol,
};
use ursa_model::substitution::Substitution;

use super::credentials::Values;
use crate::Signal;
use crate::rpc::unpercent;

/// A backend with the variables applied.
#[derive(Debug)]
pub(super) struct Effective {
    pub(super) spec: OpenTelemetryBackend,
    /// The path of requests over HTTP when nothing may be appended to it.
    pub(super) path: Option<String>,
}

/// The variables that count for one backend and signal.
struct Variables<'a> {
    values: &'a Values,
    signal: Signal,
    of_signal: bool,
    env_first: bool,
}

/// A variable that is set.
#[derive(Debug, Clone)]
struct Variable<'a> {
    name: String,
    value: &'a str,
    of_signal: bool,
}

/// `spec` as the variables make it for `signal`, or why it cannot be used.
pub(super) fn apply(
    spec: &OpenTelemetryBackend,
    signal: Signal,
    values: &Values,
) -> Result<Effective, String> {
    let mut spec = spec.clone();
    let Some(Env { mode, precedence, allow_signal_overrides }) = spec.env.take() else {
        return Ok(Effective { spec, path: None });
    };
    let mode = mode.unwrap_or(EnvMode::Optional);
    if mode == EnvMode::Disabled {
        return Ok(Effective { spec, path: None });
    }
    let variables = Variables {
        values,
        signal,
        of_signal: allow_signal_overrides.unwrap_or(true),
        env_first: precedence != Some(EnvPrecedence::ExplicitFirst),
    };
    let endpoint = variables.get("ENDPOINT");
    if mode == EnvMode::Required && endpoint.is_none() {
        let names = variables.names("ENDPOINT").into_iter().flatten().map(|(name, _)| name);
        let names = names.collect::<Vec<_>>().join(" or ");
        return Err(format!("`env.mode` is `Required`, and {names} is not set"));
    }
    variables.apply_protocol(&mut spec)?;
    let endpoint = endpoint.filter(|_| variables.counts(spec.endpoint.is_some()));
    let path = match endpoint {
        Some(endpoint) => variables.apply_endpoint(&mut spec, &endpoint)?,
        None => {
            let bare =
                matches!(&spec.endpoint, Some(Endpoint::Text(text)) if !text.contains("://"));
            if bare && spec.delivery.tls.is_none() && variables.insecure()? == Some(false) {
                spec.delivery.tls = Some(Tls::default());
            }
            None
        }
    };
    variables.apply_delivery(&mut spec)?;
    variables.apply_headers(&mut spec)?;
    Ok(Effective { spec, path })
}

impl<'a> Variables<'a> {
    /// The variable of the signal, then that of all.
    fn names(&self, what: &str) -> [Option<(String, bool)>; 2] {
        let signal = self.signal.name().to_ascii_uppercase();
        let own = self.of_signal.then(|| (format!("OTEL_EXPORTER_OTLP_{signal}_{what}"), true));
        [own, Some((format!("OTEL_EXPORTER_OTLP_{what}"), false))]
    }

    fn get(&self, what: &str) -> Option<Variable<'a>> {
        self.names(what).into_iter().flatten().find_map(|(name, of_signal)| {
            let value = self.values.environment(&name)?.trim();
            Some(Variable { name, value, of_signal }).filter(|variable| !variable.value.is_empty())
        })
    }

    /// Whether a variable counts where the resource says something, or nothing.
    fn counts(&self, explicit: bool) -> bool {
        self.env_first || !explicit
    }

    fn apply_protocol(&self, spec: &mut OpenTelemetryBackend) -> Result<(), String> {
        let Some(protocol) = self.get("PROTOCOL").filter(|_| self.counts(spec.protocol.is_some()))
        else {
            return Ok(());
        };
        spec.protocol = Some(match protocol.value {
            "grpc" => WireProtocol::Grpc,
            "http/protobuf" if spec.protocol == Some(WireProtocol::Https) => WireProtocol::Https,
            "http/protobuf" => WireProtocol::Http,
            other => {
                let name = &protocol.name;
                return Err(format!(
                    "{name}: {other:?} is not spoken; `grpc` and `http/protobuf` are"
                ));
            }
        });
        Ok(())
    }

    /// Returns the whole path, if the endpoint is the signal's own.
    fn apply_endpoint(
        &self,
        spec: &mut OpenTelemetryBackend,
        endpoint: &Variable<'_>,
    ) -> Result<Option<String>, String> {
        let text = endpoint.value;
        spec.endpoint = Some(Endpoint::Text(text.to_owned()));
        let tls = &mut spec.delivery.tls;
        let Some((scheme, rest)) = text.split_once("://") else {
            if spec.protocol.is_some_and(|protocol| protocol != WireProtocol::Grpc) {
                return Err(format!("{}: an endpoint of HTTP needs its scheme", endpoint.name));
            }
            if self.insecure()? == Some(true) {
                *tls = None;
            } else {
                tls.get_or_insert_default();
            }
            return Ok(None);
        };
        // The scheme says whether TLS is spoken.
        let plain = scheme.eq_ignore_ascii_case("http");
        if plain || tls.as_ref().is_some_and(|tls| !tls.is_on()) {
            *tls = None;
        }
        if spec.protocol == Some(WireProtocol::Https) {
            spec.protocol = Some(WireProtocol::Http);
        }
        let path = rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/");
        Ok(Some(path.to_owned()).filter(|_| endpoint.of_signal))
    }

    fn insecure(&self) -> Result<Option<bool>, String> {
        let variable = self.get("INSECURE");
        let parse = |variable: Variable<'_>| match variable.value.to_ascii_lowercase().as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(format!("{}: neither `true` nor `false`", variable.name)),
        };
        variable.map(parse).transpose()
    }

    fn apply_delivery(&self, spec: &mut OpenTelemetryBackend) -> Result<(), String> {
        let secure = spec.resolve().is_ok_and(|delivery| delivery.tls);
        let delivery = &mut spec.delivery;
        if let Some(timeout) =
            self.get("TIMEOUT").filter(|_| self.counts(delivery.timeout.is_some()))
        {
            let millis: u64 = timeout
                .value
                .parse()
                .map_err(|_| format!("{}: not a number of milliseconds", timeout.name))?;
            let duration = std::time::Duration::from_millis(millis);
            delivery.timeout = Some(ursa_model::duration::Duration(duration));
        }
        if let Some(compression) =
            self.get("COMPRESSION").filter(|_| self.counts(delivery.compression.is_some()))
        {
            delivery.compression = Some(match compression.value {
                "none" => Compression::None,
                "gzip" => Compression::Gzip,
                "zstd" => Compression::Zstd,
                other => {
                    let name = &compression.name;
                    return Err(format!(
                        "{name}: {other:?} is not known; `gzip`, `zstd` and `none` are"
                    ));
                }
            });
        }
        if !secure {
            return Ok(());
        }
        let mut tls = delivery.tls.clone().unwrap_or_default();
        if let Some(ca) = self.get("CERTIFICATE").filter(|_| self.counts(tls.ca.is_some())) {
            tls.ca = Some(ca.value.to_owned());
            tls.mode = Some(TlsMode::Provided);
        }
        let pair = self.get("CLIENT_CERTIFICATE").zip(self.get("CLIENT_KEY"));
        if let Some((cert, key)) = pair.filter(|_| self.counts(tls.cert.is_some())) {
            tls.cert = Some(cert.value.to_owned());
            tls.key = Some(key.value.to_owned());
        }
        delivery.tls = Some(tls);
        Ok(())
    }

    fn apply_headers(&self, spec: &mut OpenTelemetryBackend) -> Result<(), String> {
        let Some(headers) = self.get("HEADERS") else { return Ok(()) };
        let delivery = &mut spec.delivery;
        for (name, value) in parse_headers(&headers)? {
            let same = |other: &&String| other.eq_ignore_ascii_case(&name);
            let explicit = delivery.headers.keys().find(same).cloned();
            let auth = delivery.auth.as_ref().is_some_and(|auth| match &auth.api_key {
                Some(key) => key.header.eq_ignore_ascii_case(&name),
                None => name == "authorization",
            });
            if !self.counts(explicit.is_some() || auth) {
                continue;
            }
            if auth {
                delivery.auth = None;
            }
            if let Some(explicit) = explicit {
                delivery.headers.remove(&explicit);
            }
            delivery.headers.insert(name, Substitution::new(value.replace('$', "$$")));
        }
        Ok(())
    }
}

/// `name=value,name=value`, values percent-encoded, as W3C Baggage without properties.
fn parse_headers(variable: &Variable<'_>) -> Result<BTreeMap<String, String>, String> {
    let entries = variable.value.split(',').map(str::trim).enumerate();
    let entries = entries.filter(|(_, entry)| !entry.is_empty());
    let parse = |(at, entry): (usize, &str)| {
        let wrong = || format!("{}: entry {} is not `name=value`", variable.name, at + 1);
        let (name, value) = entry.split_once('=').ok_or_else(wrong)?;
        let name = http::HeaderName::try_from(name.trim()).map_err(|_| wrong())?;
        Ok((name.as_str().to_owned(), unpercent(value.trim().as_bytes())))
    };
    entries.map(parse).collect()
}
