//! Rules for baggage, and their text.
//!
//! One rule a line, words with one space between, in this order:
//!
//! ```text
//! in allow tenant.* region      what callers may bring; without the line all
//! in deny secret                what they may not, of that
//! out allow …                   what may go on, likewise
//! out deny …
//! set team =core                sets a member, in place of what came
//! add team =core                sets it if none came
//! set tenant @x-tenant =none    to the value of the header x-tenant; without the header to `none`
//! set tenant @x-tenant          without the header what came stays
//! ```
//!
//! Names of members are tokens, and in lists may end with `*`, which stands for any rest. Values are percent-encoded
//! ([`escape`](super::escape)). So neither spaces nor ends of lines can be in them.

use super::{is_octet, is_token};
use crate::text::{self, Parts};

/// Members that rules may set.
pub const SETTINGS_MAX: usize = 16;

/// What becomes of a request's baggage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rules<'a> {
    /// On the way in: what the caller may bring.
    pub incoming: Filter<'a>,
    /// On the way out: what goes on.
    pub outgoing: Filter<'a>,
    settings: &'a [u8],
}

/// Which members pass, by their names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Filter<'a> {
    allow: Option<&'a [u8]>,
    deny: &'a [u8],
}

/// A member that is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting<'a> {
    /// Its name.
    pub name: &'a [u8],
    /// The header that it has its value from, as it was written: a name in lower case.
    pub header: Option<&'a [u8]>,
    /// Its value, or what it is without the header; percent-encoded.
    pub value: Option<&'a [u8]>,
    /// Whether what came stays.
    pub if_absent: bool,
}

impl<'a> Rules<'a> {
    /// Reads rules; none if any line is not one. More than [`SETTINGS_MAX`] members that are set are refused, and two
    /// rules for one.
    pub fn parse(text: &'a [u8]) -> Option<Self> {
        let mut rest = text;
        let incoming = Filter::parse([b"in allow", b"in deny"], &mut rest)?;
        let outgoing = Filter::parse([b"out allow", b"out deny"], &mut rest)?;
        let rules = Self { incoming, outgoing, settings: rest };
        for (index, line) in lines(rest).enumerate() {
            let setting = Setting::parse(line)?;
            let again = rules.settings().take(index).any(|other| other.name == setting.name);
            if index >= SETTINGS_MAX || again {
                return None;
            }
        }
        Some(rules)
    }

    /// The members that are set, in their order.
    pub fn settings(&self) -> impl Iterator<Item = Setting<'a>> {
        lines(self.settings).filter_map(Setting::parse)
    }
}

impl<'a> Filter<'a> {
    /// What passes of these names, which have one space between.
    pub fn new(allow: Option<&'a [u8]>, deny: &'a [u8]) -> Self {
        Self { allow, deny }
    }

    /// The first lines of `rest`, if they begin with these words; none if they go on in another way than they may.
    fn parse([allow, deny]: [&[u8]; 2], rest: &mut &'a [u8]) -> Option<Self> {
        let allow = names(allow, rest)?;
        Some(Self { allow, deny: names(deny, rest)?.unwrap_or_default() })
    }

    /// Whether a member of that name passes. What is denied does not, even if it is allowed.
    pub fn passes(&self, name: &[u8]) -> bool {
        self.allow.is_none_or(|allow| lists(allow, name)) && !lists(self.deny, name)
    }

    /// Whether every member passes.
    pub fn is_open(&self) -> bool {
        self.allow.is_none() && self.deny.is_empty()
    }
}

impl<'a> Setting<'a> {
    fn parse(line: &'a [u8]) -> Option<Self> {
        let mut words = Parts::new(line, b' ');
        let if_absent = match words.next()? {
            b"set" => false,
            b"add" => true,
            _ => return None,
        };
        let name = words.next().filter(|name| is_name(name))?;
        let mut setting = Self { name, header: None, value: None, if_absent };
        for word in words {
            match word {
                [b'@', header @ ..]
                    if is_header(header) && setting.header.is_none() && setting.value.is_none() =>
                {
                    setting.header = Some(header);
                }
                [b'=', value @ ..]
                    if value.iter().all(|byte| is_octet(*byte)) && setting.value.is_none() =>
                {
                    setting.value = Some(value);
                }
                _ => return None,
            }
        }
        (setting.header.is_some() || setting.value.is_some()).then_some(setting)
    }
}

/// Whether a member can have that name: a token.
pub fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|byte| is_token(*byte))
}

/// A name of a header in lower case, or of a pseudo-header.
fn is_header(name: &[u8]) -> bool {
    let name = name.strip_prefix(b":").unwrap_or(name);
    is_name(name) && !name.iter().any(u8::is_ascii_uppercase)
}

fn lines(text: &[u8]) -> Parts<'_> {
    Parts::new(text, b'\n')
}

/// What is listed in the first line of `rest`, if that begins so; it is taken off then.
#[expect(clippy::option_option, reason = "a wrong line is not a missing one")]
fn names<'a>(begins: &[u8], rest: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let (line, after) = text::cut(rest, b'\n');
    let Some(names) = line.strip_prefix(begins) else { return Some(None) };
    let valid = matches!(names, [] | [b' ', ..]) && Parts::new(names, b' ').all(is_name);
    *rest = after.unwrap_or_default();
    valid.then_some(Some(names))
}

fn lists(names: &[u8], name: &[u8]) -> bool {
    Parts::new(names, b' ').any(|listed| match listed {
        [start @ .., b'*'] => name.starts_with(start),
        listed => listed == name,
    })
}
