//! Listening sockets of either kind.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use tokio::net::{TcpListener, UnixListener};

use super::{Bind, BindError};
use crate::stream::Stream;

/// A socket that accepts connections. A Unix socket's file goes away with it.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
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
                let listener = unix(&path).map_err(error)?;
                Ok((Self::Unix(listener, path), None))
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
            Self::Unix(listener, _) => Ok(Box::new(listener.accept().await?.0)),
        }
    }
}

fn unix(path: &std::path::Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Self::Unix(_, path) = self
            && let Err(error) = std::fs::remove_file(&*path)
        {
            tracing::debug!(path = %path.display(), %error, "socket file was gone");
        }
    }
}
