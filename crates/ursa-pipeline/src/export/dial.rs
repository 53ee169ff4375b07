//! How bytes travel: TCP to the first address of a host that answers.
//!
//! Names are looked up for each connection. Of several addresses, IPv6 and IPv4 take turns, and each
//! has a quarter of a second before the next is tried beside it (RFC 8305, "Connection Attempts").

use std::collections::VecDeque;
use std::fmt::Debug;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use async_trait::async_trait;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::stream::Stream;

/// How long an address has before the next is tried beside it.
const HEAD_START: Duration = Duration::from_millis(250);
/// Addresses of one host that are tried.
const MAX_ADDRESSES: usize = 16;

/// How bytes travel to a backend.
#[async_trait]
pub(crate) trait Dial: Debug + Send + Sync {
    /// Connects to `host`, a name or an address without brackets.
    async fn dial(&self, host: &str, port: u16) -> io::Result<Box<dyn Stream>>;
}

/// Plain TCP.
#[derive(Debug)]
pub(crate) struct Tcp;

/// A host has no address.
#[derive(Debug, Error)]
#[error("look up {host}: {reason}")]
pub(crate) struct LookupError {
    host: String,
    reason: String,
}

#[async_trait]
impl Dial for Tcp {
    async fn dial(&self, host: &str, port: u16) -> io::Result<Box<dyn Stream>> {
        let addresses = addresses(host, port).await.map_err(io::Error::other)?;
        let stream = connect(addresses).await?;
        stream.set_nodelay(true)?;
        Ok(Box::new(stream))
    }
}

/// The addresses of a host, in the order in which they are tried.
pub(crate) async fn addresses(host: &str, port: u16) -> Result<Vec<SocketAddr>, LookupError> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![(address, port).into()]);
    }
    let failed = |reason| LookupError { host: host.to_owned(), reason };
    let found = tokio::net::lookup_host((host, port)).await;
    let found: Vec<_> = found.map_err(|error| failed(error.to_string()))?.collect();
    if found.is_empty() {
        return Err(failed("it has no address".to_owned()));
    }
    Ok(in_turns(found))
}

/// The family of the first address begins; then the families take turns.
fn in_turns(found: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v6 = found.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (VecDeque<_>, VecDeque<_>) =
        found.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
    let mut families = [first, second];
    let mut order = Vec::new();
    while families.iter().any(|family| !family.is_empty()) && order.len() < MAX_ADDRESSES {
        order.extend(families.iter_mut().filter_map(VecDeque::pop_front));
    }
    order
}

/// A connection to the address that answers first.
///
/// # Errors
/// None did; the error is the first one.
pub(crate) async fn connect(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut waiting = VecDeque::from(addresses);
    let mut attempts = JoinSet::new();
    let mut failed = None;
    loop {
        if let Some(address) = waiting.pop_front() {
            attempts.spawn(TcpStream::connect(address));
        }
        tokio::select! {
            ended = attempts.join_next() => match ended {
                Some(Ok(Ok(stream))) => return Ok(stream),
                Some(Ok(Err(error))) => failed = failed.or(Some(error)),
                Some(Err(error)) => failed = failed.or(Some(error.into())),
                None => return Err(failed.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into())),
            },
            () = sleep(HEAD_START), if !waiting.is_empty() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns() {
        let parse = |text: &str| format!("{text}:1").parse::<SocketAddr>().unwrap();
        let found = ["[::1]", "[::2]", "[::3]", "10.0.0.1", "10.0.0.2"].map(parse).to_vec();
        let expected = ["[::1]", "10.0.0.1", "[::2]", "10.0.0.2", "[::3]"].map(parse);
        assert_eq!(in_turns(found), expected);
        assert_eq!(in_turns(Vec::new()), []);
    }

    #[tokio::test]
    async fn the_address_that_answers_is_found() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let there = listener.local_addr().unwrap();
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let stream = connect(vec![closed, there]).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), there);
        let refused = connect(vec![closed]).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        let none = addresses("host.invalid", 1).await.unwrap_err().to_string();
        assert!(none.starts_with("look up host.invalid: "), "{none}");
    }
}
