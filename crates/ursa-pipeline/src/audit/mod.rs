//! Which stage kept or dropped which span, by which rule.

mod answer;
mod trail;

pub use answer::{Audit, AuditStage, AuditVerdict, AuditWindow, AuditedSpan, Stage};
pub(crate) use trail::{Ending, Stored, Trail};
