//! Getting a certificate, keeping it fresh, and telling Envoy and the control plane.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};
use ursa_envoy::identity::{Held, Issued};
use ursa_metrics::{Counter, Family, Gauge, Registry, agent};
use ursa_model::identity::{Identity, Validity};

use super::key::Key;
use super::{Caller, CertificateStatus, End, IdentityStatus, Secrets, secret};
use crate::admin::Admin;
use crate::backoff::Backoff;

const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_mins(1);
/// The clock of the machine is looked at this often at least: it may be set, and the machine may sleep.
const LOOK: Duration = Duration::from_secs(30);
/// How often Envoy is asked whether its listeners have taken what they were given.
const ASK: Duration = Duration::from_millis(50);
/// When another backend signs: over which time proxies ask it, so that not all do at once.
const SPREAD: Duration = Duration::from_secs(1);
/// The same when it was not trusted before: others have to hear of it first.
const HEARD: Duration = Duration::from_secs(3);
/// Envoy's count of listeners that wait for something.
const WARMING: &str = "listener_manager.total_listeners_warming";

/// The work.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) end: End,
    /// The connection to the control plane, while there is one.
    pub(crate) caller: watch::Receiver<Option<Caller>>,
    pub(crate) status: watch::Sender<IdentityStatus>,
    pub(crate) admin: Admin,
    pub(crate) registry: Registry,
}

/// A key and its certificate.
#[derive(Debug)]
struct Holding {
    key: Key,
    issued: Issued,
    /// Seconds since 1970.
    renew_at: i64,
}

/// What the work remembers.
struct Work {
    told: Option<Arc<Identity>>,
    holding: Option<Holding>,
    /// Authorities that Envoy was given, and how often they changed.
    trust: (Vec<String>, u64),
    /// No certificate is asked for before.
    wait: Option<Instant>,
    backoff: Backoff,
    error: Option<String>,
    serving: bool,
    /// What the control plane knows on this connection: serial, and whether it serves.
    reported: Option<(Option<String>, bool)>,
    report_wait: Option<Instant>,
    expiration: Family<Gauge>,
    lifetime: Family<Gauge>,
    requests: Family<Counter>,
}

impl Task {
    /// Works until `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) {
        stop.run_until_cancelled(Box::pin(self.work())).await;
    }

    async fn work(mut self) {
        let requests = self.registry.counter(&agent::CERT_REQUESTS);
        for result in ["issued", "refused", "unavailable"] {
            requests.with(&[result]);
        }
        let mut work = Work {
            told: None,
            holding: None,
            trust: (Vec::new(), 0),
            wait: None,
            backoff: Backoff::new(FIRST_WAIT, LONGEST_WAIT),
            error: None,
            serving: false,
            reported: None,
            report_wait: None,
            expiration: self.registry.gauge(&agent::CERT_EXPIRATION),
            lifetime: self.registry.gauge(&agent::CERT_LIFETIME),
            requests,
        };
        loop {
            let told = self.end.told.borrow_and_update().clone();
            if told != work.told {
                self.hear(&mut work, told).await;
            }
            let caller = self.caller.borrow_and_update().clone();
            let taken = *self.end.taken.borrow_and_update();
            if let Some(caller) = &caller {
                if work.wants() && work.wait.is_none_or(|at| at <= Instant::now()) {
                    self.ask(&mut work, caller).await;
                }
                self.see(&mut work, taken).await;
                work.report(caller).await;
            }
            work.show(&self.status);
            let wake = work.wake(caller.is_some(), taken);
            tokio::select! {
                heard = self.end.told.changed() => if heard.is_err() { return },
                changed = self.caller.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    // A new connection: what went wrong on the one before says nothing.
                    (work.wait, work.reported, work.report_wait) = (None, None, None);
                }
                seen = self.end.taken.changed() => if seen.is_err() { return },
                () = sleep_until(wake) => {}
            }
        }
    }

    /// The control plane says something else.
    async fn hear(&self, work: &mut Work, told: Option<Arc<Identity>>) {
        let Some(identity) = &told else {
            tracing::info!("mTLS is off: the certificate is given up");
            (work.told, work.holding, work.error, work.wait) = (None, None, None, None);
            (work.trust.0, work.serving) = (Vec::new(), false);
            for kind in ["identity", "ca"] {
                work.expiration.remove(&[kind]);
                work.lifetime.remove(&[kind]);
            }
            self.give(Secrets::Retire).await;
            return;
        };
        // Empty: no authority can be used now, and what is held goes on.
        let new_trust = !identity.trust.is_empty() && identity.trust != work.trust.0;
        let other = work.holding.as_ref().is_some_and(|it| it.issued.backend != identity.backend);
        let spread = match (other, new_trust) {
            (true, true) => HEARD + SPREAD.mul_f64(fastrand::f64()),
            (true, false) => SPREAD.mul_f64(fastrand::f64()),
            (false, _) => Duration::ZERO,
        };
        work.wait = Some(Instant::now() + spread);
        if new_trust {
            work.trust = (identity.trust.clone(), work.trust.1 + 1);
            work.told = told;
            self.give(work.secrets()).await;
        } else {
            work.told = told;
        }
    }

    async fn give(&self, secrets: Secrets) {
        if self.end.secrets.send(secrets).await.is_err() {
            tracing::debug!("the agent stops");
        }
    }

    /// Asks for a certificate for a new key.
    async fn ask(&self, work: &mut Work, caller: &Caller) {
        let issued = match Key::make() {
            Ok((key, csr)) => caller.sign(csr).await.map(|issued| (key, issued)),
            Err(error) => Err(Status::internal(error.to_string())),
        };
        match issued {
            Ok((key, issued)) => {
                work.requests.with(&["issued"]).inc();
                (work.error, work.wait) = (None, None);
                work.backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
                let now = seconds();
                let left = issued.not_after.saturating_sub(now).max(0);
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "a share of whole seconds is one of them"
                )]
                let renew_at = now + (left as f64 * (0.7 + 0.1 * fastrand::f64())) as i64;
                tracing::info!(
                    backend = issued.backend,
                    serial = issued.serial,
                    not_after = issued.not_after,
                    "a certificate is there"
                );
                work.measure(&issued);
                work.holding = Some(Holding { key, issued, renew_at });
                self.give(work.secrets()).await;
            }
            Err(status) => {
                let unavailable = matches!(
                    status.code(),
                    Code::Unavailable | Code::DeadlineExceeded | Code::Unknown | Code::Cancelled
                );
                work.requests.with(&[if unavailable { "unavailable" } else { "refused" }]).inc();
                let wait = work.backoff.wait(fastrand::f64());
                tracing::warn!(error = status.message(), ?wait, "no certificate was given");
                work.error = Some(status.message().to_owned());
                work.wait = Some(Instant::now() + wait);
            }
        }
    }

    /// Whether Envoy takes connections with it by now. Once it does, it does until mTLS is off.
    async fn see(&self, work: &mut Work, taken: bool) {
        if work.serving || !taken || work.holding.is_none() {
            return;
        }
        let stats = self.admin.stats("total_listeners_warming").await.unwrap_or_default();
        work.serving = stats.iter().any(|(name, warming)| name == WARMING && *warming == 0);
    }
}

impl Work {
    /// Whether what is held is not what it should be.
    fn wants(&self) -> bool {
        let Some(told) = &self.told else { return false };
        !told.trust.is_empty()
            && self.holding.as_ref().is_none_or(|holding| {
                holding.issued.backend != told.backend
                    || holding.issued.names != told.names
                    || holding.renew_at <= seconds()
            })
    }

    fn secrets(&self) -> Secrets {
        let identity = self.holding.as_ref().map(|Holding { key, issued, .. }| {
            secret::identity(&issued.chain, key, &issued.serial)
        });
        let (trust, version) = &self.trust;
        let trust = (!trust.is_empty()).then(|| secret::trust(trust, &version.to_string()));
        // What is trusted goes first: a certificate of a new authority is of use only to who knows it.
        Secrets::Hold(trust.into_iter().chain(identity).collect())
    }

    fn measure(&self, issued: &Issued) {
        let own = Validity { not_before: issued.not_before, not_after: issued.not_after };
        let authority = self.told.as_ref().and_then(|told| told.authority);
        for (kind, validity) in [("identity", Some(own)), ("ca", authority)] {
            if let Some(validity) = validity {
                self.expiration.with(&[kind]).set(validity.not_after as f64);
                self.lifetime.with(&[kind]).set(validity.seconds() as f64);
            }
        }
    }

    /// Tells the control plane what is held, if it does not know.
    async fn report(&mut self, caller: &Caller) {
        let certificate = self.holding.as_ref().map(|holding| &holding.issued);
        let now = (certificate.map(|it| it.serial.clone()), self.serving);
        if self.reported.as_ref() == Some(&now) {
            self.report_wait = None;
            return;
        }
        if self.report_wait.is_some_and(|at| at > Instant::now()) {
            return;
        }
        let certificate = certificate.map(|it| Issued { chain: String::new(), ..it.clone() });
        match caller.report(Held { certificate, serving: self.serving }).await {
            Ok(()) => (self.reported, self.report_wait) = (Some(now), None),
            // It is too old to be told.
            Err(status) if status.code() == Code::Unimplemented => {
                (self.reported, self.report_wait) = (Some(now), None);
            }
            Err(status) => {
                tracing::debug!(error = status.message(), "what is held could not be reported");
                self.report_wait = Some(Instant::now() + FIRST_WAIT.mul_f64(2.0 + fastrand::f64()));
            }
        }
    }

    fn show(&self, status: &watch::Sender<IdentityStatus>) {
        let certificate = self.holding.as_ref().map(|Holding { issued, .. }| CertificateStatus {
            backend: issued.backend.clone(),
            issuer: issued.issuer.clone(),
            serial: issued.serial.clone(),
            names: issued.names.clone(),
            not_before: issued.not_before,
            not_after: issued.not_after,
        });
        let shown = IdentityStatus {
            backend: self.told.as_ref().map(|told| told.backend.clone()),
            certificate,
            serving: self.serving,
            error: self.error.clone(),
        };
        status.send_if_modified(|before| {
            let differs = *before != shown;
            *before = shown;
            differs
        });
    }

    /// When there is something to do next.
    fn wake(&self, connected: bool, taken: bool) -> Instant {
        let now = Instant::now();
        let mut wake = now + LOOK;
        if !connected {
            return wake;
        }
        if self.wants() {
            wake = wake.min(self.wait.unwrap_or(now));
        } else if let Some(holding) = &self.holding {
            let left = u64::try_from(holding.renew_at.saturating_sub(seconds())).unwrap_or(0);
            wake = wake.min(now + Duration::from_secs(left));
        }
        if taken && !self.serving && self.holding.is_some() {
            wake = wake.min(now + ASK);
        }
        if let Some(at) = self.report_wait {
            wake = wake.min(at);
        }
        wake
    }
}

/// Seconds since 1970.
fn seconds() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}
