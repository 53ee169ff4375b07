//! What a line is made of.

use std::borrow::Cow;

use super::{MAX_LABELS, Problem, bounded};
use crate::Labels;

/// The rest of a line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line<'a>(pub(super) &'a str);

impl<'a> Line<'a> {
    /// Goes over blanks.
    pub(super) fn skip_blanks(&mut self) {
        self.0 = self.0.trim_start_matches([' ', '\t']);
    }

    /// Goes over this, if it is next.
    pub(super) fn eat(&mut self, wanted: char) -> bool {
        match self.0.strip_prefix(wanted) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }

    /// What comes before the next blank.
    pub(super) fn word(&mut self) -> &'a str {
        self.skip_blanks();
        let end = memchr::memchr2(b' ', b'\t', self.0.as_bytes()).unwrap_or(self.0.len());
        self.take(end)
    }

    /// The name in front of labels and value; empty where it stands within the braces.
    pub(super) fn name(&mut self) -> &'a str {
        let end = memchr::memchr3(b'{', b' ', b'\t', self.0.as_bytes()).unwrap_or(self.0.len());
        self.take(end)
    }

    /// A name after `# TYPE` and its like, which may be quoted.
    pub(super) fn meta_name(&mut self) -> Result<Cow<'a, str>, Problem> {
        self.skip_blanks();
        let name = if self.eat('"') { self.quoted()? } else { Cow::Borrowed(self.word()) };
        if name.is_empty() { Err(Problem::Name) } else { Ok(name) }
    }

    /// What stands up to the closing quote; the opening one was read.
    pub(super) fn quoted(&mut self) -> Result<Cow<'a, str>, Problem> {
        let end = memchr::memchr2(b'"', b'\\', self.0.as_bytes()).ok_or(Problem::Malformed)?;
        if self.0.as_bytes().get(end) == Some(&b'"') {
            let text = self.take(end);
            self.eat('"');
            return Ok(Cow::Borrowed(text));
        }
        let mut text = String::new();
        let mut characters = self.0.char_indices();
        while let Some((at, character)) = characters.next() {
            match character {
                '"' => {
                    self.0 = self.0.get(at.saturating_add(1)..).unwrap_or_default();
                    return Ok(Cow::Owned(text));
                }
                '\\' => {
                    let (_, escaped) = characters.next().ok_or(Problem::Malformed)?;
                    unescape(&mut text, escaped, true);
                }
                other => text.push(other),
            }
        }
        Err(Problem::Malformed)
    }

    /// Labels in braces, if any are there; `special` is not put among them but returned, and so is a name
    /// that stands there.
    pub(super) fn labels(
        &mut self,
        labels: &mut Labels,
        special: Option<&str>,
    ) -> Result<(Option<Cow<'a, str>>, Option<Special<'a>>), Problem> {
        labels.clear();
        let (mut name, mut found) = (None, None);
        if !self.eat('{') {
            return Ok((name, found));
        }
        let whole = self.0;
        loop {
            self.skip_blanks();
            if self.eat('}') {
                return Ok((name, found));
            }
            let start = whole.len().saturating_sub(self.0.len());
            let label = if self.eat('"') {
                let label = self.quoted()?;
                self.skip_blanks();
                if !self.0.starts_with('=') {
                    if name.replace(label).is_some() {
                        return Err(Problem::Name);
                    }
                    self.comma()?;
                    continue;
                }
                label
            } else {
                let end = memchr::memchr(b'=', self.0.as_bytes()).ok_or(Problem::Malformed)?;
                let label = self.take(end).trim_ascii_end();
                if label.is_empty() || label.contains(['"', ',', '{', '}']) {
                    return Err(Problem::Malformed);
                }
                Cow::Borrowed(label)
            };
            self.eat('=');
            self.skip_blanks();
            if !self.eat('"') {
                return Err(Problem::Malformed);
            }
            let value = self.quoted()?;
            if special == Some(&*label) {
                let before = whole.get(..start).unwrap_or_default();
                self.skip_blanks();
                let is_last = self.0.starts_with('}');
                found = Some(Special { value, before, is_last });
            } else {
                bounded(labels.len(), MAX_LABELS, Problem::Labels)?;
                labels.push(&label, &value);
            }
            self.comma()?;
        }
    }

    /// A number that ends at a blank or with the line.
    pub(super) fn number(&mut self) -> Result<f64, Problem> {
        number(self.word())
    }

    fn comma(&mut self) -> Result<(), Problem> {
        self.skip_blanks();
        if self.eat(',') || self.0.starts_with('}') { Ok(()) } else { Err(Problem::Malformed) }
    }

    fn take(&mut self, end: usize) -> &'a str {
        let (taken, rest) = self.0.split_at_checked(end).unwrap_or((self.0, ""));
        self.0 = rest;
        taken
    }
}

/// `le` or `quantile` among labels.
#[derive(Debug)]
pub(super) struct Special<'a> {
    pub(super) value: Cow<'a, str>,
    /// What stands in the braces before it, and whether nothing comes after it: then the next bucket of the
    /// same series begins in the same way.
    pub(super) before: &'a str,
    pub(super) is_last: bool,
}

/// A number as Go reads it.
pub(super) fn number(word: &str) -> Result<f64, Problem> {
    let digits = word.as_bytes();
    if digits.len() <= 15 && !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) {
        let add = |sum: u64, digit: &u8| {
            sum.wrapping_mul(10).wrapping_add(u64::from(digit.wrapping_sub(b'0')))
        };
        return Ok(digits.iter().fold(0, add) as f64);
    }
    word.parse().map_err(|_| Problem::Number)
}

/// What a backslash and this stand for. Where nothing is agreed on, for both.
fn unescape(text: &mut String, escaped: char, quote: bool) {
    match escaped {
        'n' => text.push('\n'),
        '\\' => text.push('\\'),
        '"' if quote => text.push('"'),
        other => text.extend(['\\', other]),
    }
}

/// The text of `# HELP`.
pub(super) fn help(escaped: &str, quote: bool, into: &mut String) {
    into.clear();
    let mut characters = escaped.chars();
    while let Some(character) = characters.next() {
        match (character, characters.clone().next()) {
            ('\\', Some(next)) => {
                characters.next();
                unescape(into, next, quote);
            }
            (other, _) => into.push(other),
        }
    }
}
