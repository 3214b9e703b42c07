//! How the daemon holds one child: a plan becomes a Child; signals, and how it ended.
