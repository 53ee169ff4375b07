//! What becomes of one request at a proxy: `POST /meshes/{mesh}/dataplanes/{name}/_request`.
//!
//! By hand: what the proxy's configuration makes of a request that is described. By trace id: what is known of that trace (its agent's audit, the
//! window of recent telemetry), and what the configuration makes of the request that its spans describe.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use ursa_envoy::proxy::{
    Decider, Direction, HttpListener, Listener, ListenerKind, ProxyConfig, Route, RouteAction,
    Sampling, stat_name,
};
use ursa_envoy::questions::About;
use ursa_envoy::request::{
    Answer, By, Carried, Fate, Request, Step, Traced, logged, matches, traced,
};
use ursa_model::ProxyId;
use ursa_model::path::Path as FieldPath;
use ursa_policies::effective::{Effective, ROUTES};
use ursa_policies::explain::{Explained, ExplainedValue};
use ursa_policies::kind::Policy as _;
use ursa_policies::merge::Origin;
use ursa_policies::mesh_http_route::{self, MeshHttpRoute};

use super::Api;
use super::permitted::{self, Callers};
use super::pipelines::trace_id;
use super::problem::Problem;
use crate::generate::{self, Consider};
use crate::snapshot::MeshSnapshot;
use crate::telemetry::TraceId;

/// Headers of one request.
const MAX_HEADERS: usize = 100;

/// The body: a trace, or a request by hand.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(crate) struct Asked {
    /// 32 hexadecimal digits, or 16.
    trace: Option<String>,
    method: Option<String>,
    host: Option<String>,
    path: Option<String>,
    headers: BTreeMap<String, String>,
    /// The service that an outbound leads to; unset: it comes in.
    outbound: Option<String>,
    /// The service that calls, of which is said whether it may.
    from: Option<String>,
    /// The port of the listener; unset: all of the direction.
    port: Option<u16>,
    status: Option<u32>,
    duration_ms: Option<u64>,
    flags: Option<Vec<String>>,
}

/// A request and where it is looked at.
struct Case {
    request: Request,
    answer: Answer,
    direction: Direction,
    destination: Option<String>,
    port: Option<u16>,
    /// Who calls. Set: listeners that do not speak HTTP are looked at, too.
    callers: Option<Callers>,
    /// Whether it is as the tracer saw it, after what the module may have made of it.
    was_seen: bool,
}

/// Whether a request is, or was, traced, written down and counted, and what decides.
pub(crate) async fn explain(
    State(api): State<Api>,
    Path((mesh, name)): Path<(String, String)>,
    body: Result<Json<Asked>, JsonRejection>,
) -> Result<Json<Value>, Problem> {
    let Json(asked) = body?;
    if asked.headers.len() > MAX_HEADERS {
        return Err(Problem::parameter("headers", format!("must be {MAX_HEADERS} or fewer")));
    }
    let id = ProxyId::new(mesh, name);
    let snapshots = api.planner.snapshots();
    let mesh = snapshots.mesh(&id.mesh);
    let proxy = Proxy::of(&api, &mesh, &id)
        .ok_or_else(|| Problem::not_found(format!("there is no {}", id.resource_key())))?;
    let Some(trace) = &asked.trace else {
        let mut case = asked.case();
        if let Some(service) = &asked.from {
            let callers = Callers::of_service(&mesh, service);
            if callers.is_empty() {
                let message = format!("no Dataplane of the mesh is of a service `{service}`");
                return Err(Problem::parameter("from", message));
            }
            case.callers = Some(callers);
        }
        let looked = proxy.look(&case);
        if looked.is_empty() {
            let field = if asked.port.is_some() { "port" } else { "outbound" };
            return Err(Problem::parameter(field, proxy.has_no_such_listener()));
        }
        return Ok(Json(json!({"proxy": id, "listeners": looked})));
    };
    let bytes = trace_id(trace).ok_or_else(|| {
        Problem::parameter("trace", "a trace id has 32 hexadecimal digits, or 16 for 64 bits")
    })?;
    let audits = api.questions.ask_all(api.questions.proxies(), &About::Trace(bytes.clone())).await;
    let saw = |audit: &Value| audit["audit"]["spans"].as_array().is_some_and(|it| !it.is_empty());
    let seen_by: Vec<_> = audits
        .iter()
        .filter(|(_, audit)| audit.as_ref().is_ok_and(saw))
        .map(|(id, _)| id)
        .collect();
    let own = audits.iter().find(|(of, _)| *of == id).map(|(_, audit)| match audit {
        Ok(audit) => audit["audit"].clone(),
        Err(error) => json!({ "error": error.to_string() }),
    });
    let traced = own.as_ref().is_some_and(|audit| saw(&json!({ "audit": audit })));
    let looked: Vec<_> =
        cases(&api, &bytes, &id).iter().flat_map(|case| proxy.look(case)).collect();
    Ok(Json(json!({
        "proxy": id, "trace": trace, "traced": traced, "seenBy": seen_by, "audit": own,
        "listeners": looked,
    })))
}

impl Asked {
    fn case(&self) -> Case {
        let text =
            |field: &Option<String>, other: &str| field.as_deref().unwrap_or(other).to_owned();
        let headers = self.headers.iter().map(|(name, value)| (name.clone(), value.clone()));
        Case {
            request: Request {
                method: text(&self.method, "GET"),
                authority: text(&self.host, ""),
                path: text(&self.path, "/"),
                headers: headers.collect(),
            },
            answer: Answer {
                status: self.status,
                duration: self.duration_ms.map(Duration::from_millis),
                flags: self.flags.clone(),
            },
            direction: match self.outbound {
                Some(_) => Direction::Outbound,
                None => Direction::Inbound,
            },
            destination: self.outbound.clone(),
            port: self.port,
            callers: None,
            was_seen: false,
        }
    }
}

/// The requests that the spans of a proxy in the window describe.
fn cases(api: &Api, trace: &[u8], id: &ProxyId) -> Vec<Case> {
    let number = <[u8; 16]>::try_from(trace).map(u128::from_be_bytes).unwrap_or_default();
    let text = format!("{number:032x}");
    let detail = text.parse::<TraceId>().ok().and_then(|trace| api.window.trace(trace));
    let spans = detail.into_iter().flat_map(|detail| detail.spans);
    let own = spans.filter(|span| {
        let says = |name: &str, value: &str| span.resource.get(name).is_some_and(|it| it == value);
        says("service.instance.id", &id.name) && says("kuma.mesh", &id.mesh)
    });
    own.map(|span| {
        let parent = span.parent_span_id.as_deref().map(|parent| format!("00-{text}-{parent}-01"));
        case(&span.attributes, parent, span.kind, span.duration_ms)
    })
    .collect()
}

/// What a span says of its request, by OpenTelemetry's names or by Envoy's.
fn case(span: &Map<String, Value>, parent: Option<String>, kind: &str, took_ms: f64) -> Case {
    let text = |names: &[&str]| {
        let found = names.iter().find_map(|name| span.get(*name))?;
        Some(found.as_str().map_or_else(|| found.to_string(), str::to_owned))
    };
    let url = text(&["url.full", "http.url"]).unwrap_or_default();
    let path = text(&["url.path", "http.target"]).or_else(|| {
        let rest = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
        rest.split_once('/').map(|(_, path)| format!("/{path}"))
    });
    let mut headers: Vec<(String, String)> = Vec::new();
    let mut header = |name: &str, value: Option<String>| {
        headers.extend(value.map(|value| (name.to_owned(), value)));
    };
    let id = text(&["envoy.request_id", "guid:x-request-id"]);
    header("x-request-id", id.map(|id| if parent.is_none() { before_drawn(&id) } else { id }));
    header("user-agent", text(&["user_agent.original", "user_agent"]));
    header("traceparent", parent);
    let flags = text(&["envoy.response_flags", "response_flags"]).filter(|flags| flags != "-");
    Case {
        request: Request {
            method: text(&["http.request.method", "http.method"]).unwrap_or_default(),
            authority: text(&["server.address", "http.host"]).unwrap_or_default(),
            path: path.unwrap_or_else(|| "/".to_owned()),
            headers,
        },
        answer: Answer {
            status: text(&["http.response.status_code", "http.status_code"])
                .and_then(|status| status.parse().ok()),
            duration: Duration::try_from_secs_f64(took_ms / 1_000.0).ok(),
            flags: Some(
                flags
                    .map(|flags| flags.split(',').map(str::to_owned).collect())
                    .unwrap_or_default(),
            ),
        },
        direction: if kind == "client" { Direction::Outbound } else { Direction::Inbound },
        destination: None,
        port: None,
        callers: None,
        was_seen: true,
    }
}

/// A request id as it was before the proxy wrote into it that it drew the request: where a trace begins, it was this one.
fn before_drawn(id: &str) -> String {
    const DRAWN: usize = 14;
    let restored = |(at, digit): (usize, char)| match digit {
        '9' if at == DRAWN => '4',
        digit => digit,
    };
    id.chars().enumerate().map(restored).collect()
}

/// The route that takes a request; where nothing is traced nobody has looked yet.
fn taken_by<'h>(
    http: &'h HttpListener,
    request: &Request,
    traced: Option<usize>,
) -> Option<&'h Route> {
    let mut routes = http.routes.routes.iter();
    match traced {
        Some(at) => routes.nth(at),
        None => routes.find(|route| matches(&route.requests, request)),
    }
}

/// A proxy as it is configured, and why.
struct Proxy {
    config: ProxyConfig,
    effective: Vec<Effective>,
    explained: Vec<Explained>,
    /// Formats of trace context that are listed, and not read without the module.
    lost: Vec<&'static str>,
}

impl Proxy {
    fn of(api: &Api, mesh: &MeshSnapshot, id: &ProxyId) -> Option<Self> {
        let proxy = mesh.proxy(&id.name)?;
        let (abilities, site) = (api.planner.proxies.abilities(id), api.planner.site());
        let effective = generate::policies(mesh, proxy, site, Consider::Applied);
        let (config, generated) = generate::compose(&effective, mesh, proxy, &abilities, site);
        Some(Self {
            config,
            explained: effective.iter().map(Effective::explain).collect(),
            lost: generated.applied.context.map(|context| context.lost).unwrap_or_default(),
            effective,
        })
    }

    /// What each listener that is meant makes of a request.
    fn look(&self, case: &Case) -> Vec<Value> {
        let meant = self.config.listeners.iter().filter(|listener| {
            listener.direction == case.direction
                && case.port.is_none_or(|port| port == listener.port)
                && case.destination.as_ref().is_none_or(|to| *to == listener.destination)
        });
        let looked = meant.filter_map(|listener| match &listener.kind {
            ListenerKind::Http(http) => Some(self.at(listener, http, case)),
            ListenerKind::Tcp(_) => case.callers.is_some().then(|| {
                let permitted = self.permitted(listener, case);
                json!({"listener": listener.name, "destination": listener.destination, "permitted": permitted})
            }),
        });
        looked.collect()
    }

    /// Who may call. Null where nobody is asked.
    fn permitted(&self, listener: &Listener, case: &Case) -> Value {
        let mesh = &self.config.id.mesh;
        permitted::of_listener(&self.effective, listener, mesh, case.callers.as_ref())
    }

    /// Which of its listeners could have been meant.
    fn has_no_such_listener(&self) -> String {
        let http = |listener: &&Listener| matches!(listener.kind, ListenerKind::Http(_));
        let named = |listener: &Listener| match listener.direction {
            Direction::Inbound => listener.name.clone(),
            Direction::Outbound => format!("{} to {}", listener.name, listener.destination),
        };
        let has: Vec<_> = self.config.listeners.iter().filter(http).map(named).collect();
        match has.as_slice() {
            [] => "the proxy has no listener that speaks HTTP".to_owned(),
            has => format!(
                "the proxy has no such listener that speaks HTTP; it has {}",
                has.join(", ")
            ),
        }
    }

    fn at(&self, listener: &Listener, http: &HttpListener, case: &Case) -> Value {
        let Case { request, answer, .. } = case;
        let plain = HttpListener { propagation: None, ..http.clone() };
        let traced = traced(if case.was_seen { &plain } else { http }, request);
        let route = taken_by(http, request, traced.route);
        let decider = self.decided_by(&traced, route);
        let told = traced.steps.iter().filter(|step| tells(step, decider));
        let steps: Vec<_> = told.map(|step| self.step(step, decider, route)).collect();
        // What the spans of the past say of the caller says nothing of how it was written.
        let context = traced.context.iter().filter(|_| !case.was_seen);
        let context: Vec<_> = context.map(|carried| self.carried(carried)).collect();
        let logs = listener.access_logs.iter().map(|log| {
            json!(logged(log, request, route.and_then(|route| route.origin.as_deref()), answer))
        });
        let prefix = stat_name(&http.stat_prefix);
        let counted = std::iter::once(format!("http.{prefix}.downstream_rq_total"));
        let clusters = route.into_iter().flat_map(Route::clusters);
        let counted = counted.chain(
            clusters.map(|cluster| format!("cluster.{}.upstream_rq_total", stat_name(cluster))),
        );
        let of_route = route.map(|route| {
            let (host, name) = (stat_name(&http.routes.name), stat_name(&route.counted_as));
            format!("vhost.{host}.route.{name}.upstream_rq_total")
        });
        let counted = counted.chain(of_route);
        json!({
            "listener": listener.name,
            "destination": listener.destination,
            "permitted": self.permitted(listener, case),
            "request": {
                "method": request.method, "host": request.authority, "path": request.path,
                "requestId": request.header("x-request-id"),
            },
            "context": context,
            "traced": {
                "verdict": traced.verdict,
                "decider": decider.map(|decider| self.decider(decider, route)),
                "steps": steps,
            },
            "route": route.map(|route| self.route(listener, route)),
            "logged": logs.collect::<Vec<_>>(),
            "logPolicies": self.log_policies(listener),
            "counted": {
                "by": counted.collect::<Vec<_>>(),
                "delivered": !self.config.pipeline.metrics.backends.is_empty(),
            },
        })
    }

    /// What a request carries, with words.
    fn carried(&self, carried: &Carried) -> Value {
        let mut shown = json!(carried);
        shown["words"] = carried.words(self.lost.contains(&carried.format)).into();
        shown
    }

    /// What decides before the shares: the route, and `sampling.parent` where the caller is kept to and no route needs to say so.
    fn decided_by(&self, traced: &Traced, route: Option<&Route>) -> Option<Decider> {
        let by_route = route.and_then(|route| route.decided_by);
        let sampling = route.map(|route| route.tracing.sampling)?;
        if sampling == Sampling::NONE || !self.is_parent_based(route) {
            return by_route;
        }
        let has_caller = traced.context.iter().any(|carried| carried.fate == Fate::Counts);
        let is_denied = traced.steps.iter().all(|step| step.by == By::Parent);
        let is_kept_to = is_denied || (by_route.is_none() && sampling == Sampling::ALL);
        if has_caller && is_kept_to { Some(Decider::Parent) } else { by_route }
    }

    fn is_parent_based(&self, route: Option<&Route>) -> bool {
        let value = self.value("sampling.parent.enabled", route);
        value.is_some_and(|value| value.value == true)
    }

    /// A step, with the setting that it compares with.
    fn step(&self, step: &Step, decider: Option<Decider>, route: Option<&Route>) -> Value {
        let field = match (step.by, decider) {
            (By::NoTracer, _) => "backends",
            (By::Client | By::Random | By::Overall, Some(Decider::Rule(_))) => "sampling.rules",
            (By::Client, _) => "sampling.client",
            (By::Random, None) if !self.origin("sampling.parent.fallback", route).is_null() => {
                "sampling.parent.fallback"
            }
            (By::Random, _) => "sampling.random",
            (By::Overall, _) => "sampling.overall",
            _ => return json!(step),
        };
        let mut shown = json!(step);
        shown["field"] = field.into();
        shown["origin"] = self.origin(field, route);
        shown
    }

    fn decider(&self, decider: Decider, route: Option<&Route>) -> Value {
        let (field, words) = match decider {
            Decider::Rule(index) => ("sampling.rules", format!("rule {index} of `sampling.rules`")),
            Decider::Probe => {
                let words =
                    "probes and `/metrics` are not traced, unless `sampling.traceProbes` says so";
                ("sampling.traceProbes", words.to_owned())
            }
            Decider::Parent => {
                ("sampling.parent.enabled", "`sampling.parent` keeps to the caller".to_owned())
            }
        };
        json!({"field": field, "words": words, "origin": self.origin(field, route)})
    }

    /// Where a route leads, and who says so.
    fn route(&self, listener: &Listener, route: &Route) -> Value {
        let to = match &route.action {
            RouteAction::Forward(forward) => {
                let weights = forward.clusters.iter().map(|it| u64::from(it.weight)).sum::<u64>();
                let shares = forward.clusters.iter().map(|cluster| {
                    let share = f64::from(cluster.weight) / (weights.max(1) as f64);
                    json!({"cluster": cluster.name, "share": share})
                });
                json!({"clusters": shares.collect::<Vec<_>>()})
            }
            RouteAction::Redirect(redirect) => json!({"redirect": redirect.status}),
            RouteAction::Respond { status } => json!({"status": status}),
        };
        let mut shown = json!({"name": route.origin, "to": to});
        let rules =
            FieldPath::root().key("to").key(format!("MeshService {}", listener.destination));
        let origins = self.values(MeshHttpRoute::NAMES.name).filter_map(|value| {
            rules.contains(&value.path).then_some(value.origin.as_ref()).flatten()
        });
        let own = |origin: &&Origin| {
            Some(&origin.policy.name) == route.origin.as_ref()
                && mesh_http_route::counted_as(origin) == route.counted_as
        };
        shown["origin"] = json!(origins.into_iter().find(own));
        shown
    }

    fn values(&self, kind: &str) -> impl Iterator<Item = &ExplainedValue> {
        let of_kind = self.explained.iter().find(|explained| explained.kind == kind);
        of_kind.into_iter().flat_map(|explained| &explained.values)
    }

    /// Who sets a setting of MeshTrace for a route, else for the proxy; null where it is the default.
    fn origin(&self, path: &str, route: Option<&Route>) -> Value {
        json!(self.value(path, route).and_then(|value| value.origin.as_ref()))
    }

    /// A setting of MeshTrace for a route, else for the proxy.
    fn value(&self, path: &str, route: Option<&Route>) -> Option<&ExplainedValue> {
        let of =
            |wanted: &str| self.values("MeshTrace").find(|value| value.path.to_string() == wanted);
        let name = route.and_then(|route| route.origin.as_ref());
        let own = name.map(|name| FieldPath::root().key(ROUTES).key(name));
        own.and_then(|own| of(&format!("{own}.{path}"))).or_else(|| of(path))
    }

    /// Who says where a listener's requests are written down.
    fn log_policies(&self, listener: &Listener) -> Vec<Value> {
        let inbound = listener.direction == Direction::Inbound;
        let meant = self.values("MeshAccessLog").filter(|value| {
            let path = value.path.to_string();
            path.ends_with("backends") && path.starts_with("to") != inbound
        });
        meant.filter_map(|value| value.origin.as_ref()).map(|origin| json!(origin)).collect()
    }
}

/// Whether a step tells why. Where the caller is kept to the shares are all of it, and only what prevents a span does.
fn tells(step: &Step, decider: Option<Decider>) -> bool {
    !matches!(decider, Some(Decider::Parent)) || step.by == By::Parent || step.passes == Some(false)
}
