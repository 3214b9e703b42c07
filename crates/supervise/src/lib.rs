//! Services and instances: restart, backoff, breaker, readiness, ordered start and stop.
