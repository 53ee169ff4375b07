//! What becomes of one request at a listener, as Envoy decides it: which route takes it, whether it is traced, whether it is written down.
//!
//! Followed: Envoy's connection manager (`mutateTracingRequestHeader`), its UUID request ids, its OpenTelemetry tracer and its access log filters,
//! with the settings that [`mod@crate::resources`] makes: request ids and what they say are taken from whoever calls.
//!
//! One number decides: the first eight digits of `x-request-id`, of which the rest of a division by 10,000 is compared with each share. The same
//! id gives the same number at every proxy, so all agree. A request that brings no id gets a random one; what is then decided is a share.

mod baggage;
mod carried;
mod context;
mod logging;
mod matching;
mod onward;
mod permitted;
#[cfg(test)]
mod tests;
mod tracing;

use std::time::Duration;

use serde::Serialize;

pub use self::baggage::{Handled, baggage};
pub use self::carried::{Carried, Fate};
pub use self::logging::{Logged, logged};
pub use self::matching::matches;
pub use self::onward::onward;
pub use self::permitted::{Caller, decisive};
pub use self::tracing::{By, Step, Traced, traced};

/// A request as it comes to a listener.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Request {
    /// Method, like `GET`.
    pub method: String,
    /// `Host`, or `:authority`.
    pub authority: String,
    /// Path with query.
    pub path: String,
    /// Headers; case of names does not count. Of several with one name the values are joined.
    pub headers: Vec<(String, String)>,
}

/// What is known of the answer, for what is decided after it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Answer {
    /// Its status; 0 if there was none.
    pub status: Option<u32>,
    /// How long it took.
    pub duration: Option<Duration>,
    /// Envoy's response flags.
    pub flags: Option<Vec<String>>,
}

/// Whether something is done for a request.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", tag = "is")]
pub enum Verdict {
    /// It is.
    Yes,
    /// It is not.
    No,
    /// For a share of such requests, from 0 to 1, both excluded; of each by chance.
    Share {
        /// The share.
        of: f64,
    },
    /// What is not known here decides.
    Open {
        /// What: `status`, `duration`, `flags`, `expression`.
        on: Vec<&'static str>,
        /// The share of those for which it decides so.
        of: f64,
    },
}

impl Verdict {
    /// Of a share from 0 to 1.
    fn of(share: f64) -> Self {
        if share <= 0.0 {
            Self::No
        } else if share >= 1.0 {
            Self::Yes
        } else {
            Self::Share { of: share }
        }
    }
}

impl Request {
    /// The value of a header or pseudo-header.
    pub fn header(&self, name: &str) -> Option<String> {
        let pseudo = match name {
            ":method" => Some(&self.method),
            ":authority" | "host" => Some(&self.authority),
            ":path" => Some(&self.path),
            _ => None,
        };
        if let Some(value) = pseudo {
            return Some(value.clone()).filter(|value| !value.is_empty());
        }
        let own = self.headers.iter().filter(|(own, _)| own.eq_ignore_ascii_case(name));
        let values: Vec<_> = own.map(|(_, value)| value.as_str()).collect();
        (!values.is_empty()).then(|| values.join(","))
    }

    /// The number that its id draws, from 0 to 9,999; `None` where Envoy will make an id.
    pub fn drawn(&self) -> Option<u16> {
        let id = self.header("x-request-id")?;
        let number = u64::from_str_radix(id.get(..8)?, 16).ok()?;
        u16::try_from(number % 10_000).ok()
    }
}
