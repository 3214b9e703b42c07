//! Wire types of the HTTP API and the client that the CLI and tests use.
