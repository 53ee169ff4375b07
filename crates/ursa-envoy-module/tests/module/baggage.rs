//! Baggage by rules: over a plain list of headers, and through Envoy, which counts what is dropped.

use std::collections::BTreeMap;
use std::thread;

use crate::cases::{List, shown};
use crate::envoy::{DEADLINE, Envoy, SPAWN, ask, config, serve, socket, value};
use crate::hooks::{NAMES, hooks};
use crate::loaded::{Hook, Loaded, written};
use crate::stand_in::COUNTERS;

/// Rules of a listener where callers come in, and of one by which requests leave.
const RULES: [&str; 2] = [
    "w3c_tracecontext\nin allow tenant.* session team\nin deny tenant.secret\nset team =core\nadd region =eu\nset tenant.id @x-tenant =none",
    "w3c_tracecontext,b3\nout deny internal.* session",
];

fn list(headers: &[(&str, &str)]) -> List {
    headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect()
}

#[test]
fn members_are_filtered_set_and_counted() {
    for loaded in Loaded::all() {
        let [extract, inject] = hooks(loaded, RULES[0]);
        let came = "tenant.id=forged, tenant.secret=1,session=7;p=1,other=1,team=forged,broken";
        let request = list(&[("baggage", came), ("x-tenant", "süß")]);
        let seen = extract.extract(request);
        let expected = "baggage: tenant.id=s%C3%BC%C3%9F,session=7;p=1,team=core,region=eu";
        assert_eq!(shown(&seen), [expected]);
        assert_eq!(shown(&extract.extract(seen.clone())), [expected], "again");
        let before = COUNTERS.lock().unwrap().clone();
        assert_eq!(shown(&inject.inject(seen)), [expected], "nothing is filtered on the way out");
        let counters = COUNTERS.lock().unwrap().clone();
        let counted = |list: &[(String, u64)], name: &str| {
            list.iter().find(|(other, _)| other == name).map_or(0, |(_, count)| *count)
        };
        for (name, count) in [
            ("baggage_denied_members_total", 2),
            ("baggage_invalid_members_total", 1),
            ("baggage_cut_members_total", 0),
        ] {
            assert!(counted(&counters, name) - counted(&before, name) >= count, "{name}");
        }
        Hook::destroy([extract, inject]);
        let [extract, inject] = hooks(loaded, RULES[1]);
        let seen =
            extract.extract(list(&[("baggage", "internal.a=1"), ("baggage", "b=2,session=3")]));
        assert_eq!(shown(&seen), ["baggage: internal.a=1,b=2,session=3"], "one line");
        assert_eq!(shown(&inject.inject(seen)), ["baggage: b=2"]);
        assert!(shown(&inject.inject(list(&[("baggage", "session=1")]))).is_empty());
        Hook::destroy([extract, inject]);
    }
}

/// A configuration is read by all threads, and another one comes and goes meanwhile.
#[test]
fn many_threads_read_a_configuration() {
    Loaded::all().into_iter().for_each(read_by_many);
}

fn read_by_many(loaded: Loaded) {
    let pair = hooks(loaded, RULES[0]);
    let ask = move || {
        for _ in 0..if cfg!(miri) { 5 } else { 200 } {
            let request = list(&[("baggage", "session=1,other=2")]);
            let seen = shown(&pair[1].inject(pair[0].extract(request)));
            assert_eq!(seen, ["baggage: session=1,team=core,region=eu,tenant.id=none"]);
            Hook::destroy(hooks(loaded, RULES[1]));
        }
    };
    let threads: Vec<_> = (0..4).map(|_| thread::spawn(ask)).collect();
    for thread in threads {
        thread.join().unwrap();
    }
    Hook::destroy(pair);
}

/// Envoy's counters of that prefix.
fn counters(folder: &std::path::Path, path: &str) -> BTreeMap<String, u64> {
    let answer = ask(&folder.join("admin"), path, &List::new());
    let counter = |line: &str| {
        let (name, count) = line.split_once([':', ' '])?;
        Some((name.to_owned(), count.trim().parse().ok()?))
    };
    answer.lines().filter(|line| line.contains("ursa")).filter_map(counter).collect()
}

#[test]
fn rules_hold_through_envoy_which_counts() {
    assert_eq!(NAMES, ["extract", "inject"]);
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| serve(&folder.path().join(name));
    let (service, _spans) = (at("service"), at("spans"));
    let config = config(folder.path(), &written(&folder), &RULES, NAMES);
    let _envoy = Envoy::start(folder.path(), &config, 2);
    // The bytes of a member that finds no room beside the one that is added.
    let long = format!("session={}", "x".repeat(8190));
    for (number, came, expected) in [
        (
            0,
            "tenant.id=forged,tenant.secret=1, session=7;p=1",
            "tenant.id=blue,session=7;p=1,team=core,region=eu",
        ),
        (0, "region=us,broken,a=1", "region=eu,team=core,tenant.id=blue"),
        (0, &long, "team=core,region=eu,tenant.id=blue"),
        (1, "internal.a=1,b=2;p,session=3", "b=2;p"),
        (1, "b=2", "b=2"),
        (1, "session=3", ""),
    ] {
        for spawn in SPAWN {
            let headers = list(&[("baggage", came), ("x-tenant", "blue")]);
            let answer = ask(&folder.path().join(socket(number, spawn)), "/twice", &headers);
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            for attempt in 1..=2 {
                let (received, _) = service.recv_timeout(DEADLINE).unwrap();
                let baggage = str::from_utf8(value(&received, "baggage")).unwrap();
                assert_eq!(baggage, expected, "{came} at attempt {attempt}");
            }
        }
    }
    let counted = counters(folder.path(), "/stats?filter=baggage");
    let expected = [
        ("ursa.baggage_cut_members_total", 2),
        ("ursa.baggage_denied_members_total", 2 * (1 + 1 + 2 + 1)),
        ("ursa.baggage_invalid_members_total", 2),
    ];
    assert_eq!(counted, expected.map(|(name, count)| (name.to_owned(), count)).into());
    let exported = counters(folder.path(), "/stats?format=prometheus&filter=baggage");
    let name = "envoy_ursa_baggage_denied_members_total{}";
    assert_eq!(exported.get(name), Some(&10), "{exported:?}");
}
