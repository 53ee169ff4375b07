//! The texts of access logs: `%PROTOCOL%`, `%REQ(:METHOD)%`, `%REQ(X?Y):10%`, and `%%` for a percent
//! sign, between what stands as it is.
//!
//! Envoy refuses a whole listener for one operator that it does not know, so they are read here
//! first. [`operators`] is the table, checked against real Envoys.
//!
//! Followed: Envoy's "Access logging", "Format Rules" and "Command Operators".

pub mod operators;

use std::fmt;

pub use operators::Operator;

/// A text in its pieces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Format {
    pieces: Vec<Piece>,
}

/// A piece of a format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// As it is.
    Text(String),
    /// What a command operator says.
    Command(Command),
}

/// A command operator as it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Its name, for example `REQ`.
    pub name: String,
    /// What stands in parentheses.
    pub argument: Option<String>,
    /// At most so many characters.
    pub length: Option<usize>,
}

/// A text that Envoy would not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// A percent sign that begins no operator.
    #[error("`{0}` is no command operator; a percent sign is written `%%`")]
    Malformed(String),
    /// No Envoy knows it.
    #[error("`%{0}%` is not known")]
    Unknown(String),
    /// What it is about is missing.
    #[error("`%{0}%` needs to be told what, in parentheses")]
    NeedsArgument(String),
    /// There is nothing to tell it.
    #[error("`%{0}%` takes nothing in parentheses")]
    TakesNoArgument(String),
    /// What it says cannot be cut.
    #[error("`%{0}%` takes no length")]
    TakesNoLength(String),
    /// What stands in parentheses is wrong.
    #[error("`%{name}({argument})%` {reason}")]
    Argument {
        /// The operator's name.
        name: String,
        /// What stands there.
        argument: String,
        /// What is wrong.
        reason: &'static str,
    },
}

impl Format {
    /// Reads a text.
    ///
    /// # Errors
    /// A percent sign begins no operator.
    pub fn parse(text: &str) -> Result<Self, FormatError> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('%') {
            plain.push_str(before);
            if let Some(after) = after.strip_prefix('%') {
                plain.push('%');
                rest = after;
                continue;
            }
            let (command, after) = Command::parse(after)
                .ok_or_else(|| FormatError::Malformed(format!("%{}", shown(after))))?;
            if !plain.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut plain)));
            }
            pieces.push(Piece::Command(command));
            rest = after;
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Ok(Self { pieces })
    }

    /// The pieces in order; texts are never empty and never follow one another.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// The operators in order.
    pub fn commands(&self) -> impl Iterator<Item = &Command> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Command(command) => Some(command),
            Piece::Text(_) => None,
        })
    }

    /// The one operator that this is, if it is no more than that.
    pub fn only_command(&self) -> Option<&Command> {
        match self.pieces.as_slice() {
            [Piece::Command(command)] => Some(command),
            _ => None,
        }
    }

    /// The same with texts in the place of operators: of those for which `text` has one.
    #[must_use]
    pub fn replace<'v>(&self, text: impl Fn(&str) -> Option<&'v str>) -> Self {
        let mut pieces: Vec<Piece> = Vec::new();
        for piece in &self.pieces {
            let fixed = match piece {
                Piece::Text(fixed) => Some(fixed.as_str()),
                Piece::Command(command) => text(&command.name),
            };
            match (fixed, pieces.last_mut()) {
                (Some(fixed), Some(Piece::Text(last))) => last.push_str(fixed),
                (Some(""), _) => {}
                (Some(fixed), _) => pieces.push(Piece::Text(fixed.to_owned())),
                (None, _) => pieces.push(piece.clone()),
            }
        }
        Self { pieces }
    }
}

impl Format {
    /// The same with other operators in the place of those for which `other` has one.
    #[must_use]
    pub fn replace_commands(mut self, other: impl Fn(&Command) -> Option<Command>) -> Self {
        for piece in &mut self.pieces {
            if let Piece::Command(command) = piece
                && let Some(other) = other(command)
            {
                *command = other;
            }
        }
        self
    }
}

/// As it is written for Envoy.
impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pieces.iter().try_for_each(|piece| match piece {
            Piece::Text(text) => f.write_str(&text.replace('%', "%%")),
            Piece::Command(command) => command.fmt(f),
        })
    }
}

impl Command {
    /// Reads one behind its percent sign, and says what comes after it.
    fn parse(text: &str) -> Option<(Self, &str)> {
        let is_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        let (name, mut rest) = text.split_at_checked(text.find(|c| !is_name(c))?)?;
        if name.is_empty() {
            return None;
        }
        let mut argument = None;
        if let Some(inner) = rest.strip_prefix('(') {
            // The first parenthesis after which the operator ends.
            let (at, after) = inner
                .match_indices(')')
                .find_map(|(at, _)| Some((at, end(inner.get(at.checked_add(1)?..)?)?)))?;
            argument = Some(inner.get(..at)?.to_owned());
            let (length, after) = after;
            return Some((Self { name: name.to_owned(), argument, length }, after));
        }
        let (length, after) = end(rest)?;
        rest = after;
        Some((Self { name: name.to_owned(), argument, length }, rest))
    }

    /// Whether Envoy takes it so.
    ///
    /// # Errors
    /// What Envoy would refuse.
    pub fn check(&self) -> Result<Operator, FormatError> {
        let operator = operators::by_name(&self.name)
            .ok_or_else(|| FormatError::Unknown(self.name.clone()))?;
        operator.check(self)?;
        Ok(operator)
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "%{}", self.name)?;
        if let Some(argument) = &self.argument {
            write!(f, "({argument})")?;
        }
        if let Some(length) = self.length {
            write!(f, ":{length}")?;
        }
        f.write_str("%")
    }
}

/// The length, if one is given, and what comes after the operator's last percent sign.
fn end(text: &str) -> Option<(Option<usize>, &str)> {
    if let Some(after) = text.strip_prefix('%') {
        return Some((None, after));
    }
    let (digits, after) = text.strip_prefix(':')?.split_once('%')?;
    let all_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
    all_digits.then_some(())?;
    Some((Some(digits.parse().ok()?), after))
}

/// The beginning of a text, for a message.
fn shown(text: &str) -> String {
    const MOST: usize = 24;
    let mut shown: String = text.chars().take(MOST).collect();
    if text.chars().nth(MOST).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_and_written_back() {
        for text in [
            "",
            "plain",
            "100%% of %PROTOCOL%",
            "[%START_TIME(%Y/%m/%dT%H:%M:%S%z %s)%] %REQ(X-A?:PATH):12%%RESPONSE_CODE%",
            "%KUMA_MESH%",
            "%COALESCE({\"operators\": [\"PROTOCOL\"]})%",
        ] {
            assert_eq!(Format::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_operator_is_shown() {
        for text in ["50%", "%protocol%", "%REQ(:PATH)", "% %", "%REQ(a):x%", "%REQ"] {
            let error = Format::parse(text).unwrap_err();
            assert!(matches!(error, FormatError::Malformed(_)), "{text}: {error}");
        }
    }

    #[test]
    fn replaced_operators_become_text_that_is_no_operator() {
        let format = Format::parse("%KUMA_MESH%|%PROTOCOL%|%KUMA_ZONE%").unwrap();
        let values = |name: &str| match name {
            "KUMA_MESH" => Some("50%PROTOCOL%"),
            "KUMA_ZONE" => Some(""),
            _ => None,
        };
        assert_eq!(format.replace(values).to_string(), "50%%PROTOCOL%%|%PROTOCOL%|");
    }
}
