//! Lists that change while requests flow, over HTTP/1.1 and HTTP/2, and a WebSocket is open: nothing fails, and no
//! request gets a context that is not its own.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use ursa_propagation::Format;

use super::echo::{head, read};
use super::{World, trace_of};

const CHANGES: usize = 20;
/// Lists that differ in what is read first, what is written, what is left. All have one format in common, so that a trace
/// goes on while one proxy has a list and the other the next.
const LISTS: [&str; 6] = [
    "w3c_tracecontext,b3",
    "datadog,w3c_tracecontext",
    "b3multi,b3,datadog,w3c_tracecontext",
    "w3c_tracecontext",
    "b3,w3c_tracecontext;strip",
    "w3c_tracecontext,w3c_baggage,b3,b3multi,datadog,xray,jaeger",
];
/// Requests under way at once, by either protocol.
const AT_ONCE: u64 = 4;
/// The formats that a request comes in, all of the same trace.
const BROUGHT: [Format; 4] =
    [Format::W3cTracecontext, Format::B3, Format::B3multi, Format::Datadog];

/// A request's headers: a trace of its own in every format.
fn brought(trace: u64) -> Vec<(&'static str, String)> {
    let (high, span) = (0x0a0b_0c0d_0000_0000_u64 | trace, trace << 8 | 1);
    let id = format!("{high:016x}{trace:016x}");
    vec![
        ("traceparent", format!("00-{id}-{span:016x}-01")),
        ("b3", format!("{id}-{span:016x}-1")),
        ("x-b3-traceid", id),
        ("x-b3-spanid", format!("{span:016x}")),
        ("x-b3-sampled", "1".to_owned()),
        ("x-datadog-trace-id", trace.to_string()),
        ("x-datadog-parent-id", span.to_string()),
        ("x-datadog-sampling-priority", "1".to_owned()),
        ("x-datadog-tags", format!("_dd.p.tid={high:016x}")),
    ]
}

/// The server had said that it takes no further request on this connection, and this one had not been begun: HTTP/2
/// (RFC 9113, 6.8) has clients ask again on another, as those of the field do by themselves.
fn never_begun(error: &(dyn Error + 'static)) -> bool {
    std::iter::successors(Some(error), |&cause| cause.source())
        .filter_map(|cause| cause.downcast_ref::<h2::Error>())
        .any(|it| it.is_go_away() && it.is_remote() && it.reason() == Some(h2::Reason::NO_ERROR))
}

/// Asks again and again until told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    tasks: JoinSet<Vec<String>>,
}

impl Load {
    fn start(port: u16) -> Self {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut tasks = JoinSet::new();
        for http2 in [false, true] {
            let client: Client<_, Empty<Bytes>> =
                Client::builder(TokioExecutor::new()).http2_only(http2).build_http();
            for number in 0..AT_ONCE {
                let (stop, answered, client) =
                    (Arc::clone(&stop), Arc::clone(&answered), client.clone());
                let mut trace = (u64::from(http2) * AT_ONCE + number + 1) << 24;
                tasks.spawn(async move {
                    let mut failures = Vec::new();
                    while !stop.load(Ordering::Relaxed) {
                        trace += 1;
                        let request = brought(trace).into_iter().fold(
                            Request::get(format!("http://127.0.0.1:{port}/")),
                            |it, (name, value)| it.header(name, value),
                        );
                        let asked = client.request(request.body(Empty::new()).unwrap());
                        match asked.await {
                            Ok(answer) if answer.status() == 200 => {
                                let body = answer.into_body().collect().await.unwrap().to_bytes();
                                let received = read(&body);
                                let others =
                                    BROUGHT.iter().filter_map(|it| trace_of(&received, *it));
                                let mixed = others.filter(|other| *other != trace).count();
                                let kept =
                                    BROUGHT.iter().any(|it| trace_of(&received, *it).is_some());
                                if mixed > 0 || !kept {
                                    failures.push(format!("{trace:x} became {received:?}"));
                                }
                                answered.fetch_add(1, Ordering::Relaxed);
                            }
                            Ok(answer) => {
                                let status = answer.status();
                                let body = answer
                                    .into_body()
                                    .collect()
                                    .await
                                    .map(http_body_util::Collected::to_bytes);
                                failures.push(format!("{status} {body:?}"));
                            }
                            Err(error) if never_begun(&error) => {}
                            Err(error) => failures.push(format!("{error:?}")),
                        }
                    }
                    failures
                });
            }
        }
        Self { stop, answered, tasks }
    }

    async fn stop(self) -> (u64, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        let failures = self.tasks.join_all().await.into_iter().flatten().collect();
        (self.answered.load(Ordering::Relaxed), failures)
    }
}

/// An open WebSocket; what is sent comes back.
struct Socket(BufReader<TcpStream>);

impl Socket {
    async fn open(port: u16) -> Self {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let upgrade = "GET /socket HTTP/1.1\r\nhost: service\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                       sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        stream.write_all(upgrade.as_bytes()).await.unwrap();
        let mut stream = BufReader::new(stream);
        let answer = head(&mut stream).await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer));
        Self(stream)
    }

    async fn echoes(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).await.unwrap();
        let mut back = vec![0; text.len()];
        let read = timeout(Duration::from_secs(10), self.0.read_exact(&mut back));
        read.await.expect("in time").expect("the socket is open");
        assert_eq!(back, text.as_bytes());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_change_under_load_and_no_request_fails_or_gets_anothers_context() {
    let world = World::start(&["--concurrency", "3"]).await;
    world.propagate(LISTS[0]).await;
    let mut sockets = [Socket::open(world.through).await, Socket::open(world.direct).await];
    let load = Load::start(world.through);
    for number in 1..=CHANGES {
        let list = LISTS[number % LISTS.len()];
        world.apply(ursa_propagation::Formats::parse(list.as_bytes()).unwrap());
        let before = load.answered.load(Ordering::Relaxed);
        let patience = async {
            while load.answered.load(Ordering::Relaxed) < before + 200 {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(Duration::from_secs(30), patience).await.expect("requests are answered");
        for socket in &mut sockets {
            socket.echoes(&format!("list {number}")).await;
        }
    }
    let (answered, failures) = load.stop().await;
    assert_eq!(failures, [""; 0], "of {answered}");
    assert!(answered > 4_000, "{answered}");
    for socket in &mut sockets {
        socket.echoes("the end").await;
    }
}
