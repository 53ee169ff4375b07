//! Secret: a value that other resources name and only agents see.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;

use crate::kind::{Kind, Scope, no_rewrite};

/// A secret as written. It is never printed: `Debug` hides it, and it does not serialise.
#[derive(Clone, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct Secret {
    /// The value in base64.
    data: String,
}

impl Secret {
    /// The value.
    ///
    /// # Errors
    /// When `data` is not base64; validation refuses that.
    pub fn decode(&self) -> Result<Vec<u8>, base64::DecodeError> {
        let compact: String = self.data.split_ascii_whitespace().collect();
        STANDARD.decode(compact)
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret([redacted])")
    }
}

/// The kind.
pub static KIND: Kind = Kind {
    name: "Secret",
    plural: "secrets",
    short: &[],
    scope: Scope::Mesh,
    flat: true,
    policy: false,
    schema: || schema_for!(Secret),
    rewrite: no_rewrite,
    validate: |node, _, cursor| {
        let Some(secret) = cursor.decode::<Secret>(node) else { return };
        match secret.decode() {
            Ok(value) if value.is_empty() => cursor.at("data").refuse("must not be empty"),
            Ok(_) => {}
            Err(_) => cursor
                .at("data")
                .refuse_with_hint("must be base64", "encode it: `base64 -w0 < file`"),
        }
    },
};
