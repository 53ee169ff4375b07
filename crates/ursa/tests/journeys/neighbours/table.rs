//! The table: who calls whom, under which `propagators`; and the calls that each of its rows stands for.

use serde_json::{Value, json};

/// A library, and what it is set to speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Neighbour {
    pub(crate) library: &'static str,
    pub(crate) setting: &'static str,
}

/// Callers and callees under one list.
#[derive(Debug)]
pub(crate) struct List {
    pub(crate) propagators: &'static str,
    /// Whether the policy names it; otherwise the backends bring it along.
    pub(crate) named: bool,
    pub(crate) rows: Vec<[Neighbour; 2]>,
}

/// One call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Case {
    /// Digits of the trace's id.
    pub(crate) digits: usize,
    /// In Datadog's numbers.
    pub(crate) priority: i64,
    /// Whether the caller begins the trace, rather than being called from another span.
    pub(crate) begins: bool,
    /// What only Datadog carries.
    pub(crate) tags: bool,
}

const fn case(digits: usize, priority: i64, begins: bool, tags: bool) -> Case {
    Case { digits, priority, begins, tags }
}

const COMMON: [Case; 4] = [
    case(32, 1, true, false),
    case(16, 1, false, false),
    case(32, 1, false, false),
    case(32, 0, false, false),
];
const OF_DATADOG: [Case; 3] =
    [case(16, 0, false, false), case(32, 2, false, true), case(16, -1, false, false)];

pub(crate) fn lists() -> Vec<List> {
    let mut lists: Vec<List> = Vec::new();
    for line in include_str!("table.txt").lines().filter(|line| !line.starts_with('#')) {
        if let Some(propagators) = line.strip_prefix("propagators ") {
            let (propagators, named) = match propagators.strip_prefix("unset: ") {
                Some(brought) => (brought, false),
                None => (propagators, true),
            };
            lists.push(List { propagators, named, rows: Vec::new() });
        } else if let Some((before, behind)) = line.split_once("->") {
            let row = [before, behind].map(|words| {
                let (library, setting) = words.trim().split_once(' ').expect("library and setting");
                Neighbour { library, setting }
            });
            lists.last_mut().expect("first the list").rows.push(row);
        }
    }
    lists
}

impl List {
    /// The formats in it that are of traces.
    pub(crate) fn formats(&self) -> impl Iterator<Item = &'static str> {
        self.propagators.split(", ").filter(|format| *format != "w3c_baggage")
    }
}

impl Neighbour {
    /// The service of the mesh that it is: settings of these libraries are for a whole process.
    pub(crate) fn service(self) -> &'static str {
        match (self.library, self.setting) {
            ("ddtrace", "default") => "ddtrace-default",
            ("py_zipkin", _) => "py-zipkin",
            (library, _) => library,
        }
    }

    /// What its spans say of it.
    pub(crate) fn names_itself(self, role: &str) -> String {
        match self.library {
            "envoy" => "envoy".to_owned(),
            library => format!("{library}-{role}"),
        }
    }

    /// Where it sends its spans: its place in [`crate::neighbours::spans::BACKENDS`].
    pub(crate) fn backend(self) -> usize {
        match self.library {
            "opentelemetry" => 0,
            "ddtrace" => 2,
            _ => 1,
        }
    }

    /// What it can be told to do as a caller.
    pub(crate) fn cases(self) -> Vec<Case> {
        match self.library {
            // It begins traces, and keeps the decision of who calls it.
            "envoy" => {
                let digits = if self.setting.contains("128") { 32 } else { 16 };
                vec![case(digits, 1, true, false), case(digits, 0, true, false)]
            }
            "ddtrace" => COMMON.into_iter().chain(OF_DATADOG).collect(),
            _ => COMMON.into(),
        }
    }

    /// What it says of a decision.
    pub(crate) fn says(self, priority: i64) -> i64 {
        if self.library == "ddtrace" { priority } else { i64::from(priority > 0) }
    }
}

impl Case {
    /// The span that the caller is called from, of the trace with this number.
    pub(crate) fn parent(self, number: u64) -> Value {
        if self.begins {
            return Value::Null;
        }
        let high = if self.digits == 32 { "80f198ee56343ba8" } else { "" };
        let tags = json!({"_dd.p.dm": "-4", "_dd.p.usr.id": "YmFy"});
        json!({
            "trace": format!("{high}{:016x}", 0xc4fe_8b2a_0000_0000 | number),
            "span": format!("{:016x}", 0xe457_b5a2_0000_0000 | number),
            "priority": self.priority,
            "origin": self.tags.then_some("synthetics"),
            "tags": if self.tags { tags } else { json!({}) },
        })
    }
}
