//! One call, and what makes it right.

use serde_json::Value;

use super::envoy;
use super::spans::{self, BACKENDS, Span, Traces};
use super::table::{Case, Neighbour};

/// A call, and what was answered.
pub(crate) struct Call {
    pub(crate) propagators: &'static str,
    /// Whether the policy named them.
    pub(crate) named: bool,
    pub(crate) before: Neighbour,
    pub(crate) behind: Neighbour,
    pub(crate) case: Case,
    /// Null if the trace begins with the call.
    pub(crate) parent: Value,
    /// Null where it is a proxy, which does not say.
    pub(crate) caller: Value,
    pub(crate) callee: Value,
}

impl Call {
    fn received(&self, header: &str) -> &str {
        let headers = self.callee["received"].as_object().into_iter().flatten();
        let value = headers.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(header));
        value.and_then(|(_, value)| value.as_str()).unwrap_or_default()
    }

    /// Trace, span and decision of the callee, the last in its own numbers.
    fn callee(&self) -> [&str; 3] {
        if self.behind.library == envoy::SERVICE {
            // What it passes on to the service behind it is its own span.
            let mut single = self.received("b3").split('-');
            if let (Some(trace), Some(span), Some(sampled)) =
                (single.next(), single.next(), single.next())
            {
                return [trace, span, sampled];
            }
            return ["x-b3-traceid", "x-b3-spanid", "x-b3-sampled"].map(|name| self.received(name));
        }
        ["trace", "span", "priority"].map(|name| self.callee[name].as_str().unwrap_or_default())
    }

    pub(crate) fn got(&self) -> &str {
        self.callee()[2]
    }

    /// Whether Datadog's own tags reached the callee.
    pub(crate) fn has_tags(&self) -> bool {
        ["origin", "tags"].iter().all(|name| self.callee[name] == self.caller[name])
    }

    /// What is wrong with it, as far as the backends' spans say.
    pub(crate) fn wrong(&self, traces: &Traces) -> Option<String> {
        self.check(traces).err().map(|what| {
            format!(
                "{:?} to {:?} under {}, {:?}: {what}\n{} {}",
                self.before, self.behind, self.propagators, self.case, self.caller, self.callee
            )
        })
    }

    fn check(&self, traces: &Traces) -> Result<(), String> {
        let [trace, span, got] = self.callee();
        let padded = |id: &str| format!("{id:0>32}");
        let began = self.caller["trace"].as_str();
        if began.is_some_and(|began| padded(began) != padded(trace)) {
            return Err(format!("the trace became {trace}"));
        }
        let asked = if self.behind.says(2) == 2 {
            self.before.says(self.case.priority)
        } else {
            self.case.priority
        };
        if got != self.behind.says(asked).to_string() {
            return Err(format!("the decision became {got}"));
        }
        if self.case.tags && self.behind.library == "ddtrace" && !self.has_tags() {
            return Err("tags are lost".to_owned());
        }
        let all: Vec<&Span> = traces.get(&spans::low(trace)).into_iter().flatten().collect();
        if self.case.priority <= 0 {
            let recorded = all.iter().any(|span| ["front", "back"].contains(&&*span.service));
            return if recorded { Err(format!("it is recorded: {all:?}")) } else { Ok(()) };
        }
        let expected = [
            self.behind.names_itself("callee"),
            "back".to_owned(),
            "front".to_owned(),
            self.before.names_itself("caller"),
        ];
        let first = self.parent["span"].as_str().unwrap_or_default();
        let whole = |spans: &[&Span]| {
            let (way, parent) = spans::way(spans, span);
            way == expected && parent == first
        };
        if !whole(&all) {
            return Err(format!("the way from {span} is {:?}: {all:?}", spans::way(&all, span)));
        }
        // Each backend has the mesh's spans, and where both neighbours have the same, it has the whole trace.
        for (number, backend) in BACKENDS.iter().enumerate() {
            let here: Vec<_> = all.iter().copied().filter(|span| span.backend == number).collect();
            let meshs = |service: &str| here.iter().any(|span| span.service == service);
            if !meshs("front") || !meshs("back") {
                return Err(format!("{backend} lacks spans of the mesh: {here:?}"));
            }
            let both = [self.before, self.behind].iter().all(|one| one.backend() == number);
            if both && !whole(&here) {
                return Err(format!("it is not whole at {backend}: {here:?}"));
            }
        }
        Ok(())
    }
}
