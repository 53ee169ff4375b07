"""Datadog's library, as its users write it. `DD_TRACE_PROPAGATION_STYLE` says which headers it speaks."""

import service
from ddtrace.propagation.http import HTTPPropagator
from ddtrace.trace import Context, tracer


def call(order, send):
    given = order["parent"]
    parent = given and Context(
        trace_id=int(given["trace"], 16),
        span_id=int(given["span"], 16),
        sampling_priority=given["priority"],
        dd_origin=given["origin"],
        meta=dict(given["tags"]),
    )
    span = tracer.start_span("call", service="ddtrace-caller", child_of=parent, activate=True)
    span.set_tag("span.kind", "client")
    headers = {}
    HTTPPropagator.inject(span, headers)
    send(headers)
    span.finish()
    tracer.context_provider.activate(None)
    tracer.flush()
    return named(span)


def serve(path, headers):
    context = HTTPPropagator.extract(headers)
    tracer.context_provider.activate(context)
    with tracer.trace("serve", service="ddtrace-callee") as span:
        span.set_tag("span.kind", "server")
        told = named(span)
    tracer.flush()
    return told


def named(span):
    context = span.context
    tags = {name: value for name, value in context._meta.items() if name.startswith("_dd.p.")}
    tags.pop("_dd.p.tid", None)
    return service.named(
        span.trace_id,
        span.span_id,
        context.sampling_priority,
        origin=context.dd_origin,
        tags=tags,
    )


service.run(call, serve)
