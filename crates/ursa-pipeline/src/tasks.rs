//! Tasks that the HTTP library starts belong to a tracker too.

use std::future::Future;

use hyper::rt::Executor;
use tokio_util::task::TaskTracker;

/// An executor whose tasks a tracker waits for.
#[derive(Debug, Clone)]
pub(crate) struct Tasks(pub(crate) TaskTracker);

impl<F> Executor<F> for Tasks
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, task: F) {
        self.0.spawn(task);
    }
}
