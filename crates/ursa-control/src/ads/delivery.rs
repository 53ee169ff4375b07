//! The span of a delivery: from the moment that a stream has something new to bring, to the acknowledgement of the last of it.

use std::sync::Arc;

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use ursa_envoy::resources::Resources;

use super::state::State;
use crate::generate::Generated;
use crate::proxies::Connection;
use crate::spans::{Span, Tracer};

/// What one stream is bringing.
pub(super) struct Delivery<'a> {
    tracer: &'a Tracer,
    resources: Option<Arc<Resources>>,
    span: Span,
}

impl<'a> Delivery<'a> {
    pub(super) fn new(tracer: &'a Tracer) -> Self {
        Self { tracer, resources: None, span: Span::off() }
    }

    /// This is to be brought. What was under way is not brought to its end if it is something else.
    pub(super) fn towards(&mut self, connection: &Connection, target: &Generated) {
        let is_new =
            !self.resources.as_ref().is_some_and(|known| Arc::ptr_eq(known, &target.resources));
        if !is_new {
            return;
        }
        self.end("superseded");
        self.resources = Some(Arc::clone(&target.resources));
        self.span = self.tracer.child("deliver", SpanKind::Client, target.cause.as_ref());
        self.span.set("ursa.mesh", connection.id.mesh.as_str());
        self.span.set("ursa.proxy", connection.id.name.as_str());
    }

    pub(super) fn sent(&mut self, type_url: &str) {
        self.span.event("sent", &[("type_url", type_url)]);
    }

    pub(super) fn answered(&mut self, type_url: &str, acknowledged: bool) {
        self.span.event(if acknowledged { "ACK" } else { "NACK" }, &[("type_url", type_url)]);
    }

    /// Ends when there is nothing left to wait for.
    pub(super) fn settle(&mut self, state: &State) {
        let Some(resources) = self.resources.as_ref().filter(|_| self.span.is_recorded()) else {
            return;
        };
        if state.holds(resources) {
            self.end("acknowledged");
        } else if state.is_refused() {
            self.span.fail("a part of it was refused");
            self.end("refused");
        }
    }

    fn end(&mut self, result: &'static str) {
        self.span.set("ursa.result", result);
        self.span = Span::off();
    }
}

impl Drop for Delivery<'_> {
    fn drop(&mut self) {
        self.end("disconnected");
    }
}
