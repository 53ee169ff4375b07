//! How a proxy stands towards what should hold for every proxy of a mesh.

use ursa_envoy::proxy::{Direction, Listener, ListenerTls, ProxyConfig};

/// What can be said of it from its configuration alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Posture {
    /// What the weakest of its inbounds demands; without inbounds, what the mesh has.
    pub(crate) mtls: Mtls,
    /// Whether a MeshTrafficPermission decides about every inbound.
    pub(crate) permissions: bool,
    /// Whether some of its telemetry goes to a backend, or is served to Prometheus.
    pub(crate) telemetry: bool,
}

/// What an inbound demands of who connects, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mtls {
    /// Plain connections only.
    Disabled,
    /// Plain connections too.
    Permissive,
    /// mTLS.
    Strict,
}

impl Mtls {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Disabled, Self::Permissive, Self::Strict];

    /// As metrics call it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Permissive => "permissive",
            Self::Strict => "strict",
        }
    }
}

impl Posture {
    pub(crate) fn of(config: &ProxyConfig) -> Self {
        let inbounds = || config.listeners.iter().filter(|it| it.direction == Direction::Inbound);
        let demanded = |tls: &ListenerTls| match tls {
            ListenerTls::Off => Mtls::Disabled,
            ListenerTls::Permissive => Mtls::Permissive,
            ListenerTls::Strict => Mtls::Strict,
        };
        let without = if config.mesh_tls.is_some() { Mtls::Strict } else { Mtls::Disabled };
        // Without a rule nobody may come in: safe, but nobody has decided so.
        let is_decided =
            |it: &Listener| it.permissions.as_ref().is_some_and(|it| !it.rules.is_empty());
        let pipeline = &config.pipeline;
        let sent = |signal: &ursa_model::pipeline::SignalConfig| !signal.backends.is_empty();
        let collected = pipeline.collection.as_ref().is_some_and(|it| !it.outputs.is_empty());
        Self {
            mtls: inbounds().map(|it| demanded(&it.tls)).min().unwrap_or(without),
            permissions: inbounds().all(is_decided),
            telemetry: pipeline.signals().into_iter().any(sent)
                || !pipeline.channels.is_empty()
                || collected,
        }
    }
}

#[cfg(test)]
mod tests {
    use ursa_envoy::abilities::Abilities;
    use ursa_envoy::proxy::{
        Client, ListenerKind, MeshTls, Permission, Permissions, TcpRoute, Verdict,
    };
    use ursa_model::ProxyId;
    use ursa_model::pipeline::PipelineConfig;

    use super::*;

    fn inbound(tls: ListenerTls, rules: usize) -> Listener {
        let rule = Permission {
            name: "all".to_owned(),
            clients: vec![Client::Any],
            verdict: Verdict::Allow,
        };
        Listener {
            name: "inbound".to_owned(),
            direction: Direction::Inbound,
            address: "127.0.0.1".to_owned(),
            port: 1,
            destination: "cart".to_owned(),
            inbound: None,
            kind: ListenerKind::Tcp(TcpRoute {
                clusters: Vec::new(),
                idle_timeout: None,
                max_connect_attempts: None,
            }),
            tls,
            permissions: Some(Permissions { rules: vec![rule; rules] }),
            access_logs: Vec::new(),
        }
    }

    fn posture(listeners: Vec<Listener>) -> (Mtls, bool) {
        let posture = Posture::of(&ProxyConfig {
            id: ProxyId::new("default", "cart"),
            service: "cart".to_owned(),
            address: "127.0.0.1".to_owned(),
            mesh_tls: Some(MeshTls { trust_domain: "default".to_owned() }),
            abilities: Abilities::default(),
            listeners,
            clusters: Vec::new(),
            pipeline: PipelineConfig::default(),
        });
        (posture.mtls, posture.permissions)
    }

    #[test]
    fn the_weakest_inbound_counts() {
        let (strict, permissive) = (ListenerTls::Strict, ListenerTls::Permissive);
        assert_eq!(posture(vec![inbound(strict, 1), inbound(strict, 2)]), (Mtls::Strict, true));
        assert_eq!(
            posture(vec![inbound(strict, 1), inbound(permissive, 1)]),
            (Mtls::Permissive, true)
        );
        assert_eq!(
            posture(vec![inbound(permissive, 1), inbound(ListenerTls::Off, 1)]),
            (Mtls::Disabled, true)
        );
        assert_eq!(posture(vec![inbound(strict, 1), inbound(strict, 0)]), (Mtls::Strict, false));
        assert_eq!(posture(Vec::new()), (Mtls::Strict, true));
    }
}
