//! Real processes: trees that grow and shrink, what they cost, and what becomes of the cost when they end.
#![expect(clippy::unwrap_used, reason = "a test without the test attribute on its helpers")]

mod cost;
mod stage;
mod trees;
