//! Listening sockets of either kind.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::{TcpListener, UnixListener};

use super::{Bind, BindError};
use crate::stream::Stream;

/// A socket that accepts connections.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix {
        listener: UnixListener,
        #[expect(dead_code, reason = "it is held to be dropped with the listener")]
        file: SocketFile,
    },
}

/// The file of a Unix socket. It goes away with the socket, unless another took its place.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl Listener {
    /// Listens, and says on which address it does if on TCP.
    pub(super) async fn open(bind: Bind) -> Result<(Self, Option<SocketAddr>), BindError> {
        let at = bind.to_string();
        let error = |source| BindError { at, source };
        match bind {
            Bind::Tcp(address) => {
                let listener = TcpListener::bind(address).await;
                let bound = listener.and_then(|listener| Ok((listener.local_addr()?, listener)));
                let (address, listener) = bound.map_err(error)?;
                Ok((Self::Tcp(listener), Some(address)))
            }
            Bind::Unix(path) => {
                let (listener, file) = unix(path).map_err(error)?;
                Ok((Self::Unix { listener, file }, None))
            }
        }
    }

    pub(super) async fn accept(&self) -> io::Result<Box<dyn Stream>> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok(Box::new(stream))
            }
            Self::Unix { listener, .. } => Ok(Box::new(listener.accept().await?.0)),
        }
    }
}

fn unix(path: PathBuf) -> io::Result<(UnixListener, SocketFile)> {
    match std::fs::symlink_metadata(&path) {
        Ok(there) if there.file_type().is_socket() => std::fs::remove_file(&path)?,
        Ok(_) => {
            let wrong = "a file is there that is no socket";
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, wrong));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let listener = UnixListener::bind(&path)?;
    let identity = identity(&path)?;
    let file = SocketFile { path, identity };
    std::fs::set_permissions(&file.path, std::fs::Permissions::from_mode(0o600))?;
    Ok((listener, file))
}

/// Device and inode.
fn identity(path: &Path) -> io::Result<(u64, u64)> {
    std::fs::symlink_metadata(path).map(|file| (file.dev(), file.ino()))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let is_own = identity(&self.path).is_ok_and(|identity| identity == self.identity);
        if is_own && let Err(error) = std::fs::remove_file(&self.path) {
            tracing::debug!(path = %self.path.display(), %error, "remove a socket's file");
        }
    }
}
