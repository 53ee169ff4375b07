//! The library beside Envoy: Envoy 1.40 takes hooks of it, an older one is not asked to.

use ursa_envoy::module::{Formats, Propagation};
use ursa_envoy::resources::LDS;

use crate::world::{World, resources};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn envoy_takes_hooks_of_the_library_that_the_agent_names() {
    let world = World::start().await;
    let running = world.agent().await;
    running.ready().await;
    let status = world.status(&running).await;
    let module = status["envoy"]["module"].as_str().unwrap().to_owned();
    assert_eq!(status["envoy"]["moduleProblem"], serde_json::Value::Null, "{status}");
    assert!(module.starts_with(world.work_dir().canonicalize().unwrap().to_str().unwrap()));

    world.control_plane.take_log();
    world.control_plane.set(resources(&world.proxy(|proxy| {
        for http in proxy.http_listeners_mut() {
            let formats = Formats::parse(b"w3c_tracecontext,b3").unwrap();
            http.propagation = Some(Propagation::new(&module, formats));
        }
    })));
    world.control_plane.logged(&format!("ack {}", LDS.rsplit('.').next().unwrap())).await;
    world.passes().await;
    running.shutdown().await;
}
