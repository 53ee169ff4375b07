//! The service behind the proxies, and who asks it.

use std::io;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Duration, timeout};

/// Longer than anything takes here.
const PATIENCE: Duration = Duration::from_secs(15);

/// Serves on a port of its own.
pub(super) async fn serve(task: &mut JoinSet<()>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    task.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            connections.spawn(async { drop(answer(BufReader::new(stream)).await) });
            while connections.try_join_next().is_some() {}
        }
    });
    port
}

async fn answer(mut stream: BufReader<TcpStream>) -> io::Result<()> {
    loop {
        let mut line = String::new();
        let mut last = false;
        while line != "\r\n" {
            line.clear();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            last |= line.eq_ignore_ascii_case("connection: close\r\n");
        }
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        stream.get_mut().write_all(answer).await?;
        if last {
            return Ok(());
        }
    }
}

/// A request over a connection of its own; anything but success is an error.
pub(super) async fn get(port: u16) -> io::Result<()> {
    let asking = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        let request = b"GET / HTTP/1.1\r\nhost: back\r\nconnection: close\r\n\r\n";
        stream.write_all(request).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let good = answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok");
        if good { Ok(()) } else { Err(io::Error::other(format!("the answer was {answer:?}"))) }
    };
    timeout(PATIENCE, asking).await.map_err(io::Error::other)?
}
