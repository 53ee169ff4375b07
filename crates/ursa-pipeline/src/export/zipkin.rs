//! Zipkin: `POST` of a list of spans, in JSON or protobuf.
//!
//! Spans that came in Zipkin's form go on in it, joined without being read again; OTLP is translated.
//!
//! Followed: Zipkin API 2, `POST /api/v2/spans`; for what may be sent again, OTLP/HTTP's rules.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method};
use ursa_model::backend::Compression;
use ursa_model::pipeline::ZipkinExporter;
use ursa_otlp::zipkin::{self, TraceIds, ZipkinError};

use super::answer::Outcome;
use super::client::{Client, Post};
use super::connection::Answer;
use super::credentials::Credentials;
use super::http::{AGENT, failure};
use super::native::{MAX_TRANSLATED, Place, delivered, shown, untranslated};
use super::way::Way;
use super::{Outlet, Payload};
use crate::aside::aside;
use crate::{Form, Signal};

const PORT: u16 = 9411;
/// Where spans go when the URL names no path.
const PATH: &str = "/api/v2/spans";

/// The way that `spec` says, or why there is none.
pub(super) fn open(spec: &ZipkinExporter, signal: Signal, outlet: Outlet) -> Result<Way, String> {
    let Place { target, secure, path } = Place::of(&spec.url, PORT)?;
    if signal != Signal::Traces {
        return Err(format!("Zipkin takes no {signal}"));
    }
    let path = if path == "/" { PATH.to_owned() } else { path };
    let endpoint = format!("{}{}", target.authority, shown(&path));
    let mut delivery = spec.delivery.clone();
    if delivery.compression == Some(Compression::Zstd) {
        // Zipkin decompresses gzip only.
        delivery.compression = Some(Compression::Gzip);
    }
    let credentials = Credentials::new(&delivery, outlet.values.clone());
    let client = Client::new(target, secure, &delivery, credentials, outlet);
    Ok(Way { endpoint, path, client })
}

/// Makes one attempt, in protobuf or else in JSON.
pub(super) async fn send(way: &Way, proto: bool, ids: TraceIds, payload: &Payload) -> Outcome {
    let (pieces, spans) = match encode(proto, ids, payload).await {
        Ok((_, 0)) => return delivered(payload.items, 0),
        Ok(encoded) => encoded,
        Err(error) => {
            return untranslated(&error, matches!(error, ZipkinError::TooLarge { .. }));
        }
    };
    let encoded = way.client.encode(&pieces).await;
    let media = if proto { "application/x-protobuf" } else { "application/json" };
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    if let Some(encoding) = encoded.encoding {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding));
    }
    let path = way.path.clone();
    let post = Post { method: Method::POST, path, headers, pieces: encoded.pieces };
    let outcome = |answer: &Answer| {
        if answer.status.is_success() {
            return delivered(payload.items, spans);
        }
        let mut failure = failure(answer, shown(&way.path));
        if answer.status.as_u16() == 415 {
            let other = if proto { "httpJson" } else { "httpProto" };
            failure.mend = Some(format!("try `apiVersion: {other}`"));
        }
        Outcome::Failed(failure)
    };
    way.client.send(post, outcome).await
}

/// The body's pieces and how many spans they have.
async fn encode(
    proto: bool,
    ids: TraceIds,
    payload: &Payload,
) -> Result<(Vec<Bytes>, usize), ZipkinError> {
    let requests = payload.requests.clone();
    let native = payload.form == Form::Zipkin;
    if native && !proto {
        return Ok((zipkin::join(&requests), payload.items));
    }
    let items = payload.items;
    aside(payload.bytes, move || {
        let (mut lists, mut spans, mut length) = (Vec::new(), 0_usize, 0_usize);
        for request in requests {
            let (list, count) = if native {
                (request, 0)
            } else {
                let room = MAX_TRANSLATED.saturating_sub(length);
                let (list, count) = zipkin::from_otlp(&request, ids, room)?;
                (list.into(), count)
            };
            length = length.saturating_add(list.len());
            spans = spans.saturating_add(count);
            lists.push(if proto { zipkin::to_proto(&list)?.into() } else { list });
        }
        let pieces = if proto { lists } else { zipkin::join(&lists) };
        Ok((pieces, if native { items } else { spans }))
    })
    .await
}
