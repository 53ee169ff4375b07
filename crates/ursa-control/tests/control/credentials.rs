//! Who is let in.

use std::time::Duration;

use jiff::Timestamp;
use tonic::Code;
use ursa_control::{Authority, Identity, Tokens};
use ursa_model::ProxyId;

use crate::agent::{Agent, Held};
use crate::shop::{SOON, id, metric, open, start};

/// How a stream with this token and node id is refused.
async fn refusal(running: &ursa_control::Running, token: &str, node: &str) -> (Code, String) {
    let opened = Agent::open(running, running.ca_fingerprint(), token, node, Held::new()).await;
    let status = match opened {
        Ok(mut agent) => agent.next().await.expect_err("it is refused"),
        Err(status) => status,
    };
    let words = status.message().to_owned();
    assert!(token.is_empty() || !words.contains(token), "the words hold the token");
    (status.code(), words)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_the_proxy_is_refused_and_told_why() {
    let running = open().await;
    let issue = |id: &ProxyId| running.dataplane_token(id, SOON).unwrap().expose().to_owned();
    let mine = issue(&id("cart"));

    let (code, words) = refusal(&running, &mine, "default.payments").await;
    assert_eq!(code, Code::PermissionDenied);
    assert_eq!(words, "the token is for proxy `cart`, and the proxy is `payments`");

    let other = issue(&ProxyId::new("other", "cart"));
    let (code, words) = refusal(&running, &other, "default.cart").await;
    assert_eq!(code, Code::PermissionDenied);
    assert_eq!(words, "the token is for mesh `other`, and the proxy is of mesh `default`");

    let admin = running.admin_token().expose().to_owned();
    let (code, words) = refusal(&running, &admin, "default.cart").await;
    assert_eq!(code, Code::PermissionDenied);
    assert_eq!(words, "this wants a proxy's token, and the token is an admin one");

    let mut changed = mine.clone().into_bytes();
    let middle = changed.len() / 2;
    changed[middle] = if changed[middle] == b'x' { b'y' } else { b'x' };
    let changed = String::from_utf8(changed).unwrap();
    for (token, wanted) in [
        (changed.as_str(), "signed by this control plane"),
        ("nonsense", "not a token"),
        ("", "not a token"),
    ] {
        let (code, words) = refusal(&running, token, "default.cart").await;
        assert_eq!(code, Code::Unauthenticated);
        assert!(words.contains(wanted), "{words}");
    }
    assert_eq!(metric(&running, "ursa_cp_auth_failures_total", r#"kind="identity""#).await, 3);
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_token_and_one_of_another_control_plane_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(Some(dir.path())).await;
    let tokens = Tokens::open(Some(dir.path()), running.ca_fingerprint()).unwrap();
    let hour = Duration::from_hours(1);
    let past = Timestamp::now() - hour * 2;
    let expired = tokens.issue(&Identity::Dataplane(id("cart")), past, hour).unwrap();
    let (code, words) = refusal(&running, expired.expose(), "default.cart").await;
    assert_eq!(code, Code::Unauthenticated);
    assert!(words.starts_with("the token expired at 2"), "{words}");

    let strangers = Tokens::open(None, running.ca_fingerprint()).unwrap();
    let strange = strangers.issue(&Identity::Dataplane(id("cart")), Timestamp::now(), hour);
    let (_, words) = refusal(&running, strange.unwrap().expose(), "default.cart").await;
    assert_eq!(words, "the token was not signed by this control plane");
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_pins_another_authority_does_not_connect() {
    let running = open().await;
    let token = running.dataplane_token(&id("cart"), SOON).unwrap();
    let other = Authority::open(None, Timestamp::now()).unwrap();
    let node = "default.cart";
    let opened =
        Agent::open(&running, other.fingerprint(), token.expose(), node, Held::new()).await;
    let words = opened.err().expect("the handshake fails").message().to_owned();
    assert!(words.contains("UnknownIssuer"), "{words}");
    running.shutdown().await;
}
