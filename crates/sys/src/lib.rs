//! The only crate with unsafe: clone3, pidfds, signalfd, prctl, descriptor passing.
