//! Talking with a child: channel framing, the worker protocol, Node compatibility.
