//! The way of a trace's spans, stage by stage.

use ursa_pipeline::{AuditStage, AuditVerdict, AuditedSpan, Stage};

use super::Audited;
use crate::output::counted;
use crate::paint::{Cell, Paint, Style, duration, harmless, table};

/// What all places remember of the trace: a row for each stage, and below how far back each remembers.
pub(crate) fn draw(trace: &str, places: &[Audited], color: bool) -> String {
    let paint = Paint::new(color);
    let mut rows = Vec::new();
    let mut notes = String::new();
    for place in places {
        let name = harmless(&place.proxy);
        let mut note = |style, words: &str| {
            notes += &(paint.text(style, &format!("{name}: {}", harmless(words))) + "\n");
        };
        if let Some(error) = &place.error {
            note(Style::Failed, &format!("says nothing: {error}"));
        }
        let Some(audit) = &place.audit else {
            if place.error.is_none() {
                note(Style::Doubtful, "has no pipeline");
            }
            continue;
        };
        rows.extend(audit.spans.iter().flat_map(|span| span_rows(&name, span)));
        let window = &audit.window;
        note(
            Style::Dim,
            &if window.spans == 0 {
                "remembers no spans".to_owned()
            } else {
                format!(
                    "remembers {} of the last {}{}",
                    counted(window.spans as u64, "span"),
                    duration(window.seconds * 1000.0),
                    if window.spans >= window.capacity {
                        "; what came before is forgotten"
                    } else {
                        ""
                    }
                )
            },
        );
    }
    let mut text = if rows.is_empty() {
        format!("no span of {trace} is remembered\n")
    } else {
        table(&["SPAN", "AT", "RECEIVED", "STAGE", "VERDICT", "BACKEND", "WHY"], &rows, paint)
    };
    if !notes.is_empty() {
        text.push('\n');
        text += &notes;
    }
    text
}

fn span_rows(place: &str, span: &AuditedSpan) -> Vec<Vec<Cell>> {
    let plain = |text: &str| (Style::Plain, harmless(text));
    let rows = span.stages.iter().enumerate().map(|(index, stage)| {
        let (verdict_style, verdict) = verdict(stage);
        let source =
            matches!(stage.stage, AuditStage::Receive).then(|| format!("by {}", span.source));
        let why: Vec<_> =
            source.iter().chain(&stage.rule).chain(&stage.detail).map(String::as_str).collect();
        let first = |text: &str| if index == 0 { harmless(text) } else { String::new() };
        vec![
            (Style::Bold, first(&span.span_id)),
            (Style::Plain, first(place)),
            (Style::Dim, first(&time_of_day(&span.received_at))),
            (Style::Plain, stage_name(stage.stage).to_owned()),
            (verdict_style, verdict.to_owned()),
            plain(stage.backend.as_deref().unwrap_or_default()),
            plain(&why.join(": ")),
        ]
    });
    rows.collect()
}

fn stage_name(stage: AuditStage) -> &'static str {
    match stage {
        AuditStage::Receive => "receive",
        AuditStage::Process => "process",
        AuditStage::Queue => "queue",
        AuditStage::Deliver => "deliver",
    }
}

fn verdict(stage: &Stage) -> (Style, &'static str) {
    match stage.verdict {
        AuditVerdict::Kept => (Style::Plain, "kept"),
        AuditVerdict::Dropped => (Style::Failed, "dropped"),
        AuditVerdict::Waiting => (Style::Doubtful, "waiting"),
        AuditVerdict::Delivered => (Style::Good, "delivered"),
        AuditVerdict::PartlyRejected => (Style::Doubtful, "partly rejected"),
        AuditVerdict::Forgotten => (Style::Dim, "forgotten"),
    }
}

/// `12:00:00.250Z` of an RFC 3339 time.
fn time_of_day(time: &str) -> String {
    match time.parse::<jiff::Timestamp>() {
        Ok(time) => time.strftime("%H:%M:%S.%3fZ").to_string(),
        Err(_) => time.to_owned(),
    }
}
