//! Policies: schema, validation, merging, explaining, and what each does to a proxy.
