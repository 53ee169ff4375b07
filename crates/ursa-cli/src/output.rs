//! The only place that prints.
//!
//! Results go to standard output, everything else to standard error. Colour is used on a terminal only, and
//! nothing depends on it.

use std::io::{self, IsTerminal, Write as _};

use clap::ValueEnum;
use serde::Serialize;
use serde_json::Value;

use crate::failure::{Failure, Outcome};

/// When to colour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    // No doc comments: with them, every command's help would be twice as long.
    #[default]
    Auto,
    Always,
    Never,
}

/// The form of a result.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    #[default]
    Table,
    Json,
    Yaml,
}

/// How a document is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Notation {
    Json,
    Yaml,
}

impl From<Notation> for Form {
    fn from(notation: Notation) -> Self {
        match notation {
            Notation::Json => Self::Json,
            Notation::Yaml => Self::Yaml,
        }
    }
}

/// Where results and messages go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    /// Whether results are coloured.
    pub(crate) color: bool,
    error_color: bool,
}

impl Output {
    /// Asks the terminal, unless told.
    pub(crate) fn from_terminal(color: Color) -> Self {
        let wanted = |terminal: bool| match color {
            Color::Auto => terminal && !crate::environment::is_set("NO_COLOR"),
            Color::Always => true,
            Color::Never => false,
        };
        Self {
            color: wanted(io::stdout().is_terminal()),
            error_color: wanted(io::stderr().is_terminal()),
        }
    }

    /// Prints a result. A closed pipe (`| head`) ends the output quietly.
    #[expect(clippy::unused_self, reason = "an output is what prints, whatever it holds")]
    pub(crate) fn result(self, text: &str) -> Outcome<()> {
        let mut stdout = io::stdout().lock();
        let written = stdout
            .write_all(text.as_bytes())
            .and_then(|()| if !text.ends_with('\n') { stdout.write_all(b"\n") } else { Ok(()) });
        match written.and_then(|()| stdout.flush()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(Failure::because("cannot write the result", &error))
            }
            _ => Ok(()),
        }
    }

    /// Prints a result as JSON or YAML.
    pub(crate) fn structured(self, form: Form, value: &impl Serialize) -> Outcome<()> {
        let value = serde_json::to_value(value)
            .map_err(|error| Failure::because("cannot encode the result", &error))?;
        self.result(&structured(form, &value))
    }

    /// Tells what is going on.
    #[expect(clippy::unused_self, reason = "an output is what prints, whatever it holds")]
    pub(crate) fn note(self, text: &str) {
        line(&format!("{text}\n"));
    }

    /// A step of something longer: `✓ text`, or `text` in plain output.
    pub(crate) fn done(self, text: &str) {
        if self.error_color {
            line(&format!("\x1b[32m✓\x1b[0m {text}\n"));
        } else {
            line(&format!("{text}\n"));
        }
    }

    /// Something that works, though not as one may think.
    pub(crate) fn warning(self, text: &str) {
        line(&format!("{} {text}\n", self.word("33", "warning:")));
    }

    /// The end of a command that failed.
    pub(crate) fn failure(self, failure: &Failure) {
        line(&format!("{} {}\n", self.word("31;1", "error:"), failure.message()));
        if let Some(help) = failure.advice() {
            line(&format!("{} {help}\n", self.word("36", " help:")));
        }
    }

    fn word(self, style: &str, word: &str) -> String {
        if self.error_color { format!("\x1b[{style}m{word}\x1b[0m") } else { word.to_owned() }
    }
}

/// Tells the person, not the program behind a pipe.
fn line(text: &str) {
    // With standard error gone there is nobody left to tell.
    drop(io::stderr().lock().write_all(text.as_bytes()));
}

fn structured(form: Form, value: &Value) -> String {
    match form {
        Form::Yaml => ursa_model::document::to_yaml(value),
        Form::Json | Form::Table => {
            serde_json::to_string_pretty(value).expect("a JSON value is always encodable")
        }
    }
}

/// Columns and rows of the terminal; of what is none, or does not tell, what is easily read.
pub(crate) fn terminal_size() -> (usize, usize) {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok();
    let size = size.filter(|size| size.ws_col > 0 && size.ws_row > 0);
    size.map_or((100, 50), |size| (size.ws_col.into(), size.ws_row.into()))
}

/// `1 trace`, `2 traces`.
pub(crate) fn counted(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// Columns, each as wide as its widest cell, two spaces apart. The header is in capitals.
pub(crate) fn table(header: &[&str], rows: &[impl AsRef<[String]>]) -> String {
    let mut widths: Vec<_> = header.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row.as_ref()) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    let mut line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut padded = String::new();
        for (cell, width) in cells.zip(&widths) {
            padded.push_str(cell);
            padded.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.chars().count()) + 2));
        }
        text.push_str(padded.trim_end());
        text.push('\n');
    };
    line(&mut header.iter().copied());
    for row in rows {
        line(&mut row.as_ref().iter().map(String::as_str));
    }
    text
}
