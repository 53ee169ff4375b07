//! Services with libraries of their own, as processes: callers and callees.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;

use crate::mesh::peer;

/// Where the libraries send their spans.
pub(crate) struct Backends {
    pub(crate) collector: String,
    pub(crate) zipkin: String,
    pub(crate) datadog: String,
}

/// A service of the mesh, which is run as a caller and as a callee.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    program: &'static str,
    /// The Python that has its library: the variable that names another, and its place in the cache.
    python: (&'static str, &'static str),
    /// What Datadog's library is to speak.
    style: &'static str,
}

const fn kind(
    name: &'static str,
    program: &'static str,
    python: (&'static str, &'static str),
    style: &'static str,
) -> Kind {
    Kind { name, program, python, style }
}

const DDTRACE: (&str, &str) = ("URSA_DDTRACE", "peers/ddtrace/4.16.0/bin/python");
const PY_ZIPKIN: (&str, &str) = ("URSA_PY_ZIPKIN", "peers/py-zipkin/1.2.8/bin/python");
const OPENTELEMETRY: (&str, &str) =
    ("URSA_OPENTELEMETRY_PYTHON", "peers/opentelemetry-python/1.45.2/bin/python");

/// All of them. The last stands behind a proxy of another mesh, and needs no library; it has one that it does not use.
pub(crate) const SERVICES: [Kind; 5] = [
    kind("ddtrace", "with_ddtrace.py", DDTRACE, "datadog"),
    // What it speaks if nobody says anything.
    kind("ddtrace-default", "with_ddtrace.py", DDTRACE, "datadog,tracecontext,baggage"),
    kind("py-zipkin", "with_py_zipkin.py", PY_ZIPKIN, ""),
    kind("opentelemetry", "with_opentelemetry.py", OPENTELEMETRY, ""),
    kind("envoy", "without.py", PY_ZIPKIN, ""),
];

/// One service in one of its roles; killed with this.
pub(crate) struct Service {
    process: Child,
    /// How a caller is told.
    told: Option<(ChildStdin, BufReader<ChildStdout>)>,
}

impl Service {
    pub(crate) fn caller(name: &str, backends: &Backends) -> Self {
        let mut command = command(name, backends);
        let mut process = command
            .arg("caller")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is there");
        let input = process.stdin.take().expect("piped");
        let output = BufReader::new(process.stdout.take().expect("piped"));
        Self { process, told: Some((input, output)) }
    }

    pub(crate) fn callee(name: &str, backends: &Backends, port: u16) -> Self {
        let mut command = command(name, backends);
        let process =
            command.args(["callee", &port.to_string()]).spawn().expect("python3 is there");
        Self { process, told: None }
    }

    /// What a caller answers.
    pub(crate) fn ask(&mut self, order: &Value) -> Value {
        let (input, output) = self.told.as_mut().expect("a caller");
        writeln!(input, "{order}").expect("it listens");
        let mut line = String::new();
        output.read_line(&mut line).expect("it answers");
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("it ended at {order}"))
    }
}

fn command(name: &str, backends: &Backends) -> Command {
    let kind = SERVICES.iter().find(|kind| kind.name == name).expect("a service of the table");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/journeys/neighbours/services");
    let mut command = Command::new(peer(kind.python.0, kind.python.1));
    command
        .arg(folder.join(kind.program))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("ZIPKIN", &backends.zipkin)
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", &backends.collector)
        .env("DD_TRACE_AGENT_URL", &backends.datadog)
        .env("DD_TRACE_PROPAGATION_STYLE", kind.style)
        // Nothing but traces, and nothing to anybody else.
        .env("DD_INSTRUMENTATION_TELEMETRY_ENABLED", "false")
        .env("DD_REMOTE_CONFIGURATION_ENABLED", "false");
    command
}

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
