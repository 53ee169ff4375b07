//! Names for readers who know only the old ones.

use std::fmt::Write as _;

/// How names that are not `[a-zA-Z_:][a-zA-Z0-9_:]*` are written (Prometheus: "escaping schemes").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Escaping {
    /// As they are, quoted.
    AllowUtf8,
    /// `_` for each character that is not allowed. What readers mean who say nothing.
    #[default]
    Underscores,
    /// `_dot_` for a dot, `__` for an underscore and for all else.
    Dots,
    /// `U__`, and each character that is not allowed as its number: so it can be undone.
    Values,
}

impl Escaping {
    /// Of what stands behind `escaping=`.
    pub(crate) fn of(text: &str) -> Option<Self> {
        Some(match text {
            "allow-utf-8" => Self::AllowUtf8,
            "underscores" => Self::Underscores,
            "dots" => Self::Dots,
            "values" => Self::Values,
            _ => return None,
        })
    }

    /// As it is asked for and answered.
    pub fn name(self) -> &'static str {
        match self {
            Self::AllowUtf8 => "allow-utf-8",
            Self::Underscores => "underscores",
            Self::Dots => "dots",
            Self::Values => "values",
        }
    }

    /// Adds a name as it is to be written, without quotes.
    pub fn escape(self, name: &str, out: &mut String) {
        match self {
            Self::AllowUtf8 => out.push_str(name),
            Self::Underscores | Self::Values if is_legacy(name) => out.push_str(name),
            Self::Underscores => {
                for (at, character) in name.chars().enumerate() {
                    out.push(if is_allowed(at, character) { character } else { '_' });
                }
            }
            Self::Dots => {
                for (at, character) in name.chars().enumerate() {
                    match character {
                        '_' => out.push_str("__"),
                        '.' => out.push_str("_dot_"),
                        _ if is_allowed(at, character) => out.push(character),
                        _ => out.push_str("__"),
                    }
                }
            }
            Self::Values => {
                out.push_str("U__");
                for (at, character) in name.chars().enumerate() {
                    match character {
                        '_' => out.push_str("__"),
                        _ if is_allowed(at, character) => out.push(character),
                        _ => write!(out, "_{:x}_", u32::from(character))
                            .expect("a string takes everything"),
                    }
                }
            }
        }
    }
}

/// Whether a name needs no escaping, and no quotes.
pub(crate) fn is_legacy(name: &str) -> bool {
    let is_digit = name.as_bytes().first().is_none_or(u8::is_ascii_digit);
    !is_digit
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':'))
}

fn is_allowed(at: usize, character: char) -> bool {
    character.is_ascii_alphabetic()
        || matches!(character, '_' | ':')
        || at > 0 && character.is_ascii_digit()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_as_prometheus_escapes_them() {
        let escaped = |name: &str| {
            let with = |escaping: Escaping| {
                let mut out = String::new();
                escaping.escape(name, &mut out);
                out
            };
            [Escaping::AllowUtf8, Escaping::Underscores, Escaping::Dots, Escaping::Values].map(with)
        };
        // Cases as in the documentation of Prometheus' escaping schemes.
        for (name, expected) in [
            (
                "no:escaping_required",
                [
                    "no:escaping_required",
                    "no:escaping_required",
                    "no:escaping__required",
                    "no:escaping_required",
                ],
            ),
            (
                "mysystem.prod.west.cpu.load",
                [
                    "mysystem.prod.west.cpu.load",
                    "mysystem_prod_west_cpu_load",
                    "mysystem_dot_prod_dot_west_dot_cpu_dot_load",
                    "U__mysystem_2e_prod_2e_west_2e_cpu_2e_load",
                ],
            ),
            ("1x_é", ["1x_é", "_x__", "__x____", "U___31_x___e9_"]),
        ] {
            assert_eq!(escaped(name), expected);
        }
    }
}
