//! wip
mod load;
#[cfg(test)]
mod load_tests;
