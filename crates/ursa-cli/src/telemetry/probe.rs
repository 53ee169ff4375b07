//! What came of trying a backend: a line for each step, and below one that failed what to do.

use ursa_pipeline::probe::{Certificate, Report, Step, StepKind};

use crate::paint::{Paint, Style, harmless};

/// The report under the backend's name.
pub(crate) fn draw(name: &str, report: &Report, color: bool) -> String {
    let paint = Paint::new(color);
    let mut text = String::new();
    for place in &report.places {
        let head = paint.text(Style::Bold, &harmless(name));
        let endpoint = harmless(&place.endpoint);
        text += &[&head, "  ", &place.protocol, " ", &endpoint, "\n"].concat();
        for step in &place.steps {
            text += &line(step.ok, step_name(step), &step.detail, step.mend.as_deref(), paint);
            for certificate in &step.certificates {
                text += &(paint.text(Style::Dim, &shown(certificate)) + "\n");
            }
        }
    }
    for verdict in &report.verdicts {
        // The step that failed has said it.
        let unsent = verdict.detail.starts_with("not sent: ");
        let (detail, mend) = if unsent {
            ("not sent", None)
        } else {
            (verdict.detail.as_str(), verdict.mend.as_deref())
        };
        text += &line(verdict.ok, &verdict.signal.to_string(), detail, mend, paint);
    }
    text
}

fn line(ok: bool, what: &str, detail: &str, mend: Option<&str>, paint: Paint) -> String {
    let (mark, style) = if ok { ("✓", Style::Good) } else { ("✗", Style::Failed) };
    let mut line = format!("  {} {what:8} {}\n", paint.text(style, mark), harmless(detail));
    if let Some(mend) = mend {
        let mend = paint.text(Style::Doubtful, &harmless(mend));
        line += &["             ", &mend, "\n"].concat();
    }
    line
}

fn shown(certificate: &Certificate) -> String {
    let Certificate { subject, issuer, names, not_after, .. } = certificate;
    let names = if names.is_empty() { String::new() } else { format!(" for {}", names.join(", ")) };
    let until = not_after.strftime("%Y-%m-%d");
    format!(
        "             {}",
        harmless(&format!("{subject}{names}, signed by {issuer}, until {until}"))
    )
}

fn step_name(step: &Step) -> &'static str {
    match step.kind {
        StepKind::Settings => "settings",
        StepKind::Dns => "dns",
        StepKind::Tcp => "tcp",
        StepKind::Proxy => "proxy",
        StepKind::Tls => "tls",
    }
}
