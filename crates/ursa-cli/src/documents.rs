//! Files of resources, and violations shown where they stand in them.

use std::fmt::Write as _;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Args;
use miette::{
    GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteDiagnostic, NamedSource, Report,
};
use serde_json::{Value, json};
use ursa_model::document::{self, Document};
use ursa_model::gateway;
use ursa_model::report::Violation;

use crate::failure::{Doing as _, Failure, Outcome};
use crate::output::{Output, counted};

/// The largest file that is read: 16 MiB.
const MAX_FILE: u64 = 16 << 20;

/// Where resources come from.
#[derive(Debug, Clone, Args)]
pub(crate) struct Files {
    /// A file, a folder (its .yaml, .yml and .json files), or - for standard input. May be repeated.
    #[arg(short = 'f', long = "filename", required = true, value_name = "FILE")]
    filename: Vec<PathBuf>,
}

/// A file that was read.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    /// How messages call it.
    pub(crate) name: String,
    /// What is in it.
    pub(crate) text: String,
}

impl Source {
    /// Whether it is a gateway file.
    pub(crate) fn is_gateway(&self) -> bool {
        gateway::is_gateway(&self.text)
    }
}

impl Files {
    /// Reads them all, folders in the order of names.
    pub(crate) fn read(&self) -> Outcome<Vec<Source>> {
        read(&self.filename)
    }
}

/// Reads files and folders.
pub(crate) fn read(paths: &[PathBuf]) -> Outcome<Vec<Source>> {
    let mut sources = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            sources.push(Source {
                name: "<stdin>".to_owned(),
                text: bounded(std::io::stdin(), path)?,
            });
        } else if path.is_dir() {
            let found = files_of(path)?;
            if found.is_empty() {
                return Err(Failure::unreadable(format!(
                    "no .yaml, .yml or .json file in {}",
                    path.display()
                )));
            }
            for file in found {
                sources.push(read_file(&file)?);
            }
        } else {
            sources.push(read_file(path)?);
        }
    }
    Ok(sources)
}

fn files_of(folder: &Path) -> Outcome<Vec<PathBuf>> {
    let unreadable = |error: std::io::Error| {
        Failure::unreadable(format!("cannot read {}: {error}", folder.display()))
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let wanted = path
            .extension()
            .and_then(|e| e.to_str())
            .is_some_and(|e| matches!(e, "yaml" | "yml" | "json"));
        if wanted && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn read_file(path: &Path) -> Outcome<Source> {
    let file = fs::File::open(path)
        .map_err(|error| Failure::unreadable(format!("cannot read {}: {error}", path.display())))?;
    Ok(Source { name: path.display().to_string(), text: bounded(file, path)? })
}

fn bounded(reader: impl std::io::Read, path: &Path) -> Outcome<String> {
    let mut text = String::new();
    let read = reader
        .take(MAX_FILE + 1)
        .read_to_string(&mut text)
        .map_err(|error| Failure::unreadable(format!("cannot read {}: {error}", path.display())))?;
    if read as u64 > MAX_FILE {
        return Err(Failure::unreadable(format!("{} is larger than 16 MiB", path.display())));
    }
    Ok(text)
}

/// What sources say.
#[derive(Debug)]
pub(crate) struct Parsed {
    /// The documents of each source.
    pub(crate) texts: Vec<Vec<Document>>,
    /// What is wrong in them.
    pub(crate) refused: Vec<Value>,
    /// What is accepted, though its writer should know.
    pub(crate) warned: Vec<Value>,
}

/// Sources as the control plane takes them.
pub(crate) fn texts(sources: &[Source]) -> Value {
    let text = |source: &Source| json!({"text": source.text, "file": source.name, "line": 1});
    sources.iter().map(text).collect()
}

/// Parses sources as the control plane does; gateway files are refused.
pub(crate) fn parse(sources: &[Source]) -> Parsed {
    parse_with(sources, |index, _| vec![no_resources(index)])
}

/// Parses sources, of which some may be gateway files.
pub(crate) fn parse_any(sources: &[Source]) -> Parsed {
    parse_with(sources, |index, source| {
        let violations = gateway::parse(&source.text).violations.into_iter();
        violations.map(|violation| value(&Violation { document: index, ..violation })).collect()
    })
}

/// What is said of sources that are gateway files, where only resources are wanted.
pub(crate) fn refuse_gateways(sources: &[Source]) -> Vec<Value> {
    let found = sources.iter().enumerate().filter(|(_, source)| source.is_gateway());
    found.map(|(index, _)| no_resources(index)).collect()
}

fn parse_with(sources: &[Source], of_gateway: impl Fn(usize, &Source) -> Vec<Value>) -> Parsed {
    let kinds = ursa_policies::kinds();
    let mut all = Parsed { texts: Vec::new(), refused: Vec::new(), warned: Vec::new() };
    for (index, source) in sources.iter().enumerate() {
        if source.is_gateway() {
            let (refused, warned): (Vec<_>, Vec<_>) = of_gateway(index, source)
                .into_iter()
                .partition(|violation| violation["severity"] == "refused");
            all.refused.extend(refused);
            all.warned.extend(warned);
            all.texts.push(Vec::new());
            continue;
        }
        let parsed = document::parse(&source.text, &kinds);
        all.texts.push(parsed.documents);
        for mut violation in parsed.violations {
            violation.document = index;
            let value = serde_json::to_value(&violation).expect("a violation is plain data");
            if violation.is_refusal() { &mut all.refused } else { &mut all.warned }.push(value);
        }
    }
    all
}

/// What is said of a gateway file where resources are wanted.
fn no_resources(index: usize) -> Value {
    serde_json::json!({
        "severity": "refused",
        "document": index,
        "path": "",
        "place": {"line": 1, "column": 1},
        "message": "this is a gateway file, which no control plane keeps",
        "hint": "run it: `ursa gateway -f FILE`; check it: `ursa validate -f FILE`",
    })
}

/// A violation as the control plane writes it.
pub(crate) fn value(violation: &Violation) -> Value {
    serde_json::to_value(violation).expect("a violation is plain data")
}

/// The source that a violation is in: the control plane counts the texts that it was sent.
fn source_of<'a>(violation: &Value, sources: &'a [Source]) -> Option<&'a Source> {
    sources.get(usize::try_from(violation["document"].as_u64()?).ok()?)
}

/// Puts into violations the names of the files that they are in, for programs.
pub(crate) fn name_files(violations: &mut [Value], sources: &[Source]) {
    for violation in violations {
        if let Some(source) = source_of(violation, sources) {
            violation["file"] = source.name.as_str().into();
        }
    }
}

/// `file:line:column: path: message (hint)`.
pub(crate) fn one_line(violation: &Value, sources: &[Source]) -> String {
    let mut line = String::new();
    if let Some(source) = source_of(violation, sources) {
        line.push_str(&source.name);
        line.push(':');
    }
    if let Some((row, column)) = place(violation) {
        write!(line, "{row}:{column}:").expect("writing to a string does not fail");
    }
    if !line.is_empty() {
        line.push(' ');
    }
    line.push_str(&headline(violation));
    if let Some(hint) = violation["hint"].as_str() {
        write!(line, " ({hint})").expect("writing to a string does not fail");
    }
    line
}

/// Shows every violation, and says that therefore nothing was changed.
pub(crate) fn refusal(
    violations: &[Value],
    sources: &[Source],
    output: Output,
) -> Outcome<Failure> {
    let count = show(violations, sources, output)?;
    Ok(Failure::new(format!("{count}; nothing was changed")))
}

/// Shows every violation, on a terminal with the lines it is about, and the warnings among them as such. Returns how many
/// violations there are, in words.
pub(crate) fn show(violations: &[Value], sources: &[Source], output: Output) -> Outcome<String> {
    let mut count = 0;
    for violation in violations {
        if is_warning(violation) {
            output.warning(&one_line(violation, sources));
            continue;
        }
        count += 1;
        match (output.color, source_of(violation, sources), place(violation)) {
            (true, Some(source), Some(place)) => output.note(&pictured(violation, source, place)?),
            _ => output.note(&one_line(violation, sources)),
        }
    }
    Ok(counted(count, "violation"))
}

/// Whether it is something that its writer should know, and not wrong. The control plane tells both together.
pub(crate) fn is_warning(violation: &Value) -> bool {
    violation["severity"] == "warning"
}

fn pictured(violation: &Value, source: &Source, (line, column): (usize, usize)) -> Outcome<String> {
    let message = violation["message"].as_str().unwrap_or_default();
    let offset = offset(&source.text, line, column);
    let mut diagnostic = MietteDiagnostic::new(headline(violation))
        .with_label(LabeledSpan::at(offset..offset + word(&source.text, offset), message));
    if let Some(hint) = violation["hint"].as_str() {
        diagnostic = diagnostic.with_help(hint);
    }
    let report = Report::new(diagnostic)
        .with_source_code(NamedSource::new(&source.name, source.text.clone()));
    let mut text = String::new();
    GraphicalReportHandler::new_themed(GraphicalTheme::unicode())
        .render_report(&mut text, report.as_ref())
        .doing("draw a violation")?;
    Ok(text)
}

fn headline(violation: &Value) -> String {
    let message = violation["message"].as_str().unwrap_or_default();
    match violation["path"].as_str() {
        Some(path) if !path.is_empty() => format!("{path}: {message}"),
        _ => message.to_owned(),
    }
}

fn place(violation: &Value) -> Option<(usize, usize)> {
    let number = |name: &str| usize::try_from(violation["place"][name].as_u64()?).ok();
    Some((number("line")?, number("column")?))
}

/// The byte offset of a 1-based line and column.
fn offset(text: &str, line: usize, column: usize) -> usize {
    let start: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let in_line: usize = text
        .get(start..)
        .unwrap_or_default()
        .chars()
        .take(column.saturating_sub(1))
        .take_while(|c| *c != '\n')
        .map(char::len_utf8)
        .sum();
    start + in_line
}

/// The length of the word that begins at `offset`, at least one byte where there is one.
fn word(text: &str, offset: usize) -> usize {
    let rest = text.get(offset..).unwrap_or_default();
    let end = rest.find(|c: char| c.is_whitespace() || c == ':' || c == ',').unwrap_or(rest.len());
    end.max(rest.chars().next().map_or(0, char::len_utf8).min(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_violation_is_shown_on_one_line_with_its_file_its_place_and_a_hint() {
        let sources =
            ["o.yaml", "p.yaml"].map(|name| Source { name: name.to_owned(), text: String::new() });
        let violation = json!({
            "document": 1, "path": "spec.default.sampling", "place": {"line": 3, "column": 5},
            "message": "unknown field `samplin`", "hint": "did you mean `sampling`?"
        });
        assert_eq!(
            one_line(&violation, &sources),
            "p.yaml:3:5: spec.default.sampling: unknown field `samplin` (did you mean `sampling`?)"
        );
    }

    #[test]
    fn warnings_beside_violations_are_not_counted_as_such() {
        let output = Output::from_terminal(crate::output::Color::Never);
        let of = |severities: &[&str]| {
            let value = |severity: &&str| json!({"severity": severity, "message": "m"});
            let violations: Vec<_> = severities.iter().map(value).collect();
            show(&violations, &[], output).unwrap()
        };
        assert_eq!(of(&["warning", "refused"]), "1 violation");
        assert_eq!(of(&["refused", "warning", "refused", "warning"]), "2 violations");
    }

    #[test]
    fn places_become_offsets_in_lines_with_wide_characters() {
        let text = "a: 1\nä: ö x\n";
        assert_eq!(offset(text, 1, 1), 0);
        assert_eq!(text.get(offset(text, 2, 4)..), Some("ö x\n"));
        assert_eq!(word(text, offset(text, 2, 4)), 'ö'.len_utf8());
        assert_eq!(offset(text, 9, 9), text.len());
        assert_eq!(word(text, text.len()), 0);
    }
}
