//! Certificates for proxies: authorities, who gets which, and who is turned away.

use axum::http::uri::PathAndQuery;
use prost::Message;
use rcgen::{CertificateParams, KeyPair};
use reqwest::Method;
use serde_json::Value;
use tonic::client::Grpc;
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;
use ursa_control::Running;
use ursa_envoy::identity::{self as wire, Held, Issued, Noted, REPORT, SIGN};
use ursa_envoy::resources::{CDS, IDENTITY, LDS};
use ursa_model::ProxyId;

use crate::agent::channel;
use crate::shop::{SOON, apply, get, id, metric, open, request, start};

/// The mesh, with backends.
fn mesh(enabled: &str, backends: &str) -> String {
    format!(
        "type: Mesh\nname: default\nmtls: {{enabledBackend: {enabled}, backends: [{backends}]}}\n"
    )
}

const BUILTIN: &str = "{name: ca-1, type: builtin}";
const PERMISSIVE: &str = "{name: ca-1, type: builtin, mode: PERMISSIVE}";

/// Calls as the agent of a proxy.
async fn call<Q, A>(running: &Running, id: &ProxyId, path: &'static str, it: Q) -> Result<A, Status>
where
    Q: Message + Send + Sync + 'static,
    A: Message + Default + Send + Sync + 'static,
{
    let token = running.dataplane_token(id, SOON).unwrap();
    let mut grpc = Grpc::new(channel(running, running.ca_fingerprint()).await?);
    let mut request = Request::new(it);
    let value = format!("Bearer {}", token.expose()).parse().unwrap();
    request.metadata_mut().insert("authorization", value);
    grpc.ready().await.unwrap();
    let path = PathAndQuery::from_static(path);
    Ok(grpc.unary(request, path, ProstCodec::<Q, A>::default()).await?.into_inner())
}

async fn sign(running: &Running, id: &ProxyId) -> Result<Issued, Status> {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["evil.example".to_owned()]).unwrap();
    let csr = params.serialize_request(&key).unwrap().der().to_vec();
    call(running, id, SIGN, wire::Request { csr }).await
}

/// What the agent of a proxy is told, once there is an authority.
async fn told(running: &Running, name: &str) -> Value {
    loop {
        let config = resources(running, name).await;
        let told = &config[IDENTITY]["identity"]["body"];
        if told["trust"].as_array().is_some_and(|trust| !trust.is_empty()) {
            return told.clone();
        }
        tokio::task::yield_now().await;
    }
}

async fn resources(running: &Running, name: &str) -> Value {
    let path = format!("/meshes/default/dataplanes/{name}/_config");
    get(running, &path).await["resources"].clone()
}

/// Whether the cluster of a service is called with TLS.
async fn calls_with_tls(running: &Running, name: &str, service: &str) -> bool {
    let cluster = &resources(running, name).await[CDS][service]["body"];
    !cluster["transport_socket"].is_null()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_is_made_once_and_signs_what_the_dataplane_says() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(Some(dir.path())).await;
    let dataplane =
        "type: Dataplane\nmesh: default\nname: cart\nnetworking: {address: 127.0.0.1, inbound: [
        {port: 1, servicePort: 2, tags: {kuma.io/service: cart, version: v1}},
        {port: 3, servicePort: 4, tags: {kuma.io/service: cart-admin, version: v1}}]}\n";
    apply(&running, &[mesh("ca-1", BUILTIN), dataplane.to_owned()]).await;
    let first = told(&running, "cart").await;
    let names = [
        "spiffe://default/cart",
        "spiffe://default/cart-admin",
        "kuma://kuma.io/service/cart",
        "kuma://kuma.io/service/cart-admin",
        "kuma://version/v1",
    ];
    assert_eq!(first["names"], serde_json::json!(names));
    assert_eq!((&first["backend"], &first["lifetime"]), (&"ca-1".into(), &86_400.into()));
    let issued = sign(&running, &id("cart")).await.unwrap();
    assert_eq!(issued.names, names);
    assert_eq!(
        (issued.backend.as_str(), issued.issuer.as_str()),
        ("ca-1", "O=Ursa, CN=default ca-1")
    );
    assert_eq!(metric(&running, "cert_generation_total", r#"result="issued""#).await, 1);
    assert_eq!(metric(&running, "cert_generation_seconds_count", r#"mesh="default""#).await, 1);
    let listener = &resources(&running, "cart").await[LDS]["inbound:1"]["body"];
    assert!(!listener["filter_chains"][0]["transport_socket"].is_null(), "{listener:#}");

    let held = Held { certificate: Some(issued.clone()), serving: true };
    call::<_, Noted>(&running, &id("cart"), REPORT, held).await.unwrap();
    let overview = get(&running, "/meshes/default/dataplanes/cart/_overview").await;
    let certificate = &overview["certificate"];
    assert_eq!(certificate["serial"], issued.serial);
    assert_eq!(overview["dataplaneInsight"]["mTLS"]["issuedBackend"], "ca-1");
    let soonest = metric(&running, "xds_cert_expiration_timestamp_seconds", "default").await;
    assert_eq!(i64::try_from(soonest).unwrap(), issued.not_after);
    running.shutdown().await;

    let running = start(Some(dir.path())).await;
    assert_eq!(told(&running, "cart").await, first, "the authority outlives the control plane");
    let secrets = get(&running, "/meshes/default/secrets").await;
    let secrets: Vec<_> =
        secrets["items"].as_array().unwrap().iter().map(|it| &it["name"]).collect();
    assert_eq!(secrets, ["default.ca-builtin-cert-ca-1", "default.ca-builtin-key-ca-1"]);
    let end =
        metric(&running, "ursa_cp_ca_expiration_timestamp_seconds", r#"backend="ca-1""#).await;
    assert_eq!(first["authority"]["notAfter"], end);

    // It goes with its mesh, and with nothing else.
    let gone = async |path: &str| request(&running, Method::DELETE, path, &[], "").await.status;
    assert_eq!(gone("/meshes/default").await, 409);
    assert_eq!(gone("/meshes/default/dataplanes/cart").await, 200);
    assert_eq!(gone("/meshes/default").await, 200);
    apply(&running, &["type: Mesh\nname: default\n".to_owned()]).await;
    assert_eq!(get(&running, "/meshes/default/secrets").await["items"], serde_json::json!([]));
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_one_proxy_is_turned_away_and_others_are_served() {
    let running = open().await;
    let refused = sign(&running, &id("cart")).await.unwrap_err();
    assert_eq!(refused.message(), "mTLS is off in mesh `default`");
    apply(&running, &[mesh("ca-1", BUILTIN)]).await;
    told(&running, "cart").await;
    let mut codes = std::collections::BTreeMap::<String, usize>::new();
    for _ in 0..40 {
        let code = sign(&running, &id("cart")).await.map_or_else(|it| it.code(), |_| Code::Ok);
        *codes.entry(format!("{code:?}")).or_default() += 1;
    }
    let issued = codes["Ok"];
    assert!((5..20).contains(&issued), "{codes:?}");
    assert_eq!(codes["ResourceExhausted"], 40 - issued);
    let limited = metric(&running, "cert_generation_total", r#"result="limited""#).await;
    assert_eq!(limited, 40 - issued as u64);
    sign(&running, &id("payments")).await.unwrap();
    let nobody = sign(&running, &id("nobody")).await.unwrap_err();
    assert_eq!(nobody.message(), "there is no Dataplane default/nobody");
    let nonsense = wire::Request { csr: b"nonsense".to_vec() };
    let nonsense = call::<_, Issued>(&running, &id("catalog"), SIGN, nonsense).await.unwrap_err();
    assert_eq!(nonsense.code(), Code::InvalidArgument);
    let too_long = wire::Request { csr: vec![0; 1 << 20] };
    let too_long = call::<_, Issued>(&running, &id("catalog"), SIGN, too_long).await.unwrap_err();
    assert_eq!(too_long.code(), Code::OutOfRange, "{too_long:?}");
    assert_eq!(metric(&running, "cert_generation_total", r#"result="refused""#).await, 2);
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_clients_may_choose_they_wait_until_all_of_a_service_can_take_tls() {
    let running = open().await;
    let second = crate::shop::dataplane("cart-2", "127.0.0.2", 10003, &[]);
    let second = second.replace("kuma.io/service: cart-2", "kuma.io/service: cart");
    apply(&running, &[second, mesh("ca-1", PERMISSIVE)]).await;
    told(&running, "frontend").await;
    let serving = async |name: &str, serving: bool| {
        let held = Held { certificate: None, serving };
        call::<_, Noted>(&running, &id(name), REPORT, held).await.unwrap();
    };
    for name in ["cart", "cart-2", "catalog"] {
        serving(name, false).await;
    }
    assert!(!calls_with_tls(&running, "frontend", "cart").await);
    serving("cart", true).await;
    assert!(!calls_with_tls(&running, "frontend", "cart").await);
    serving("cart-2", true).await;
    assert!(calls_with_tls(&running, "frontend", "cart").await);
    assert!(!calls_with_tls(&running, "frontend", "catalog").await);
    apply(&running, &[mesh("ca-1", BUILTIN)]).await;
    assert!(calls_with_tls(&running, "frontend", "catalog").await, "the only way");
    apply(&running, &[mesh("\"\"", BUILTIN)]).await;
    assert!(!calls_with_tls(&running, "frontend", "cart").await);
    assert_eq!(resources(&running, "frontend").await[IDENTITY], Value::Null);
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_that_is_given_signs_as_soon_as_it_is_there() {
    let running = open().await;
    let provided = "{name: own, type: provided, conf: {cert: {secret: c}, key: {secret: k}}}";
    let both = mesh("own", &format!("{provided}, {BUILTIN}"));
    let reply = request(&running, Method::PUT, "/meshes/default", &[], both.clone()).await;
    let warnings = &reply.json()["warnings"];
    assert_eq!(warnings.as_array().map_or(0, Vec::len), 3, "{}", reply.text);
    assert!(reply.text.contains("nobody may call anybody"), "{}", reply.text);
    let missing = sign(&running, &id("cart")).await.unwrap_err();
    assert_eq!(missing.code(), Code::Unavailable);

    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, "own root");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let secret = |name: &str, pem: String| {
        use base64::Engine as _;
        let data = base64::engine::general_purpose::STANDARD.encode(pem);
        format!("type: Secret\nmesh: default\nname: {name}\ndata: {data}\n")
    };
    let own = params.self_signed(&key).unwrap().pem();
    apply(&running, &[secret("c", own), secret("k", key.serialize_pem())]).await;
    let trust = told(&running, "cart").await["trust"].clone();
    assert_eq!(trust.as_array().unwrap().len(), 2, "the one that is not enabled is trusted too");
    let issued = sign(&running, &id("cart")).await.unwrap();
    assert!(issued.issuer.contains("CN=own root"), "{}", issued.issuer);

    // What is broken later changes nothing but what is said.
    apply(&running, &[secret("k", KeyPair::generate().unwrap().serialize_pem())]).await;
    let warned = async || {
        let overview = get(&running, "/meshes/default/dataplanes/cart/_overview").await;
        overview["warnings"].to_string().contains("do not belong together")
    };
    while !warned().await {
        tokio::task::yield_now().await;
    }
    sign(&running, &id("cart")).await.unwrap();
    assert_eq!(told(&running, "cart").await["trust"], trust);
    running.shutdown().await;
}
