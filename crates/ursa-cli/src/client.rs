//! The control plane's REST API, as the commands use it.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, Args, Command};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, StatusCode, Url};
use serde::Serialize;
use serde_json::Value;
use ursa_model::SecretText;

use crate::environment;
use crate::failure::{Doing as _, Failure, Outcome};

/// Which control plane, and who asks.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Control plane")]
pub(crate) struct ServerArgs {
    /// The control plane's API.
    #[arg(
        long,
        global = true,
        env = "URSA_SERVER",
        default_value = "http://127.0.0.1:5681",
        value_name = "URL",
        value_parser = web_address
    )]
    server: Url,
    /// A file with an admin token; wanted by an API that is not on loopback.
    #[arg(long, global = true, env = "URSA_TOKEN_FILE", value_name = "FILE")]
    server_token_file: Option<PathBuf>,
    /// The CA of the API's certificate, PEM. Without it, the token says which CA to trust.
    #[arg(long, global = true, env = "URSA_CA_FILE", value_name = "FILE")]
    server_ca_file: Option<PathBuf>,
}

impl ServerArgs {
    #[cfg(test)]
    pub(crate) fn url(&self) -> &Url {
        &self.server
    }

    /// Takes the arguments at any place of the command line, and shows them in the help of the commands at `paths` alone:
    /// those that ask a control plane.
    pub(crate) fn shown_at(command: Command, paths: &[&[&str]]) -> Command {
        let own = Self::augment_args(Command::new("own"));
        let own: Vec<_> = own.get_arguments().cloned().collect();
        let hidden = |argument: Arg| {
            let hide = own.iter().any(|it| it.get_id() == argument.get_id());
            if hide { argument.hide(true) } else { argument }
        };
        // What a command has of its own is not inherited from those above.
        let command = command.mut_args(hidden);
        paths.iter().fold(command, |command, path| with(command, path, &own))
    }
}

/// Adds arguments to the command at a path below `command`.
fn with(command: Command, path: &[&str], arguments: &[Arg]) -> Command {
    match path {
        [] => command.args(arguments),
        [name, rest @ ..] => command.mut_subcommand(name, |command| with(command, rest, arguments)),
    }
}

/// The trace that this command is part of, as whoever started it says by the variables that stand for the headers
/// (OpenTelemetry, "Environment Variables as Context Propagation Carriers").
fn trace_context() -> HeaderMap {
    let said = ["traceparent", "tracestate", "baggage"].into_iter().filter_map(|name| {
        let value = environment::get(&name.to_ascii_uppercase())?.into_string().ok()?;
        Some((HeaderName::from_static(name), HeaderValue::from_str(&value).ok()?))
    });
    said.collect()
}

/// `http://…` or `https://…`.
pub(crate) fn web_address(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    url.ok_or_else(|| format!("an address begins with http:// or https://, as in http://{text}"))
}

/// A client of one control plane, or of what runs beside a proxy.
#[derive(Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    server: Url,
    token: Option<SecretText>,
    /// What to do when nobody answers.
    absent: &'static str,
}

const NO_CONTROL_PLANE: &str =
    "is the control plane running? start one with `ursa up`, or say where it is with --server";
const NO_GATEWAY: &str = "does a gateway or an agent run there? it says in its log where its status is served; \
     http://127.0.0.1:5677 unless told otherwise";

/// What the server answered.
#[derive(Debug)]
pub(crate) struct Reply {
    status: StatusCode,
    body: Vec<u8>,
    request: String,
}

impl Client {
    /// Prepares a client; nothing is sent yet.
    pub(crate) fn new(arguments: &ServerArgs) -> Outcome<Self> {
        let token = match &arguments.server_token_file {
            Some(path) => {
                let text = fs::read_to_string(path)
                    .doing(format!("read the token file {}", path.display()))?;
                Some(SecretText::new(text.trim()))
            }
            None => None,
        };
        let mut builder = reqwest::Client::builder()
            .timeout(Duration::from_secs(30))
            .connect_timeout(Duration::from_secs(5));
        if arguments.server.scheme() == "https" {
            if let Some(path) = &arguments.server_ca_file {
                let pem = fs::read(path).doing(format!("read the CA file {}", path.display()))?;
                let ca = reqwest::Certificate::from_pem(&pem)
                    .doing(format!("understand the CA file {}", path.display()))?;
                builder = builder.tls_certs_only([ca]);
            } else if let Some(token) = &token {
                let tls = ursa_agent::upstream::pinned_tls(token).doing("read the token's CA")?;
                builder = builder.tls_backend_preconfigured(tls);
            }
        }
        let http = builder.default_headers(trace_context()).build().doing("prepare the client")?;
        Ok(Self { http, server: arguments.server.clone(), token, absent: NO_CONTROL_PLANE })
    }

    /// A client of the status of a gateway or an agent.
    pub(crate) fn of_gateway(server: Url) -> Outcome<Self> {
        let arguments = ServerArgs { server, server_token_file: None, server_ca_file: None };
        Ok(Self { absent: NO_GATEWAY, ..Self::new(&arguments)? })
    }

    /// A client of a control plane on this machine.
    pub(crate) fn local(port: u16) -> Outcome<Self> {
        let server =
            Url::parse(&format!("http://127.0.0.1:{port}")).doing("name the control plane")?;
        Self::new(&ServerArgs { server, server_token_file: None, server_ca_file: None })
    }

    /// GET a JSON document; anything but success is a failure.
    pub(crate) async fn get(&self, path: &str, query: &[(&str, String)]) -> Outcome<Value> {
        let reply = self.send(Method::GET, path, query, None::<&()>).await?;
        if reply.is_success() { reply.json() } else { Err(reply.failure()) }
    }

    /// GET text.
    pub(crate) async fn get_text(&self, path: &str) -> Outcome<String> {
        let reply = self.send(Method::GET, path, &[], None::<&()>).await?;
        if reply.is_success() { Ok(reply.text()) } else { Err(reply.failure()) }
    }

    /// POST a JSON document.
    pub(crate) async fn post(&self, path: &str, body: &impl Serialize) -> Outcome<Reply> {
        self.send(Method::POST, path, &[], Some(body)).await
    }

    /// DELETE.
    pub(crate) async fn delete(&self, path: &str) -> Outcome<Reply> {
        self.send(Method::DELETE, path, &[], None::<&()>).await
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, String)],
        body: Option<&impl Serialize>,
    ) -> Outcome<Reply> {
        let mut url = self.server.clone();
        url.set_path(&format!("{}{path}", self.server.path().trim_end_matches('/')));
        let described = format!("{method} {path}");
        let mut request = self.http.request(method, url).query(query);
        if let Some(body) = body {
            request = request.json(body);
        }
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {}", token.expose()));
        }
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        let body =
            response.bytes().await.doing(format!("read the answer to {described}"))?.to_vec();
        Ok(Reply { status, body, request: described })
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        let failure = Failure::because(format!("no answer from {}", self.server), error);
        let words = failure.message();
        let help = if words.contains("InvalidContentType") {
            "nothing there speaks TLS: write http:// in --server"
        } else if words.contains("certificate") {
            "the control plane is not one that is trusted here: give its admin token with --server-token-file, \
             or its CA with --server-ca-file"
        } else if words.contains("HTTP version") {
            "an API that is not on loopback speaks TLS: write https:// in --server; \
             on loopback, is this the API's port? that is 5681 unless told otherwise"
        } else if error.is_connect() {
            self.absent
        } else {
            return failure;
        };
        failure.help(help)
    }
}

impl Reply {
    /// 2xx.
    pub(crate) fn is_success(&self) -> bool {
        self.status.is_success()
    }

    /// 404.
    pub(crate) fn is_not_found(&self) -> bool {
        self.status == StatusCode::NOT_FOUND
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Outcome<Value> {
        serde_json::from_slice(&self.body)
            .doing(format!("understand the answer to {}", self.request))
            .map_err(|failure| {
                failure.help("something else may listen there; look at --server, or --from")
            })
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The problem document of a refusal, null where there is none.
    pub(crate) fn problem(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The refusal in words.
    pub(crate) fn failure(&self) -> Failure {
        let problem = self.problem();
        let wrong: Vec<_> = problem["invalid_parameters"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|wrong| {
                Some(format!("{}: {}", wrong["field"].as_str()?, wrong["reason"].as_str()?))
            })
            .collect();
        let message = match (wrong.as_slice(), problem["detail"].as_str()) {
            ([], Some(detail)) => detail.to_owned(),
            ([], None) => format!("{}: {}", self.request, self.status),
            (wrong, _) => wrong.join("; "),
        };
        let failure = Failure::new(message);
        match self.status {
            StatusCode::NOT_FOUND if problem["detail"].is_null() => {
                failure.help("is --server the address of a control plane's API?")
            }
            StatusCode::UNAUTHORIZED => {
                failure.help("give an admin token with --server-token-file")
            }
            _ => failure,
        }
    }
}
