//! Which ports `up` uses: the usual ones, shifted, or whatever is free.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::RangeInclusive;

use clap::Args;
use serde_json::Value;

use crate::failure::{Doing as _, Failure, Outcome};

/// How ports are chosen.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct PortArgs {
    /// Add this to every port.
    #[arg(long, default_value_t = 0, value_name = "N")]
    port_offset: u16,
    /// Let the system choose every port.
    #[arg(long, conflicts_with = "port_offset")]
    free_ports: bool,
}

impl PortArgs {
    /// What tells the folder of one `up` from that of another beside it.
    pub(crate) fn suffix(self) -> String {
        if self.port_offset == 0 { String::new() } else { format!("-{}", self.port_offset) }
    }

    /// Whether the system chooses, so that any number may run beside each other.
    pub(crate) fn are_free(self) -> bool {
        self.free_ports
    }
}

/// The ports in use, by their usual numbers.
#[derive(Debug, Default)]
pub(crate) struct Ports {
    arguments: Option<PortArgs>,
    chosen: BTreeMap<u16, u16>,
    // Held until the end of planning, so that no free port is given out twice.
    held: Vec<TcpListener>,
}

impl Ports {
    /// Begins to plan.
    pub(crate) fn plan(arguments: PortArgs) -> Self {
        Self { arguments: Some(arguments), ..Self::default() }
    }

    /// Whether ports are the usual ones.
    pub(crate) fn are_usual(&self) -> bool {
        self.arguments.is_none_or(|a| a.port_offset == 0 && !a.free_ports)
    }

    /// The port to use instead of a usual one, `purpose` being what wants it.
    pub(crate) fn choose(&mut self, usual: u16, purpose: &str) -> Outcome<u16> {
        if let Some(chosen) = self.chosen.get(&usual) {
            return Ok(*chosen);
        }
        let arguments = self.arguments.unwrap_or(PortArgs { port_offset: 0, free_ports: false });
        let listener = if arguments.free_ports {
            free(purpose)?
        } else {
            let wanted = usual.checked_add(arguments.port_offset).ok_or_else(|| {
                Failure::unreadable(format!(
                    "port {usual} plus {} is beyond 65535",
                    arguments.port_offset
                ))
                .help("give a smaller --port-offset")
            })?;
            TcpListener::bind((Ipv4Addr::LOCALHOST, wanted)).map_err(|error| {
                Failure::new(format!("port {wanted}, for {purpose}, cannot be used: {error}")).help(
                    "stop what uses it (`ss -ltnp` tells), or run beside it with --port-offset 100 or --free-ports",
                )
            })?
        };
        let chosen = listener.local_addr().doing("ask for the port")?.port();
        self.chosen.insert(usual, chosen);
        self.held.push(listener);
        Ok(chosen)
    }

    /// Puts the chosen ports into a Dataplane: those of the proxy, and with `services` that of the service, too.
    /// Without, the service is somebody else's, and listens where it listens.
    pub(crate) fn put_into(&mut self, dataplane: &mut Value, services: bool) -> Outcome<()> {
        let fields: &[&str] = if services { &["port", "servicePort"] } else { &["port"] };
        let name = dataplane["name"].as_str().unwrap_or_default().to_owned();
        let networking = &mut dataplane["networking"];
        for (list, what) in [("inbound", "inbound"), ("outbound", "outbound")] {
            for entry in networking[list].as_array_mut().into_iter().flatten() {
                for &field in fields {
                    if let Some(usual) =
                        entry[field].as_u64().and_then(|port| u16::try_from(port).ok())
                    {
                        let purpose = format!("{name}'s {what}");
                        entry[field] = Value::from(self.choose(usual, &purpose)?);
                    }
                }
            }
        }
        Ok(())
    }

    /// Ends planning: the ports can now be used.
    pub(crate) fn release(&mut self) {
        self.held.clear();
    }
}

/// A free port that no outgoing connection will take meanwhile: below those that the system gives out by itself.
fn free(purpose: &str) -> Outcome<TcpListener> {
    const FROM: RangeInclusive<u16> = 15_000..=32_000;
    const TRIES: usize = 1_000;
    std::iter::repeat_with(|| fastrand::u16(FROM))
        .take(TRIES)
        .find_map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok())
        .ok_or_else(|| Failure::new(format!("no free port was found for {purpose}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn one_usual_port_becomes_one_free_port() {
        let mut ports = Ports::plan(PortArgs { port_offset: 0, free_ports: true });
        let mut dataplane = json!({"name": "a", "networking": {
            "inbound": [{"port": 10080, "servicePort": 11080}], "outbound": [{"port": 10080}]}});
        ports.put_into(&mut dataplane, true).unwrap();
        let networking = &dataplane["networking"];
        assert_eq!(networking["inbound"][0]["port"], networking["outbound"][0]["port"]);
        assert_ne!(networking["inbound"][0]["port"], networking["inbound"][0]["servicePort"]);
        assert!(!ports.are_usual());
    }

    #[test]
    fn a_service_of_the_user_may_run_already_and_stays_where_it_is() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let mut ports = Ports::plan(PortArgs { port_offset: 0, free_ports: true });
        let mut dataplane = json!({"name": "a", "networking": {
            "inbound": [{"port": 10080, "servicePort": port}]}});
        ports.put_into(&mut dataplane, false).unwrap();
        assert_eq!(dataplane["networking"]["inbound"][0]["servicePort"], port);
    }

    #[test]
    fn a_port_in_use_is_named_with_a_way_out() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let mut ports = Ports::plan(PortArgs { port_offset: 0, free_ports: false });
        let failure = ports.choose(port, "the API").unwrap_err();
        assert!(failure.message().contains(&format!("port {port}, for the API")));
        assert!(failure.advice().unwrap().contains("--port-offset"));
    }
}
