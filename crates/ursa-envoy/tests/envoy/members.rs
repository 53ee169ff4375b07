//! Members of baggage in the lines that running Envoys write.

use std::path::Path;
use std::time::Duration;

use tokio::io::BufReader;
use tokio::task::JoinSet;
use tokio::time::interval;
use ursa_envoy::baggage;
use ursa_envoy::proxy::{AccessLog, LogFilter, LogFormat, LogSink};
use ursa_envoy::resources::resources;

use crate::agent::Agent;
use crate::live::{connect, get, one_inbound, serve, within};
use crate::peers;

/// What comes, and what is written of `tenant.id`, of the first two characters of it, and of `a!`.
const REQUESTS: [(&[&str], &str); 9] = [
    (&["tenant.id=a%20b;p=1, a! = c ,a!=d"], "a%20b a% c"),
    (&["x=1,tenant.idx=2, tenant.id = e=f ;q"], "e=f e= -"),
    (&["x=1", "a!=2,tenant.id=3"], "3 3 2"),
    (&["tenant.id=\"no\",tenant.id=yes"], "yes ye -"),
    (&["x=1;tenant.id=2,tenantxid=3"], "- - -"),
    (&["tenant.id="], "- - -"),
    (&["tenant.id"], "- - -"),
    (&["=,;"], "- - -"),
    (&[], "- - -"),
];

#[tokio::test]
async fn lines_say_members() {
    for envoy in peers::envoys() {
        lines_of(&envoy).await;
    }
}

async fn lines_of(envoy: &Path) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let said = [("tenant.id", None), ("tenant.id", Some(2)), ("a!", None)];
    let said = said.map(|(member, length)| baggage::command(member, length).to_string());
    let format = LogFormat::Text(format!("{}\n", said.join(" ")));
    let sink = LogSink::File { path: path.to_string_lossy().into_owned(), format };
    let mut application = JoinSet::new();
    let mut proxy = one_inbound(serve(&mut application).await);
    for listener in &mut proxy.listeners {
        listener.access_logs = vec![AccessLog { sink: sink.clone(), filter: LogFilter::default() }];
    }
    let _agent = Agent::start(folder.path(), resources(&proxy));
    let _envoy = peers::run(envoy, folder.path(), &peers::bootstrap_in(folder.path()));
    let mut client = BufReader::new(within(connect(&folder.path().join("admin.sock"))).await);
    for (lines, _) in REQUESTS {
        let headers: Vec<_> = lines.iter().map(|line| format!("baggage: {line}\r\n")).collect();
        get(&mut client, "/", &headers.concat()).await;
    }
    let expected: Vec<_> = REQUESTS.iter().map(|(_, line)| *line).collect();
    let written = async {
        let mut pace = interval(Duration::from_millis(50));
        loop {
            pace.tick().await;
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            if text.lines().count() == REQUESTS.len() {
                return text;
            }
        }
    };
    assert_eq!(within(written).await.lines().collect::<Vec<_>>(), expected, "{}", envoy.display());
}
