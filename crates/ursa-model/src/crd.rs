//! Kubernetes' definitions of our kinds: CustomResourceDefinitions of `apiextensions.k8s.io/v1`.
//!
//! Their schemas are structural, as the API server demands: every value has one type or is free, nothing is referred to, and what is said beyond
//! types (`oneOf`) says nothing about types. So they refuse less than [`crate::schema::published`] and the control plane do, and accept every
//! spelling that these accept. What the API server does not know it prunes, after `kubectl` has warned of it.
//!
//! Names, scope and printed columns are Kuma's, so that its manifests apply.

use serde_json::{Map, Value as Json, json};

use crate::document::API_VERSION;
use crate::kind::{Kind, Scope};
use crate::schema::published;

/// Keywords that mean the same in a structural schema.
const KEPT: [&str; 10] = [
    "description",
    "enum",
    "maximum",
    "maxItems",
    "maxLength",
    "minimum",
    "minItems",
    "minLength",
    "pattern",
    "uniqueItems",
];
/// Takes anything, and keeps it.
const FREE: &str = "x-kubernetes-preserve-unknown-fields";

/// The definition of a kind. `None` for Secrets: Kubernetes has its own.
pub fn definition(kind: &Kind) -> Option<Json> {
    if kind.name == "Secret" {
        return None;
    }
    let (group, version) = API_VERSION.split_once('/')?;
    let singular = kind.name.to_lowercase();
    let scope = if kind.scope == Scope::Global { "Cluster" } else { "Namespaced" };
    Some(json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{}.{group}", kind.plural)},
        "spec": {
            "group": group,
            "names": {
                "kind": kind.name,
                "listKind": format!("{}List", kind.name),
                "plural": kind.plural,
                "singular": singular,
                "shortNames": kind.short,
                "categories": ["kuma"],
            },
            "scope": scope,
            "versions": [{
                "name": version,
                "served": true,
                "storage": true,
                "schema": {"openAPIV3Schema": schema(kind)},
                "additionalPrinterColumns": columns(kind),
            }],
        },
    }))
}

fn columns(kind: &Kind) -> Json {
    let column =
        |name: &str, path: &str, of: &str| json!({"name": name, "jsonPath": path, "type": of});
    let mut columns = Vec::new();
    if kind.policy {
        columns.push(column("TargetRef Kind", ".spec.targetRef.kind", "string"));
        columns.push(column("TargetRef Name", ".spec.targetRef.name", "string"));
    }
    columns.push(column("Age", ".metadata.creationTimestamp", "date"));
    columns.into()
}

fn schema(kind: &Kind) -> Json {
    let mut definitions = Map::new();
    let spec = published::of_spec(kind, &mut definitions);
    let structural = Structural { definitions: &definitions };
    let mut schema = json!({
        "type": "object",
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": structural.schema(&spec),
        },
    });
    if let Some(meaning) = spec.get("description") {
        schema["description"] = meaning.clone();
    }
    if kind.flat {
        let mesh = "The mesh that it belongs to; the label `kuma.io/mesh` says it as well.";
        schema["properties"]["mesh"] = json!({"description": mesh, "type": "string"});
    }
    schema
}

/// Makes structural schemas of published ones.
struct Structural<'s> {
    definitions: &'s Map<String, Json>,
}

impl<'s> Structural<'s> {
    fn schema(&self, schema: &'s Json) -> Json {
        let meaning = schema.get("description");
        let mut alternatives = Vec::new();
        self.alternatives(schema, &mut alternatives);
        let mut structural = match alternatives.as_slice() {
            [only] => self.one(only),
            several => self.several(several),
        };
        if let Some(meaning) = meaning {
            structural.insert("description".to_owned(), meaning.clone());
        }
        structural.into()
    }

    /// What a value may be, besides `null`.
    fn alternatives(&self, schema: &'s Json, found: &mut Vec<&'s Json>) {
        let target = schema["$ref"].as_str().and_then(|to| to.strip_prefix("#/$defs/"));
        if let Some(definition) = target.and_then(|name| self.definitions.get(name)) {
            return self.alternatives(definition, found);
        }
        match schema["anyOf"].as_array().or(schema["oneOf"].as_array()) {
            Some(schemas) => schemas.iter().for_each(|schema| self.alternatives(schema, found)),
            None if schema["type"] == "null" => {}
            None => found.push(schema),
        }
    }

    fn one(&self, schema: &'s Json) -> Map<String, Json> {
        let types = types(schema);
        match types.as_slice() {
            [one] => self.typed(one, schema),
            [] if schema["const"].is_string() => {
                object(json!({"type": "string", "enum": [schema["const"]]}))
            }
            several => mixed(several),
        }
    }

    fn typed(&self, name: &str, schema: &'s Json) -> Map<String, Json> {
        let mut structural = Map::new();
        structural.insert("type".to_owned(), name.into());
        let kept = KEPT.iter().filter_map(|keyword| Some((*keyword, schema.get(*keyword)?)));
        structural.extend(kept.map(|(keyword, value)| (keyword.to_owned(), value.clone())));
        match name {
            "array" => {
                let items = schema.get("items").map_or_else(free, |items| self.schema(items));
                structural.insert("items".to_owned(), items);
            }
            "object" => self.fields(schema, &mut structural),
            _ => {}
        }
        structural
    }

    fn fields(&self, schema: &'s Json, structural: &mut Map<String, Json>) {
        if let Some(fields) = schema["properties"].as_object() {
            let fields = fields.iter().map(|(name, field)| (name.clone(), self.schema(field)));
            structural.insert("properties".to_owned(), Json::Object(fields.collect()));
            if let Some(required) = schema.get("required") {
                structural.insert("required".to_owned(), required.clone());
            }
            let also = schema["allOf"].as_array().into_iter().flatten();
            if let Some(one) =
                also.filter_map(|also| also.get("oneOf")).find(|one| is_of_fields(one))
            {
                structural.insert("oneOf".to_owned(), only_required(one));
            }
        } else if schema["additionalProperties"].is_object() {
            let values = self.schema(&schema["additionalProperties"]);
            structural.insert("additionalProperties".to_owned(), values);
        } else {
            structural.insert(FREE.to_owned(), true.into());
        }
    }

    fn several(&self, schemas: &[&'s Json]) -> Map<String, Json> {
        let names: Vec<_> = schemas.iter().flat_map(|schema| names(schema)).collect();
        if schemas.iter().all(|schema| names_of(schema).is_some()) && !names.is_empty() {
            return object(json!({"type": "string", "enum": names}));
        }
        let mut all: Vec<_> = schemas.iter().flat_map(|schema| types(schema)).collect();
        all.sort_unstable();
        all.dedup();
        match all.as_slice() {
            ["object"] if schemas.iter().all(|schema| schema["properties"].is_object()) => {
                self.kinds(schemas)
            }
            [one] if *one != "object" && *one != "array" => object(json!({ "type": one })),
            several => mixed(several),
        }
    }

    /// Objects of several kinds: an object with the fields of all, of which one kind's are there.
    fn kinds(&self, schemas: &[&'s Json]) -> Map<String, Json> {
        let mut fields = Map::new();
        for (name, field) in
            schemas.iter().filter_map(|schema| schema["properties"].as_object()).flatten()
        {
            fields.insert(name.clone(), self.schema(field));
        }
        let required = schemas.iter().filter_map(|schema| schema.get("required"));
        let one: Vec<_> = required.map(|fields| json!({ "required": fields })).collect();
        let mut structural = object(json!({"type": "object", "properties": fields}));
        if one.len() == schemas.len() {
            structural.insert("oneOf".to_owned(), one.into());
        }
        structural
    }
}

/// The types of a schema, `null` left out.
fn types(schema: &Json) -> Vec<&str> {
    match &schema["type"] {
        Json::String(one) => vec![one],
        Json::Array(several) => {
            several.iter().filter_map(Json::as_str).filter(|name| *name != "null").collect()
        }
        _ => Vec::new(),
    }
}

/// Values of several types, or of any.
fn mixed(types: &[&str]) -> Map<String, Json> {
    let mut types = types.to_vec();
    types.sort_unstable();
    match types.as_slice() {
        ["integer", "string"] => object(json!({"x-kubernetes-int-or-string": true})),
        _ => object(free()),
    }
}

fn free() -> Json {
    json!({ FREE: true })
}

fn names_of(schema: &Json) -> Option<Vec<&Json>> {
    match (schema["enum"].as_array(), schema.get("const")) {
        (Some(names), _) => Some(names.iter().filter(|name| !name.is_null()).collect()),
        (None, name) => name.map(|name| vec![name]),
    }
}

fn names(schema: &Json) -> Vec<&Json> {
    names_of(schema).unwrap_or_default()
}

/// What says which fields are there, and that they are not `null`.
const OF_FIELDS: [&str; 2] = ["required", "properties"];

/// Whether every alternative only says which fields are there.
fn is_of_fields(alternatives: &Json) -> bool {
    let mut alternatives = alternatives.as_array().into_iter().flatten();
    alternatives.all(|one| {
        one.as_object().is_some_and(|one| one.keys().all(|key| OF_FIELDS.contains(&&**key)))
    })
}

/// The same without what is said of values: where `null` is not allowed the API server drops it.
fn only_required(alternatives: &Json) -> Json {
    let alternatives = alternatives.as_array().into_iter().flatten();
    alternatives.map(|one| json!({"required": one["required"]})).collect()
}

fn object(schema: Json) -> Map<String, Json> {
    match schema {
        Json::Object(schema) => schema,
        _ => Map::new(),
    }
}
