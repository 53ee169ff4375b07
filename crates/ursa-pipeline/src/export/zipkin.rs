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
use ursa_model::mesh_trace_backend::ZipkinApi;
use ursa_model::pipeline::ZipkinExporter;
use ursa_otlp::zipkin::{self, ZipkinError};

use super::answer::Outcome;
use super::client::{Client, Post};
use super::connection::Answer;
use super::credentials::Credentials;
use super::http::{AGENT, failure};
use super::native::{MAX_TRANSLATED, Place, delivered, untranslated};
use super::{Outlet, Payload};
use crate::aside::aside;
use crate::{Form, Signal};

const PORT: u16 = 9411;
/// Where spans go when the URL names no path.
const PATH: &str = "/api/v2/spans";

/// Delivers spans to one Zipkin collector.
#[derive(Debug)]
pub(super) struct Zipkin {
    /// For people.
    endpoint: String,
    path: String,
    proto: bool,
    /// Or why nothing may be sent.
    client: Result<Client, String>,
}

impl Zipkin {
    pub(super) fn new(spec: &ZipkinExporter, signal: Signal, outlet: Outlet) -> Self {
        let place = Place::of(&spec.url, PORT);
        let place = place.and_then(|place| match signal {
            Signal::Traces => Ok(place),
            other => Err(format!("Zipkin takes no {other}")),
        });
        let proto = spec.api_version == Some(ZipkinApi::HttpProto);
        // An URL that is none may hold anything, so it is not shown.
        let (endpoint, path) = (String::new(), PATH.to_owned());
        let mut zipkin = Self { endpoint, path, proto, client: Err(String::new()) };
        let Place { target, secure, path } = match place {
            Ok(place) => place,
            Err(reason) => return Self { client: Err(reason), ..zipkin },
        };
        if path != "/" {
            zipkin.path = path;
        }
        zipkin.endpoint = format!("{}{}", target.authority, zipkin.path);
        let mut delivery = spec.delivery.clone();
        if delivery.compression == Some(Compression::Zstd) {
            // Zipkin decompresses gzip only.
            delivery.compression = Some(Compression::Gzip);
        }
        let credentials = Credentials::new(&delivery, outlet.values.clone());
        zipkin.client = Ok(Client::new(target, secure, &delivery, credentials, outlet));
        zipkin
    }

    pub(super) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    pub(super) fn client(&self) -> Result<&Client, &str> {
        self.client.as_ref().map_err(String::as_str)
    }

    pub(super) async fn send(&self, payload: &Payload) -> Outcome {
        let client = match &self.client {
            Ok(client) => client,
            Err(reason) => return Outcome::Blocked(reason.clone()),
        };
        let (pieces, spans) = match self.encode(payload).await {
            Ok((_, 0)) => return delivered(payload.items, 0),
            Ok(encoded) => encoded,
            Err(error) => {
                return untranslated(&error, matches!(error, ZipkinError::TooLarge { .. }));
            }
        };
        let encoded = client.encode(&pieces).await;
        let media = if self.proto { "application/x-protobuf" } else { "application/json" };
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        if let Some(encoding) = encoded.encoding {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding));
        }
        let path = self.path.clone();
        let post = Post { method: Method::POST, path, headers, pieces: encoded.pieces };
        client.send(post, |answer| self.outcome(answer, payload.items, spans)).await
    }

    /// The body's pieces and how many spans they have.
    async fn encode(&self, payload: &Payload) -> Result<(Vec<Bytes>, usize), ZipkinError> {
        let requests = payload.requests.clone();
        let (native, proto) = (payload.form == Form::Zipkin, self.proto);
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
                    let (list, count) = zipkin::from_otlp(&request, room)?;
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

    fn outcome(&self, answer: &Answer, items: usize, spans: usize) -> Outcome {
        if answer.status.is_success() {
            return delivered(items, spans);
        }
        let mut failure = failure(answer, &self.path);
        if answer.status.as_u16() == 415 {
            let other = if self.proto { "httpJson" } else { "httpProto" };
            failure.mend = Some(format!("try `apiVersion: {other}`"));
        }
        Outcome::Failed(failure)
    }
}
