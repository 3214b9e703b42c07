//! Workers: dispatch, reuse, takeover.
