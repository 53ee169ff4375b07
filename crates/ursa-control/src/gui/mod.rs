//! The live view: a page of hand-written HTML, CSS and JavaScript, built into the binary.
//!
//! It shows what `/telemetry/*` answers: services with their rates, the latest traces, one trace's waterfall. Nothing
//! comes from elsewhere and no script or style is inline, so the content security policy allows neither; whatever
//! telemetry says becomes text nodes only. The page itself holds nothing secret: where the API wants a token, the
//! page asks for it.

use std::hash::{DefaultHasher, Hash, Hasher};

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;

/// What the page may load and do.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A file of the page.
struct Asset {
    name: &'static str,
    content_type: &'static str,
    body: &'static str,
}

/// The assets by name: the file's, in the folder `assets`.
macro_rules! assets {
    ($($name:literal: $content_type:expr),* $(,)?) => {
        &[$(Asset { name: $name, content_type: $content_type, body: include_str!(concat!("assets/", $name)) }),*]
    };
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const INDEX: &str = "index.html";

const ASSETS: &[Asset] = assets! {
    "index.html": HTML,
    "page.css": CSS,
    "waterfall.css": CSS,
    "ursa.svg": "image/svg+xml",
    "theme.js": SCRIPT,
    "app.js": SCRIPT,
    "api.js": SCRIPT,
    "dom.js": SCRIPT,
    "format.js": SCRIPT,
    "services.js": SCRIPT,
    "traces.js": SCRIPT,
    "waterfall.js": SCRIPT,
    "span.js": SCRIPT,
};

/// The routes `/gui` and `/gui/assets/{name}`.
pub fn routes() -> Router {
    Router::new()
        .route("/gui", get(|headers: HeaderMap| async move { answer(INDEX, &headers) }))
        .route("/gui/", get(|| async { Redirect::permanent("/gui") }))
        .route("/gui/assets/{name}", get(|Path(name): Path<String>, headers: HeaderMap| async move { answer(&name, &headers) }))
}

fn answer(name: &str, headers: &HeaderMap) -> Response {
    let Some(asset) = ASSETS.iter().find(|asset| asset.name == name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let tag = asset.entity_tag();
    // Kept by browsers, but asked about each time: a new version shows at once and an old one costs no bytes.
    let mut response =
        if headers.get(header::IF_NONE_MATCH).is_some_and(|known| known == tag.as_str()) {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            ([(header::CONTENT_TYPE, asset.content_type)], asset.body).into_response()
        };
    let fixed = [
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    response
        .headers_mut()
        .extend(fixed.map(|(name, value)| (name, HeaderValue::from_static(value))));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

impl Asset {
    /// Changes with the content.
    fn entity_tag(&self) -> String {
        let mut hasher = DefaultHasher::new();
        self.body.hash(&mut hasher);
        format!("\"{:016x}\"", hasher.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_asset_is_embedded_and_every_reference_resolves() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/gui/assets");
        let mut files: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect();
        let mut names: Vec<_> = ASSETS.iter().map(|asset| asset.name.to_owned()).collect();
        files.sort();
        names.sort();
        assert_eq!(names, files);
        for asset in ASSETS {
            let references = asset
                .body
                .split("/gui/assets/")
                .skip(1)
                .chain(asset.body.split("from \"./").skip(1));
            for reference in references {
                let name = reference.split('"').next().unwrap();
                assert!(names.iter().any(|known| known == name), "{} refers to {name}", asset.name);
            }
        }
    }

    #[test]
    fn nothing_is_inline_or_from_elsewhere_and_no_text_becomes_markup() {
        for asset in ASSETS {
            for forbidden in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "style=\"",
                "onclick=",
            ] {
                assert!(!asset.body.contains(forbidden), "{} in {}", forbidden, asset.name);
            }
            let elsewhere = asset.body.replace("http://www.w3.org/", "");
            assert!(
                !elsewhere.contains("http://") && !elsewhere.contains("https://"),
                "{}",
                asset.name
            );
        }
    }

    #[test]
    fn what_the_browser_has_is_not_sent_again() {
        let mut headers = HeaderMap::new();
        let first = answer("page.css", &headers);
        assert_eq!(first.status(), StatusCode::OK);
        headers.insert(header::IF_NONE_MATCH, first.headers()[header::ETAG].clone());
        assert_eq!(answer("page.css", &headers).status(), StatusCode::NOT_MODIFIED);
        assert_eq!(answer("app.js", &headers).status(), StatusCode::OK);
        assert_eq!(answer("../mod.rs", &headers).status(), StatusCode::NOT_FOUND);
    }
}
