//! What an application says of itself.

use std::time::Duration;

use bytes::Bytes;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use ursa_model::Authority;
use ursa_model::pipeline::metrics::Application;
use ursa_series::{APPLICATION_ACCEPT, Format};

use super::fetch::{Answer, FetchError};

/// How long an application may take to tell all.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// Most bytes that one may tell. They are in memory until it is its turn, so that a slow one delays none.
pub(super) const MAX_BYTES: usize = 8 * 1024 * 1024;

/// What an application said.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) format: Format,
    pub(super) pieces: Vec<Bytes>,
}

/// Asks an application until `deadline`.
pub(super) async fn ask(application: &Application, deadline: Instant) -> Result<Said, FetchError> {
    timeout_at(deadline, whole(application)).await.unwrap_or(Err(FetchError::Slow))
}

async fn whole(application: &Application) -> Result<Said, FetchError> {
    let Application { address, port, path, .. } = application;
    let stream = TcpStream::connect((address.as_str(), *port)).await?;
    let host = Authority { host: address, port: *port }.to_string();
    let mut answer = Answer::get(stream, &host, path, APPLICATION_ACCEPT).await?;
    let (mut pieces, mut length) = (Vec::new(), 0_usize);
    while let Some(piece) = answer.piece().await? {
        length = length.saturating_add(piece.len());
        if length > MAX_BYTES {
            return Err(FetchError::TooLarge(MAX_BYTES));
        }
        pieces.push(piece);
    }
    Ok(Said { format: Format::of(&answer.content_type), pieces })
}
