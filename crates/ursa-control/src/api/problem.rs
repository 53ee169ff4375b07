//! What a client is told when a request fails: RFC 7807, in Kuma's shape.

use axum::Json;
use axum::extract::rejection::{BytesRejection, JsonRejection, StringRejection};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use ursa_model::report::Violation;
use ursa_store::StoreError;

use crate::resources::ChangeError;

/// A failed request.
#[derive(Debug, Serialize)]
pub(crate) struct Problem {
    r#type: &'static str,
    status: u16,
    title: String,
    detail: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    invalid_parameters: Vec<InvalidParameter>,
    /// The same with places and hints.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    violations: Vec<Violation>,
}

/// One field that is wrong.
#[derive(Debug, Serialize)]
struct InvalidParameter {
    field: String,
    reason: String,
}

impl Problem {
    pub(crate) fn new(
        status: StatusCode,
        title: impl Into<String>,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            r#type: "/std-errors",
            status: status.as_u16(),
            title: title.into(),
            detail: detail.into(),
            invalid_parameters: Vec::new(),
            violations: Vec::new(),
        }
    }

    /// There is no such thing.
    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "Could not retrieve a resource", detail)
    }

    /// A parameter of the request is wrong.
    pub(crate) fn parameter(field: &str, reason: impl Into<String>) -> Self {
        Self::parameters([(field.to_owned(), reason.into())])
    }

    /// Parameters of the request are wrong: field and reason of each.
    pub(crate) fn parameters(wrong: impl IntoIterator<Item = (String, String)>) -> Self {
        let wrong = wrong.into_iter().map(|(field, reason)| InvalidParameter { field, reason });
        let invalid_parameters: Vec<_> = wrong.collect();
        let words: Vec<_> =
            invalid_parameters.iter().map(|it| format!("{}: {}", it.field, it.reason)).collect();
        let problem = Self::new(StatusCode::BAD_REQUEST, "Invalid request", words.join("; "));
        Self { invalid_parameters, ..problem }
    }

    /// The body is too large, not of the type that is wanted, or wrong.
    fn body(status: StatusCode, reason: String) -> Self {
        let problem = Self::parameter("body", reason);
        match status {
            StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNSUPPORTED_MEDIA_TYPE => {
                Self { status: status.as_u16(), ..problem }
            }
            _ => problem,
        }
    }
}

impl From<JsonRejection> for Problem {
    fn from(error: JsonRejection) -> Self {
        Self::body(error.status(), error.body_text())
    }
}

impl From<StringRejection> for Problem {
    fn from(error: StringRejection) -> Self {
        Self::body(error.status(), error.body_text())
    }
}

impl From<BytesRejection> for Problem {
    fn from(error: BytesRejection) -> Self {
        Self::body(error.status(), error.body_text())
    }
}

impl From<ChangeError> for Problem {
    fn from(error: ChangeError) -> Self {
        let detail = error.to_string();
        match error {
            ChangeError::Violations(violations) => {
                let refusals = violations.iter().filter(|violation| violation.is_refusal());
                let invalid_parameters = refusals
                    .map(|violation| InvalidParameter {
                        field: violation.path.to_string(),
                        reason: violation.message.clone(),
                    })
                    .collect();
                Self {
                    invalid_parameters,
                    violations,
                    ..Self::new(StatusCode::BAD_REQUEST, "Could not process a resource", detail)
                }
            }
            ChangeError::OtherResource { .. } => Self::parameter("name", detail),
            ChangeError::NotOne(_) => Self::parameter("body", detail),
            ChangeError::MeshInUse { .. } => {
                Self::new(StatusCode::CONFLICT, "Could not delete a resource", detail)
            }
            ChangeError::Store(error) => error.into(),
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let detail = error.to_string();
        match &error {
            StoreError::Conflict { .. } | StoreError::AlreadyExists { .. } => {
                let title = "The resource was changed meanwhile";
                Self::new(StatusCode::PRECONDITION_FAILED, title, detail)
            }
            StoreError::NotFound { .. } => Self::not_found(detail),
            StoreError::Unavailable { .. } => {
                crate::planner::log_store(&error);
                let title = "The store is not available";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, title, detail)
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(self)).into_response();
        let kind = header::HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        if status == StatusCode::UNAUTHORIZED {
            let how = header::HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, how);
        }
        response
    }
}
