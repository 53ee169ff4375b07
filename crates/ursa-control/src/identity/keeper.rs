//! Keeps the authorities of all meshes: makes those that are built in, reads the others, and hands them on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use ursa_model::ResourceKey;
use ursa_model::mesh::{AuthorityBackend, AuthorityKind, DataSource, Mtls, builtin_secrets};
use ursa_store::{Change, Expect, Store};

use super::authority::{self, MeshAuthority};
use super::{Holders, Secured, Trust};
use crate::metrics::Metrics;
use crate::planner::{Planner, log_store};
use crate::snapshot::MeshSnapshot;

/// How often files are looked at again.
const REREAD: Duration = Duration::from_secs(30);
/// How long after a start agents may be on their way back: what proxies held before is still true.
const RETURNING: Duration = Duration::from_secs(30);
/// Bytes of a certificate's or a key's file.
const MAX_FILE: u64 = 256 << 10;

/// What a source says: the text, or why there is none.
type Text = Result<Vec<u8>, String>;
/// The inputs of a backend: certificate and key.
type Inputs = BTreeMap<String, (AuthorityKind, Text, Text)>;

/// Keeps authorities.
pub(crate) struct Keeper {
    pub(crate) planner: Arc<Planner>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) holders: Arc<Holders>,
    pub(crate) metrics: Metrics,
    /// What the authorities of each mesh were read from.
    seen: BTreeMap<String, Inputs>,
    files: BTreeMap<String, Text>,
}

impl Keeper {
    /// With the authorities that can be read at once. Proxies that agents have not spoken of yet are taken for what
    /// they were before.
    pub(crate) async fn begin(
        planner: Arc<Planner>,
        store: Arc<dyn Store>,
        holders: Arc<Holders>,
        metrics: Metrics,
    ) -> Self {
        let (seen, files) = (BTreeMap::new(), BTreeMap::new());
        let mut keeper = Self { planner, store, holders, metrics, seen, files };
        keeper.assume(true).await;
        keeper.look().await;
        keeper
    }

    /// Follows the meshes until `stop`.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut changes = self.planner.changes();
        let mut reread = Instant::now() + REREAD;
        let mut returned = Some(Instant::now() + RETURNING);
        loop {
            self.look().await;
            let wake = returned.map_or(reread, |at| at.min(reread));
            tokio::select! {
                () = stop.cancelled() => return,
                changed = changes.changed() => if changed.is_err() { return },
                () = sleep_until(wake) => {}
            }
            let now = Instant::now();
            if returned.take_if(|at| *at <= now).is_some() {
                self.assume(false).await;
            }
            if reread <= now {
                reread = now + REREAD;
                self.files.clear();
            }
        }
    }

    async fn assume(&self, assumed: bool) {
        let snapshots = self.planner.snapshots();
        for (name, _) in snapshots.iter() {
            let change = |mesh: &mut MeshSnapshot| {
                mesh.secured = Arc::new(Secured { assumed, ..(*mesh.secured).clone() });
            };
            self.planner.amend(name, change, |_, mesh| mesh.is_permissive()).await;
        }
    }

    /// Brings authorities in line with what the meshes say.
    async fn look(&mut self) {
        let snapshots = self.planner.snapshots();
        self.holders.retain(&snapshots);
        let gone: Vec<_> =
            self.seen.keys().filter(|name| snapshots.mesh(name).mtls.is_none()).cloned().collect();
        for name in gone {
            self.seen.remove(&name);
            self.hand_over(&name, Trust::default()).await;
            self.metrics.mesh_gone(&name);
        }
        for (name, mesh) in snapshots.iter() {
            let Some(mtls) = &mesh.mtls else { continue };
            self.make_missing(name, mesh, mtls).await;
            let inputs = self.inputs(name, mesh, mtls).await;
            if self.seen.get(name) != Some(&inputs) {
                let trust = read(name, &inputs, &mesh.trust);
                self.seen.insert(name.to_owned(), inputs);
                self.hand_over(name, trust).await;
            }
        }
    }

    async fn hand_over(&self, name: &str, trust: Trust) {
        let before = self.planner.snapshots().mesh(name);
        for backend in before.trust.authorities.keys() {
            self.metrics.authority_gone(name, backend);
        }
        for (backend, authority) in &trust.authorities {
            self.metrics.authority_held(name, backend, authority.validity().not_after);
        }
        let trust = Arc::new(trust);
        self.planner.amend(name, |mesh| mesh.trust = trust, |_, _| true).await;
    }

    /// Makes built-in authorities that are not there yet.
    async fn make_missing(&self, name: &str, mesh: &MeshSnapshot, mtls: &Mtls) {
        let built_in = mtls.backends.iter().filter(|it| it.kind == AuthorityKind::Builtin);
        for backend in built_in {
            let (certificate, key) = builtin_secrets(name, &backend.name);
            if mesh.secrets.contains_key(&certificate) || mesh.secrets.contains_key(&key) {
                continue;
            }
            let (owned, own) = (name.to_owned(), backend.clone());
            // Finding the primes of an RSA key takes a second or more.
            let made = tokio::task::spawn_blocking(move || {
                authority::make(&owned, &own, Timestamp::now())
            });
            let made = match made.await {
                Ok(Ok(made)) => made,
                Ok(Err(error)) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(
                        mesh = name,
                        backend = backend.name,
                        error,
                        "an authority could not be made"
                    );
                    continue;
                }
                Err(_) => continue,
            };
            let secrets = [(certificate, made.0), (key, made.1)];
            let changes = secrets.map(|(secret, pem)| Change::Put {
                key: ResourceKey::in_mesh("Secret", name, &secret),
                text: format!(
                    "type: Secret\nmesh: {name}\nname: {secret}\ndata: {}\n",
                    STANDARD.encode(pem)
                ),
                origin: None,
                expect: Expect::Absent,
            });
            match self.store.write(changes.into()).await {
                Ok(written) => {
                    tracing::info!(mesh = name, backend = backend.name, "an authority was made");
                    self.planner.reached(written.revision, RETURNING).await;
                }
                Err(error) => log_store(&error),
            }
        }
    }

    async fn inputs(&mut self, name: &str, mesh: &MeshSnapshot, mtls: &Mtls) -> Inputs {
        let mut inputs = Inputs::new();
        for backend in &mtls.backends {
            let (certificate, key) = match backend.kind {
                AuthorityKind::Builtin => {
                    let (certificate, key) = builtin_secrets(name, &backend.name);
                    (secret(mesh, &certificate), secret(mesh, &key))
                }
                AuthorityKind::Provided => {
                    let (certificate, key) = sources(backend);
                    (self.text(mesh, certificate).await, self.text(mesh, key).await)
                }
            };
            inputs.insert(backend.name.clone(), (backend.kind, certificate, key));
        }
        inputs
    }

    async fn text(&mut self, mesh: &MeshSnapshot, source: Option<&DataSource>) -> Text {
        let nothing = || "nothing says where it is".to_owned();
        let source = source.ok_or_else(nothing)?;
        if let Some(name) = &source.secret {
            return secret(mesh, name);
        }
        if let Some(inline) = source.inline_bytes() {
            return Ok(inline);
        }
        let path = source.file.as_ref().ok_or_else(nothing)?;
        if let Some(known) = self.files.get(path) {
            return known.clone();
        }
        let text = file(path).await;
        self.files.insert(path.clone(), text.clone());
        text
    }
}

fn sources(backend: &AuthorityBackend) -> (Option<&DataSource>, Option<&DataSource>) {
    let conf = backend.conf.as_ref();
    (conf.and_then(|conf| conf.cert.as_ref()), conf.and_then(|conf| conf.key.as_ref()))
}

fn secret(mesh: &MeshSnapshot, name: &str) -> Text {
    let secret = mesh.secrets.get(name).ok_or_else(|| format!("there is no Secret `{name}`"))?;
    secret.value.decode().map_err(|_| format!("Secret `{name}` is not base64"))
}

async fn file(path: &str) -> Text {
    let length = tokio::fs::metadata(path).await.map(|it| it.len());
    match length {
        Ok(length) if length > MAX_FILE => Err(format!("`{path}` is longer than {MAX_FILE} bytes")),
        _ => tokio::fs::read(path).await.map_err(|error| format!("`{path}`: {error}")),
    }
}

/// The authorities of these inputs. One that can no longer be read stays as it was: its certificates are in use.
fn read(mesh: &str, inputs: &Inputs, before: &Trust) -> Trust {
    let mut trust = Trust::default();
    for (backend, (_, certificate, key)) in inputs {
        let authority = match (certificate, key) {
            (Err(why), _) | (_, Err(why)) => Err(why.clone()),
            (Ok(certificate), Ok(key)) => {
                MeshAuthority::read(certificate, key).map_err(|error| error.to_string())
            }
        };
        match authority {
            Ok(authority) => {
                trust.authorities.insert(backend.clone(), Arc::new(authority));
            }
            Err(why) => {
                tracing::warn!(mesh, backend, why, "an authority cannot be used as it is now");
                if let Some(known) = before.authorities.get(backend) {
                    trust.authorities.insert(backend.clone(), Arc::clone(known));
                }
                trust.problems.insert(backend.clone(), why);
            }
        }
    }
    trust
}
