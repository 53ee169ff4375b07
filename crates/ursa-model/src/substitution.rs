//! Values that are filled in where they are used: `${NAME}`, `${file:/path}`, `${secret:name}`; `$$` is a dollar.
//!
//! The agent fills them in. Here they are only read, so that a slip is found when the resource is written.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::secret_text::SecretText;

/// A value in which secrets may stand by name, or, unwisely, in clear: `Bearer ${TOKEN}`.
///
/// It is serialised as written, and hidden in `Debug`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Substitution(String);

/// A piece of a value.
#[derive(Clone, PartialEq, Eq)]
pub enum Part {
    /// As it is.
    Text(String),
    /// `${NAME}`: from the agent's environment.
    Env(String),
    /// `${file:/path}`: a file's content, read by the agent.
    File(String),
    /// `${secret:name}`: a Secret resource of the mesh.
    Secret(String),
}

/// A value that cannot be filled in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubstitutionError {
    /// `${` without `}`.
    #[error("`${{` is not closed by `}}`")]
    Unclosed,
    /// `$` that begins nothing.
    #[error("a single `$` means nothing; write `$$` for a dollar, or `${{NAME}}`")]
    LoneDollar,
    /// `${}` or `${file:}`.
    #[error("`${{…}}` names nothing")]
    Empty,
    /// Not the name of an environment variable.
    #[error("`{0}` is not the name of an environment variable")]
    BadName(String),
    /// `${vault:x}`.
    #[error("`{0}:` is not known here; `file:` and `secret:` are")]
    UnknownScheme(String),
    /// `${file:relative}`.
    #[error("the file `{0}` needs an absolute path")]
    RelativeFile(String),
}

/// What a name stands for could not be found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfilled {
    /// The value itself is malformed.
    #[error(transparent)]
    Malformed(#[from] SubstitutionError),
    /// A name has no value.
    #[error("{0} is not set")]
    Unset(Part),
}

impl Substitution {
    /// A value as written.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text as written, names not filled in.
    pub fn written(&self) -> &str {
        &self.0
    }

    /// The parts of `text`, in order.
    ///
    /// # Errors
    /// When a `$` begins neither `${…}` nor `$$`.
    pub fn parse(text: &str) -> Result<Vec<Part>, SubstitutionError> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            literal.push_str(before);
            if let Some(after) = after.strip_prefix('$') {
                literal.push('$');
                rest = after;
                continue;
            }
            let name = after.strip_prefix('{').ok_or(SubstitutionError::LoneDollar)?;
            let (name, after) = name.split_once('}').ok_or(SubstitutionError::Unclosed)?;
            if !literal.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut literal)));
            }
            parts.push(reference(name)?);
            rest = after;
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        Ok(parts)
    }

    /// The parts of this value.
    ///
    /// # Errors
    /// As [`Substitution::parse`].
    pub fn parts(&self) -> Result<Vec<Part>, SubstitutionError> {
        Self::parse(&self.0)
    }

    /// The value with every name filled in by `lookup`, which is asked for all parts but text.
    ///
    /// # Errors
    /// When the value is malformed or `lookup` does not know a name; nothing is filled in by half.
    pub fn fill(&self, lookup: impl Fn(&Part) -> Option<String>) -> Result<SecretText, Unfilled> {
        let mut filled = String::new();
        for part in self.parts()? {
            match &part {
                Part::Text(text) => filled.push_str(text),
                name => {
                    filled.push_str(&lookup(name).ok_or_else(|| Unfilled::Unset(part.clone()))?);
                }
            }
        }
        Ok(SecretText::new(filled))
    }
}

fn reference(name: &str) -> Result<Part, SubstitutionError> {
    let (scheme, rest) = name.split_once(':').unwrap_or(("", name));
    if rest.is_empty() {
        return Err(SubstitutionError::Empty);
    }
    match scheme {
        "" if is_variable(rest) => Ok(Part::Env(rest.to_owned())),
        "" => Err(SubstitutionError::BadName(rest.to_owned())),
        "file" if rest.starts_with('/') => Ok(Part::File(rest.to_owned())),
        "file" => Err(SubstitutionError::RelativeFile(rest.to_owned())),
        "secret" => Ok(Part::Secret(rest.to_owned())),
        other => Err(SubstitutionError::UnknownScheme(other.to_owned())),
    }
}

fn is_variable(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

impl fmt::Debug for Substitution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// `${NAME}` as written; text is hidden.
impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(_) => f.write_str("[redacted]"),
            Self::Env(name) => write!(f, "${{{name}}}"),
            Self::File(path) => write!(f, "${{file:{path}}}"),
            Self::Secret(name) => write!(f, "${{secret:{name}}}"),
        }
    }
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
