//! Peers that want the receiver's memory or time. Each is cut off, and others are served meanwhile.

use tokio_util::bytes::BufMut;

use super::*;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// A flood ends long before so many bytes.
const FLOOD: usize = 64 << 20;

/// A frame of HTTP/2.
fn h2(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    frame.put_uint(payload.len() as u64, 3);
    frame.put_u8(kind);
    frame.put_u8(flags);
    frame.put_u32(stream);
    frame.put_slice(payload);
    frame
}

/// The header of a call, in literals.
fn headers() -> Vec<u8> {
    let mut block = vec![0x83, 0x86];
    for (name, value) in
        [(":path", TRACES), (":authority", "x"), ("content-type", "application/grpc")]
    {
        block.extend([0, u8::try_from(name.len()).unwrap()]);
        block.extend(name.as_bytes());
        block.push(u8::try_from(value.len()).unwrap());
        block.extend(value.as_bytes());
    }
    block
}

/// Sends what `next` gives until the peer closes; says how many bytes went.
async fn flood(address: SocketAddr, mut next: impl FnMut(u32) -> Vec<u8>) -> usize {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut read, mut write) = stream.into_split();
    let reads = async { while matches!(read.read(&mut [0; 4096]).await, Ok(1..)) {} };
    let writes = async {
        let mut sent = PREFACE.len();
        if write.write_all(PREFACE).await.is_err() {
            return sent;
        }
        for round in 0.. {
            let bytes: Vec<u8> = (0..100).flat_map(|at| next(round * 100 + at)).collect();
            if sent > FLOOD || write.write_all(&bytes).await.is_err() {
                break;
            }
            sent += bytes.len();
        }
        sent
    };
    timeout(30 * SECOND, async { tokio::join!(reads, writes).1 }).await.unwrap()
}

fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_are_cut_off() {
    let (shelf, registry) = (Arc::new(Shelf::default()), Registry::new(&[]));
    let (receiver, address) = grpc(&shelf, Limits::default(), &registry).await;
    let before = resident();
    let odd = |at: u32| at * 2 + 1;
    type Next = Box<dyn FnMut(u32) -> Vec<u8> + Send>;
    let floods: [(&str, Next); 7] = [
        ("pings", Box::new(|_| h2(6, 0, 0, &[0; 8]))),
        ("settings", Box::new(|_| h2(4, 0, 0, &[0, 4, 0, 1, 0, 0]))),
        ("window updates", Box::new(|_| h2(8, 0, 0, &[0, 0, 0, 1]))),
        ("priorities", Box::new(|at| h2(2, 0, at | 1, &[0, 0, 0, 0, 1]))),
        (
            "rapid reset",
            Box::new(move |at| {
                [h2(1, 4, odd(at), &headers()), h2(3, 0, odd(at), &[0, 0, 0, 8])].concat()
            }),
        ),
        (
            "continuation",
            Box::new(|at| match at {
                0 => h2(1, 0, 1, &headers()),
                _ => h2(9, 0, 1, &[&[0, 1, b'x', 100][..], &[b'y'; 100]].concat()),
            }),
        ),
        (
            "empty data",
            Box::new(|at| match at {
                0 => h2(1, 4, 1, &headers()),
                _ => h2(0, 0, 1, &[]),
            }),
        ),
    ];
    for (name, next) in floods {
        let sent = flood(address, next).await;
        assert!(sent < FLOOD, "{name}: {sent} bytes went");
        let stream = TcpStream::connect(address).await.unwrap();
        assert_eq!(call(stream, TRACES, None, frame(0, &request(&[name]))).await.0, 0);
        let grown = resident().saturating_sub(before);
        assert!(grown < 32 << 20, "{name}: {grown} bytes more");
    }
    receiver.shutdown(SECOND).await;
}

#[tokio::test]
async fn endless_bodies_and_headers_are_cut_off() {
    let (shelf, registry) = (Arc::new(Shelf::default()), Registry::new(&[]));
    let limits = Limits { message: 10_000, ..Limits::default() };
    let (receiver, address) = http(&shelf, limits, &registry).await;
    let head = "POST /v1/traces HTTP/1.1\r\nhost: x\r\n";
    let chunked =
        format!("{head}content-type: application/x-protobuf\r\ntransfer-encoding: chunked\r\n\r\n");
    for (name, begin, piece, answer) in [
        ("body", &*chunked, &*format!("ff\r\n{}\r\n", "x".repeat(255)), "HTTP/1.1 413"),
        ("headers", head, "a: b\r\n", "HTTP/1.1 431"),
        ("line", "POST /", "x", "HTTP/1.1 4"),
    ] {
        let stream = TcpStream::connect(address).await.unwrap();
        let (mut read, mut write) = stream.into_split();
        write.write_all(begin.as_bytes()).await.unwrap();
        let writes = async {
            let pieces = piece.repeat(100);
            let mut sent = 0;
            while sent < FLOOD && write.write_all(pieces.as_bytes()).await.is_ok() {
                sent += pieces.len();
            }
            sent
        };
        let mut said = Vec::new();
        let reads = async { drop(read.read_to_end(&mut said).await) };
        let (sent, ()) = timeout(30 * SECOND, async { tokio::join!(writes, reads) }).await.unwrap();
        assert!(sent < FLOOD, "{name}");
        let said = String::from_utf8_lossy(&said);
        assert!(said.is_empty() || said.starts_with(answer), "{name}: {said}");
    }
    receiver.shutdown(SECOND).await;
}

#[tokio::test]
async fn a_handshake_that_does_not_end_is_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let authority = certificates::Authority::new(folder.path());
    authority.issue("server", Duration::from_hours(1));
    let files = ursa_pipeline::receive::ServerFiles {
        cert: authority.path("server.crt"),
        key: authority.path("server.key"),
        client_ca: None,
    };
    for tls in [None, Some(files)] {
        let limits =
            Limits { read: Duration::from_millis(200), connections: 1, ..Limits::default() };
        let settings = Settings { tls, limits, ..Settings::new(Protocol::OtlpHttp, local()) };
        let sink = Arc::new(Shelf::default()) as Arc<dyn Sink>;
        let receiver = settings.start(sink, &Registry::new(&[])).await.unwrap();
        let address = receiver.address().unwrap();
        // Each has the one place, until it is cut off.
        for bytes in [&b""[..], b"\x16\x03\x01\x02\x00\x01", b"PRI * HTTP/2", b"\0\0garbage"] {
            raw(address, bytes).await;
        }
        receiver.shutdown(SECOND).await;
    }
}
