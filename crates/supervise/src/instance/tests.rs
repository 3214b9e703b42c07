//! Property tests of the machine against a model, and paused-time tests of the owner task with the fake keeper.

mod liveness;
mod machine;
mod owner;
mod readiness;
