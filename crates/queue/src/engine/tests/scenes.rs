//! Single rules, looked at by hand.
