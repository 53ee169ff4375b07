//! The table once more, on the wire through Envoy, with its OpenTelemetry tracer between the hooks.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::cases::{Case, Ids, List, cases, context, shown};
use crate::loaded::written;

pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

fn program() -> PathBuf {
    let given = std::env::var_os("URSA_ENVOY").map(PathBuf::from);
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache"));
    let cached = || Some(cache.or_else(home)?.join("ursa/envoy/1.40.0/envoy"));
    let path = given.or_else(cached).unwrap();
    assert!(path.exists(), "{} is missing: run cargo xtask peers", path.display());
    path
}

fn typed(kind: &str, mut value: Value) -> Value {
    value["@type"] = json!(format!("type.googleapis.com/{kind}"));
    value
}

fn text(value: &str) -> Value {
    typed("google.protobuf.StringValue", json!({"value": value}))
}

/// Whether each attempt has a span of its own.
pub(crate) const SPAWN: [bool; 2] = [true, false];

pub(crate) fn socket(number: usize, spawn: bool) -> String {
    format!("{number}-{}", if spawn { "spawn" } else { "one" })
}

/// Envoy with two listeners for each list.
pub(crate) fn config(folder: &Path, library: &Path, lists: &[&str], names: [&str; 2]) -> Value {
    let module = json!({"module": {"local": {"filename": library}}, "do_not_close": true, "metrics_namespace": "ursa"});
    let pipe = |name: &str| json!({"pipe": {"path": folder.join(name)}});
    let cluster = |name: &str| {
        json!({"name": name, "type": "STATIC", "load_assignment": {"cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": pipe(name)}}]}]}})
    };
    let listener = |number: usize, list: &str, spawn: bool| {
        let router = typed(
            "envoy.extensions.filters.http.router.v3.Router",
            json!({"upstream_http_filters": [
                {"name": "inject", "typed_config": typed("envoy.extensions.filters.http.dynamic_modules.v3.DynamicModuleFilter",
                    json!({"dynamic_module_config": module, "filter_name": names[1], "filter_config": text(list)}))},
                {"name": "envoy.filters.http.upstream_codec", "typed_config":
                    typed("envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec", json!({}))},
            ]}),
        );
        let manager = typed(
            "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            json!({
                "stat_prefix": "in",
                "early_header_mutation_extensions": [{"name": "envoy.http.early_header_mutation.dynamic_modules", "typed_config":
                    typed("envoy.extensions.http.early_header_mutation.dynamic_modules.v3.DynamicModuleEarlyHeaderMutation",
                        json!({"dynamic_module_config": module, "early_header_mutation_name": names[0],
                            "early_header_mutation_config": text(list)}))}],
                "tracing": {"spawn_upstream_span": spawn, "provider": {"name": "envoy.tracers.opentelemetry", "typed_config":
                    typed("envoy.config.trace.v3.OpenTelemetryConfig", json!({"service_name": "in",
                        "http_service": {"http_uri": {"uri": "http://spans/v1/traces", "cluster": "spans", "timeout": "5s"}}}))}},
                "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "include_request_attempt_count": true,
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "service",
                        "retry_policy": {"retry_on": "5xx", "num_retries": 1}}}]}]},
                "http_filters": [{"name": "router", "typed_config": router}],
            }),
        );
        json!({"name": socket(number, spawn), "address": pipe(&socket(number, spawn)),
            "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}]})
    };
    let both = |(number, list): (usize, &&str)| SPAWN.map(|spawn| listener(number, list, spawn));
    let listeners: Vec<_> = lists.iter().enumerate().flat_map(both).collect();
    json!({
        "node": {"id": "node", "cluster": "shop"},
        "admin": {"address": pipe("admin")},
        "layered_runtime": {"layers": [{"name": "all", "static_layer": {"tracing.opentelemetry.min_flush_spans": 1}}]},
        "static_resources": {"listeners": listeners, "clusters": [cluster("service"), cluster("spans")]},
    })
}

fn command(folder: &Path, config: &Value, workers: usize) -> Command {
    let path = folder.join("envoy.json");
    std::fs::write(&path, config.to_string()).unwrap();
    let mut command = Command::new(program());
    command.args(["--disable-hot-restart", "-l", "info", "--concurrency", &workers.to_string()]);
    command.arg("-c").arg(path);
    command
}

pub(crate) struct Envoy(Child);

impl Envoy {
    pub(crate) fn start(folder: &Path, config: &Value, workers: usize) -> Self {
        let mut child = command(folder, config, workers).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let envoy = Self(child);
        let (say, hear) = channel();
        thread::spawn(move || lines.map_while(Result::ok).for_each(|line| drop(say.send(line))));
        let mut log = Vec::new();
        while !log.last().is_some_and(|line: &String| line.contains("starting main dispatch loop"))
        {
            let line = hear.recv_timeout(DEADLINE);
            log.push(line.unwrap_or_else(|error| panic!("Envoy: {error}\n{}", last(&log))));
        }
        let matched = log.iter().any(|line| line.contains("ABI version v0.2.0 matched"));
        assert!(matched, "{}", last(&log));
        envoy
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }
}

/// The last lines: the first are a long list of what Envoy can do.
fn last(log: &[String]) -> String {
    log.iter().rev().take(20).rev().cloned().collect::<Vec<_>>().join("\n")
}

impl Drop for Envoy {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// What a request's head says; none at the end of the connection.
pub(crate) fn head(stream: &mut BufReader<UnixStream>) -> Option<List> {
    let mut list = List::new();
    loop {
        let mut line = Vec::new();
        if stream.read_until(b'\n', &mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_ascii_end();
        if line.is_empty() {
            return Some(list);
        }
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            list.push((":path".to_owned(), line.to_vec()));
            continue;
        };
        let name = String::from_utf8(line[..colon].to_vec()).unwrap();
        list.push((name, line[colon + 1..].trim_ascii().to_vec()));
    }
}

pub(crate) fn value<'a>(list: &'a List, name: &str) -> &'a [u8] {
    list.iter()
        .find(|(other, _)| other == name)
        .map(|(_, value)| value.as_slice())
        .unwrap_or_default()
}

/// The body that follows a head.
fn body(head: &List, stream: &mut BufReader<UnixStream>) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    let number =
        |text: &[u8], base| usize::from_str_radix(str::from_utf8(text).ok()?.trim(), base).ok();
    if let Some(length) = number(value(head, "content-length"), 10) {
        body.resize(length, 0);
        stream.read_exact(&mut body).ok()?;
    } else if value(head, "transfer-encoding") == b"chunked" {
        loop {
            let mut line = Vec::new();
            stream.read_until(b'\n', &mut line).ok()?;
            let length = number(&line, 16)?;
            let start = body.len();
            body.resize(start + length + 2, 0);
            stream.read_exact(&mut body[start..]).ok()?;
            body.truncate(start + length);
            if length == 0 {
                break;
            }
        }
    }
    Some(body)
}

/// A server that tells what it receives, and answers 503 to first attempts at `/twice`.
pub(crate) fn serve(socket: &Path) -> Receiver<(List, Vec<u8>)> {
    let listener = UnixListener::bind(socket).unwrap();
    let (say, hear) = channel();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let say = say.clone();
            thread::spawn(move || {
                let mut stream = BufReader::new(stream);
                while let Some(head) = head(&mut stream) {
                    let Some(body) = body(&head, &mut stream) else { return };
                    let fails = value(&head, ":path").starts_with(b"GET /twice")
                        && value(&head, "x-envoy-attempt-count") == b"1";
                    let status = if fails { "503 Unavailable" } else { "200 OK" };
                    drop(say.send((head, body)));
                    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
                    if stream.get_mut().write_all(answer.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    hear
}

/// The parents of the spans of a trace in a request of OTLP; zero of one that has none. The fields of a span are in
/// the order of their numbers: trace, span, state, parent.
fn parents(otlp: &[u8], trace: (u64, u64)) -> Vec<u64> {
    let id = [trace.0.to_be_bytes(), trace.1.to_be_bytes()].concat();
    let start = [&[0x0a, 0x10], id.as_slice(), &[0x12, 0x08]].concat();
    let at = |index: &usize| otlp[*index..].starts_with(&start);
    let parent = |index| {
        let mut rest = &otlp[index + start.len() + 8..];
        if let [0x1a, low, high, ..] = *rest {
            let long = usize::from(low >> 7);
            let length = usize::from(low & 127) + long * (usize::from(high) << 7);
            rest = &rest[2 + long + length..];
        }
        match rest {
            [0x22, 0x08, parent @ ..] => u64::from_be_bytes(parent[..8].try_into().unwrap()),
            _ => 0,
        }
    };
    (0..otlp.len()).filter(at).map(parent).collect()
}

pub(crate) fn ask(socket: &Path, path: &str, headers: &List) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut request =
        format!("GET {path} HTTP/1.1\r\nhost: service\r\nconnection: close\r\n").into_bytes();
    for (name, value) in headers {
        request.extend_from_slice(&[name.as_bytes(), b": ", value, b"\r\n"].concat());
    }
    request.extend_from_slice(b"\r\n");
    stream.write_all(&request).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// One case, tried twice; what is wrong.
fn run(case: &Case, folder: &Path, number: usize, spawn: bool, heard: &Heard) -> Vec<String> {
    let mut ids = Ids { attempt: 0, new: (0, 0), invented: (0, 0), span: 0 };
    let request = ids.headers(&case.incoming);
    let answer = ask(&folder.join(socket(number, spawn)), "/twice", &request);
    let mut wrong = Vec::new();
    if !answer.starts_with("HTTP/1.1 200") {
        return vec![answer];
    }
    let mut attempts = Vec::new();
    for _ in 0..2 {
        let (received, _) = heard.service.recv_timeout(DEADLINE).unwrap();
        let context = context(case.formats(), &received);
        if let Some(context) = context {
            ids.attempt = context.span.value();
            ids.new = (context.trace.high(), context.trace.low());
            ids.invented = ids.new;
            attempts.push(context);
        }
        let expected = shown(&ids.headers(&case.receives));
        if shown(&received) != expected {
            wrong.push(format!("{:#?} instead of {expected:#?}", shown(&received)));
        }
    }
    let [first, second] = attempts[..] else { return wrong };
    if (first.span == second.span) == spawn {
        wrong.push("spans of attempts".to_owned());
    }
    let (_, known) = case.sees.split_once(' ').unwrap_or_default();
    let known: Option<u64> = match known.split(' ').next() {
        Some("{S}") => Some(u64::from_str_radix(&ids.fill("{S}"), 16).unwrap()),
        _ if case.sees == "nothing" => Some(0),
        _ => None,
    };
    let old = ["{T}", "{U}", "0000000000000000{t}"].map(|id| ids.fill(id));
    if case.sees == "nothing" && old.contains(&ids.fill("{N}")) {
        wrong.push("the caller's trace goes on".to_owned());
    }
    if first.decision.sampled() {
        let mut found = Vec::new();
        while found.len() < if spawn { 3 } else { 1 } {
            let (_, otlp) = heard.spans.recv_timeout(DEADLINE).unwrap();
            found.extend(parents(&otlp, ids.new));
        }
        if known.is_some_and(|known| !found.contains(&known)) {
            wrong.push(format!("no span has the parent {known:x?}: {found:x?}"));
        }
    }
    wrong
}

struct Heard {
    service: Receiver<(List, Vec<u8>)>,
    spans: Receiver<(List, Vec<u8>)>,
}

#[test]
fn requests_through_envoy_become_what_the_table_says() {
    let folder = tempfile::tempdir().unwrap();
    let cases = cases();
    let lists: BTreeSet<&str> = cases.iter().map(|case| case.list.as_str()).collect();
    let lists: Vec<&str> = lists.into_iter().collect();
    let at = |name: &str| serve(&folder.path().join(name));
    let heard = Heard { service: at("service"), spans: at("spans") };
    let config = config(folder.path(), &written(&folder), &lists, ["extract", "inject"]);
    let _envoy = Envoy::start(folder.path(), &config, 1);
    let mut wrong = String::new();
    for case in &cases {
        let number = lists.iter().position(|list| *list == case.list).unwrap();
        for spawn in SPAWN {
            for what in run(case, folder.path(), number, spawn, &heard) {
                writeln!(wrong, "{}, {}: {what}", case.name, socket(number, spawn)).unwrap();
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    // A span that nobody waited for is one of a request that is not sampled.
    assert!(heard.spans.try_recv().is_err(), "a span too many");
}

#[test]
fn envoy_validates_what_is_right_and_refuses_what_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let library = written(&folder);
    let validate = |list: &str, names| {
        let config = config(folder.path(), &library, &[list], names);
        let output =
            command(folder.path(), &config, 1).args(["--mode", "validate"]).output().unwrap();
        (output.status.success(), String::from_utf8(output.stderr).unwrap())
    };
    let (accepted, log) = validate("b3,w3c_tracecontext;strip", ["extract", "inject"]);
    assert!(accepted, "{log}");
    let (accepted, log) = validate("b3,w3c", ["extract", "inject"]);
    assert!(!accepted && log.contains("ursa: this is no list of formats"), "{log}");
    let (accepted, log) = validate("b3", ["inject", "extract"]);
    assert!(!accepted && log.contains("ursa: this hook has another name"), "{log}");
}
