//! Files of `/proc`: opened once, read by `pread` into one buffer, parsed without allocation.

mod files;
mod pid_path;
mod small;
mod stat_line;
pub(crate) mod text;

pub(crate) use files::{Cache, Gone, Kind};
pub(crate) use pid_path::PidPath;
pub(crate) use small::{pss, read_io, read_status};
pub(crate) use stat_line::StatLine;
#[cfg(test)]
pub(crate) use stat_line::TICK_NS;
