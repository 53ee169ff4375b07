//! The gateway as a whole.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{File, TryLockError};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{Mutex, MutexGuard};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use ursa_metrics::{Registry, gateway as metrics};
use ursa_model::gateway::{GatewayFile, Storage};
use ursa_pipeline::{Pipeline, PipelineInputs};

use crate::receivers::{Listening, OpenError, Receivers};
use crate::status::{self, Asked};

/// In the folder of the queues, locked while a gateway uses it.
const LOCK: &str = ".lock";
/// How long a request that has begun may take to end at the end.
const GRACE: Duration = Duration::from_secs(2);

/// How long answers about the status may take at the end.
const STATUS_ENDS: Duration = Duration::from_secs(1);

/// What a gateway is started with. `Debug` hides the environment.
#[derive(Clone)]
pub struct Config {
    /// What it does.
    pub file: GatewayFile,
    /// Where queues lie unless the file says so.
    pub storage: PathBuf,
    /// Environment variables: for `${NAME}` and `{{env.NAME}}`.
    pub environment: BTreeMap<String, String>,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config").field("storage", &self.storage).finish_non_exhaustive()
    }
}

/// Why a gateway could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The status address cannot be had.
    #[error("serve the status on {at}")]
    Status {
        /// The address.
        at: String,
        /// What the system says.
        source: io::Error,
    },
    /// The folder of the queues cannot be had.
    #[error("keep queues in {}", folder.display())]
    Storage {
        /// The folder.
        folder: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A receiver cannot listen.
    #[error(transparent)]
    Receiver(#[from] OpenError),
}

/// Why another file was not put in place; the one before still is.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// A receiver cannot listen.
    #[error(transparent)]
    Receiver(#[from] OpenError),
}

/// What came of another file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reloaded {
    /// Receivers that listen now and did not before.
    pub opened: Vec<String>,
    /// Receivers that listened before and do not now.
    pub closed: Vec<String>,
    /// Fields that changed and have an effect only when the gateway is started again.
    pub later: Vec<&'static str>,
}

/// A gateway that runs. Dropped without [`shutdown`](Self::shutdown), it ends at once.
#[derive(Debug)]
pub struct Gateway {
    pipeline: Arc<Pipeline>,
    registry: Registry,
    running: Mutex<Running>,
    status: SocketAddr,
    stop: CancellationToken,
    tasks: JoinSet<()>,
    /// Last, so that the folder of the queues is free when all else has ended.
    _occupied: Option<File>,
}

#[derive(Debug)]
struct Running {
    file: GatewayFile,
    receivers: Receivers,
}

impl Gateway {
    /// Starts everything, the receivers last: what they take can be delivered.
    ///
    /// # Errors
    /// An address cannot be had, or the folder of the queues; then nothing runs.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let Config { file, storage, environment } = config;
        let registry = Registry::new(&[]);
        registry.gauge(&metrics::INFO).with(&[env!("CARGO_PKG_VERSION")]).set(1.0);
        let listener = TcpListener::bind(file.status()).await;
        let unavailable = |source| StartError::Status { at: file.status().to_owned(), source };
        let listener = listener.map_err(unavailable)?;
        let status = listener.local_addr().map_err(unavailable)?;
        let folder = match file.storage() {
            Storage::Memory => None,
            Storage::Folder(folder) => Some(PathBuf::from(folder)),
            Storage::Default => Some(storage),
        };
        let occupied = folder.as_ref().map(|folder| {
            let made = std::fs::create_dir_all(folder);
            let occupied = made.and_then(|()| occupy(folder));
            occupied.map_err(|source| StartError::Storage { folder: folder.clone(), source })
        });
        let occupied = occupied.transpose()?;
        let pipeline = Arc::new(Pipeline::start(PipelineInputs {
            environment: environment.clone(),
            detected: BTreeMap::new(),
            registry: registry.clone(),
            storage: folder,
        }));
        pipeline.reconfigure(file.pipeline(), &BTreeMap::new()).await;
        let receivers = Receivers::new(pipeline.sink(), registry.clone(), environment);
        let gateway = Self {
            pipeline,
            registry,
            running: Mutex::new(Running { file: GatewayFile::default(), receivers }),
            status,
            stop: CancellationToken::new(),
            tasks: JoinSet::new(),
            _occupied: occupied,
        };
        gateway.start_serving(file, listener).await
    }

    async fn start_serving(
        mut self,
        file: GatewayFile,
        listener: TcpListener,
    ) -> Result<Self, StartError> {
        let running = self.running.get_mut();
        let prepared = running.receivers.prepare(&file.receivers).await?;
        running.receivers.replace(prepared).await;
        running.file = file;
        let asked = Asked::new(&self.pipeline, self.registry.clone());
        self.tasks.spawn(status::serve(listener, asked, self.stop.clone()));
        Ok(self)
    }

    /// Does as `file` says from now on.
    ///
    /// # Errors
    /// A receiver cannot listen; then everything is as it was.
    pub async fn reload(&self, file: GatewayFile) -> Result<Reloaded, ReloadError> {
        let mut running = self.lock().await;
        let before = running.receivers.names();
        let prepared = match running.receivers.prepare(&file.receivers).await {
            Ok(prepared) => prepared,
            Err(error) => {
                self.count_reload(false);
                return Err(error.into());
            }
        };
        // What new receivers take goes where the file says, what old ones still have too.
        self.pipeline.reconfigure(file.pipeline(), &BTreeMap::new()).await;
        running.receivers.replace(prepared).await;
        let after = running.receivers.names();
        let missing = |from: &[String], other: &[String]| -> Vec<_> {
            from.iter().filter(|name| !other.contains(name)).cloned().collect()
        };
        let mut later = Vec::new();
        if running.file.storage != file.storage {
            later.push("storage");
        }
        if running.file.status() != file.status() {
            later.push("status");
        }
        running.file = file;
        self.count_reload(true);
        Ok(Reloaded { opened: missing(&after, &before), closed: missing(&before, &after), later })
    }

    /// Counts a file that was read again; [`reload`](Self::reload) does so itself, whoever refuses a
    /// file before calls it with `false`.
    pub fn count_reload(&self, applied: bool) {
        let result = if applied { "applied" } else { "refused" };
        self.registry.counter(&metrics::RELOADS).with(&[result]).inc();
    }

    /// Where the status is served.
    pub fn status_address(&self) -> SocketAddr {
        self.status
    }

    /// The receivers and where they listen.
    pub async fn listening(&self) -> Vec<Listening> {
        self.lock().await.receivers.listening()
    }

    /// Stops receiving, and sends what waits until `deadline` has passed. Says how many items were
    /// given up then; what lies on disk is not.
    pub async fn shutdown(self, deadline: Duration) -> u64 {
        let Self { pipeline, running, stop, mut tasks, .. } = self;
        running.into_inner().receivers.shutdown(GRACE).await;
        stop.cancel();
        // Who asks and does not read the answer is not waited for.
        if timeout(STATUS_ENDS, async { while tasks.join_next().await.is_some() {} }).await.is_err()
        {
            tasks.abort_all();
        }
        pipeline.shutdown(deadline).await
    }

    async fn lock(&self) -> MutexGuard<'_, Running> {
        self.running.lock().await
    }
}

/// Makes the folder of the queues this process's own, until the file is closed. Without that, two gateways
/// would each find the other's queues in use.
fn occupy(folder: &Path) -> io::Result<File> {
    let path = folder.join(LOCK);
    let file = File::options().create(true).truncate(false).write(true).open(path)?;
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => io::Error::other("another gateway keeps its queues there"),
        TryLockError::Error(error) => error,
    })?;
    Ok(file)
}
