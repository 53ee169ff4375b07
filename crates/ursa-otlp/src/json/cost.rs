//! What decoding JSON may take, told before it is decoded.

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::{Exemplar, ExponentialHistogramDataPoint, Metric};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};

use crate::Signal;

/// No decoder goes deeper.
const MAX_DEPTH: usize = 128;
/// The least room that a list takes, in elements.
const LEAST: usize = 4;
/// A value, and a key with its value, where JSON is kept as such before it is decoded: within
/// metrics, whose kinds are told apart by a key.
const VALUE: usize = 32;
const ENTRY: usize = 2 * VALUE;

/// An object or a list that is not closed yet.
struct Open {
    /// Bytes of each element.
    element: usize,
    commas: usize,
    empty: bool,
}

impl Open {
    fn bytes(&self) -> usize {
        if self.empty {
            return 0;
        }
        let count = self.commas.saturating_add(1);
        let room = count.checked_next_power_of_two().unwrap_or(usize::MAX).max(LEAST);
        let bytes = room.saturating_mul(self.element);
        // While a list grows, it is there twice: as it was, and twice as large.
        if room > LEAST { bytes.saturating_add(bytes / 2) } else { bytes }
    }
}

/// Memory that decoding a request of `signal` may take: `[{},{},…]` grows a lot. What is no JSON
/// counts up to where a decoder would notice, or further.
pub fn cost(signal: Signal, text: &[u8]) -> usize {
    let (value, entry) = if signal == Signal::Metrics { (VALUE, ENTRY) } else { (0, 0) };
    let mut open: Vec<Open> = Vec::new();
    // Texts are copied, and all is written anew.
    let mut total = text.len().saturating_mul(2);
    let (mut key, mut last, mut rest) = (&[][..], &[][..], text);
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if let Some(outer) = open.last_mut()
            && !matches!(byte, b'}' | b']' | b' ' | b'\t' | b'\r' | b'\n')
        {
            outer.empty = false;
            outer.commas = outer.commas.saturating_add(usize::from(byte == b','));
        }
        match byte {
            b'"' => (last, rest) = string(rest),
            b':' => key = last,
            b'{' | b'[' if open.len() == MAX_DEPTH => break,
            b'{' => open.push(Open { element: entry, commas: 0, empty: true }),
            b'[' => {
                let element = element(key).saturating_add(value);
                open.push(Open { element, commas: 0, empty: true });
            }
            b'}' | b']' => total = total.saturating_add(open.pop().map_or(0, |one| one.bytes())),
            _ => {}
        }
    }
    open.iter().map(Open::bytes).fold(total, usize::saturating_add)
}

/// A text up to its closing quote, and what follows.
fn string(text: &[u8]) -> (&[u8], &[u8]) {
    let mut escaped = false;
    let end = text.iter().position(|byte| {
        let ends = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        ends
    });
    let (inside, rest) = text.split_at(end.unwrap_or(text.len()));
    (inside, rest.get(1..).unwrap_or_default())
}

/// What an element of the list at `key` takes.
fn element(key: &[u8]) -> usize {
    match key {
        b"attributes" | b"filteredAttributes" | b"values" => size_of::<KeyValue>(),
        b"events" => size_of::<Event>(),
        b"links" => size_of::<Link>(),
        b"metrics" => size_of::<Metric>(),
        b"dataPoints" => size_of::<ExponentialHistogramDataPoint>(),
        b"exemplars" => size_of::<Exemplar>(),
        b"quantileValues" => size_of::<[f64; 2]>(),
        b"bucketCounts" | b"explicitBounds" => size_of::<u64>(),
        b"logRecords" => size_of::<LogRecord>(),
        // None is larger.
        _ => size_of::<Span>(),
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::logs::v1::{ResourceLogs, ScopeLogs};
    use opentelemetry_proto::tonic::metrics::v1::{ResourceMetrics, ScopeMetrics};
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans};

    use super::*;

    #[test]
    fn ordinary_requests_cost_a_few_times_their_length_and_hostile_ones_much_more() {
        let attribute = r#"{"key":"http.request.method","value":{"stringValue":"GET {[\","}}"#;
        let attributes = [attribute; 10].join(",");
        let span = format!(
            r#"{{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174","name":"GET","startTimeUnixNano":"1544712660000000000","endTimeUnixNano":"1544712661000000000","attributes":[{attributes}],"events":[ ],"status":{{}}}}"#
        );
        let spans = |count: usize| {
            format!(
                r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{}]}}]}}]}}"#,
                vec![&*span; count].join(",")
            )
        };
        for (signal, text, least, most) in [
            (Signal::Traces, spans(5000), 3, 5),
            (
                Signal::Traces,
                r#"{"resourceSpans":[{},{}"#.to_owned() + &",{}".repeat(100_000),
                100,
                300,
            ),
            (
                Signal::Traces,
                r#"{"attribut\u0065s":["#.to_owned() + &"1,".repeat(100_000),
                100,
                600,
            ),
            (Signal::Logs, r#"{"logRecords":[],"attributes":[]}"#.repeat(1000), 2, 2),
            (Signal::Metrics, r#"{"":0},"#.repeat(1000), 30, 40),
            (Signal::Metrics, format!("[{}0]", "0,".repeat(1 << 16)), 32, 500),
            (Signal::Traces, "[".repeat(1000), 2, 200),
        ] {
            let factor = cost(signal, text.as_bytes()) / text.len();
            let start = text.get(..40).unwrap_or(&text);
            assert!((least..=most).contains(&factor), "{signal:?} {start}: {factor}");
        }
    }

    #[test]
    fn nothing_is_larger_than_a_span() {
        let sizes = [
            size_of::<ResourceSpans>(),
            size_of::<ScopeSpans>(),
            size_of::<ResourceMetrics>(),
            size_of::<ScopeMetrics>(),
            size_of::<ResourceLogs>(),
            size_of::<ScopeLogs>(),
            size_of::<Metric>(),
            size_of::<ExponentialHistogramDataPoint>(),
            size_of::<LogRecord>(),
        ];
        assert!(sizes.iter().all(|size| *size <= size_of::<Span>()), "{sizes:?}");
    }
}
