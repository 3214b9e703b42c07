//! Words in records that both who writes them and the rules over them know. Other words for these things are seen by no rule.

/// `reason` of a denial: too often.
pub const RATE: &str = "rate";
/// `reason` of a denial: too many at once.
pub const RUNNING: &str = "running";
/// `reason` of a denial: the principal is locked out. It counts for nothing, else no lock-out would ever end.
pub const LOCKED_OUT: &str = "locked_out";
/// `reason` of a denial: a layer of the sandbox that is required can't be had.
pub const SANDBOX: &str = "sandbox";
/// Flags (of intents and denials) that an argument looks like an injection: the word, or `probe:WORD:ARGUMENT`.
pub const PROBES: [&str; 5] = ["separator", "substitution", "control", "invisible", "confusable"];
/// `reason` of a denial, and `doubt` of a policy: its program is another file than was pinned.
pub const PROGRAM_CHANGED: &str = "program_changed";
/// `doubt` of a policy: nobody loaded it as it stands.
pub const NOT_LOADED: &str = "not_loaded";
/// Flag: an argument has `..` in it.
pub const TRAVERSAL: &str = "traversal";
/// Flag: a variable that changes what programs load.
pub const ENVIRONMENT: &str = "environment";
/// Flag of an outcome: `residue:N`, processes that were left when the run ended, and were ended.
pub const RESIDUE: &str = "residue";
/// Flag of an outcome: `stuck:N`, processes that could not be ended.
pub const STUCK: &str = "stuck";
/// Flag of an outcome: `secret:KIND`, what it said has the shape of a secret.
pub const SECRET: &str = "secret";
