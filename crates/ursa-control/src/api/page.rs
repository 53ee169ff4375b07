//! Lists in pages.

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use serde::Deserialize;
use serde_json::{Value, json};

use super::access::host;
use super::problem::Problem;

/// Items of a page, unless said otherwise.
const SIZE: usize = 100;
/// Items of a page at most.
const MAX_SIZE: usize = 1000;

/// Which part of a list is wanted: `size` and `offset` of the query.
#[derive(Debug)]
pub(crate) struct Page {
    size: usize,
    offset: usize,
    /// The list's own URL, without a scheme.
    url: String,
}

#[derive(Debug, Deserialize)]
struct Asked {
    size: Option<usize>,
    offset: Option<usize>,
}

impl<S: Sync> FromRequestParts<S> for Page {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let Query(asked) = Query::<Asked>::try_from_uri(&parts.uri)
            .map_err(|error| Problem::parameter("query", error.body_text()))?;
        let size = asked.size.unwrap_or(SIZE);
        if size == 0 || size > MAX_SIZE {
            return Err(Problem::parameter("size", format!("must be from 1 to {MAX_SIZE}")));
        }
        let host = host(&parts.uri, &parts.headers);
        let host = host.map_or_else(String::new, |host| format!("//{host}"));
        let url = format!("{host}{}", parts.uri.path());
        Ok(Self { size, offset: asked.offset.unwrap_or(0), url })
    }
}

impl Page {
    /// This page of `all`, with the way to the next.
    pub(crate) fn of<T>(&self, all: &[T], item: impl Fn(&T) -> Value) -> Value {
        let items: Vec<_> = all.iter().skip(self.offset).take(self.size).map(item).collect();
        let end = self.offset.saturating_add(self.size);
        let next =
            (end < all.len()).then(|| format!("{}?offset={end}&size={}", self.url, self.size));
        json!({"total": all.len(), "items": items, "next": next})
    }
}
