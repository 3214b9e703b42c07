//! Tasks: the rules of retry, schedule, priority and dead letters over the store.
