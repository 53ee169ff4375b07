//! How long certificates last, as Kuma writes it: `1d`, `10y`, `1h30m`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};

/// Whole seconds, at most a century.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lifetime(u64);

/// A text that is no lifetime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LifetimeError {
    /// Not of numbers and units, the largest unit first.
    #[error("must be a lifetime such as `24h`, `30d` or `10y`")]
    Malformed,
    /// Longer than a century.
    #[error("is longer than 100 years")]
    TooLong,
}

const DAY: u64 = 24 * 60 * 60;
/// Units by size, largest first, as seconds. A year has 365 days.
const UNITS: [(&str, u64); 6] =
    [("y", 365 * DAY), ("w", 7 * DAY), ("d", DAY), ("h", 3600), ("m", 60), ("s", 1)];
const LONGEST: u64 = 100 * 365 * DAY;

impl Lifetime {
    /// So many days.
    pub(super) const fn of_days(days: u64) -> Self {
        Self(days * DAY)
    }

    /// So many seconds.
    pub(super) const fn of_seconds(seconds: u64) -> Self {
        Self(seconds)
    }

    /// The standard library's duration.
    pub const fn get(self) -> Duration {
        Duration::from_secs(self.0)
    }
}

impl FromStr for Lifetime {
    type Err = LifetimeError;

    fn from_str(text: &str) -> Result<Self, LifetimeError> {
        let (mut rest, mut seconds, mut units) = (text, 0_u64, UNITS.iter());
        if text.is_empty() {
            return Err(LifetimeError::Malformed);
        }
        while !rest.is_empty() {
            let number = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            let (number, after) = rest.split_at(number);
            let end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
            let (unit, after) = after.split_at(end);
            let (_, size) =
                units.find(|(known, _)| *known == unit).ok_or(LifetimeError::Malformed)?;
            if number.is_empty() {
                return Err(LifetimeError::Malformed);
            }
            let part = number.parse::<u64>().ok().and_then(|number| number.checked_mul(*size));
            seconds = part
                .and_then(|part| seconds.checked_add(part))
                .filter(|seconds| *seconds <= LONGEST)
                .ok_or(LifetimeError::TooLong)?;
            rest = after;
        }
        Ok(Self(seconds))
    }
}

/// The shortest exact text: `1d12h`.
impl fmt::Display for Lifetime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        let mut rest = self.0;
        for (unit, size) in UNITS {
            if rest >= size {
                write!(f, "{}{unit}", rest / size)?;
                rest %= size;
            }
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Lifetime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Lifetime {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Lifetime".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "How long a certificate lasts: 24h, 30d, 10y, 1h30m.",
            "type": "string",
            "format": "lifetime",
            "minLength": 1,
            "pattern": "^([0-9]+y)?([0-9]+w)?([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_are_read_and_written() {
        let read = |text: &str| text.parse::<Lifetime>().map(|it| (it.0, it.to_string()));
        assert_eq!(read("1d"), Ok((86_400, "1d".to_owned())));
        assert_eq!(read("36h"), Ok((129_600, "1d12h".to_owned())));
        assert_eq!(read("1y2w3d4h5m6s"), Ok((33_019_506, "1y2w3d4h5m6s".to_owned())));
        assert_eq!(read("0s"), Ok((0, "0s".to_owned())));
        for wrong in ["", "1", "d", "1 d", "1m1h", "1d1d", "-1d", "1.5h", "1ms", "1dd"] {
            assert_eq!(read(wrong), Err(LifetimeError::Malformed), "{wrong}");
        }
        for long in ["101y", "99999999999999999999s", "18446744073709551615y"] {
            assert_eq!(read(long), Err(LifetimeError::TooLong), "{long}");
        }
    }
}
