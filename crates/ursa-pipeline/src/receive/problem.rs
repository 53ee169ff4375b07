//! Everything that can be wrong with a request, and what the sender is told.

use std::time::Duration;

use http::StatusCode;
use thiserror::Error;

use super::memory::NoRoom;
use crate::Refusal;
use crate::rpc::{Code, Status};

/// What a sender is told to wait when the receiver itself has no room, or the way to it no speed.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Why a request was not taken.
#[derive(Debug, Error)]
pub(super) enum Problem {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("the request is larger than {limit} bytes")]
    TooLarge { limit: usize },
    #[error("the request holds too many objects for JSON; send fewer at once, or protobuf")]
    TooMany,
    #[error("too many requests at once; try again later")]
    Busy,
    #[error("the request did not arrive in time")]
    Slow,
    #[error("{0}")]
    Malformed(String),
    #[error("content encoding {0:?} is not understood; use gzip, zstd or identity")]
    Encoding(String),
    #[error("content type {0:?} is not understood; use {1}")]
    ContentType(String, &'static str),
    #[error("method {0} is not allowed; use POST")]
    Method(http::Method),
    #[error("nothing is served at {0}")]
    Path(String),
    #[error("there is no service {0}")]
    Service(String),
    #[error("the request carries no bearer token; send it as: authorization: Bearer TOKEN")]
    NoToken,
    #[error("the request carries another bearer token than the receiver's")]
    WrongToken,
}

impl From<NoRoom> for Problem {
    fn from(_: NoRoom) -> Self {
        Self::Busy
    }
}

impl Problem {
    /// An error with its causes.
    pub(super) fn malformed(error: &dyn std::error::Error) -> Self {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        Self::Malformed(text)
    }

    /// The gRPC code. RESOURCE_EXHAUSTED is final without `RetryInfo`; UNAVAILABLE and
    /// DEADLINE_EXCEEDED may be repeated.
    pub(super) fn code(&self) -> Code {
        match self {
            Self::Refused(Refusal::Full { .. } | Refusal::TooLarge { .. })
            | Self::TooLarge { .. }
            | Self::TooMany
            | Self::Busy => Code::RESOURCE_EXHAUSTED,
            Self::Refused(Refusal::Unavailable { .. }) => Code::UNAVAILABLE,
            Self::Refused(Refusal::Unsupported { .. }) | Self::Path(_) | Self::Encoding(_) => {
                Code::UNIMPLEMENTED
            }
            Self::Service(_) => Code::NOT_FOUND,
            Self::NoToken | Self::WrongToken => Code::UNAUTHENTICATED,
            Self::Slow => Code::DEADLINE_EXCEEDED,
            Self::Refused(Refusal::Invalid { .. })
            | Self::Malformed(_)
            | Self::ContentType(..)
            | Self::Method(_) => Code::INVALID_ARGUMENT,
        }
    }

    /// The HTTP status. OTLP lets senders repeat only 429, 502, 503 and 504.
    pub(super) fn http(&self) -> StatusCode {
        match self {
            Self::Refused(Refusal::Full { .. }) | Self::Busy => StatusCode::TOO_MANY_REQUESTS,
            // Not 408, which says that the sender may try again, but not in OTLP.
            Self::Refused(Refusal::Unavailable { .. }) | Self::Slow => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Refused(Refusal::Unsupported { .. }) | Self::Path(_) | Self::Service(_) => {
                StatusCode::NOT_FOUND
            }
            Self::NoToken | Self::WrongToken => StatusCode::UNAUTHORIZED,
            Self::Refused(Refusal::Invalid { .. }) | Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::Refused(Refusal::TooLarge { .. }) | Self::TooLarge { .. } | Self::TooMany => {
                StatusCode::PAYLOAD_TOO_LARGE
            }
            Self::Encoding(_) | Self::ContentType(..) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
        }
    }

    /// How long the sender should wait; none when it should not try again.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused(Refusal::Full { retry_after } | Refusal::Unavailable { retry_after }) => {
                Some(*retry_after)
            }
            Self::Busy | Self::Slow => Some(RETRY_AFTER),
            _ => None,
        }
    }

    pub(super) fn status(&self) -> Status {
        Status::new(self.code(), self.to_string(), self.retry_after())
    }
}
