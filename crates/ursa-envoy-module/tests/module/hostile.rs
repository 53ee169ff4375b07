//! Requests that nobody sane would send, through Envoy with several workers: all are answered, what goes on is of one
//! context in every format, and Envoy does not grow.
//!
//! 20,000 of them; `URSA_HOSTILE_REQUESTS=10000000` for the longer run.

use std::io::{BufReader, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::json;
use ursa_propagation::baggage::{BYTES_MAX, Member};
use ursa_propagation::{Format, Formats};

use crate::cases::{List, context};
use crate::envoy::{DEADLINE, Envoy, config, head, serve, socket};
use crate::loaded::written;

const LISTS: [&str; 5] = [
    "w3c_tracecontext,w3c_baggage,b3,b3multi,datadog,xray,jaeger",
    "jaeger,xray,datadog,b3multi,b3,w3c_tracecontext;ratio=500000;strip",
    "b3,w3c_tracecontext;ratio=1",
    "datadog,b3multi,w3c_tracecontext;strip",
    "w3c_tracecontext,b3\nin deny a\nout deny b*\nset team @x-other =core",
];
const CONNECTIONS: usize = 4;
/// Requests that are written before the answers are read.
const PIPELINED: usize = 32;
/// By how many KiB Envoy may have grown since a tenth was done.
const MAY_GROW: usize = 8 << 10;

/// What headers are made of.
const VALUES: [(&str, &[&str]); 17] = [
    (
        "traceparent",
        &[
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00-more",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        ],
    ),
    ("tracestate", &["dd=s:2;o:rum;t.dm:-4,ot=th:8,v=1", "a=1,b=2,,c", "ot=rv:1;th:zzz"]),
    (
        "b3",
        &[
            "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1-00f067aa0ba902b8",
            "a3ce929d0e0e4736-00f067aa0ba902b7",
            "0",
            "d",
        ],
    ),
    ("x-b3-traceid", &["4bf92f3577b34da6a3ce929d0e0e4736", "A3CE929D0E0E4736"]),
    ("x-b3-spanid", &["00f067aa0ba902b7"]),
    ("x-b3-parentspanid", &["00f067aa0ba902b8"]),
    ("x-b3-sampled", &["1", "0", "true"]),
    ("x-b3-flags", &["1", "0"]),
    ("x-datadog-trace-id", &["11803532876627986230", "18446744073709551616", "0"]),
    ("x-datadog-parent-id", &["67667974448284343"]),
    ("x-datadog-sampling-priority", &["2", "-1", "99999999999999999999"]),
    ("x-datadog-tags", &["_dd.p.tid=4bf92f3577b34da6,_dd.p.dm=-4", "_dd.p.tid=1,_dd.p.a=b=c,,="]),
    ("x-datadog-origin", &["rum", "synthetics"]),
    (
        "x-amzn-trace-id",
        &[
            "Root=1-4bf92f35-77b34da6a3ce929d0e0e4736;Parent=00f067aa0ba902b7;Sampled=1",
            "Root=1;;=",
        ],
    ),
    ("uber-trace-id", &["4bf92f3577b34da6a3ce929d0e0e4736:00f067aa0ba902b7:0:3", "1:1:1:1"]),
    ("baggage", &["a=1,b=2;p=q,c=%20%zz", "=,=,;", "team=forged,bb=1,d=2"]),
    ("x-other", &["nothing"]),
];

/// Xorshift: the same requests every time.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap() % limit
    }

    fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }

    /// A byte that HTTP lets into a value.
    fn byte(&mut self) -> u8 {
        match self.below(8) {
            0 => *self.of(b"-=:;,%0dD~_ \t"),
            1 => u8::try_from(0x80 + self.below(0x80)).unwrap(),
            _ => u8::try_from(0x21 + self.below(0x5e)).unwrap(),
        }
    }

    fn value(&mut self, template: &str) -> Vec<u8> {
        let mut value = template.as_bytes().to_vec();
        for _ in 0..self.below(4) {
            let at = self.below(value.len() + 1);
            match self.below(6) {
                0 => value.truncate(at),
                1 => value.insert(at, self.byte()),
                2 if at < value.len() => value[at] = self.byte(),
                3 if at < value.len() => drop(value.remove(at)),
                4 => value.extend_from_within(at..),
                _ if self.below(50) == 0 => {
                    let byte = self.byte();
                    value.resize(5_000, byte);
                }
                _ => {}
            }
        }
        value
    }

    fn request(&mut self) -> Vec<u8> {
        let mut request = b"GET /any HTTP/1.1\r\nhost: service\r\n".to_vec();
        let most = if self.below(100) == 0 { 60 } else { 9 };
        for _ in 0..self.below(most) {
            let (name, templates) = self.of(&VALUES);
            let template = self.of(templates);
            let value = self.value(template);
            request.extend_from_slice(&[name.as_bytes(), b": ", &value, b"\r\n"].concat());
        }
        request.extend_from_slice(b"\r\n");
        request
    }
}

/// What is wrong with a request that Envoy sent on.
fn wrong(list: &str, received: &List) -> Option<String> {
    let (list, rules) = list.split_once('\n').unwrap_or((list, ""));
    if !rules.is_empty() {
        let lines: Vec<&[u8]> = received
            .iter()
            .filter(|(name, _)| name == "baggage")
            .flat_map(|(_, value)| value.split(|byte| *byte == b','))
            .collect();
        let members: Option<Vec<Member<'_>>> = lines.into_iter().map(Member::parse).collect();
        let members = members.unwrap_or_default();
        let is_denied = |member: &Member<'_>| member.key == b"a" || member.key.starts_with(b"b");
        // A value that is longer than all baggage may be, encoded, is not set.
        let given = received.iter().find(|(name, _)| name == "x-other");
        let is_long = given.is_some_and(|(_, value)| 3 * value.len() > BYTES_MAX - 100);
        let is_set = is_long || members.iter().any(|member| member.key == b"team");
        if members.iter().any(is_denied) || !is_set {
            return Some(format!("{rules}: {received:?}"));
        }
    }
    let formats = Formats::parse(list.as_bytes()).unwrap();
    let alone = |format| context(Formats::none().with(format).unwrap(), received);
    let first = context(formats, received);
    for format in formats.iter().filter(|format| *format != Format::W3cBaggage) {
        let own = alone(format);
        let same = match (first, own) {
            (Some(first), Some(own)) => {
                (first.trace, first.span) == (own.trace, own.span)
                    && first.decision.sampled() == own.decision.sampled()
            }
            // Datadog has no word for it.
            (Some(first), None) => format == Format::Datadog && first.trace.low() == 0,
            (None, _) => false,
        };
        if !same {
            return Some(format!("{list}: {format:?} is {own:?}, not {first:?}: {received:?}"));
        }
    }
    None
}

/// A service that looks at what it receives, and the first that was wrong.
fn inspect(
    path: &Path,
    list: &'static str,
    seen: Arc<AtomicUsize>,
    found: Arc<Mutex<Vec<String>>>,
) {
    let listener = UnixListener::bind(path).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let (seen, found) = (Arc::clone(&seen), Arc::clone(&found));
            thread::spawn(move || {
                let mut stream = BufReader::new(stream);
                while let Some(received) = head(&mut stream) {
                    seen.fetch_add(1, Relaxed);
                    found.lock().unwrap().extend(wrong(list, &received));
                    if stream
                        .get_mut()
                        .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                        .is_err()
                    {
                        return;
                    }
                }
            });
        }
    });
}

/// Sends so many requests and reads their answers.
fn send(socket: &Path, seed: u64, count: usize, done: &AtomicUsize) {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut random = Random(0x9e37_79b9_7f4a_7c15 ^ seed);
    let mut buffer = vec![0; 64 << 10];
    for _ in 0..count / PIPELINED {
        let requests: Vec<u8> = (0..PIPELINED).flat_map(|_| random.request()).collect();
        stream.write_all(&requests).unwrap();
        let (mut answers, mut text) = (0, Vec::new());
        while answers < PIPELINED {
            let read = stream.read(&mut buffer).unwrap();
            assert!(read > 0, "Envoy closed a connection: {}", String::from_utf8_lossy(&text));
            text.extend_from_slice(&buffer[..read]);
            while let Some(end) = text.windows(4).position(|window| window == b"\r\n\r\n") {
                let answer = text.drain(..end + 4).collect::<Vec<_>>();
                assert!(
                    answer.starts_with(b"HTTP/1.1 200"),
                    "{}",
                    String::from_utf8_lossy(&answer)
                );
                answers += 1;
            }
        }
        done.fetch_add(PIPELINED, Relaxed);
    }
}

/// KiB of memory that are resident.
fn resident(process: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
#[expect(clippy::disallowed_methods, reason = "how many is said where it is started")]
#[expect(clippy::print_stderr, reason = "the memory is what one wants to see of the longer run")]
fn hostile_requests_are_answered_in_one_context() {
    let count =
        std::env::var("URSA_HOSTILE_REQUESTS").map_or(20_000, |count| count.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path(), &written(&folder), &LISTS, ["extract", "inject"]);
    let found = Arc::<Mutex<Vec<String>>>::default();
    let seen = Arc::<AtomicUsize>::default();
    // Every list has a service of its own, which knows what to expect. Hardly any request is traced.
    let service = config["static_resources"]["clusters"][0].clone();
    for (number, list) in LISTS.into_iter().enumerate() {
        let name = format!("service-{number}");
        inspect(&folder.path().join(&name), list, Arc::clone(&seen), Arc::clone(&found));
        let text = service.to_string().replace("\"service\"", &format!("\"{name}\""));
        let text = text.replace("/service\"", &format!("/{name}\""));
        let clusters = config["static_resources"]["clusters"].as_array_mut().unwrap();
        clusters.push(serde_json::from_str(&text).unwrap());
        for listener in 2 * number..2 * number + 2 {
            let manager = format!(
                "/static_resources/listeners/{listener}/filter_chains/0/filters/0/typed_config"
            );
            let manager = config.pointer_mut(&manager).unwrap();
            manager["tracing"]["random_sampling"] = json!({"value": 1});
            manager["route_config"]["virtual_hosts"][0]["routes"][0]["route"] =
                json!({"cluster": name});
        }
    }
    let spans = serve(&folder.path().join("spans"));
    thread::spawn(move || while spans.recv().is_ok() {});
    let envoy = Envoy::start(folder.path(), &config, 2);
    let done = AtomicUsize::new(0);
    let each = (count / CONNECTIONS / LISTS.len()).next_multiple_of(PIPELINED);
    let mut early = None;
    thread::scope(|scope| {
        let senders: Vec<_> = (0..CONNECTIONS * LISTS.len())
            .map(|number| {
                let socket = folder.path().join(socket(number % LISTS.len(), number % 2 == 0));
                let done = &done;
                scope.spawn(move || send(&socket, number as u64, each, done))
            })
            .collect();
        while senders.iter().any(|sender| !sender.is_finished()) {
            if early.is_none() && done.load(Relaxed) > count / 10 {
                early = Some(resident(envoy.id()));
            }
            thread::park_timeout(Duration::from_millis(20));
        }
    });
    let late = resident(envoy.id());
    let found = found.lock().unwrap();
    assert!(found.is_empty(), "{} of {count}, first {:#?}", found.len(), found.first());
    assert_eq!(seen.load(Relaxed), each * CONNECTIONS * LISTS.len());
    let early = early.unwrap_or(late);
    eprintln!("{} requests; Envoy had {early} KiB, then {late}", seen.load(Relaxed));
    assert!(late < early + MAY_GROW, "Envoy grew from {early} to {late} KiB");
}
