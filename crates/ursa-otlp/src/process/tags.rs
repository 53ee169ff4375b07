//! Attributes that every span of Envoy's is given.

use ursa_model::pipeline::processor::EnvoyTags;

use super::envoy;
use super::list::{List, Value};
use crate::wire::fields::put_bytes;

/// The processor `envoyTags`, compiled.
#[derive(Debug, Clone)]
pub(super) struct Tags {
    all: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Tags {
    pub(super) fn new(spec: &EnvoyTags) -> Self {
        let bytes = |text: &String| text.clone().into_bytes();
        Self { all: spec.set.iter().map(|(key, value)| (bytes(key), bytes(value))).collect() }
    }

    pub(super) fn apply<'a>(&'a self, list: &mut List<'a>) {
        if !envoy::made(list) {
            return;
        }
        for (key, value) in &self.all {
            for attribute in list.all.iter_mut().filter(|one| one.key == key) {
                attribute.remove();
            }
            list.add(key, Value::Text(value));
        }
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &[u8]> {
        self.all.iter().map(|(key, _)| key.as_slice())
    }

    /// Each of them as a `KeyValue`.
    pub(super) fn encoded(&self) -> impl Iterator<Item = Vec<u8>> {
        self.all.iter().map(|(key, value)| {
            let (mut any, mut one) = (Vec::new(), Vec::new());
            put_bytes(&mut any, 1, value);
            put_bytes(&mut one, 1, key);
            put_bytes(&mut one, 2, &any);
            one
        })
    }
}
