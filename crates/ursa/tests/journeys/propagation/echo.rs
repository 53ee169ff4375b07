//! A service that answers with the headers that it received, and takes WebSockets; and who asks it.

use std::io;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::cases::List;

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
        let head = head(&mut stream).await?;
        if head.windows(19).any(|bytes| bytes.eq_ignore_ascii_case(b"\nupgrade: websocket")) {
            let switch = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n";
            stream.get_mut().write_all(switch.as_bytes()).await?;
            let (mut read, mut write) = stream.into_inner().into_split();
            tokio::io::copy(&mut read, &mut write).await?;
            return Ok(());
        }
        let start = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", head.len());
        stream.get_mut().write_all(&[start.as_bytes(), &head].concat()).await?;
    }
}

/// Up to the empty line.
pub(super) async fn head(stream: &mut BufReader<TcpStream>) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_until(b'\n', &mut head).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(head)
}

/// What a request with these headers becomes, over a connection of its own.
pub(super) async fn ask(port: u16, headers: &List) -> io::Result<List> {
    ask_for("/", port, headers).await
}

/// The same for a path.
pub(super) async fn ask_for(path: &str, port: u16, headers: &List) -> io::Result<List> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let mut request =
        format!("GET {path} HTTP/1.1\r\nhost: service\r\nconnection: close\r\n").into_bytes();
    for (name, value) in headers {
        request.extend_from_slice(&[name.as_bytes(), b": ", value, b"\r\n"].concat());
    }
    request.extend_from_slice(b"\r\n");
    stream.write_all(&request).await?;
    let mut stream = BufReader::new(stream);
    let answered = head(&mut stream).await?;
    if !answered.starts_with(b"HTTP/1.1 200") {
        return Err(io::Error::other(String::from_utf8_lossy(&answered).into_owned()));
    }
    let mut body = Vec::new();
    stream.read_to_end(&mut body).await?;
    Ok(read(&body))
}

/// The headers that the service answered with.
pub(super) fn read(body: &[u8]) -> List {
    let lines = body.split(|byte| *byte == b'\n').skip(1);
    let header = |line: &[u8]| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = String::from_utf8(line[..colon].to_ascii_lowercase()).ok()?;
        Some((name, line[colon + 1..].trim_ascii().to_vec()))
    };
    lines.filter_map(header).collect()
}
