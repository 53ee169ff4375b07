//! `openssl`: a client and a server that are no proxies, and a second opinion of certificates.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::collector::free;

/// Files of certificates and keys.
pub(super) struct Files {
    dir: TempDir,
}

impl Files {
    pub(super) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub(super) fn put(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

/// What `openssl` prints; `input` is what it reads.
pub(super) fn openssl(arguments: &[&str], input: &str) -> String {
    let mut child = Command::new("openssl")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("openssl is installed");
    // It may have ended before it read anything.
    drop(child.stdin.take().unwrap().write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    let text = [output.stdout, output.stderr].map(|it| String::from_utf8_lossy(&it).into_owned());
    text.concat()
}

/// What comes of a request by TLS, as a proxy would send it, with this certificate; and what the server showed.
pub(super) fn ask(port: u16, certificate: Option<(&Path, &Path)>, trusted: &Path) -> String {
    let at = format!("127.0.0.1:{port}");
    let trusted = trusted.to_string_lossy().into_owned();
    let mut arguments =
        vec!["s_client", "-connect", &at, "-alpn", "kuma", "-CAfile", &trusted, "-ign_eof"];
    arguments.extend(["-showcerts", "-verify_return_error"]);
    let files =
        certificate.map(|(cert, key)| [cert, key].map(|it| it.to_string_lossy().into_owned()));
    if let Some([cert, key]) = &files {
        arguments.extend(["-cert", cert, "-key", key]);
    }
    openssl(&arguments, "GET / HTTP/1.1\r\nhost: back\r\nconnection: close\r\n\r\n")
}

/// A server of TLS that answers 200 to everything.
pub(super) struct Server {
    child: Child,
    pub(super) port: u16,
}

impl Server {
    pub(super) fn start(cert: &Path, key: &Path) -> Self {
        let port = free();
        let child = Command::new("openssl")
            .args(["s_server", "-www", "-quiet", "-alpn", "kuma", "-accept", &port.to_string()])
            .args([Path::new("-cert"), cert, Path::new("-key"), key])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl is installed");
        Self { child, port }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
