//! Where resources are kept: versions, watches, atomic writes.
