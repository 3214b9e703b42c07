//! `[audit]` as the log has it.

use std::path::Path;

use ganger_audit::{Options, Retention};

use crate::config::Audit;

/// The log's folder in the state folder.
const FOLDER: &str = "audit";

/// Where and how the audit log is written.
pub(crate) fn audit_options(keys: &Audit, state_dir: &Path) -> Options {
    Options {
        witness: keys.witness.clone(),
        retention: Retention {
            max_bytes: keys.max_size.map(|size| size.0),
            max_age: keys.max_age.map(|age| age.0),
        },
        ..Options::new(state_dir.join(FOLDER))
    }
}
