//! Attributes put on resources and taken off.

use std::collections::BTreeMap;

use super::list::{List, Value};

/// The processor `resourceAttributes`, compiled; also what is put on before all processors.
#[derive(Debug, Clone, Default)]
pub(super) struct Resource {
    set: Vec<(Vec<u8>, Vec<u8>)>,
    fill: Vec<(Vec<u8>, Vec<u8>)>,
    remove: Vec<Vec<u8>>,
}

impl Resource {
    pub(super) fn new(
        set: &BTreeMap<String, String>,
        fill: &BTreeMap<String, String>,
        remove: &[String],
    ) -> Self {
        let bytes = |(key, value): (&String, &String)| {
            (key.clone().into_bytes(), value.clone().into_bytes())
        };
        Self {
            set: set.iter().map(bytes).collect(),
            fill: fill.iter().filter(|(key, _)| !set.contains_key(*key)).map(bytes).collect(),
            remove: remove.iter().map(|key| key.clone().into_bytes()).collect(),
        }
    }

    pub(super) fn does_nothing(&self) -> bool {
        self.set.is_empty() && self.fill.is_empty() && self.remove.is_empty()
    }

    pub(super) fn apply<'a>(&'a self, list: &mut List<'a>) {
        for key in &self.remove {
            remove(list, key);
        }
        for (key, value) in &self.set {
            if says(list, key, value) {
                continue;
            }
            remove(list, key);
            list.add(key, Value::Text(value));
        }
        for (key, value) in &self.fill {
            if list.get(key).is_none() {
                list.add(key, Value::Text(value));
            }
        }
    }
}

/// Whether it says just that already.
fn says(list: &List<'_>, key: &[u8], value: &[u8]) -> bool {
    let mut same = list.present().filter(|attribute| attribute.key == key);
    same.next().is_some_and(|one| list.text(one) == Some(value)) && same.next().is_none()
}

fn remove(list: &mut List<'_>, key: &[u8]) {
    for attribute in list.all.iter_mut().filter(|attribute| attribute.key == key) {
        attribute.remove();
        list.changed = true;
    }
}
