//! Metrics of a real Envoy: asked for by a real Prometheus and pushed to it, with an application beside; live
//! changes; TLS; and a real Collector.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value as Json, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use ursa_agent::Running;
use ursa_envoy::proxy::{Tag, TagSource};

use crate::world::{World, eventually, free_port, get, resources};

const SOON: Duration = Duration::from_secs(40);

/// A program of the peers, which `cargo xtask peers` fetches.
fn peer(path: &str) -> PathBuf {
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    let home = variable("HOME").unwrap_or_default();
    let cache = variable("XDG_CACHE_HOME").unwrap_or_else(|| home.join(".cache"));
    let program = cache.join("ursa/peers").join(path);
    assert!(program.is_file(), "run `cargo xtask peers`, which fetches {}", program.display());
    program
}

/// A real Prometheus that scrapes one port twice a second, and takes OTLP.
struct Prometheus {
    port: u16,
    _process: Child,
    _folder: tempfile::TempDir,
}

impl Prometheus {
    fn start(scraped: u16) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = json!({
            "global": {"scrape_interval": "500ms", "scrape_timeout": "500ms"},
            "scrape_configs": [{
                "job_name": "scraped",
                "static_configs": [{"targets": [format!("127.0.0.1:{scraped}")]}],
            }],
        });
        let file = folder.path().join("prometheus.yml");
        std::fs::write(&file, config.to_string()).unwrap();
        let port = free_port();
        let mut command = Command::new(peer("prometheus/3.15.0/prometheus"));
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .args(["--web.enable-otlp-receiver", "--enable-feature=exemplar-storage"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        Self { port, _process: command.spawn().unwrap(), _folder: folder }
    }

    async fn ask(&self, path: &str, query: &str) -> Option<Json> {
        let url = format!("http://127.0.0.1:{}/api/v1/{path}", self.port);
        let client = reqwest::Client::new();
        let parameters = [("query", query), ("start", "0"), ("end", "9999999999")];
        let answer = client.get(url).query(&parameters).send().await.ok()?;
        serde_json::from_str::<Json>(&answer.text().await.ok()?).ok()
    }

    /// Labels of the series of each job, without what names the job itself.
    async fn series(&self, query: &str) -> BTreeMap<String, BTreeSet<String>> {
        let mut jobs: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let Some(answer) = self.ask("query", query).await else { return jobs };
        for series in answer["data"]["result"].as_array().into_iter().flatten() {
            let mut labels = series["metric"].as_object().unwrap().clone();
            let job = labels.remove("job").unwrap_or_default();
            labels.remove("instance");
            if let Some(bound) = labels.get_mut("le") {
                // A scrape says 200.0 where OTLP says 200.
                *bound = json!(bound.as_str().unwrap().trim_end_matches(".0"));
            }
            let labels = serde_json::to_string(&labels).unwrap();
            jobs.entry(job.as_str().unwrap_or_default().to_owned()).or_default().insert(labels);
        }
        jobs
    }
}

/// An application that says `text` to everybody.
async fn application(
    content_type: &'static str,
    text: &'static str,
    tasks: &mut JoinSet<()>,
) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tasks.spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = [0; 4096];
            let Ok(1..) = stream.read(&mut buffer).await else { continue };
            let length = text.len();
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
            );
            drop(stream.write_all(head.as_bytes()).await);
            drop(stream.write_all(text.as_bytes()).await);
        }
    });
    port
}

/// Has the agent gather metrics.
fn gather(world: &World, collection: &Json, channels: &Json) {
    let proxy = world.proxy(|proxy| {
        for route in proxy.http_listeners_mut().flat_map(|http| &mut http.routes.routes) {
            let source = TagSource::Header { name: "baggage".to_owned(), default: None };
            route.tracing.tags.push(Tag { name: "ursa.baggage".to_owned(), source });
        }
        let mut pipeline = serde_json::to_value(&proxy.pipeline).unwrap();
        let mut collection = collection.clone();
        let more = json!({
            "labels": {"mesh": "default", "zone": "east", "dataplane": "web-1", "kuma_io_service": "web", "kuma_proxy_role": "sidecar"},
            "resourceAttributes": {"team": "shop of {{mesh}}"},
            "clusters": {"app": {"direction": "inbound"}},
            "listeners": {"inbound": {"direction": "inbound"}},
        });
        collection.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        pipeline["resource"] = json!({"service.name": "pushed"});
        pipeline["collection"] = collection;
        let tenant = json!({"baggage": {"from": "ursa.baggage", "member": "tenant"}});
        pipeline["spanLabels"] = json!([{"name": "tenant", "limit": 3, "from": tenant}]);
        pipeline["channels"] = channels.clone();
        proxy.pipeline = serde_json::from_value(pipeline).unwrap();
    });
    world.control_plane.set(resources(&proxy));
}

fn scraped(port: u16, more: &Json) -> Json {
    let mut output = json!({
        "name": "prometheus",
        "to": {"prometheus": {"address": "127.0.0.1", "port": port, "path": "/metrics"}},
    });
    output.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    output
}

/// Waits until metrics are answered there.
async fn answered(port: u16) -> String {
    let client = reqwest::Client::new();
    eventually("metrics are answered", SOON, async || {
        let answer = client.get(format!("http://127.0.0.1:{port}/metrics")).send().await.ok()?;
        answer.text().await.ok().filter(|text| text.contains("envoy_server_live"))
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_query_answers_what_was_scraped_and_what_was_pushed() {
    let mut world = World::start().await;
    let mut tasks = JoinSet::new();
    let port = free_port();
    let prometheus = Prometheus::start(port);
    let open = application(
        "application/openmetrics-text; version=1.0.0",
        "# TYPE jobs counter\njobs_total{kind=\"mail\"} 7 # {trace_id=\"0af7651916cd43dd8448eb211c80319c\"} 1 1.5\n# TYPE app.queue.depth gauge\n{\"app.queue.depth\",\"queue.name\"=\"in\"} 3\n# EOF\n",
        &mut tasks,
    )
    .await;
    let dead = free_port();
    let push = json!({"name": "pushed", "to": {"push": {"intervalMs": 500}}});
    let applications = json!([
        {"name": "worker", "address": "127.0.0.1", "port": open, "path": "/metrics"},
        {"name": "dead", "address": "127.0.0.1", "port": dead, "path": "/metrics"},
    ]);
    let collection =
        json!({"applications": applications, "outputs": [scraped(port, &json!({})), push]});
    let endpoint = format!("http://127.0.0.1:{}/api/v1/otlp", prometheus.port);
    let spec = json!({"openTelemetry": {"endpoint": endpoint, "protocol": "http"}});
    gather(
        &world,
        &collection,
        &json!({"pushed": {
            "backends": [{"name": "pushed", "spec": spec}],
            "resourceAttributes": {"team": "shop of {{mesh}}"},
        }}),
    );
    let running = world.agent().await;
    running.ready().await;
    for _ in 0..20 {
        world.passes().await;
    }
    world.spans(20).await;
    // One after the other, since the first ones keep their names.
    let client = reqwest::Client::new();
    for tenant in ["a", "b", "s%C3%BC%C3%9F", "d", "e"] {
        for _ in 0..2 {
            let request = client.get(format!("http://127.0.0.1:{}", world.port));
            request.header("baggage", format!("x=1,tenant={tenant}")).send().await.unwrap();
        }
        world.spans(2).await;
    }
    answered(port).await;
    let families = [
        "envoy_http_downstream_rq_total",
        "envoy_http_downstream_rq_xx_total",
        "envoy_http_downstream_rq_time_bucket{direction=\"inbound\"}",
        "envoy_http_downstream_rq_time_count",
        "envoy_cluster_upstream_rq_code_total{direction=\"inbound\"}",
        "envoy_cluster_upstream_rq_retry_total",
        "envoy_server_live{kuma_io_service=\"web\"}",
        "envoy_tracing_opentelemetry_spans_sent_total",
        "ursa_request_duration_seconds_count{tenant=\"süß\",direction=\"inbound\",mesh=\"default\"} == 2",
        "ursa_request_duration_seconds_count{tenant=\"other\"} == 4",
        "ursa_request_duration_seconds_count{tenant=\"\"} == 20",
        "ursa_request_duration_seconds_bucket{tenant=\"a\"}",
        "ursa_dp_process_resident_memory_bytes",
        "ursa_dp_process_cpu_seconds_total{process=\"envoy\"}",
        "ursa_dp_cpu_limit_cores",
        "ursa_pipeline_series",
        "ursa_pipeline_scrape_failures_total{application=\"dead\"} > 0",
        "jobs_total{application=\"worker\",mesh=\"default\"}",
    ];
    for query in families {
        eventually(query, SOON, async || {
            let jobs = prometheus.series(query).await;
            let both = jobs.get("scraped").zip(jobs.get("pushed"));
            both.filter(|(scraped, pushed)| scraped == pushed).map(|_| ())
        })
        .await;
    }
    // What a name in UTF-8 becomes by OTLP is Prometheus' own choice.
    let utf8 = prometheus.series("{\"app.queue.depth\",\"queue.name\"=\"in\"}").await;
    assert_eq!(utf8.keys().collect::<Vec<_>>(), ["scraped"]);
    let target = "target_info{team=\"shop of default\",host_name!=\"\"}";
    let target = prometheus.series(target).await;
    assert!(target.contains_key("scraped") && target.contains_key("pushed"), "{target:?}");

    let tenants =
        prometheus.series("count by (tenant) (ursa_request_duration_seconds_count)").await;
    assert_eq!(tenants.values().map(BTreeSet::len).sum::<usize>(), 5, "{tenants:?}");

    // Every latency has a trace.
    let latencies = [
        "envoy_http_downstream_rq_time_bucket",
        "envoy_cluster_upstream_rq_time_bucket",
        "ursa_request_duration_seconds_bucket",
    ];
    for query in latencies {
        eventually("exemplars of both", SOON, async || {
            let answer = prometheus.ask("query_exemplars", query).await?;
            let series = answer["data"].as_array()?.iter();
            let jobs: BTreeSet<&str> = series
                .filter(|series| {
                    let labels = &series["exemplars"][0]["labels"];
                    labels["trace_id"].as_str().is_some_and(|id| id.len() == 32)
                        && labels["span_id"].as_str().is_some_and(|id| id.len() == 16)
                })
                .filter_map(|series| series["seriesLabels"]["job"].as_str())
                .collect();
            (jobs == BTreeSet::from(["pushed", "scraped"])).then_some(())
        })
        .await;
    }
    let status = world.status(&running).await;
    let outputs = &status["metrics"]["outputs"];
    assert!(outputs[0]["series"].as_u64() > Some(50), "{outputs}");
    assert!(outputs[0]["problems"]["dead"].as_str().unwrap().contains("refused"), "{outputs}");
    assert!(status["telemetry"]["backends"].to_string().contains("\"metrics\""), "{status}");
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_answered_changes_without_a_gap() {
    let world = World::start().await;
    let port = free_port();
    gather(&world, &json!({"outputs": [scraped(port, &json!({}))]}), &json!({}));
    let running = world.agent().await;
    running.ready().await;
    let text = answered(port).await;
    assert!(text.contains("# TYPE envoy_http_downstream_rq_total counter"), "{text}");
    assert!(!text.contains("envoy_runtime_num_keys"), "{text}");
    // A scraper who never stops.
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let mut scraper = JoinSet::new();
    scraper.spawn(async move {
        let mut scrapes = 0;
        while scrapes < 4 || stopped.try_recv().is_err() {
            let (status, _) = get(port, "/metrics").await.unwrap();
            assert_eq!(status, 200);
            scrapes += 1;
        }
        scrapes
    });
    let all = json!({"selection": {"profile": "All", "includeUnused": true}});
    gather(&world, &json!({"outputs": [scraped(port, &all)]}), &json!({}));
    eventually("all is answered", SOON, async || {
        get(port, "/metrics").await.ok().filter(|(_, text)| text.contains("envoy_runtime_num_keys"))
    })
    .await;
    let other = json!({"name": "other", "to": {"prometheus": {"address": "127.0.0.1", "port": port, "path": "/other", "names": "Envoy"}}});
    gather(&world, &json!({"outputs": [scraped(port, &json!({})), other]}), &json!({}));
    let (_, text) = eventually("a second path is answered", SOON, async || {
        get(port, "/other").await.ok().filter(|(status, _)| *status == 200)
    })
    .await;
    assert!(text.contains("# TYPE envoy_http_downstream_rq_xx counter"), "{text}");
    assert!(text.contains("kuma_io_zone=\"east\""), "{text}");
    stop.send(()).unwrap();
    scraper.join_next().await.unwrap().unwrap();
    gather(&world, &json!({"outputs": []}), &json!({}));
    eventually("the port is closed", SOON, async || get(port, "/metrics").await.err()).await;
    let restarts = world.status(&running).await["envoy"]["restarts"].clone();
    assert_eq!(restarts, 0);
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_certificate_that_the_agent_was_given_protects_a_scrape() {
    let mut world = World::start().await;
    let folder = tempfile::tempdir().unwrap();
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (cert, key) = (pair.cert.pem(), pair.signing_key.serialize_pem());
    world.environment = [
        ("KUMA_DATAPLANE_RUNTIME_METRICS_CERT_PATH", file("cert.pem", &cert)),
        ("KUMA_DATAPLANE_RUNTIME_METRICS_KEY_PATH", file("key.pem", &key)),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    let port = free_port();
    let to = json!({"prometheus": {"port": port, "path": "/metrics", "tls": "ProvidedTLS"}});
    gather(&world, &json!({"outputs": [{"name": "prometheus", "to": to}]}), &json!({}));
    let running = world.agent().await;
    running.ready().await;
    let root = reqwest::Certificate::from_pem(cert.as_bytes()).unwrap();
    let client = reqwest::Client::builder().tls_certs_only([root]).build().unwrap();
    let text = eventually("metrics are answered", SOON, async || {
        let answer = client.get(format!("https://localhost:{port}/metrics")).send().await.ok()?;
        answer.text().await.ok()
    })
    .await;
    assert!(text.contains("envoy_server_live{"), "{text}");
    assert!(get(port, "/metrics").await.is_err(), "nothing is said without TLS");
    running.shutdown().await;
}

/// What a real Collector was told, by metric, in the order of the pushes: type and temporality, and its data points.
async fn collected(file: &std::path::Path) -> BTreeMap<String, Vec<Json>> {
    let text = tokio::fs::read_to_string(file).await.unwrap_or_default();
    let mut metrics: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for line in text.lines().filter_map(|line| serde_json::from_str::<Json>(line).ok()) {
        for resource in line["resourceMetrics"].as_array().into_iter().flatten() {
            for metric in resource["scopeMetrics"][0]["metrics"].as_array().into_iter().flatten() {
                let mut metric = metric.clone();
                metric["resource"] = resource["resource"].clone();
                let name = metric["name"].as_str().unwrap().to_owned();
                metrics.entry(name).or_default().push(metric);
            }
        }
    }
    metrics
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_is_told_deltas_and_exponential_histograms() {
    let world = World::start().await;
    let folder = tempfile::tempdir().unwrap();
    let (port, out) = (free_port(), folder.path().join("metrics.json"));
    let config = json!({
        "receivers": {"otlp": {"protocols": {"grpc": {"endpoint": format!("127.0.0.1:{port}")}}}},
        "exporters": {"file": {"path": out}},
        "service": {
            "telemetry": {"metrics": {"level": "none"}},
            "pipelines": {"metrics": {"receivers": ["otlp"], "exporters": ["file"]}},
        },
    });
    let file = folder.path().join("collector.json");
    std::fs::write(&file, config.to_string()).unwrap();
    let _collector = Command::new(peer("otelcol/0.162.0-2/otelcol"))
        .arg(format!("--config={}", file.display()))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let push =
        json!({"push": {"intervalMs": 300, "temporality": "Delta", "histograms": "Exponential"}});
    let collection = json!({"outputs": [{"name": "collector", "to": push}]});
    let spec = json!({"openTelemetry": {"endpoint": format!("127.0.0.1:{port}")}});
    let channels = json!({"collector": {
        "backends": [{"name": "collector", "spec": spec}],
        "resourceAttributes": {"team": "shop"},
    }});
    gather(&world, &collection, &channels);
    let running: Running = world.agent().await;
    running.ready().await;
    for _ in 0..10 {
        world.passes().await;
    }
    let [total, time] = eventually("requests are told", SOON, async || {
        let metrics = collected(&out).await;
        // Envoy's own listener for its administration has them too, without a direction.
        let of_listeners = |name: &str| {
            let mut pushes = metrics.get(name)?.iter();
            pushes.find(|push| push.to_string().contains("direction")).cloned()
        };
        let total = of_listeners("envoy_http_downstream_rq_total")?;
        Some([total, of_listeners("envoy_http_downstream_rq_time")?])
    })
    .await;
    assert_eq!(total["sum"]["aggregationTemporality"], 1, "{total}");
    assert_eq!(total["sum"]["isMonotonic"], true, "{total}");
    assert!(total["resource"].to_string().contains("\"team\""), "{total}");
    let time = &time["exponentialHistogram"];
    assert_eq!(time["aggregationTemporality"], 1, "{time}");

    // Nothing of what was counted is missing: what came last is pushed before Envoy ends.
    for _ in 0..7 {
        world.passes().await;
    }
    running.shutdown().await;
    let counted = eventually("all deltas", SOON, async || {
        let text = tokio::fs::read_to_string(&out).await.unwrap_or_default();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Json>(line).ok());
        let mut sum = 0.0;
        for line in lines {
            for resource in line["resourceMetrics"].as_array().into_iter().flatten() {
                let metrics =
                    resource["scopeMetrics"][0]["metrics"].as_array().into_iter().flatten();
                for metric in metrics.filter(|it| it["name"] == "envoy_http_downstream_rq_total") {
                    for point in metric["sum"]["dataPoints"].as_array().into_iter().flatten() {
                        if point["attributes"].to_string().contains("\"inbound\"") {
                            sum += point["asDouble"].as_f64().unwrap_or_default();
                        }
                    }
                }
            }
        }
        (sum >= 17.0).then_some(sum)
    })
    .await;
    assert!((counted - 17.0).abs() < f64::EPSILON, "{counted}");
}
