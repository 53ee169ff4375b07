//! The relay between the control plane and Envoy, as a pure state machine.
//!
//! Upstream it subscribes to every type with the wildcard and keeps what it is told ([`cache`]);
//! downstream it serves Envoy's incremental ADS from there ([`subscription`]), so that Envoy starts,
//! restarts and goes on serving whether or not the control plane is there. The rules:
//!
//! - An update is acknowledged upstream when Envoy has acknowledged what it says, and refused with
//!   Envoy's words when Envoy has refused it. What Envoy has not subscribed to, the agent
//!   acknowledges itself, once Envoy has what might make it subscribe. While no Envoy is there,
//!   updates wait for it.
//! - A refused resource stays what it was before, also for an Envoy that starts later.
//! - Envoy gets changes in the order in which the control plane sent them, over all types, so
//!   that what is referred to is there first.
//! - Endpoints of a cluster that has changed are sent again. Envoy makes a new cluster of it, which
//!   waits for them, and does not ask, since it is subscribed already.
//! - The agent's own types (pipeline, secrets, identity) never go to Envoy. Secret discovery is never relayed: keys
//!   that Envoy asks for are made beside it, by the agent, which answers from what it holds ([`secrets`]).
//!
//! Not here: sockets, time, and what the resources mean.

mod cache;
mod own;
mod secrets;
mod subscription;
mod task;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, Resource,
};
use envoy_types::pb::google::rpc::Status;
use serde::Serialize;
use ursa_envoy::identity::SDS;
use ursa_envoy::resources::{CDS, EDS, IDENTITY, LDS, PIPELINE, RDS, SECRET, TYPES};

use crate::identity::Secrets;
pub(crate) use task::{AdsStream, EVENTS, FromControlPlane, FromEnvoy, Handle, Ports, WRITES, run};

pub(crate) use cache::Item;
use cache::{Change, Shelf};
pub(crate) use own::{Own, Verdicts};
use secrets::EnvoySecrets;
use subscription::Subscription;

/// Envoy's types, in the order in which they are sent; each with the type whose resources make
/// Envoy subscribe to it.
const RELAYED: [(&str, Option<usize>); 4] =
    [(CDS, None), (EDS, Some(0)), (LDS, None), (RDS, Some(2))];

/// The agent's own types.
const OWN: [&str; 3] = [PIPELINE, SECRET, IDENTITY];
/// Where clusters are among [`RELAYED`].
const CLUSTERS: usize = 0;
/// Where their endpoints are. A cluster that is changed is a new one to Envoy, which waits for its endpoints, and does
/// not ask for them where the old one has them: they are sent again.
const ENDPOINTS: usize = 1;
/// Where listeners are among [`RELAYED`].
const LISTENERS: usize = 2;
/// Stands in each listener that asks for secrets.
const LISTENS_BY_TLS: &[u8] = b"envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext";

/// gRPC code of a refused update: INVALID_ARGUMENT.
const REFUSED: i32 = 3;

/// What has to be done after an event.
#[derive(Debug)]
pub(crate) enum Action {
    /// Send to the control plane, if it is connected.
    Answer(Box<DeltaDiscoveryRequest>),
    /// Send to Envoy.
    Respond(DeltaDiscoveryResponse),
    /// The agent's own configuration has changed: call [`Relay::own`], and [`Relay::configured`].
    Configure,
}

/// State of one resource type, for people.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TypeStatus {
    /// Resources that the control plane has given.
    pub resources: usize,
    /// Updates that are not answered yet.
    pub unanswered: usize,
    /// Resources that were refused, with the words; what was there before goes on.
    pub refused: BTreeMap<String, String>,
}

/// The state machine.
#[derive(Debug, Default)]
pub(crate) struct Relay {
    /// In the order of [`TYPES`].
    shelves: [Shelf; TYPES.len()],
    /// Envoy's stream, if one is open; in the order of [`RELAYED`].
    envoy: Option<[Subscription; RELAYED.len()]>,
    secrets: EnvoySecrets,
    serial: u64,
    nonce: u64,
    actions: Vec<Action>,
    unjudged: bool,
}

impl Relay {
    /// The first requests on a new stream to the control plane. The node goes with the first.
    pub(crate) fn upstream_opened(&mut self) -> Vec<DeltaDiscoveryRequest> {
        let requests = TYPES.iter().zip(&mut self.shelves).map(|(type_url, shelf)| {
            shelf.disconnected();
            DeltaDiscoveryRequest {
                type_url: (*type_url).to_owned(),
                resource_names_subscribe: vec!["*".to_owned()],
                initial_resource_versions: shelf.versions(),
                ..DeltaDiscoveryRequest::default()
            }
        });
        requests.collect()
    }

    /// The stream to the control plane has ended. Everything goes on as it is.
    pub(crate) fn upstream_closed(&mut self) {
        self.shelves.iter_mut().for_each(Shelf::disconnected);
    }

    /// The control plane sent an update.
    pub(crate) fn update(&mut self, update: DeltaDiscoveryResponse) {
        let Some(at) = TYPES.iter().position(|known| *known == update.type_url) else {
            let words = "this agent does not know the type".to_owned();
            self.actions.push(Action::Answer(Box::new(DeltaDiscoveryRequest {
                type_url: update.type_url,
                response_nonce: update.nonce,
                error_detail: Some(Status { code: REFUSED, message: words, details: Vec::new() }),
                ..DeltaDiscoveryRequest::default()
            })));
            return;
        };
        self.serial += 1;
        let own = OWN.contains(&update.type_url.as_str());
        let Some(shelf) = self.shelves.get_mut(at) else { return };
        let touched = shelf.apply(update, self.serial);
        if own {
            // The pipeline comes after Envoy's types: what has not come by now is empty.
            self.shelves.iter_mut().take(RELAYED.len()).for_each(|shelf| shelf.synced = true);
            if !touched.is_empty() && !self.unjudged {
                self.unjudged = true;
                self.actions.push(Action::Configure);
            }
        } else if let Some(wants) = self.envoy.as_mut().and_then(|envoy| envoy.get_mut(at)) {
            for name in &touched {
                wants.touch(name);
            }
        }
        self.pump();
    }

    /// What the agent itself is to do.
    pub(crate) fn own(&self) -> Own {
        let shelves =
            TYPES.iter().zip(&self.shelves).filter(|(type_url, _)| OWN.contains(type_url));
        let items = shelves.flat_map(|(type_url, shelf)| {
            let changes = shelf.names().map(|name| shelf.offered(name));
            changes.filter_map(|change| Some(((*type_url, change.name), change.item?)))
        });
        Own { items: items.collect() }
    }

    /// The agent has applied its own resources, except those that it refuses.
    pub(crate) fn configured(&mut self, verdicts: &Verdicts) {
        self.unjudged = false;
        for (type_url, shelf) in TYPES.iter().zip(&mut self.shelves) {
            if !OWN.contains(type_url) {
                continue;
            }
            let new: Vec<String> =
                shelf.names().filter(|name| !shelf.is_judged(name)).cloned().collect();
            for name in new {
                let refusal = verdicts.refusal(type_url, &name);
                shelf.judge(&shelf.offered(&name), refusal.map_or(Ok(()), Err));
            }
        }
        self.pump();
    }

    /// Envoy has opened a stream; an earlier one is over.
    pub(crate) fn envoy_opened(&mut self) {
        self.envoy = Some(<[Subscription; RELAYED.len()]>::default());
        self.secrets.envoy_opened();
    }

    /// Envoy's stream has ended.
    pub(crate) fn envoy_closed(&mut self) {
        self.envoy = None;
        self.secrets.envoy_closed();
    }

    /// What Envoy is to be given by SDS from now on.
    pub(crate) fn secrets(&mut self, secrets: Secrets) {
        match secrets {
            Secrets::Hold(items) => self.secrets.hold(items),
            Secrets::Retire => self.secrets.retire(),
        }
        self.pump();
    }

    /// Whether Envoy has taken the secrets, and all listeners, of which one at least is by TLS.
    pub(crate) fn is_secured(&self) -> bool {
        let (Some(envoy), Some(listeners)) = (&self.envoy, self.shelves.get(LISTENERS)) else {
            return false;
        };
        let by_tls = |name: &String| {
            listeners.offered(name).item.is_some_and(|item| {
                item.body.value.windows(LISTENS_BY_TLS.len()).any(|part| part == LISTENS_BY_TLS)
            })
        };
        self.secrets.is_taken()
            && envoy.get(LISTENERS).is_some_and(Subscription::is_settled)
            && listeners.names().any(by_tls)
    }

    /// Envoy sent a request: a subscription, an answer, or both.
    pub(crate) fn request(&mut self, request: DeltaDiscoveryRequest) {
        let at = RELAYED.iter().position(|(known, _)| *known == request.type_url);
        let Some(at) = at else { return self.not_relayed(request) };
        let Some(wants) = self.envoy.as_mut().and_then(|envoy| envoy.get_mut(at)) else { return };
        let Some(shelf) = self.shelves.get_mut(at) else { return };
        if !request.response_nonce.is_empty() {
            let words = request.error_detail.as_ref().map(|status| status.message.as_str());
            wants.answered(&request.response_nonce, words, shelf);
        }
        wants.subscribe(
            request.resource_names_subscribe,
            &request.resource_names_unsubscribe,
            request.initial_resource_versions,
            shelf,
        );
        self.pump();
    }

    /// A type that the agent answers itself: of what is asked for, only secrets of its own exist.
    fn not_relayed(&mut self, request: DeltaDiscoveryRequest) {
        let type_url = request.type_url.clone();
        let names = if type_url == SDS {
            self.secrets.request(request)
        } else {
            let mut names = request.resource_names_subscribe;
            names.retain(|name| name != "*");
            names
        };
        if !names.is_empty() && self.envoy.is_some() {
            self.nonce += 1;
            self.actions.push(Action::Respond(DeltaDiscoveryResponse {
                type_url,
                removed_resources: names,
                nonce: self.nonce.to_string(),
                ..DeltaDiscoveryResponse::default()
            }));
        }
        self.pump();
    }

    /// Sends what can be sent and answers what can be answered.
    fn pump(&mut self) {
        let Self { shelves, envoy, secrets, nonce, actions, .. } = self;
        let secrets = secrets.next(|| {
            *nonce += 1;
            nonce.to_string()
        });
        actions.extend(secrets.map(Action::Respond));
        if let Some(envoy) = envoy {
            for (wants, shelf) in envoy.iter_mut().zip(shelves.iter_mut()) {
                wants.settle(shelf);
            }
            let backlogs: Vec<Option<u64>> =
                envoy.iter().zip(&*shelves).map(|(wants, shelf)| wants.backlog(shelf)).collect();
            let mut warming: Vec<String> = Vec::new();
            for (at, (wants, shelf)) in envoy.iter_mut().zip(&*shelves).enumerate() {
                if at == ENDPOINTS {
                    for cluster in &warming {
                        wants.send_again(cluster);
                    }
                }
                let others = backlogs.iter().enumerate().filter(|(other, _)| *other != at);
                let barrier = others.filter_map(|(_, backlog)| *backlog).min();
                let next = wants.next(shelf, barrier, || {
                    *nonce += 1;
                    nonce.to_string()
                });
                if let Some((nonce, changes)) = next {
                    if at == CLUSTERS {
                        warming.extend(changes.iter().map(|change| change.name.clone()));
                    }
                    let type_url = RELAYED.get(at).map_or("", |(type_url, _)| type_url);
                    actions.push(Action::Respond(response(type_url, nonce, changes)));
                }
            }
        }
        for (at, (type_url, shelf)) in TYPES.iter().zip(shelves).enumerate() {
            let answers = shelf.answers(|name| is_awaited(envoy.as_ref(), at, name));
            actions.extend(answers.into_iter().map(|answer| {
                let status = |message| Status { code: REFUSED, message, details: Vec::new() };
                Action::Answer(Box::new(DeltaDiscoveryRequest {
                    type_url: (*type_url).to_owned(),
                    response_nonce: answer.nonce,
                    error_detail: answer.refused.map(status),
                    ..DeltaDiscoveryRequest::default()
                }))
            }));
        }
    }

    /// What is to be done since the last call, in order.
    pub(crate) fn take_actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// Whether another update may be taken from the control plane.
    pub(crate) fn has_room(&self) -> bool {
        self.shelves.iter().all(Shelf::has_room)
    }

    /// Whether the control plane has ever said what Envoy and the agent shall do.
    pub(crate) fn is_configured(&self) -> bool {
        TYPES
            .iter()
            .zip(&self.shelves)
            .any(|(type_url, shelf)| *type_url == PIPELINE && shelf.synced)
    }

    /// For people: what there is of each type.
    pub(crate) fn status(&self) -> BTreeMap<&'static str, TypeStatus> {
        let status = TYPES.iter().zip(&self.shelves).map(|(type_url, shelf)| {
            let status = TypeStatus {
                resources: shelf.len(),
                unanswered: shelf.waiting(),
                refused: shelf.refused(),
            };
            (*type_url, status)
        });
        status.chain([(SDS, self.secrets.status())]).collect()
    }
}

/// Whether somebody is going to judge a resource of the type at `at`.
fn is_awaited(envoy: Option<&[Subscription; RELAYED.len()]>, at: usize, name: &str) -> bool {
    let Some((_, parent)) = RELAYED.get(at) else { return true };
    let Some(envoy) = envoy else { return true };
    match (envoy.get(at), parent.and_then(|parent| envoy.get(parent))) {
        (Some(wants), _) if wants.wants(name) => true,
        (_, Some(parent)) => !parent.is_settled(),
        (wants, None) => !wants.is_some_and(Subscription::is_seen),
    }
}

fn response(type_url: &str, nonce: String, changes: &[Change]) -> DeltaDiscoveryResponse {
    let gone = changes.iter().filter(|change| change.item.is_none());
    let there = changes.iter().filter_map(|change| {
        let item = change.item.as_ref()?;
        Some(Resource {
            name: change.name.clone(),
            version: item.version.clone(),
            resource: Some(item.body.clone()),
            ..Resource::default()
        })
    });
    DeltaDiscoveryResponse {
        type_url: type_url.to_owned(),
        nonce,
        resources: there.collect(),
        removed_resources: gone.map(|change| change.name.clone()).collect(),
        ..DeltaDiscoveryResponse::default()
    }
}
