//! The commands by which resources are written, read and explained, against a control plane without proxies.

use serde_json::Value;

use crate::mesh::{Mesh, eventually};
use crate::telemetry::Home;

const WEB: &str = "type: Dataplane
mesh: default
name: web
labels: {team: shop}
networking:
  address: 127.0.0.1
  inbound:
    - port: 10000
      servicePort: 8000
      tags: {kuma.io/service: web, kuma.io/protocol: http}
---
type: Secret
mesh: default
name: key
data: dG9wLXNlY3JldC12YWx1ZQ==
";

fn policy(name: &str, target: &str, settings: &str) -> String {
    format!(
        "type: MeshTrace\nmesh: default\nname: {name}\nspec:\n  targetRef: {target}\n  default:\n    \
         backends: [{{openTelemetry: {{endpoint: 'collector:4317', headers: {{x-key: '${{secret:key}}'}}}}}}]\n    \
         {settings}\n"
    )
}

#[test]
fn resources_are_written_read_explained_and_deleted() {
    let mesh = Mesh::demo(&["--no-demo"]);
    mesh.apply(WEB);
    mesh.apply(&policy("all", "{kind: Mesh}", "sampling: {overall: 50, client: 20}"));
    mesh.apply(&policy(
        "shop",
        "{kind: Dataplane, labels: {team: shop}}",
        "sampling: {overall: 10}",
    ));

    let table = mesh.ok(&["get", "meshtraces"]);
    assert!(table.starts_with("NAME"), "{table}");
    assert!(
        table.lines().any(|line| line.starts_with("shop") && line.contains("Dataplane team=shop")),
        "{table}"
    );

    // What is printed can be applied again, and is then what it was.
    let printed = mesh.ok(&["get", "meshtrace", "shop", "-o", "yaml"]);
    mesh.apply(&printed);
    let file = mesh.data.path().join("applied.yaml");
    let file = file.to_string_lossy();
    let again = mesh.ok(&["apply", "-f", &file, "--output", "json"]);
    let again: Value = serde_json::from_str(&again).unwrap();
    assert_eq!(again["results"][0]["action"], "unchanged", "{again:#}");

    // The stronger policy has its value, the weaker one the rest; each with its file and line.
    let explained = mesh
        .ok(&["explain", "proxy", "web", "--policy", "mt", "--field", "sampling", "-o", "json"]);
    let explained: Value = serde_json::from_str(&explained).unwrap();
    let values = explained[0]["values"].as_array().unwrap();
    let by = |path: &str| {
        values.iter().find(|value| value["path"] == path).unwrap_or_else(|| panic!("{values:#?}"))
    };
    assert_eq!(
        (&by("sampling.overall")["value"], &by("sampling.overall")["origin"]["policy"]["name"]),
        (&10.into(), &"shop".into())
    );
    assert_eq!(
        (&by("sampling.client")["value"], &by("sampling.client")["origin"]["place"]["line"]),
        (&20.into(), &8.into())
    );
    assert_eq!(by("sampling.random")["origin"], Value::Null);

    // A secret is never shown: not itself, not in what refers to it.
    for command in [
        "get secrets -o yaml",
        "get secret key -o json",
        "config proxy web",
        "inspect proxy web",
        "explain proxy web",
    ] {
        let output = mesh.run(&command.split(' ').collect::<Vec<_>>());
        let all = [output.stdout, output.stderr].concat();
        let all = String::from_utf8_lossy(&all);
        assert!(
            !all.contains("dG9wLXNlY3JldC12YWx1ZQ") && !all.contains("top-secret-value"),
            "{command:?}: {all}"
        );
    }

    // So can a whole list.
    mesh.apply(&mesh.ok(&["get", "meshtraces", "-o", "yaml"]));
    mesh.ok(&["delete", "meshtrace", "shop"]);
    let gone = mesh.run(&["delete", "meshtrace", "shop"]);
    assert_eq!(gone.status.code(), Some(1));
    mesh.ok(&["delete", "meshtrace", "shop", "--ignore-not-found"]);
    // What is gone already does not hold up the rest of a file.
    assert_eq!(mesh.run(&["delete", "-f", &file]).status.code(), Some(1));
    assert_eq!(mesh.ok(&["get", "meshtraces"]), "no meshtraces found\n");
}

#[test]
fn one_wrong_document_leaves_all_unchanged_and_every_mistake_is_told() {
    let mesh = Mesh::demo(&["--no-demo"]);
    let right = policy("right", "{kind: Mesh}", "sampling: {overall: 50}");
    let wrong = policy("wrong", "{kind: Mesch}", "sampling: {overal: 50, random: 101}");
    let file = mesh.data.path().join("both.yaml");
    std::fs::write(&file, format!("{right}---\n{wrong}")).unwrap();
    let file = file.to_string_lossy();

    let refused = mesh.run(&["apply", "-f", &file]);
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8_lossy(&refused.stderr);
    for words in [
        format!("{file}:14:15: spec.targetRef.kind: "),
        "did you mean `Mesh`?".to_owned(),
        "did you mean `overall`?".to_owned(),
        "spec.default.sampling.random: must be between 0 and 100".to_owned(),
        "nothing was changed".to_owned(),
    ] {
        assert!(said.contains(&words), "{words:?} is not in:\n{said}");
    }
    assert_eq!(mesh.ok(&["get", "meshtraces"]), "no meshtraces found\n");

    // The same without a server, with the exit codes that scripts rely on.
    assert_eq!(mesh.run(&["validate", "-f", &file]).status.code(), Some(1));
    // A warning beside it is none of what is wrong, whoever says so.
    let rules = "propagators: [w3c_tracecontext]\n    stripUnlisted: true\n    baggage: {incoming: {allow: ['a*b']}}";
    let parent = "sampling: {random: 5, parent: {enabled: false, fallback: 7}}";
    for settings in [rules, parent] {
        std::fs::write(&*file, policy("advised", "{kind: Mesh}", settings)).unwrap();
        for command in ["validate", "apply", "plan"] {
            let said = mesh.run(&[command, "-f", &file]).stderr;
            let said = String::from_utf8_lossy(&said);
            assert!(said.contains("error: 1 violation"), "{command}: {said}");
            assert_eq!(said.matches("warning: ").count(), 1, "{command}: {said}");
        }
    }
    assert_eq!(mesh.run(&["validate", "-f", "no-such-file.yaml"]).status.code(), Some(2));
    assert_eq!(mesh.run(&["get", "meshtrases"]).status.code(), Some(2));
}

#[test]
fn an_unreachable_control_plane_is_said_with_what_to_do() {
    let output = crate::mesh::ursa()
        .args(["--server", "http://127.0.0.1:1", "get", "meshes"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("no answer from http://127.0.0.1:1/") && said.contains("`ursa up`"),
        "{said}"
    );
}

#[tokio::test]
async fn an_agent_whose_token_will_not_do_says_so_and_ends() {
    let mesh = Mesh::demo(&["--rps", "0"]);
    let home = Home::new(&mesh, "cart");
    let ends = async |words: &str| {
        let mut agent = home.start("web");
        let code = eventually("its end", async || agent.ended()).await;
        let said = home.log();
        assert_eq!(code, 1, "{said}");
        let error = said.lines().find(|line| line.starts_with("error: ") && line.contains(words));
        assert!(error.is_some(), "{words} is not in\n{said}");
        assert!(said.contains("help: make one with `ursa token dataplane --name web"), "{said}");
    };
    ends("the token is for default/cart, and this proxy is default/web").await;
    // What only the control plane can say.
    home.expire(&mesh, "web").await;
    ends("the control plane refused the token: the token expired at ").await;
}
