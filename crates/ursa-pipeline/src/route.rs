//! What is done with what is received: an immutable table that is replaced as a whole. Who works by
//! an old one finds the queues of removed backends closed, and goes on with the others.

use std::sync::Arc;

use crate::Signal;
use crate::attributes::Attributes;
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
    /// Most have one.
    branches: Vec<Branch>,
}

/// Backends that get the same.
#[derive(Debug)]
pub(crate) struct Branch {
    /// What the rules were made of, besides what is the same for the whole signal.
    attributes: Attributes,
    pub(crate) rules: Rules,
    pub(crate) backends: Vec<Arc<Backend>>,
}

impl Route {
    pub(crate) fn branches(&self) -> &[Branch] {
        &self.branches
    }

    pub(crate) fn backends(&self) -> impl Iterator<Item = &Arc<Backend>> + Clone {
        self.branches.iter().flat_map(|branch| &branch.backends)
    }

    /// Adds a backend that gets what `rules` make with these attributes.
    pub(crate) fn add(
        &mut self,
        backend: Arc<Backend>,
        attributes: Attributes,
        rules: impl FnOnce(&Attributes) -> Rules,
    ) {
        match self.branches.iter_mut().find(|branch| branch.attributes == attributes) {
            Some(branch) => branch.backends.push(backend),
            None => {
                let rules = rules(&attributes);
                self.branches.push(Branch { attributes, rules, backends: vec![backend] });
            }
        }
    }
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
