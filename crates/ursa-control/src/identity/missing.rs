//! What a Mesh with mTLS needs and is not there: Secrets that its provided authorities name, and somebody who may call.
//! Such a Mesh is accepted, since they may come later; whoever writes it is told, of Secrets unless `skipValidation`.

use ursa_model::document::Document;
use ursa_model::mesh::Mesh;
use ursa_model::path::Path;
use ursa_model::report::{Severity, Violation};

use crate::snapshot::MeshSnapshot;

/// The policy without which nobody may call anybody.
const PERMISSION: &str = "MeshTrafficPermission";

/// Warns of each Secret that `document` names, and of permissions, that are neither in the `mesh` nor among `others`,
/// which are written together with it.
pub(crate) fn warnings(
    document: &Document,
    mesh: &MeshSnapshot,
    others: &[&Document],
) -> Vec<Violation> {
    if document.key.kind != "Mesh" {
        return Vec::new();
    }
    let read = serde_json::from_value::<Mesh>(document.spec.to_json()).ok();
    let mtls = read.and_then(|mesh| mesh.mtls);
    let Some(mtls) = mtls else { return Vec::new() };
    let mut found = Vec::new();
    let here = &document.key.name;
    let allows =
        |other: &&Document| other.key.kind == PERMISSION && other.key.mesh.as_ref() == Some(here);
    if mtls.enabled().is_some()
        && !mesh.policies.iter().any(|policy| policy.key.kind == PERMISSION)
        && !others.iter().any(allows)
    {
        let path = Path::root().key("mtls").key("enabledBackend");
        found.push(Violation {
            severity: Severity::Warning,
            document: 0,
            place: Some(document.spec.place_of(&path)),
            path,
            message: format!(
                "mesh `{here}` has no {PERMISSION}: with mTLS nobody may call anybody"
            ),
            hint: Some("apply one that allows everybody first; see docs/mutual-tls.md".to_owned()),
        });
    }
    if mtls.skip_validation == Some(true) {
        return found;
    }
    let is_there = |name: &str| {
        mesh.secrets.contains_key(name)
            || others.iter().any(|other| {
                let key = &other.key;
                key.kind == "Secret" && key.mesh.as_ref() == Some(here) && key.name == name
            })
    };
    for (index, backend) in mtls.backends.iter().enumerate() {
        let conf = backend.conf.as_ref();
        let sources = conf.map(|conf| [("cert", conf.cert.as_ref()), ("key", conf.key.as_ref())]);
        for (field, source) in sources.into_iter().flatten() {
            let Some(name) = source.and_then(|source| source.secret.as_deref()) else { continue };
            if is_there(name) {
                continue;
            }
            let path = Path::root().key("mtls").key("backends").index(index);
            let path = path.key("conf").key(field).key("secret");
            found.push(Violation {
                severity: Severity::Warning,
                document: 0,
                place: Some(document.spec.place_of(&path)),
                path,
                message: format!(
                    "mesh `{here}` has no Secret `{name}`: `{}` signs nothing until it has",
                    backend.name
                ),
                hint: Some("apply it too, with the PEM file in base64 as `data`".to_owned()),
            });
        }
    }
    found
}
