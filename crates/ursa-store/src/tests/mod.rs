//! What every kind of store promises, tried on each.

mod crash;
mod model;
mod sqlite;

use std::sync::Arc;
use std::time::Duration;

use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _};
use tempfile::TempDir;
use tokio::task::JoinSet;
use ursa_model::ResourceKey;

use crate::{
    Change, Changed, Event, Expect, Filter, JOURNAL_BYTES, JOURNAL_WRITES, MemoryStore, Origin,
    SqliteStore, Store, StoreError,
};

/// A store, and the directory it lives in.
struct Kept {
    store: Arc<dyn Store>,
    _directory: Option<TempDir>,
}

async fn memory() -> Kept {
    Kept { store: Arc::new(MemoryStore::new()), _directory: None }
}

async fn sqlite() -> Kept {
    let directory = TempDir::new().unwrap();
    let store = SqliteStore::open(directory.path().join("ursa.db")).await.unwrap();
    Kept { store: Arc::new(store), _directory: Some(directory) }
}

macro_rules! on_every_kind {
    ($($test:ident)*) => { on_every_kind!{@ memory: $($test)*} on_every_kind!{@ sqlite: $($test)*} };
    (@ $kind:ident: $($test:ident)*) => {
        mod $kind {
            $(#[tokio::test]
            async fn $test() {
                let kept = super::super::$kind().await;
                super::$test(kept.store).await;
            })*
        }
    };
}

mod suite {
    use super::*;

    on_every_kind! {
        what_was_put_is_there_until_deleted
        a_lost_update_is_refused
        what_must_be_absent_or_present_is_refused_otherwise
        a_write_is_all_or_nothing
        a_write_sees_its_own_changes
        an_unchanged_text_keeps_its_version_and_is_no_event
        a_document_that_moved_keeps_its_version
        a_version_is_never_used_again
        listings_are_filtered_and_sorted
        a_watch_from_a_listing_misses_nothing
        a_watcher_far_behind_is_told_and_goes_on
        the_journal_is_bounded_in_bytes
        texts_are_not_shown
        a_watch_ends_with_the_store
        of_concurrent_updates_none_is_lost
        odd_texts_and_names_are_kept_as_they_are
    }

    async fn what_was_put_is_there_until_deleted(store: Arc<dyn Store>) {
        assert_eq!(store.get(&key("a")).await.unwrap(), None);
        let origin = Some(Origin { file: "mesh.yaml".into(), line: 7 });
        let put = Change::Put {
            key: key("a"),
            text: "one".into(),
            origin: origin.clone(),
            expect: Expect::Any,
        };
        let written = store.write(vec![put]).await.unwrap();
        let record = written.records[0].clone().unwrap();
        assert_eq!((record.text.as_str(), record.version, written.revision), ("one", 1, 1));
        assert_eq!((record.created, &record.origin), (record.modified, &origin));
        assert_eq!(store.get(&key("a")).await.unwrap(), Some(record.clone()));

        let changed = put_one(&store, "a", "two").await;
        assert_eq!((changed.version, changed.created, changed.origin), (2, record.created, None));
        assert!(changed.modified >= record.modified);

        let deleted = store.write(vec![Change::delete(key("a"))]).await.unwrap();
        assert_eq!((deleted.revision, deleted.records), (3, vec![None]));
        assert_eq!(store.get(&key("a")).await.unwrap(), None);
        let again = store.write(vec![Change::delete(key("a"))]).await.unwrap();
        assert_eq!(again.revision, 3);
    }

    async fn a_lost_update_is_refused(store: Arc<dyn Store>) {
        let first = put_one(&store, "a", "one").await.version;
        let second = put_one(&store, "a", "two").await.version;
        for change in
            [put_if("a", "mine", Expect::Version(first)), delete_if("a", Expect::Version(first))]
        {
            let error = store.write(vec![change]).await.unwrap_err();
            assert_eq!(
                error.to_string(),
                "Mesh a was changed meanwhile: expected version 1, found 2"
            );
        }
        // Also when the text would be the same.
        store.write(vec![put_if("a", "two", Expect::Version(first))]).await.unwrap_err();
        store.write(vec![put_if("a", "three", Expect::Version(second))]).await.unwrap();
        store.write(vec![Change::delete(key("a"))]).await.unwrap();
        let error = store.write(vec![put_if("a", "mine", Expect::Version(3))]).await.unwrap_err();
        assert!(matches!(error, StoreError::Conflict { expected: 3, found: None, .. }), "{error}");
    }

    async fn what_must_be_absent_or_present_is_refused_otherwise(store: Arc<dyn Store>) {
        for change in [put_if("a", "one", Expect::Present), delete_if("a", Expect::Present)] {
            let error = store.write(vec![change]).await.unwrap_err();
            assert_eq!(error.to_string(), "there is no Mesh a");
        }
        store.write(vec![put_if("a", "one", Expect::Absent)]).await.unwrap();
        let error = store.write(vec![put_if("a", "one", Expect::Absent)]).await.unwrap_err();
        assert_eq!(error.to_string(), "Mesh a exists already");
        store.write(vec![delete_if("a", Expect::Present)]).await.unwrap();
    }

    async fn a_write_is_all_or_nothing(store: Arc<dyn Store>) {
        put_one(&store, "old", "one").await;
        let before = store.list(&Filter::default()).await.unwrap();
        let mut events = store.watch(before.revision);
        let batch = vec![
            Change::put(key("new"), "one"),
            Change::delete(key("old")),
            put_if("old", "two", Expect::Present),
        ];
        store.write(batch).await.unwrap_err();
        assert_eq!(store.list(&Filter::default()).await.unwrap(), before);
        assert_eq!(events.next().now_or_never(), None);
    }

    async fn a_write_sees_its_own_changes(store: Arc<dyn Store>) {
        put_one(&store, "a", "one").await;
        let mut events = store.watch(1);
        let batch = vec![
            Change::delete(key("a")),
            put_if("a", "two", Expect::Absent),
            Change::put(key("b"), "brief"),
            delete_if("b", Expect::Present),
        ];
        let written = store.write(batch).await.unwrap();
        let text = |at: usize| written.records[at].as_ref().map(|record| record.text.as_str());
        assert_eq!([text(0), text(1), text(2), text(3)], [None, Some("two"), Some("brief"), None]);
        let record = written.records[1].clone();
        assert_eq!(
            next(&mut events).await,
            Event::Changed { revision: 2, changes: vec![Changed { key: key("a"), record }] }
        );
        assert_eq!(names(&store, Filter::default()).await, ["a"]);
    }

    async fn an_unchanged_text_keeps_its_version_and_is_no_event(store: Arc<dyn Store>) {
        let first = put_one(&store, "a", "one").await;
        let mut events = store.watch(1);
        let written = store.write(vec![Change::put(key("a"), "one")]).await.unwrap();
        assert_eq!((written.revision, &written.records[0]), (1, &Some(first.clone())));
        // In a write that changes something else too.
        let batch = vec![Change::put(key("a"), "one"), Change::put(key("b"), "one")];
        assert_eq!(store.write(batch).await.unwrap().records[0], Some(first));
        let Event::Changed { changes, .. } = next(&mut events).await else { panic!("resync") };
        assert_eq!(changes.iter().map(|changed| &*changed.key.name).collect::<Vec<_>>(), ["b"]);
    }

    async fn a_document_that_moved_keeps_its_version(store: Arc<dyn Store>) {
        let first = put_one(&store, "a", "one").await;
        let mut events = store.watch(1);
        let origin = Some(Origin { file: "b.yaml".into(), line: 3 });
        let put = Change::Put {
            key: key("a"),
            text: "one".into(),
            origin: origin.clone(),
            expect: Expect::Version(1),
        };
        let moved = store.write(vec![put]).await.unwrap().records.remove(0).unwrap();
        assert_eq!((moved.version, moved.modified), (first.version, first.modified));
        let Event::Changed { revision: 2, changes } = next(&mut events).await else {
            panic!("no event of the move")
        };
        assert_eq!(changes, [Changed { key: key("a"), record: Some(moved) }]);
        assert_eq!(store.get(&key("a")).await.unwrap().unwrap().origin, origin);
    }

    async fn a_version_is_never_used_again(store: Arc<dyn Store>) {
        let first = put_one(&store, "a", "one").await;
        store.write(vec![Change::delete(key("a"))]).await.unwrap();
        let second = put_one(&store, "a", "one").await;
        assert!(second.version > first.version && second.created >= first.modified);
        store.write(vec![delete_if("a", Expect::Version(first.version))]).await.unwrap_err();
    }

    async fn listings_are_filtered_and_sorted(store: Arc<dyn Store>) {
        let keys = [
            ResourceKey::in_mesh("MeshTrace", "one", "b"),
            ResourceKey::in_mesh("Dataplane", "two", "a"),
            ResourceKey::in_mesh("MeshTrace", "one", "B"),
            ResourceKey::in_mesh("MeshTrace", "two", "a"),
            key("one"),
        ];
        let puts = keys.iter().map(|key| Change::put(key.clone(), "text")).collect();
        store.write(puts).await.unwrap();
        let mut sorted = keys.to_vec();
        sorted.sort();
        let all = store.list(&Filter::default()).await.unwrap().records;
        assert_eq!(all.into_iter().map(|record| record.key).collect::<Vec<_>>(), sorted);
        let filter = |kind: Option<&str>, mesh: Option<&str>| Filter {
            kind: kind.map(str::to_owned),
            mesh: mesh.map(str::to_owned),
        };
        assert_eq!(names(&store, filter(Some("MeshTrace"), None)).await, ["B", "b", "a"]);
        assert_eq!(names(&store, filter(None, Some("two"))).await, ["a", "a"]);
        assert_eq!(names(&store, filter(Some("Dataplane"), Some("one"))).await, [""; 0]);
        assert_eq!(names(&store, filter(Some("Mesh"), None)).await, ["one"]);
    }

    async fn a_watch_from_a_listing_misses_nothing(store: Arc<dyn Store>) {
        put_one(&store, "a", "0").await;
        let listing = store.list(&Filter::default()).await.unwrap();
        // Before the watch begins …
        put_one(&store, "a", "1").await;
        let mut events = store.watch(listing.revision);
        let mut late = store.watch(listing.revision);
        let seen = |event| match event {
            Event::Changed { revision, changes } => {
                (revision, changes[0].record.clone().map(|record| record.text))
            }
            Event::Resync => panic!("resync"),
        };
        assert_eq!(seen(next(&mut events).await), (2, Some("1".to_owned())));
        assert_eq!(events.next().now_or_never(), None);
        // … while it waits …
        let (event, _) = tokio::join!(next(&mut events), put_one(&store, "a", "2"));
        assert_eq!(seen(event), (3, Some("2".to_owned())));
        // … and while nobody reads.
        store.write(vec![Change::delete(key("a"))]).await.unwrap();
        assert_eq!(seen(next(&mut events).await), (4, None));
        for expected in [(2, Some("1")), (3, Some("2")), (4, None)] {
            let (revision, text) = seen(next(&mut late).await);
            assert_eq!((revision, text.as_deref()), expected);
        }
    }

    async fn a_watcher_far_behind_is_told_and_goes_on(store: Arc<dyn Store>) {
        let mut slow = store.watch(0);
        let writes = JOURNAL_WRITES as u64 + 1;
        for number in 0..writes {
            put_one(&store, "a", &number.to_string()).await;
        }
        let mut just_in_time = store.watch(1);
        assert!(matches!(next(&mut just_in_time).await, Event::Changed { revision: 2, .. }));
        assert_eq!(next(&mut slow).await, Event::Resync);
        assert_eq!(slow.next().now_or_never(), None);
        put_one(&store, "a", "last").await;
        let Event::Changed { revision, .. } = next(&mut slow).await else { panic!("resync") };
        assert_eq!(revision, writes + 1);
        // A revision of another store's life.
        assert_eq!(next(&mut store.watch(u64::MAX)).await, Event::Resync);
    }

    async fn the_journal_is_bounded_in_bytes(store: Arc<dyn Store>) {
        let mut events = store.watch(0);
        let half = "x".repeat(JOURNAL_BYTES / 2);
        for name in ["a", "b", "c"] {
            put_one(&store, name, &half).await;
        }
        assert_eq!(next(&mut events).await, Event::Resync);
        put_one(&store, "d", "small").await;
        assert!(matches!(next(&mut events).await, Event::Changed { revision: 4, .. }));
        // What is not text counts as well.
        for name in ["e", "f", "g"] {
            let origin = Some(Origin { file: half.clone(), line: 1 });
            let (text, expect) = (String::new(), Expect::Any);
            store.write(vec![Change::Put { key: key(name), text, origin, expect }]).await.unwrap();
        }
        assert_eq!(next(&mut events).await, Event::Resync);
    }

    async fn texts_are_not_shown(store: Arc<dyn Store>) {
        let change = put_if("a", "hush", Expect::Any);
        let shown = format!("{change:?}");
        let written = store.write(vec![change]).await;
        let shown = format!("{shown}{written:?}{:?}{store:?}", next(&mut store.watch(0)).await);
        assert!(!shown.contains("hush"), "{shown}");
    }

    async fn a_watch_ends_with_the_store(store: Arc<dyn Store>) {
        let mut events = store.watch(0);
        put_one(&store, "a", "one").await;
        drop(store);
        assert!(matches!(next(&mut events).await, Event::Changed { revision: 1, .. }));
        let end = tokio::time::timeout(Duration::from_secs(10), events.next()).await;
        assert_eq!(end, Ok(None));
    }

    async fn of_concurrent_updates_none_is_lost(store: Arc<dyn Store>) {
        put_one(&store, "count", "0").await;
        let mut writers = JoinSet::new();
        for _ in 0..8 {
            let store = Arc::clone(&store);
            writers.spawn(async move {
                let mut done = 0;
                while done < 10 {
                    let record = store.get(&key("count")).await.unwrap().unwrap();
                    let next = record.text.parse::<u32>().unwrap() + 1;
                    let expect = Expect::Version(record.version);
                    tokio::task::yield_now().await;
                    match store.write(vec![put_if("count", &next.to_string(), expect)]).await {
                        Ok(_) => done += 1,
                        Err(StoreError::Conflict { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            });
        }
        writers.join_all().await;
        assert_eq!(store.get(&key("count")).await.unwrap().unwrap().text, "80");
    }

    async fn odd_texts_and_names_are_kept_as_they_are(store: Arc<dyn Store>) {
        for (name, text) in
            [("'; DROP TABLE resource; --", ""), ("ä/ö ü", "a\0b\r\n\u{1F43B}"), ("%_", "é")]
        {
            put_one(&store, name, text).await;
            assert_eq!(store.get(&key(name)).await.unwrap().unwrap().text, text);
        }
        assert_eq!(names(&store, Filter::default()).await.len(), 3);
    }
}

fn key(name: &str) -> ResourceKey {
    ResourceKey::global("Mesh", name)
}

fn put_if(name: &str, text: &str, expect: Expect) -> Change {
    Change::Put { key: key(name), text: text.to_owned(), origin: None, expect }
}

fn delete_if(name: &str, expect: Expect) -> Change {
    Change::Delete { key: key(name), expect }
}

async fn put_one(store: &Arc<dyn Store>, name: &str, text: &str) -> crate::Record {
    let written = store.write(vec![Change::put(key(name), text)]).await.unwrap();
    written.records.into_iter().next().unwrap().unwrap()
}

async fn names(store: &Arc<dyn Store>, filter: Filter) -> Vec<String> {
    let records = store.list(&filter).await.unwrap().records;
    records.into_iter().map(|record| record.key.name).collect()
}

async fn next(events: &mut BoxStream<'static, Event>) -> Event {
    let event = tokio::time::timeout(Duration::from_secs(10), events.next()).await;
    event.expect("an event within ten seconds").expect("the store is there")
}
