//! What became of every item: one account for each backend and signal, kept for each source.
//!
//! ```text
//! received = delivered + waiting + in flight + dropped{reason} + filtered{rule} + merged
//! ```
//!
//! Exact at every moment. Nothing here proves what a sender believes that it has sent.

mod account;
mod loss;
mod share;
mod sources;
mod statement;

pub(crate) use account::{Account, Fate, Statement};
pub(crate) use loss::Loss;
pub(crate) use sources::Sources;
pub use statement::Ledger;

use share::divide;
