//! One collection: Envoy, then the agent itself, then the applications, into one pass.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::net::UnixStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use ursa_metrics::{Registry, Usage, pipeline};
use ursa_model::pipeline::metrics::Application;
use ursa_series::{
    Counts, DURATIONS, Escaping, Family, Format, Kind, Labels, Origin, Parser, Pass, Point, Shape,
    Sink, Source, Value,
};

use super::application::{self, Said};
use super::fetch::{Answer, FetchError};
use super::observe::Observed;
use super::output::Task;
use crate::admin::Admin;
use crate::own_metrics::OwnMetrics;

/// Collections at the same time; each asks Envoy, whose main thread answers.
const MAX_AT_ONCE: usize = 2;
/// What Envoy's series are counted under where applications are named.
pub(super) const ENVOY: &str = "envoy";
/// The same of the agent's own.
const AGENT: &str = "agent";
/// The same where the whole collection took too long.
pub(super) const ALL: &str = "all";
/// Where Envoy tells its statistics, and with native histograms.
const STATS: &str = "/stats/prometheus";
const NATIVE_STATS: &str = "/stats?format=prometheus&histogram_buckets=prometheusnative";
const PROTOBUF: &str =
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";
/// Tells Envoy and the agent apart from applications, whose numbers come from their names.
const OF_ENVOY: u64 = 0;
const OF_AGENT: u64 = 1;

/// Where metrics come from.
#[derive(Debug)]
pub(crate) struct Gather {
    admin: Admin,
    own: Arc<OwnMetrics>,
    registry: Registry,
    observed: Arc<Observed>,
    at_once: Semaphore,
    /// Series that left in the last collection of each output.
    series: Mutex<BTreeMap<String, u64>>,
    /// Applications that are asked.
    applications: Mutex<BTreeSet<String>>,
    started: u64,
}

/// Whoever wanted the metrics is gone.
#[derive(Debug)]
pub(super) struct Gone;

/// What came of a collection.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) counts: Counts,
    /// Who gave no metrics, or not all, and why.
    pub(super) problems: BTreeMap<String, String>,
}

/// How series leave.
pub(super) trait Way: Sink + Send {
    /// What comes next is from there.
    fn from(&mut self, source: Source);

    /// What comes from here on is from several sources that may have part of the same families.
    fn together(&mut self) {}

    /// Whether resource attributes are told as a series.
    fn shows_target(&self) -> bool;

    /// Lets go what is written, all of it at the end of a source.
    fn flush(&mut self) -> impl Future<Output = Result<(), Gone>> + Send;
}

impl Gather {
    pub(crate) fn new(
        admin: Admin,
        own: Arc<OwnMetrics>,
        registry: Registry,
        observed: Arc<Observed>,
    ) -> Self {
        Self {
            admin,
            own,
            registry,
            observed,
            at_once: Semaphore::new(MAX_AT_ONCE),
            series: Mutex::default(),
            applications: Mutex::default(),
            started: now(),
        }
    }

    /// Where is counted.
    pub(super) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Collects until `deadline`, or until the way's end is gone: then nothing is returned.
    pub(super) async fn collect<W: Way>(
        &self,
        name: &str,
        task: &Task,
        shape: &mut Shape,
        way: W,
        is_native: bool,
        deadline: Instant,
    ) -> Option<(W, Outcome)> {
        let (way, outcome) = self.look(task, shape, way, is_native, deadline).await?;
        self.count(name, &outcome.counts);
        Some((way, outcome))
    }

    /// Collects, and does not count it as what left.
    pub(super) async fn look<W: Way>(
        &self,
        task: &Task,
        shape: &mut Shape,
        way: W,
        is_native: bool,
        deadline: Instant,
    ) -> Option<(W, Outcome)> {
        let permit = timeout_at(deadline, self.at_once.acquire()).await.ok()?.ok()?;
        let mut pass = Pass::new(shape, way, self.observed.exemplars());
        let mut problems = BTreeMap::new();
        let collecting = self.all(task, &mut pass, is_native, deadline, &mut problems);
        let ended = timeout_at(deadline, collecting).await;
        drop(permit);
        let (way, counts) = pass.finish();
        match ended {
            Ok(Ok(())) => {}
            Ok(Err(Gone)) => return None,
            Err(_) => drop(problems.insert(ALL.to_owned(), FetchError::Slow.to_string())),
        }
        Some((way, Outcome { counts, problems }))
    }

    async fn all<W: Way>(
        &self,
        task: &Task,
        pass: &mut Pass<'_, W>,
        is_native: bool,
        deadline: Instant,
        problems: &mut BTreeMap<String, String>,
    ) -> Result<(), Gone> {
        // They are asked while Envoy tells.
        let mut asked = JoinSet::new();
        let until = deadline.min(Instant::now() + application::PATIENCE);
        for (at, application) in task.collection.applications.iter().cloned().enumerate() {
            asked.spawn(async move {
                let began = Instant::now();
                (at, application::ask(&application, until).await, began.elapsed())
            });
        }
        let began = Instant::now();
        pass.from(Origin::Envoy);
        pass.sink().from(Source { id: OF_ENVOY, start: self.envoy_started() });
        let told = self.envoy(pass, is_native).await?;
        self.note(ENVOY, began.elapsed(), told, problems);

        if !task.collection.applications.is_empty() {
            pass.sink().together();
        }
        pass.from(Origin::Own);
        pass.sink().from(Source { id: OF_AGENT, start: Some(self.started) });
        let own = self.own.text().await;
        let told = read(pass, Format::Text, own.as_bytes());
        self.note(AGENT, Duration::ZERO, told, problems);
        self.durations(pass).await?;
        if pass.sink().shows_target() {
            target(pass, &task.target);
        }
        pass.sink().flush().await?;

        let mut said = BTreeMap::new();
        while let Some(answer) = asked.join_next().await {
            if let Ok((at, answer, took)) = answer {
                said.insert(at, (answer, took));
            }
        }
        for (at, application) in task.collection.applications.iter().enumerate() {
            let (answer, took) =
                said.remove(&at).unwrap_or((Err(FetchError::Ended), Duration::ZERO));
            let told = match answer {
                Ok(said) => self.application(pass, application, said).await?,
                Err(error) => Err(error),
            };
            self.note(&application.label(), took, told, problems);
        }
        Ok(())
    }

    /// Envoy's statistics, piece by piece.
    async fn envoy<W: Way>(
        &self,
        pass: &mut Pass<'_, W>,
        is_native: bool,
    ) -> Result<Result<(), FetchError>, Gone> {
        let (path, accept) = if is_native { (NATIVE_STATS, PROTOBUF) } else { (STATS, "*/*") };
        let answer = async {
            let stream = UnixStream::connect(&self.admin.socket).await?;
            Answer::get(stream, "envoy", path, accept).await
        };
        let mut answer = match answer.await {
            Ok(answer) => answer,
            Err(error) => return Ok(Err(error)),
        };
        let mut parser = Parser::new(Format::of(&answer.content_type));
        loop {
            match answer.piece().await {
                Err(error) => return Ok(Err(error)),
                Ok(None) => break,
                Ok(Some(piece)) => {
                    if let Err(error) = parser.feed(&piece, pass) {
                        return Ok(Err(error.into()));
                    }
                    pass.sink().flush().await?;
                }
            }
        }
        Ok(parser.finish(pass).map_err(FetchError::from))
    }

    async fn application<W: Way>(
        &self,
        pass: &mut Pass<'_, W>,
        application: &Application,
        said: Said,
    ) -> Result<Result<(), FetchError>, Gone> {
        pass.from(Origin::Application(application.name.clone()));
        let id = Labels::from_iter([("application", application.label())]).identity(OF_AGENT);
        pass.sink().from(Source { id, start: None });
        let mut parser = Parser::new(said.format);
        for piece in said.pieces {
            if let Err(error) = parser.feed(&piece, pass) {
                return Ok(Err(error.into()));
            }
            pass.sink().flush().await?;
        }
        let told = parser.finish(pass).map_err(FetchError::from);
        pass.sink().flush().await?;
        Ok(told)
    }

    /// What spans say of requests.
    async fn durations<W: Way>(&self, pass: &mut Pass<'_, W>) -> Result<(), Gone> {
        let Some(durations) = self.observed.durations() else { return Ok(()) };
        pass.from(Origin::Spans);
        if pass.family(&DURATIONS) {
            for one in durations.iter() {
                pass.point(&Point {
                    labels: &one.labels,
                    value: Value::Histogram(&one.histogram),
                    time: None,
                    created: Some(one.created),
                    exemplars: &one.exemplars,
                });
                pass.sink().flush().await?;
            }
            pass.end();
        }
        pass.from(Origin::Own);
        Ok(())
    }

    /// When Envoy's process started, if one runs.
    fn envoy_started(&self) -> Option<u64> {
        let started = Usage::started(self.own.envoy_pid()?)?;
        Some(nanoseconds(Duration::try_from_secs_f64(started).ok()?))
    }

    fn note(
        &self,
        who: &str,
        took: Duration,
        told: Result<(), FetchError>,
        problems: &mut BTreeMap<String, String>,
    ) {
        {
            // Held while it counts: of an application that is gone by now nothing may be counted any more.
            let known = self.applications.lock().unwrap_or_else(PoisonError::into_inner);
            if [ENVOY, AGENT].contains(&who) || known.contains(who) {
                if !took.is_zero() {
                    let seconds = self.registry.histogram(&pipeline::SCRAPE_SECONDS);
                    seconds.with(&[who]).observe(took.as_secs_f64());
                }
                let failures = self.registry.counter(&pipeline::SCRAPE_FAILURES).with(&[who]);
                failures.inc_by(u64::from(told.is_err()));
            }
        }
        if let Err(error) = told {
            tracing::debug!(application = who, %error, "no metrics, or not all");
            problems.insert(who.to_owned(), error.to_string());
        }
    }

    fn count(&self, name: &str, counts: &Counts) {
        let overflow = self.registry.counter(&pipeline::SERIES_OVERFLOW);
        for (family, folded) in &counts.folded {
            overflow.with(&[family]).inc_by(*folded);
        }
        let mut series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        series.insert(name.to_owned(), counts.series);
        let most = series.values().max().copied().unwrap_or_default();
        self.registry.gauge(&pipeline::SERIES).with(&[]).set(most as f64);
    }

    /// Only these outputs and applications are there: what was counted of others is forgotten.
    pub(super) fn keep(&self, outputs: &BTreeSet<String>, applications: BTreeSet<String>) {
        let mut series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        series.retain(|name, _| outputs.contains(name));
        let mut known = self.applications.lock().unwrap_or_else(PoisonError::into_inner);
        for gone in
            known.difference(&applications).filter(|gone| ![ENVOY, AGENT].contains(&&***gone))
        {
            self.registry.counter(&pipeline::SCRAPE_FAILURES).remove(&[gone]);
            self.registry.histogram(&pipeline::SCRAPE_SECONDS).remove(&[gone]);
        }
        *known = applications;
    }
}

fn read(sink: &mut impl Sink, format: Format, bytes: &[u8]) -> Result<(), FetchError> {
    let mut parser = Parser::new(format);
    parser.feed(bytes, sink)?;
    Ok(parser.finish(sink)?)
}

/// The resource attributes, as OpenTelemetry's "Prometheus and OpenMetrics Compatibility" has them.
fn target(sink: &mut impl Sink, attributes: &BTreeMap<String, String>) {
    let help = "Resource attributes of what is observed.";
    let family = Family { name: "target_info", kind: Kind::Info, help, unit: "" };
    if attributes.is_empty() || !sink.family(&family) {
        return;
    }
    // As labels they are called what a push makes of them.
    let label = |(name, value): (&String, &String)| {
        let mut label = String::new();
        Escaping::Underscores.escape(name, &mut label);
        (label, value.clone())
    };
    let labels: Labels = attributes.iter().map(label).collect();
    let value = Value::Number(1.0);
    sink.point(&Point { labels: &labels, value, time: None, created: None, exemplars: &[] });
    sink.end();
}

/// Nanoseconds since 1970.
pub(super) fn now() -> u64 {
    nanoseconds(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn nanoseconds(since: Duration) -> u64 {
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
