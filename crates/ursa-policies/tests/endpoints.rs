//! An endpoint has one verdict, whichever policy says it, inline or as a resource.

use ursa_model::document;
use ursa_model::kind::Kinds;

/// What is said of the endpoint where it stands in each kind: refusals and warnings, without their places.
fn verdicts(backend: &str, kinds: &Kinds) -> Vec<(&'static str, Vec<String>)> {
    let inline = format!("backends: [{{openTelemetry: {backend}}}]");
    let documents = [
        ("MeshOpenTelemetryBackend", backend.to_owned()),
        ("MeshTrace", format!("{{default: {{{inline}}}}}")),
        ("MeshMetric", format!("{{default: {{{inline}}}}}")),
        ("MeshAccessLog", format!("{{from: [{{default: {{{inline}}}}}]}}")),
    ];
    let verdict = |(kind, spec): (&'static str, String)| {
        let text = format!("{{type: {kind}, mesh: default, name: x, spec: {spec}}}");
        let violations = document::parse(&text, kinds).violations;
        let said = violations.iter().map(|it| format!("{:?} {}", it.severity, it.message));
        (kind, said.collect())
    };
    documents.into_iter().map(verdict).collect()
}

#[test]
fn an_endpoint_has_one_verdict_in_every_kind() {
    let kinds = ursa_policies::kinds();
    let good = [
        "{}",
        "{endpoint: 'collector:4317'}",
        "{endpoint: collector}",
        "{endpoint: '10.0.0.1:4317'}",
        "{endpoint: '[::1]:4317'}",
        "{endpoint: 'http://collector'}",
        "{endpoint: 'http://collector:4318/v1/metrics'}",
        "{endpoint: 'https://api.example/otlp'}",
        "{endpoint: 'https://api.example', protocol: grpc}",
        "{endpoint: {address: collector, port: 4317}}",
        "{endpoint: {address: collector, path: /otlp}, protocol: http}",
        "{endpoint: 'collector:4317', tls: {mode: system}}",
    ];
    let wrong = [
        "{endpoint: ''}",
        "{endpoint: 'collector:0'}",
        "{endpoint: 'collector:70000'}",
        "{endpoint: 'a b:1'}",
        "{endpoint: 'ftp://collector'}",
        "{endpoint: 'http://'}",
        "{endpoint: 'http://collector', protocol: https}",
        "{endpoint: 'http://collector', tls: {mode: system}}",
        "{endpoint: 'collector:4317/path'}",
        "{endpoint: {address: collector, path: /otlp}}",
        "{endpoint: {port: 0}}",
        "{endpoint: 'https://user:password@collector'}",
    ];
    for (backend, is_good) in
        good.map(|it| (it, true)).into_iter().chain(wrong.map(|it| (it, false)))
    {
        let verdicts = verdicts(backend, &kinds);
        let [(_, first), rest @ ..] = verdicts.as_slice() else { panic!("no kinds") };
        assert_eq!(first.is_empty(), is_good, "{backend}: {first:?}");
        for (kind, said) in rest {
            assert_eq!(said, first, "{backend} in a {kind}");
        }
    }
}
