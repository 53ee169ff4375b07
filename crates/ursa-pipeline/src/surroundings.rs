//! Where this process runs, as far as it can see: what `{{k8s.…}}` means, and resource attributes that nobody has to write.
//!
//! From the environment, as Kubernetes' downward API and the clouds' runtimes set it, and from files; nothing is asked over a network. In Kubernetes
//! the variables are `POD_NAME`, `POD_NAMESPACE`, `POD_UID` and `NODE_NAME`; labels and annotations are a downward volume at `/etc/podinfo`.

use std::collections::BTreeMap;
use std::path::Path;

/// Where Linux keeps the host's name.
const HOST_NAME: &str = "proc/sys/kernel/hostname";
/// Where systemd keeps what tells hosts apart.
const HOST_ID: &str = "etc/machine-id";
/// The namespace, in every pod with a service account.
const NAMESPACE: &str = "var/run/secrets/kubernetes.io/serviceaccount/namespace";
/// Labels and annotations of the pod, of a downward volume.
const POD_INFO: [(&str, &str); 2] =
    [("k8s.label.", "etc/podinfo/labels"), ("k8s.annotation.", "etc/podinfo/annotations")];
/// Bytes of such a file that are read: labels and annotations of a pod have 256 KiB at most.
const MOST: usize = 512 << 10;

/// What a process can tell of where it runs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Surroundings {
    /// What templates refer to, for example `k8s.pod`.
    pub(crate) facts: BTreeMap<String, String>,
    /// Semantic conventions: host, os, k8s, cloud.
    pub(crate) attributes: BTreeMap<String, String>,
}

impl Surroundings {
    /// `root` is `/` but in tests.
    pub(crate) fn read(environment: &BTreeMap<String, String>, root: &Path) -> Self {
        let file = |path: &str| {
            let text = std::fs::read_to_string(root.join(path)).ok()?;
            Some(text).filter(|text| text.len() <= MOST)
        };
        let line = |path: &str| Some(file(path)?.trim().to_owned()).filter(|text| !text.is_empty());
        let variable = |name: &str| environment.get(name).cloned().filter(|text| !text.is_empty());
        let mut found = Self::default();

        let host = variable("HOSTNAME").or_else(|| line(HOST_NAME));
        found.attribute("host.name", host.clone());
        found.attribute("host.id", line(HOST_ID));
        found.attribute("host.arch", Some(arch().to_owned()));
        found.attribute("os.type", Some(os().to_owned()));

        let in_kubernetes = variable("KUBERNETES_SERVICE_HOST").is_some();
        let pod = variable("POD_NAME").or_else(|| host.filter(|_| in_kubernetes));
        for (fact, attribute, value) in [
            ("k8s.pod", "k8s.pod.name", pod),
            (
                "k8s.namespace",
                "k8s.namespace.name",
                variable("POD_NAMESPACE").or_else(|| line(NAMESPACE)),
            ),
            ("k8s.node", "k8s.node.name", variable("NODE_NAME")),
        ] {
            found.facts.extend(value.clone().map(|value| (fact.to_owned(), value)));
            found.attribute(attribute, value);
        }
        found.attribute("k8s.pod.uid", variable("POD_UID"));
        for (prefix, path) in POD_INFO {
            for (key, value) in file(path).iter().flat_map(|text| text.lines()).filter_map(entry) {
                found.facts.insert(format!("{prefix}{key}"), value);
            }
        }

        let first = |names: &[&str]| names.iter().find_map(|name| variable(name));
        let clouds = [
            ("aws", first(&["AWS_REGION", "AWS_DEFAULT_REGION"]), first(&["AWS_ACCOUNT_ID"])),
            (
                "gcp",
                first(&["GOOGLE_CLOUD_REGION"]),
                first(&["GOOGLE_CLOUD_PROJECT", "GCP_PROJECT"]),
            ),
            ("azure", first(&["REGION_NAME"]), first(&["AZURE_SUBSCRIPTION_ID"])),
        ];
        let known =
            clouds.into_iter().find(|(_, region, account)| region.is_some() || account.is_some());
        if let Some((provider, region, account)) = known {
            found.attribute("cloud.provider", Some(provider.to_owned()));
            found.attribute("cloud.region", region);
            found.attribute("cloud.account.id", account);
        }
        found
    }

    fn attribute(&mut self, name: &str, value: Option<String>) {
        self.attributes.extend(value.map(|value| (name.to_owned(), value)));
    }
}

/// `key="value"`, the value quoted as Go quotes.
fn entry(line: &str) -> Option<(String, String)> {
    let (key, quoted) = line.split_once('=')?;
    // Of Go's escapes JSON has all but those of bytes that are no text.
    let value = serde_json::from_str(quoted.trim()).ok()?;
    Some((key.trim().to_owned(), value)).filter(|(key, _)| !key.is_empty())
}

/// `host.arch` of the semantic conventions.
fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "x86",
        other => other,
    }
}

/// `os.type` of the semantic conventions.
fn os() -> &'static str {
    match std::env::consts::OS {
        "macos" => "darwin",
        os => os,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
        pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn a_pod_knows_where_it_is() {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in [
            (HOST_NAME, "node-1\n"),
            (HOST_ID, "4f1c\n"),
            (NAMESPACE, "shop"),
            ("etc/podinfo/labels", "app=\"cart\"\nodd\npath/x=\"a \\\"b\\\"\\n\"\n"),
        ] {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let environment = map([
            ("KUBERNETES_SERVICE_HOST", "10.0.0.1"),
            ("HOSTNAME", "cart-7d9f"),
            ("NODE_NAME", "node-1"),
            ("POD_UID", "u-1"),
            ("AWS_REGION", "eu-central-1"),
            ("GOOGLE_CLOUD_PROJECT", ""),
        ]);
        let found = Surroundings::read(&environment, root.path());
        let facts = map([
            ("k8s.label.app", "cart"),
            ("k8s.label.path/x", "a \"b\"\n"),
            ("k8s.namespace", "shop"),
            ("k8s.node", "node-1"),
            ("k8s.pod", "cart-7d9f"),
        ]);
        assert_eq!(found.facts, facts);
        let attributes = map([
            ("cloud.provider", "aws"),
            ("cloud.region", "eu-central-1"),
            ("host.arch", arch()),
            ("host.id", "4f1c"),
            ("host.name", "cart-7d9f"),
            ("k8s.namespace.name", "shop"),
            ("k8s.node.name", "node-1"),
            ("k8s.pod.name", "cart-7d9f"),
            ("k8s.pod.uid", "u-1"),
            ("os.type", "linux"),
        ]);
        assert_eq!(found.attributes, attributes);
    }

    #[test]
    fn elsewhere_there_is_the_host() {
        let found = Surroundings::read(&map([("HOSTNAME", "h")]), Path::new("/nowhere"));
        assert_eq!(found.facts, BTreeMap::new());
        let attributes = map([("host.arch", arch()), ("host.name", "h"), ("os.type", "linux")]);
        assert_eq!(found.attributes, attributes);
    }
}
