//! What became of every item: one account for each source, signal and backend.
//!
//! ```text
//! received = delivered + waiting + in flight + dropped{reason} + filtered{rule} + merged
//! ```

mod statement;

pub use statement::Ledger;
