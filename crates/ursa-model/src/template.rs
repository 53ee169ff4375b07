//! Values that describe a proxy: `{{kuma.io/service}}`, `{{version | default "dev"}}`.

use crate::report::Cursor;

/// A value with references in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    parts: Vec<TemplatePart>,
}

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TemplatePart {
    /// As it is.
    Text(String),
    /// `{{name}}`, `{{name | default "x"}}`.
    Reference {
        /// What is referred to.
        name: String,
        /// The value when the reference has none.
        default: Option<String>,
    },
}

/// What became of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// The value; `None` when a reference without a default has no value.
    pub value: Option<String>,
    /// The references that have no value and no default.
    pub missing: Vec<String>,
}

/// A text that is no template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// `{{` without `}}`.
    #[error("`{{{{` is not closed by `}}}}`")]
    Unclosed,
    /// `{{}}`.
    #[error("`{{{{}}}}` names nothing")]
    Empty,
    /// Something other than `default "…"` behind the bar.
    #[error("`{0}` is not understood; after `|` stands `default \"…\"`")]
    BadFilter(String),
    /// A reference that can have no value.
    #[error("`{0}` is not known")]
    Unknown(String),
}

/// The references under `k8s.` that exist; those that end in a dot take a name.
const KUBERNETES: [&str; 5] =
    ["k8s.namespace", "k8s.pod", "k8s.node", "k8s.label.", "k8s.annotation."];

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// When a reference is not closed, empty, of an unknown form, or can have no value (`k8s.nmespace`).
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            if !before.is_empty() {
                parts.push(TemplatePart::Text(before.to_owned()));
            }
            let (inside, after) = after.split_once("}}").ok_or(TemplateError::Unclosed)?;
            parts.push(reference(inside.trim())?);
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(TemplatePart::Text(rest.to_owned()));
        }
        Ok(Self { parts })
    }

    /// The pieces in order.
    pub fn parts(&self) -> &[TemplatePart] {
        &self.parts
    }

    /// The value, with references filled in by `lookup`; an empty value counts as none.
    pub fn render(&self, lookup: impl Fn(&str) -> Option<String>) -> Rendered {
        let mut value = String::new();
        let mut missing = Vec::new();
        for part in &self.parts {
            match part {
                TemplatePart::Text(text) => value.push_str(text),
                TemplatePart::Reference { name, default } => {
                    let found = lookup(name).filter(|found| !found.is_empty());
                    match found.as_ref().or(default.as_ref()) {
                        Some(found) => value.push_str(found),
                        None => missing.push(name.clone()),
                    }
                }
            }
        }
        Rendered { value: missing.is_empty().then_some(value), missing }
    }
}

/// The value of `text`, with references filled in by `lookup`. What is no template is taken as it is: it was refused when it was written.
pub fn render(text: &str, lookup: impl Fn(&str) -> Option<String>) -> Rendered {
    match Template::parse(text) {
        Ok(template) => template.render(lookup),
        Err(_) => Rendered { value: Some(text.to_owned()), missing: Vec::new() },
    }
}

/// Refuses the field of the cursor if `text` is no template.
pub fn validate(text: &str, cursor: &Cursor<'_>) {
    if let Err(error) = Template::parse(text) {
        cursor.refuse(error.to_string());
    }
}

fn reference(inside: &str) -> Result<TemplatePart, TemplateError> {
    let (name, filter) = match inside.split_once('|') {
        Some((name, filter)) => (name.trim_end(), Some(filter.trim())),
        None => (inside, None),
    };
    if name.is_empty() {
        return Err(TemplateError::Empty);
    }
    let unknown_kubernetes =
        name.starts_with("k8s.") && !KUBERNETES.iter().any(|known| names(known, name));
    // `env` alone may be a tag's name.
    if name == "env." || unknown_kubernetes {
        return Err(TemplateError::Unknown(name.to_owned()));
    }
    let default = filter.map(default_value).transpose()?;
    Ok(TemplatePart::Reference { name: name.to_owned(), default })
}

fn names(known: &str, name: &str) -> bool {
    if known.ends_with('.') {
        name.len() > known.len() && name.starts_with(known)
    } else {
        name == known
    }
}

fn default_value(filter: &str) -> Result<String, TemplateError> {
    let quoted = filter.strip_prefix("default").map(str::trim_start);
    quoted
        .and_then(|quoted| quoted.strip_prefix('"')?.strip_suffix('"'))
        .map(str::to_owned)
        .ok_or_else(|| TemplateError::BadFilter(filter.to_owned()))
}
