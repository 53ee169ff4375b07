//! A queue that keeps what it took: on disk, crash-safe, or in memory.
//!
//! What [`push`](Queue::push) took is stored until it is [`settle`](Queue::settle)d, in order; a
//! batch handed out stays stored while it is being sent. Full is an error for whoever pushes, never
//! a silent drop. Many push, one takes.
//!
//! Records are opaque: this room knows neither what they mean nor where they go.

mod batch;
mod clock;
mod disk;
mod options;
mod queue;
mod ranges;
mod state;
mod worker;

pub use batch::{Batch, Contents, Dropped, Sources};
pub use options::{Options, PushError, RECOVERED, Record, Recovered, Sync};
pub use queue::Queue;
pub use state::{Counts, Due, Lane, SourceCounts, Want};

#[cfg(test)]
mod tests;
