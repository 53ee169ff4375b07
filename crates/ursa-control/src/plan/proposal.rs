//! A change as it would be written.

use std::collections::BTreeSet;

use jiff::Timestamp;
use ursa_model::ResourceKey;
use ursa_store::{Record, StoreError};

use crate::resources::{Action, Applied, ChangeError, ReadDocument, Resources, Source};
use crate::snapshot::Change;

/// What would become of resources.
#[derive(Debug)]
pub(crate) struct Proposal {
    /// Each resource that is named, and what would become of it.
    pub(crate) applied: Vec<Applied>,
    /// Which of the texts each of the first of them is from; the others would be deleted.
    pub(crate) of_source: Vec<usize>,
    /// The same for snapshots.
    pub(crate) changes: Vec<Change>,
}

impl Resources {
    /// What applying `sources` and then deleting `deleted` would change. The same is refused as if it were done.
    pub(crate) async fn propose(
        &self,
        sources: &[Source<'_>],
        deleted: &BTreeSet<ResourceKey>,
    ) -> Result<Proposal, ChangeError> {
        let (mut applied, mut of_source, mut changes) = (Vec::new(), Vec::new(), Vec::new());
        for document in self.accepted(self.read(sources)).await? {
            let ReadDocument { source, document, origin, warnings } = document;
            of_source.push(source);
            let before = self.get(&document.key).await?;
            let (key, text) = (document.key, document.text);
            let action = Action::of(before.as_ref(), &text);
            let now = Timestamp::now();
            let created = before.as_ref().map_or(now, |before| before.created);
            let version = before.map_or(0, |before| before.version);
            let record = Record { key: key.clone(), version, created, modified: now, text, origin };
            applied.push(Applied { key: key.clone(), action, warnings });
            changes.push(Change { key, record: Some(record) });
        }
        for key in deleted {
            if self.get(key).await?.is_none() {
                return Err(StoreError::NotFound { key: key.clone() }.into());
            }
            self.refuse_mesh_in_use(key, deleted).await?;
            let (key, action, warnings) = (key.clone(), Action::Deleted, Vec::new());
            applied.push(Applied { key: key.clone(), action, warnings });
            changes.push(Change { key, record: None });
        }
        Ok(Proposal { applied, of_source, changes })
    }
}
