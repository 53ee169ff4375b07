//! Who gets in, and whom a proxy talks to.

use serde_json::json;

use super::openssl::{Files, Server, ask, openssl};
use super::service::get;
use super::{Authority, World, dataplane};
use crate::collector::free;
use crate::mesh::eventually;

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strict_wants_a_certificate_of_the_mesh_and_permissive_takes_plain_text_too() {
    let world = World::start(&[]).await;
    let files = Files::new();
    let client = |name: &str, (cert, key): (String, String)| {
        (files.put(&format!("{name}.pem"), &cert), files.put(&format!("{name}.key"), &key))
    };
    let trusted = files.put("own.pem", &world.own.certificate());
    let good = client("good", world.own.sign("spiffe://default/test", false));
    let expired = client("expired", world.own.sign("spiffe://default/test", true));
    let other_mesh = client("other", world.own.sign("spiffe://other/test", false));
    let other = Authority::make("other");
    let other_authority = client("foreign", other.sign("spiffe://default/test", false));

    world.mtls("own", &json!({"mode": "PERMISSIVE"}));
    world.serving("own").await;
    world.calls_by_tls(true).await;
    world.passes().await;
    eventually("plain text is taken", async || get(world.direct).await.ok()).await;
    let with = |(cert, key): &(std::path::PathBuf, std::path::PathBuf)| {
        ask(world.direct, Some((cert, key)), &trusted)
    };
    let answer = with(&good);
    assert!(answer.contains("HTTP/1.1 200 OK"), "{answer}");

    world.mtls("own", &json!({"mode": "STRICT"}));
    eventually("plain text is refused", async || get(world.direct).await.err()).await;
    world.passes().await;
    let answer = with(&good);
    assert!(answer.contains("HTTP/1.1 200 OK"), "{answer}");
    for (what, refused) in [
        ("none", ask(world.direct, None, &trusted)),
        ("an expired one", with(&expired)),
        ("one of another authority", with(&other_authority)),
        ("one of another mesh", with(&other_mesh)),
    ] {
        assert!(!refused.contains("HTTP/1.1 200"), "with {what}: {refused}");
        assert!(refused.contains("alert"), "with {what}: {refused}");
    }

    // What the proxy shows, to the eyes of OpenSSL.
    let (_, shown) = answer.split_once(BEGIN).unwrap();
    let (shown, _) = shown.split_once(END).unwrap();
    let shown = files.put("shown.pem", &format!("{BEGIN}{shown}{END}\n"));
    let (shown, trusted) = (shown.to_string_lossy(), trusted.to_string_lossy());
    let text = openssl(&["x509", "-in", &shown, "-noout", "-text"], "");
    for wanted in [
        "Issuer: CN = own",
        "URI:spiffe://default/back, URI:spiffe://default/back-tcp",
        "URI:kuma://kuma.io/protocol/http",
        "URI:kuma://version/v1",
        "TLS Web Server Authentication, TLS Web Client Authentication",
        "Public-Key: (256 bit)",
    ] {
        assert!(text.contains(wanted), "{wanted}:\n{text}");
    }
    let verified = openssl(&["verify", "-x509_strict", "-CAfile", &trusted, &shown], "");
    assert!(verified.contains(": OK"), "{verified}");
    let said = world.mesh.ok(&["inspect", "proxy", "back"]);
    assert!(
        said.contains("by own (CN=own)") && said.contains("spiffe://default/back-tcp"),
        "{said}"
    );

    // Nor does a proxy talk to whom it did not mean.
    let (cert, key) = client("impostor", world.own.sign("spiffe://default/impostor", false));
    let impostor = Server::start(&cert, &key);
    let (cert, key) = client("target", world.own.sign("spiffe://default/target", false));
    let target = Server::start(&cert, &key);
    let service = |name: &str, port: u16| {
        let tags = json!({"kuma.io/service": name, "kuma.io/protocol": "http"});
        dataplane(name, &[json!({"port": port, "servicePort": 1, "tags": tags})], &[])
    };
    let front = world.mesh.get("/meshes/default/dataplanes/front").await;
    let inbound = front["networking"]["inbound"].as_array().unwrap();
    let to_target = free();
    let mut outbound = front["networking"]["outbound"].as_array().unwrap().clone();
    outbound.push(json!({"port": to_target, "tags": {"kuma.io/service": "target"}}));
    world.mesh.apply(&dataplane("front", inbound, &outbound));
    world.mesh.apply(&service("target", target.port));
    let reached = async || reqwest::get(format!("http://127.0.0.1:{to_target}/")).await.ok();
    eventually("who is meant is talked to", async || {
        reached().await.filter(|answer| answer.status() == 200)
    })
    .await;
    world.mesh.apply(&service("target", impostor.port));
    eventually("who is not meant is not talked to", async || {
        reached().await.filter(|answer| answer.status() == 503)
    })
    .await;
}
