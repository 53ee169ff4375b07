//! `ursa explain request`: what becomes of one request at a proxy, and why.

mod permitted;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};
use ursa_model::duration::{Duration, DurationError};

use super::proxy::{ProxyArgs, origin};
use super::trace::{in_full, whole_id};
use crate::client::Client;
use crate::failure::{Failure, Outcome};
use crate::output::{Form, Output, counted};

/// One request at a proxy: may it come in, is it traced, written down, counted; and what decides.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ursa explain request frontend --path /healthz
  ursa explain request frontend -X POST --path /pay -H 'x-client-trace-id: 7' --status 503
  ursa explain request frontend --outbound cart --path /items
  ursa explain request orders --from frontend     # may it come in, and which line decides
  ursa explain request frontend --trace 4bf92f3577b34da6a3ce929d0e0e4736")]
pub(super) struct Arguments {
    #[command(flatten)]
    proxy: ProxyArgs,
    /// A request of the past, by its trace's id: 32 hex digits, or 16 for 64 bits. Of a trace that the control plane holds, its first digits are enough.
    #[arg(long, value_name = "ID", conflicts_with_all = ["method", "host", "path", "header", "outbound", "from", "port", "status", "duration", "flag"])]
    trace: Option<String>,
    /// The method.
    #[arg(short = 'X', long, default_value = "GET")]
    method: String,
    /// The host that is asked for.
    #[arg(long)]
    host: Option<String>,
    /// The path, with its query.
    #[arg(long, default_value = "/")]
    path: String,
    /// A header, `name: value`. May be repeated, also with one name. With x-request-id, what Envoy draws is known.
    #[arg(short = 'H', long, value_name = "HEADER", value_parser = header)]
    header: Vec<(String, String)>,
    /// It goes out to this service, rather than coming in.
    #[arg(long, value_name = "SERVICE")]
    outbound: Option<String>,
    /// It comes from this service: may it come in, and which policy's line decides.
    #[arg(long, value_name = "SERVICE", conflicts_with = "outbound")]
    from: Option<String>,
    /// Only at the listener on this port.
    #[arg(long)]
    port: Option<u16>,
    /// The status of its answer, for filters of access logs.
    #[arg(long)]
    status: Option<u16>,
    /// How long it takes, such as 250ms or 2s, likewise; a number alone is milliseconds.
    #[arg(long, value_name = "DURATION", value_parser = milliseconds)]
    duration: Option<u64>,
    /// A response flag of Envoy, likewise. May be repeated.
    #[arg(long)]
    flag: Vec<String>,
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("a header is written `name: value`")?;
    Ok((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
}

fn milliseconds(text: &str) -> Result<u64, String> {
    if let Ok(number) = text.parse() {
        return Ok(number);
    }
    let duration: Duration = text.parse().map_err(|error: DurationError| error.to_string())?;
    u64::try_from(duration.get().as_millis()).map_err(|error| error.to_string())
}

impl Arguments {
    async fn body(&self, client: &Client) -> Outcome<Value> {
        if let Some(trace) = &self.trace {
            let id = match in_full(trace) {
                Some(id) => id,
                None => whole_id(client, trace).await?,
            };
            return Ok(json!({ "trace": id }));
        }
        let mut headers: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (name, value) in &self.header {
            headers.entry(name).or_default().push(value);
        }
        let flags = Some(&self.flag).filter(|flags| !flags.is_empty());
        Ok(json!({
            "method": self.method, "host": self.host, "path": self.path, "headers": headers,
            "outbound": self.outbound, "from": self.from, "port": self.port, "status": self.status,
            "durationMs": self.duration, "flags": flags,
        }))
    }
}

pub(super) async fn run(arguments: &Arguments, client: &Client, output: Output) -> Outcome {
    let body = arguments.body(client).await?;
    let reply = client.post(&arguments.proxy.path("_request"), &body).await?;
    if !reply.is_success() {
        return Err(reply.failure());
    }
    let answer = reply.json()?;
    if arguments.proxy.output != Form::Table {
        output.structured(arguments.proxy.output, &answer)?;
    } else if answer["trace"].is_string()
        && answer["traced"] != true
        && listeners(&answer).is_empty()
    {
        return Err(unknown(&answer));
    } else {
        output.result(&text(&answer))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn listeners(answer: &Value) -> &[Value] {
    answer["listeners"].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Nothing is known of a trace at this proxy.
fn unknown(answer: &Value) -> Failure {
    let seen: Vec<_> = answer["seenBy"].as_array().into_iter().flatten().map(proxy).collect();
    let failure =
        Failure::new("no span of this trace came from the proxy, as far back as is remembered");
    if seen.is_empty() {
        failure.help("nor from any other; was it sampled where it began? describe the request by --method, --path and --header")
    } else {
        failure.help(format!("spans of it came from {}", seen.join(", ")))
    }
}

fn proxy(id: &Value) -> String {
    match id.as_str() {
        Some(text) => text.to_owned(),
        None => format!("{}/{}", string(&id["mesh"]), string(&id["name"])),
    }
}

fn string(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn text(answer: &Value) -> String {
    let mut text = String::new();
    if answer["trace"].is_string() {
        let spans = answer["audit"]["spans"].as_array().map_or(0, Vec::len);
        line(
            &mut text,
            0,
            &format!(
                "{} of this trace came from {}",
                counted(spans as u64, "span"),
                proxy(&answer["proxy"])
            ),
        );
        for span in answer["audit"]["spans"].as_array().into_iter().flatten() {
            let stages = span["stages"].as_array().map(Vec::as_slice).unwrap_or_default();
            let last = stages.last().map_or_else(String::new, stage);
            line(&mut text, 2, &format!("span {}: {last}", string(&span["spanId"])));
        }
        text.push('\n');
        if !listeners(answer).is_empty() {
            line(&mut text, 0, "What the policies that are in effect now make of such a request:");
        }
    }
    for listener in listeners(answer) {
        of_listener(listener, &mut text);
    }
    text
}

fn stage(stage: &Value) -> String {
    let mut words = format!("{} {}", string(&stage["stage"]), string(&stage["verdict"]));
    for field in ["rule", "backend", "detail"] {
        if let Some(more) = stage[field].as_str() {
            write!(words, ", {more}").expect("writing to a string does not fail");
        }
    }
    words
}

fn line(text: &mut String, indent: usize, words: &str) {
    writeln!(text, "{:indent$}{words}", "").expect("writing to a string does not fail");
}

fn of_listener(listener: &Value, text: &mut String) {
    let request = &listener["request"];
    if request.is_null() {
        line(text, 0, &format!("a connection at {}", string(&listener["listener"])));
        return permitted::of_listener(listener, text);
    }
    let (method, host, path) =
        (string(&request["method"]), string(&request["host"]), string(&request["path"]));
    line(text, 0, &format!("{method} {host}{path} at {}", string(&listener["listener"])));
    permitted::of_listener(listener, text);
    let context = listener["context"].as_array().map(Vec::as_slice).unwrap_or_default();
    if !context.is_empty() {
        line(text, 2, "trace context:");
    }
    for carried in context {
        line(text, 4, string(&carried["words"]));
    }
    let baggage = listener["baggage"].as_array().map(Vec::as_slice).unwrap_or_default();
    if !baggage.is_empty() {
        line(text, 2, "baggage:");
    }
    for handled in baggage {
        line(text, 4, string(&handled["words"]));
        if let Some(field) = handled["field"].as_str() {
            line(text, 6, &format!("{field}: {}", origin(&handled["origin"], &[])));
        }
    }
    if listener["route"].is_object() {
        of_route(&listener["route"], text);
    }
    let traced = &listener["traced"];
    line(text, 2, &format!("traced: {}", verdict(&traced["verdict"])));
    if traced["decider"].is_object() {
        let decider = &traced["decider"];
        line(
            text,
            4,
            &format!("{}; {}", string(&decider["words"]), origin(&decider["origin"], &[])),
        );
    }
    for step in traced["steps"].as_array().into_iter().flatten() {
        line(text, 4, string(&step["words"]));
        if step["field"].is_string() && !traced["decider"].is_object() {
            let by = format!("{}: {}", string(&step["field"]), origin(&step["origin"], &[]));
            line(text, 6, &by);
        }
    }
    if let Some(words) = traced["onward"].as_str() {
        line(text, 4, words);
    }
    let logs = listener["logged"].as_array().map(Vec::as_slice).unwrap_or_default();
    if logs.is_empty() {
        line(text, 2, "logged: no; no policy says where");
    }
    for log in logs {
        line(text, 2, &format!("logged to {}: {}", string(&log["to"]), verdict(&log["verdict"])));
        for words in log["words"].as_array().into_iter().flatten() {
            line(text, 4, string(words));
        }
    }
    for by in listener["logPolicies"].as_array().into_iter().flatten() {
        line(text, 4, &origin(by, &[]));
    }
    let counted: Vec<_> =
        listener["counted"]["by"].as_array().into_iter().flatten().map(string).collect();
    let is_delivered = listener["counted"]["delivered"] == true;
    let delivered = if is_delivered { "" } else { "; no policy delivers it by OTLP" };
    line(text, 2, &format!("counted: yes, in {}{delivered}", counted.join(", ")));
}

/// Where it goes, and who says so.
fn of_route(route: &Value, text: &mut String) {
    let to = &route["to"];
    let shares = to["clusters"].as_array().map(Vec::as_slice).unwrap_or_default();
    let goes = if let Some(status) = to["redirect"].as_u64() {
        format!("answered with a redirect, {status}")
    } else if let Some(status) = to["status"].as_u64() {
        format!("answered with {status}: no service can be reached")
    } else if let [one] = shares {
        format!("goes to {}", string(&one["cluster"]))
    } else {
        let share =
            |one: &Value| format!("{} {} %", string(&one["cluster"]), percent(&one["share"]));
        format!("goes to {}", shares.iter().map(share).collect::<Vec<_>>().join(", "))
    };
    line(text, 2, &goes);
    if let Some(name) = route["name"].as_str() {
        line(text, 4, &format!("by MeshHTTPRoute {name}; {}", origin(&route["origin"], &[])));
    }
}

fn percent(share: &Value) -> String {
    let percent = format!("{:.2}", share.as_f64().unwrap_or_default() * 100.0);
    percent.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn verdict(verdict: &Value) -> String {
    match string(&verdict["is"]) {
        "yes" => "yes".to_owned(),
        "no" => "no".to_owned(),
        "share" => format!("by chance, {} % of such requests", percent(&verdict["of"])),
        _ => {
            let on: Vec<_> = verdict["on"].as_array().into_iter().flatten().map(string).collect();
            let share = match percent(&verdict["of"]).as_str() {
                "100" => String::new(),
                percent => format!(", and then {percent} % of them"),
            };
            format!("depends on {}{share}", on.join(" and "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_decides_is_said_with_its_line() {
        let by = json!({"policy": {"kind": "MeshTrace", "mesh": "default", "name": "all"}, "file": "p.yaml", "place": {"line": 9}});
        let answer = json!({"proxy": {"mesh": "default", "name": "web"}, "listeners": [{
            "listener": "inbound:80", "request": {"method": "GET", "host": "shop", "path": "/items"},
            "context": [{"format": "b3", "words": "`b3` is there, but not in the list: it passes as it is"}],
            "route": {"name": "canary", "origin": by, "to": {"clusters": [
                {"cluster": "catalog", "share": 0.9}, {"cluster": "catalog:version=v2", "share": 0.1}]}},
            "baggage": [{"words": "`a` may not come in", "field": "baggage.incoming", "origin": by}, {"words": "goes on as `b=c`"}],
            "traced": {"verdict": {"is": "no"}, "decider": null, "onward": "what goes on says not recorded", "steps": [
                {"by": "random", "field": "sampling.random", "origin": by,
                 "words": "random is 10 %: the request id draws 1234 of 10000, which is not below 1000"}]},
            "logged": [{"to": "file /tmp/log", "verdict": {"is": "open", "on": ["status"], "of": 0.5},
                "words": ["status from 500 to 999: is not known here"]}],
            "logPolicies": [by], "counted": {"by": ["http.inbound_80.downstream_rq_total"], "delivered": false},
        }]});
        insta::assert_snapshot!(text(&answer), @r"
        GET shop/items at inbound:80
          may come in: yes, from anyone; the mesh has no mTLS
          trace context:
            `b3` is there, but not in the list: it passes as it is
          baggage:
            `a` may not come in
              baggage.incoming: set by MeshTrace default/all (p.yaml:9)
            goes on as `b=c`
          goes to catalog 90 %, catalog:version=v2 10 %
            by MeshHTTPRoute canary; set by MeshTrace default/all (p.yaml:9)
          traced: no
            random is 10 %: the request id draws 1234 of 10000, which is not below 1000
              sampling.random: set by MeshTrace default/all (p.yaml:9)
            what goes on says not recorded
          logged to file /tmp/log: depends on status, and then 50 % of them
            status from 500 to 999: is not known here
            set by MeshTrace default/all (p.yaml:9)
          counted: yes, in http.inbound_80.downstream_rq_total; no policy delivers it by OTLP
        ");
    }

    #[test]
    fn durations_have_units() {
        let read = ["1500", "250ms", "2s"].map(milliseconds);
        assert_eq!(read, [Ok(1500), Ok(250), Ok(2000)]);
        assert!(milliseconds("long").is_err());
    }

    #[test]
    fn headers_are_names_and_values() {
        assert_eq!(header("X-A: b: c"), Ok(("x-a".to_owned(), "b: c".to_owned())));
        assert!(header("x-a").is_err());
    }
}
