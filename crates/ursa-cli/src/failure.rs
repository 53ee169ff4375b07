//! How a command fails: what is wrong, why, and what to do about it.

use std::fmt::{self, Write as _};
use std::process::ExitCode;

/// A command's failure, in words for the person who typed it.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    help: Option<String>,
    code: u8,
}

/// What a command returns.
pub(crate) type Outcome<T = ExitCode> = Result<T, Failure>;

impl Failure {
    /// A failure with exit code 1.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None, code: 1 }
    }

    /// A failure whose input could not be read or understood: exit code 2.
    pub(crate) fn unreadable(message: impl Into<String>) -> Self {
        Self { code: 2, ..Self::new(message) }
    }

    /// The same with exit code 1.
    pub(crate) fn ordinary(self) -> Self {
        Self { code: 1, ..self }
    }

    /// Wraps an error and all its causes: `what: error: cause: cause`.
    pub(crate) fn because(what: impl fmt::Display, error: &dyn std::error::Error) -> Self {
        let mut message = format!("{what}: {error}");
        let mut source = error.source();
        while let Some(cause) = source {
            let text = cause.to_string();
            if !message.ends_with(&text) {
                write!(message, ": {text}").expect("writing to a string does not fail");
            }
            source = cause.source();
        }
        Self::new(message)
    }

    /// Adds what to do about it.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// What is wrong.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// What to do, if known.
    pub(crate) fn advice(&self) -> Option<&str> {
        self.help.as_deref()
    }

    /// The process's exit code.
    pub(crate) fn code(&self) -> ExitCode {
        ExitCode::from(self.code)
    }
}

/// `result.doing("read the token")?`: `cannot read the token: …`.
pub(crate) trait Doing<T> {
    /// Says what could not be done.
    fn doing(self, what: impl fmt::Display) -> Outcome<T>;
}

impl<T, E: std::error::Error> Doing<T> for Result<T, E> {
    fn doing(self, what: impl fmt::Display) -> Outcome<T> {
        self.map_err(|error| Failure::because(format!("cannot {what}"), &error))
    }
}
