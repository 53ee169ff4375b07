//! How many series would leave if metrics were gathered otherwise. A collection is made for it, and
//! leads nowhere.

use std::collections::BTreeMap;

use tokio::time::{Duration, Instant};
use ursa_model::pipeline::metrics::Collection;
use ursa_series::{Family, Point, Shape, Sink, Source};

use super::gather::{ALL, ENVOY, Gather, Gone, Way};
use super::output::Task;

/// How long it may take, all outputs together: less than the control plane waits for an answer.
const PATIENCE: Duration = Duration::from_millis(2_500);

/// How many series leave by all outputs of `collection`, with what Envoy and the applications say now.
/// What is left out because it never was anything but 0 is judged by the values of this moment.
///
/// # Errors
/// In words, when a selection cannot be used or Envoy does not tell.
pub(super) async fn series(gather: &Gather, collection: Collection) -> Result<u64, String> {
    let deadline = Instant::now() + PATIENCE;
    let task = Task { collection, target: BTreeMap::new() };
    let mut series = 0_u64;
    for output in &task.collection.outputs {
        let mut shape = Shape::new(&task.collection, output).map_err(|error| error.to_string())?;
        let is_native = output.to.push().is_native();
        let looked = gather.look(&task, &mut shape, Nowhere, is_native, deadline).await;
        let (_, outcome) = looked.ok_or_else(|| "too many collections already".to_owned())?;
        if let Some(problem) = [ENVOY, ALL].iter().find_map(|who| outcome.problems.get(*who)) {
            return Err(problem.clone());
        }
        series = series.saturating_add(outcome.counts.series);
    }
    Ok(series)
}

/// Takes all, and keeps nothing.
struct Nowhere;

impl Sink for Nowhere {
    fn family(&mut self, _: &Family<'_>) -> bool {
        true
    }

    fn point(&mut self, _: &Point<'_>) {}

    fn end(&mut self) {}
}

impl Way for Nowhere {
    fn from(&mut self, _: Source) {}

    fn shows_target(&self) -> bool {
        false
    }

    async fn flush(&mut self) -> Result<(), Gone> {
        Ok(())
    }
}
