//! In which format a reader wants it.

use crate::{Escaping, Format};

/// What an application is asked for: all that is read here, the formats that say more first.
pub const APPLICATION_ACCEPT: &str = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;escaping=allow-utf-8;q=0.7,application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";

/// Most alternatives of an `accept` header that are looked at.
const MAX_ALTERNATIVES: usize = 32;

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exposition {
    /// [`Format::Text`] or [`Format::OpenMetrics`].
    pub format: Format,
    /// How names are written that are not old ones.
    pub escaping: Escaping,
}

impl Exposition {
    /// What is said of the answer.
    pub fn content_type(self) -> String {
        let escaping = self.escaping.name();
        match self {
            Self { format: Format::OpenMetrics, .. } => {
                format!(
                    "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping={escaping}"
                )
            }
            Self { escaping: Escaping::AllowUtf8, .. } => {
                format!("text/plain; version=1.0.0; charset=utf-8; escaping={escaping}")
            }
            _ => format!("text/plain; version=0.0.4; charset=utf-8; escaping={escaping}"),
        }
    }
}

/// What a reader who sends this `accept` header wants most. Text where nothing that is known is said.
///
/// Followed: Prometheus' "Content negotiation"; names are escaped with underscores where a reader does not
/// say how.
pub fn negotiate(accept: &str) -> Exposition {
    let mut best = Exposition { format: Format::Text, escaping: Escaping::default() };
    let mut weight = 0.0;
    for alternative in accept.split(',').take(MAX_ALTERNATIVES) {
        let mut parts = alternative.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default().to_ascii_lowercase();
        let (mut quality, mut version, mut escaping) = (1.0_f64, None, None);
        for (name, value) in parts.filter_map(|part| part.split_once('=')) {
            match name.trim() {
                "q" => quality = value.trim().parse().unwrap_or(0.0),
                "version" => version = Some(value.trim()),
                "escaping" => escaping = Escaping::of(value.trim()),
                _ => {}
            }
        }
        let format = match (&*media, version) {
            ("application/openmetrics-text", None | Some("1.0.0" | "0.0.1")) => Format::OpenMetrics,
            ("text/plain", None | Some("0.0.4" | "1.0.0")) | ("text/*" | "*/*", _) => Format::Text,
            _ => continue,
        };
        if quality > weight {
            weight = quality;
            best = Exposition { format, escaping: escaping.unwrap_or_default() };
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_reader_wants_most() {
        let prometheus_3 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        let prometheus_2 = "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        let open = "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=";
        for (accept, said) in [
            (prometheus_3, format!("{open}allow-utf-8")),
            (prometheus_2, format!("{open}underscores")),
            ("", "text/plain; version=0.0.4; charset=utf-8; escaping=underscores".to_owned()),
            (
                "text/html, */*;q=0.1",
                "text/plain; version=0.0.4; charset=utf-8; escaping=underscores".to_owned(),
            ),
            (
                "text/plain;version=1.0.0;escaping=allow-utf-8",
                "text/plain; version=1.0.0; charset=utf-8; escaping=allow-utf-8".to_owned(),
            ),
            (
                "application/openmetrics-text;escaping=dots;q=1,text/plain;q=0.5",
                format!("{open}dots"),
            ),
            (
                "application/openmetrics-text;q=nonsense,text/plain;escaping=values;q=0.5",
                "text/plain; version=0.0.4; charset=utf-8; escaping=values".to_owned(),
            ),
            (
                "application/openmetrics-text;version=9.9",
                "text/plain; version=0.0.4; charset=utf-8; escaping=underscores".to_owned(),
            ),
        ] {
            assert_eq!(negotiate(accept).content_type(), said, "{accept}");
        }
    }
}
