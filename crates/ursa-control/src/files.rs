//! Files of the data directory: readable by their owner only, and whole or absent.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// A file of the data directory that could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("use {}", path.display())]
pub struct FileError {
    path: PathBuf,
    source: io::Error,
}

/// Makes the directory, for its owner only, unless it is there.
pub(crate) fn make_dir(path: &Path) -> Result<(), FileError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(at(path))
}

/// The text of a file, or none where there is no such file. Permissions that let others read it
/// are taken away.
pub(crate) fn read(path: &Path) -> Result<Option<String>, FileError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(at(path)(error)),
    };
    let mode = fs::metadata(path).map_err(at(path))?.permissions().mode();
    if mode & 0o077 != 0 {
        tracing::warn!(path = %path.display(), "others could read this file; now its owner only");
        restrict(path)?;
    }
    Ok(Some(text))
}

/// Lets nobody but its owner read or write a file.
pub(crate) fn restrict(path: &Path) -> Result<(), FileError> {
    fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(at(path))
}

/// Writes a file as a whole: a crash leaves the old one or the new one.
pub(crate) fn write(path: &Path, text: &str) -> Result<(), FileError> {
    let beside = path.with_extension("new");
    let written = || -> io::Result<()> {
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.set_permissions(Permissions::from_mode(0o600))?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, path)?;
        path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
    };
    written().map_err(at(path))
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> FileError {
    let path = path.to_owned();
    move |source| FileError { path, source }
}
