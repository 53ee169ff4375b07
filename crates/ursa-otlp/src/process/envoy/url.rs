//! URLs, authorities and paths, taken apart.

use super::given::{Becomes, Given, New};
use super::names::{SERVER_ADDRESS, SERVER_PORT, URL_FULL, URL_PATH, URL_QUERY, URL_SCHEME};

/// A URL, taken apart. A part that is empty is not there, but for the path.
pub(super) struct Url<'t> {
    scheme: &'t [u8],
    path: &'t [u8],
    query: &'t [u8],
    host: &'t [u8],
    port: Option<i64>,
}

impl<'t> Url<'t> {
    /// Who is named before the host is left out.
    pub(super) fn of(text: &'t [u8]) -> Option<Self> {
        let (scheme, rest) = match text {
            [b'h', b't', b't', b'p', b':', b'/', b'/', rest @ ..] => (&b"http"[..], rest),
            _ => split_at(text, b"://")?,
        };
        let (mut user, mut end) = (0_usize, rest.len());
        for (at, byte) in rest.iter().enumerate() {
            match byte {
                b'/' | b'?' | b'#' => {
                    end = at;
                    break;
                }
                b'@' => user = at.wrapping_add(1),
                _ => {}
            }
        }
        let (authority, path) = rest.split_at_checked(end)?;
        let host = authority.get(user..)?;
        let query = path.iter().position(|byte| *byte == b'?');
        let (path, query) = path.split_at(query.unwrap_or(path.len()));
        let (host, port) = match host_and_port(host) {
            Some((host, port)) => (host, Some(port)),
            None => (host, None),
        };
        Some(Self { scheme, path, query: query.get(1..).unwrap_or_default(), host, port })
    }

    /// `http.url`: for a server its parts, for others the whole; for both whom it names.
    pub(super) fn give(self, server: bool, given: &mut Given<'t>) -> Becomes<'t> {
        let becomes = if server {
            let (becomes, renamed) = given.replace(&URL_PATH, New::Text(self.path));
            if renamed {
                given.add_part(&URL_QUERY, self.query);
                given.add_part(&URL_SCHEME, self.scheme);
            }
            becomes
        } else {
            given.rename(&URL_FULL)
        };
        given.add_part(&SERVER_ADDRESS, self.host);
        if let Some(port) = self.port {
            given.add(&SERVER_PORT, New::Int(port));
        }
        becomes
    }
}

/// `/package.Service/Method`.
pub(super) fn service_and_method(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let [b'/', path @ ..] = path else { return None };
    let (service, method) = split_at(path, b"/")?;
    let whole = !service.is_empty() && !method.is_empty();
    (whole && !method.iter().any(|byte| matches!(byte, b'/' | b'?'))).then_some((service, method))
}

/// `host:port`, `1.2.3.4:80`, `[::1]:80`. An IPv6 address without brackets has no port.
pub(super) fn host_and_port(authority: &[u8]) -> Option<(&[u8], i64)> {
    let colon = authority.iter().rposition(|byte| *byte == b':')?;
    let (host, port) = authority.split_at(colon);
    let [b':', port @ ..] = port else { return None };
    let port = number(port).filter(|port| *port <= i64::from(u16::MAX))?;
    match host {
        [b'[', host @ .., b']'] => Some((host, port)),
        _ if host.is_empty() || host.contains(&b':') => None,
        _ => Some((host, port)),
    }
}

fn split_at<'a>(text: &'a [u8], mark: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = text.windows(mark.len()).position(|window| window == mark)?;
    let (before, after) = text.split_at(at);
    Some((before, after.get(mark.len()..)?))
}

/// A number of digits only.
pub(super) fn number(text: &[u8]) -> Option<i64> {
    let digits = Some(text).filter(|text| !text.is_empty())?;
    digits.iter().try_fold(0_i64, |number, byte| {
        let digit = byte.wrapping_sub(b'0');
        let digit = Some(digit).filter(|digit| *digit < 10)?;
        number.checked_mul(10)?.checked_add(i64::from(digit))
    })
}
