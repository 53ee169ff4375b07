//! Lines over TCP: the bodies of log records, each with a line feed.
//!
//! TCP says nothing of what the other side's program read, only its closing does. So each batch has a connection of its own: lines are written, then the
//! sending half is closed, and the sink has them when it closes its half in turn. A sink that does neither close nor break within the timeout fails the
//! batch, which is sent again: every line arrives at least once.

use std::fmt::Write as _;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use prost::Message;
use serde_json::Value as Json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use ursa_model::pipeline::{JsonLines, TcpExporter};

use super::answer::{Again, Failure, Outcome, Reason};
use super::{Dial, Payload};

/// How deep a body of lists and maps is written.
const MAX_DEPTH: usize = 32;

/// A sink of lines.
#[derive(Debug)]
pub(super) struct TcpSink {
    address: String,
    json: Option<JsonLines>,
    timeout: Duration,
    dial: Arc<dyn Dial>,
}

impl TcpSink {
    pub(super) fn new(spec: &TcpExporter, dial: Arc<dyn Dial>) -> Self {
        let timeout = spec.delivery.timeout().get();
        Self { address: spec.address.clone(), json: spec.json.clone(), timeout, dial }
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    pub(super) async fn send(&self, payload: &Payload) -> Outcome {
        let (mut lines, mut rejected, mut message) = (String::new(), 0_usize, String::new());
        for request in &payload.requests {
            match ExportLogsServiceRequest::decode(request.clone()) {
                Ok(request) => self.write(&request, &mut lines),
                Err(error) => {
                    rejected = rejected.saturating_add(1);
                    message = error.to_string();
                }
            }
        }
        let delivery = self.deliver(lines.as_bytes());
        let failed = |reason, words: String| {
            Outcome::Failed(Failure {
                reason,
                code: String::new(),
                message: words,
                mend: None,
                again: Again::Later(None),
            })
        };
        let address = &self.address;
        match self.timeout {
            Duration::ZERO => delivery.await.map_err(|error| {
                failed(Reason::Unavailable, format!("send lines to {address}: {error}"))
            }),
            bound => match timeout(bound, delivery).await {
                Ok(sent) => sent.map_err(|error| {
                    failed(Reason::Unavailable, format!("send lines to {address}: {error}"))
                }),
                Err(_) => Err(failed(
                    Reason::Timeout,
                    format!("{address} did not take the lines and close within {bound:?}"),
                )),
            },
        }
        .map_or_else(|failed| failed, |()| Outcome::Delivered { rejected, message })
    }

    async fn deliver(&self, lines: &[u8]) -> io::Result<()> {
        let (host, port) = self.address.rsplit_once(':').ok_or(io::ErrorKind::InvalidInput)?;
        let port = port.parse().map_err(|_| io::ErrorKind::InvalidInput)?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let mut stream = self.dial.dial(host, port).await?;
        stream.write_all(lines).await?;
        stream.shutdown().await?;
        // What a sink says is of no meaning; that it ends is.
        let mut said = [0; 512];
        while stream.read(&mut said).await? > 0 {}
        Ok(())
    }

    fn write(&self, request: &ExportLogsServiceRequest, out: &mut String) {
        let scopes = request.resource_logs.iter().flat_map(|group| &group.scope_logs);
        for record in scopes.flat_map(|scope| &scope.log_records) {
            let body = record.body.as_ref();
            match (&self.json, body.and_then(|body| body.value.as_ref())) {
                (Some(lines), Some(Value::KvlistValue(list))) => {
                    // By hand, so that entries stand as the policy has them.
                    let entries = list.values.iter().filter_map(|entry| lines_entry(lines, entry));
                    let entries: Vec<_> = entries
                        .map(|(key, value)| format!("{}:{value}", Json::from(key)))
                        .collect();
                    writeln!(out, "{{{}}}", entries.join(","))
                        .expect("writing to a string does not fail");
                }
                (_, Some(Value::StringValue(text))) => {
                    // A line is one line, whatever a header held.
                    out.extend(
                        text.chars().map(|c| if matches!(c, '\n' | '\r') { ' ' } else { c }),
                    );
                    out.push('\n');
                }
                _ => {
                    let body = body.map_or(Json::Null, |body| plain(body, MAX_DEPTH));
                    writeln!(out, "{body}").expect("writing to a string does not fail");
                }
            }
        }
    }
}

/// An entry of a line, unless it is left out.
fn lines_entry(lines: &JsonLines, entry: &KeyValue) -> Option<(String, Json)> {
    let value = entry.value.as_ref().map_or(Json::Null, |value| plain(value, MAX_DEPTH));
    let text = value.as_str().unwrap_or_default();
    let value = if text == "-" && lines.optional.contains(&entry.key) {
        Json::Null
    } else if lines.integers.contains(&entry.key)
        && let Ok(number) = text.parse::<i64>()
    {
        number.into()
    } else {
        value
    };
    (!value.is_null() || !lines.omit_empty).then(|| (entry.key.clone(), value))
}

/// A value in JSON.
fn plain(of: &AnyValue, depth: usize) -> Json {
    let deeper = depth.saturating_sub(1);
    match of.value.as_ref().filter(|_| depth > 0) {
        None | Some(Value::StringValueStrindex(_)) => Json::Null,
        Some(Value::StringValue(text)) => text.as_str().into(),
        Some(Value::BoolValue(truth)) => (*truth).into(),
        Some(Value::IntValue(number)) => (*number).into(),
        Some(Value::DoubleValue(number)) => (*number).into(),
        Some(Value::BytesValue(bytes)) => String::from_utf8_lossy(bytes).into(),
        Some(Value::ArrayValue(list)) => list.values.iter().map(|one| plain(one, deeper)).collect(),
        Some(Value::KvlistValue(list)) => {
            let entry = |entry: &KeyValue| {
                let value = entry.value.as_ref().map_or(Json::Null, |value| plain(value, deeper));
                (entry.key.clone(), value)
            };
            Json::Object(list.values.iter().map(entry).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;
    use tokio::task::JoinSet;
    use ursa_model::backend::DeliveryOptions;
    use ursa_otlp::json;

    use super::*;
    use crate::export::Tcp;
    use crate::{Form, Signal};

    fn payload() -> Payload {
        let entry = |key: &str, value: &str| serde_json::json!({"key": key, "value": {"stringValue": value}});
        let request = serde_json::json!({"resourceLogs": [{"scopeLogs": [{"logRecords": [
            {"body": {"stringValue": "one\nline"}},
            {"body": {"kvlistValue": {"values": [entry("code", "200"), entry("agent", "-"), entry("b", "x\"y")]}}},
        ]}]}]});
        let request = json::to_protobuf(Signal::Logs, request.to_string().as_bytes()).unwrap();
        let bytes = request.len();
        Payload {
            signal: Signal::Logs,
            form: Form::Otlp,
            requests: vec![request.into()],
            items: 2,
            bytes,
        }
    }

    fn sink(address: String, omit_empty: bool) -> TcpSink {
        let set = |name: &str| [name.to_owned()].into();
        let json = JsonLines { integers: set("code"), optional: set("agent"), omit_empty };
        let mut spec =
            TcpExporter { address, json: Some(json), delivery: DeliveryOptions::default() };
        spec.delivery.timeout = Some(ursa_model::duration::Duration(Duration::from_millis(200)));
        TcpSink::new(&spec, Arc::new(Tcp))
    }

    #[tokio::test]
    async fn lines_are_delivered_when_the_sink_has_closed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let mut reading = JoinSet::new();
        reading.spawn(async move {
            let mut seen = Vec::new();
            for _ in 0..2 {
                let mut text = String::new();
                listener.accept().await.unwrap().0.read_to_string(&mut text).await.unwrap();
                seen.push(text);
            }
            seen
        });
        let delivered = Outcome::Delivered { rejected: 0, message: String::new() };
        assert_eq!(sink(address.clone(), false).send(&payload()).await, delivered);
        assert_eq!(sink(address, true).send(&payload()).await, delivered);
        let seen = reading.join_next().await.unwrap().unwrap();
        assert_eq!(
            seen,
            [
                "one line\n{\"code\":200,\"agent\":null,\"b\":\"x\\\"y\"}\n",
                "one line\n{\"code\":200,\"b\":\"x\\\"y\"}\n",
            ]
        );
    }

    #[tokio::test]
    async fn a_sink_that_is_away_or_hangs_fails_the_batch() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let outcome = sink(address.clone(), false).send(&payload()).await;
        assert!(matches!(outcome, Outcome::Failed(Failure { reason: Reason::Timeout, .. })));
        drop(listener);
        let outcome = sink(address, false).send(&payload()).await;
        assert!(matches!(outcome, Outcome::Failed(Failure { reason: Reason::Unavailable, .. })));
    }
}
