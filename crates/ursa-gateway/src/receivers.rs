//! The receivers that listen, and how others take their place.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tracing::{error, info, warn};
use ursa_metrics::Registry;
use ursa_model::SecretText;
use ursa_model::gateway::{Listen, ListenOptions, Receiver as Wanted, ReceiverKind};
use ursa_model::substitution::{Part, Substitution, Unfilled};
use ursa_pipeline::Sink;
use ursa_pipeline::receive::{
    Bind, BindError, Bound, Protocol, Receiver, ServerFiles, Settings, Token,
};

use crate::watch::FileWatch;

/// How long a request that has begun may take to end when its receiver is closed.
const GRACE: Duration = Duration::from_secs(5);

/// A receiver cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Its address cannot be had, or its certificate.
    #[error("open the receiver {receiver}")]
    Bind {
        /// Its name.
        receiver: String,
        /// Why.
        source: BindError,
    },
    /// The token that senders must show is not there.
    #[error("find the token of the receiver {receiver}")]
    Token {
        /// Its name.
        receiver: String,
        /// What is not set.
        source: Unfilled,
    },
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
    environment: Arc<BTreeMap<String, String>>,
    open: Vec<Open>,
}

/// Receivers that may take the place of those before.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// No longer wanted.
    old: Vec<Open>,
    opened: Vec<(Wanted, Settings, Bound)>,
}

/// One receiver, and what it was made of.
#[derive(Debug)]
struct Open {
    wanted: Wanted,
    settings: Settings,
    receiver: Receiver,
    #[expect(dead_code, reason = "it ends with the receiver")]
    /// What looks after the files of its token.
    watches: JoinSet<()>,
}

impl Receivers {
    /// None yet.
    pub(crate) fn new(
        sink: Arc<dyn Sink>,
        registry: Registry,
        environment: BTreeMap<String, String>,
    ) -> Self {
        Self { sink, registry, environment: Arc::new(environment), open: Vec::new() }
    }

    /// Takes the addresses that `wanted` asks for; nobody is answered otherwise before [`replace`](Self::replace). One that
    /// did not change keeps its socket and its connections. Where a new one needs the address of an old one, the old one ends
    /// first; if the new one then cannot listen, the old one comes back.
    ///
    /// # Errors
    /// One cannot listen; then those before still do.
    pub(crate) async fn prepare(&mut self, wanted: &[Wanted]) -> Result<Prepared, OpenError> {
        let mut new = Vec::new();
        for wanted in wanted {
            new.extend(self.settings(wanted)?.map(|settings| (wanted.clone(), settings)));
        }
        let stays = |open: &Open| new.iter().any(|(wanted, _)| *wanted == open.wanted);
        let (kept, old): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.open).into_iter().partition(stays);
        new.retain(|(wanted, _)| kept.iter().all(|open| open.wanted != *wanted));
        let is_in_the_way = |open: &Open| new.iter().any(|(new, _)| collide(new, open));
        let (in_the_way, mut old): (Vec<_>, Vec<_>) = old.into_iter().partition(is_in_the_way);
        let mut freed = Vec::new();
        for Open { wanted, settings, receiver, .. } in in_the_way {
            receiver.shutdown(GRACE).await;
            freed.push((wanted, settings));
        }
        let mut opened = Vec::new();
        for (wanted, settings) in new {
            match self.bind(&wanted, &settings).await {
                Ok(bound) => opened.push((wanted, settings, bound)),
                Err(error) => {
                    drop(opened);
                    self.open = kept;
                    self.open.append(&mut old);
                    self.reopen(freed).await;
                    return Err(error);
                }
            }
        }
        self.open = kept;
        Ok(Prepared { old, opened })
    }

    /// Answers as was prepared, and no longer as before.
    pub(crate) async fn replace(&mut self, prepared: Prepared) {
        let Prepared { old, opened } = prepared;
        // The same words may mean another token than before.
        for Open { wanted, settings, .. } in &self.open {
            if let Some((token, written)) = settings.token.as_ref().zip(wanted.token()) {
                refill(wanted.name(), token, written, &self.environment);
            }
        }
        for (wanted, settings, bound) in opened {
            let open = self.serve(wanted, settings, bound);
            self.open.push(open);
        }
        for open in old {
            info!(receiver = open.wanted.name(), "receiver closed");
            open.receiver.shutdown(GRACE).await;
        }
    }

    async fn reopen(&mut self, freed: Vec<(Wanted, Settings)>) {
        for (wanted, settings) in freed {
            match self.bind(&wanted, &settings).await {
                Ok(bound) => {
                    let open = self.serve(wanted, settings, bound);
                    self.open.push(open);
                }
                Err(error) => error!(%error, "a receiver could not be opened again"),
            }
        }
    }

    async fn bind(&self, wanted: &Wanted, settings: &Settings) -> Result<Bound, OpenError> {
        let bound = settings.clone().bind(Arc::clone(&self.sink), &self.registry).await;
        let name = || wanted.name().to_owned();
        bound.map_err(|source| OpenError::Bind { receiver: name(), source })
    }

    fn serve(&self, wanted: Wanted, settings: Settings, bound: Bound) -> Open {
        let receiver = bound.serve();
        let watches = self.watches(&wanted, &settings);
        let open = Open { wanted, settings, receiver, watches };
        if let Some(listen) = open.listen() {
            info!(receiver = open.wanted.name(), %listen, "receiving");
        }
        open
    }

    /// What a receiver is made of; none for what validation refuses.
    fn settings(&self, wanted: &Wanted) -> Result<Option<Settings>, OpenError> {
        let token = wanted.token().map(|token| fill(token, &self.environment)).transpose();
        let unfilled = |source| OpenError::Token { receiver: wanted.name().to_owned(), source };
        let token = token.map_err(unfilled)?.map(Token::new);
        Ok(settings(wanted).map(|settings| Settings { token, ..settings }))
    }

    /// Tasks that read a receiver's token again when a file with it changed.
    fn watches(&self, wanted: &Wanted, settings: &Settings) -> JoinSet<()> {
        let mut watches = JoinSet::new();
        let (Some(written), Some(token)) = (wanted.token(), &settings.token) else {
            return watches;
        };
        let files = written.parts().into_iter().flatten().filter_map(|part| match part {
            Part::File(path) => Some(path),
            Part::Env(_) | Part::Secret(_) | Part::Text(_) => None,
        });
        for path in files {
            let (receiver, written, token) =
                (wanted.name().to_owned(), written.clone(), token.clone());
            let environment = Arc::clone(&self.environment);
            watches.spawn(async move {
                let mut watch = FileWatch::new(Path::new(&path));
                loop {
                    refill(&receiver, &token, &written, &environment);
                    watch.changed().await;
                }
            });
        }
        watches
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

/// The token that senders must show.
fn fill(
    written: &Substitution,
    environment: &BTreeMap<String, String>,
) -> Result<SecretText, Unfilled> {
    written.fill(|part| match part {
        Part::Env(name) => environment.get(name).filter(|value| !value.is_empty()).cloned(),
        Part::File(path) => {
            let text = fs::read_to_string(path).ok()?;
            Some(text.trim().to_owned()).filter(|text| !text.is_empty())
        }
        Part::Secret(_) | Part::Text(_) => None,
    })
}

/// Puts the token in force that is meant now.
fn refill(
    receiver: &str,
    token: &Token,
    written: &Substitution,
    environment: &BTreeMap<String, String>,
) {
    match fill(written, environment) {
        Ok(new) => {
            if token.set(new) {
                info!(receiver, "the token changed");
            }
        }
        Err(error) => warn!(receiver, %error, "the token before stays in force"),
    }
}

/// What it is made of, but for its token; none for what validation refuses.
fn settings(wanted: &Wanted) -> Option<Settings> {
    let (kind, options) = wanted.settings()?;
    let ListenOptions { tls, origins, max_request, .. } = options;
    let protocol = match kind {
        ReceiverKind::OtlpGrpc => Protocol::OtlpGrpc,
        ReceiverKind::OtlpHttp => Protocol::OtlpHttp,
        ReceiverKind::Zipkin => Protocol::Zipkin,
        ReceiverKind::Datadog => Protocol::Datadog,
    };
    let bind = match options.address()? {
        Listen::Tcp(address) => Bind::Tcp(address),
        Listen::Unix(path) => Bind::Unix(path.into()),
    };
    let mut settings = Settings::new(protocol, bind);
    settings.name = wanted.name().into();
    settings.origins.clone_from(origins);
    settings.tls = tls.as_ref().map(|tls| ServerFiles {
        cert: (&tls.cert).into(),
        key: (&tls.key).into(),
        client_ca: tls.client_ca.as_ref().map(Into::into),
    });
    if let Some(size) = max_request {
        let limits = &mut settings.limits;
        limits.message = usize::try_from(size.bytes()).unwrap_or(usize::MAX);
        limits.memory = limits.memory.max(limits.message.saturating_mul(4));
    }
    Some(settings)
}

/// Whether `old` must end before `new` can listen.
fn collide(new: &Wanted, old: &Open) -> bool {
    let new = new.settings().and_then(|(_, options)| options.address());
    new.zip(old.listen()).is_some_and(|(new, old)| new.collides(&old))
}
