//! The relay against models of a control plane and of Envoy.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use envoy_types::pb::google::protobuf::Any;
use proptest::prelude::*;

use super::*;

/// Envoy refuses versions that begin so.
const BAD: &str = "bad";

fn resource(type_url: &str, name: &str, version: &str) -> Resource {
    let body = Any { type_url: type_url.to_owned(), value: version.as_bytes().to_owned() };
    Resource {
        name: name.to_owned(),
        version: version.to_owned(),
        resource: Some(body),
        ..Resource::default()
    }
}

fn update(
    type_url: &str,
    nonce: &str,
    resources: &[(&str, &str)],
    gone: &[&str],
) -> DeltaDiscoveryResponse {
    DeltaDiscoveryResponse {
        type_url: type_url.to_owned(),
        nonce: nonce.to_owned(),
        resources: resources
            .iter()
            .map(|(name, version)| resource(type_url, name, version))
            .collect(),
        removed_resources: gone.iter().map(|name| (*name).to_owned()).collect(),
        ..DeltaDiscoveryResponse::default()
    }
}

fn subscribe(type_url: &str, names: &[&str]) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        type_url: type_url.to_owned(),
        resource_names_subscribe: names.iter().map(|name| (*name).to_owned()).collect(),
        ..DeltaDiscoveryRequest::default()
    }
}

fn answer(response: &DeltaDiscoveryResponse, refused: Option<&str>) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        type_url: response.type_url.clone(),
        response_nonce: response.nonce.clone(),
        error_detail: refused.map(|words| Status {
            code: REFUSED,
            message: words.to_owned(),
            details: Vec::new(),
        }),
        ..DeltaDiscoveryRequest::default()
    }
}

/// What the relay sent, in words: `> cds n=v -gone` to Envoy, `ack cds 1`, `nack cds 1: words`.
fn said(relay: &mut Relay) -> (Vec<String>, Vec<DeltaDiscoveryResponse>) {
    let (mut words, mut responses) = (Vec::new(), Vec::new());
    let short = |url: &str| match url {
        CDS => "cds",
        EDS => "eds",
        LDS => "lds",
        RDS => "rds",
        PIPELINE => "pipeline",
        _ => "other",
    };
    for action in relay.take_actions() {
        match action {
            Action::Respond(response) => {
                let there = response.resources.iter();
                let there = there.map(|resource| format!("{}={}", resource.name, resource.version));
                let gone = response.removed_resources.iter().map(|name| format!("-{name}"));
                let of = format!("> {}", short(&response.type_url));
                let line: Vec<String> = [of].into_iter().chain(there).chain(gone).collect();
                words.push(line.join(" "));
                responses.push(response);
            }
            Action::Answer(request) => {
                let (of, nonce) = (short(&request.type_url), request.response_nonce);
                words.push(match request.error_detail {
                    None => format!("ack {of} {nonce}"),
                    Some(status) => format!("nack {of} {nonce}: {}", status.message),
                });
            }
            Action::Configure => words.push("configure".to_owned()),
        }
    }
    (words, responses)
}

#[test]
fn an_update_is_answered_when_envoy_has_answered_it() {
    let mut relay = Relay::default();
    relay.upstream_opened();
    relay.update(update(CDS, "1", &[("a", "1")], &[]));
    assert_eq!(said(&mut relay).0, [""; 0], "no Envoy yet");
    relay.envoy_opened();
    relay.request(subscribe(CDS, &[]));
    let (words, responses) = said(&mut relay);
    assert_eq!(words, ["> cds a=1"]);
    relay.request(answer(&responses[0], None));
    assert_eq!(said(&mut relay).0, ["ack cds 1"]);

    relay.update(update(CDS, "2", &[("a", "1")], &[]));
    assert_eq!(said(&mut relay).0, ["ack cds 2"], "Envoy has it already");
    relay.update(update(CDS, "3", &[], &["a", "unknown"]));
    let (words, responses) = said(&mut relay);
    assert_eq!(words, ["> cds -a"]);
    relay.request(answer(&responses[0], None));
    assert_eq!(said(&mut relay).0, ["ack cds 3"]);
}

#[test]
fn one_bad_resource_keeps_no_good_one_out_and_stays_what_it_was() {
    let mut relay = Relay::default();
    relay.upstream_opened();
    relay.envoy_opened();
    relay.request(subscribe(LDS, &["*"]));
    relay.update(update(LDS, "1", &[("x", "1")], &[]));
    let (_, responses) = said(&mut relay);
    relay.request(answer(&responses[0], None));
    said(&mut relay);

    relay.update(update(LDS, "2", &[("x", "bad"), ("y", "1")], &[]));
    let (words, responses) = said(&mut relay);
    assert_eq!(words, ["> lds x=bad y=1"]);
    relay.request(answer(&responses[0], Some("x is bad")));
    let (words, responses) = said(&mut relay);
    assert_eq!(words, ["> lds x=bad"], "one by one, to see which it was");
    relay.request(answer(&responses[0], Some("it is x")));
    let (words, responses) = said(&mut relay);
    assert_eq!(words, ["> lds y=1"]);
    relay.request(answer(&responses[0], None));
    let (words, responses) = said(&mut relay);
    assert_eq!(words, ["> lds x=1", "nack lds 2: it is x"], "back to what was good");
    relay.request(answer(&responses[0], None));
    assert_eq!(said(&mut relay).0, [""; 0]);
    assert_eq!(relay.status()[LDS].refused["x"], "it is x");

    // An Envoy that starts anew gets what was good.
    relay.envoy_opened();
    relay.request(subscribe(LDS, &["*"]));
    let (words, responses) = said(&mut relay);
    assert_eq!(words, ["> lds x=1 y=1"]);
    relay.request(answer(&responses[0], None));
    // A control plane that comes back hears of what was good, and may try again.
    let versions = relay.upstream_opened()[2].initial_resource_versions.clone();
    assert_eq!(
        BTreeMap::from_iter(versions),
        BTreeMap::from([("x", "1"), ("y", "1")].map(|(a, b)| (a.to_owned(), b.to_owned())))
    );
    relay.update(update(LDS, "1", &[("x", "bad")], &[]));
    assert_eq!(said(&mut relay).0, ["> lds x=bad"]);
}

#[test]
fn what_envoy_does_not_want_is_acknowledged_once_it_cannot_be_meant() {
    let mut relay = Relay::default();
    relay.upstream_opened();
    relay.envoy_opened();
    relay.request(subscribe(CDS, &["*"]));
    relay.update(update(CDS, "1", &[("a", "1")], &[]));
    relay.update(update(EDS, "1", &[("a", "1"), ("b", "1")], &[]));
    let (words, responses) = said(&mut relay);
    assert_eq!(words, ["> cds a=1"], "Envoy may yet want the endpoints");
    relay.request(subscribe(EDS, &["a"]));
    let (words, endpoints) = said(&mut relay);
    assert_eq!(words, ["> eds a=1"]);
    relay.request(answer(&responses[0], None));
    assert_eq!(said(&mut relay).0, ["ack cds 1"]);
    relay.request(answer(&endpoints[0], None));
    assert_eq!(said(&mut relay).0, ["ack eds 1"]);
    // Wanted later all the same, and refused: shown here, since the update was answered.
    relay.request(subscribe(EDS, &["b"]));
    let (words, responses) = said(&mut relay);
    assert_eq!(words, ["> eds b=1"]);
    relay.request(answer(&responses[0], Some("no")));
    assert_eq!(said(&mut relay).0, [""; 0]);
    assert_eq!(relay.status()[EDS].refused["b"], "no");
}

#[test]
fn endpoints_of_a_cluster_that_has_changed_are_sent_again() {
    let mut relay = Relay::default();
    relay.upstream_opened();
    relay.envoy_opened();
    relay.request(subscribe(CDS, &["*"]));
    relay.update(update(CDS, "1", &[("a", "1"), ("b", "1")], &[]));
    relay.update(update(EDS, "1", &[("a", "1"), ("b", "1")], &[]));
    let (_, clusters) = said(&mut relay);
    relay.request(subscribe(EDS, &["a", "b"]));
    relay.request(answer(&clusters[0], None));
    let (_, endpoints) = said(&mut relay);

    // Also while what was sent before is on its way.
    relay.update(update(CDS, "2", &[("a", "2")], &[]));
    let (words, clusters) = said(&mut relay);
    assert_eq!(words, ["> cds a=2"]);
    relay.request(answer(&clusters[0], None));
    relay.request(answer(&endpoints[0], None));
    let (_, endpoints) = said(&mut relay);
    assert_eq!(endpoints[0].resources[0].name, "a");
    relay.request(answer(&endpoints[0], None));
    said(&mut relay);

    relay.update(update(CDS, "3", &[("b", "2")], &[]));
    assert_eq!(said(&mut relay).0, ["> cds b=2", "> eds b=1"]);
}

#[test]
fn envoy_sees_changes_in_the_order_of_the_control_plane() {
    let mut relay = Relay::default();
    relay.upstream_opened();
    relay.envoy_opened();
    relay.request(subscribe(CDS, &["*"]));
    relay.request(subscribe(LDS, &["*"]));
    relay.update(update(CDS, "1", &[("a", "1")], &[]));
    let (_, first) = said(&mut relay);
    relay.update(update(CDS, "2", &[("b", "1")], &[]));
    relay.update(update(LDS, "1", &[("to-b", "1")], &[]));
    assert_eq!(said(&mut relay).0, [""; 0], "the listener needs the cluster, which waits");
    relay.request(answer(&first[0], None));
    assert_eq!(said(&mut relay).0, ["> cds b=1", "> lds to-b=1", "ack cds 1"]);
}

#[test]
fn the_agents_own_types_never_reach_envoy_and_secrets_are_answered_here() {
    let mut relay = Relay::default();
    relay.upstream_opened();
    relay.envoy_opened();
    relay.request(subscribe(PIPELINE, &["*"]));
    relay.update(update(PIPELINE, "1", &[("pipeline", "1")], &[]));
    relay.update(update(SECRET, "1", &[("s", "1")], &[]));
    assert_eq!(said(&mut relay).0, ["configure"]);
    assert!(relay.is_configured());
    let own = relay.own();
    assert_eq!(own.of(PIPELINE).count() + own.of(SECRET).count(), 2);
    let mut verdicts = Verdicts::default();
    verdicts.refuse(SECRET, "s", "not text");
    relay.configured(&verdicts);
    assert_eq!(said(&mut relay).0, ["nack other 1: not text", "ack pipeline 1"]);
    assert_eq!(relay.own().of(SECRET).count(), 0, "a refused one is not used");

    // The control plane has spoken, so what has not come is empty.
    relay.request(subscribe(CDS, &["*"]));
    assert_eq!(said(&mut relay).0, ["> cds"]);
    let secret = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";
    relay.request(subscribe(secret, &["key"]));
    assert_eq!(said(&mut relay).0, ["> other -key"]);
    relay.update(update("type.example/Other", "9", &[], &[]));
    assert_eq!(said(&mut relay).0, ["nack other 9: this agent does not know the type"]);
}

#[test]
fn updates_without_answers_and_bytes_are_bounded() {
    let mut relay = Relay::default();
    relay.upstream_opened();
    for nonce in 0..cache::MAX_WAITING {
        assert!(relay.has_room());
        relay.update(update(CDS, &nonce.to_string(), &[("a", &nonce.to_string())], &[]));
    }
    assert!(!relay.has_room(), "no more is read until Envoy answers");

    relay.envoy_opened();
    relay.request(subscribe(CDS, &["*"]));
    let (_, responses) = said(&mut relay);
    relay.request(answer(&responses[0], None));
    assert_eq!(said(&mut relay).0.len(), cache::MAX_WAITING, "one answer for each");
    let mut big = update(LDS, "1", &[("big", "1"), ("small", "1")], &[]);
    if let Some(body) = &mut big.resources[0].resource {
        body.value = vec![0; cache::MAX_BYTES];
    }
    relay.request(subscribe(LDS, &["*"]));
    relay.update(big);
    let (words, responses) = said(&mut relay);
    assert_eq!(words, ["> lds small=1"]);
    relay.request(answer(&responses[0], None));
    let words = said(&mut relay).0.remove(0);
    assert!(words.starts_with("nack lds 1: \"big\" does not fit"), "{words}");

    // Names count, too.
    let name = "n".repeat(cache::MAX_BYTES);
    relay.update(update(LDS, "2", &[(&name, "1")], &[]));
    let words = said(&mut relay).0.remove(0);
    assert!(words.starts_with("nack lds 2: \"nnn"), "a name that is too long is refused");
}

/// A control plane: what is true, and what its agent has of it on this stream.
#[derive(Debug, Default)]
struct ControlPlane {
    truth: BTreeMap<(&'static str, String), String>,
    sent: BTreeMap<(&'static str, String), String>,
    connected: bool,
    nonce: u64,
    /// Nonces without an answer, and whether the answer may be a refusal.
    open: BTreeMap<(String, String), bool>,
}

impl ControlPlane {
    fn connect(&mut self, relay: &mut Relay) {
        self.open.clear();
        self.sent.clear();
        self.connected = true;
        for request in relay.upstream_opened() {
            let type_url = TYPES.iter().find(|known| **known == request.type_url).unwrap();
            let versions = request.initial_resource_versions.into_iter();
            self.sent.extend(versions.map(|(name, version)| ((*type_url, name), version)));
        }
        self.send(relay);
        // Of every proxy there is a pipeline; it comes last.
        relay.update(update(PIPELINE, "p", &[("pipeline", "1")], &[]));
        self.open.insert((PIPELINE.to_owned(), "p".to_owned()), false);
    }

    fn send(&mut self, relay: &mut Relay) {
        if !self.connected {
            return;
        }
        for (type_url, _) in RELAYED {
            let of = |map: &BTreeMap<(&'static str, String), String>| {
                let of_type = map.iter().filter(|((of, _), _)| *of == type_url);
                of_type.map(|((_, name), v)| (name.clone(), v.clone())).collect::<BTreeMap<_, _>>()
            };
            let (truth, sent) = (of(&self.truth), of(&self.sent));
            let new = truth.iter().filter(|(name, version)| sent.get(*name) != Some(*version));
            let new: Vec<_> =
                new.map(|(name, version)| (name.as_str(), version.as_str())).collect();
            let gone: Vec<_> =
                sent.keys().filter(|name| !truth.contains_key(*name)).map(String::as_str).collect();
            if new.is_empty() && gone.is_empty() {
                continue;
            }
            self.nonce += 1;
            let nonce = self.nonce.to_string();
            relay.update(update(type_url, &nonce, &new, &gone));
            let bad = new.iter().any(|(_, version)| version.starts_with(BAD));
            self.open.insert((type_url.to_owned(), nonce), bad);
            self.sent.retain(|(of, _), _| *of != type_url);
            self.sent.extend(truth.into_iter().map(|(name, version)| ((type_url, name), version)));
        }
    }
}

/// An Envoy: what it wants, what it has, and what was sent to it and not yet read.
#[derive(Debug, Default)]
struct Envoy {
    wants: BTreeSet<(&'static str, &'static str)>,
    has: BTreeMap<(String, String), String>,
    inbox: VecDeque<DeltaDiscoveryResponse>,
    connected: bool,
}

impl Envoy {
    fn connect(&mut self, relay: &mut Relay) {
        self.inbox.clear();
        self.connected = true;
        relay.envoy_opened();
        for (type_url, parent) in RELAYED {
            let names: Vec<&str> = match parent {
                None => vec!["*"],
                Some(_) => {
                    self.wants.iter().filter(|(of, _)| *of == type_url).map(|(_, n)| *n).collect()
                }
            };
            if names.is_empty() {
                continue;
            }
            let mut request = subscribe(type_url, &names);
            let has = self.has.iter().filter(|((of, name), _)| {
                of == type_url && (parent.is_none() || names.contains(&name.as_str()))
            });
            request.initial_resource_versions =
                has.map(|((_, name), version)| (name.clone(), version.clone())).collect();
            relay.request(request);
        }
    }

    /// Reads one response; refuses it whole if any of it is bad, having taken what is good.
    fn read(&mut self, relay: &mut Relay, good: &mut BTreeMap<(String, String), String>) {
        let Some(mut response) = self.inbox.pop_front() else { return };
        let all = response.type_url == CDS || response.type_url == LDS;
        let wants =
            |name: &str| self.wants.iter().any(|(of, n)| *of == response.type_url && *n == name);
        response.resources.retain(|resource| all || wants(&resource.name));
        let url = &response.type_url;
        let bad = |resource: &&Resource| resource.version.starts_with(BAD);
        let refused = response.resources.iter().any(|resource| bad(&resource));
        for resource in response.resources.iter().filter(|resource| !bad(resource)) {
            let key = (url.clone(), resource.name.clone());
            self.has.insert(key.clone(), resource.version.clone());
            if !refused {
                good.insert(key, resource.version.clone());
            }
        }
        for name in &response.removed_resources {
            let key = (url.clone(), name.clone());
            self.has.remove(&key);
            good.remove(&key);
        }
        relay.request(answer(&response, refused.then_some("bad")));
    }
}

#[derive(Debug, Clone)]
enum Step {
    Set(usize, usize, bool),
    Remove(usize, usize),
    Send,
    Disconnect,
    Connect,
    Read,
    Want(usize, usize),
    Leave(usize, usize),
    Crash,
    Reconnect,
}

const NAMES: [&str; 3] = ["a", "b", "c"];

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (types, names) = (0..RELAYED.len(), 0..NAMES.len());
    let both = (types, names);
    let named = (prop_oneof![Just(1usize), Just(3)], 0..NAMES.len());
    let step = prop_oneof![
        6 => (both.clone(), prop::bool::weighted(0.2)).prop_map(|((t, n), bad)| Step::Set(t, n, bad)),
        2 => both.prop_map(|(t, n)| Step::Remove(t, n)),
        4 => Just(Step::Send),
        1 => Just(Step::Disconnect),
        2 => Just(Step::Connect),
        8 => Just(Step::Read),
        3 => named.clone().prop_map(|(t, n)| Step::Want(t, n)),
        1 => named.prop_map(|(t, n)| Step::Leave(t, n)),
        1 => Just(Step::Crash),
        1 => Just(Step::Reconnect),
    ];
    prop::collection::vec(step, 1..80)
}

/// Gives each side what the relay sent it.
fn deliver(relay: &mut Relay, control_plane: &mut ControlPlane, envoy: &mut Envoy) {
    let mut actions = VecDeque::from(relay.take_actions());
    while let Some(action) = actions.pop_front() {
        match action {
            Action::Configure => {
                relay.configured(&Verdicts::default());
                actions.extend(relay.take_actions());
            }
            Action::Respond(response) => envoy.inbox.push_back(response),
            Action::Answer(_) if !control_plane.connected => {}
            Action::Answer(request) => {
                let key = (request.type_url.clone(), request.response_nonce.clone());
                let may_refuse = control_plane.open.remove(&key);
                assert!(may_refuse.is_some(), "answered twice: {request:?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn envoy_ends_with_the_newest_that_it_wants_and_takes(steps in steps()) {
        let mut relay = Relay::default();
        let (mut cp, mut envoy) = (ControlPlane::default(), Envoy::default());
        let mut good = BTreeMap::new();
        let mut removed = BTreeSet::new();
        let mut version = 0;
        for step in steps {
            match step {
                Step::Set(t, n, bad) => {
                    version += 1;
                    let kind = if bad { BAD } else { "v" };
                    let key = (RELAYED[t].0, NAMES[n].to_owned());
                    cp.truth.insert(key, format!("{kind}{version}"));
                }
                Step::Remove(t, n) => {
                    cp.truth.remove(&(RELAYED[t].0, NAMES[n].to_owned()));
                    removed.insert((RELAYED[t].0.to_owned(), NAMES[n].to_owned()));
                }
                Step::Send => cp.send(&mut relay),
                Step::Disconnect => {
                    cp.connected = false;
                    relay.upstream_closed();
                }
                Step::Connect => cp.connect(&mut relay),
                Step::Read => envoy.read(&mut relay, &mut good),
                Step::Want(t, n) => {
                    if envoy.wants.insert((RELAYED[t].0, NAMES[n])) && envoy.connected {
                        relay.request(subscribe(RELAYED[t].0, &[NAMES[n]]));
                    }
                }
                Step::Leave(t, n) => {
                    let key = (RELAYED[t].0, NAMES[n]);
                    removed.insert((key.0.to_owned(), key.1.to_owned()));
                    if envoy.wants.remove(&key) && envoy.connected {
                        envoy.has.remove(&(key.0.to_owned(), key.1.to_owned()));
                        let mut request = subscribe(key.0, &[]);
                        request.resource_names_unsubscribe = vec![key.1.to_owned()];
                        relay.request(request);
                    }
                }
                Step::Crash => {
                    envoy.has.clear();
                    envoy.inbox.clear();
                    envoy.connected = false;
                    relay.envoy_closed();
                }
                Step::Reconnect => {
                    // Only a new Envoy opens a new stream; this one has what it acknowledged.
                    envoy.has.retain(|key, version| good.get(key) == Some(version));
                    envoy.connect(&mut relay);
                }
            }
            deliver(&mut relay, &mut cp, &mut envoy);
        }
        // At the end everybody is there and reads to the end.
        if !envoy.connected {
            envoy.connect(&mut relay);
            deliver(&mut relay, &mut cp, &mut envoy);
        }
        cp.connect(&mut relay);
        deliver(&mut relay, &mut cp, &mut envoy);
        for _ in 0..1000 {
            if envoy.inbox.is_empty() {
                break;
            }
            envoy.read(&mut relay, &mut good);
            deliver(&mut relay, &mut cp, &mut envoy);
        }
        prop_assert!(envoy.inbox.is_empty(), "it never comes to rest");
        prop_assert!(cp.open.is_empty(), "without an answer: {:?}", cp.open);

        for ((type_url, name), version) in &cp.truth {
            let parent = RELAYED.iter().find(|(of, _)| of == type_url).unwrap().1;
            let wanted = parent.is_none() || envoy.wants.iter().any(|(of, n)| of == type_url && n == name);
            let key = ((*type_url).to_owned(), name.clone());
            if !wanted {
                continue;
            }
            if version.starts_with(BAD) {
                let has = envoy.has.get(&key);
                // What was good is forgotten with a removal, also one that no Envoy saw, and an
                // answer does not count for what Envoy has left meanwhile.
                let gone = has.is_none() && removed.contains(&key);
                prop_assert!(has == good.get(&key) || gone, "{key:?} has {has:?}, not what was good");
            } else {
                prop_assert_eq!(envoy.has.get(&key), Some(version), "the newest, for {:?}", key);
            }
        }
        for (key, version) in &envoy.has {
            let there = cp.truth.iter().any(|((of, name), _)| *of == key.0 && *name == key.1);
            prop_assert!(there, "{key:?} {version} is gone upstream");
        }
    }
}

#[test]
fn a_cluster_that_changes_is_followed_by_its_endpoints() {
    let mut relay = Relay::default();
    relay.envoy_opened();
    relay.update(update(CDS, "1", &[("a", "1"), ("b", "1")], &[]));
    relay.update(update(EDS, "2", &[("a", "1"), ("b", "1")], &[]));
    relay.request(subscribe(CDS, &["*"]));
    let take = |relay: &mut Relay| {
        let (words, responses) = said(relay);
        for response in &responses {
            relay.request(answer(response, None));
        }
        words
    };
    take(&mut relay);
    relay.request(subscribe(EDS, &["a", "b"]));
    while !take(&mut relay).is_empty() {}
    // Envoy acknowledges the cluster only when it has its endpoints.
    relay.update(update(CDS, "3", &[("a", "2")], &[]));
    let (words, responses) = said(&mut relay);
    assert_eq!(words, ["> cds a=2", "> eds a=1"]);
    // Nor do later changes of both hold each other up.
    relay.request(answer(&responses[1], None));
    relay.request(answer(&responses[0], None));
    assert_eq!(said(&mut relay).0, ["ack cds 3"]);
    relay.update(update(CDS, "4", &[("a", "3")], &[]));
    relay.update(update(CDS, "5", &[("a", "4")], &[]));
    relay.update(update(EDS, "6", &[("a", "2")], &[]));
    let (words, responses) = said(&mut relay);
    assert_eq!(words, ["> cds a=3", "> eds a=1"]);
    relay.request(answer(&responses[1], None));
    relay.request(answer(&responses[0], None));
    let (words, responses) = said(&mut relay);
    assert!(
        words.contains(&"> cds a=4".to_owned()) && words.contains(&"> eds a=2".to_owned()),
        "{words:?}"
    );
    for response in &responses {
        relay.request(answer(response, None));
    }
    let left = take(&mut relay);
    assert!(!left.iter().any(|words| words.starts_with('>')), "{left:?}");
}
