//! One proxy as a small typed picture, and its translation to Envoy configuration.
