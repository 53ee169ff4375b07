//! Shares of requests, in percent.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::tree::Node;

/// A share between 0 and 100 percent, with four decimals.
///
/// Written as a number or a decimal string; `{value: N}` means the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Percent {
    millionths: u32,
}

/// A text or number that is no percentage.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PercentError {
    /// Not a number.
    #[error("must be a number from 0 to 100, without a percent sign")]
    NotANumber,
    /// Below 0 or above 100.
    #[error("must be between 0 and 100")]
    OutOfRange,
}

impl Percent {
    /// Nothing.
    pub const ZERO: Self = Self { millionths: 0 };
    /// Everything.
    pub const HUNDRED: Self = Self { millionths: 1_000_000 };

    /// The share as numerator over a million.
    pub const fn millionths(self) -> u32 {
        self.millionths
    }

    /// The share as numerator over ten thousand, rounded up: how finely Envoy samples requests
    /// (`FractionalPercent`, denominator `TEN_THOUSAND`).
    pub const fn ten_thousandths(self) -> u32 {
        self.millionths.div_ceil(100)
    }

    /// The share of `millionths` in a million.
    ///
    /// # Errors
    /// When that is more than all.
    pub fn from_millionths(millionths: u32) -> Result<Self, PercentError> {
        if millionths > Self::HUNDRED.millionths {
            return Err(PercentError::OutOfRange);
        }
        Ok(Self { millionths })
    }

    /// The percentage as a float.
    pub fn as_f64(self) -> f64 {
        f64::from(self.millionths) / 10_000.0
    }
}

/// Turns `{value: N}` into `N`, the canonical spelling.
pub fn rewrite(node: &mut Node) {
    if let Some(map) = node.as_map_mut()
        && map.len() == 1
        && let Some(value) = map.remove("value")
    {
        *node = value.node;
    }
}

impl TryFrom<f64> for Percent {
    type Error = PercentError;

    /// More than four decimals are rounded; what is more than nothing stays so.
    fn try_from(percent: f64) -> Result<Self, PercentError> {
        if percent.is_nan() {
            return Err(PercentError::NotANumber);
        }
        if !(0.0..=100.0).contains(&percent) {
            return Err(PercentError::OutOfRange);
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "0 to 1,000,000 after the check above"
        )]
        let millionths = (percent * 10_000.0).round() as u32;
        Ok(Self { millionths: millionths.max(u32::from(percent > 0.0)) })
    }
}

impl FromStr for Percent {
    type Err = PercentError;

    /// A decimal as Kuma reads it: `80`, `0.001`, `1e1`; no sign of percent, no spaces.
    fn from_str(text: &str) -> Result<Self, PercentError> {
        let decimal = |c: char| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-');
        if !text.chars().all(decimal) {
            return Err(PercentError::NotANumber);
        }
        let percent: f64 = text.parse().map_err(|_| PercentError::NotANumber)?;
        Self::try_from(percent)
    }
}

/// The percentage without needless decimals: `80`, `12.5`.
impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.millionths / 10_000, self.millionths % 10_000);
        if rest == 0 {
            return write!(f, "{whole}");
        }
        let decimals = format!("{rest:04}");
        write!(f, "{whole}.{}", decimals.trim_end_matches('0'))
    }
}

impl Serialize for Percent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.millionths.is_multiple_of(10_000) {
            serializer.serialize_u32(self.millionths / 10_000)
        } else {
            serializer.serialize_f64(self.as_f64())
        }
    }
}

impl<'de> Deserialize<'de> for Percent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Written;

        impl<'de> Visitor<'de> for Written {
            type Value = Percent;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number from 0 to 100")
            }

            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Percent, E> {
                u32::try_from(number)
                    .ok()
                    .and_then(|whole| whole.checked_mul(10_000))
                    .ok_or(PercentError::OutOfRange)
                    .and_then(Percent::from_millionths)
                    .map_err(E::custom)
            }

            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Percent, E> {
                let number =
                    u64::try_from(number).map_err(|_| E::custom(PercentError::OutOfRange))?;
                self.visit_u64(number)
            }

            fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Percent, E> {
                Percent::try_from(number).map_err(E::custom)
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Percent, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Percent, A::Error> {
                let (Some((key, percent)), None) = (
                    map.next_entry::<String, Percent>()?,
                    map.next_key::<serde::de::IgnoredAny>()?,
                ) else {
                    return Err(A::Error::custom("must hold `value` and nothing else"));
                };
                if key != "value" {
                    return Err(A::Error::unknown_field(&key, &["value"]));
                }
                Ok(percent)
            }
        }

        deserializer.deserialize_any(Written)
    }
}

impl JsonSchema for Percent {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Percent".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A share between 0 and 100 percent, as a number, a decimal string, or {value: N}.",
            "type": ["number", "string", "object"],
            "format": "percent",
            "x-published": {"anyOf": [
                {"type": "number", "minimum": 0, "maximum": 100},
                {"type": "string", "pattern": "^[0-9.eE+-]+$"},
                {
                    "type": "object",
                    "properties": {"value": {"anyOf": [
                        {"type": "number", "minimum": 0, "maximum": 100},
                        {"type": "string", "pattern": "^[0-9.eE+-]+$"},
                        {"type": "null"},
                    ]}},
                    "required": ["value"],
                    "additionalProperties": false,
                },
            ]},
        })
    }
}
