//! Wiring: configuration, HTTP server, desired state, start-up and shut-down of the daemon.
