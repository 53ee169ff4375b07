use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::google::protobuf::Any;
use jiff::Timestamp;
use proptest::prelude::*;
use tokio::time::Instant;
use ursa_envoy::resources::{
    CDS, EDS, IDENTITY, LDS, PIPELINE, RDS, Resource, Resources, SECRET, TYPES,
};

use super::state::{Answer, Response, State};

/// `of(&[(CDS, "a", "1")])`: type, name, version.
fn of(resources: &[(&'static str, &str, &str)]) -> Arc<Resources> {
    let mut made = Resources::new();
    for (type_url, name, version) in resources {
        let resource = Resource { version: (*version).to_owned(), body: Any::default() };
        made.entry(type_url).or_default().insert((*name).to_owned(), resource);
    }
    Arc::new(made)
}

fn subscribed(types: &[&'static str]) -> State {
    let mut state = State::default();
    for type_url in types {
        state.subscribe(type_url, BTreeMap::new());
    }
    state
}

fn advance(state: &mut State, newest: &Arc<Resources>) -> Vec<Response> {
    state.advance(newest, Instant::now())
}

fn answer(state: &mut State, response: &Response, error: Option<&str>) -> Answer {
    state.answer(response.type_url, &response.nonce, error, (Instant::now(), Timestamp::UNIX_EPOCH))
}

/// `Cluster +a=1 -b`.
fn words(responses: &[Response]) -> Vec<String> {
    let words = |response: &Response| {
        let kind = response.type_url.rsplit('.').next().unwrap();
        let added = response.resources.iter().map(|(name, it)| format!(" +{name}={}", it.version));
        let removed = response.removed.iter().map(|name| format!(" -{name}"));
        format!("{kind}{}", added.chain(removed).collect::<String>())
    };
    responses.iter().map(words).collect()
}

#[tokio::test]
async fn additions_go_in_order_and_removals_in_reverse_after_they_are_acknowledged() {
    let mut state = subscribed(&TYPES);
    let old = of(&[(CDS, "a", "1"), (LDS, "in", "1"), (RDS, "in", "1"), (PIPELINE, "p", "1")]);
    let sent = advance(&mut state, &old);
    assert_eq!(words(&sent)[..3], ["Secret", "Identity", "Pipeline +p=1"]);
    let wanted =
        ["Cluster +a=1", "ClusterLoadAssignment", "Listener +in=1", "RouteConfiguration +in=1"];
    assert_eq!(words(&sent)[3..], wanted);
    for response in &sent {
        assert!(matches!(answer(&mut state, response, None), Answer::Acknowledged(_)));
    }
    assert_eq!(advance(&mut state, &old), []);

    let new = of(&[(CDS, "b", "1"), (LDS, "out", "1"), (RDS, "in", "2"), (PIPELINE, "p", "1")]);
    let sent = advance(&mut state, &new);
    assert_eq!(words(&sent), ["Cluster +b=1", "Listener +out=1", "RouteConfiguration +in=2"]);
    answer(&mut state, &sent[0], None);
    answer(&mut state, &sent[1], None);
    assert_eq!(words(&advance(&mut state, &new)), [""; 0], "the routes are not acknowledged");
    answer(&mut state, &sent[2], None);
    assert_eq!(words(&advance(&mut state, &new)), ["Listener -in", "Cluster -a"]);
}

#[tokio::test]
async fn a_slow_agent_is_sent_the_newest_only() {
    let mut state = subscribed(&[CDS, PIPELINE]);
    let first = advance(&mut state, &of(&[(CDS, "a", "1"), (PIPELINE, "p", "1")]));
    for version in ["2", "3", "4"] {
        assert_eq!(advance(&mut state, &of(&[(CDS, "a", version), (PIPELINE, "p", "1")])), []);
    }
    let newest = of(&[(CDS, "a", "5"), (PIPELINE, "p", "5")]);
    answer(&mut state, &first[0], None);
    assert_eq!(words(&advance(&mut state, &newest)), ["Pipeline +p=5"], "not held back by Envoy");
    answer(&mut state, &first[1], None);
    assert_eq!(words(&advance(&mut state, &newest)), ["Cluster +a=5"]);
}

#[test]
fn delivery_is_counted_from_the_change_also_while_it_waited() {
    let begin = Instant::now();
    let at = |seconds| begin + Duration::from_secs(seconds);
    let mut state = subscribed(&[CDS]);
    let ack = |state: &mut State, response: &Response, seconds| {
        state.answer(CDS, &response.nonce, None, (at(seconds), Timestamp::UNIX_EPOCH))
    };
    let first = state.advance(&of(&[(CDS, "a", "1")]), at(0));
    let newest = of(&[(CDS, "b", "1")]);
    assert_eq!(state.advance(&newest, at(1)), []);
    assert_eq!(ack(&mut state, &first[0], 3), Answer::Acknowledged(Duration::from_secs(3)));
    // What is new, and then what is gone.
    for acknowledged in [4, 6] {
        let next = state.advance(&newest, at(acknowledged - 1));
        let took = Duration::from_secs(acknowledged - 1);
        assert_eq!(ack(&mut state, &next[0], acknowledged), Answer::Acknowledged(took));
    }
}

#[tokio::test]
async fn a_refused_version_is_kept_out_and_another_is_sent() {
    let mut state = subscribed(&[LDS, CDS]);
    let good = of(&[(LDS, "in", "1"), (CDS, "a", "1")]);
    for response in advance(&mut state, &good) {
        answer(&mut state, &response, None);
    }
    let bad = of(&[(LDS, "in", "2")]);
    let sent = advance(&mut state, &bad);
    assert_eq!(answer(&mut state, &sent[0], Some("no such filter")), Answer::Refused);
    assert_eq!(advance(&mut state, &bad), [], "neither again, nor is the cluster taken away");
    assert_eq!(state.acknowledged()[LDS]["in"], "1");
    let refused = &state.refused()[LDS]["in"];
    assert_eq!((refused.version.as_str(), refused.error.as_str()), ("2", "no such filter"));

    let sent = advance(&mut state, &of(&[(LDS, "in", "1")]));
    assert_eq!(words(&sent), ["Listener +in=1"], "what it holds now is not known for sure");
    answer(&mut state, &sent[0], None);
    assert!(state.refused().is_empty());
    assert_eq!(words(&advance(&mut state, &of(&[(LDS, "in", "1")]))), ["Cluster -a"]);
}

#[tokio::test]
async fn one_bad_resource_refuses_only_itself() {
    let mut state = subscribed(&[CDS]);
    let newest = of(&[(CDS, "a", "1"), (CDS, "b", "1"), (CDS, "bad", "1"), (CDS, "c", "1")]);
    let mut rounds = 0;
    loop {
        let sent = advance(&mut state, &newest);
        let Some(response) = sent.first() else { break };
        let bad = response.resources.iter().any(|(name, _)| name == "bad");
        answer(&mut state, response, bad.then_some("bad"));
        rounds += 1;
    }
    assert_eq!(rounds, 5, "all; a and b; bad and c; bad; c");
    let accepted: Vec<_> = state.acknowledged()[CDS].keys().cloned().collect();
    assert_eq!(accepted, ["a", "b", "c"]);
    assert_eq!(state.refused()[CDS].keys().collect::<Vec<_>>(), ["bad"]);
}

#[tokio::test]
async fn what_an_agent_holds_is_not_sent_again() {
    let mut state = State::default();
    let held = |entries: &[(&str, &str)]| {
        entries.iter().map(|(name, version)| ((*name).to_owned(), (*version).to_owned())).collect()
    };
    state.subscribe(CDS, held(&[("same", "1"), ("old", "1"), ("gone", "1")]));
    state.subscribe(RDS, held(&[("in", "7")]));
    let newest = of(&[(CDS, "same", "1"), (CDS, "old", "2"), (RDS, "in", "7")]);
    let sent = advance(&mut state, &newest);
    assert_eq!(words(&sent), ["Cluster +old=2"]);
    answer(&mut state, &sent[0], None);
    assert_eq!(words(&advance(&mut state, &newest)), ["Cluster -gone"]);
}

#[test]
fn what_was_refused_beside_another_is_sent_when_it_is_wanted_again() {
    let mut state = subscribed(&[CDS, LDS]);
    let both = of(&[(LDS, "bad", "1"), (LDS, "good", "1")]);
    let sent = advance(&mut state, &both);
    answer(&mut state, &sent[0], None);
    answer(&mut state, &sent[1], Some("no"));
    let sent = advance(&mut state, &both);
    assert_eq!(words(&sent), ["Listener +bad=1"]);
    answer(&mut state, &sent[0], Some("no"));
    // It is not wanted just when it would be tried, and not yet taken away when it is again.
    let sent = advance(&mut state, &of(&[(CDS, "a", "1")]));
    assert_eq!(words(&sent), ["Cluster +a=1"]);
    answer(&mut state, &sent[0], None);
    let sent = advance(&mut state, &of(&[(CDS, "a", "1"), (LDS, "good", "1")]));
    assert_eq!(words(&sent), ["Listener +good=1"]);
}

#[tokio::test]
async fn answers_to_what_is_no_longer_asked_count_for_nothing() {
    let mut state = subscribed(&[CDS]);
    let first = advance(&mut state, &of(&[(CDS, "a", "1")]));
    answer(&mut state, &first[0], None);
    assert_eq!(answer(&mut state, &first[0], Some("late")), Answer::Stale);
    let other = Response { type_url: EDS, ..first[0].clone() };
    assert_eq!(answer(&mut state, &other, None), Answer::Stale);
    let long = "é".repeat(5000);
    let second = advance(&mut state, &of(&[(CDS, "a", "2")]));
    answer(&mut state, &second[0], Some(&long));
    assert!(state.refused()[CDS]["a"].error.len() <= 4096);
}

/// An agent that holds what it accepts and refuses some versions as a whole.
#[derive(Default)]
struct Agent {
    held: BTreeMap<(&'static str, String), String>,
    bad: BTreeSet<(usize, u8, u8)>,
}

impl Agent {
    fn receive(&mut self, response: &Response) -> Option<&'static str> {
        let kind = TYPES.iter().position(|url| *url == response.type_url).unwrap();
        let parsed =
            |name: &str, version: &str| (kind, name.parse().unwrap(), version.parse().unwrap());
        if response.resources.iter().any(|(n, it)| self.bad.contains(&parsed(n, &it.version))) {
            return Some("bad");
        }
        for (name, resource) in &response.resources {
            self.held.insert((response.type_url, name.clone()), resource.version.clone());
        }
        for name in &response.removed {
            self.held.remove(&(response.type_url, name.clone()));
        }
        None
    }
}

fn configuration() -> impl Strategy<Value = Vec<(usize, u8, u8)>> {
    prop::collection::vec((0..TYPES.len(), 0..4_u8, 0..3_u8), 0..12)
}

fn resources_of(configuration: &[(usize, u8, u8)]) -> Arc<Resources> {
    let texts: Vec<_> = configuration
        .iter()
        .map(|(kind, name, version)| (TYPES[*kind], name.to_string(), version.to_string()))
        .collect();
    of(&texts.iter().map(|(kind, name, version)| (*kind, &**name, &**version)).collect::<Vec<_>>())
}

proptest! {
    /// Whatever comes in whatever order, and however late the answers: in the end the agent holds
    /// the newest configuration, but for what it refuses; and then nothing more is sent.
    #[test]
    fn agents_come_to_hold_the_newest(
        steps in prop::collection::vec((configuration(), any::<u8>()), 1..8),
        bad in prop::collection::btree_set((0..TYPES.len(), 0..4_u8, 0..3_u8), 0..4),
    ) {
        let mut state = subscribed(&TYPES);
        let mut agent = Agent { bad, ..Agent::default() };
        let mut waiting: Vec<Response> = Vec::new();
        for (configuration, answers) in &steps {
            waiting.extend(advance(&mut state, &resources_of(configuration)));
            for _ in 0..answers % 4 {
                if waiting.is_empty() { break; }
                let response = waiting.remove(usize::from(*answers) % waiting.len());
                let error = agent.receive(&response);
                answer(&mut state, &response, error);
            }
        }
        let newest = resources_of(&steps.last().unwrap().0);
        let mut rounds = 0;
        loop {
            waiting.extend(advance(&mut state, &newest));
            if waiting.is_empty() { break; }
            let response = waiting.remove(0);
            let error = agent.receive(&response);
            answer(&mut state, &response, error);
            rounds += 1;
            prop_assert!(rounds < 200, "it does not come to an end");
        }
        for (type_url, wanted) in newest.iter() {
            let kind = TYPES.iter().position(|url| url == type_url).unwrap();
            for (name, resource) in wanted {
                let id = (kind, name.parse().unwrap(), resource.version.parse().unwrap());
                let held = agent.held.get(&(*type_url, name.clone()));
                if agent.bad.contains(&id) {
                    prop_assert!(state.refused()[type_url].contains_key(name));
                    prop_assert_ne!(held, Some(&resource.version));
                } else {
                    prop_assert_eq!(held, Some(&resource.version));
                }
            }
        }
        let is_wanted = |(type_url, name): &(&'static str, String)| {
            newest.get(type_url).is_some_and(|wanted| wanted.contains_key(name))
        };
        if state.refused().is_empty() {
            prop_assert!(agent.held.keys().all(is_wanted), "something was not taken away");
        }
    }
}

#[test]
fn every_type_is_of_one_group() {
    assert_eq!(TYPES, [CDS, EDS, LDS, RDS, SECRET, IDENTITY, PIPELINE]);
}
