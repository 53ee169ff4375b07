//! Requests that go other ways than there and back: mirrored ones, and those that become a WebSocket.

use std::io::{BufReader, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};

use serde_json::json;
use ursa_propagation::{Format, Formats};

use crate::cases::{List, context};
use crate::envoy::{DEADLINE, Envoy, SPAWN, ask, config, head, serve, socket, value};
use crate::loaded::written;

const LIST: &str = "b3,w3c_tracecontext,b3multi,datadog";
const CALLER: (&str, &[u8]) = ("b3", b"4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1");
const TRACE: (u64, u64) = (0x4bf9_2f35_77b3_4da6, 0xa3ce_929d_0e0e_4736);

/// The span that every format of a request names, in the caller's trace.
fn span(received: &List) -> u64 {
    let formats = Formats::parse(LIST.as_bytes()).unwrap();
    let spans: Vec<u64> = formats
        .iter()
        .map(|format: Format| {
            let alone = Formats::none().with(format).unwrap();
            let context = context(alone, received).unwrap_or_else(|| panic!("{received:?}"));
            assert_eq!((context.trace.high(), context.trace.low()), TRACE, "{format:?}");
            assert!(context.decision.sampled(), "{format:?}");
            context.span.value()
        })
        .collect();
    assert!(spans.iter().all(|span| *span == spans[0]), "{received:?}");
    spans[0]
}

#[test]
fn a_mirrored_request_has_a_span_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let [service, mirror, _spans] =
        ["service", "mirror", "spans"].map(|name| serve(&folder.path().join(name)));
    let mut config = config(folder.path(), &written(&folder), &[LIST], ["extract", "inject"]);
    let resources = &mut config["static_resources"];
    let cluster = resources["clusters"][0].to_string();
    let cluster = cluster.replace("\"service\"", "\"mirror\"").replace("/service\"", "/mirror\"");
    resources["clusters"].as_array_mut().unwrap().push(serde_json::from_str(&cluster).unwrap());
    for listener in resources["listeners"].as_array_mut().unwrap() {
        let manager = &mut listener["filter_chains"][0]["filters"][0]["typed_config"];
        let route = &mut manager["route_config"]["virtual_hosts"][0]["routes"][0]["route"];
        route["request_mirror_policies"] = json!([{"cluster": "mirror"}]);
    }
    let _envoy = Envoy::start(folder.path(), &config, 1);
    for spawn in SPAWN {
        let headers = vec![(CALLER.0.to_owned(), CALLER.1.to_vec())];
        let answer = ask(&folder.path().join(socket(0, spawn)), "/", &headers);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let [(own, _), (copy, _)] =
            [&service, &mirror].map(|heard| heard.recv_timeout(DEADLINE).unwrap());
        // A mirrored request has a span of its own, whatever the others have.
        assert_ne!(
            span(&own),
            span(&copy),
            "{own:?}
{copy:?}"
        );
    }
}

#[test]
fn an_upgrade_carries_the_context_and_then_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let _spans = serve(&folder.path().join("spans"));
    let listener = UnixListener::bind(folder.path().join("service")).unwrap();
    let mut config = config(folder.path(), &written(&folder), &[LIST], ["extract", "inject"]);
    for listener in config["static_resources"]["listeners"].as_array_mut().unwrap() {
        let manager = &mut listener["filter_chains"][0]["filters"][0]["typed_config"];
        manager["upgrade_configs"] = json!([{"upgrade_type": "websocket"}]);
    }
    let _envoy = Envoy::start(folder.path(), &config, 1);
    for spawn in SPAWN {
        let mut client = UnixStream::connect(folder.path().join(socket(0, spawn))).unwrap();
        let caller = String::from_utf8(CALLER.1.to_vec()).unwrap();
        let request = format!(
            "GET /chat HTTP/1.1\r\nhost: service\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: x3JJHMbDL1EzLkh9GBhXDw==\r\nb3: {caller}\r\n\r\n"
        );
        client.set_read_timeout(Some(DEADLINE)).unwrap();
        client.write_all(request.as_bytes()).unwrap();
        let mut server = BufReader::new(listener.accept().unwrap().0);
        let received = head(&mut server).unwrap();
        assert_eq!(value(&received, "upgrade"), b"websocket");
        assert_ne!(span(&received), 0x00f0_67aa_0ba9_02b7);
        let answer =
            "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n";
        server.get_mut().write_all(answer.as_bytes()).unwrap();
        let mut client = BufReader::new(client);
        let switched = head(&mut client).unwrap();
        assert_eq!(value(&switched, "upgrade"), b"websocket", "{switched:?}");
        // Lines with a colon are all that `head` reads.
        client.get_mut().write_all(b"from: client\r\n\r\n").unwrap();
        assert_eq!(value(&head(&mut server).unwrap(), "from"), b"client");
        server.get_mut().write_all(b"from: server\r\n\r\n").unwrap();
        assert_eq!(value(&head(&mut client).unwrap(), "from"), b"server");
    }
}
