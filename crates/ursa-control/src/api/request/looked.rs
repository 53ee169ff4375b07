//! What a proxy, as it is configured, makes of a request, and who says so.

use serde_json::{Value, json};
use ursa_envoy::proxy::{
    Decider, Direction, HttpListener, Listener, ListenerKind, ProxyConfig, Route, RouteAction,
    Sampling, stat_name,
};
use ursa_envoy::request::{
    By, Carried, Fate, Request, Step, Traced, baggage, logged, matches, onward, traced,
};
use ursa_model::ProxyId;
use ursa_model::path::Path as FieldPath;
use ursa_policies::effective::{Effective, ROUTES};
use ursa_policies::explain::{Explained, ExplainedValue};
use ursa_policies::kind::Policy as _;
use ursa_policies::merge::Origin;
use ursa_policies::mesh_http_route::{self, MeshHttpRoute};
use ursa_policies::mesh_trace::TraceContext;

use super::asked::Case;
use crate::api::{Api, permitted};
use crate::generate::{self, Consider};
use crate::snapshot::MeshSnapshot;

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
pub(super) struct Proxy {
    config: ProxyConfig,
    effective: Vec<Effective>,
    explained: Vec<Explained>,
    /// Formats of trace context that are listed, and not read without the module.
    lost: Vec<&'static str>,
    /// Whether baggage is in the list.
    lists_baggage: bool,
    /// Why nobody keeps to the rules for baggage, if there are some.
    not_held: Option<String>,
}

impl Proxy {
    pub(super) fn of(api: &Api, mesh: &MeshSnapshot, id: &ProxyId) -> Option<Self> {
        let proxy = mesh.proxy(&id.name)?;
        let (abilities, site) = (api.planner.proxies.abilities(id), api.planner.site());
        let effective = generate::policies(mesh, proxy, site, Consider::Applied);
        let (config, generated) = generate::compose(&effective, mesh, proxy, &abilities, site);
        let baggage = FieldPath::root().key("baggage");
        let not_held = generated.applied.without_effect.get(&baggage).cloned();
        let context = generated.applied.context;
        Some(Self {
            config,
            lists_baggage: context.as_ref().is_some_and(TraceContext::lists_baggage),
            not_held,
            explained: effective.iter().map(Effective::explain).collect(),
            lost: context.map(|context| context.lost).unwrap_or_default(),
            effective,
        })
    }

    /// What each listener that is meant makes of a request.
    pub(super) fn look(&self, case: &Case) -> Vec<Value> {
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
    pub(super) fn has_no_such_listener(&self) -> String {
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
        let envoy = self.config.abilities.envoy.as_deref();
        let onward = if case.was_seen { None } else { onward(http, request, &traced, envoy) };
        let baggage = if case.was_seen { Vec::new() } else { self.baggage(http, request) };
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
            "baggage": baggage,
            "traced": {
                "verdict": traced.verdict,
                "decider": decider.map(|decider| self.decider(decider, route)),
                "steps": steps,
                "onward": onward,
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

    /// What becomes of its baggage, with the setting that says so. Not of a proxy that traces nothing, where no rule holds
    /// and none is asked for.
    fn baggage(&self, http: &HttpListener, request: &Request) -> Vec<Value> {
        let not_held = self.not_held.as_ref().map(|why| {
            let words = format!("the rules for it are not kept to: {why}");
            json!({"words": words, "field": "baggage", "origin": self.origin_within("baggage")})
        });
        let handled = baggage(http, request, self.lists_baggage).into_iter().map(|handled| {
            let mut shown = json!(handled);
            if let Some(field) = handled.field {
                shown["origin"] = self.origin_within(field);
            }
            shown
        });
        not_held.into_iter().chain(handled).collect()
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

    /// Who sets the first that is set of what is in a setting of MeshTrace, or the setting itself.
    fn origin_within(&self, field: &str) -> Value {
        let is_within = |path: String| {
            path.strip_prefix(field)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        let mut values = self.values("MeshTrace").filter(|it| is_within(it.path.to_string()));
        json!(values.find_map(|value| value.origin.as_ref()))
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
