//! The REST API as programs use it.

use std::net::SocketAddr;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use ursa_control::{Config, ControlPlane};

use crate::agent::{Agent, Held};
use crate::shop::{apply, get, id, open, request, start, tracing};

const MESH_TRACE: &str = "/meshes/default/meshtraces/all";

fn policy(overall: u32) -> String {
    tracing("all", "{kind: Mesh}", overall)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resource_is_made_read_changed_and_removed() {
    let running = start(None).await;
    let made = request(&running, Method::PUT, MESH_TRACE, &[], policy(80)).await;
    assert_eq!((made.status, made.json()), (StatusCode::CREATED, json!({})));

    let read = request(&running, Method::GET, MESH_TRACE, &[], "").await;
    assert_eq!(read.headers["etag"], made.headers["etag"]);
    let body = read.json();
    assert_eq!(
        (&body["type"], &body["mesh"], &body["name"]),
        (&json!("MeshTrace"), &json!("default"), &json!("all"))
    );
    assert_eq!(body["spec"]["default"]["sampling"]["overall"], 80);
    assert!(body["creationTime"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok());

    // What was read can be sent back, as JSON.
    let etag = format!("if-match: {}", read.headers["etag"]);
    let mut sent = body.clone();
    sent["spec"]["default"]["sampling"]["overall"] = json!(50);
    for key in ["creationTime", "modificationTime"] {
        sent.as_object_mut().unwrap().remove(key);
    }
    let changed = request(&running, Method::PUT, MESH_TRACE, &[&etag], sent.to_string()).await;
    assert_eq!(changed.status, StatusCode::OK, "{}", changed.text);

    let lost = request(&running, Method::PUT, MESH_TRACE, &[&etag], policy(10)).await;
    assert_eq!(lost.status, StatusCode::PRECONDITION_FAILED, "a lost update");
    assert_eq!(lost.headers["content-type"], "application/problem+json");
    for (path, header) in
        [(MESH_TRACE, "if-none-match: *"), ("/meshes/default/meshtraces/none", "if-match: *")]
    {
        let text =
            policy(1).replace("name: all", &format!("name: {}", path.rsplit('/').next().unwrap()));
        let refused = request(&running, Method::PUT, path, &[header], text).await;
        assert_eq!(refused.status, StatusCode::PRECONDITION_FAILED, "{header}: {}", refused.text);
    }
    let list = get(&running, "/meshes/default/meshtraces").await;
    assert_eq!(list["items"][0]["spec"]["default"]["sampling"]["overall"], 50);

    let removed = request(&running, Method::DELETE, MESH_TRACE, &[], "").await;
    assert_eq!(removed.status, StatusCode::OK);
    for method in [Method::DELETE, Method::GET] {
        let gone = request(&running, method, MESH_TRACE, &[], "").await;
        assert_eq!(gone.status, StatusCode::NOT_FOUND);
        assert_eq!(gone.json()["status"], 404);
    }
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_is_wrong_is_told_and_nothing_is_written() {
    let running = start(None).await;
    let right = "type: Mesh\nname: shop\n";
    let wrong = "type: MeshTrace\nmesh: shop\nname: all\nspec:\n  default:\n    backend: []\n    samplin: {overall: 101}\n";
    let nowhere = tracing("all", "{kind: Mesh}", 1).replace("mesh: default", "mesh: nowhere");
    let reserved = "type: MeshOpenTelemetryBackend\nmesh: default\nname: ursa\nspec: {}\n";
    let documents = json!({"documents": [
        {"text": right}, {"text": wrong, "file": "wrong.yaml", "line": 11},
        {"text": nowhere}, {"text": reserved},
    ]});
    let refused = request(
        &running,
        Method::POST,
        "/_apply",
        &["content-type: application/json"],
        documents.to_string(),
    )
    .await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    let problem = refused.json();
    let violations = problem["violations"].as_array().unwrap();
    let find = |document: u64, word: &str| {
        let found = violations
            .iter()
            .find(|it| it["document"] == document && it.to_string().contains(word));
        found.unwrap_or_else(|| panic!("{word} in {violations:#?}")).clone()
    };
    assert_eq!(find(1, "samplin")["place"]["line"], 17, "counted in the file");
    assert_eq!(find(2, "no mesh `nowhere`")["hint"], "apply the Mesh first, or together with this");
    find(3, "own store");
    assert_eq!(problem["invalid_parameters"].as_array().unwrap().len(), violations.len());
    assert_eq!(get(&running, "/meshes").await["total"], 1, "not even what was right");
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_documents_are_applied_together_or_tried() {
    let running = start(None).await;
    // Of the two, the second lists no format in which a trace travels.
    let warned =
        policy(80).replace("    sampling:", "    propagators: [w3c_baggage]\n    sampling:");
    let text =
        format!("type: Mesh\nname: shop\n---\n{}", warned.replace("mesh: default", "mesh: shop"));
    let send = async |dry_run: bool| {
        let body = json!({"documents": [{"text": text, "file": "shop.yaml"}], "dryRun": dry_run});
        let reply = request(
            &running,
            Method::POST,
            "/_apply",
            &["content-type: application/json"],
            body.to_string(),
        )
        .await;
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.text);
        let results = reply.json()["results"].as_array().unwrap().clone();
        let warnings = |at: usize| results[at]["warnings"].as_array().unwrap().clone();
        assert!(warnings(0).is_empty() && !warnings(1).is_empty(), "{results:#?}");
        assert!(warnings(1).iter().all(|it| it["place"]["line"] == 11), "{results:#?}");
        results.iter().map(|it| it["action"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(send(true).await, ["created", "created"]);
    assert_eq!(get(&running, "/meshes").await["total"], 1, "a dry run");
    assert_eq!(send(false).await, ["created", "created"]);
    assert_eq!(send(false).await, ["unchanged", "unchanged"]);
    assert_eq!(get(&running, "/meshtraces").await["items"][0]["mesh"], "shop");

    let busy = request(&running, Method::DELETE, "/meshes/shop", &[], "").await;
    assert_eq!(busy.status, StatusCode::CONFLICT);
    assert_eq!(busy.json()["detail"], "mesh `shop` still has MeshTrace shop/all");
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_come_in_pages() {
    let running = open().await;
    let mut names = Vec::new();
    let mut next = "/meshes/default/dataplanes?size=2".to_owned();
    loop {
        let page = get(&running, &next).await;
        assert_eq!(page["total"], 5);
        names.extend(
            page["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|it| it["name"].as_str().unwrap().to_owned()),
        );
        let Some(url) = page["next"].as_str() else { break };
        let (_, path) = url.split_once("/meshes").unwrap();
        next = format!("/meshes{path}");
    }
    assert_eq!(names, ["cart", "catalog", "frontend", "gateway", "payments"]);
    let wrong = request(&running, Method::GET, "/meshes/default/dataplanes?size=0", &[], "").await;
    assert_eq!(wrong.json()["invalid_parameters"][0]["field"], "size");
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_can_be_looked_at() {
    let running = open().await;
    let file = ursa_control::Source { text: &policy(80), file: Some("all.yaml"), line: 1 };
    running.apply(&[file]).await.unwrap();
    apply(&running, &[tracing("cart", "{kind: MeshService, name: cart}", 20)]).await;
    let at = |page: &str| format!("/meshes/default/dataplanes/cart/{page}");

    let policies = get(&running, &at("_policies")).await;
    let names: Vec<_> =
        policies[0]["policies"].as_array().unwrap().iter().map(|key| &key["name"]).collect();
    assert_eq!(names, ["all", "cart"]);
    assert_eq!(policies[0]["conf"]["sampling"]["overall"], 20);
    assert_eq!(get(&running, &at("_rules")).await, policies);

    let explained = get(&running, &at("_explain")).await;
    let of_traces = explained.as_array().unwrap().iter().find(|it| it["kind"] == "MeshTrace");
    let values = of_traces.unwrap()["values"].as_array().unwrap();
    let overall = values.iter().find(|it| it["path"] == "sampling.overall").unwrap();
    assert_eq!(overall["origin"]["policy"]["name"], "cart");
    let weaker = overall["overridden"][0].to_string();
    assert!(weaker.contains("all.yaml") && weaker.contains(r#""line":8"#), "{weaker}");

    let before = get(&running, &at("_overview")).await;
    assert_eq!((&before["connected"], &before["types"]), (&json!(false), &json!({})));
    let _agent = Agent::start(&running, &id("cart")).await;
    let after = loop {
        let overview = get(&running, &at("_overview")).await;
        let types = overview["types"].as_object().unwrap();
        if types.values().all(|it| it["sent"] == it["acked"]) {
            break overview;
        }
    };
    assert_eq!((&after["connected"], &after["service"]), (&json!(true), &json!("cart")));
    assert_eq!(after["types"].as_object().unwrap().len(), 7);
    let lists = ["dataplanes+insights", "dataplanes/_overview"];
    for path in lists.into_iter().flat_map(|it| [format!("/{it}"), format!("/meshes/default/{it}")])
    {
        let all = get(&running, &path).await;
        let connected =
            all["items"].as_array().unwrap().iter().filter(|it| it["connected"] == true);
        assert_eq!((all["total"].as_u64(), connected.count()), (Some(5), 1));
    }
    let insight = get(&running, "/global-insight").await;
    assert_eq!(insight["dataplanes"], json!({"total": 5, "online": 1, "offline": 4}));
    assert_eq!(insight["resources"]["MeshTrace"]["total"], 2);

    let nobody =
        request(&running, Method::GET, "/meshes/default/dataplanes/nobody/_explain", &[], "").await;
    assert_eq!(nobody.json()["detail"], "there is no Dataplane default/nobody");
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_says_what_it_is() {
    let running = start(None).await;
    let index = get(&running, "/").await;
    assert_eq!(
        (&index["product"], &index["mode"], &index["gui"]),
        (&json!("Ursa"), &json!("zone"), &json!("/gui"))
    );
    let person = request(&running, Method::GET, "/", &["accept: text/html,*/*"], "").await;
    assert_eq!((person.status, person.headers["location"].as_str()), (StatusCode::FOUND, "/gui"));
    for path in ["/healthy", "/ready", "/gui", "/telemetry/services"] {
        let reply = request(&running, Method::GET, path, &[], "").await;
        assert!(
            reply.status.is_success() || reply.status.is_redirection(),
            "{path} {}",
            reply.status
        );
    }
    for (method, path, status) in [
        (Method::GET, "/nothing/here", StatusCode::NOT_FOUND),
        (Method::GET, "/nonsenses", StatusCode::NOT_FOUND),
        (Method::GET, "/meshes/default/nonsenses", StatusCode::NOT_FOUND),
        (Method::POST, "/meshes/default", StatusCode::METHOD_NOT_ALLOWED),
        (Method::GET, "/meshes/nowhere/dataplanes/_overview", StatusCode::NOT_FOUND),
        (Method::POST, "/_apply", StatusCode::UNSUPPORTED_MEDIA_TYPE),
        (Method::PUT, "/meshes/other", StatusCode::BAD_REQUEST),
    ] {
        let reply = request(&running, method, path, &[], "{type: Mesh, name: default}").await;
        assert_eq!(
            (reply.status, &reply.json()["type"]),
            (status, &json!("/std-errors")),
            "{path}"
        );
    }
    let refused = request(&running, Method::POST, "/meshes/default", &[], "").await;
    assert_eq!(refused.headers["allow"], "GET,HEAD,PUT,DELETE");
    let head = request(&running, Method::HEAD, "/meshes/default", &[], "").await;
    assert!(head.status.is_success() && head.text.is_empty() && head.headers.contains_key("etag"));
    let json = "content-type: application/json";
    let large = " ".repeat((8 << 20) + 1);
    for (method, path) in [
        (Method::POST, "/_apply"),
        (Method::POST, "/tokens/dataplane"),
        (Method::POST, "/tokens/user/admin"),
        (Method::PUT, "/meshes/default"),
        (Method::PUT, MESH_TRACE),
    ] {
        let reply = request(&running, method, path, &[json], large.as_str()).await;
        assert_eq!(reply.status, StatusCode::PAYLOAD_TOO_LARGE, "{path}");
        assert_eq!(reply.json()["status"], 413, "{path}");
    }
    let file = "x".repeat(2000);
    let body = json!({"documents": [{"text": "", "file": file}]}).to_string();
    let refused = request(&running, Method::POST, "/_apply", &[json], body).await;
    assert_eq!(refused.json()["invalid_parameters"][0]["field"], "documents.file");
    let text = request(&running, Method::GET, "/metrics", &[], "").await.text;
    assert!(text.contains(r#"handler="/meshes/{mesh}""#) && text.contains("cp_info"), "{text}");
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_made_for_agents() {
    let running = open().await;
    let body = r#"{"mesh": "default", "name": "cart", "validFor": "1h"}"#;
    let headers = ["content-type: application/json"];
    let token = request(&running, Method::POST, "/tokens/dataplane", &headers, body).await;
    assert_eq!(token.status, StatusCode::OK);
    assert!(token.headers["content-type"].starts_with("text/plain"));
    let pin = running.ca_fingerprint();
    let opened = Agent::open(&running, pin, &token.text, "default.cart", Held::new()).await;
    opened.unwrap().next().await.unwrap();
    let long = r#"{"name": "cart", "validFor": "1000000h"}"#;
    let refused = request(&running, Method::POST, "/tokens/dataplane", &headers, long).await;
    assert_eq!(refused.json()["invalid_parameters"][0]["field"], "validFor");
    let wrong = r#"{"mesh": "a.b", "name": "Cart"}"#;
    let refused = request(&running, Method::POST, "/tokens/dataplane", &headers, wrong).await;
    let fields = refused.json()["invalid_parameters"].clone();
    assert_eq!((&fields[0]["field"], &fields[1]["field"]), (&json!("mesh"), &json!("name")));
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_page_elsewhere_cannot_use_the_api_of_this_machine() {
    let running = start(None).await;
    for header in ["host: ursa.evil.example", "origin: https://evil.example"] {
        let reply = request(&running, Method::GET, "/meshes", &[header], "").await;
        assert_eq!(reply.status, StatusCode::FORBIDDEN, "{header}");
    }
    let own = format!("origin: {}", running.api_url());
    let reply = request(&running, Method::GET, "/meshes", &[&own], "").await;
    assert_eq!(reply.status, StatusCode::OK);
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn elsewhere_than_on_loopback_the_api_wants_tls_and_an_admin_token() {
    let dir = tempfile::tempdir().unwrap();
    let free = || SocketAddr::from(([127, 0, 0, 1], 0));
    // Reached on loopback only, but not an address of loopback by name.
    let api = "[::ffff:127.0.0.1]:0".parse().unwrap();
    let config = Config {
        data_dir: Some(dir.path().to_owned()),
        api,
        xds: free(),
        mads: free(),
        otlp_grpc: free(),
        otlp_http: free(),
        ..Config::default()
    };
    let running = ControlPlane::start(config).await.unwrap();
    let pem = std::fs::read(dir.path().join("ca.pem")).unwrap();
    let client = reqwest::Client::builder()
        .tls_certs_only([reqwest::Certificate::from_pem(&pem).unwrap()])
        .build()
        .unwrap();
    let url = format!("https://127.0.0.1:{}", running.addresses().api.port());
    let send = async |path: &str, token: &str| {
        let request = client.get(format!("{url}{path}"));
        let request = if token.is_empty() { request } else { request.bearer_auth(token) };
        let response = request.send().await.unwrap();
        let status = response.status();
        (status, response.text().await.unwrap())
    };
    let admin = running.admin_token().expose().to_owned();
    assert_eq!(send("/meshes", &admin).await.0, StatusCode::OK);
    assert_eq!(send("/healthy", "").await.0, StatusCode::OK);
    let (status, text) = send("/meshes", "").await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    let problem: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(problem["detail"], "no token; send it as `authorization: Bearer TOKEN`");
    let proxys = running.dataplane_token(&id("cart"), crate::shop::SOON).unwrap();
    assert_eq!(send("/telemetry/services", proxys.expose()).await.0, StatusCode::FORBIDDEN);
    assert_eq!(send("/metrics", "nonsense").await.0, StatusCode::UNAUTHORIZED);
    running.shutdown().await;
}
