//! What came of an attempt.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::fmt;
use std::time::Duration;

use ursa_otlp::wire::{Fields, Value};

/// Characters of a backend's text that are kept.
const MAX_MESSAGE: usize = 512;

/// What came of an attempt to deliver a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The backend has it, less what it rejected for good.
    Delivered {
        rejected: usize,
        /// A warning, or why it rejected some.
        message: String,
    },
    /// The backend does not have it.
    Failed(Failure),
    /// It was not tried: something must be mended here first.
    Blocked(String),
}

/// A failed attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) reason: Reason,
    /// HTTP status or number of the gRPC code; empty without an answer.
    pub(crate) code: String,
    pub(crate) message: String,
    /// What to do about it, if that can be told.
    pub(crate) mend: Option<String>,
    pub(crate) again: Again,
}

impl fmt::Display for Failure {
    /// Message and mend in one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.mend.iter().try_for_each(|mend| write!(f, " ({mend})"))
    }
}

/// Whether the same batch may be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Again {
    Never,
    /// After the time that the backend asked for, if it did.
    Later(Option<Duration>),
}

/// The label `reason` of failed attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    Timeout,
    /// No TLS: a certificate was not accepted, or TLS is not spoken there.
    Tls,
    Unavailable,
    Unauthorized,
    Rejected,
    TooLarge,
}

impl Reason {
    pub(crate) const ALL: [Self; 6] = [
        Self::Timeout,
        Self::Tls,
        Self::Unavailable,
        Self::Unauthorized,
        Self::Rejected,
        Self::TooLarge,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Tls => "tls",
            Self::Unavailable => "unavailable",
            Self::Unauthorized => "unauthorized",
            Self::Rejected => "rejected",
            Self::TooLarge => "too_large",
        }
    }
}

impl Outcome {
    /// What an export response (of any signal) says: all was taken, or some was rejected.
    pub(super) fn of_response(body: &[u8]) -> Self {
        let mut rejected = 0;
        let mut message = String::new();
        // `partial_success` is field 1; in it, the count is field 1 and the message field 2.
        for field in Fields::new(body).map_while(Result::ok).filter(|field| field.number == 1) {
            let Value::Bytes(partial) = field.value else { continue };
            for field in Fields::new(partial).map_while(Result::ok) {
                match (field.number, field.value) {
                    // A signed number: one below 0 rejects nothing.
                    (1, Value::Varint(count)) => {
                        rejected = usize::try_from(count.cast_signed()).unwrap_or(0);
                    }
                    (2, Value::Bytes(text)) => message = text_of(text),
                    _ => {}
                }
            }
        }
        Self::Delivered { rejected, message }
    }

    /// The same with other texts: all that a backend may have had a say in.
    pub(super) fn map_texts(self, change: impl Fn(String) -> String) -> Self {
        match self {
            Self::Delivered { rejected, message } => {
                Self::Delivered { rejected, message: change(message) }
            }
            Self::Failed(Failure { message, mend, reason, code, again }) => {
                let (message, mend) = (change(message), mend.map(change));
                Self::Failed(Failure { reason, code, message, mend, again })
            }
            Self::Blocked(reason) => Self::Blocked(reason),
        }
    }
}

/// A backend's text, made printable. It may repeat secrets.
pub(super) fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().filter(|c| !c.is_control()).collect()
}

/// A text cut to what is kept of it; after redaction, which needs secrets whole.
pub(super) fn cut(text: &str) -> String {
    text.chars().take(MAX_MESSAGE).collect()
}
