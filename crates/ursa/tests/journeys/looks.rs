//! The commands that only look: at a demo mesh with traffic, at files, at nothing. Each shows what is there in every
//! form, and says what is not there and what to do.

use std::process::Output;

use serde_json::Value;

use crate::mesh::{Mesh, eventually, ursa};

/// What is typed, its exit code, and what is then to be read.
type Look = (&'static str, i32, &'static [&'static str]);

/// At a demo mesh.
const MESH: &[Look] = &[
    ("get meshes", 0, &["NAME", "default"]),
    ("get mesh default", 0, &["NAME", "default"]),
    ("get mesh other", 1, &["other"]),
    ("get dataplanes", 0, &["SERVICE", "ADDRESS", "payments", "127.0.0.1:"]),
    ("get dp -A", 0, &["MESH", "default", "gateway"]),
    ("get dataplanes --mesh other", 1, &["there is no mesh `other`"]),
    ("get dataplane payments -o yaml", 0, &["type: Dataplane", "kuma.io/service: payments"]),
    ("get dataplanes -o json", 0, &["\"total\": 5"]),
    ("get dataplane-insights", 0, &["BACKEND", "STATE", "payments", "traces ready"]),
    ("get dataplane-insight payments", 0, &["payments", "traces ready"]),
    ("get dataplane-insights -o json", 0, &["\"total\": 5"]),
    ("get dataplane-insight nobody", 1, &["nobody"]),
    ("get meshtrases", 2, &["there is no kind `meshtrases`", "did you mean `MeshTrace`?"]),
    ("get nothing", 2, &["there is no kind `nothing`", "known kinds:", "MeshTrace"]),
    ("inspect proxies", 0, &["CONNECTED", "CONFIG", "payments", "acknowledged"]),
    ("inspect proxies -o yaml", 0, &["items:", "connected: true"]),
    ("inspect proxy payments", 0, &["payments", "Connected:", "Resource:", "host.name="]),
    (
        "inspect proxy payments -o json",
        0,
        &["\"resourceAttributes\"", "\"overview\"", "\"shadows\""],
    ),
    ("inspect proxy nobody", 1, &["nobody"]),
    ("explain proxy payments", 0, &["MeshTrace", "sampling.overall = ", "the default"]),
    ("explain proxy payments --policy mt --field sampling", 0, &["sampling.overall = "]),
    ("explain proxy payments --field nothing", 1, &["no field in effect begins with `nothing`"]),
    ("inspect meshtrace payments", 0, &["NAME", "WARNINGS", "payments"]),
    ("inspect mm nothing", 1, &["there is no policy MeshMetric default/nothing"]),
    ("config proxy payments", 0, &["# Listener ", "# Cluster ", "acknowledged, version"]),
    ("config proxy payments --type lds", 0, &["# Listener "]),
    ("config proxy payments --type cluster -o json", 0, &["envoy.config.cluster.v3.Cluster"]),
    ("config proxy payments --type pipeline", 0, &["traces:"]),
    ("config proxy payments --type secret", 0, &["nothing of this type"]),
    ("config proxy payments --type nothing", 2, &["there is no type `nothing`", "one of lds"]),
    ("config proxy payments --shadow --diff", 0, &["shadow policies would change nothing"]),
    ("config proxy payments --shadow --diff --type lds -o json", 0, &["[]"]),
    ("traces --limit 3", 0, &["TRACE", "DURATION", "SERVICES"]),
    ("traces --service payments -o json", 0, &["\"traceId\""]),
    ("traces --tag http.response.status_code=200 --limit 1 -o yaml", 0, &["traceId: "]),
    ("traces --limit 1 -o otlp", 0, &["\"resourceSpans\"", "\"scopeSpans\""]),
    ("traces --min-duration 1h", 0, &["no trace matches"]),
    (
        "traces --tag nothing",
        2,
        &["a tag is written key=value, as in http.response.status_code=503"],
    ),
    ("traces --limit 0", 2, &["1..=1000"]),
    ("trace nothing", 2, &["`nothing` is no trace id", "`ursa traces` lists recent ones"]),
    ("telemetry status", 0, &["payments"]),
    ("token --help", 0, &["Usage:"]),
];

/// At files and at what the program knows by itself; GATEWAY and BACKEND are files.
const ALONE: &[Look] = &[
    ("crds", 0, &["kind: CustomResourceDefinition", "---\n", "meshtraces."]),
    ("crds mt meshmetrics -o json", 0, &["\"kind\": \"List\"", "meshmetrics."]),
    ("crds secret", 1, &["there is no definition of secrets: Kubernetes has its own"]),
    ("crds nothing", 2, &["there is no kind `nothing`"]),
    ("schema meshtrace", 0, &["\"$schema\"", "sampling"]),
    ("completion bash", 0, &["complete -F"]),
    ("completion nothing", 2, &["possible values"]),
    ("gateway --check -f GATEWAY", 0, &["valid"]),
    ("gateway --check -f GATEWAY -o json", 0, &["\"violations\": []"]),
    ("gateway --check -f BACKEND", 1, &["violation"]),
    ("gateway --check -f .", 2, &["no .yaml, .yml or .json file in ."]),
    ("gateway --check -f nothing.yaml", 2, &["cannot read nothing.yaml"]),
    ("validate -f BACKEND", 0, &["valid"]),
    ("telemetry test -f BACKEND --name other", 1, &["there is no backend `other`", "there are "]),
    ("telemetry test -f BACKEND --name away", 1, &["away"]),
    ("telemetry test -f GATEWAY -o json", 1, &["\"name\": \"collector\"", "\"ok\": false"]),
    (
        "telemetry test -f REFERRING",
        1,
        &["refers to a backend that was not read", "-f may be repeated"],
    ),
    ("telemetry test -f REFERRING -f BACKEND", 1, &["referred", "away"]),
    ("telemetry test -f NOBACKEND", 2, &["there is no backend in what was read"]),
    ("nothing", 2, &["unrecognized subcommand"]),
    ("get meshes --help", 0, &["--server-token-file"]),
    ("--version", 0, &["ursa "]),
];

fn read(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

/// What is wrong with what a command says.
fn wrong(look: &Look, output: &Output) -> Option<String> {
    let (typed, code, words) = look;
    let read = read(output);
    let lacking: Vec<_> = words.iter().filter(|words| !read.contains(**words)).collect();
    let right = output.status.code() == Some(*code) && lacking.is_empty();
    (!right).then(|| format!("ursa {typed}: {}, without {lacking:?}:\n{read}", output.status))
}

#[tokio::test]
async fn a_mesh_is_looked_at_in_every_form() {
    let mesh = Mesh::demo(&["--rps", "5"]);
    let whole = eventually("a whole trace", async || {
        let found = mesh.get("/telemetry/traces?service=payments").await;
        found["traces"][0]["traceId"].as_str().map(str::to_owned)
    })
    .await;
    eventually("all backends in use", async || {
        let shown = mesh.ok(&["get", "dataplane-insights"]);
        (shown.matches("traces ready").count() == 5).then_some(())
    })
    .await;
    let look = |typed: &str| mesh.run(&typed.split(' ').collect::<Vec<_>>());
    let wrong: Vec<_> = MESH.iter().filter_map(|it| wrong(it, &look(it.0))).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    // The first digits of an id are enough; every form is of the same trace.
    let drawn = read(&look(&format!("trace {}", whole.get(..12).expect("it is longer"))));
    assert!(drawn.contains("payments") && drawn.contains(&whole), "{drawn}");
    let json: Value =
        serde_json::from_slice(&look(&format!("trace {whole} -o json")).stdout).expect("JSON");
    assert_eq!(json["traceId"], whole);
    assert!(read(&look(&format!("trace {whole} -o yaml"))).contains(&whole));
    assert!(read(&look(&format!("trace {whole} -o otlp"))).contains("\"resourceSpans\""));
    let unknown = look(&format!("trace {}", "0".repeat(31)));
    assert!(read(&unknown).contains("no recent trace begins with 000"), "{unknown:?}");
}

#[test]
fn files_are_looked_at_without_a_control_plane() {
    let folder = tempfile::tempdir().unwrap();
    let backend = |name: &str, spec: &str| {
        format!("type: MeshTraceBackend\nmesh: default\nname: {name}\nspec: {spec}\n")
    };
    let files = [
        ("GATEWAY", "receivers: [{otlpGrpc: {listen: '127.0.0.1:0'}}]\nexporters: [{name: collector, openTelemetry: {endpoint: 'http://127.0.0.1:1'}}]\n".to_owned()),
        ("BACKEND", "type: MeshOpenTelemetryBackend\nmesh: default\nname: away\nspec: {endpoint: 'http://127.0.0.1:1'}\n".to_owned()),
        ("REFERRING", backend("referred", "{type: OpenTelemetry, openTelemetry: {backendRef: {kind: MeshOpenTelemetryBackend, name: away}}}")),
        ("NOBACKEND", "type: Mesh\nname: default\n".to_owned()),
    ];
    for (name, text) in &files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let look = |typed: &str| {
        ursa().args(typed.split(' ')).current_dir(folder.path()).output().expect("run ursa")
    };
    let wrong: Vec<_> = ALONE.iter().filter_map(|it| wrong(it, &look(it.0))).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
