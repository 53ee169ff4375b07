//! One way out, and what is remembered for it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use ursa_model::pipeline::metrics::{Collection, MetricDestination, MetricOutput, Push};
use ursa_series::Shape;

use super::OutputStatus;
use super::gather::Outcome;

/// What is gathered.
#[derive(Debug, Default)]
pub(super) struct Task {
    pub(super) collection: Collection,
    /// Resource attributes for who asks.
    pub(super) target: BTreeMap<String, String>,
}

/// One output. It lives as long as a configuration names it, whatever else changes.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) name: String,
    said: Mutex<Said>,
    /// Held while a collection runs.
    pub(super) shape: tokio::sync::Mutex<Shape>,
    status: Mutex<OutputStatus>,
}

/// What the configuration says.
#[derive(Debug)]
struct Said {
    to: MetricDestination,
    task: Arc<Task>,
}

impl Output {
    pub(super) fn new(wanted: &MetricOutput, task: Arc<Task>, shape: Shape) -> Self {
        let said = Mutex::new(Said { to: wanted.to.clone(), task });
        let status = OutputStatus { name: wanted.name.clone(), ..OutputStatus::default() };
        Self {
            name: wanted.name.clone(),
            said,
            shape: tokio::sync::Mutex::new(shape),
            status: Mutex::new(status),
        }
    }

    /// Whether it leaves in the same way, so that what is remembered still means the same.
    pub(super) fn is_of_same_way(&self, wanted: &MetricOutput) -> bool {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        match (&said.to, &wanted.to) {
            (MetricDestination::Prometheus(_), MetricDestination::Prometheus(_)) => true,
            (MetricDestination::Push(mine), MetricDestination::Push(other)) => {
                (mine.temporality, mine.histograms) == (other.temporality, other.histograms)
            }
            _ => false,
        }
    }

    pub(super) async fn replace(&self, wanted: &MetricOutput, task: Arc<Task>, shape: Shape) {
        let said = Said { to: wanted.to.clone(), task };
        *self.said.lock().unwrap_or_else(PoisonError::into_inner) = said;
        self.shape.lock().await.replace(shape);
    }

    pub(super) fn task(&self) -> Arc<Task> {
        Arc::clone(&self.said.lock().unwrap_or_else(PoisonError::into_inner).task)
    }

    /// How it is pushed.
    pub(super) fn push(&self) -> Push {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).to.push()
    }

    pub(super) fn note(&self, outcome: Outcome) {
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        status.collections = status.collections.saturating_add(1);
        status.series = outcome.counts.series;
        status.problems = outcome.problems;
    }

    pub(super) fn status(&self) -> OutputStatus {
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match &self.said.lock().unwrap_or_else(PoisonError::into_inner).to {
            MetricDestination::Push(_) => status.way = "push",
            MetricDestination::Prometheus(endpoint) => {
                status.way = "prometheus";
                let address = endpoint.address.map_or_else(|| "*".to_owned(), |ip| ip.to_string());
                status.address = Some(format!("{address}:{}{}", endpoint.port, endpoint.path));
            }
        }
        status
    }
}
