//! What the REST API answers.

use std::time::Duration;

use http_body_util::BodyExt;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{Served, fill, serve};

const SOON: Duration = Duration::from_secs(10);

impl Served {
    async fn open(&self, path: &str) -> hyper::Response<hyper::body::Incoming> {
        let client = Client::builder(TokioExecutor::new()).build_http::<String>();
        let url = format!("http://{}{path}", self.address).parse().unwrap();
        timeout(SOON, client.get(url)).await.expect("an answer in time").unwrap()
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        let response = self.open(path).await;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap())
    }
}

fn number(id: &Value) -> u64 {
    u64::from_str_radix(id.as_str().unwrap(), 16).unwrap()
}

#[tokio::test]
async fn traces_are_listed_by_what_is_asked() {
    let served = serve().await;
    fill(&served.window, "gateway");
    let cases = [
        ("", vec![5, 4, 3, 2, 1]),
        ("?limit=2", vec![5, 4]),
        ("?errors=true", vec![3]),
        ("?minDuration=350ms", vec![5, 4]),
        ("?service=payments&tag=http.status_code=503", vec![3]),
        ("?tag=team=core&tag=kuma.mesh=default&limit=1", vec![5]),
        ("?tag=team=none", vec![]),
        ("?service=nobody", vec![]),
        ("?since=2500ms", vec![5, 4, 3]),
    ];
    for (query, expected) in cases {
        let (status, body) = served.get(&format!("/telemetry/traces{query}")).await;
        let found: Vec<_> = body["traces"]
            .as_array()
            .unwrap()
            .iter()
            .map(|trace| number(&trace["traceId"]))
            .collect();
        assert_eq!((status, found), (200, expected), "{query}");
    }
}

#[tokio::test]
async fn wrong_parameters_are_explained() {
    let served = serve().await;
    for (path, fields) in [
        (
            "/telemetry/traces?minDuration=x&limit=many&sevice=cart",
            vec!["minDuration", "limit", "sevice"],
        ),
        ("/telemetry/services?window=1h", vec!["window"]),
        ("/telemetry/traces/xyz", vec!["id"]),
        ("/telemetry/traces/00000000000000000000000000000001?format=jaeger", vec!["format"]),
        ("/telemetry/live?errors=maybe", vec!["errors"]),
    ] {
        let (status, problem) = served.get(path).await;
        let named: Vec<_> = problem["invalid_parameters"]
            .as_array()
            .unwrap()
            .iter()
            .map(|p| p["field"].as_str().unwrap())
            .collect();
        assert_eq!((status, &problem["status"], named), (400, &json!(400), fields), "{path}");
    }
    let (status, problem) = served.get("/telemetry/traces/00000000000000000000000000000001").await;
    assert_eq!((status, &problem["title"]), (404, &json!("No such trace")));
}

#[tokio::test]
async fn services_have_rates_errors_and_quantiles() {
    let served = serve().await;
    fill(&served.window, "gateway");
    let (_, body) = served.get("/telemetry/services?window=60s").await;
    let services = body["services"].as_array().unwrap();
    let names: Vec<_> = services.iter().map(|service| service["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["cart", "catalog", "frontend", "gateway", "payments"]);
    let gateway = &services[3];
    assert!((gateway["p50"].as_f64().unwrap() - 300.0).abs() < 10.0, "{gateway}");
    assert_eq!((&gateway["errorRatio"], &services[1]["errorRatio"]), (&json!(0.2), &json!(0.0)));
    assert!(gateway["requestsPerSecond"].as_f64().unwrap() > 0.0);
    assert_eq!(
        (&body["spansReceived"], &body["tracesHeld"], &body["evictedTraces"]),
        (&json!(50), &json!(5), &json!(0))
    );
    assert!(body["bytesHeld"].as_u64().unwrap() < body["bytesLimit"].as_u64().unwrap());
}

#[tokio::test]
async fn a_trace_is_a_tree_and_otlp() {
    let served = serve().await;
    fill(&served.window, "gateway");
    let path = "/telemetry/traces/00000000000000000000000000000003";
    let (_, trace) = served.get(path).await;
    let tree = trace["spans"].as_array().unwrap().iter().map(|span| {
        let indent = "  ".repeat(usize::try_from(span["depth"].as_u64().unwrap()).unwrap());
        let text = |name: &str| span[name].as_str().unwrap();
        format!(
            "{indent}{} {} {} {}",
            text("service"),
            text("kind"),
            text("name"),
            if span["error"] == true { "failed" } else { "" }
        )
    });
    insta::assert_snapshot!(tree.collect::<Vec<_>>().join("\n"), @r"
    gateway server GET /checkout failed
      gateway client frontend failed
        frontend server GET /checkout failed
          frontend client catalog 
            catalog server GET /products/17 
          frontend client cart failed
            cart server POST /orders failed
              cart client payments failed
                payments server POST /charge failed
                  payments internal authorize failed
    ");
    let (_, otlp) = served.get(&format!("{path}?format=otlp")).await;
    let spans: usize = otlp["resourceSpans"]
        .as_array()
        .unwrap()
        .iter()
        .map(|resource| resource["scopeSpans"][0]["spans"].as_array().unwrap().len())
        .sum();
    assert_eq!(spans, 10);
    assert_eq!(
        otlp["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["traceId"],
        "0".repeat(31) + "3"
    );
}

#[tokio::test]
async fn the_live_stream_tells_the_news_and_ends_with_the_server() {
    let mut served = serve().await;
    fill(&served.window, "gateway");
    let mut body = served.open("/telemetry/live?errors=true").await.into_body();
    let frame = timeout(SOON, body.frame())
        .await
        .expect("news in time")
        .unwrap()
        .unwrap()
        .into_data()
        .unwrap();
    let data = std::str::from_utf8(&frame).unwrap().trim().strip_prefix("data: ").unwrap();
    let news: Value = serde_json::from_str(data).unwrap();
    assert_eq!((news["traces"].as_array().unwrap().len(), &news["spansReceived"]), (1, &json!(50)));
    assert_eq!(news["services"][0]["history"].as_array().unwrap().len(), 60);
    served.closing.cancel();
    let rest = timeout(SOON, body.collect()).await.expect("the stream ends");
    drop(rest);
    timeout(SOON, served.tasks.join_next())
        .await
        .expect("the server ends")
        .unwrap()
        .unwrap()
        .unwrap();
}
