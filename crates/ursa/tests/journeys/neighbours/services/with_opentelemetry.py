"""OpenTelemetry's library with its propagators of W3C and B3. Spans go where `OTEL_EXPORTER_OTLP_ENDPOINT` says."""

import service
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.propagators.b3 import B3MultiFormat, B3SingleFormat
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

# As OTEL_PROPAGATORS names them.
FORMATS = {"b3": B3SingleFormat(), "b3multi": B3MultiFormat(), "tracecontext": TraceContextTextMapPropagator()}


def tracer(role):
    provider = TracerProvider(resource=Resource.create({"service.name": f"opentelemetry-{role}"}))
    provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter()))
    return provider.get_tracer("service")


def call(order, send):
    given, context = order["parent"], None
    if given:
        flags = trace.TraceFlags(int(given["priority"] > 0))
        parent = trace.SpanContext(int(given["trace"], 16), int(given["span"], 16), True, flags)
        context = trace.set_span_in_context(trace.NonRecordingSpan(parent))
    with CALLER.start_as_current_span("call", context, trace.SpanKind.CLIENT) as span:
        headers = {}
        FORMATS[order["format"]].inject(headers)
        send(headers)
        return named(span)


def serve(path, headers):
    # The library's carriers of HTTP have names in lower case.
    headers = {name.lower(): value for name, value in headers.items()}
    context = FORMATS[path.rsplit("/")[-1]].extract(headers)
    with CALLEE.start_as_current_span("serve", context, trace.SpanKind.SERVER) as span:
        return named(span)


def named(span):
    own = span.get_span_context()
    return service.named(own.trace_id, own.span_id, int(own.trace_flags.sampled))


CALLER, CALLEE = tracer("caller"), tracer("callee")
service.run(call, serve)
