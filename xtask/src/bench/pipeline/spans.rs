//! The telemetry that is sent: spans as Envoy reports them, 16 string attributes and some 540 bytes each.

use bytes::Bytes;

/// How many different requests go round.
const VARIANTS: u64 = 32;

/// The tags of Envoy's tracers that are the same in every span.
const TAGS: [(&str, &str); 12] = [
    ("component", "proxy"),
    ("node_id", "checkout-x2x7p"),
    ("zone", "eu-1b"),
    ("downstream_cluster", "-"),
    ("user_agent", "curl/8.5"),
    ("http.protocol", "HTTP/1.1"),
    ("http.method", "GET"),
    ("http.status_code", "200"),
    ("response_flags", "-"),
    ("upstream_cluster", "payments"),
    ("upstream_cluster.name", "payments"),
    ("peer.address", "10.42.3.17"),
];

/// Requests that were encoded beforehand, all of the same length and shape.
#[derive(Debug)]
pub(crate) struct Requests {
    variants: Vec<Bytes>,
    /// Where in a request the spans' start times stand.
    starts: Vec<usize>,
}

impl Requests {
    /// Of so many spans each.
    pub(crate) fn new(spans: usize) -> Self {
        let variants: Vec<Bytes> = (0..VARIANTS).map(|n| request(n, spans).into()).collect();
        let mut starts = Vec::new();
        if let Some(first) = variants.first() {
            let base = first.as_ptr() as usize;
            let found = each_span(first, &mut |span| {
                starts.extend(start_time(span).map(|time| time.as_ptr() as usize - base));
            });
            debug_assert!(found.is_some_and(|found| found == spans && starts.len() == spans));
        }
        Self { variants, starts }
    }

    /// Spans in one request.
    pub(crate) fn spans(&self) -> usize {
        self.starts.len()
    }

    /// One of them as it is.
    pub(crate) fn plain(&self, number: usize) -> Bytes {
        self.variants[number % self.variants.len()].clone()
    }

    /// One of them, all its spans begun at a time (nanoseconds since 1970).
    pub(crate) fn stamped(&self, number: usize, nanoseconds: u64) -> Bytes {
        let mut request = self.variants[number % self.variants.len()].to_vec();
        for &start in &self.starts {
            request[start..start + 8].copy_from_slice(&nanoseconds.to_le_bytes());
        }
        request.into()
    }
}

/// Walks over the spans of a request; how many there are. None: that is none.
pub(crate) fn each_span<'b>(request: &'b [u8], found: &mut dyn FnMut(&'b [u8])) -> Option<usize> {
    let mut count = 0;
    for resource in Fields(request) {
        let (1, resource) = resource? else { continue };
        for scope in Fields(resource) {
            let (2, scope) = scope? else { continue };
            for span in Fields(scope) {
                let (2, span) = span? else { continue };
                found(span);
                count += 1;
            }
        }
    }
    Some(count)
}

/// The bytes of a span's start time.
pub(crate) fn start_time(span: &[u8]) -> Option<&[u8]> {
    Fields(span).find_map(|field| field.filter(|(number, _)| *number == 7)).map(|(_, time)| time)
}

/// The fields of a message with their bytes; None where it is no message.
struct Fields<'b>(&'b [u8]);

impl<'b> Iterator for Fields<'b> {
    type Item = Option<(u64, &'b [u8])>;

    fn next(&mut self) -> Option<Self::Item> {
        (!self.0.is_empty()).then(|| self.field())
    }
}

impl<'b> Fields<'b> {
    fn field(&mut self) -> Option<(u64, &'b [u8])> {
        let key = self.varint()?;
        let length = match key & 7 {
            0 => {
                self.varint()?;
                0
            }
            1 => 8,
            2 => usize::try_from(self.varint()?).ok()?,
            5 => 4,
            _ => return None,
        };
        let (field, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some((key >> 3, field))
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for at in 0..10 {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }
}

fn request(variant: u64, spans: usize) -> Vec<u8> {
    let mut resource = Vec::new();
    for (key, value) in [
        ("service.name", "checkout"),
        ("telemetry.sdk.language", "cpp"),
        ("telemetry.sdk.name", "envoy"),
        ("telemetry.sdk.version", "1.40.0"),
    ] {
        attribute(&mut resource, 1, key, value);
    }
    let mut instrumentation = Vec::new();
    put(&mut instrumentation, 1, b"envoy");
    let mut scope = Vec::new();
    put(&mut scope, 1, &instrumentation);
    for number in 0..spans {
        put(&mut scope, 2, &span(variant, number as u64));
    }
    let mut per_resource = Vec::new();
    put(&mut per_resource, 1, &resource);
    put(&mut per_resource, 2, &scope);
    let mut request = Vec::new();
    put(&mut request, 1, &per_resource);
    request
}

fn span(variant: u64, number: u64) -> Vec<u8> {
    let mixed = (variant << 32 | number).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let trace = (u128::from(mixed) << 64) | u128::from(!mixed);
    let mut span = Vec::new();
    put(&mut span, 1, &trace.to_be_bytes());
    put(&mut span, 2, &mixed.to_be_bytes());
    put(&mut span, 4, &mixed.rotate_left(17).to_be_bytes());
    put(&mut span, 5, b"payments:8080/*");
    varint(&mut span, 6 << 3);
    varint(&mut span, 3);
    for (field, time) in [(7, 1_780_000_000_000_000_000_u64), (8, 1_780_000_000_004_200_000)] {
        varint(&mut span, field << 3 | 1);
        span.extend(time.to_le_bytes());
    }
    for (key, value) in TAGS {
        attribute(&mut span, 9, key, value);
    }
    let uuid = format!(
        "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
        mixed >> 32,
        mixed >> 16 & 0xffff,
        mixed >> 4 & 0xfff,
        mixed >> 52,
        mixed.wrapping_mul(mixed) >> 16
    );
    attribute(&mut span, 9, "guid:x-request-id", &uuid);
    attribute(&mut span, 9, "http.url", &format!("http://payments/pay/{:05}", mixed % 100_000));
    attribute(&mut span, 9, "request_size", "128");
    attribute(&mut span, 9, "response_size", "2048");
    span
}

fn attribute(to: &mut Vec<u8>, field: u64, key: &str, value: &str) {
    let mut any = Vec::new();
    put(&mut any, 1, value.as_bytes());
    let mut pair = Vec::new();
    put(&mut pair, 1, key.as_bytes());
    put(&mut pair, 2, &any);
    put(to, field, &pair);
}

fn put(to: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    varint(to, field << 3 | 2);
    varint(to, bytes.len() as u64);
    to.extend(bytes);
}

fn varint(to: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        to.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    to.push(value.to_le_bytes()[0]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_counted_and_stamped() {
        let requests = Requests::new(100);
        let request = requests.stamped(5, 42);
        let mut times = Vec::new();
        let count = each_span(&request, &mut |span| times.extend(start_time(span)));
        assert_eq!((count, requests.spans()), (Some(100), 100));
        assert_eq!(times.concat(), 42_u64.to_le_bytes().repeat(100));
        assert!((530..560).contains(&(request.len() / 100)), "{}", request.len() / 100);
        assert_eq!(each_span(&request[..request.len() - 1], &mut |_| ()), None);
    }
}
