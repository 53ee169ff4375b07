//! What is done with what is received: an immutable table that is replaced as a whole. Who works by
//! an old one finds the queues of removed backends closed, and goes on with the others.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::Signal;
use crate::attributes::Attributes;
use crate::backend::Backend;
use ursa_otlp::access_log::Records;
use ursa_otlp::process::Rules;

/// What is done with each signal.
#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(crate) phase: Phase,
    /// In the order of [`Signal::ALL`].
    routes: [Route; 3],
    /// Of log records and data points that come by a name of their own.
    channels: BTreeMap<(Signal, String), Route>,
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

/// What is done with one signal, or with the log records of one channel.
#[derive(Debug, Default)]
pub(crate) struct Route {
    /// What is done before all else to records of Envoy's access logger.
    pub(crate) records: Option<Records>,
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
    pub(crate) fn running(routes: [Route; 3], channels: BTreeMap<(Signal, String), Route>) -> Self {
        Self { phase: Phase::Running, routes, channels }
    }

    pub(crate) fn stopping() -> Self {
        Self { phase: Phase::Stopping, ..Self::default() }
    }

    /// Whether anything is done with that signal.
    pub(crate) fn takes(&self, signal: Signal) -> bool {
        !self.route(signal).branches.is_empty() || self.channels.keys().any(|(of, _)| *of == signal)
    }

    /// What is done with what came by the name `channel`: as with all of the signal, unless it is known.
    pub(crate) fn route_of(&self, signal: Signal, channel: Option<&str>) -> &Route {
        let own = channel.and_then(|channel| self.channels.get(&(signal, channel.to_owned())));
        own.unwrap_or_else(|| self.route(signal))
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
