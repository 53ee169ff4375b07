//! The bytes of a connection, whatever carries them.

use tokio::io::{AsyncRead, AsyncWrite};

/// A connection's bytes.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}
