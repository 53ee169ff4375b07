//! Whether a request is written down by an access log.

use serde::Serialize;
use ursa_model::percent::Percent;

use super::matching::header_matches;
use super::{Answer, Request, Verdict};
use crate::proxy::{AccessLog, LogFilter, LogSink, LoggedRoutes};

/// What an access log does with a request.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Logged {
    /// Where it is written: `file /tmp/log`, or the agent's channel.
    pub to: String,
    /// Whether it is.
    pub verdict: Verdict,
    /// What decides, in words.
    pub words: Vec<String>,
}

/// What `log` does with `request`, which the MeshHTTPRoute `route` takes, and of whose answer `answer` is known.
pub fn logged(log: &AccessLog, request: &Request, route: Option<&str>, answer: &Answer) -> Logged {
    let to = match &log.sink {
        LogSink::File { path, .. } => format!("file {path}"),
        LogSink::Agent { channel, .. } => channel.clone(),
    };
    let mut decision = Decision { share: 1.0, on: Vec::new(), words: Vec::new() };
    decision.routes(&log.filter.routes, route);
    decision.look(&log.filter, request, answer);
    let Decision { share, on, words } = decision;
    let verdict = match share {
        share if share > 0.0 && !on.is_empty() => Verdict::Open { on, of: share },
        share => Verdict::of(share),
    };
    Logged { to, verdict, words }
}

struct Decision {
    share: f64,
    on: Vec<&'static str>,
    words: Vec<String>,
}

impl Decision {
    fn look(&mut self, filter: &LogFilter, request: &Request, answer: &Answer) {
        if filter.status_from.is_some() || filter.status_to.is_some() {
            let (from, to) = (filter.status_from.unwrap_or(0), filter.status_to.unwrap_or(999));
            let words = format!("status from {from} to {to}");
            self.known("status", &words, answer.status.map(|status| (from..=to).contains(&status)));
        }
        if filter.at_least.is_some() || filter.shorter_than.is_some() {
            let fits = |took: std::time::Duration| {
                filter.at_least.is_none_or(|least| took.as_millis() >= least.as_millis())
                    && filter.shorter_than.is_none_or(|most| took.as_millis() < most.as_millis())
            };
            let least = filter.at_least.map(|least| format!("at least {} ms", least.as_millis()));
            let most =
                filter.shorter_than.map(|most| format!("shorter than {} ms", most.as_millis()));
            let words: Vec<_> = least.into_iter().chain(most).collect();
            self.known("duration", &words.join(", "), answer.duration.map(fits));
        }
        if filter.any_flag || !filter.flags.is_empty() {
            let words = if filter.any_flag {
                "a response flag, whichever".to_owned()
            } else {
                format!("one of the response flags {}", filter.flags.join(", "))
            };
            let has = |flags: &Vec<String>| {
                flags.iter().any(|flag| filter.any_flag || filter.flags.contains(flag))
            };
            self.known("flags", &words, answer.flags.as_ref().map(has));
        }
        if let Some(header) = &filter.header {
            let words = format!("header `{}`", header.name);
            self.known("header", &words, Some(header_matches(header, request)));
        }
        if let Some(expression) = &filter.expression {
            self.known("expression", &format!("`{expression}`"), None);
        }
        self.sample(filter.sample, request.drawn());
    }

    fn routes(&mut self, routes: &LoggedRoutes, route: Option<&str>) {
        let words = match routes {
            LoggedRoutes::All => return,
            LoggedRoutes::Only(name) => format!("MeshHTTPRoute `{name}`"),
            LoggedRoutes::But(names) => format!("not MeshHTTPRoute `{}`", names.join("`, `")),
        };
        self.known("route", &words, Some(routes.takes(route)));
    }

    fn known(&mut self, what: &'static str, wanted: &str, holds: Option<bool>) {
        let verdict = match holds {
            Some(true) => "holds",
            Some(false) => "does not hold",
            None => "is not known here",
        };
        self.words.push(format!("{wanted}: {verdict}"));
        match holds {
            Some(true) => {}
            Some(false) => self.share = 0.0,
            None => self.on.push(what),
        }
    }

    fn sample(&mut self, sample: Percent, drawn: Option<u16>) {
        if sample == Percent::HUNDRED {
            return;
        }
        let below = sample.ten_thousandths();
        match drawn {
            Some(drawn) => {
                let passes = u32::from(drawn) < below;
                let is = if passes { "is" } else { "is not" };
                self.words.push(format!(
                    "sample is {sample} %: the request id draws {drawn} of 10000, which {is} below {below}"
                ));
                self.share *= f64::from(u8::from(passes));
            }
            None => {
                self.words.push(format!("sample is {sample} %: the id that Envoy makes decides"));
                self.share *= f64::from(below) / 10_000.0;
            }
        }
    }
}
