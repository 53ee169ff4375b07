//! What goes in and what comes out.
//!
//! `Debug` of these does not show texts, only their length: some of them are secrets.

use std::fmt;

use jiff::Timestamp;
use ursa_model::ResourceKey;

/// A resource as it is kept.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    /// Which resource.
    pub key: ResourceKey,
    /// The store's revision that last changed [`text`](Self::text). Never used again for this key.
    pub version: u64,
    /// When it was first written.
    pub created: Timestamp,
    /// When its text last changed.
    pub modified: Timestamp,
    /// The document exactly as written.
    pub text: String,
    /// Where it was written, if that is known.
    pub origin: Option<Origin>,
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, version, created, modified, text, origin } = self;
        f.debug_struct("Record")
            .field("key", key)
            .field("version", version)
            .field("created", created)
            .field("modified", modified)
            .field("text", &Length(text))
            .field("origin", origin)
            .finish()
    }
}

/// A text of which only the length is shown.
struct Length<'a>(&'a str);

impl fmt::Debug for Length<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{} bytes]", self.0.len())
    }
}

/// The place of a document in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The file's path, as the writer gave it.
    pub file: String,
    /// The document's first line, from 1.
    pub line: u32,
}

/// One change of one resource.
#[derive(Clone, PartialEq, Eq)]
pub enum Change {
    /// Makes or replaces it.
    Put {
        /// Which resource.
        key: ResourceKey,
        /// The document exactly as written.
        text: String,
        /// Where it was written, if that is known.
        origin: Option<Origin>,
        /// What must hold before.
        expect: Expect,
    },
    /// Removes it. Removing what is not there changes nothing, unless `expect` forbids.
    Delete {
        /// Which resource.
        key: ResourceKey,
        /// What must hold before.
        expect: Expect,
    },
}

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Put { key, text, origin, expect } => f
                .debug_struct("Put")
                .field("key", key)
                .field("text", &Length(text))
                .field("origin", origin)
                .field("expect", expect)
                .finish(),
            Self::Delete { key, expect } => {
                f.debug_struct("Delete").field("key", key).field("expect", expect).finish()
            }
        }
    }
}

impl Change {
    /// Makes or replaces a resource, whatever was there.
    pub fn put(key: ResourceKey, text: impl Into<String>) -> Self {
        Self::Put { key, text: text.into(), origin: None, expect: Expect::Any }
    }

    /// Removes a resource if it is there.
    pub fn delete(key: ResourceKey) -> Self {
        Self::Delete { key, expect: Expect::Any }
    }

    /// Which resource it changes.
    pub fn key(&self) -> &ResourceKey {
        match self {
            Self::Put { key, .. } | Self::Delete { key, .. } => key,
        }
    }
}

/// What must hold for a change to be made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Expect {
    /// Nothing.
    #[default]
    Any,
    /// The resource is not there; else [`AlreadyExists`](crate::StoreError::AlreadyExists).
    Absent,
    /// The resource is there; else [`NotFound`](crate::StoreError::NotFound).
    Present,
    /// The resource has this version; else [`Conflict`](crate::StoreError::Conflict).
    Version(u64),
}

/// Which records to list. The default lets all through.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only of this kind.
    pub kind: Option<String>,
    /// Only in this mesh; what is in no mesh is left out then.
    pub mesh: Option<String>,
}

impl Filter {
    /// Whether the resource is let through.
    pub fn matches(&self, key: &ResourceKey) -> bool {
        self.kind.as_ref().is_none_or(|kind| *kind == key.kind)
            && self.mesh.as_ref().is_none_or(|mesh| Some(mesh) == key.mesh.as_ref())
    }
}

/// Records of one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// Sorted by key.
    pub records: Vec<Record>,
    /// The moment; [`watch`](crate::Store::watch) from here.
    pub revision: u64,
}

/// What a write did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The store's revision after it; as before if nothing changed.
    pub revision: u64,
    /// For each change, in order, the record after it; none where there is none (any more).
    pub records: Vec<Option<Record>>,
}
