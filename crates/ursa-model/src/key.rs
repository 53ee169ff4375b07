//! Names of resources and of data plane proxies.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What names one resource.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ResourceKey {
    /// The kind's name, for example `MeshTrace`.
    pub kind: String,
    /// The mesh; absent for global kinds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh: Option<String>,
    /// The resource's own name.
    pub name: String,
}

impl ResourceKey {
    /// The key of a resource in a mesh.
    pub fn in_mesh(
        kind: impl Into<String>,
        mesh: impl Into<String>,
        name: impl Into<String>,
    ) -> Self {
        Self { kind: kind.into(), mesh: Some(mesh.into()), name: name.into() }
    }

    /// The key of a resource outside all meshes.
    pub fn global(kind: impl Into<String>, name: impl Into<String>) -> Self {
        Self { kind: kind.into(), mesh: None, name: name.into() }
    }
}

/// `MeshTrace default/all`, `Mesh default`.
impl fmt::Display for ResourceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.mesh {
            Some(mesh) => write!(f, "{} {mesh}/{}", self.kind, self.name),
            None => write!(f, "{} {}", self.kind, self.name),
        }
    }
}

/// What names one data plane proxy.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProxyId {
    /// The proxy's mesh.
    pub mesh: String,
    /// The name of its Dataplane.
    pub name: String,
}

impl ProxyId {
    /// A proxy of a mesh.
    pub fn new(mesh: impl Into<String>, name: impl Into<String>) -> Self {
        Self { mesh: mesh.into(), name: name.into() }
    }

    /// The key of the proxy's Dataplane resource.
    pub fn resource_key(&self) -> ResourceKey {
        ResourceKey::in_mesh("Dataplane", &self.mesh, &self.name)
    }
}

/// `default/frontend`.
impl fmt::Display for ProxyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.mesh, self.name)
    }
}
