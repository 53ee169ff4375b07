//! Beside each proxy: starts and watches Envoy, relays ADS, runs the telemetry pipeline.
