//! Routes through a real Envoy: where requests go, how they are changed, what is seen of them, and that a change loses none.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use reqwest::redirect::Policy;
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::collector::{Collector, free};
use crate::mesh::{Mesh, eventually, peer};

/// Requests of which shares are counted.
const REQUESTS: usize = 2_000;

/// An endpoint of a service, without a proxy. It answers with its name and the request that came.
#[derive(Clone, Debug)]
struct Endpoint {
    name: &'static str,
    port: u16,
    came: Arc<Mutex<Vec<String>>>,
}

impl Endpoint {
    async fn serve(name: &'static str, tasks: &mut JoinSet<()>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let endpoint = Self { name, port, came: Arc::default() };
        let own = endpoint.clone();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let own = own.clone();
                connections.spawn(async move { drop(own.answer(BufReader::new(stream)).await) });
                while connections.try_join_next().is_some() {}
            }
        });
        endpoint
    }

    async fn answer(&self, mut stream: BufReader<TcpStream>) -> io::Result<()> {
        loop {
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                if stream.read_line(&mut head).await? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            let body = format!("{}\n{head}", self.name);
            self.came.lock().unwrap().push(head);
            let answer = format!(
                "HTTP/1.1 200 OK\r\nx-internal: yes\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            stream.get_mut().write_all(answer.as_bytes()).await?;
        }
    }

    fn came(&self) -> usize {
        self.came.lock().unwrap().len()
    }

    fn dataplane(&self, service: &str, version: &str) -> Value {
        let tags =
            json!({"kuma.io/service": service, "kuma.io/protocol": "http", "version": version});
        let networking = json!({"address": "127.0.0.1", "inbound": [{"port": self.port, "servicePort": 1, "tags": tags}]});
        json!({"type": "Dataplane", "mesh": "default", "name": self.name, "networking": networking})
    }
}

/// The mesh: `front`, which calls `echo` of two versions, and a service `shadow` that it has no outbound for.
struct World {
    mesh: Mesh,
    /// Where the service beside `front` calls `echo`.
    echo: String,
    shadow: Endpoint,
    _tasks: JoinSet<()>,
}

impl World {
    async fn start(arguments: &[&str]) -> Self {
        let mut tasks = JoinSet::new();
        let v1 = Endpoint::serve("echo-v1", &mut tasks).await;
        let v2 = Endpoint::serve("echo-v2", &mut tasks).await;
        let shadow = Endpoint::serve("shadow", &mut tasks).await;
        let front = json!({"type": "Dataplane", "mesh": "default", "name": "front", "networking": {
            "address": "127.0.0.1",
            "inbound": [{"port": free(), "servicePort": v1.port,
                "tags": {"kuma.io/service": "front", "kuma.io/protocol": "http"}}],
            "outbound": [{"port": free(), "tags": {"kuma.io/service": "echo"}}],
        }});
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("mesh.yaml");
        std::fs::write(&file, front.to_string()).unwrap();
        let mesh =
            Mesh::demo(&[&["--rps", "0", "-f", &file.to_string_lossy()], arguments].concat());
        let all = [
            v1.dataplane("echo", "v1"),
            v2.dataplane("echo", "v2"),
            shadow.dataplane("shadow", "v1"),
        ];
        mesh.apply(&all.map(|it| it.to_string()).join("\n---\n"));
        let dataplane = mesh.get("/meshes/default/dataplanes/front").await;
        let port = &dataplane["networking"]["outbound"][0]["port"];
        let world = Self { echo: format!("http://127.0.0.1:{port}"), mesh, shadow, _tasks: tasks };
        eventually("both versions", async || {
            let answers = [world.ask("/").await?, world.ask("/").await?];
            (who(&answers[0]) != who(&answers[1])).then_some(())
        })
        .await;
        world
    }

    async fn ask(&self, path: &str) -> Option<String> {
        let answer = reqwest::get(format!("{}{path}", self.echo)).await.ok()?;
        answer.error_for_status().ok()?.text().await.ok()
    }

    /// Applies a MeshHTTPRoute, and waits until the proxy has it.
    async fn route(&self, name: &str, rules: &Value) {
        let to = json!([{"targetRef": {"kind": "MeshService", "name": "echo"}, "rules": rules}]);
        let spec = json!({"targetRef": {"kind": "Mesh"}, "to": to});
        let route = json!({"type": "MeshHTTPRoute", "mesh": "default", "name": name, "spec": spec});
        self.apply(&route).await;
    }

    async fn apply(&self, resource: &Value) {
        self.mesh.apply(&resource.to_string());
        self.settled().await;
    }

    async fn settled(&self) {
        eventually("the proxy has it", async || {
            let seen = self.mesh.get("/meshes/default/dataplanes/front/_overview").await;
            let types = seen["types"].as_object()?.values();
            types.into_iter().all(|it| it["sent"] == it["acked"]).then_some(())
        })
        .await;
    }
}

/// Which endpoint answered.
fn who(answer: &str) -> &str {
    answer.lines().next().unwrap_or_default()
}

/// The request line that it saw.
fn line(answer: &str) -> &str {
    answer.lines().nth(1).unwrap_or_default()
}

fn prefix(path: &str) -> Value {
    json!({"path": {"type": "PathPrefix", "value": path}})
}

fn subset(version: &str, weight: u32) -> Value {
    json!({"kind": "MeshServiceSubset", "name": "echo", "tags": {"version": version}, "weight": weight})
}

/// One rule for each thing that a route can do.
fn everything() -> Value {
    let v1 = json!([subset("v1", 1)]);
    let v2 = json!([subset("v2", 1)]);
    json!([
        {"matches": [prefix("/")], "default": {"backendRefs": v1}},
        {"matches": [prefix("/shared")], "default": {"backendRefs": [subset("v1", 3), subset("v2", 1)]}},
        {"matches": [
            {"headers": [{"type": "Exact", "name": "X-Version", "value": "v2"}]},
            {"queryParams": [{"type": "RegularExpression", "name": "beta", "value": "[0-9]+"}]},
            {"method": "DELETE"},
        ], "default": {"backendRefs": v2}},
        {"matches": [prefix("/api")], "default": {"backendRefs": v1, "filters": [
            {"urlRewrite": {"hostname": "inner.example", "path": {"replacePrefixMatch": "/"}}},
            {"requestHeaderModifier": {"set": [{"name": "x-set", "value": "100%"}], "remove": ["x-gone"]}},
            {"responseHeaderModifier": {"set": [{"name": "x-answer", "value": "mesh"}], "remove": ["x-internal"]}},
        ]}},
        {"matches": [prefix("/old")], "default": {"filters": [{"requestRedirect": {
            "scheme": "https", "hostname": "shop.example", "port": 8443, "statusCode": 307, "path": {"replacePrefixMatch": "/new"},
        }}]}},
        {"matches": [{"path": {"type": "Exact", "value": "/shadowed"}}], "default": {"backendRefs": v1, "filters": [
            {"requestMirror": {"backendRef": {"kind": "MeshService", "name": "shadow"}}},
        ]}},
        {"matches": [{"path": {"type": "Exact", "value": "/shadow"}}],
            "default": {"backendRefs": [{"kind": "MeshService", "name": "shadow"}]}},
        {"matches": [{"path": {"type": "Exact", "value": "/nobody"}}],
            "default": {"backendRefs": [{"kind": "MeshService", "name": "nobody"}]}},
        {"matches": [{"path": {"type": "Exact", "value": "/nowhere"}}], "default": {"backendRefs": [subset("v1", 0)]}},
    ])
}

#[tokio::test]
async fn requests_go_where_routes_say_and_are_changed_on_the_way() {
    for (variable, version) in [("URSA_ENVOY", "1.40.0"), ("URSA_ENVOY_OLDEST", "1.36.4")] {
        let envoy = peer(variable, &format!("envoy/{version}/envoy"));
        let world = World::start(&["--envoy", &envoy.to_string_lossy()]).await;
        world.route("everything", &everything()).await;
        eventually("the route", async || {
            (who(&world.ask("/shadow").await?) == "shadow").then_some(())
        })
        .await;
        let client = Client::builder().redirect(Policy::none()).build().unwrap();
        let send = async |method: Method, path: &str, headers: &[(&str, &str)]| {
            let request = client.request(method, format!("{}{path}", world.echo));
            let request =
                headers.iter().fold(request, |it, (name, value)| it.header(*name, *value));
            request.send().await.unwrap()
        };
        let get = async |path: &str, headers: &[(&str, &str)]| {
            send(Method::GET, path, headers).await.text().await.unwrap()
        };

        // Which.
        assert_eq!(who(&get("/", &[]).await), "echo-v1");
        assert_eq!(who(&get("/", &[("x-version", "v2")]).await), "echo-v2");
        assert_eq!(who(&get("/", &[("x-version", "v3")]).await), "echo-v1");
        assert_eq!(who(&get("/?a=b&beta=17", &[]).await), "echo-v2");
        assert_eq!(who(&get("/?beta=x17", &[]).await), "echo-v1");
        let deleted = send(Method::DELETE, "/", &[]).await.text().await.unwrap();
        assert_eq!(who(&deleted), "echo-v2");
        assert_eq!(send(Method::GET, "/nobody", &[]).await.status(), 503);
        assert_eq!(send(Method::GET, "/nowhere", &[]).await.status(), 500);

        // Changed.
        for (path, seen) in
            [("/api", "/"), ("/api/", "/"), ("/api/items?a=b", "/items?a=b"), ("/apis", "/apis")]
        {
            assert_eq!(line(&get(path, &[]).await), format!("GET {seen} HTTP/1.1"));
        }
        let answer = send(Method::GET, "/api", &[("x-gone", "1"), ("x-kept", "1")]).await;
        let headers = answer.headers().clone();
        assert_eq!(
            (headers.get("x-answer").unwrap(), headers.get("x-internal")),
            (&"mesh".parse().unwrap(), None)
        );
        let seen = answer.text().await.unwrap();
        for (wanted, is_there) in [
            ("host: inner.example", true),
            ("x-set: 100%", true),
            ("x-kept: 1", true),
            ("x-gone", false),
        ] {
            assert_eq!(seen.contains(wanted), is_there, "{wanted} in {seen}");
        }
        let answer = send(Method::GET, "/old/things?a=b", &[]).await;
        assert_eq!(answer.status(), 307);
        assert_eq!(answer.headers()["location"], "https://shop.example:8443/new/things?a=b");

        // Copied: a copy has another host than what it is a copy of.
        let before = world.shadow.came();
        assert_eq!(who(&get("/shadowed", &[]).await), "echo-v1");
        eventually("the copy", async || (world.shadow.came() > before).then_some(())).await;

        // Shared out. Binomial: a quarter of 2,000 is 500, standard deviation 19.4; four of them.
        let mut shares: BTreeMap<String, usize> = BTreeMap::new();
        for _ in 0..REQUESTS {
            *shares.entry(who(&get("/shared", &[]).await).to_owned()).or_default() += 1;
        }
        let quarter = shares["echo-v2"] as f64;
        assert!((quarter - 500.0).abs() < 4.0 * 19.4, "{shares:?}");

        // Counted by rule, and by the service that it went to.
        let port = free();
        let profiles = json!({"appendProfiles": [{"name": "All"}]});
        let metrics = json!({"sidecar": {"profiles": profiles}, "backends": [{"prometheus": {"port": port}}]});
        let spec = json!({"targetRef": {"kind": "Mesh"}, "default": metrics});
        world
            .apply(&json!({"type": "MeshMetric", "mesh": "default", "name": "all", "spec": spec}))
            .await;
        let scraped = eventually("a scrape", async || {
            let text = reqwest::get(format!("http://127.0.0.1:{port}/metrics"))
                .await
                .ok()?
                .text()
                .await
                .ok()?;
            text.contains("envoy_vhost_route_upstream_rq_total").then_some(text)
        })
        .await;
        let count = |family: &str, label: &str| {
            let of = scraped.lines().find(|line| line.starts_with(family) && line.contains(label));
            let of = of.unwrap_or_else(|| panic!("no {family} with {label}"));
            of.rsplit(' ').next().unwrap().parse::<f64>().unwrap()
        };
        let by_rule = count("envoy_vhost_route_upstream_rq_total{", "envoy_route=\"everything-1\"");
        assert!((by_rule - REQUESTS as f64).abs() < 0.5, "{by_rule} requests");
        assert!(count("envoy_cluster_upstream_rq_total{", "destination=\"shadow\"") > 0.0);

        // What is said of a request is what became of it.
        let explain = |arguments: &[&str]| {
            let asked = ["explain", "request", "front", "--outbound", "echo"];
            world.mesh.ok(&[&asked[..], arguments].concat())
        };
        let said = explain(&["--path", "/shared"]);
        assert!(said.contains("goes to echo:version=v1 75 %, echo:version=v2 25 %"), "{said}");
        assert!(
            said.contains("by MeshHTTPRoute everything; set by MeshHTTPRoute default/everything"),
            "{said}"
        );
        assert!(said.contains("route.everything-1.upstream_rq_total"), "{said}");
        assert!(explain(&["--path", "/?beta=1"]).contains("goes to echo:version=v2"));
        assert!(explain(&["--path", "/old"]).contains("answered with a redirect, 307"));
        let inspected = world.mesh.ok(&["inspect", "proxy", "front"]);
        assert!(
            inspected.contains("nobody serves `nobody`, which a route leads to"),
            "{inspected}"
        );
    }
}

#[tokio::test]
async fn a_canary_moves_without_a_failed_request() {
    const CLIENTS: usize = 4;
    const STEPS: [u32; 5] = [0, 10, 50, 90, 100];
    let world = World::start(&[]).await;
    let weights = |share: u32| {
        let backends = [subset("v1", 100 - share), subset("v2", share)];
        json!([{"matches": [prefix("/")], "default": {"backendRefs": backends}}])
    };
    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let (url, stop, answered) = (world.echo.clone(), Arc::clone(&stop), Arc::clone(&answered));
        clients.spawn(async move {
            let client = Client::builder().pool_max_idle_per_host(1).build().unwrap();
            let mut failures = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                match client.get(&url).send().await {
                    Ok(answer) if answer.status().is_success() => {
                        if answer.headers().get("connection").is_some_and(|it| it == "close") {
                            failures.push("the connection was closed".to_owned());
                        }
                        answer.bytes().await.unwrap();
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(answer) => failures.push(answer.status().to_string()),
                    Err(error) => failures.push(error.to_string()),
                }
            }
            failures
        });
    }
    for round in 0..3 {
        for share in STEPS {
            world.route("canary", &weights(share)).await;
            let least = answered.load(Ordering::Relaxed) + 200;
            eventually("requests", async || {
                (answered.load(Ordering::Relaxed) > least).then_some(())
            })
            .await;
        }
        for _ in 0..20 {
            assert_eq!(who(&world.ask("/").await.unwrap()), "echo-v2", "round {round}");
        }
    }
    world.mesh.ok(&["delete", "meshhttproute", "canary"]);
    world.settled().await;
    stop.store(true, Ordering::Relaxed);
    let failures = clients.join_all().await.concat();
    assert_eq!(failures, Vec::<String>::new(), "of {answered:?}");
}

#[tokio::test]
async fn a_route_is_traced_and_written_down_alone() {
    const REQUESTS: usize = 40;
    let world = World::start(&[]).await;
    let collector = Collector::start().await;
    let written = world.mesh.data.path().join("checkout.log");
    let rules = json!([{"matches": [prefix("/checkout")], "default": {}}]);
    world.route("checkout", &rules).await;
    let target = |name: &str| json!({"kind": "MeshTrafficRoute", "name": name});
    let backends = json!([{"openTelemetry": {"endpoint": collector.grpc()}}]);
    let tags = json!([{"name": "env", "header": {"name": "x-env", "default": "prod"}}, {"name": "team", "literal": "money"}]);
    let default =
        json!({"backends": backends, "sampling": {"overall": {"value": 100}}, "tags": tags});
    let mut trace = json!({"type": "MeshTrace", "mesh": "default", "name": "checkout",
        "spec": {"targetRef": target("checkout"), "default": default}});
    world.apply(&trace).await;
    let file =
        json!({"path": written, "format": {"type": "Plain", "plain": "%ROUTE_NAME% %REQ(:PATH)%"}});
    let to = json!([{"targetRef": {"kind": "MeshHTTPRoute", "name": "checkout"}, "default": {"backends": [{"file": file}]}}]);
    world
        .apply(
            &json!({"type": "MeshAccessLog", "mesh": "default", "name": "all", "spec": {"to": to}}),
        )
        .await;
    eventually("it is written down", async || {
        world.ask("/checkout/begin").await?;
        written.exists().then_some(())
    })
    .await;
    let send = async |name: &str| {
        for number in 0..REQUESTS {
            for path in ["/checkout", "/cart"] {
                world.ask(&format!("{path}/{name}/{number}")).await.unwrap();
            }
        }
    };
    let spans = async |name: &str| {
        let spans = collector.spans();
        let of = spans.into_iter().filter(|span| span.to_string().contains(&format!("/{name}/")));
        of.collect::<Vec<_>>()
    };
    send("alone").await;
    let found = eventually("spans of the route", async || {
        let found = spans("alone").await;
        (found.len() >= REQUESTS).then_some(found)
    })
    .await;
    assert_eq!(found.len(), REQUESTS);
    for span in found {
        assert_eq!(span["name"], "GET /checkout/*", "{span:#}");
        let attributes = span["attributes"].to_string();
        for (key, value) in [
            ("kuma.route", "checkout"),
            ("http.route", "/checkout/*"),
            ("env", "prod"),
            ("team", "money"),
        ] {
            let wanted = json!({"key": key, "value": {"stringValue": value}}).to_string();
            assert!(attributes.contains(&wanted), "{wanted} in {attributes}");
        }
    }
    let lines = eventually("lines of the route", async || {
        let text = std::fs::read_to_string(&written).ok()?;
        let lines: Vec<_> = text.lines().map(str::to_owned).collect();
        (lines.iter().filter(|line| line.contains("/alone/")).count() >= REQUESTS).then_some(lines)
    })
    .await;
    assert!(lines.iter().all(|line| line.starts_with("checkout /checkout/")), "{lines:?}");

    // Beside settings for the proxy: all of the route, none of the rest.
    let backends = &trace["spec"]["default"]["backends"];
    let all = json!({"backends": backends, "sampling": {"random": 0}, "tags": [{"name": "team", "literal": "all"}]});
    world.apply(&json!({"type": "MeshTrace", "mesh": "default", "name": "all", "spec": {"default": all}})).await;
    trace["spec"]["default"] = json!({"sampling": {"random": 100}});
    world.apply(&trace).await;
    send("beside").await;
    let found = eventually("spans of the route", async || {
        let found = spans("beside").await;
        (found.len() >= REQUESTS).then_some(found)
    })
    .await;
    assert_eq!(found.len(), REQUESTS);
    let said = world.mesh.ok(&[
        "explain",
        "request",
        "front",
        "--outbound",
        "echo",
        "--path",
        "/checkout",
    ]);
    assert!(said.contains("sampling.random: set by MeshTrace default/checkout"), "{said}");
    let said = world.mesh.ok(&["explain", "proxy", "front", "--policy", "meshtrace"]);
    assert!(said.contains("routes.checkout.sampling.random"), "{said}");
}
