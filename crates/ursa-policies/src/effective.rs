//! What all policies together say about one proxy.

use std::sync::Arc;

use serde_json::Value as Json;
use ursa_envoy::proxy::ProxyConfig;

use crate::KINDS;
use crate::backends::{Applied, Backends};
use crate::explain::{self, Explained};
use crate::kind::PolicyKind;
use crate::merge::Tree;
use crate::policy::PolicyResource;
use crate::select::select;
use crate::subject::Subject;

/// What the policies of one kind say about one proxy, or about all that the same policies select.
#[derive(Clone, Debug)]
pub struct Effective {
    kind: &'static PolicyKind,
    policies: Vec<Arc<PolicyResource>>,
    merged: Tree,
}

impl Effective {
    /// Merges `policies`, which are of `kind` and come weakest first.
    pub fn of(kind: &'static PolicyKind, policies: Vec<Arc<PolicyResource>>) -> Self {
        let merged = Tree::join(policies.iter().map(|policy| policy.settings()));
        Self { kind, policies, merged }
    }

    /// The kind's name.
    pub fn kind(&self) -> &'static str {
        self.kind.kind.name
    }

    /// The policies that select the proxy, weakest first. None: the defaults hold.
    pub fn policies(&self) -> &[Arc<PolicyResource>] {
        &self.policies
    }

    /// The merged settings, with who wrote what.
    pub fn merged(&self) -> &Tree {
        &self.merged
    }

    /// The merged settings alone, in the shape of `spec.default`.
    pub fn conf(&self) -> Json {
        self.merged.to_json()
    }

    /// Every value that holds, and why.
    pub fn explain(&self) -> Explained {
        explain::explain(self, &self.kind.defaults())
    }
}

/// What `policies` say about `subject`: one element for each kind of policy, in the order of [`KINDS`], also where no policy selects it.
pub fn effective(policies: &[Arc<PolicyResource>], subject: &Subject<'_>) -> Vec<Effective> {
    let selected = select(policies, subject);
    let of_kind = |kind: &'static PolicyKind| {
        let own = selected.iter().filter(|policy| policy.key.kind == kind.kind.name);
        Effective::of(kind, own.map(|policy| Arc::clone(policy)).collect())
    };
    KINDS.iter().map(of_kind).collect()
}

/// Changes `proxy` as `effective` says. Its `pipeline.facts` must be filled in before.
pub fn apply(effective: &[Effective], backends: &dyn Backends, proxy: &mut ProxyConfig) -> Applied {
    let mut applied = Applied::default();
    for effective in effective {
        effective.kind.apply(effective, backends, proxy, &mut applied);
    }
    applied
}
