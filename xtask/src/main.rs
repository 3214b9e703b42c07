//! Developer commands: `cargo xtask quickstart|test|test-kernel|torture|bench`.
fn main() {}
