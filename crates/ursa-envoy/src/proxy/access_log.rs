//! What is written of requests, and where.

use std::time::Duration;

use ursa_model::percent::Percent;

use super::route::HeaderMatch;

/// One place where a listener's requests are written down.
#[derive(Debug, Clone, PartialEq)]
pub struct AccessLog {
    /// Where, and in which words.
    pub sink: LogSink,
    /// Of which requests.
    pub filter: LogFilter,
}

/// Where a request is written down. Texts are formats: they may hold command operators that every
/// supported Envoy knows (see [`mod@crate::format`]).
#[derive(Debug, Clone, PartialEq)]
pub enum LogSink {
    /// A file that Envoy writes itself.
    File {
        /// Absolute path; `/dev/stdout` is one too.
        path: String,
        /// What a line says.
        format: LogFormat,
    },
    /// The agent, as log records of OpenTelemetry.
    Agent {
        /// By which name the agent tells these records from others: a key of
        /// [`ursa_model::pipeline::PipelineConfig::channels`]. Sent as the authority of the call.
        channel: String,
        /// The record's body. Unset: none.
        body: Option<LogValue>,
        /// The record's attributes.
        attributes: Vec<(String, String)>,
    },
}

/// What a line of a file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogFormat {
    /// Text as it is; it ends with its own line feed.
    Text(String),
    /// An object on each line.
    Json {
        /// Names and values. A value that is one operator has that operator's type.
        fields: Vec<(String, String)>,
        /// Whether what an operator has no value for is left out, rather than null.
        omit_empty: bool,
    },
}

/// A value with formats in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogValue {
    /// Text.
    Text(String),
    /// A list.
    List(Vec<LogValue>),
    /// Names and values.
    Map(Vec<(String, LogValue)>),
}

/// Which requests are written down: those for which all that is set holds.
#[derive(Debug, Clone, PartialEq)]
pub struct LogFilter {
    /// The lowest status. Envoy: `status_code_filter`, `GE`.
    pub status_from: Option<u32>,
    /// The highest status. Envoy: `status_code_filter`, `LE`.
    pub status_to: Option<u32>,
    /// It took as long or longer, to the millisecond. Envoy: `duration_filter`, `GE`.
    pub at_least: Option<Duration>,
    /// It took less, to the millisecond. Envoy: `duration_filter`, `LE`.
    pub shorter_than: Option<Duration>,
    /// It has any of these response flags. Empty: with or without. Envoy: `response_flag_filter`.
    pub flags: Vec<String>,
    /// It has a response flag, whichever. Envoy: the same, without flags.
    pub any_flag: bool,
    /// A header of the request.
    pub header: Option<HeaderMatch>,
    /// An expression in CEL that is true. Envoy: `envoy.access_loggers.extension_filters.cel`.
    pub expression: Option<String>,
    /// Which share of them. Drawn from the request's id, so that all proxies on a request's way
    /// agree, to a ten-thousandth. Envoy: `runtime_filter`.
    pub sample: Percent,
    /// Which routes took them. Envoy: the attribute `xds.route_name` in an expression.
    pub routes: LoggedRoutes,
}

/// Requests by the MeshHTTPRoute that took them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum LoggedRoutes {
    /// Whatever did.
    #[default]
    All,
    /// The one of that name.
    Only(String),
    /// None of those; another, or none.
    But(Vec<String>),
}

impl LoggedRoutes {
    /// Whether what the MeshHTTPRoute of that name took, if one did, is meant.
    pub fn takes(&self, route: Option<&str>) -> bool {
        match self {
            Self::All => true,
            Self::Only(only) => route == Some(only),
            Self::But(others) => route.is_none_or(|route| others.iter().all(|it| it != route)),
        }
    }
}

impl Default for LogFilter {
    /// Every request.
    fn default() -> Self {
        Self {
            status_from: None,
            status_to: None,
            at_least: None,
            shorter_than: None,
            flags: Vec::new(),
            any_flag: false,
            header: None,
            expression: None,
            sample: Percent::HUNDRED,
            routes: LoggedRoutes::All,
        }
    }
}
