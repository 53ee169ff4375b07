//! Writing what Prometheus reads.

mod held;
mod line;
mod text;

pub use held::MAX_HELD;
pub use text::TextWriter;
