//! What only a file does.

use std::os::unix::fs::PermissionsExt as _;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, Executor as _};

use super::*;
use crate::{OpenError, SCHEMA_VERSION};

#[tokio::test]
async fn what_was_written_is_there_when_opened_again() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("ursa.db");
    let mut before = None;
    for round in 1..=3_u64 {
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&path).await.unwrap());
        let found = store.list(&Filter::default()).await.unwrap();
        assert_eq!(found.revision, round - 1);
        assert_eq!(found.records.last().cloned(), before);
        // Nothing is known of writes before, so that a watch from there must list again.
        if round > 1 {
            assert_eq!(next(&mut store.watch(0)).await, Event::Resync);
        }
        before = Some(put_one(&store, "a", &round.to_string()).await);
    }
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn a_file_in_use_is_refused_in_words_until_it_is_free() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("ursa.db");
    let first = SqliteStore::open(&path).await.unwrap();
    for _ in 0..2 {
        let error = SqliteStore::open(&path).await.unwrap_err();
        assert!(matches!(error, OpenError::InUse { .. }), "{error:?}");
        assert!(error.to_string().contains("is a control plane running on this data directory?"));
        // The refusal has not loosened the first one's hold.
        first.write(vec![Change::put(key("a"), "text")]).await.unwrap();
    }
    drop(first);
    SqliteStore::open(&path).await.unwrap();
}

#[tokio::test]
async fn a_newer_file_is_refused_and_not_touched() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("ursa.db");
    drop(SqliteStore::open(&path).await.unwrap());
    let newer = SCHEMA_VERSION + 1;
    run(&path, &format!("PRAGMA user_version = {newer}")).await;
    let error = SqliteStore::open(&path).await.unwrap_err();
    assert!(
        matches!(error, OpenError::Newer { found, known, .. } if (found, known) == (newer, newer - 1)),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_file_of_something_else_is_refused_and_not_touched() {
    let directory = TempDir::new().unwrap();
    let text = directory.path().join("notes.txt");
    std::fs::write(&text, "not a database, but long enough to be looked at ".repeat(40)).unwrap();
    let database = directory.path().join("theirs.db");
    std::fs::write(&database, "").unwrap();
    run(&database, "CREATE TABLE theirs (a)").await;
    for path in [text, database] {
        let before = std::fs::read(&path).unwrap();
        let error = SqliteStore::open(&path).await.unwrap_err();
        assert!(matches!(error, OpenError::Foreign { .. }), "{error:?}");
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_made_is_an_error_with_its_cause() {
    let directory = TempDir::new().unwrap();
    let error = SqliteStore::open(directory.path().join("none/ursa.db")).await.unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(matches!(error, OpenError::Unavailable { .. }) && cause.contains("No such file"));
}

#[tokio::test]
async fn a_write_whose_caller_went_away_is_told_to_watchers() {
    let Kept { store, _directory } = sqlite().await;
    let mut events = store.watch(0);
    assert!(store.write(vec![Change::put(key("a"), "text")]).now_or_never().is_none());
    assert!(matches!(next(&mut events).await, Event::Changed { revision: 1, .. }));
    assert_eq!(names(&store, Filter::default()).await, ["a"]);
}

/// Runs SQL on a file, once it is free.
async fn run(path: &std::path::Path, sql: &str) {
    let options = SqliteConnectOptions::new().filename(path).busy_timeout(Duration::from_secs(10));
    let mut connection = options.connect().await.unwrap();
    connection.execute(sqlx::AssertSqlSafe(sql.to_owned())).await.unwrap();
    connection.close().await.unwrap();
}
