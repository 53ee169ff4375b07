//! One batch on its way to a backend.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;
use ursa_queue::{Batch, Lane};

use super::{Backend, Outlet};
use crate::export::{Again, Failure, Outcome, Payload, Reason};
use crate::ledger::Loss;
use crate::{Form, Signal, translate};

/// A batch with what was tried so far.
#[derive(Debug)]
pub(super) struct Parcel {
    pub(super) batch: Batch,
    pub(super) lane: Lane,
    /// What it is, or was last, sent with.
    pub(super) outlet: Arc<Outlet>,
    /// Attempts that failed.
    pub(super) attempts: u32,
    /// Of a single request that was too large for the backend: what is left of it.
    rest: Option<Rest>,
}

/// A request in pieces.
#[derive(Debug)]
struct Rest {
    form: Form,
    pieces: VecDeque<(Bytes, usize)>,
    rejected: usize,
    message: String,
}

/// What came of sending a parcel.
#[derive(Debug)]
pub(super) enum Report {
    /// The backend has it, less what it rejected for good.
    Delivered { rejected: usize, message: String },
    /// The backend does not have it, or not all.
    Failed(Failure),
    /// The backend takes smaller ones only, and this one holds several requests.
    TooLarge,
    /// Nothing was tried: something must be mended here first.
    Blocked(String),
    /// What it holds cannot be read for now.
    Unreadable(io::Error),
    /// Nothing of what it held can be read any more, and that is counted.
    Damaged,
}

impl Parcel {
    pub(super) fn new(batch: Batch, lane: Lane, outlet: Arc<Outlet>) -> Self {
        Self { batch, lane, outlet, attempts: 0, rest: None }
    }

    /// The same with another outlet.
    pub(super) fn with(self, outlet: &Arc<Outlet>) -> Self {
        Self { outlet: Arc::clone(outlet), ..self }
    }

    /// Makes one attempt.
    pub(super) async fn send(&mut self, backend: &Backend) -> Report {
        let signal = backend.signal;
        if self.attempts > 0 {
            self.outlet.meters.retry();
        }
        if let Some(rest) = self.rest.take() {
            return self.send_rest(signal, rest).await;
        }
        let contents = match backend.account.queue().read(&mut self.batch).await {
            Ok(contents) => contents,
            Err(error) => return Report::Unreadable(error),
        };
        backend.gave_up(
            &contents.damaged,
            Loss::Disk,
            "telemetry lost: it cannot be read any more",
        );
        let Some(form) = Form::of_number(self.batch.form) else {
            return rejected(format!("it is stored in the unknown form {}", self.batch.form));
        };
        if contents.records.is_empty() {
            return Report::Damaged;
        }
        let (form, requests) = match self.in_form(form, contents.records) {
            Ok(requests) => requests,
            Err(error) => return rejected(error),
        };
        let items = usize::try_from(self.batch.items).unwrap_or(usize::MAX);
        let bytes = requests.iter().map(Bytes::len).sum();
        let payload = Payload { signal, form, requests, items, bytes };
        let outcome = self.attempt(&payload).await;
        match outcome {
            Outcome::Failed(Failure { reason: Reason::TooLarge, again: Again::Never, .. })
                if payload.requests.len() > 1 =>
            {
                Report::TooLarge
            }
            Outcome::Failed(Failure {
                reason: Reason::TooLarge,
                again: Again::Never,
                message,
                ..
            }) => {
                let mut rest = Rest::new(form);
                let whole = payload.requests.into_iter().next().unwrap_or_default();
                rest.halve(signal, &whole, items, message);
                self.send_rest(signal, rest).await
            }
            Outcome::Delivered { rejected, message } => Report::Delivered { rejected, message },
            Outcome::Failed(failure) => Report::Failed(failure),
            Outcome::Blocked(reason) => Report::Blocked(reason),
        }
    }

    /// Requests as this backend takes them.
    fn in_form(&self, form: Form, requests: Vec<Bytes>) -> Result<(Form, Vec<Bytes>), String> {
        if form == Form::Otlp || self.outlet.exporter.takes(form) {
            return Ok((form, requests));
        }
        let translated = requests.iter().map(|request| translate::to_otlp(form, request));
        Ok((Form::Otlp, translated.collect::<Result<_, _>>()?))
    }

    async fn attempt(&self, payload: &Payload) -> Outcome {
        let Outlet { exporter, meters, .. } = &*self.outlet;
        let started = Instant::now();
        let outcome = exporter.send(payload).await;
        match &outcome {
            Outcome::Delivered { .. } => {
                meters.succeeded(started.elapsed());
                meters.sent_bytes(payload.bytes);
            }
            Outcome::Failed(failure) => {
                meters.answered(&failure.code, started.elapsed());
                meters.failed(failure.reason, payload.items);
            }
            Outcome::Blocked(_) => {}
        }
        outcome
    }

    /// Sends the pieces that are left, one after the other, until one fails in a way that passes.
    async fn send_rest(&mut self, signal: Signal, mut rest: Rest) -> Report {
        while let Some((piece, items)) = rest.pieces.front().cloned() {
            let bytes = piece.len();
            let requests = vec![piece.clone()];
            let payload = Payload { signal, form: rest.form, requests, items, bytes };
            let stop = match self.attempt(&payload).await {
                Outcome::Delivered { rejected, message } => {
                    rest.pieces.pop_front();
                    rest.rejected += rejected;
                    if !message.is_empty() {
                        rest.message = message;
                    }
                    continue;
                }
                Outcome::Failed(Failure { again: Again::Never, reason, message, .. }) => {
                    rest.pieces.pop_front();
                    if reason == Reason::TooLarge {
                        rest.halve(signal, &piece, items, message);
                    } else {
                        rest.rejected += items;
                        rest.message = message;
                    }
                    continue;
                }
                Outcome::Failed(failure) => Report::Failed(failure),
                Outcome::Blocked(reason) => Report::Blocked(reason),
            };
            self.rest = Some(rest);
            return stop;
        }
        Report::Delivered { rejected: rest.rejected, message: rest.message }
    }
}

impl Rest {
    fn new(form: Form) -> Self {
        Self { form, pieces: VecDeque::new(), rejected: 0, message: String::new() }
    }

    /// Puts the halves of a request that was too large first. What cannot be cut is rejected.
    fn halve(&mut self, signal: Signal, request: &Bytes, items: usize, message: String) {
        let pieces = translate::split(self.form, signal, request, request.len() / 2);
        if pieces.len() < 2 {
            self.rejected += items;
            self.message = message;
            return;
        }
        for piece in pieces.into_iter().rev() {
            self.pieces.push_front(piece);
        }
    }
}

/// It can never be sent.
fn rejected(message: String) -> Report {
    let (reason, again) = (Reason::Rejected, Again::Never);
    Report::Failed(Failure { reason, code: String::new(), message, mend: None, again })
}
