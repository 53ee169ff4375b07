use std::sync::Arc;

use crate::process::Filtered;
use crate::wire::SpanId;

/// Spans that filters dropped, by filter, in the order in which they began to.
#[derive(Debug, Default)]
pub(crate) struct Dropped(Vec<Filtered>);

impl Dropped {
    pub(crate) fn add(&mut self, rule: Arc<str>, span: SpanId) {
        match self.0.iter_mut().find(|filtered| filtered.rule == rule) {
            Some(filtered) => {
                filtered.items = filtered.items.saturating_add(1);
                filtered.spans.push(span);
            }
            None => self.0.push(Filtered { rule, items: 1, spans: vec![span] }),
        }
    }

    pub(crate) fn into_filtered(self) -> Vec<Filtered> {
        self.0
    }
}
