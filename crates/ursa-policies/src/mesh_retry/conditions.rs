//! What is tried again: Kuma's words for it, and Envoy's.

/// A condition: as users write it, and as Envoy does.
pub(super) type Condition = (&'static str, &'static str);

/// Of HTTP. Envoy: `retry_on`.
pub(super) const HTTP: [Condition; 8] = [
    ("5xx", "5xx"),
    ("GatewayError", "gateway-error"),
    ("Reset", "reset"),
    ("Retriable4xx", "retriable-4xx"),
    ("ConnectFailure", "connect-failure"),
    ("EnvoyRatelimited", "envoy-ratelimited"),
    ("RefusedStream", "refused-stream"),
    ("Http3PostConnectFailure", "http3-post-connect-failure"),
];
/// Methods: requests with others are not tried again.
pub(super) const METHODS: [Condition; 9] = [
    ("HttpMethodConnect", "CONNECT"),
    ("HttpMethodDelete", "DELETE"),
    ("HttpMethodGet", "GET"),
    ("HttpMethodHead", "HEAD"),
    ("HttpMethodOptions", "OPTIONS"),
    ("HttpMethodPatch", "PATCH"),
    ("HttpMethodPost", "POST"),
    ("HttpMethodPut", "PUT"),
    ("HttpMethodTrace", "TRACE"),
];
/// Of gRPC. Envoy: `retry_on`.
pub(super) const GRPC: [Condition; 5] = [
    ("Canceled", "cancelled"),
    ("DeadlineExceeded", "deadline-exceeded"),
    ("Internal", "internal"),
    ("ResourceExhausted", "resource-exhausted"),
    ("Unavailable", "unavailable"),
];
/// What is tried again where nothing is said, of HTTP.
pub(super) const HTTP_UNLESS_SAID: [&str; 3] =
    ["gateway-error", "connect-failure", "refused-stream"];
/// The same of gRPC.
pub(super) const GRPC_UNLESS_SAID: [&str; 7] = [
    "cancelled",
    "connect-failure",
    "gateway-error",
    "refused-stream",
    "reset",
    "resource-exhausted",
    "unavailable",
];
/// The statuses that exist.
const STATUSES: std::ops::RangeInclusive<u16> = 100..=599;

/// What Envoy calls it.
pub(super) fn of_envoy(conditions: &[Condition], written: &str) -> Option<&'static str> {
    conditions.iter().find(|(name, _)| *name == written).map(|(_, envoy)| *envoy)
}

/// The status that is written.
pub(super) fn status(written: &str) -> Option<u16> {
    let digits = written.len() == 3 && written.bytes().all(|byte| byte.is_ascii_digit());
    written.parse().ok().filter(|status| digits && STATUSES.contains(status))
}

/// The canonical word for `written`, in which case, hyphens and underscores do not count, nor whether it is Envoy's word.
pub(super) fn canonical(conditions: &[Condition], written: &str) -> Option<&'static str> {
    let bare = |text: &str| text.replace(['-', '_'], "").to_ascii_lowercase();
    let wanted = bare(written);
    let found = conditions.iter().find(|(name, envoy)| {
        bare(name) == wanted || (*envoy != name.to_uppercase() && bare(envoy) == wanted)
    });
    found.map(|(name, _)| *name)
}
