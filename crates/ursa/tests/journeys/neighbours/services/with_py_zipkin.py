"""Zipkin's library, as its users write it. Spans go to the server that `ZIPKIN` names, `host:port`."""

import os

import service
from py_zipkin import Encoding, Kind
from py_zipkin.request_helpers import create_http_headers, extract_zipkin_attrs_from_headers
from py_zipkin.transport import SimpleHTTPTransport
from py_zipkin.util import ZipkinAttrs, generate_random_64bit_string
from py_zipkin.zipkin import zipkin_span

HOST, PORT = os.environ["ZIPKIN"].split(":")


def span(role, kind, **root):
    transport = SimpleHTTPTransport(HOST, int(PORT))
    return zipkin_span(
        service_name=f"py_zipkin-{role}",
        span_name=role,
        kind=kind,
        transport_handler=transport,
        encoding=Encoding.V2_JSON,
        **root,
    )


def call(order, send):
    given = order["parent"]
    root = {"sample_rate": 100.0, "use_128bit_trace_id": True}
    if given:
        own = generate_random_64bit_string()
        sampled = given["priority"] > 0
        root = {
            "zipkin_attrs": ZipkinAttrs(given["trace"], own, given["span"], "0", sampled),
            "report_root_timestamp": True,
        }
    with span("caller", Kind.CLIENT, **root) as context:
        send(create_http_headers())
        return named(context.zipkin_attrs)


def serve(path, headers):
    # Names of headers have no case; the library asks for them by these.
    names = ["X-B3-TraceId", "X-B3-SpanId", "X-B3-ParentSpanId", "X-B3-Sampled", "X-B3-Flags", "b3"]
    named_so = {name.lower(): name for name in names}
    headers = {named_so.get(name.lower(), name): value for name, value in headers.items()}
    attrs = extract_zipkin_attrs_from_headers(headers)
    root = {"zipkin_attrs": attrs} if attrs else {"sample_rate": 100.0, "use_128bit_trace_id": True}
    with span("callee", Kind.SERVER, **root) as context:
        return named(context.zipkin_attrs)


def named(attrs):
    """Its server takes the span of the request for its own: they are one span with two sides."""
    return service.named(
        int(attrs.trace_id, 16),
        int(attrs.span_id, 16),
        int(attrs.is_sampled),
    )


service.run(call, serve)
