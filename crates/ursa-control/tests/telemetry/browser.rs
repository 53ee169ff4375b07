//! The page in headless Chromium: what it shows after its scripts ran.

use std::io::ErrorKind;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::{Instant, timeout};

use super::{Served, fill, serve};

/// The names under which Chromium is installed.
const CHROMIUM: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];

/// How long the page may take to show what it should.
const DEADLINE: Duration = Duration::from_mins(1);

impl Served {
    /// The document at a fragment, and its texts, once these hold all that is expected. The browser's virtual clock
    /// does not wait for answers that stream, so one look may come too early.
    async fn shows(&self, fragment: &str, expected: &[&str]) -> (String, String) {
        let started = Instant::now();
        loop {
            let document = self.page(fragment).await;
            let texts = texts(&document);
            let Some(missing) = expected.iter().find(|expected| !texts.contains(**expected)) else {
                return (document, texts);
            };
            assert!(started.elapsed() < DEADLINE, "no {missing:?} at {fragment:?} in {texts}");
        }
    }

    /// The document at a fragment as it is after some time.
    async fn page(&self, fragment: &str) -> String {
        let profile = tempfile::tempdir().unwrap();
        for name in CHROMIUM {
            let browser = Command::new(name)
                .args([
                    "--headless",
                    "--no-sandbox",
                    "--disable-gpu",
                    "--disable-dev-shm-usage",
                    "--dump-dom",
                    "--virtual-time-budget=3000",
                ])
                .arg(format!("--user-data-dir={}", profile.path().display()))
                .arg(format!("http://{}/gui{fragment}", self.address))
                .stderr(Stdio::null())
                .kill_on_drop(true)
                .output();
            match timeout(DEADLINE, browser).await.expect("Chromium ends in time") {
                Ok(output) => return String::from_utf8(output.stdout).unwrap(),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => panic!("start {name}: {error}"),
            }
        }
        panic!(
            "this test needs Chromium in PATH (Debian, Ubuntu: apt-get install chromium); looked for {CHROMIUM:?}"
        );
    }
}

/// The texts of a document, one space between them.
fn texts(document: &str) -> String {
    let pieces =
        document.split('<').filter_map(|piece| piece.split_once('>')).map(|(_, text)| text.trim());
    pieces.filter(|text| !text.is_empty()).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn the_overview_shows_services_and_traces() {
    let served = serve().await;
    fill(&served.window, "gateway");
    let services = ["cart", "catalog", "frontend", "gateway", "payments"];
    let figures = ["Live", "20 %", "500 ms", "5 traces with 50 spans in memory"];
    let (document, page) = served.shows("", &[&services[..], &figures].concat()).await;
    assert_eq!(page.matches("gateway GET /checkout").count(), 5);
    assert_eq!(document.matches("class=\"spark\"").count(), 5);
}

#[tokio::test]
async fn filters_are_in_the_address() {
    let served = serve().await;
    fill(&served.window, "gateway");
    let (_, page) = served.shows("#/?errors=true", &["300 ms"]).await;
    assert_eq!(page.matches("GET /checkout").count(), 1, "{page}");
    served.shows("#/?service=nobody", &["No trace matches these filters."]).await;
    served.shows("#/?tag=nonsense", &["`nonsense` is not of the form `key=value`"]).await;
}

#[tokio::test]
async fn a_trace_is_shown_by_its_address() {
    let served = serve().await;
    fill(&served.window, "gateway");
    let span = ["authorize", "payments · internal", "failed", "300 ms"];
    let attributes = ["Attributes", "http.status_code 503", "response_flags", "kuma.mesh default"];
    let (document, _) = served
        .shows("#/trace/00000000000000000000000000000003", &[&span[..], &attributes].concat())
        .await;
    assert_eq!(document.matches("role=\"treeitem\"").count(), 10);
    served.shows("#/trace/00000000000000000000000000000099", &["This trace is not here."]).await;
}

#[tokio::test]
async fn a_span_is_shown_by_its_address() {
    let served = serve().await;
    fill(&served.window, "gateway");
    let expected = ["catalog · server", "http.status_code 200"];
    served.shows("#/trace/00000000000000000000000000000003/0000000000000305", &expected).await;
}

#[tokio::test]
async fn an_empty_window_says_what_to_do() {
    let served = serve().await;
    served.shows("", &["no spans yet", "ursa up", "No traces yet"]).await;
}

#[tokio::test]
async fn what_telemetry_says_is_text_and_never_markup() {
    const HOSTILE: &str = "<img src=x onerror=\"document.title='owned'\">";
    const IN_ADDRESS: &str =
        "#/?service=%3Cimg%20src%3Dx%20onerror%3D%22document.title%3D%27owned%27%22%3E";
    let served = serve().await;
    fill(&served.window, HOSTILE);
    for fragment in ["", IN_ADDRESS, "#/trace/00000000000000000000000000000003"] {
        let (document, _) = served.shows(fragment, &["&lt;img src=x onerror=", "Live"]).await;
        assert!(
            !document.contains("<img src=\"x\"") && !document.contains("<img src=x"),
            "{document}"
        );
        assert!(!document.contains("<title>owned"), "{document}");
    }
}
