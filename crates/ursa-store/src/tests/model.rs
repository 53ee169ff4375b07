//! Random writes against a map: same answers, same content, and a watcher that sees the same.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::select;

use super::*;

/// Text and version per resource.
type Model = BTreeMap<ResourceKey, (String, u64)>;

fn keys() -> impl Strategy<Value = ResourceKey> {
    let mesh = select(vec![None, Some("one".to_owned()), Some("two".to_owned())]);
    (select(vec!["Mesh", "Secret"]), mesh, select(vec!["a", "b"]))
        .prop_map(|(kind, mesh, name)| ResourceKey { kind: kind.into(), mesh, name: name.into() })
}

fn changes() -> impl Strategy<Value = Change> {
    let expect = prop_oneof![
        6 => Just(Expect::Any),
        1 => Just(Expect::Absent),
        1 => Just(Expect::Present),
        1 => (1..20_u64).prop_map(Expect::Version),
    ];
    (keys(), expect, prop::option::weighted(0.7, "[xy]{1}")).prop_map(|(key, expect, text)| {
        match text {
            Some(text) => Change::Put { key, text, origin: None, expect },
            None => Change::Delete { key, expect },
        }
    })
}

fn holds(model: &Model, change: &Change) -> bool {
    let version = model.get(change.key()).map(|(_, version)| *version);
    match change {
        Change::Put { expect, .. } | Change::Delete { expect, .. } => match expect {
            Expect::Any => true,
            Expect::Absent => version.is_none(),
            Expect::Present => version.is_some(),
            Expect::Version(expected) => version == Some(*expected),
        },
    }
}

fn apply(model: &mut Model, change: Change, revision: u64) {
    match change {
        Change::Put { key, text, .. } => {
            if model.get(&key).is_none_or(|(before, _)| *before != text) {
                model.insert(key, (text, revision));
            }
        }
        Change::Delete { key, .. } => drop(model.remove(&key)),
    }
}

/// The store's content as the model has it.
async fn content(store: &Arc<dyn Store>, filter: &Filter) -> (Model, u64) {
    let listing = store.list(filter).await.unwrap();
    assert!(listing.records.is_sorted_by(|a, b| a.key < b.key));
    let content = listing.records.into_iter().map(|r| (r.key, (r.text, r.version)));
    (content.collect(), listing.revision)
}

async fn agrees(store: Arc<dyn Store>, writes: Vec<Vec<Change>>) {
    let (mut model, mut revision) = (Model::new(), 0);
    let mut events = store.watch(0);
    let mut watched = Model::new();
    for write in writes {
        let mut after = model.clone();
        let mut all_hold = true;
        for change in &write {
            all_hold = all_hold && holds(&after, change);
            apply(&mut after, change.clone(), revision + 1);
        }
        let written = store.write(write.clone()).await;
        assert_eq!(written.is_ok(), all_hold, "{write:?} on {model:?}: {written:?}");
        if all_hold {
            revision += u64::from(model != after);
            model = after;
        }
        assert_eq!(written.map_or(revision, |written| written.revision), revision);
        assert_eq!(content(&store, &Filter::default()).await, (model.clone(), revision));
        while let Some(event) = events.next().now_or_never() {
            let Some(Event::Changed { changes, .. }) = event else { panic!("{event:?}") };
            for Changed { key, record } in changes {
                match record {
                    Some(record) => watched.insert(key, (record.text, record.version)),
                    None => watched.remove(&key),
                };
            }
        }
        assert_eq!(watched, model);
    }
    let filter = Filter { kind: Some("Secret".into()), mesh: Some("one".into()) };
    model.retain(|key, _| filter.matches(key));
    assert_eq!(content(&store, &filter).await.0, model);
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn memory_agrees_with_a_map(
        writes in prop::collection::vec(prop::collection::vec(changes(), 0..5), 0..20),
    ) {
        run(async { agrees(memory().await.store, writes).await });
    }

    #[test]
    fn sqlite_agrees_with_a_map(
        writes in prop::collection::vec(prop::collection::vec(changes(), 0..5), 0..20),
    ) {
        run(async {
            let Kept { store, _directory } = sqlite().await;
            agrees(store, writes).await;
        });
    }
}
