//! Answering the control plane's questions ([`ursa_envoy::questions`]).

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::client::Grpc;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::{Channel, Uri};
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;
use ursa_envoy::questions::{About, Answer, MAX_ANSWER, MAX_QUESTIONS, PATH, Question};
use ursa_pipeline::{PipelineStatus, Signal};

use crate::admin::Admin;
use crate::telemetry::Telemetry;

/// Envoy's counter of spans that it handed over. It counts them before it knows that they arrived.
const SPANS_SENT: &str = "tracing.opentelemetry.spans_sent";
/// The last part of Envoy's counters of requests: `http.<listener>.downstream_rq_total`.
const REQUESTS: &str = ".downstream_rq_total";

/// The receiver on which Envoy's spans come.
const OTLP_GRPC: &str = "otlp_grpc";

/// Bytes of an answer's JSON; the rest of [`MAX_ANSWER`] is for what is around it.
const MAX_JSON: usize = MAX_ANSWER - 64;

/// What can be asked.
#[derive(Debug, Clone)]
pub(crate) struct Answers {
    pub(crate) telemetry: Telemetry,
    pub(crate) admin: Admin,
}

impl Answers {
    /// Answers until the control plane ends the stream. One that is too old to ask is left alone.
    pub(super) async fn serve(&self, channel: Channel, origin: Uri, bearer: AsciiMetadataValue) {
        match self.converse(channel, origin, bearer).await {
            Err(status) if status.code() == Code::Unimplemented => {
                tracing::debug!("the control plane asks no questions");
            }
            Err(status) => tracing::debug!(error = status.message(), "no more questions"),
            Ok(()) => {}
        }
    }

    async fn converse(
        &self,
        channel: Channel,
        origin: Uri,
        bearer: AsciiMetadataValue,
    ) -> Result<(), Status> {
        let (answers, outgoing) = mpsc::channel(MAX_QUESTIONS);
        let mut request = Request::new(ReceiverStream::new(outgoing));
        request.metadata_mut().insert("authorization", bearer);
        let mut grpc = Grpc::with_origin(channel, origin);
        grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let path = http::uri::PathAndQuery::from_static(PATH);
        let codec = ProstCodec::<Answer, Question>::default();
        let mut questions = grpc.streaming(request, path, codec).await?.into_inner();
        while let Some(Question { id, about }) = questions.message().await? {
            let answer = match self.answer(about).await.and_then(|answer| fitting(&answer)) {
                Ok(json) => Answer { id, json, ..Answer::default() },
                Err(error) => Answer { id, error, ..Answer::default() },
            };
            if answers.send(answer).await.is_err() {
                break;
            }
        }
        Ok(())
    }

    async fn answer(&self, about: Option<About>) -> Result<Value, String> {
        match about {
            Some(About::Telemetry(_)) => Ok(self.status().await),
            Some(About::Trace(id)) => {
                let id = id.try_into().map_err(|_| "a trace id has 16 bytes".to_owned())?;
                Ok(json!({ "audit": self.telemetry.audit(id).await }))
            }
            Some(About::Series(collection)) => {
                let then =
                    serde_json::from_slice(&collection).map_err(|error| error.to_string())?;
                Ok(json!(self.telemetry.foresee(then).await?))
            }
            None => Err("it does not know that question".to_owned()),
        }
    }

    /// The pipeline's status; and how many spans Envoy says that it handed over, beside how many came.
    /// Envoy's figure proves no delivery and begins anew with each Envoy, as the agent's does with each
    /// agent: the two are an estimate.
    async fn status(&self) -> Value {
        let status = self.telemetry.status().await;
        let stats = self.admin.stats("opentelemetry.spans_sent%7Cdownstream_rq_total").await.ok();
        let sent = stats.iter().flatten().find(|(name, _)| name == SPANS_SENT);
        let sent = sent.map(|(_, sent)| *sent);
        let requests = stats.as_deref().map(requests);
        let received = status.as_ref().map(received);
        let envoy = json!({ "spansSent": sent, "received": received, "requests": requests });
        json!({ "status": status, "envoy": envoy })
    }
}

/// Requests since Envoy started, by the name under which a listener counts.
fn requests(stats: &[(String, u64)]) -> BTreeMap<&str, u64> {
    let counted = stats.iter().filter_map(|(name, count)| {
        let listener = name.strip_prefix("http.")?.strip_suffix(REQUESTS)?;
        (listener != "admin").then_some((listener, *count))
    });
    counted.collect()
}

/// The answer's bytes, if the control plane takes so many: a longer one would end the stream, and with
/// it all questions.
fn fitting(answer: &Value) -> Result<Vec<u8>, String> {
    let json = answer.to_string().into_bytes();
    if json.len() > MAX_JSON {
        return Err(format!(
            "its answer has {} bytes, and {MAX_JSON} fit; ask it on its own machine with `--from`",
            json.len()
        ));
    }
    Ok(json)
}

/// Spans that came from Envoy. Each backend's account knows them all.
fn received(status: &PipelineStatus) -> u64 {
    let traces = status.backends.iter().filter(|backend| backend.signal == Signal::Traces);
    let from_envoy = traces.filter_map(|backend| backend.sources.get(OTLP_GRPC));
    from_envoy.map(|ledger| ledger.received).max().unwrap_or(0)
}
