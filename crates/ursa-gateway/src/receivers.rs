//! The receivers that listen, and how others take their place.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tracing::{error, info};
use ursa_metrics::Registry;
use ursa_model::SecretText;
use ursa_model::gateway::{Listen, Receiver as Wanted, ReceiverKind};
use ursa_model::substitution::{Part, Substitution};
use ursa_pipeline::Sink;
use ursa_pipeline::receive::{Bind, BindError, Protocol, Receiver, ServerFiles, Settings};

/// How long a request that has begun may take to end when its receiver is closed.
const GRACE: Duration = Duration::from_secs(5);

/// A receiver cannot listen.
#[derive(Debug, thiserror::Error)]
#[error("open the receiver {receiver}")]
pub struct OpenError {
    /// Its name.
    pub receiver: String,
    /// Why.
    pub source: BindError,
}

/// A receiver and where it listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listening {
    /// Its name.
    pub name: String,
    /// What it speaks.
    pub kind: ReceiverKind,
    /// The address, with the port that was taken where the file said 0.
    pub listen: Listen,
}

/// All receivers.
pub(crate) struct Receivers {
    sink: Arc<dyn Sink>,
    registry: Registry,
    environment: BTreeMap<String, String>,
    open: Vec<Open>,
}

/// One receiver, and what it was made of.
#[derive(Debug)]
struct Open {
    wanted: Wanted,
    receiver: Receiver,
}

impl Receivers {
    /// None yet.
    pub(crate) fn new(
        sink: Arc<dyn Sink>,
        registry: Registry,
        environment: BTreeMap<String, String>,
    ) -> Self {
        Self { sink, registry, environment, open: Vec::new() }
    }

    /// Listens as `wanted` says. One that did not change keeps its socket and its connections.
    /// Where a new one needs the address of an old one, the old one ends first; if the new one then
    /// cannot listen, the old one comes back.
    ///
    /// # Errors
    /// One cannot listen; then those before still do.
    pub(crate) async fn replace(&mut self, wanted: &[Wanted]) -> Result<(), OpenError> {
        let (kept, old): (Vec<_>, Vec<_>) = std::mem::take(&mut self.open)
            .into_iter()
            .partition(|open| wanted.contains(&open.wanted));
        let (in_the_way, mut old): (Vec<_>, Vec<_>) =
            old.into_iter().partition(|open| wanted.iter().any(|new| collide(new, &open.wanted)));
        let mut freed = Vec::new();
        for open in in_the_way {
            open.receiver.shutdown(GRACE).await;
            freed.push(open.wanted);
        }
        let mut opened = Vec::new();
        for new in wanted.iter().filter(|new| kept.iter().all(|open| open.wanted != **new)) {
            match self.open(new).await {
                Ok(open) => opened.push(open),
                Err(error) => {
                    for open in opened {
                        open.receiver.shutdown(GRACE).await;
                    }
                    self.open = kept;
                    self.open.append(&mut old);
                    self.reopen(freed).await;
                    return Err(error);
                }
            }
        }
        self.open = kept;
        self.open.append(&mut opened);
        for open in old {
            info!(receiver = open.wanted.name(), "receiver closed");
            open.receiver.shutdown(GRACE).await;
        }
        Ok(())
    }

    async fn reopen(&mut self, freed: Vec<Wanted>) {
        for wanted in freed {
            match self.open(&wanted).await {
                Ok(open) => self.open.push(open),
                Err(error) => {
                    let cause = error.source.to_string();
                    error!(receiver = wanted.name(), %cause, "a receiver could not be opened again");
                }
            }
        }
    }

    async fn open(&self, wanted: &Wanted) -> Result<Open, OpenError> {
        let name = wanted.name();
        let failed = |source| OpenError { receiver: name.to_owned(), source };
        let receiver = self.start(wanted).await.map_err(failed)?;
        let open = Open { wanted: wanted.clone(), receiver };
        if let Some(listen) = open.listen() {
            info!(receiver = name, %listen, "receiving");
        }
        Ok(open)
    }

    async fn start(&self, wanted: &Wanted) -> Result<Receiver, BindError> {
        let (sink, registry) = (Arc::clone(&self.sink), &self.registry);
        self.settings(wanted).await?.start(sink, registry).await
    }

    /// What it speaks, where, and whom and what it admits.
    async fn settings(&self, wanted: &Wanted) -> Result<Settings, BindError> {
        let (kind, options) = wanted.settings().ok_or_else(|| unsupported(wanted))?;
        let protocol = match kind {
            ReceiverKind::OtlpGrpc => Protocol::OtlpGrpc,
            ReceiverKind::OtlpHttp => Protocol::OtlpHttp,
            ReceiverKind::Zipkin => Protocol::Zipkin,
            ReceiverKind::Datadog => Protocol::Datadog,
        };
        let bind = match options.address().ok_or_else(|| unsupported(wanted))? {
            Listen::Tcp(address) => Bind::Tcp(address),
            Listen::Unix(path) => Bind::Unix(path.into()),
        };
        let mut settings = Settings::new(protocol, bind);
        settings.name = wanted.name().into();
        settings.tls = options.tls.as_ref().map(|tls| ServerFiles {
            cert: (&tls.cert).into(),
            key: (&tls.key).into(),
            client_ca: tls.client_ca.as_ref().map(Into::into),
        });
        if let Some(admission) = &options.auth {
            settings.token = Some(self.token(wanted, &admission.bearer_token).await?);
        }
        if let Some(size) = options.max_request {
            let limits = &mut settings.limits;
            limits.message = usize::try_from(size.bytes()).unwrap_or(usize::MAX);
            limits.memory = limits.memory.max(limits.message.saturating_mul(4));
        }
        Ok(settings)
    }

    /// The token that senders must carry, read when the receiver is opened.
    async fn token(&self, wanted: &Wanted, said: &Substitution) -> Result<SecretText, BindError> {
        let failed = |error: io::Error| BindError { at: wanted.name().to_owned(), source: error };
        let parts = said.parts().map_err(|error| failed(io::Error::other(error)))?;
        let mut files = BTreeMap::new();
        for part in parts {
            if let Part::File(path) = part {
                let text = tokio::fs::read_to_string(&path).await.map_err(failed)?;
                files.insert(path, text.trim_end_matches(['\r', '\n']).to_owned());
            }
        }
        let filled = said.fill(|part| match part {
            Part::Env(name) => self.environment.get(name).cloned(),
            Part::File(path) => files.get(path).cloned(),
            Part::Secret(_) | Part::Text(_) => None,
        });
        filled.map_err(|error| failed(io::Error::other(error)))
    }

    /// The names, in the order of the file.
    pub(crate) fn names(&self) -> Vec<String> {
        self.open.iter().map(|open| open.wanted.name().to_owned()).collect()
    }

    /// Where each listens.
    pub(crate) fn listening(&self) -> Vec<Listening> {
        let listening = |open: &Open| {
            let (kind, _) = open.wanted.settings()?;
            Some(Listening { name: open.wanted.name().to_owned(), kind, listen: open.listen()? })
        };
        self.open.iter().filter_map(listening).collect()
    }

    /// Stops listening; requests in hand have `grace` to end.
    pub(crate) async fn shutdown(self, grace: Duration) {
        let mut closing = JoinSet::new();
        for open in self.open {
            closing.spawn(open.receiver.shutdown(grace));
        }
        closing.join_all().await;
    }
}

impl Open {
    /// Where it listens, with the port that was taken.
    fn listen(&self) -> Option<Listen> {
        let taken = self.receiver.address().map(Listen::Tcp);
        taken.or_else(|| self.wanted.settings()?.1.address())
    }
}

impl fmt::Debug for Receivers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receivers").field("open", &self.open).finish_non_exhaustive()
    }
}

/// What validation refuses, and what this version does not speak.
fn unsupported(wanted: &Wanted) -> BindError {
    BindError {
        at: wanted.name().to_owned(),
        source: io::Error::new(io::ErrorKind::Unsupported, "this version cannot receive it"),
    }
}

/// Whether one must end before the other can listen.
fn collide(new: &Wanted, old: &Wanted) -> bool {
    let address = |wanted: &Wanted| wanted.settings()?.1.address();
    match (address(new), address(old)) {
        (Some(new_address), Some(old_address)) => new != old && new_address.collides(&old_address),
        _ => false,
    }
}
