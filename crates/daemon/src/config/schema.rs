//! The JSON Schema of `ganger.toml`, from the same types that read it.

use super::raw;

/// The schema as JSON (draft 2020-12), for editors: `#:schema ganger.schema.json` in the first line of the file.
#[must_use]
pub fn schema() -> serde_json::Value {
    let mut schema = schemars::schema_for!(raw::File);
    schema.insert("title".into(), "ganger.toml".into());
    schema.to_value()
}
