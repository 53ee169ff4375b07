//! The figures: medians, beside each other and beside what is asked for.

use serde_json::{Value, json};

use super::drain::Drain;
use super::idle::{BATCH_MILLISECONDS, Delay};
use super::program::Program;
use super::work::{Cost, Work};
use crate::bench::statistics::median;
use crate::project::tell;

/// Everything that was measured.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Each round of each program's work.
    pub(crate) costs: Vec<(Work, Program, Cost)>,
    /// MB held while nothing happens.
    pub(crate) idle: Vec<(Program, f64)>,
    /// Delays at a moderate rate.
    pub(crate) delays: Vec<(Program, Delay)>,
    /// A backend's return.
    pub(crate) drains: Vec<(Program, Drain)>,
}

impl Report {
    /// For people.
    pub(crate) fn table(&self) {
        if !self.costs.is_empty() {
            let head = ["CPU-s per", "peak", "spans", "Ursa is cheaper"];
            tell(&format!(
                "{:34} {:20} {:>10} {:>9} {:>10}   {}",
                "", "", head[0], head[1], head[2], head[3]
            ));
            let head = ["million", "RSS, MB", "a second", "(asked for, than the better)"];
            tell(&format!(
                "{:34} {:20} {:>10} {:>9} {:>10}   {}",
                "work", "program", head[0], head[1], head[2], head[3]
            ));
        }
        for (work, programs) in self.works() {
            let ours = programs.iter().find(|(program, _)| *program == Program::Ursa);
            for (at, (program, cost)) in programs.iter().enumerate() {
                let name = if at == 0 { work.name } else { "" };
                let ratio = match (ours, program) {
                    (_, Program::Ursa) => work
                        .target
                        .map_or_else(String::new, |target| format!("({target:.0} times)")),
                    (Some((_, ours)), _) => format!("{:.1} times", cost.cpu / ours.cpu),
                    (None, _) => String::new(),
                };
                let lost =
                    if cost.lost > 0 { format!("   lost {}", cost.lost) } else { String::new() };
                tell(&format!(
                    "{name:34} {:20} {:>10.2} {:>9.1} {:>10.0}   {ratio}{lost}",
                    program.name(),
                    cost.cpu,
                    cost.peak,
                    cost.speed,
                ));
            }
        }
        for program in Self::programs(&self.idle) {
            let resident = median(&Self::of(&self.idle, program, |resident| *resident));
            tell(&format!(
                "idle for 10 s                      {:20} {resident:.1} MB   (Ursa: 8 MB)",
                program.name()
            ));
        }
        for program in Self::programs(&self.delays) {
            let figure = |read: fn(&Delay) -> f64| median(&Self::of(&self.delays, program, read));
            tell(&format!(
                "delay at 2,000 spans a second      {:20} p50 {:.1} ms, p99 {:.1} ms, most {:.1} ms   (Ursa: p99 {:.0} ms; batches wait {BATCH_MILLISECONDS:.0})",
                program.name(),
                figure(|delay| delay.median),
                figure(|delay| delay.p99),
                figure(|delay| delay.most),
                BATCH_MILLISECONDS + 5.0,
            ));
        }
        for program in Self::programs(&self.drains) {
            let figure = |read: fn(&Drain) -> f64| median(&Self::of(&self.drains, program, read));
            tell(&format!(
                "a backend's return                 {:20} {:.0} spans a second after {:.1} s; new spans meanwhile p50 {:.0} ms, p99 {:.0} ms; lost {:.0}, twice {:.0}; peak {:.1} MB   (Ursa: 100,000)",
                program.name(),
                figure(|drain| drain.speed),
                figure(|drain| drain.noticed),
                figure(|drain| drain.new.median),
                figure(|drain| drain.new.p99),
                figure(|drain| drain.lost as f64),
                figure(|drain| drain.repeated as f64),
                figure(|drain| drain.peak),
            ));
        }
    }

    /// For programs.
    pub(crate) fn json(&self) -> Value {
        let works: Vec<Value> = self
            .works()
            .into_iter()
            .flat_map(|(work, programs)| {
                programs.into_iter().map(move |(program, cost)| {
                    json!({
                        "work": work.name,
                        "program": program.name(),
                        "cpu_seconds_per_million_spans": cost.cpu,
                        "peak_rss_megabytes": cost.peak,
                        "spans_per_second": cost.speed,
                        "bytes_per_span": cost.bytes,
                        "lost_spans": cost.lost,
                        "pushed_back_requests": cost.pushed_back,
                        "target_ratio": work.target,
                    })
                })
            })
            .collect();
        let idle = self.idle.iter().map(
            |(program, resident)| json!({"program": program.name(), "rss_megabytes": resident}),
        );
        let delay =
            |delay: &Delay| json!({"p50": delay.median, "p99": delay.p99, "most": delay.most});
        let delays = self.delays.iter().map(|(program, figures)| {
            json!({"program": program.name(), "batch_milliseconds": BATCH_MILLISECONDS, "milliseconds": delay(figures)})
        });
        let drains = self.drains.iter().map(|(program, drain)| {
            json!({
                "program": program.name(),
                "spans_per_second": drain.speed,
                "noticed_after_seconds": drain.noticed,
                "new_spans_milliseconds": delay(&drain.new),
                "lost_spans": drain.lost,
                "repeated_spans": drain.repeated,
                "peak_rss_megabytes": drain.peak,
            })
        });
        json!({
            "works": works,
            "idle": idle.collect::<Vec<_>>(),
            "delays": delays.collect::<Vec<_>>(),
            "drains": drains.collect::<Vec<_>>(),
        })
    }

    /// The medians of every program's rounds, in the order of the works.
    fn works(&self) -> Vec<(&Work, Vec<(Program, Cost)>)> {
        let mut works: Vec<(&Work, Vec<(Program, Cost)>)> = Vec::new();
        for (work, program, _) in &self.costs {
            let rounds: Vec<&Cost> = self
                .costs
                .iter()
                .filter(|(other, by, _)| other.name == work.name && by == program)
                .map(|(.., cost)| cost)
                .collect();
            let at =
                works.iter().position(|(other, _)| other.name == work.name).unwrap_or_else(|| {
                    works.push((work, Vec::new()));
                    works.len() - 1
                });
            if works[at].1.iter().all(|(other, _)| other != program) {
                works[at].1.push((*program, middle(&rounds)));
            }
        }
        works
    }

    fn programs<T>(of: &[(Program, T)]) -> Vec<Program> {
        let mut programs: Vec<Program> = of.iter().map(|(program, _)| *program).collect();
        programs.sort_unstable();
        programs.dedup();
        programs
    }

    fn of<T>(all: &[(Program, T)], program: Program, read: impl Fn(&T) -> f64) -> Vec<f64> {
        all.iter().filter(|(by, _)| *by == program).map(|(_, figures)| read(figures)).collect()
    }
}

fn middle(rounds: &[&Cost]) -> Cost {
    let figure =
        |read: fn(&Cost) -> f64| median(&rounds.iter().map(|cost| read(cost)).collect::<Vec<_>>());
    Cost {
        cpu: figure(|cost| cost.cpu),
        peak: figure(|cost| cost.peak),
        speed: figure(|cost| cost.speed),
        bytes: figure(|cost| cost.bytes),
        lost: rounds.iter().map(|cost| cost.lost).sum(),
        pushed_back: rounds.iter().map(|cost| cost.pushed_back).sum(),
    }
}
