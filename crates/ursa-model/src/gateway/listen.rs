//! Where a receiver listens.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

/// A TCP address or a Unix socket.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Listen {
    /// `127.0.0.1:4317`, `[::]:4317`; port 0 takes a free one.
    Tcp(SocketAddr),
    /// `unix:/run/ursa/otlp.sock`.
    Unix(String),
}

/// A text that is neither.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListenError {
    /// No address.
    #[error("must be an IP address with a port, or `unix:` and the path of a socket")]
    Malformed,
    /// `unix:otlp.sock`.
    #[error("the path of a socket must be absolute")]
    RelativePath,
    /// Longer than the system takes.
    #[error("the path of a socket has at most {MAX_PATH} bytes")]
    LongPath,
}

/// `sun_path` of `unix(7)` without its end.
const MAX_PATH: usize = 107;

impl Listen {
    /// Whether only processes of this machine reach it.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().is_loopback(),
            Self::Unix(_) => true,
        }
    }

    /// Whether both would listen on the same: the same port on the same address, or on all.
    pub fn collides(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Tcp(one), Self::Tcp(other)) => {
                let all = one.ip().is_unspecified() || other.ip().is_unspecified();
                one.port() != 0 && one.port() == other.port() && (all || one.ip() == other.ip())
            }
            (Self::Unix(one), Self::Unix(other)) => one == other,
            _ => false,
        }
    }
}

impl FromStr for Listen {
    type Err = ListenError;

    fn from_str(text: &str) -> Result<Self, ListenError> {
        match text.strip_prefix("unix:") {
            Some(path) if !path.starts_with('/') => Err(ListenError::RelativePath),
            Some(path) if path.len() > MAX_PATH => Err(ListenError::LongPath),
            Some(path) => Ok(Self::Unix(path.to_owned())),
            None => text.parse().map(Self::Tcp).map_err(|_| ListenError::Malformed),
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{path}"),
        }
    }
}
