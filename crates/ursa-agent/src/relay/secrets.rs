//! What Envoy asks for by SDS: the agent answers it itself. Keys are made beside Envoy and never relayed.

use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, Resource,
};
use ursa_envoy::identity::SDS;
use ursa_envoy::proxy::{IDENTITY_SECRET, TRUST_SECRET};

use super::cache::{Item, Shelf};
use super::subscription::Subscription;
use super::{TypeStatus, response};

/// What Envoy may ask for. A proxy without a certificate has none of it yet: Envoy waits.
const NAMES: [&str; 2] = [IDENTITY_SECRET, TRUST_SECRET];

/// The secrets of Envoy, and what it has of them.
#[derive(Debug, Default)]
pub(crate) struct EnvoySecrets {
    shelf: Shelf,
    wants: Option<Subscription>,
    serial: u64,
    /// They are given up as soon as Envoy asks for none.
    retired: bool,
}

impl EnvoySecrets {
    pub(super) fn envoy_opened(&mut self) {
        self.wants = Some(Subscription::default());
    }

    pub(super) fn envoy_closed(&mut self) {
        self.wants = None;
        self.give_up();
    }

    /// These are to be held from now on.
    pub(super) fn hold(&mut self, items: Vec<(&'static str, Item)>) {
        self.retired = false;
        self.serial += 1;
        let resources = items.into_iter().map(|(name, item)| Resource {
            name: name.to_owned(),
            version: item.version,
            resource: Some(item.body),
            ..Resource::default()
        });
        let update = DeltaDiscoveryResponse {
            type_url: SDS.to_owned(),
            resources: resources.collect(),
            ..DeltaDiscoveryResponse::default()
        };
        for name in self.shelf.apply(update, self.serial) {
            if let Some(wants) = &mut self.wants {
                wants.touch(&name);
            }
        }
        // Nobody else waits for the answer.
        drop(self.shelf.answers(|_| false));
    }

    /// None is to be held, once Envoy asks for none.
    pub(super) fn retire(&mut self) {
        self.retired = true;
        self.give_up();
    }

    fn give_up(&mut self) {
        let wants = self.wants.as_ref();
        let wanted = wants.is_some_and(|wants| NAMES.iter().any(|name| wants.wants(name)));
        if self.retired && !wanted {
            self.shelf = Shelf::default();
        }
    }

    /// Envoy subscribes, answers, or both. Returns the names that there will never be anything of.
    pub(super) fn request(&mut self, request: DeltaDiscoveryRequest) -> Vec<String> {
        let Some(wants) = &mut self.wants else { return Vec::new() };
        if !request.response_nonce.is_empty() {
            let words = request.error_detail.as_ref().map(|status| status.message.as_str());
            wants.answered(&request.response_nonce, words, &mut self.shelf);
        }
        let (known, unknown): (Vec<_>, Vec<_>) = request
            .resource_names_subscribe
            .into_iter()
            .partition(|name| NAMES.contains(&name.as_str()));
        // An empty first subscription would mean everything.
        if !known.is_empty() || !request.resource_names_unsubscribe.is_empty() {
            let (gone, held) =
                (request.resource_names_unsubscribe, request.initial_resource_versions);
            wants.subscribe(known, &gone, held, &self.shelf);
            self.give_up();
        }
        unknown.into_iter().filter(|name| name != "*").collect()
    }

    /// What to send now, if anything.
    pub(super) fn next(
        &mut self,
        nonce: impl FnOnce() -> String,
    ) -> Option<DeltaDiscoveryResponse> {
        let Self { shelf, wants, .. } = self;
        let wants = wants.as_mut()?;
        wants.settle(shelf);
        let (nonce, changes) = wants.next(shelf, None, nonce)?;
        Some(response(SDS, nonce, changes))
    }

    /// Whether Envoy has taken all of them.
    pub(super) fn is_taken(&self) -> bool {
        let held =
            |name: &&str| self.shelf.offered(name).item.is_some() && self.shelf.is_judged(name);
        !self.retired
            && self.wants.as_ref().is_some_and(Subscription::is_settled)
            && NAMES.iter().all(held)
            && self.shelf.refused().is_empty()
    }

    pub(super) fn status(&self) -> TypeStatus {
        TypeStatus { resources: self.shelf.len(), unanswered: 0, refused: self.shelf.refused() }
    }
}

#[cfg(test)]
mod tests {
    use envoy_types::pb::google::protobuf::Any;
    use envoy_types::pb::google::rpc::Status;
    use ursa_envoy::resources::LDS;

    use super::*;
    use crate::identity::Secrets;
    use crate::relay::{Action, Relay};

    fn hold(relay: &mut Relay, items: &[(&'static str, &str)]) {
        let items = items.iter().map(|(name, version)| {
            let body = Any { type_url: SDS.to_owned(), value: version.as_bytes().to_vec() };
            (*name, Item { version: (*version).to_owned(), body })
        });
        relay.secrets(Secrets::Hold(items.collect()));
    }

    fn request(names: &[&str], gone: &[&str]) -> DeltaDiscoveryRequest {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        DeltaDiscoveryRequest {
            type_url: SDS.to_owned(),
            resource_names_subscribe: owned(names),
            resource_names_unsubscribe: owned(gone),
            ..DeltaDiscoveryRequest::default()
        }
    }

    /// The secrets that Envoy was sent, which it takes or refuses.
    fn exchange(relay: &mut Relay, refuse: Option<&str>) -> Vec<String> {
        let mut sent = Vec::new();
        loop {
            let responses: Vec<_> = relay
                .take_actions()
                .into_iter()
                .filter_map(|action| match action {
                    Action::Respond(response) if response.type_url == SDS => Some(response),
                    _ => None,
                })
                .collect();
            if responses.is_empty() {
                return sent;
            }
            for response in responses {
                let there = response.resources.iter();
                sent.extend(there.map(|it| format!("{}={}", it.name, it.version)));
                sent.extend(response.removed_resources.iter().map(|name| format!("-{name}")));
                let status =
                    |words: &str| Status { message: words.to_owned(), ..Status::default() };
                let mut answer = request(&[], &[]);
                answer.response_nonce = response.nonce;
                answer.error_detail = refuse.map(status);
                relay.request(answer);
            }
        }
    }

    /// A listener comes and is taken.
    fn listener(relay: &mut Relay, version: &str, body: &[u8]) {
        let all = |type_url: &str| DeltaDiscoveryRequest {
            type_url: type_url.to_owned(),
            resource_names_subscribe: vec!["*".to_owned()],
            ..DeltaDiscoveryRequest::default()
        };
        relay.request(all(LDS));
        let body = Any { type_url: LDS.to_owned(), value: body.to_vec() };
        let resource = Resource {
            name: "in".to_owned(),
            version: version.to_owned(),
            resource: Some(body),
            ..Resource::default()
        };
        relay.update(DeltaDiscoveryResponse {
            type_url: LDS.to_owned(),
            resources: vec![resource],
            ..DeltaDiscoveryResponse::default()
        });
        for action in relay.take_actions() {
            if let Action::Respond(response) = action {
                relay.request(DeltaDiscoveryRequest {
                    type_url: response.type_url,
                    response_nonce: response.nonce,
                    ..DeltaDiscoveryRequest::default()
                });
            }
        }
    }

    #[test]
    fn envoy_waits_for_its_first_certificate_and_is_given_each_new_one() {
        let mut relay = Relay::default();
        relay.envoy_opened();
        relay.request(request(&["identity"], &[]));
        relay.request(request(&["trust"], &[]));
        assert!(exchange(&mut relay, None).is_empty());
        hold(&mut relay, &[("trust", "1")]);
        assert_eq!(exchange(&mut relay, None), ["trust=1"]);
        hold(&mut relay, &[("trust", "1"), ("identity", "a")]);
        assert_eq!(exchange(&mut relay, None), ["identity=a"]);
        assert!(!relay.is_secured(), "no listener asks for it");
        listener(&mut relay, "1", b"plain");
        assert!(!relay.is_secured());
        listener(&mut relay, "2", super::super::LISTENS_BY_TLS);
        assert!(relay.is_secured());
        hold(&mut relay, &[("trust", "1"), ("identity", "b")]);
        assert_eq!(exchange(&mut relay, None), ["identity=b"]);

        // What it refuses is told; what it had goes on.
        hold(&mut relay, &[("trust", "1"), ("identity", "c")]);
        assert_eq!(exchange(&mut relay, Some("bad key")), ["identity=c"]);
        assert_eq!(relay.status()[SDS].refused["identity"], "bad key");
        hold(&mut relay, &[("trust", "1"), ("identity", "d")]);
        assert_eq!(exchange(&mut relay, None), ["identity=d"]);
        assert!(relay.is_secured());

        // Another Envoy is given all of it.
        relay.envoy_closed();
        relay.envoy_opened();
        relay.request(request(&["identity", "trust", "other"], &[]));
        let mut sent = exchange(&mut relay, None);
        sent.sort();
        assert_eq!(sent, ["-other", "identity=d", "trust=1"]);

        // Given up when it is asked for no more.
        relay.secrets(Secrets::Retire);
        assert_eq!(relay.status()[SDS].resources, 2);
        relay.request(request(&[], &["identity"]));
        relay.request(request(&[], &["trust"]));
        assert_eq!(relay.status()[SDS].resources, 0);
        for _ in 0..10_000 {
            hold(&mut relay, &[("identity", "e")]);
        }
        assert_eq!(relay.secrets.shelf.waiting(), 0, "nothing piles up");
    }
}
