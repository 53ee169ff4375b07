//! The catalogue of every metric that a part of Ursa emits or a dashboard reads.
