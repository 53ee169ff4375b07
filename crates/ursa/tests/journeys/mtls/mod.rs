//! Mutual TLS between real Envoys: who gets in, what certificates say, and that nothing fails while they change.
//!
//! Certificates are looked at, and made wrong, with `openssl`.

mod authority;
mod load;
mod openssl;
mod refused;
mod rotation;
mod service;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use self::authority::Authority;
use self::service::{get, serve};
use crate::collector::free;
use crate::mesh::{Mesh, eventually};

/// The mesh: `front` calls `back`, by HTTP and by TCP, behind which the service is.
pub(crate) struct World {
    mesh: Mesh,
    /// Whose certificates the mesh has while the backend `own` is enabled.
    own: Authority,
    /// Where the service beside `front` calls `back`.
    http: u16,
    /// The same as bytes: a connection of its own for each.
    tcp: u16,
    /// Where `back` takes requests.
    direct: u16,
    _service: JoinSet<()>,
}

impl World {
    /// `arguments` are for `ursa up`.
    async fn start(arguments: &[&str]) -> Self {
        let mut task = JoinSet::new();
        let service = serve(&mut task).await;
        let inbound = |name: &str, protocol: &str| {
            let tags =
                json!({"kuma.io/service": name, "kuma.io/protocol": protocol, "version": "v1"});
            json!({"port": free(), "servicePort": service, "tags": tags})
        };
        let outbound = |name: &str| json!({"port": free(), "tags": {"kuma.io/service": name}});
        let front = dataplane(
            "front",
            &[inbound("front", "http")],
            &[outbound("back"), outbound("back-tcp")],
        );
        let back = [inbound("back", "http"), inbound("back-tcp", "tcp")];
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("mesh.yaml");
        std::fs::write(&file, [front, dataplane("back", &back, &[])].join("\n---\n")).unwrap();
        let mesh = Mesh::demo(&[&["-f", &file.to_string_lossy()], arguments].concat());
        // Each has ports of its own.
        let port = async |name: &str, way: &str, at: usize| {
            let dataplane = mesh.get(&format!("/meshes/default/dataplanes/{name}")).await;
            let port = dataplane["networking"][way][at]["port"].as_u64();
            port.and_then(|port| u16::try_from(port).ok()).unwrap()
        };
        let (http, tcp) = (port("front", "outbound", 0).await, port("front", "outbound", 1).await);
        let direct = port("back", "inbound", 0).await;
        let own = Authority::make("own");
        let secrets = [("own-cert", own.certificate()), ("own-key", own.key())];
        mesh.apply(&secrets.map(|(name, pem)| authority::secret(name, &pem)).join("---\n"));
        let everyone = json!({"targetRef": {"kind": "Mesh"}, "default": {"action": "Allow"}});
        let spec = json!({"targetRef": {"kind": "Mesh"}, "from": [everyone]});
        let permission = json!({"type": "MeshTrafficPermission", "mesh": "default", "name": "all", "spec": spec});
        mesh.apply(&permission.to_string());
        let world = Self { mesh, own, http, tcp, direct, _service: task };
        world.passes().await;
        world
    }

    /// Says what is enabled, with further fields of its backends.
    fn mtls(&self, enabled: &str, rest: &Value) {
        let mut own = json!({"name": "own", "type": "provided",
            "conf": {"cert": {"secret": "own-cert"}, "key": {"secret": "own-key"}}});
        let mut built_in = json!({"name": "ca-1", "type": "builtin"});
        for backend in [&mut own, &mut built_in] {
            for (field, value) in rest.as_object().into_iter().flatten() {
                backend[field] = value.clone();
            }
        }
        let mtls = json!({"enabledBackend": enabled, "backends": [own, built_in]});
        self.mesh.apply(&json!({"type": "Mesh", "name": "default", "mtls": mtls}).to_string());
    }

    /// What the control plane knows of a proxy's certificate.
    async fn certificate(&self, name: &str) -> Value {
        let overview = self.mesh.get(&format!("/meshes/default/dataplanes/{name}/_overview")).await;
        overview["certificate"].clone()
    }

    /// Waits until both proxies serve with a certificate of this backend.
    async fn serving(&self, backend: &str) {
        for name in ["front", "back"] {
            eventually(&format!("{name} serves with a certificate of {backend}"), async || {
                let certificate = self.certificate(name).await;
                let good =
                    certificate["serving"] == true && certificate["issuedBackend"] == backend;
                good.then_some(())
            })
            .await;
        }
    }

    /// Waits until `front` has acknowledged that it calls `back` by TLS, or not so.
    async fn calls_by_tls(&self, wanted: bool) {
        const CDS: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
        eventually(&format!("front calls back by TLS: {wanted}"), async || {
            let config = self.mesh.get("/meshes/default/dataplanes/front/_config").await;
            let done = ["back", "back-tcp"].iter().all(|name| {
                let cluster = &config["resources"][CDS][*name];
                cluster["body"]["transport_socket"].is_null() != wanted
                    && config["acknowledged"][CDS][*name] == cluster["version"]
            });
            done.then_some(())
        })
        .await;
    }

    /// Waits until requests reach the service on both ways.
    async fn passes(&self) {
        for port in [self.http, self.tcp] {
            eventually("a request passes", async || get(port).await.ok()).await;
        }
    }
}

fn dataplane(name: &str, inbound: &[Value], outbound: &[Value]) -> String {
    let networking = json!({"address": "127.0.0.1", "inbound": inbound, "outbound": outbound});
    json!({"type": "Dataplane", "mesh": "default", "name": name, "networking": networking})
        .to_string()
}
