//! One agent's stream as a state machine: what it holds, what it was sent, what is to be sent next.
//!
//! Pure: it is told what arrived and which configuration is the newest, and answers with the
//! responses to send. The rules:
//!
//! - Every subscription is to all resources of a type (`*`); what the agent says it already holds
//!   is not sent again.
//! - Additions go in the order of [`TYPES`], the agent's own before Envoy's, then, when all are
//!   acknowledged, removals in reverse, so that nothing in use is taken away.
//! - One response per type waits for its answer. While any of Envoy's types waits, they stay on one
//!   configuration; the newest replaces it after that, whatever came between. The agent's own types
//!   do the same by themselves, so that an Envoy that is away does not hold back the telemetry.
//! - A refused version is not sent again. A refused response of several resources is tried again in
//!   halves, so that in the end a bad resource refuses only itself. Nothing is removed while
//!   something is refused: what the agent still has may refer to it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;
use ursa_envoy::resources::{Resource, Resources, TYPES};

/// Longer error texts of agents are cut.
const MAX_ERROR: usize = 4096;
/// Types that go to Envoy; the rest of [`TYPES`] is for the agent itself.
const ENVOYS: usize = 4;

/// A response to send.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Response {
    /// One of [`TYPES`].
    pub(crate) type_url: &'static str,
    /// Comes back with the answer.
    pub(crate) nonce: String,
    /// Added or changed, by name.
    pub(crate) resources: Vec<(String, Resource)>,
    /// Names of what is gone.
    pub(crate) removed: Vec<String>,
}

/// What became of an answer to a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Accepted, so long after the change that it carried.
    Acknowledged(Duration),
    /// Refused.
    Refused,
    /// To a response that is not the last of its type.
    Stale,
}

/// A resource that the agent refused; it keeps the version that it acknowledged before, if any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    /// The version that was refused; empty when it refused to let go of it.
    pub(crate) version: String,
    /// The agent's or Envoy's words.
    pub(crate) error: String,
    /// When.
    pub(crate) at: Timestamp,
}

/// What is known of one type.
#[derive(Debug, Default)]
struct Type {
    /// Name → version sent last, or said to be held; empty where it is to be sent again.
    sent: BTreeMap<String, String>,
    /// Name → version that the agent accepted last.
    acked: BTreeMap<String, String>,
    /// The response that waits for its answer.
    waiting: Option<Waiting>,
    /// Parts of refused responses, to be tried by themselves. Name and version.
    retries: VecDeque<Vec<(String, String)>>,
    /// What was refused and has not been accepted in another version since.
    refused: BTreeMap<String, Refused>,
    /// Whether the first subscription was answered. An agent without anything waits for a first
    /// answer even when there is nothing to say.
    greeted: bool,
    /// Whether the agent has accepted anything, or held something from the start.
    answered: bool,
}

#[derive(Debug)]
struct Waiting {
    nonce: String,
    /// When what it carries became the configuration.
    changed: Instant,
    resources: Vec<(String, String)>,
    removed: Vec<String>,
}

/// A configuration to bring the agent to.
#[derive(Debug, Clone)]
struct Target {
    resources: Arc<Resources>,
    /// When it became the newest.
    since: Instant,
}

/// The state of one stream.
#[derive(Debug, Default)]
pub(crate) struct State {
    types: BTreeMap<&'static str, Type>,
    newest: Option<Target>,
    /// What Envoy's types and the agent's own types are being brought to.
    targets: [Option<Target>; 2],
    nonces: u64,
}

impl State {
    /// The agent wants a type, and holds these versions of it.
    pub(crate) fn subscribe(&mut self, type_url: &'static str, held: BTreeMap<String, String>) {
        self.types.entry(type_url).or_insert_with(|| Type {
            greeted: !held.is_empty(),
            answered: !held.is_empty(),
            acked: held.clone(),
            sent: held,
            ..Type::default()
        });
    }

    /// The agent no longer wants a type.
    pub(crate) fn unsubscribe(&mut self, type_url: &str) {
        self.types.remove(type_url);
    }

    /// Whether the agent has subscribed a type.
    pub(crate) fn is_subscribed(&self, type_url: &str) -> bool {
        self.types.contains_key(type_url)
    }

    /// The agent answered a response.
    pub(crate) fn answer(
        &mut self,
        type_url: &str,
        nonce: &str,
        error: Option<&str>,
        now: (Instant, Timestamp),
    ) -> Answer {
        let Some(this) = self.types.get_mut(type_url) else { return Answer::Stale };
        let Some(waiting) = this.waiting.take_if(|waiting| waiting.nonce == nonce) else {
            return Answer::Stale;
        };
        match error {
            None => {
                this.answered = true;
                for (name, version) in waiting.resources {
                    this.refused.remove(&name);
                    this.acked.insert(name, version);
                }
                for name in &waiting.removed {
                    this.refused.remove(name);
                    this.acked.remove(name);
                }
                Answer::Acknowledged(now.0.duration_since(waiting.changed))
            }
            Some(error) => {
                let error = cut(error);
                let removed = waiting.removed.iter().map(|name| (name, ""));
                let resources = waiting.resources.iter();
                for (name, version) in
                    resources.map(|(name, it)| (name, it.as_str())).chain(removed)
                {
                    let (version, error) = (version.to_owned(), error.clone());
                    this.refused.insert(name.clone(), Refused { version, error, at: now.1 });
                }
                this.retry_in_halves(waiting.resources);
                Answer::Refused
            }
        }
    }

    /// What to send now, given the newest configuration.
    pub(crate) fn advance(&mut self, newest: &Arc<Resources>, now: Instant) -> Vec<Response> {
        let newest = match self.newest.take() {
            Some(known) if Arc::ptr_eq(&known.resources, newest) => known,
            _ => Target { resources: Arc::clone(newest), since: now },
        };
        self.newest = Some(newest.clone());
        let mut responses = Vec::new();
        let (envoys, agents) = TYPES.split_at(ENVOYS);
        // What Envoy is about to send, its agent has to know.
        for (group, types) in [(1, agents), (0, envoys)] {
            if !self.waits(types) {
                self.targets[group] = Some(newest.clone());
            }
            let Some(target) = self.targets[group].clone() else { continue };
            for type_url in types {
                responses.extend(self.additions(type_url, &target));
            }
            if !self.waits(types) && !self.refuses(types, &target.resources) {
                for type_url in types.iter().rev() {
                    responses.extend(self.removals(type_url, &target));
                }
            }
        }
        responses
    }

    fn waits(&self, types: &[&'static str]) -> bool {
        types.iter().filter_map(|url| self.types.get(url)).any(|this| this.waiting.is_some())
    }

    /// Whether anything that is wanted is refused as it is.
    fn refuses(&self, types: &[&'static str], target: &Resources) -> bool {
        let refused = |url: &&'static str| Some((self.types.get(url)?, target.get(url)?));
        types.iter().filter_map(refused).any(|(this, wanted)| {
            this.refused.iter().any(|(name, refused)| {
                wanted.get(name).is_some_and(|resource| resource.version == refused.version)
            })
        })
    }

    fn additions(&mut self, type_url: &'static str, target: &Target) -> Option<Response> {
        let this = self.types.get_mut(type_url).filter(|this| this.waiting.is_none())?;
        let none = BTreeMap::new();
        let wanted = target.resources.get(type_url).unwrap_or(&none);
        let mut changed: Vec<_> = wanted
            .iter()
            .filter(|(name, resource)| this.sent.get(*name) != Some(&resource.version))
            .map(|(name, resource)| (name.clone(), resource.clone()))
            .collect();
        while changed.is_empty() {
            let Some(batch) = this.retries.pop_front() else { break };
            for (name, version) in batch {
                match wanted.get(&name).filter(|it| it.version == version) {
                    Some(resource) => changed.push((name, resource.clone())),
                    None => this.never_tried(&name, &version),
                }
            }
        }
        let greeting = !this.greeted && wanted.is_empty();
        if changed.is_empty() && !greeting {
            return None;
        }
        Some(self.send(type_url, changed, Vec::new(), target.since))
    }

    fn removals(&mut self, type_url: &'static str, target: &Target) -> Option<Response> {
        let this = self.types.get(type_url)?;
        let wanted = target.resources.get(type_url);
        let is_wanted = |name: &String| wanted.is_some_and(|wanted| wanted.contains_key(name));
        let gone: Vec<_> = this.sent.keys().filter(|name| !is_wanted(name)).cloned().collect();
        (!gone.is_empty()).then(|| self.send(type_url, Vec::new(), gone, target.since))
    }

    fn send(
        &mut self,
        type_url: &'static str,
        resources: Vec<(String, Resource)>,
        removed: Vec<String>,
        changed: Instant,
    ) -> Response {
        self.nonces = self.nonces.wrapping_add(1);
        let nonce = self.nonces.to_string();
        let this = self.types.entry(type_url).or_default();
        this.greeted = true;
        for name in &removed {
            this.sent.remove(name);
        }
        let versions: Vec<_> = resources
            .iter()
            .map(|(name, resource)| (name.clone(), resource.version.clone()))
            .collect();
        this.sent.extend(versions.iter().cloned());
        this.waiting = Some(Waiting {
            nonce: nonce.clone(),
            changed,
            resources: versions,
            removed: removed.clone(),
        });
        Response { type_url, nonce, resources, removed }
    }

    /// Name → version that the agent accepted last, by type. Types of which it has not accepted
    /// anything are absent; one of which it accepted that there is nothing is empty.
    pub(crate) fn acknowledged(&self) -> BTreeMap<&'static str, BTreeMap<String, String>> {
        let answered = self.types.iter().filter(|(_, this)| this.answered);
        answered.map(|(url, this)| (*url, this.acked.clone())).collect()
    }

    /// Whether the agent has accepted all of `target`, and nothing besides.
    pub(crate) fn holds(&self, target: &Resources) -> bool {
        target.iter().all(|(type_url, wanted)| {
            let this = self.types.get(type_url).filter(|this| this.answered);
            this.is_some_and(|this| {
                let is_held =
                    |(name, it): (&String, &Resource)| this.acked.get(name) == Some(&it.version);
                this.acked.len() == wanted.len() && wanted.iter().all(is_held)
            })
        })
    }

    /// Whether something is refused, and no answer is awaited that could change that.
    pub(crate) fn is_refused(&self) -> bool {
        self.types.values().any(|this| !this.refused.is_empty())
            && self.types.values().all(|this| this.waiting.is_none() && this.retries.is_empty())
    }

    /// What the agent refuses, by type and name.
    pub(crate) fn refused(&self) -> BTreeMap<&'static str, BTreeMap<String, Refused>> {
        let refusing = self.types.iter().filter(|(_, this)| !this.refused.is_empty());
        refusing.map(|(url, this)| (*url, this.refused.clone())).collect()
    }
}

impl Type {
    /// A part of a refused response is not wanted now, so that it is not tried by itself: should it be
    /// wanted again, it is sent again.
    fn never_tried(&mut self, name: &str, version: &str) {
        if let Some(sent) = self.sent.get_mut(name).filter(|sent| *sent == version) {
            sent.clear();
        }
    }

    fn retry_in_halves(&mut self, mut resources: Vec<(String, String)>) {
        if resources.len() > 1 {
            let second = resources.split_off(resources.len() / 2);
            self.retries.push_front(second);
            self.retries.push_front(resources);
        }
    }
}

/// The beginning of a text, at most [`MAX_ERROR`] bytes.
pub(super) fn cut(text: &str) -> String {
    text.get(..text.floor_char_boundary(MAX_ERROR)).unwrap_or_default().to_owned()
}
