//! Tests of the whole engine: by hand where one rule is looked at, by random histories for what must always hold.

mod control_kills;
mod fires;
mod history;
mod rates;
mod said;
mod scenes;
mod world;
