//! `ursa up`: a whole mesh on one machine, by the very commands that one could type by hand.
//!
//! `up` itself serves nothing. It finds Envoy, chooses ports, starts `ursa cp`, applies resources, starts
//! `ursa dp` beside each Dataplane, for the demo also its services and a load, and then watches. Every process is
//! tied to `up` (`exec-tied`), so none outlives it.

mod check;
mod children;
pub(crate) mod envoy;
mod keys;
mod load;
mod ports;
mod resources;
mod summary;

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use tokio::time::{Instant, interval, sleep_until};
use ursa_model::size::ByteSize;

use self::children::Children;
use self::envoy::Envoy;
use self::load::Load;
use self::ports::{PortArgs, Ports};
use self::resources::{Proxy, Resources};
use crate::client::Client;
use crate::command::apply::{Applied, apply};
use crate::command::cp::OwnTelemetry;
use crate::command::proxy::{State, state};
use crate::failure::{Doing as _, Failure, Outcome};
use crate::output::{Form, Output, counted, terminal_size};
use crate::{directories, documents, private};

/// How long the control plane may take to be ready.
const CONTROL_PLANE_START: Duration = Duration::from_secs(20);
/// How often something awaited is looked at.
const POLL: Duration = Duration::from_millis(50);
/// How often the summary is drawn.
const REFRESH: Duration = Duration::from_secs(1);
/// How often a line is printed where there is no terminal.
const PLAIN_REFRESH: u64 = 10;

/// Run a mesh on this machine: control plane, real Envoys, a demo shop under load, and a live view.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ursa up                       the demo; q or Ctrl-C stops everything
  ursa up --no-demo             the control plane alone
  ursa up -f my-mesh/           your own resources, an agent and an Envoy beside each Dataplane
  ursa up --check > report.json start, wait for one whole trace, report, stop
  ursa up --free-ports          beside whatever else runs")]
pub(crate) struct Arguments {
    /// The control plane alone.
    #[arg(long, conflicts_with_all = ["filename", "check"])]
    no_demo: bool,
    /// Your own resources instead of the demo's: a file or a folder. May be repeated.
    #[arg(short, long, value_name = "FILE", conflicts_with = "check")]
    filename: Vec<PathBuf>,
    /// Wait for one trace with spans of every service, print a report as JSON, and stop.
    #[arg(long)]
    check: bool,
    /// How long --check waits, in seconds.
    #[arg(long, default_value_t = 60, value_name = "SECONDS", requires = "check")]
    timeout: u64,
    /// The demo's load, requests per second.
    #[arg(long, default_value_t = 20.0, value_name = "N", allow_negative_numbers = true)]
    rps: f64,
    /// Envoy's program; otherwise $URSA_ENVOY, PATH, or a fetched one.
    #[arg(long, value_name = "PATH")]
    envoy: Option<PathBuf>,
    /// Worker threads of each Envoy.
    #[arg(long, default_value_t = 1, value_name = "N")]
    concurrency: u32,
    /// Proxies whose Envoy shall load no module, as one of `ursa dp --no-module`; all if none is named. Formats of trace context
    /// and rules for baggage are lost there; `ursa inspect proxy` says which.
    #[arg(long, value_name = "PROXY", num_args = 0.., value_delimiter = ',')]
    no_module: Option<Vec<String>>,
    /// Where resources, keys and logs are kept [default: $XDG_DATA_HOME/ursa/demo, or …/local without the demo; a
    /// temporary folder with --check or --free-ports]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// How much recent telemetry is held.
    #[arg(long, default_value = "64Mi", value_name = "SIZE")]
    telemetry_memory: ByteSize,
    #[command(flatten)]
    own: OwnTelemetry,
    #[command(flatten)]
    ports: PortArgs,
}

/// The control plane's ports, as chosen.
#[derive(Debug, Clone, Copy)]
struct ControlPorts {
    api: u16,
    xds: u16,
    mads: u16,
    otlp_grpc: u16,
    otlp_http: u16,
}

impl Arguments {
    fn is_demo(&self) -> bool {
        !self.no_demo && self.filename.is_empty()
    }
}

/// Runs `up` until it is told to stop.
pub(crate) async fn run(arguments: Arguments, output: Output) -> Outcome {
    if !(arguments.rps.is_finite() && (0.0..=10_000.0).contains(&arguments.rps)) {
        return Err(Failure::unreadable("--rps must lie between 0 and 10000"));
    }
    let began = Instant::now();
    let mut signals = crate::command::cp::Signals::new()?;
    let mut sockets =
        tempfile::Builder::new().prefix("ursa-").tempdir().doing("make a folder for sockets")?;
    let is_temporary =
        arguments.data_dir.is_none() && (arguments.check || arguments.ports.are_free());
    let data_dir = match &arguments.data_dir {
        Some(dir) => dir.clone(),
        // What an earlier run was told must not decide what this one finds.
        None if is_temporary => sockets.path().join("data"),
        None => {
            let name = if arguments.is_demo() { "demo" } else { "local" };
            directories::data(&format!("{name}{}", arguments.ports.suffix()))?
        }
    };
    let mut up = Up {
        children: Children::new(&data_dir.join("logs"))?,
        data_dir,
        sockets: sockets.path().to_owned(),
        began,
        arguments,
        output,
    };
    // Whatever is being waited for, a signal ends it.
    let outcome = tokio::select! {
        outcome = up.start_and_watch() => outcome,
        () = signals.stop() => Ok(ExitCode::SUCCESS),
    };
    let has_started = !up.children.ids().is_empty();
    if has_started {
        output.note("stopping");
    }
    tokio::select! {
        () = up.children.stop(&["agent", "demo", "control-plane"]) => {}
        // A second signal: whatever is left is killed as `children` is dropped.
        () = signals.stop() => {}
    }
    if is_temporary && has_started && outcome.is_err() {
        // With the logs that the failure names.
        sockets.disable_cleanup(true);
    }
    outcome
}

struct Up {
    arguments: Arguments,
    output: Output,
    began: Instant,
    data_dir: PathBuf,
    /// Sockets, tokens: a short path, gone at the end.
    sockets: PathBuf,
    children: Children,
}

impl Up {
    async fn start_and_watch(&mut self) -> Outcome {
        let output = self.output;
        let mut ports = Ports::plan(self.arguments.ports);
        let control = ControlPorts {
            api: ports.choose(5681, "the API")?,
            xds: ports.choose(5678, "proxies")?,
            mads: ports.choose(5676, "monitoring assignments")?,
            otlp_grpc: ports.choose(4317, "OTLP over gRPC")?,
            otlp_http: ports.choose(4318, "OTLP over HTTP")?,
        };
        let sources = if self.arguments.no_demo {
            Vec::new()
        } else if self.arguments.is_demo() {
            resources::demo()
        } else {
            documents::read(&self.arguments.filename)?
        };
        let resources = resources::prepare(sources, &mut ports, self.arguments.is_demo(), output)?;
        let envoy = match resources.proxies.as_slice() {
            [] => None,
            _ => Some(envoy::find_or_fetch(self.arguments.envoy.as_deref(), output).await?),
        };
        ports.release();

        let client = self.start_control_plane(control).await?;
        self.apply(&client, &resources).await?;
        if let Some(envoy) = &envoy {
            self.start_proxies(&client, control, &resources.proxies, envoy).await?;
            self.proxies_ready(&client, &resources.proxies).await?;
        }
        let ready = self.began.elapsed().as_secs_f64();
        if let Some(envoy) = &envoy {
            let count = resources.proxies.len();
            output.done(&format!(
                "{} ready, each an agent and Envoy {}",
                if count == 1 { "1 proxy is".to_owned() } else { format!("{count} proxies are") },
                envoy.version
            ));
        }
        output.note(&format!("\n  live view  http://127.0.0.1:{}/gui\n", control.api));
        let load = match resources.entrance() {
            Some(port) if self.arguments.is_demo() => Some(Load::start(port, self.arguments.rps)),
            _ => None,
        };
        if self.arguments.check {
            let version = envoy.map(|envoy| envoy.version.to_string()).unwrap_or_default();
            return self.check(&client, &resources.proxies, ready, &version).await;
        }
        self.watch(&client, load).await
    }

    async fn start_control_plane(&mut self, ports: ControlPorts) -> Outcome<Client> {
        let text = |port: u16| port.to_string();
        let arguments = [
            "cp",
            "--api-port",
            &text(ports.api),
            "--xds-port",
            &text(ports.xds),
            "--mads-port",
            &text(ports.mads),
            "--otlp-grpc-port",
            &text(ports.otlp_grpc),
            "--otlp-http-port",
            &text(ports.otlp_http),
            "--telemetry-memory",
            &self.arguments.telemetry_memory.to_string(),
            "--data-dir",
            &self.data_dir.to_string_lossy(),
        ]
        .map(str::to_owned);
        let arguments = [arguments.to_vec(), self.arguments.own.typed()].concat();
        self.children.start("control-plane", &arguments)?;
        let client = Client::local(ports.api)?;
        let deadline = Instant::now() + CONTROL_PLANE_START;
        while client.get_text("/ready").await.is_err() {
            self.children.check()?;
            if Instant::now() >= deadline {
                return Err(Failure::new("the control plane is not ready after 20 s").help(
                    format!(
                        "its log is {}",
                        self.data_dir.join("logs/control-plane.log").display()
                    ),
                ));
            }
            sleep_until(Instant::now() + POLL).await;
        }
        self.output.done(&format!(
            "control plane on port {}, resources in {}",
            ports.api,
            self.data_dir.display()
        ));
        Ok(client)
    }

    async fn apply(&self, client: &Client, resources: &Resources) -> Outcome<()> {
        if resources.sources.is_empty() {
            return Ok(());
        }
        match apply(client, &resources.sources, false).await? {
            Applied::Refused(violations) => {
                Err(documents::refusal(&violations, &resources.sources, self.output)?)
            }
            Applied::Done(answer) => {
                let results = answer["results"].as_array().map(Vec::as_slice).unwrap_or_default();
                for warning in
                    results.iter().flat_map(|r| r["warnings"].as_array().into_iter().flatten())
                {
                    self.output.warning(&documents::one_line(warning, &resources.sources));
                }
                self.output.done(&format!("{} applied", counted(results.len() as u64, "resource")));
                Ok(())
            }
        }
    }

    async fn start_proxies(
        &mut self,
        client: &Client,
        control: ControlPorts,
        proxies: &[Proxy],
        envoy: &Envoy,
    ) -> Outcome<()> {
        let mut without = self.arguments.no_module.iter().flatten();
        if let Some(name) = without.find(|name| proxies.iter().all(|proxy| proxy.name != **name)) {
            let known: Vec<_> = proxies.iter().map(|proxy| proxy.name.as_str()).collect();
            return Err(Failure::new(format!("--no-module: there is no proxy `{name}`"))
                .help(format!("there are: {}", known.join(", "))));
        }
        for (index, proxy) in proxies.iter().enumerate() {
            if self.arguments.is_demo() {
                self.start_service(proxy)?;
            }
            let body = json!({"mesh": proxy.mesh, "name": proxy.name, "validFor": "720h"});
            let token = client.post("/tokens/dataplane", &body).await?;
            if !token.is_success() {
                return Err(token.failure());
            }
            let work_dir = self.sockets.join(index.to_string());
            std::fs::create_dir(&work_dir).doing(format!("make {}", work_dir.display()))?;
            let data_dir =
                self.data_dir.join("agents").join(format!("{}.{}", proxy.mesh, proxy.name));
            let token_file = work_dir.join("token");
            private::write(&token_file, token.text().trim())?;
            let arguments = [
                "dp",
                "--name",
                &proxy.name,
                "--mesh",
                &proxy.mesh,
                "--cp",
                &format!("https://127.0.0.1:{}", control.xds),
                "--token-file",
                &token_file.to_string_lossy(),
                "--envoy",
                &envoy.path.to_string_lossy(),
                "--work-dir",
                &work_dir.to_string_lossy(),
                "--data-dir",
                &data_dir.to_string_lossy(),
                "--status",
                "127.0.0.1:0",
                "--concurrency",
                &self.arguments.concurrency.to_string(),
                "--drain-seconds",
                "1",
            ]
            .map(str::to_owned);
            let mut arguments = arguments.to_vec();
            let without = self.arguments.no_module.as_ref();
            if without.is_some_and(|named| named.is_empty() || named.contains(&proxy.name)) {
                arguments.push("--no-module".to_owned());
            }
            self.children.start(&format!("agent-{}", proxy.name), &arguments)?;
        }
        Ok(())
    }

    fn start_service(&mut self, proxy: &Proxy) -> Outcome<()> {
        let Some(port) = proxy.service_port else { return Ok(()) };
        let mut arguments = vec![
            "demo-service".to_owned(),
            "--name".to_owned(),
            proxy.service.clone(),
            "--listen".to_owned(),
        ];
        arguments.push(format!("127.0.0.1:{port}"));
        for (service, port) in &proxy.outbounds {
            arguments.push("--call".to_owned());
            arguments.push(format!("{service}=127.0.0.1:{port}"));
        }
        self.children.start(&format!("demo-{}", proxy.name), &arguments)
    }

    /// Waits until every proxy acknowledged its configuration and takes connections.
    async fn proxies_ready(&mut self, client: &Client, proxies: &[Proxy]) -> Outcome<()> {
        let mut waiting: Vec<&Proxy> = proxies.iter().collect();
        let deadline = self.began + Duration::from_secs(self.arguments.timeout.max(60));
        while let Some(proxy) = waiting.last() {
            self.children.check()?;
            let path = format!("/meshes/{}/dataplanes/{}/_overview", proxy.mesh, proxy.name);
            let overview = client.get(&path, &[]).await?;
            let acknowledged =
                overview["connected"] == true && state(&overview) == State::Acknowledged;
            let open = match proxy.inbound {
                Some(port) => tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok(),
                None => true,
            };
            if acknowledged && open {
                waiting.pop();
            } else if let Some(words) = refusal(&overview) {
                return Err(Failure::new(format!(
                    "Envoy beside {} refuses its configuration: {words}",
                    proxy.name
                ))
                .help(format!("logs are in {}", self.data_dir.join("logs").display())));
            } else if Instant::now() >= deadline {
                return Err(Failure::new(format!(
                    "the proxy {} is not ready: {overview}",
                    proxy.name
                ))
                .help(format!("logs are in {}", self.data_dir.join("logs").display())));
            } else {
                sleep_until(Instant::now() + POLL).await;
            }
        }
        Ok(())
    }

    async fn check(
        &mut self,
        client: &Client,
        proxies: &[Proxy],
        ready: f64,
        envoy: &str,
    ) -> Outcome {
        let wanted = check::wanted(proxies);
        let deadline = self.began + Duration::from_secs(self.arguments.timeout);
        let mut found = None;
        while Instant::now() < deadline {
            self.children.check()?;
            found = check::best(client, &wanted).await?.or(found);
            if found.as_ref().is_some_and(|found| found.missing.is_empty()) {
                break;
            }
            sleep_until(Instant::now() + POLL).await;
        }
        let whole = found.as_ref().is_some_and(|found| found.missing.is_empty());
        let first_trace = whole.then(|| self.began.elapsed().as_secs_f64());
        let report =
            check::report(found.as_ref(), &wanted, Some(ready), first_trace, &self.children, envoy);
        self.output.structured(Form::Json, &report)?;
        if whole {
            self.output.done("a whole trace was seen");
            return Ok(ExitCode::SUCCESS);
        }
        Err(Failure::new(format!(
            "no whole trace within {} s; missing: {}",
            self.arguments.timeout, report["missing"]
        ))
        .help(format!("logs are in {}", self.data_dir.join("logs").display())))
    }

    async fn watch(&mut self, client: &Client, load: Option<Load>) -> Outcome {
        let terminal = std::io::stdout().is_terminal();
        let mut keys = keys::Keys::listen();
        self.output.note(if terminal {
            "  q or Ctrl-C stops everything\n"
        } else {
            "  Ctrl-C stops everything\n"
        });
        let mut ticks = interval(REFRESH);
        let mut drawn = String::new();
        for tick in 1_u64.. {
            tokio::select! {
                _ = ticks.tick() => {}
                () = keys.quit() => break,
            }
            self.children.check()?;
            let Ok(services) = client.get("/telemetry/services", &[]).await else { continue };
            let seen = load.as_ref().map(Load::seen);
            if terminal {
                let (columns, rows) = terminal_size();
                // Up over what was drawn before, and clear to the end of the screen.
                let back = match summary::rows_of(&drawn, columns) {
                    0 => String::new(),
                    above => format!("\x1b[{above}F\x1b[0J"),
                };
                drawn = summary::fitted(&summary::picture(&services, seen), columns, rows);
                self.output.result(&format!("{back}{drawn}"))?;
            } else if tick.is_multiple_of(PLAIN_REFRESH) {
                self.output.result(&summary::line(&services, seen))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// What Envoy said of the configuration that it refused.
fn refusal(overview: &serde_json::Value) -> Option<String> {
    let types = overview["types"].as_object()?;
    types.values().find_map(|state| Some(state["nack"]["error"].as_str()?.trim().to_owned()))
}
