//! Writing what Prometheus reads.

mod line;
mod text;

pub use text::TextWriter;
