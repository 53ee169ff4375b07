//! The control plane: REST API, ADS, certificates, recent telemetry, live view.
