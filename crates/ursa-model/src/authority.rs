//! Hosts with ports, as they stand in URLs and requests.

use std::fmt;

/// `host:port`, an IPv6 address in brackets (RFC 3986, "Authority").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Authority<'a> {
    /// An IP address or a DNS name, without brackets.
    pub host: &'a str,
    /// The port.
    pub port: u16,
}

impl fmt::Display for Authority<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_ipv6_address_has_brackets() {
        let authority = |host, port| Authority { host, port }.to_string();
        assert_eq!(authority("collector", 4317), "collector:4317");
        assert_eq!(authority("10.0.0.1", 80), "10.0.0.1:80");
        assert_eq!(authority("fd00::1", 0), "[fd00::1]:0");
    }
}
