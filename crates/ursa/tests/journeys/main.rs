//! Whole journeys through the finished program: real processes, real Envoys, a real Collector.

#[cfg(test)]
mod access_logs;
#[cfg(test)]
mod b3;
#[cfg(test)]
mod baggage;
#[cfg(test)]
mod border;
#[cfg(test)]
#[path = "../../../ursa-pipeline/tests/collector/certificates.rs"]
mod certificates;
#[cfg(test)]
mod collector;
#[cfg(test)]
mod commands;
#[cfg(test)]
mod compatibility;
#[cfg(test)]
mod datadog;
#[cfg(test)]
#[path = "../../../ursa-metrics/tests/exposition/mod.rs"]
mod exposition;
#[cfg(test)]
mod gateway;
#[cfg(test)]
mod itself;
#[cfg(test)]
mod live_policy;
#[cfg(test)]
mod looks;
#[cfg(test)]
mod mesh;
#[cfg(test)]
mod metrics;
#[cfg(test)]
mod mtls;
#[cfg(test)]
mod neighbours;
#[cfg(test)]
mod plan;
#[cfg(test)]
mod prometheus;
#[cfg(test)]
mod propagation;
#[cfg(test)]
mod reference;
#[cfg(test)]
mod request;
#[cfg(test)]
mod resilience;
#[cfg(test)]
mod rotel;
#[cfg(test)]
mod routes;
#[cfg(test)]
mod sampling;
#[cfg(test)]
mod telemetry;
#[cfg(test)]
mod trace_backends;
#[cfg(test)]
mod up;
#[cfg(test)]
mod zipkin;
