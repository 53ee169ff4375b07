//! The file: its schema, and reading and writing it.
//!
//! | table | columns |
//! |---|---|
//! | `resource` | `kind`, `mesh` (empty: in none), `name` (the key); `version`; `created`, `modified` (RFC 3339); `text`; `file`, `line` (null: not known) |
//! | `revision` | `revision`, one row |
//!
//! `user_version` is the schema's version; `application_id` says that the file is Ursa's.

use std::io;
use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteLockingMode, SqliteRow, SqliteSynchronous,
};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _, Row as _};
use ursa_model::ResourceKey;

use crate::{Changed, Filter, Listing, OpenError, Origin, Record, StoreError};

/// The newest schema of a file that this version reads and writes.
pub const SCHEMA_VERSION: i64 = 1;

/// "Ursa" in ASCII.
const APPLICATION_ID: i64 = 0x5572_7361;

/// How long to wait for a predecessor that is just ending.
const LOCK_WAIT: Duration = Duration::from_millis(500);

const SCHEMA: &str = "
CREATE TABLE resource (
  kind TEXT NOT NULL, mesh TEXT NOT NULL, name TEXT NOT NULL,
  version INTEGER NOT NULL, created TEXT NOT NULL, modified TEXT NOT NULL,
  text TEXT NOT NULL, file TEXT, line INTEGER,
  PRIMARY KEY (kind, mesh, name)
) STRICT;
CREATE TABLE revision (revision INTEGER NOT NULL) STRICT;
INSERT INTO revision VALUES (0);
PRAGMA application_id = 0x55727361;
PRAGMA user_version = 1;
";

/// An open file, held exclusively.
#[derive(Debug)]
pub(super) struct File {
    connection: SqliteConnection,
    revision: u64,
}

impl File {
    pub(super) async fn open(path: &Path) -> Result<Self, OpenError> {
        match Self::try_open(path).await {
            Ok(file) => Ok(file),
            Err(Failure::Foreign) => Err(OpenError::Foreign { path: path.to_owned() }),
            Err(Failure::Newer { found }) => {
                Err(OpenError::Newer { path: path.to_owned(), found, known: SCHEMA_VERSION })
            }
            Err(Failure::Other(source)) => match code(source.as_ref()) {
                Some(SQLITE_BUSY) => Err(OpenError::InUse { path: path.to_owned() }),
                Some(SQLITE_NOTADB) => Err(OpenError::Foreign { path: path.to_owned() }),
                _ => Err(OpenError::Unavailable { path: path.to_owned(), source }),
            },
        }
    }

    async fn try_open(path: &Path) -> Result<Self, Failure> {
        // Absolute, since SQLite takes `file:…` for a URL.
        let path = std::path::absolute(path)?;
        create(&path).await?;
        let mut connection = SqliteConnectOptions::new()
            .filename(path)
            .locking_mode(SqliteLockingMode::Exclusive)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(LOCK_WAIT)
            .disable_statement_logging()
            .connect()
            .await?;
        // Locks before it looks, and looks before it changes anything.
        let mut transaction = connection.begin_with("BEGIN EXCLUSIVE").await?;
        let number = |sql: &'static str| sqlx::query_scalar::<_, i64>(sql);
        let application =
            number("SELECT application_id FROM pragma_application_id").fetch_one(&mut *transaction);
        let application = application.await?;
        let tables = number("SELECT count(*) FROM sqlite_schema").fetch_one(&mut *transaction);
        match (application, tables.await?) {
            (APPLICATION_ID, _) => {}
            (0, 0) => {
                transaction.execute(SCHEMA).await?;
            }
            _ => return Err(Failure::Foreign),
        }
        let found = number("SELECT user_version FROM pragma_user_version");
        let found = found.fetch_one(&mut *transaction).await?;
        if found > SCHEMA_VERSION {
            return Err(Failure::Newer { found });
        }
        let revision = number("SELECT revision FROM revision").fetch_one(&mut *transaction).await?;
        transaction.commit().await?;
        let mode: String =
            sqlx::query_scalar("PRAGMA journal_mode = WAL").fetch_one(&mut connection).await?;
        if mode != "wal" {
            return Err(Failure::Other(format!("no write-ahead log here, only {mode}").into()));
        }
        Ok(Self { connection, revision: u64::try_from(revision)? })
    }

    /// The revision of the last write.
    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    pub(super) async fn get(&mut self, key: &ResourceKey) -> Result<Option<Record>, StoreError> {
        let row = sqlx::query("SELECT * FROM resource WHERE kind = ?1 AND mesh = ?2 AND name = ?3")
            .bind(&key.kind)
            .bind(mesh(key))
            .bind(&key.name)
            .fetch_optional(&mut self.connection)
            .await
            .map_err(StoreError::unavailable)?;
        row.as_ref().map(record).transpose().map_err(StoreError::unavailable)
    }

    pub(super) async fn list(&mut self, filter: &Filter) -> Result<Listing, StoreError> {
        let rows = sqlx::query(
            "SELECT * FROM resource
             WHERE (?1 IS NULL OR kind = ?1) AND (?2 IS NULL OR mesh = ?2)
             ORDER BY kind, mesh, name",
        )
        .bind(&filter.kind)
        .bind(&filter.mesh)
        .fetch_all(&mut self.connection)
        .await
        .map_err(StoreError::unavailable)?;
        let records = rows.iter().map(record).collect::<Result<_, _>>();
        Ok(Listing { records: records.map_err(StoreError::unavailable)?, revision: self.revision })
    }

    /// Makes the changes, and the revision theirs, in one transaction.
    pub(super) async fn commit(
        &mut self,
        revision: u64,
        changes: &[Changed],
    ) -> Result<(), StoreError> {
        self.try_commit(revision, changes).await.map_err(StoreError::unavailable)?;
        self.revision = revision;
        Ok(())
    }

    async fn try_commit(&mut self, revision: u64, changes: &[Changed]) -> Result<(), BoxError> {
        let mut transaction = self.connection.begin().await?;
        for Changed { key, record } in changes {
            let query = match record {
                Some(record) => sqlx::query(
                    "INSERT OR REPLACE INTO resource
                     (kind, mesh, name, version, created, modified, text, file, line)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                )
                .bind(&key.kind)
                .bind(mesh(key))
                .bind(&key.name)
                .bind(i64::try_from(record.version)?)
                .bind(record.created.to_string())
                .bind(record.modified.to_string())
                .bind(&record.text)
                .bind(record.origin.as_ref().map(|origin| origin.file.as_str()))
                .bind(record.origin.as_ref().map(|origin| origin.line)),
                None => {
                    sqlx::query("DELETE FROM resource WHERE kind = ?1 AND mesh = ?2 AND name = ?3")
                        .bind(&key.kind)
                        .bind(mesh(key))
                        .bind(&key.name)
                }
            };
            query.execute(&mut *transaction).await?;
        }
        sqlx::query("UPDATE revision SET revision = ?1")
            .bind(i64::try_from(revision)?)
            .execute(&mut *transaction)
            .await?;
        Ok(transaction.commit().await?)
    }
}

/// Makes a new file for its owner only, since resources may be secrets. SQLite gives the files
/// beside it the same mode. One that exists is not touched: closing it would drop SQLite's locks.
async fn create(path: &Path) -> io::Result<()> {
    let created =
        tokio::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).await;
    match created {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

fn mesh(key: &ResourceKey) -> &str {
    key.mesh.as_deref().unwrap_or_default()
}

fn record(row: &SqliteRow) -> Result<Record, BoxError> {
    let mesh: String = row.try_get("mesh")?;
    let file: Option<String> = row.try_get("file")?;
    let line: Option<u32> = row.try_get("line")?;
    Ok(Record {
        key: ResourceKey {
            kind: row.try_get("kind")?,
            mesh: (!mesh.is_empty()).then_some(mesh),
            name: row.try_get("name")?,
        },
        version: row.try_get::<i64, _>("version")?.try_into()?,
        created: row.try_get::<String, _>("created")?.parse()?,
        modified: row.try_get::<String, _>("modified")?.parse()?,
        text: row.try_get("text")?,
        origin: file.zip(line).map(|(file, line)| Origin { file, line }),
    })
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

enum Failure {
    Foreign,
    Newer { found: i64 },
    Other(BoxError),
}

impl<E: Into<BoxError>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Other(error.into())
    }
}

const SQLITE_BUSY: i32 = 5;
const SQLITE_NOTADB: i32 = 26;

/// The primary result code of SQLite, if it is SQLite that failed.
fn code(error: &(dyn std::error::Error + 'static)) -> Option<i32> {
    let code = error.downcast_ref::<sqlx::Error>()?.as_database_error()?.code()?;
    Some(code.parse::<i32>().ok()? & 0xff)
}
