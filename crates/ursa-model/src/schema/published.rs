//! JSON Schemas (draft 2020-12) of whole documents, for editors and other tools.
//!
//! The schemas by which documents are checked here describe the canonical spelling alone, and leave to code what code says in better words. Their
//! keywords that begin with `x-` say the rest for those who have only the schema:
//!
//! | keyword | holds | becomes |
//! |---|---|---|
//! | `x-accepts` | further schemas that a value may fit: other spellings | `anyOf` |
//! | `x-accepts-fields` | further fields of an object | `properties` |
//! | `x-exactly-one` | fields of which exactly one is set | `oneOf` |
//! | `x-one-at-least` | fields of which one is set, and not empty | `anyOf` |
//! | `x-together` | fields of which all are set or none | `anyOf` |
//! | `x-also` | further schemas that hold | `allOf` |
//! | `x-published` | the schema in place of this one | itself |
//! | `x-meant` | by a name that an enumeration allows, what people write in its place, for "did you mean" | nothing |
//!
//! Objects are closed unless they say otherwise, and a field that may be left out may also be `null`, as where documents are read.

use serde_json::{Map, Value as Json, json};

use crate::document::API_VERSION;
use crate::envelope;
use crate::kind::{Kind, Kinds, Scope};

/// The dialect of JSON Schema.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";
/// What resources are named.
const NAME: &str = "^[a-z0-9._-]+$";
/// What meshes are named.
const MESH_NAME: &str = "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$";

/// The schema of a document of that kind, in the universal and in the Kubernetes form.
pub fn of_kind(kind: &Kind) -> Json {
    let mut definitions = Map::new();
    let forms = forms(kind, &mut definitions);
    schema_of(kind.name, forms, definitions)
}

/// The schema of a document of any of those kinds; `type`, or `apiVersion` and `kind`, say of which.
pub fn of_kinds(kinds: &Kinds) -> Json {
    let mut definitions = Map::new();
    let forms = kinds.iter().flat_map(|kind| forms(kind, &mut definitions)).collect();
    schema_of("Resources of Ursa", forms, definitions)
}

/// The schema of a gateway file.
pub fn of_gateway() -> Json {
    let mut definitions = Map::new();
    let root = with_definitions("Gateway", crate::gateway::schema().to_value(), &mut definitions);
    let mut schema = schema_of("Gateway file", Vec::new(), definitions);
    for (keyword, value) in root.as_object().into_iter().flatten() {
        schema[keyword] = value.clone();
    }
    schema
}

/// The schema of the spec, or of the flat fields, of that kind, whose definitions are added to `definitions`.
pub(crate) fn of_spec(kind: &Kind, definitions: &mut Map<String, Json>) -> Json {
    with_definitions(kind.name, (kind.schema)().to_value(), definitions)
}

fn schema_of(title: &str, forms: Vec<Json>, definitions: Map<String, Json>) -> Json {
    let mut schema = json!({"$schema": DIALECT, "title": title});
    if !forms.is_empty() {
        schema["oneOf"] = forms.into();
    }
    schema["$defs"] = definitions.into();
    schema
}

fn with_definitions(scope: &str, mut schema: Json, definitions: &mut Map<String, Json>) -> Json {
    let publisher = Publisher { scope };
    let own = schema.as_object_mut().and_then(|schema| schema.remove("$defs"));
    for (name, definition) in own.as_ref().and_then(Json::as_object).into_iter().flatten() {
        definitions.insert(publisher.name(name), publisher.schema(definition));
    }
    publisher.schema(&schema)
}

/// References to the schemas of both forms, which are put among the definitions.
fn forms(kind: &Kind, definitions: &mut Map<String, Json>) -> Vec<Json> {
    let spec = of_spec(kind, definitions);
    let names = [kind.name.to_owned(), format!("{}.kubernetes", kind.name)];
    let forms = [universal(kind, &spec), kubernetes(kind, &spec)];
    let named = names.into_iter().zip(forms);
    named
        .map(|(name, form)| {
            let reference = json!({ "$ref": format!("#/$defs/{name}") });
            definitions.insert(name, form);
            reference
        })
        .collect()
}

fn universal(kind: &Kind, spec: &Json) -> Json {
    let labels = json!({
        "description": "Labels of the resource.",
        "type": ["object", "null"], "additionalProperties": {"type": ["string", "null"]},
    });
    let mut properties = json!({
        "type": {"description": "The kind of the resource.", "const": kind.name},
        "mesh": mesh(kind),
        "name": name(kind),
        "labels": labels,
    });
    if kind.flat {
        for (field, schema) in spec["properties"].as_object().into_iter().flatten() {
            properties[field] = schema.clone();
        }
    } else {
        properties["spec"] = if is_needed(spec) { spec.clone() } else { nullable(spec.clone()) };
    }
    for field in envelope::UNIVERSAL {
        if field != "spec" && properties.get(field).is_none() {
            properties[field] = json!({"description": "Written by the control plane."});
        }
    }
    let fields = spec.get("required").filter(|_| kind.flat).and_then(Json::as_array);
    let own = [json!("type"), json!("name")].into_iter();
    let required: Vec<_> = own
        .chain((!kind.flat && is_needed(spec)).then(|| json!("spec")))
        .chain(fields.into_iter().flatten().cloned())
        .collect();
    object(spec, &properties, &required)
}

fn kubernetes(kind: &Kind, spec: &Json) -> Json {
    let mut metadata = Map::new();
    for field in envelope::METADATA {
        metadata.insert(field.to_owned(), Json::Bool(true));
    }
    metadata.insert("name".to_owned(), name(kind));
    metadata.insert("namespace".to_owned(), json!({"type": ["string", "null"]}));
    metadata.insert(
        "labels".to_owned(),
        json!({
            "description": "Labels of the resource; `kuma.io/mesh` names its mesh.",
            "type": ["object", "null"], "additionalProperties": {"type": ["string", "null"]},
        }),
    );
    let metadata = json!({
        "description": "What names the resource.",
        "type": "object", "properties": metadata, "required": ["name"], "additionalProperties": false,
    });
    let properties = json!({
        "apiVersion": {"const": API_VERSION},
        "kind": {"description": "The kind of the resource.", "const": kind.name},
        "metadata": metadata,
        "mesh": mesh(kind),
        "spec": if is_needed(spec) { spec.clone() } else { nullable(spec.clone()) },
        "status": {"description": "Written by the control plane."},
    });
    let mut required = vec![json!("apiVersion"), json!("kind"), json!("metadata")];
    if is_needed(spec) {
        required.push(json!("spec"));
    }
    object(spec, &properties, &required)
}

fn object(spec: &Json, properties: &Json, required: &[Json]) -> Json {
    let mut schema = json!({
        "type": "object", "properties": properties, "required": required, "additionalProperties": false,
    });
    if let Some(description) = spec.get("description") {
        schema["description"] = description.clone();
    }
    schema
}

fn name(kind: &Kind) -> Json {
    if kind.scope == Scope::Global {
        json!({"description": "The resource's name.", "type": "string", "pattern": MESH_NAME, "maxLength": 63})
    } else {
        json!({"description": "The resource's name.", "type": "string", "pattern": NAME, "maxLength": 253})
    }
}

fn mesh(kind: &Kind) -> Json {
    match kind.scope {
        Scope::Global => {
            json!({"description": "No effect: it belongs to no mesh.", "type": ["string", "null"]})
        }
        Scope::Mesh => json!({
            "description": "The mesh that it belongs to. Unset: default.",
            "type": ["string", "null"], "pattern": MESH_NAME, "maxLength": 63,
        }),
    }
}

/// Rewrites schemas whose definitions get names of their own beside those of other kinds.
struct Publisher<'s> {
    scope: &'s str,
}

impl Publisher<'_> {
    /// The name of a definition.
    fn name(&self, name: &str) -> String {
        format!("{}.{name}", self.scope)
    }

    fn schema(&self, schema: &Json) -> Json {
        let Some(written) = schema.as_object() else { return schema.clone() };
        if let Some(published) = written.get("x-published") {
            return described(published.clone(), written.get("description"));
        }
        let mut schema = Map::new();
        let mut also = Vec::new();
        for (keyword, value) in written {
            match keyword.as_str() {
                "$ref" => drop(schema.insert(keyword.clone(), self.reference(value))),
                "properties" => drop(schema.insert(keyword.clone(), self.fields(written))),
                "items" => drop(schema.insert(keyword.clone(), self.schema(value))),
                "additionalProperties" => {
                    drop(schema.insert(keyword.clone(), nullable(self.schema(value))));
                }
                "anyOf" | "oneOf" | "allOf" => {
                    drop(schema.insert(keyword.clone(), self.list(value)));
                }
                "x-exactly-one" => {
                    also.push(json!({ "oneOf": each(value, |field| set(field, &[Json::Null])) }));
                }
                "x-one-at-least" => also.push(json!({ "anyOf": each(value, given) })),
                "x-together" => {
                    let all = each(value, given);
                    also.push(json!({"anyOf": [{"allOf": all}, {"not": {"anyOf": all}}]}));
                }
                "x-also" => also.extend(value.as_array().into_iter().flatten().cloned()),
                // Widths of numbers, and ways of ours to write a value: their patterns say them.
                "format" if value == "uint32" => {
                    schema.entry("maximum").or_insert_with(|| json!(u32::MAX));
                }
                "$schema" | "title" | "format" | "x-accepts" | "x-accepts-fields" | "x-meant" => {}
                "default" if is_nothing(value) => {}
                _ => drop(schema.insert(keyword.clone(), value.clone())),
            }
        }
        if schema.contains_key("properties") {
            schema.entry("additionalProperties").or_insert(Json::Bool(false));
        }
        if !also.is_empty() {
            let all = schema.entry("allOf").or_insert_with(|| json!([]));
            all.as_array_mut().into_iter().for_each(|all| all.append(&mut also));
        }
        match written.get("x-accepts") {
            Some(others) => self.or_others(schema, others),
            None => schema.into(),
        }
    }

    fn reference(&self, to: &Json) -> Json {
        let name = to.as_str().and_then(|to| to.strip_prefix("#/$defs/"));
        name.map_or_else(|| to.clone(), |name| format!("#/$defs/{}", self.name(name)).into())
    }

    fn list(&self, schemas: &Json) -> Json {
        schemas.as_array().into_iter().flatten().map(|schema| self.schema(schema)).collect()
    }

    fn fields(&self, object: &Map<String, Json>) -> Json {
        let required: Vec<_> =
            object.get("required").and_then(Json::as_array).into_iter().flatten().collect();
        let own = object.get("properties").and_then(Json::as_object);
        let others = object.get("x-accepts-fields").and_then(Json::as_object);
        let fields = own.into_iter().chain(others).flatten();
        let field = |(name, schema): (&String, &Json)| {
            let schema = self.schema(schema);
            let needed = required.iter().any(|required| *required == name);
            (name.clone(), if needed { schema } else { nullable(schema) })
        };
        Json::Object(fields.map(field).collect())
    }

    fn or_others(&self, mut schema: Map<String, Json>, others: &Json) -> Json {
        let description = schema.remove("description");
        let mut any = vec![Json::Object(schema)];
        any.extend(others.as_array().into_iter().flatten().map(|schema| self.schema(schema)));
        described(json!({ "anyOf": any }), description.as_ref())
    }
}

fn described(mut schema: Json, description: Option<&Json>) -> Json {
    if let Some(description) = description {
        schema["description"] = description.clone();
    }
    schema
}

fn each(fields: &Json, schema: impl Fn(&str) -> Json) -> Vec<Json> {
    fields.as_array().into_iter().flatten().filter_map(Json::as_str).map(schema).collect()
}

/// The field is there, and is none of these.
fn set(field: &str, none: &[Json]) -> Json {
    json!({"required": [field], "properties": {field: {"not": {"enum": none}}}})
}

/// The field is there, and something is in it.
fn given(field: &str) -> Json {
    set(field, &[Json::Null, json!([]), json!({})])
}

/// Whether a spec has to be there: it demands something.
fn is_needed(spec: &Json) -> bool {
    spec.get("required").or(spec.get("allOf")).is_some()
}

fn is_nothing(value: &Json) -> bool {
    match value {
        Json::Null => true,
        Json::Array(items) => items.is_empty(),
        Json::Object(fields) => fields.values().all(is_nothing),
        _ => false,
    }
}

/// The same, or `null`.
fn nullable(schema: Json) -> Json {
    let Some(keywords) = schema.as_object() else { return schema };
    let is_null = |schema: &Json| schema["type"] == "null";
    let alternatives = keywords.get("anyOf").and_then(Json::as_array);
    if alternatives.is_some_and(|alternatives| alternatives.iter().any(is_null)) {
        return schema;
    }
    let says = |keyword: &str| keywords.contains_key(keyword);
    let by_type = !["$ref", "anyOf", "oneOf", "enum", "const"].iter().any(|keyword| says(keyword));
    match keywords.get("type") {
        Some(Json::String(one)) if by_type => with_types(schema.clone(), vec![json!(one)]),
        Some(Json::Array(several)) if by_type => with_types(schema.clone(), several.clone()),
        None if by_type => schema,
        _ => {
            let mut schema = schema;
            let description =
                schema.as_object_mut().and_then(|schema| schema.remove("description"));
            described(json!({"anyOf": [schema, {"type": "null"}]}), description.as_ref())
        }
    }
}

fn with_types(mut schema: Json, mut types: Vec<Json>) -> Json {
    if !types.contains(&json!("null")) {
        types.push(json!("null"));
    }
    schema["type"] = types.into();
    schema
}
