//! The load: requests at a rate that does not wait for answers.
//!
//! Each connection has a thread and a timetable of its own. A request that is due while the one before is under way
//! counts from when it was due: whoever is slow is seen to be slow.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use tokio::time::Instant;

use crate::bench::process::pause;

/// Connections to the proxy.
const CONNECTIONS: u32 = 32;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest head of an answer, with its body.
const LONGEST: usize = 8 << 10;

/// Requests under way, on connections of their own.
#[derive(Debug)]
pub(in crate::bench) struct Load {
    answers: Arc<AtomicU64>,
    clients: Vec<JoinHandle<anyhow::Result<Vec<f64>>>>,
}

impl Load {
    /// Connects, and begins: so many requests a second, or as fast as they are answered, for a time. Each has these
    /// headers, lines that end with `\r\n`, besides what a browser sends.
    pub(in crate::bench) fn start(
        target: SocketAddr,
        headers: &'static str,
        rate: Option<f64>,
        time: Duration,
    ) -> anyhow::Result<Self> {
        let answers = Arc::<AtomicU64>::default();
        let connections: anyhow::Result<Vec<TcpStream>> = (0..CONNECTIONS)
            .map(|_| {
                let connection = TcpStream::connect(target).context("connect to the proxy")?;
                connection.set_nodelay(true)?;
                connection.set_read_timeout(Some(PATIENCE))?;
                Ok(connection)
            })
            .collect();
        let begin = Instant::now();
        let clients = connections?
            .into_iter()
            .zip(0..)
            .map(|(connection, place)| {
                let between =
                    rate.map(|rate| Duration::from_secs_f64(f64::from(CONNECTIONS) / rate));
                let first = begin + between.unwrap_or_default() * place / CONNECTIONS;
                let answers = Arc::clone(&answers);
                let client = Client { connection, place, headers, answers };
                std::thread::spawn(move || client.run(first, between, begin + time))
            })
            .collect();
        Ok(Self { answers, clients })
    }

    /// Answers so far.
    pub(in crate::bench) fn answers(&self) -> u64 {
        self.answers.load(Relaxed)
    }

    /// Waits for the end: how long each request took, in milliseconds.
    pub(in crate::bench) fn end(self) -> anyhow::Result<Vec<f64>> {
        let mut all = Vec::new();
        for client in self.clients {
            match client.join() {
                Ok(latencies) => all.extend(latencies?),
                Err(_) => bail!("a client ended"),
            }
        }
        Ok(all)
    }
}

struct Client {
    connection: TcpStream,
    place: u32,
    headers: &'static str,
    answers: Arc<AtomicU64>,
}

impl Client {
    fn run(
        mut self,
        first: Instant,
        between: Option<Duration>,
        end: Instant,
    ) -> anyhow::Result<Vec<f64>> {
        let mut latencies = Vec::new();
        let mut due = first;
        for number in 0_u32.. {
            let now = Instant::now();
            if due.max(now) >= end {
                break;
            }
            pause(due.saturating_duration_since(now));
            // How late this thread wakes up is not the proxy's doing.
            let begun = if due > now { Instant::now() } else { due };
            self.ask(number)?;
            latencies.push(begun.elapsed().as_secs_f64() * 1e3);
            self.answers.fetch_add(1, Relaxed);
            due = match between {
                Some(between) => due + between,
                None => Instant::now(),
            };
        }
        Ok(latencies)
    }

    fn ask(&mut self, number: u32) -> anyhow::Result<()> {
        let request = format!(
            "GET /orders/{place}/{number}?expand=items HTTP/1.1\r\nhost: shop.example\r\n\
             user-agent: Mozilla/5.0 (X11; Linux x86_64)\r\naccept: application/json\r\n\
             accept-language: en\r\n{headers}\r\n",
            place = self.place,
            headers = self.headers,
        );
        self.connection.write_all(request.as_bytes()).context("ask the proxy")?;
        let mut buffer = [0; LONGEST];
        let mut filled = 0;
        loop {
            let read = self.connection.read(&mut buffer[filled..]).context("hear the proxy")?;
            ensure!(read > 0, "the proxy closed a connection, or answers at too great length");
            filled += read;
            if whole(&buffer[..filled]) {
                return Ok(());
            }
        }
    }
}

/// Whether it is an answer with all its body. Lengths are told in small letters, by proxies.
fn whole(answer: &[u8]) -> bool {
    let find = |text: &[u8]| answer.windows(text.len()).position(|window| window == text);
    let Some(head) = find(b"\r\n\r\n") else { return false };
    let digits = find(b"content-length: ").map(|at| &answer[at + 16..]).unwrap_or_default();
    let length = digits
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .fold(0, |length, digit| 10 * length + usize::from(digit - b'0'));
    answer.len() >= head + 4 + length
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_with_its_body() {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 12\r\nx: y\r\n\r\nhello, world";
        for length in 0..answer.len() {
            assert!(!whole(&answer[..length]), "{length}");
        }
        assert!(whole(answer));
        assert!(whole(b"HTTP/1.1 503 no\r\ncontent-length: 0\r\n\r\n"));
    }
}
