//! Standard output: text for people, in colour on a terminal, or OTLP/JSON.

use std::io::{IsTerminal, Write};

use tokio::task::spawn_blocking;
use ursa_model::pipeline::ConsoleExporter;

use super::answer::{Again, Failure, Outcome, Reason};
use super::{Payload, lines};

/// Writes to standard output.
#[derive(Debug)]
pub(super) struct Console {
    json: bool,
}

impl Console {
    pub(super) fn new(spec: &ConsoleExporter) -> Self {
        Self { json: spec.json }
    }

    pub(super) async fn send(&self, payload: &Payload) -> Outcome {
        let (payload, json) = (payload.clone(), self.json);
        let written = spawn_blocking(move || {
            let mut out = std::io::stdout().lock();
            let colour = out.is_terminal();
            for request in &payload.requests {
                let text = if json {
                    lines::json(payload.signal, request)
                } else {
                    lines::text(payload.signal, request, colour)
                };
                // What cannot be shown is no reason to hold up the rest.
                let text = text.unwrap_or_else(|error| format!("cannot be shown: {error}\n"));
                out.write_all(text.as_bytes())?;
            }
            out.flush()
        });
        match written.await {
            Ok(Ok(())) => Outcome::Delivered { rejected: 0, message: String::new() },
            Ok(Err(error)) => failed(&error),
            Err(error) => failed(&error),
        }
    }
}

fn failed(error: &dyn std::fmt::Display) -> Outcome {
    Outcome::Failed(Failure {
        reason: Reason::Unavailable,
        code: String::new(),
        message: format!("write to standard output: {error}"),
        mend: None,
        again: Again::Later(None),
    })
}
