//! Which stage kept or dropped which span, by which rule.

mod answer;

pub use answer::{Audit, AuditStage, AuditVerdict, AuditWindow, AuditedSpan, Stage};
