//! Any bytes as a request in JSON.
#![no_main]

use std::sync::LazyLock;

use ganger_policy::Policies;

#[path = "../../crates/policy/tests/policy/fuzzed/mod.rs"]
mod fuzzed;

static POLICIES: LazyLock<Policies> = LazyLock::new(fuzzed::policies);

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    fuzzed::json(&POLICIES, data);
});
