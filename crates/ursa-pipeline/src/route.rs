//! What is done with what is received: an immutable table that is replaced as a whole. Who works by
//! an old one finds the queues of removed backends closed, and goes on with the others.

use std::sync::Arc;

use crate::Signal;
use crate::backend::Backend;
use ursa_otlp::process::Rules;

/// What is done with each signal.
#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(crate) phase: Phase,
    /// In the order of [`Signal::ALL`].
    routes: [Route; 3],
}

/// What a pipeline does at all.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It takes nothing yet.
    #[default]
    Unconfigured,
    Running,
    /// It takes nothing more.
    Stopping,
}

/// What is done with one signal.
#[derive(Debug, Default)]
pub(crate) struct Route {
    pub(crate) rules: Rules,
    pub(crate) backends: Vec<Arc<Backend>>,
}

impl Table {
    pub(crate) fn running(routes: [Route; 3]) -> Self {
        Self { phase: Phase::Running, routes }
    }

    pub(crate) fn stopping() -> Self {
        Self { phase: Phase::Stopping, ..Self::default() }
    }

    pub(crate) fn route(&self, signal: Signal) -> &Route {
        let [traces, metrics, logs] = &self.routes;
        match signal {
            Signal::Traces => traces,
            Signal::Metrics => metrics,
            Signal::Logs => logs,
        }
    }
}
