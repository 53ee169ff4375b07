//! A kind that looks like a policy, since the real ones are not known here.

use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use ursa_model::kind::{Kind, Kinds, Scope};
use ursa_model::mesh_trace_backend::MeshTraceBackend;
use ursa_model::percent::{self, Percent};
use ursa_model::target_ref::{self, TargetRef, TargetRules};

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Sample {
    #[serde(default)]
    target_ref: Option<TargetRef>,
    #[serde(default)]
    backends: Vec<MeshTraceBackend>,
    #[serde(default)]
    #[expect(dead_code, reason = "only its schema is of interest")]
    share: Option<Percent>,
}

static SAMPLE: Kind = Kind {
    name: "Sample",
    plural: "samples",
    short: &[],
    scope: Scope::Mesh,
    flat: false,
    policy: true,
    schema: || schema_for!(Sample),
    rewrite: |spec, _| {
        if let Some(target) = spec.get_mut("targetRef") {
            target_ref::rewrite(target);
        }
        if let Some(share) = spec.get_mut("share") {
            percent::rewrite(share);
        }
    },
    validate: |node, _, cursor| {
        let Some(sample) = cursor.decode::<Sample>(node) else { return };
        if let Some(target) = &sample.target_ref {
            target.validate(TargetRules::default(), &cursor.at("targetRef"));
        }
        for (index, backend) in sample.backends.iter().enumerate() {
            backend.validate(&cursor.at("backends").index(index));
        }
    },
};

pub(crate) fn kinds() -> Kinds {
    ursa_model::kinds().and([&SAMPLE])
}
