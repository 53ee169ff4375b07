//! Telemetry: receivers, processors, queue, exporters, on OTLP's wire form.
