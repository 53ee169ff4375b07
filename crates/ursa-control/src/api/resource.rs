//! Resources: read, written, removed.

use axum::Json;
use axum::extract::rejection::{JsonRejection, StringRejection};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use ursa_model::ResourceKey;
use ursa_model::kind::{Kind, Scope};
use ursa_store::{Expect, Filter, Record, StoreError};

use super::Api;
use super::page::Page;
use super::problem::Problem;
use crate::resources::{Action, ChangeError, Source, key_of};
use crate::snapshot;

/// Bytes of a file's name; each document of the file keeps it.
const MAX_FILE: usize = 1024;

/// The body of `POST /_apply`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ApplyRequest {
    documents: Vec<Text>,
    /// Only says what would be done.
    #[serde(default)]
    dry_run: bool,
}

/// A text with one or several documents.
#[derive(Debug, Deserialize)]
pub(super) struct Text {
    text: String,
    file: Option<String>,
    line: Option<u32>,
}

/// Makes or changes several resources, or none.
pub(crate) async fn apply(
    State(api): State<Api>,
    body: Result<Json<ApplyRequest>, JsonRejection>,
) -> Result<Json<Value>, Problem> {
    let Json(request) = body?;
    let results = api.resources.apply(&sources(&request.documents)?, request.dry_run).await?;
    Ok(Json(json!({ "results": results })))
}

/// Texts as resources are made of them.
pub(super) fn sources(texts: &[Text]) -> Result<Vec<Source<'_>>, Problem> {
    let is_long = |file: &String| file.len() > MAX_FILE;
    if texts.iter().any(|text| text.file.as_ref().is_some_and(is_long)) {
        let reason = format!("must have at most {MAX_FILE} bytes");
        return Err(Problem::parameter("documents.file", reason));
    }
    Ok(texts.iter().map(Text::source).collect())
}

impl Text {
    fn source(&self) -> Source<'_> {
        let Self { text, file, line } = self;
        Source { text, file: file.as_deref(), line: line.unwrap_or(1) }
    }
}

/// The resources of a kind, in all meshes or outside them.
pub(crate) async fn list_all(
    State(api): State<Api>,
    Path(plural): Path<String>,
    page: Page,
) -> Result<Json<Value>, Problem> {
    let kind = kind(&api, &plural)?;
    let filter = Filter { kind: Some(kind.name.to_owned()), mesh: None };
    listed(&api, filter, &page).await
}

/// The resources of a kind in a mesh.
pub(crate) async fn list(
    State(api): State<Api>,
    Path((mesh, plural)): Path<(String, String)>,
    page: Page,
) -> Result<Json<Value>, Problem> {
    let kind = kind_in_mesh(&api, &plural)?;
    existing_mesh(&api, &mesh).await?;
    let filter = Filter { kind: Some(kind.name.to_owned()), mesh: Some(mesh) };
    listed(&api, filter, &page).await
}

async fn listed(api: &Api, filter: Filter, page: &Page) -> Result<Json<Value>, Problem> {
    let records = api.resources.list(&filter).await?.records;
    Ok(Json(page.of(&records, |record| shown(api, record))))
}

/// A mesh.
pub(crate) async fn get_mesh(
    State(api): State<Api>,
    Path(mesh): Path<String>,
) -> Result<Response, Problem> {
    read(&api, &ResourceKey::global("Mesh", mesh)).await
}

/// A resource in a mesh.
pub(crate) async fn get(
    State(api): State<Api>,
    Path((mesh, plural, name)): Path<(String, String, String)>,
) -> Result<Response, Problem> {
    let kind = kind_in_mesh(&api, &plural)?;
    read(&api, &key_of(kind, &mesh, &name)).await
}

async fn read(api: &Api, key: &ResourceKey) -> Result<Response, Problem> {
    let record = api.resources.get(key).await?;
    let record = record.ok_or_else(|| Problem::not_found(format!("there is no {key}")))?;
    Ok((etag(&record), Json(shown(api, &record))).into_response())
}

/// Makes or changes a mesh.
pub(crate) async fn put_mesh(
    State(api): State<Api>,
    Path(mesh): Path<String>,
    headers: HeaderMap,
    body: Result<String, StringRejection>,
) -> Result<Response, Problem> {
    write(&api, &ResourceKey::global("Mesh", mesh), &headers, &body?).await
}

/// Makes or changes a resource in a mesh.
pub(crate) async fn put(
    State(api): State<Api>,
    Path((mesh, plural, name)): Path<(String, String, String)>,
    headers: HeaderMap,
    body: Result<String, StringRejection>,
) -> Result<Response, Problem> {
    let kind = kind_in_mesh(&api, &plural)?;
    write(&api, &key_of(kind, &mesh, &name), &headers, &body?).await
}

async fn write(
    api: &Api,
    key: &ResourceKey,
    headers: &HeaderMap,
    body: &str,
) -> Result<Response, Problem> {
    let put = api.resources.put(key, body, expectation(headers)?).await;
    let (applied, record) = put.map_err(|error| match error {
        // It is the condition that does not hold: what a PUT names need not be there.
        ChangeError::Store(StoreError::NotFound { .. }) => {
            let status = StatusCode::PRECONDITION_FAILED;
            Problem::new(status, "The resource is not there", error.to_string())
        }
        error => error.into(),
    })?;
    let status = match applied.action {
        Action::Created => StatusCode::CREATED,
        Action::Updated | Action::Unchanged | Action::Deleted => StatusCode::OK,
    };
    let warnings: Vec<_> = applied.warnings.iter().map(ToString::to_string).collect();
    let body = if warnings.is_empty() { json!({}) } else { json!({ "warnings": warnings }) };
    Ok((status, etag(&record), Json(body)).into_response())
}

/// Removes a mesh that nothing is in.
pub(crate) async fn delete_mesh(
    State(api): State<Api>,
    Path(mesh): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Value>, Problem> {
    remove(&api, &ResourceKey::global("Mesh", mesh), &headers).await
}

/// Removes a resource in a mesh.
pub(crate) async fn delete(
    State(api): State<Api>,
    Path((mesh, plural, name)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Result<Json<Value>, Problem> {
    let kind = kind_in_mesh(&api, &plural)?;
    remove(&api, &key_of(kind, &mesh, &name), &headers).await
}

async fn remove(api: &Api, key: &ResourceKey, headers: &HeaderMap) -> Result<Json<Value>, Problem> {
    let expect = match expectation(headers)? {
        Expect::Any => Expect::Present,
        given => given,
    };
    match api.resources.delete(key, expect).await {
        Err(ChangeError::Store(StoreError::Conflict { found: None, key, .. })) => {
            Err(Problem::not_found(format!("there is no {key}")))
        }
        done => Ok(done.map(|()| Json(json!({})))?),
    }
}

fn kind(api: &Api, plural: &str) -> Result<&'static Kind, Problem> {
    let kinds = api.resources.kinds();
    kinds.iter().find(|kind| kind.plural == plural).ok_or_else(|| {
        let known: Vec<_> = kinds.iter().map(|kind| kind.plural).collect();
        Problem::not_found(format!("there is nothing at `{plural}`; kinds: {}", known.join(", ")))
    })
}

/// The kind of that plural, which must be one of those in a mesh.
pub(super) fn kind_in_mesh(api: &Api, plural: &str) -> Result<&'static Kind, Problem> {
    let kind = kind(api, plural)?;
    match kind.scope {
        Scope::Mesh => Ok(kind),
        Scope::Global => {
            Err(Problem::not_found(format!("{plural} are not in a mesh; see /{plural}")))
        }
    }
}

/// Refuses what is asked of a mesh that is not there.
pub(super) async fn existing_mesh(api: &Api, mesh: &str) -> Result<(), Problem> {
    let found = api.resources.get(&ResourceKey::global("Mesh", mesh)).await?;
    found.map(drop).ok_or_else(|| Problem::not_found(format!("there is no mesh `{mesh}`")))
}

/// What `If-Match` and `If-None-Match` ask for.
fn expectation(headers: &HeaderMap) -> Result<Expect, Problem> {
    let text = |name| headers.get(name).map(|value: &HeaderValue| value.to_str().unwrap_or(""));
    match (text(header::IF_MATCH), text(header::IF_NONE_MATCH)) {
        (None, None) => Ok(Expect::Any),
        (Some("*"), None) => Ok(Expect::Present),
        (None, Some("*")) => Ok(Expect::Absent),
        (Some(version), None) => version
            .trim_matches('"')
            .parse()
            .map(Expect::Version)
            .map_err(|_| Problem::parameter("If-Match", "must be an ETag of this API")),
        _ => Err(Problem::parameter("If-None-Match", "only `*` is understood, without If-Match")),
    }
}

fn etag(record: &Record) -> [(header::HeaderName, String); 1] {
    [(header::ETAG, format!("\"{}\"", record.version))]
}

/// A record in the canonical universal form, with its times. A secret's value stays here.
fn shown(api: &Api, record: &Record) -> Value {
    let key = &record.key;
    let mut json = match snapshot::parse(record, api.resources.kinds()) {
        Ok(document) => document.to_json(),
        Err(why) => json!({
            "type": key.kind, "mesh": key.mesh, "name": key.name, "unreadable": why,
        }),
    };
    json["creationTime"] = record.created.to_string().into();
    json["modificationTime"] = record.modified.to_string().into();
    if key.kind == "Secret"
        && let Some(fields) = json.as_object_mut()
    {
        fields.remove("data");
    }
    json
}
