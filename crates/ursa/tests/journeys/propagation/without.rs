//! Envoys that are killed, agents that come again, and an Envoy without the module.

use ursa_propagation::Format;

use super::echo::ask;
use super::{TRACE, World, formats_of, known, trace_of};
use crate::collector::free;
use crate::mesh::{eventually, peer};
use crate::telemetry::Home;

/// The processes that `mesh` runs whose program is Envoy.
fn envoys(world: &World) -> Vec<u32> {
    let program = |pid: &u32| std::fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
    let is_envoy = |pid: &u32| program(pid).file_name().is_some_and(|name| name == "envoy");
    world.mesh.processes().into_iter().filter(is_envoy).collect()
}

/// Waits until a trace that comes in B3 goes on.
async fn goes_on(port: u16) {
    eventually("a trace in B3 goes on", async || {
        let received = ask(port, &known(Format::B3)).await.ok()?;
        (trace_of(&received, Format::B3) == Some(TRACE)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn killed_envoys_and_agents_come_again_with_the_module() {
    let world = World::start(&[]).await;
    world.propagate("b3,w3c_tracecontext").await;
    let first = envoys(&world);
    assert_eq!(first.len(), 2);
    for pid in &first {
        let killed = std::process::Command::new("kill").args(["-9", &pid.to_string()]).status();
        assert!(killed.unwrap().success());
    }
    eventually("other Envoys", async || {
        let now = envoys(&world);
        (now.len() == 2 && now.iter().all(|pid| !first.contains(pid))).then_some(())
    })
    .await;
    goes_on(world.through).await;

    // An agent of our own, killed and started again in the same work directory.
    let inbound = free();
    world.mesh.apply(&format!(
        "type: Dataplane\nmesh: default\nname: extra\nnetworking:\n  address: 127.0.0.1\n  inbound:\n  \
         - {{port: {inbound}, servicePort: {}, tags: {{kuma.io/service: extra, kuma.io/protocol: http}}}}\n",
        world.service
    ));
    let home = Home::new(&world.mesh, "extra");
    for _ in 0..2 {
        let agent = home.start("extra");
        goes_on(inbound).await;
        drop(agent);
        eventually("its Envoy is gone", async || {
            ask(inbound, &vec![]).await.is_err().then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn an_old_envoy_gets_no_hooks_goes_on_with_w3c_and_says_so() {
    let envoy = peer("URSA_ENVOY_OLDEST", "envoy/1.36.4/envoy");
    let world = World::start(&["--envoy", &envoy.to_string_lossy()]).await;
    world.apply(ursa_propagation::Formats::parse(b"w3c_tracecontext,datadog").unwrap());
    eventually("the policy at both proxies", async || {
        let shown = ["front", "back"].map(|name| world.mesh.ok(&["inspect", "proxy", name]));
        let ready =
            |text: &String| text.contains("- datadog") && !text.contains("not acknowledged");
        shown.iter().all(ready).then_some(())
    })
    .await;
    // Whoever applies it is told at once, whoever looks at the policy sees at which proxies, and a list counts.
    let file = world.mesh.data.path().join("applied.yaml");
    let applied = world.mesh.run(&["apply", "-f", &file.to_string_lossy()]);
    let (lost, why) =
        ("`datadog` neither read nor written", "the module is for Envoy 1.40, and this is 1.36.4");
    let told = format!(
        "2 of 2 connected proxies cannot do all of it (back, front: {why}): {lost} (`ursa inspect meshtrace all` shows them)"
    );
    let said = String::from_utf8_lossy(&applied.stderr);
    assert!(said.contains(&told), "{said}");
    let shown = world.mesh.ok(&["inspect", "meshtrace", "all"]);
    assert_eq!(shown.matches(&format!("{lost}: {why}")).count(), 2, "{shown}");
    let shown = world.mesh.ok(&["inspect", "proxies"]);
    assert_eq!(shown.matches("acknowledged, 1 warning").count(), 2, "{shown}");
    let shown = world.mesh.ok(&["inspect", "proxy", "front"]);
    let words = "trace context is read and written as `w3c_tracecontext`, not as `datadog`: \
                 the module is for Envoy 1.40, and this is 1.36.4";
    assert!(shown.contains(words), "{shown}");
    let context = "Context:      w3c_tracecontext by Envoy's tracer; not datadog";
    assert!(shown.contains(context), "{shown}");
    let config = world.mesh.get("/meshes/default/dataplanes/front/_config").await.to_string();
    assert!(!config.contains("dynamic_module"), "{config}");
    let received = ask(world.through, &known(Format::W3cTracecontext)).await.unwrap();
    assert_eq!(trace_of(&received, Format::W3cTracecontext), Some(TRACE));
    let received = ask(world.through, &known(Format::Datadog)).await.unwrap();
    assert_ne!(trace_of(&received, Format::W3cTracecontext), Some(TRACE));
    assert_eq!(trace_of(&received, Format::Datadog), Some(TRACE), "as it came");
    assert_eq!(formats_of(&received).len(), 2);
}
