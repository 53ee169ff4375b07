//! The table once more, on the wire through Envoy, with its OpenTelemetry tracer between the hooks.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::cases::{Ids, List, cases, context, shown};
use crate::loaded::written;

const DEADLINE: Duration = Duration::from_secs(30);

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

/// Envoy with a listener for each list, the sockets of which are numbered files in the folder.
fn config(folder: &Path, lists: &[&str]) -> Value {
    config_of(folder, &written_in(folder), lists, ["extract", "inject"])
}

fn written_in(folder: &Path) -> PathBuf {
    let library = ursa_envoy_module::LIBRARY.unwrap();
    let path = folder.join(library.file_name);
    std::fs::write(&path, library.bytes).unwrap();
    path
}

fn config_of(folder: &Path, library: &Path, lists: &[&str], names: [&str; 2]) -> Value {
    let module = json!({"module": {"local": {"filename": library}}, "do_not_close": true});
    let pipe = |name: &str| json!({"pipe": {"path": folder.join(name)}});
    let cluster = |name: &str| {
        json!({"name": name, "type": "STATIC", "load_assignment": {"cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": pipe(name)}}]}]}})
    };
    let listener = |(number, list): (usize, &&str)| {
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
                "tracing": {"spawn_upstream_span": true, "provider": {"name": "envoy.tracers.opentelemetry", "typed_config":
                    typed("envoy.config.trace.v3.OpenTelemetryConfig", json!({"service_name": "in",
                        "grpc_service": {"envoy_grpc": {"cluster_name": "spans"}}}))}},
                "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "include_request_attempt_count": true,
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "service",
                        "retry_policy": {"retry_on": "5xx", "num_retries": 1}}}]}]},
                "http_filters": [{"name": "router", "typed_config": router}],
            }),
        );
        json!({"name": list, "address": pipe(&number.to_string()),
            "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}]})
    };
    let listeners: Vec<_> = lists.iter().enumerate().map(listener).collect();
    json!({
        "node": {"id": "node", "cluster": "shop"},
        "static_resources": {"listeners": listeners, "clusters": [cluster("service"), cluster("spans")]},
    })
}

fn command(folder: &Path, config: &Value) -> Command {
    let path = folder.join("envoy.json");
    std::fs::write(&path, config.to_string()).unwrap();
    let mut command = Command::new(program());
    command.args(["--disable-hot-restart", "--concurrency", "1", "-l", "info", "-c"]).arg(path);
    command
}

struct Envoy(Child);

impl Envoy {
    fn start(folder: &Path, config: &Value) -> Self {
        let mut child = command(folder, config).stderr(Stdio::piped()).spawn().unwrap();
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
fn head(stream: &mut BufReader<UnixStream>) -> Option<List> {
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

fn value<'a>(list: &'a List, name: &str) -> &'a [u8] {
    list.iter()
        .find(|(other, _)| other == name)
        .map(|(_, value)| value.as_slice())
        .unwrap_or_default()
}

/// A service that tells what it receives, and answers 503 to first attempts at `/twice`.
fn serve(listener: UnixListener, said: Sender<List>) {
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let said = said.clone();
            thread::spawn(move || {
                let mut stream = BufReader::new(stream);
                while let Some(list) = head(&mut stream) {
                    let fails = value(&list, ":path").starts_with(b"GET /twice")
                        && value(&list, "x-envoy-attempt-count") == b"1";
                    let status = if fails { "503 Unavailable" } else { "200 OK" };
                    drop(said.send(list));
                    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
                    if stream.get_mut().write_all(answer.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
}

fn ask(socket: &Path, path: &str, headers: &List) -> String {
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

fn receive(heard: &Receiver<List>) -> List {
    heard.recv_timeout(DEADLINE).unwrap()
}

#[test]
fn requests_through_envoy_become_what_the_table_says() {
    let folder = tempfile::tempdir().unwrap();
    let cases = cases();
    let sockets: BTreeMap<&str, usize> = cases.iter().map(|case| (case.list.as_str(), 0)).collect();
    let lists: Vec<&str> = sockets.into_keys().collect();
    let (say, heard) = channel();
    serve(UnixListener::bind(folder.path().join("service")).unwrap(), say);
    let _envoy = Envoy::start(folder.path(), &config(folder.path(), &lists));
    let mut wrong = String::new();
    for case in &cases {
        let number = lists.iter().position(|list| *list == case.list).unwrap();
        let socket = folder.path().join(number.to_string());
        let mut ids = Ids { attempt: 0, new: (0, 0), span: 0 };
        let request = ids.headers(&case.incoming);
        let answer = ask(&socket, "/twice", &request);
        assert!(answer.starts_with("HTTP/1.1 200"), "{}: {answer}", case.name);
        let mut spans = Vec::new();
        for received in [receive(&heard), receive(&heard)] {
            if let Some(context) = context(case.formats(), &received) {
                ids.attempt = context.span.value();
                ids.new = (context.trace.high(), context.trace.low());
                spans.push(ids.attempt);
            }
            let expected = shown(&ids.headers(&case.receives));
            if shown(&received) != expected {
                writeln!(wrong, "{}\n  {:#?}\n  {expected:#?}", case.name, shown(&received))
                    .unwrap();
            }
        }
        assert!(
            !matches!(spans[..], [first, second] if first == second),
            "{}: {spans:x?}",
            case.name
        );
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn envoy_validates_what_is_right_and_refuses_what_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let library = written(&folder);
    let validate = |list: &str, names| {
        let config = config_of(folder.path(), &library, &[list], names);
        let output = command(folder.path(), &config).args(["--mode", "validate"]).output().unwrap();
        (output.status.success(), String::from_utf8(output.stderr).unwrap())
    };
    let (accepted, log) = validate("b3,w3c_tracecontext;strip", ["extract", "inject"]);
    assert!(accepted, "{log}");
    let (accepted, log) = validate("b3,w3c", ["extract", "inject"]);
    assert!(!accepted && log.contains("ursa: this is no list of formats"), "{log}");
    let (accepted, log) = validate("b3", ["inject", "extract"]);
    assert!(!accepted && log.contains("ursa: this hook has another name"), "{log}");
}
