//! What can go wrong.

use std::path::PathBuf;

use ursa_model::ResourceKey;

/// Why a store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The resource has changed since the caller saw it.
    #[error("{key} was changed meanwhile: expected version {expected}, {}", found_version(*found))]
    Conflict {
        /// Which resource.
        key: ResourceKey,
        /// The version that the caller saw.
        expected: u64,
        /// The version there is; none when it was deleted.
        found: Option<u64>,
    },
    /// The resource should have been there.
    #[error("there is no {key}")]
    NotFound {
        /// Which resource.
        key: ResourceKey,
    },
    /// The resource should not have been there.
    #[error("{key} exists already")]
    AlreadyExists {
        /// Which resource.
        key: ResourceKey,
    },
    /// The store cannot be used now, or is damaged.
    #[error("the store is not available")]
    Unavailable {
        /// What its kind says.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

fn found_version(found: Option<u64>) -> String {
    found.map_or_else(|| "but it is gone".to_owned(), |version| format!("found {version}"))
}

impl StoreError {
    pub(crate) fn unavailable(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Unavailable { source: source.into() }
    }
}

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process holds the file; one control plane has one data directory.
    #[error(
        "{} is in use by another process; is a control plane running on this data directory?",
        path.display()
    )]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// A later Ursa wrote the file.
    #[error(
        "{} was written by a newer Ursa (schema {found}, this one knows {known}); \
         use that one or another data directory",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The schema version it has.
        found: i64,
        /// The newest schema version known here.
        known: i64,
    },
    /// The file is a database of something else.
    #[error("{} is not a store of Ursa", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// Anything else: no such directory, no permission, disk full, damage.
    #[error("open {}", path.display())]
    Unavailable {
        /// The file.
        path: PathBuf,
        /// What happened.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}
