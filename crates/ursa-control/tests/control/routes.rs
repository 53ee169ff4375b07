//! Policies for what a route takes.

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::shop::{apply, get, open, request, tracing};

const ROUTE: &str = "{type: MeshHTTPRoute, mesh: default, name: items, spec: {to: [{targetRef: {kind: MeshService, name: catalog}, \
                     rules: [{matches: [{path: {type: PathPrefix, value: /items}}], default: {}}]}]}}";

#[tokio::test(flavor = "multi_thread")]
async fn a_route_shares_the_backend_of_its_proxies() {
    let running = open().await;
    let of_route = tracing("items", "{kind: MeshHTTPRoute, name: items}", 7);
    let path = "/meshes/default/meshtraces/items";
    let put = async |text: &str| request(&running, Method::PUT, path, &[], text).await;

    // Alone it is right, though there is no such route yet.
    let made = put(&of_route).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    assert!(made.text.contains("there is no MeshHTTPRoute `items`"), "{}", made.text);

    apply(&running, &[tracing("all", "{kind: Mesh}", 100), ROUTE.to_owned()]).await;
    let other = of_route.replace("name: ursa", "name: elsewhere");
    let refused = put(&other).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{}", refused.text);
    assert_eq!(refused.json()["invalid_parameters"][0]["field"], json!("spec.default.backends"));
    assert_eq!(put(&of_route).await.status, StatusCode::OK);
    let selected = get(&running, "/meshes/default/meshtraces/items/_resources/dataplanes").await;
    assert_eq!(selected["total"], 5, "whoever has the route: {selected}");
    running.shutdown().await;
}
