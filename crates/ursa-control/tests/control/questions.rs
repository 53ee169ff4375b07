//! What the control plane asks agents, and who may answer.

use axum::http::uri::PathAndQuery;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::client::Grpc;
use tonic::{Code, Request, Status, Streaming};
use tonic_prost::ProstCodec;
use ursa_control::Running;
use ursa_envoy::questions::{About, Answer, PATH, Question};

use crate::agent::{Agent, channel};
use crate::shop::{SOON, get, id, open, request};

type Stream = (Streaming<Question>, mpsc::Sender<Answer>);

async fn stream(running: &Running, token: &str) -> Result<Stream, Status> {
    let mut grpc = Grpc::new(channel(running, running.ca_fingerprint()).await?);
    grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let (answers, outgoing) = mpsc::channel(8);
    let mut request = Request::new(ReceiverStream::new(outgoing));
    let value = format!("Bearer {token}").parse().unwrap();
    request.metadata_mut().insert("authorization", value);
    let codec = ProstCodec::<Answer, Question>::default();
    let questions = grpc.streaming(request, PathAndQuery::from_static(PATH), codec).await?;
    Ok((questions.into_inner(), answers))
}

/// Answers as an agent would; refuses to say anything of traces.
async fn answer((mut questions, answers): Stream) {
    while let Ok(Some(Question { id, about })) = questions.message().await {
        let answer = match about.unwrap() {
            About::Telemetry(_) => Answer {
                id,
                json: br#"{"status": {"configured": true}}"#.into(),
                ..Answer::default()
            },
            About::Series(_) => {
                Answer { id, json: br#"{"now": 7, "then": 9}"#.into(), ..Answer::default() }
            }
            About::Trace(trace) => Answer { id, error: format!("{trace:x?}"), ..Answer::default() },
        };
        // One that nobody asked for changes nothing.
        let stray = Answer { id: u64::MAX, ..answer.clone() };
        if answers.send(stray).await.is_err() || answers.send(answer).await.is_err() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_connected_agent_is_asked() {
    let running = open().await;
    let (cart, frontend) = (id("cart"), id("frontend"));
    let _silent = Agent::start(&running, &cart).await;
    let token = running.dataplane_token(&frontend, SOON).unwrap();
    let mut answering = JoinSet::new();
    answering.spawn(answer(stream(&running, token.expose()).await.unwrap()));

    let absent = "its agent is not connected, or is too old to be asked";
    let asked = get(&running, "/telemetry/pipelines").await;
    let expected = json!([
        {"proxy": "default/cart", "error": absent},
        {"proxy": "default/frontend", "status": {"configured": true}},
    ]);
    assert_eq!(asked, expected);
    let one = get(&running, "/telemetry/pipelines?mesh=default&proxy=cart").await;
    assert_eq!(one, json!([{"proxy": "default/cart", "error": absent}]));
    let path = format!("/telemetry/audit/{}?proxy=frontend", "0a".repeat(8));
    let error = "its agent said: [0, 0, 0, 0, 0, 0, 0, 0, a, a, a, a, a, a, a, a]";
    assert_eq!(get(&running, &path).await, json!([{"proxy": "default/frontend", "error": error}]));
    for path in ["/telemetry/audit/nonsense", "/telemetry/pipelines?zone=a"] {
        let reply = request(&running, axum::http::Method::GET, path, &[], "").await;
        assert_eq!(reply.status, 400, "{}", reply.text);
    }

    // A newer stream of the same proxy takes the older one's place; that one ends.
    answering.spawn(answer(stream(&running, token.expose()).await.unwrap()));
    answering.join_next().await.unwrap().unwrap();
    assert_eq!(get(&running, "/telemetry/pipelines").await, expected);
    running.shutdown().await;
    answering.join_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_an_agent_with_a_good_token_is_asked() {
    let running = open().await;
    for token in ["", "nonsense", running.admin_token().expose()] {
        let status = stream(&running, token).await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated, "{status}");
    }
    assert_eq!(get(&running, "/telemetry/pipelines").await, json!([]));
    running.shutdown().await;
}
