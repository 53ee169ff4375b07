//! TLS: whom is trusted, who is shown what, and certificates that change.

use std::path::PathBuf;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};
use serde_json::json;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::*;
use crate::tls::ServerFiles;

type Authority = CertifiedIssuer<'static, KeyPair>;

/// Files of certificates and keys.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// Writes `NAME.crt` and `NAME.key`, signed by `authority`, for localhost.
    fn issue(
        &self,
        name: &str,
        authority: &Authority,
        change: impl FnOnce(&mut CertificateParams),
    ) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let certificate = params.signed_by(&key, authority).unwrap();
        std::fs::write(self.path(&format!("{name}.crt")), certificate.pem()).unwrap();
        std::fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }

    /// Makes an authority, with its certificate in `NAME.crt`.
    fn authority(&self, name: &str) -> Authority {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        std::fs::write(self.path(&format!("{name}.crt")), authority.pem()).unwrap();
        authority
    }

    async fn server(&self, name: &str, client_ca: Option<&str>) -> Arc<ServerTls> {
        let files = ServerFiles {
            cert: self.path(&format!("{name}.crt")),
            key: self.path(&format!("{name}.key")),
            client_ca: client_ca.map(|ca| self.path(ca)),
        };
        Arc::new(ServerTls::open(files, &["h2", "http/1.1"]).await.unwrap())
    }
}

#[tokio::test]
async fn both_protocols_go_over_tls_and_http_2_is_agreed() {
    let files = Files::new();
    let authority = files.authority("ca");
    files.issue("server", &authority, |_| {});
    let backend = Backend::start(Some(files.server("server", None).await)).await;
    let place = format!("localhost:{}", backend.port());
    for endpoint in [place.clone(), format!("https://{place}")] {
        let spec = json!({"endpoint": endpoint, "tls": {"ca": files.text("ca.crt")}});
        let exporter = exporter(&spec);
        assert_eq!(exporter.send(&payload()).await, delivered());
        assert_eq!(exporter.warning().await, None);
    }
    for seen in backend.seen() {
        assert_eq!(seen.request.version, ::http::Version::HTTP_2);
        assert_eq!(seen.request.uri.scheme_str(), Some("https"));
        assert_eq!(seen.body, payload().requests.concat());
    }
    let insecure = json!({"endpoint": place, "tls": {"insecureSkipVerify": true}});
    let insecure = exporter(&insecure);
    assert_eq!(insecure.send(&payload()).await, delivered());
    assert!(insecure.warning().await.unwrap().starts_with("insecure: "));
    backend.stop().await;
}

#[tokio::test]
async fn a_certificate_that_is_not_accepted_is_named() {
    let files = Files::new();
    let authority = files.authority("ca");
    files.authority("other");
    files.issue("good", &authority, |_| {});
    files.issue("expired", &authority, |params| {
        params.not_after = rcgen::date_time_ymd(2024, 2, 29);
    });
    files.issue("early", &authority, |params| {
        params.not_before = rcgen::date_time_ymd(3024, 2, 29);
    });
    files.issue("named", &authority, |params| {
        *params = CertificateParams::new(vec!["a.example".into(), "10.1.1.1".into()]).unwrap();
    });
    for (server, ca, expected) in [
        ("good", "ca", "delivered"),
        (
            "good",
            "other",
            "the certificate \"CN=good\" is signed by \"CN=ca\", an authority that is not trusted \
             (give the authority's certificate as `tls.ca`)",
        ),
        (
            "expired",
            "ca",
            "the certificate \"CN=expired\" is expired since 2024-02-29T00:00:00Z \
             (renew the backend's certificate; if it is new, set this host's clock)",
        ),
        (
            "early",
            "ca",
            "the certificate \"CN=early\" is not valid before 3024-02-29T00:00:00Z \
             (set this host's clock)",
        ),
        (
            "named",
            "ca",
            "the certificate \"CN=rcgen self signed cert\" is not for \"localhost\"; names it has: \
             a.example, 10.1.1.1 (use one of its names in `endpoint` or in `tls.serverName`)",
        ),
    ] {
        let backend = Backend::start(Some(files.server(server, None).await)).await;
        let port = backend.port();
        let tls = json!({"ca": files.text(&format!("{ca}.crt"))});
        let exporter = exporter(&json!({"endpoint": format!("localhost:{port}"), "tls": tls}));
        let words = words(exporter.send(&payload()).await, port);
        let words = words.replace("tls: no TLS with localhost:PORT: ", "");
        assert_eq!(words, expected);
        backend.stop().await;
    }
}

#[tokio::test]
async fn a_client_certificate_is_shown_where_it_is_wanted() {
    let files = Files::new();
    let (ours, theirs) = (files.authority("ours"), files.authority("theirs"));
    files.issue("server", &ours, |_| {});
    files.issue("client", &ours, |_| {});
    files.issue("stranger", &theirs, |_| {});
    let backend = Backend::start(Some(files.server("server", Some("ours.crt")).await)).await;
    let port = backend.port();
    let send = async |cert: &str, key: &str| {
        let mut tls = json!({"ca": files.text("ours.crt")});
        if !cert.is_empty() {
            tls["cert"] = json!(files.text(cert));
            tls["key"] = json!(files.text(key));
        }
        let spec = json!({"endpoint": format!("localhost:{port}"), "tls": tls});
        let words = words(exporter(&spec).send(&payload()).await, port);
        words.replace(&files.text(""), "")
    };
    assert_eq!(send("client.crt", "client.key").await, "delivered");
    assert_eq!(
        send("", "").await,
        "tls: no TLS with localhost:PORT: it wants a client certificate \
         (give one as `tls.cert` and `tls.key`)"
    );
    assert_eq!(
        send("stranger.crt", "stranger.key").await,
        "tls: no TLS with localhost:PORT: it does not trust the authority of our client \
         certificate (show it a certificate (`tls.cert`) of an authority that it trusts)"
    );
    for (cert, key, expected) in [
        (
            "client.crt",
            "stranger.key",
            "blocked: the key in stranger.key does not belong to the certificate in client.crt",
        ),
        ("client.key", "client.key", "blocked: client.key holds no certificate in PEM"),
        ("client.crt", "client.crt", "blocked: client.crt holds no private key in PEM"),
        ("client.crt", "none", "blocked: read none: No such file or directory (os error 2)"),
    ] {
        assert_eq!(send(cert, key).await, expected);
    }
    backend.stop().await;
}

#[tokio::test]
async fn certificates_are_replaced_while_telemetry_flows() {
    let files = Files::new();
    let (old, new) = (files.authority("old"), files.authority("new"));
    std::fs::copy(files.path("old.crt"), files.path("ca.crt")).unwrap();
    files.issue("server", &old, |_| {});
    files.issue("client", &old, |_| {});
    let tls = files.server("server", Some("ca.crt")).await;
    let backend = Backend::start(Some(Arc::clone(&tls))).await;
    let (port, address) = (backend.port(), backend.address);
    let spec = json!({"endpoint": format!("https://localhost:{port}"), "tls": {
        "ca": files.text("ca.crt"), "cert": files.text("client.crt"), "key": files.text("client.key"),
    }});
    let exporter = exporter(&spec);
    assert_eq!(exporter.send(&payload()).await, delivered());

    // A certificate whose key is not there yet leaves the old pair in force.
    let key = std::fs::read(files.path("client.key")).unwrap();
    files.issue("client", &old, |_| {});
    let new_key = std::fs::read(files.path("client.key")).unwrap();
    std::fs::write(files.path("client.key"), key).unwrap();
    backend.stop().await;
    let backend = Backend::start_at(address, Some(Arc::clone(&tls))).await;
    assert_eq!(exporter.send(&payload()).await, delivered());
    let warning = exporter.warning().await.unwrap();
    assert!(warning.contains("the old ones stay in force: the key in "), "{warning}");
    std::fs::write(files.path("client.key"), new_key).unwrap();

    // Everything is of another authority now; connections that are open go on.
    std::fs::copy(files.path("new.crt"), files.path("ca.crt")).unwrap();
    files.issue("server", &new, |_| {});
    files.issue("client", &new, |_| {});
    assert_eq!(exporter.send(&payload()).await, delivered());
    assert_eq!(*backend.connections.lock().unwrap(), 1);
    let before = tls.config().await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while Arc::ptr_eq(&before, &tls.config().await.unwrap()) {
        assert!(Instant::now() < deadline, "the server goes on with its old files");
        sleep(Duration::from_millis(50)).await;
    }
    backend.stop().await;
    let backend = Backend::start_at(address, Some(tls)).await;
    assert_eq!(exporter.send(&payload()).await, delivered());
    assert_eq!(exporter.warning().await, None);
    backend.stop().await;
}
